"""The versioned dataset of a run: curation, views, card, manifest, verification."""
