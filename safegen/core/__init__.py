"""What every package uses: types, errors, text, files and the lookup of plug-ins."""
