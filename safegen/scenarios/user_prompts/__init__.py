"""Prompts from a user's file: read, check, resolve labels, plan."""
