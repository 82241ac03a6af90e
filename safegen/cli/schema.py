"""Output of `safegen schema`: JSON Schemas of the files that users write."""

from __future__ import annotations

import sys
from pathlib import Path

from safegen.pipeline import file_schemas


def show_schemas(kind: str | None, *, output: Path | None) -> None:
    """Print one schema or list the kinds; with a folder, write one schema or all."""
    if kind is not None:
        kind = file_schemas.find_kind(kind)
    if output is None:
        if kind is None:
            _print_kinds()
        else:
            sys.stdout.write(file_schemas.schema_text(kind))
        return
    from safegen.cli.render.console import sanitise
    from safegen.cli.render.tables import write_file

    for name in [kind] if kind else file_schemas.KINDS:
        path = output / file_schemas.schema_file_name(name)
        write_file(path, file_schemas.schema_text(name), force=True)
        sys.stderr.write(f"{sanitise(path)}\n")


def _print_kinds() -> None:
    from safegen.cli.render.console import make_console, print_out
    from safegen.cli.render.tables import print_table

    out = make_console(sys.stdout)
    print_table(out, ("kind", "content of the file"), file_schemas.DESCRIPTIONS.items())
    print_out(out, "", "`safegen schema KIND` prints one, `safegen schema -o DIR` writes all")
