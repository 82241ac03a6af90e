"""Options and arguments shared by several commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, get_args

import typer

from safegen.core.types import PolicyForm

POLICY_FORMS = ("rules", *get_args(PolicyForm))
"""Values of `policy show --as`."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, TERM or HUP."""


def list_choices(names: Iterable[str], *, default: str = "") -> str:
    """Write the help of a parameter with a fixed set of values."""
    return f"One of: {', '.join(names)}{default and f'; default {default}'}."


RecipeArg = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a built-in recipe.", metavar="RECIPE")
]
FolderArg = Annotated[
    Path,
    typer.Argument(help="Output folder of a run, such as outputs/starter.", metavar="FOLDER"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, one object per line.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FOLDER", help="Folder of run and dataset; default the recipe's."
    ),
]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE",
        help="A module that the recipe may name as `module:factory`; repeatable.",
    ),
]
MinYieldOption = Annotated[
    str,
    typer.Option(
        metavar="SHARE",
        help="Exit 1 if a planned mode has no row, or if a mode, intent or leaf accepts less than this share.",
    ),
]
RevealOption = Annotated[
    bool, typer.Option("--reveal", help="Also show prompts, responses and evidence.")
]
PromptsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Your prompts instead of the taxonomy's: CSV, JSON, Parquet or Arrow, a folder or a glob;"
        " repeatable.",
    ),
]
MoreFilesArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILES]",
        help="More files of --prompts, so that the shell can expand a glob.",
        show_default=False,
    ),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=COLUMN",
        help="Column of --prompts that holds a field; FIELD= leaves it unread; repeatable.",
    ),
]
DropAnswerOption = Annotated[
    bool,
    typer.Option("--drop-answer", help="Drop an answer at the end of `messages` of --prompts."),
]
SkipUnreadableOption = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable", help="List rows of --prompts that cannot be read, and use the others."
    ),
]
LicenceOption = Annotated[
    str | None,
    typer.Option(
        "--licence",
        "--license",
        metavar="NAME",
        help="Licence of the rows of --prompts that name none.",
    ),
]
