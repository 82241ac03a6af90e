"""Base layer: types, errors, text, files and the lookup of plug-ins."""
