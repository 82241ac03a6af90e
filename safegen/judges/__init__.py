"""Models that read: blind labels of prompts."""
