"""Checks of drafts: one module holds one factory of the same name."""
