"""The words of the embedded teacher."""
