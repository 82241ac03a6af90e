"""Prompts from a user's file."""
