"""Commands that measure judges: calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import JsonOption
from safegen.core.types import Scale

Columns = list[str] | None


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
        json=json,
    )


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command()(calibrate)
