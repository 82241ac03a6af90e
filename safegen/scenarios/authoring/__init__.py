"""Authoring: sets and dialogues that a model writes, and the checks that they must pass."""
