"""Views: records converted to one trainer format per file."""
