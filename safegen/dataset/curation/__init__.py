"""What stays in the dataset: duplicates, the best draft of a scenario, the split."""
