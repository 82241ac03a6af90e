"""What is asked: goals and axes become matched sets of scenarios."""
