"""Check a recipe before it runs: estimate, warnings, preview and doctor."""
