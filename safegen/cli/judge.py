"""Commands that measure judges: `judge test` and `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import JsonOption, PluginsOption, RecipeArg
from safegen.core.types import Scale

Columns = list[str] | None
judge_app = typer.Typer(help="Test judges.", no_args_is_help=True, rich_markup_mode=None)


@judge_app.callback()
def _group() -> None:
    # With a callback, a group of one command keeps that command's name.
    pass


@judge_app.command("test")
def test_(recipe: RecipeArg, plugin: PluginsOption = None, json: JsonOption = False) -> None:
    """Probe the judges of a recipe for biases; exit 1 if a judge fails."""
    from safegen.cli import judge_test

    raise typer.Exit(judge_test.run_judge_test(recipe, plugins=plugin or (), json=json))


def calibrate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSON, Parquet or Arrow: one row per item, with labels of people and judges.",
        ),
    ],
    item: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the item id; default item, id or item_id."),
    ] = None,
    human: Annotated[
        Columns,
        typer.Option(
            metavar="COLUMN", help="Labels of a person; default human and human_*; repeatable."
        ),
    ] = None,
    judge: Annotated[
        Columns,
        typer.Option(
            metavar="COLUMN", help="Labels of a judge; default judge and judge_*; repeatable."
        ),
    ] = None,
    score: Annotated[
        Columns,
        typer.Option(
            metavar="COLUMN",
            help="Numbers of a judge for --positive; default score and score_*; repeatable.",
        ),
    ] = None,
    by: Annotated[
        Columns,
        typer.Option(metavar="COLUMN", help="Groups; default leaf, harm and language; repeatable."),
    ] = None,
    scale: Annotated[
        Scale | None,
        typer.Option(help="Level of measurement; default by the labels."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="LABELS", help="Labels from lowest to highest, with commas."),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="LABEL", help="The label that scores predict.")
    ] = None,
    missing: Annotated[
        Columns,
        typer.Option(
            metavar="LABEL",
            help="A label that counts as missing, as abstain does; repeatable.",
        ),
    ] = None,
    epsilon: Annotated[
        float,
        typer.Option(help="Cost of a human label in the alternative-annotator test, 0 to 1."),
    ] = 0.1,
    resamples: Annotated[
        int, typer.Option(metavar="N", help="Bootstrap resamples for intervals.")
    ] = 1_000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the bootstrap.", min=0)] = 0,
    run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Store the result in a run, for manifest and card."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure how well judges agree with people."""
    from safegen.cli import calibrate as calibrate_command
    from safegen.pipeline.calibration import CalibrationOptions
    from safegen.pipeline.label_table import LabelColumns

    calibrate_command.show_calibration(
        file,
        LabelColumns(item, *(tuple(names or ()) for names in (human, judge, score, by))),
        CalibrationOptions(
            scale=scale,
            order=tuple(label.strip() for label in order.split(",")) if order else (),
            positive=positive,
            missing=tuple(missing or ()),
            epsilon=epsilon,
            resamples=resamples,
            seed=seed,
        ),
        run=run,
        json=json,
    )


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command()(calibrate)
    app.add_typer(judge_app, name="judge")
