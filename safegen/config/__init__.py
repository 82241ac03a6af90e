"""What users write: recipes, plans, taxonomies, goals and language packs."""
