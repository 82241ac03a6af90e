"""Commands that measure answers: score and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import JsonOption, PluginsOption, RevealOption
from safegen.core.types import Mode


def score(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSON, Parquet or Arrow with answers, a folder of shards, a glob, or a dataset folder.",
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Use the validators, policies and panel of this recipe; default every shipped validator.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="Groups of the table, such as model,harm."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Column that holds a field; FIELD= leaves it unread; repeatable.",
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="Expected mode of all rows.")] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="TAG", help="Language of rows that name none; default the recipe's."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Parquet file with one row per answer."
        ),
    ] = None,
    reveal: RevealOption = False,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Score existing answers with rules and judges."""
    from safegen.cli import score as score_command

    raise typer.Exit(
        score_command.run_score(
            file,
            recipe=recipe,
            by=by,
            columns=column or [],
            mode=mode,
            language=language,
            output=output,
            reveal=reveal,
            plugins=plugin or [],
            json=json,
        )
    )


def evaluate(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe, or the folder of a run, whose authored prompts are used as well.",
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="A model, by the endpoint's name; repeatable: the others are compared with the first.",
        ),
    ],
    base_url: Annotated[
        list[str],
        typer.Option(
            "--base-url",
            "--endpoint",
            metavar="URL",
            help="OpenAI-compatible address; once, or once for each model.",
        ),
    ],
    key_env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable that holds the API key; once, or once for each model.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of the evaluation; default outputs/NAME-evaluation.",
        ),
    ] = None,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare models on a test split, without the spec."""
    from safegen.cli import evaluate as evaluate_command

    raise typer.Exit(
        evaluate_command.run_evaluate(
            recipe,
            models=model,
            endpoints=base_url,
            key_names=key_env or [],
            output=output,
            plugins=plugin or [],
            json=json,
        )
    )


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command()(score)
    app.command()(evaluate)
