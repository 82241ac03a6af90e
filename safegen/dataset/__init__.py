"""The versioned folder that comes out of a run: layout, card, manifest, proof."""
