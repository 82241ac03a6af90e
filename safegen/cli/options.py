"""Options and arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeArg = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a built-in recipe.", metavar="RECIPE")
]
FolderArg = Annotated[
    Path,
    typer.Argument(help="A run's output folder, such as outputs/starter.", metavar="FOLDER"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON on stdout, one object per line, for programs.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FOLDER", help="Folder for run and dataset; default the recipe's."
    ),
]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE",
        help="A module of yours that the recipe may name as module:factory; may be repeated.",
    ),
]


RevealOption = Annotated[
    bool, typer.Option("--reveal", help="Show prompts, answers and evidence too.")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Your own prompts: CSV, JSONL or Parquet; others are not asked."
    ),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=COLUMN", help="What --prompts calls a field; may be repeated."),
]
LicenceOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of every row of --prompts without one.")
]
