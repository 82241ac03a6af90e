"""The command line: thin Typer commands over `safegen.pipeline.api`."""
