"""Input files of users: recipes, plans, taxonomies, goals and language packs."""
