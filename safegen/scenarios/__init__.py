"""Scenarios: goals and axis values become matched sets of prompts."""
