"""Selection of rows: duplicates, lexical artifacts, the best draft of a scenario, the split."""
