"""Sets and dialogues that a model writes."""
