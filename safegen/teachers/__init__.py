"""Teachers: models that write drafts, judge them, or stand in for one in tests."""
