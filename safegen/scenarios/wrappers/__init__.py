"""Wrappers, one file each: a factory of the file's name returns a `Wrapper`."""
