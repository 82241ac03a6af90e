"""Run a recipe: the only package that chains the stages."""
