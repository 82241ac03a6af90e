"""The records cut for trainers: one file a format."""
