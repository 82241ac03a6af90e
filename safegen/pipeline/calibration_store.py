"""Stores the agreement of a run's judges with people in the run, so that manifest and card state it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safegen.core.errors import ConfigError
from safegen.core.hashing import file_sha256
from safegen.dataset.judge_results import is_calibrated
from safegen.pipeline.api import open_run
from safegen.pipeline.calibration import (
    MAIN_KAPPA,
    CalibrationReport,
    Coefficient,
    JudgeReport,
    RaterAgreement,
)
from safegen.pipeline.session import open_folder
from safegen.store.json_files import read_json, write_json
from safegen.store.run_folder import RunFolder

LANGUAGE = "language"
"""Column whose groups have a result each."""
# Any: users may edit the file.
EntryJson = dict[str, Any]


def attach_calibration(report: CalibrationReport, file: Path, *, run: Path) -> list[str]:
    """Write the agreement of each judge with people to `run/calibration.json`.

    A result holds for one judge, rubric and language, and replaces an earlier one of the same key.
    `safegen build` then states it in manifest and card.

    Args:
        report: the result of `calibrate`.
        file: the file with the labels.
        run: the output folder of the run.

    Returns:
        The judges with a result that the card does not call calibrated.

    Raises:
        ConfigError: a column of the file is no judge of the run, or the run has none.
        UserError: there is no such run.
    """
    opened = open_run(run)
    folder = opened.folder
    keys = _read_judges(folder)
    entries = [
        entry
        for judge in report.judges
        for entry in _iter_entries(
            judge, report, _find_judge(judge.judge, keys, file), opened.recipe.locales[0]
        )
    ]
    source = {"file": file.name, "sha256": file_sha256(file)}
    with open_folder(folder):
        stored: list[EntryJson] = (
            read_json(folder.calibration)["judges"] if folder.calibration.is_file() else []
        )
        by_key = {_key(entry): entry for entry in (*stored, *({**e, **source} for e in entries))}
        write_json(folder.calibration, {"judges": [by_key[key] for key in sorted(by_key)]})
    return sorted({str(entry["judge"]) for entry in entries if not is_calibrated(entry)})


def _key(entry: EntryJson) -> tuple[str, ...]:
    return tuple(str(entry[name]) for name in ("judge", "model", "rubric", LANGUAGE))


def _read_judges(folder: RunFolder) -> list[EntryJson]:
    jurors: list[EntryJson] = (
        read_json(folder.judge_check)["jurors"] if folder.judge_check.is_file() else []
    )
    if not jurors:
        raise ConfigError(
            f"`{folder.output}` has no drafts that a judge of `judges.panel` read; run `safegen generate`"
            " with a panel first"
        )
    return jurors


def _find_judge(column: str, jurors: list[EntryJson], file: Path) -> EntryJson:
    """Find the judge that a column is named after, as `judge_large_2` is after `large-2`."""
    names = {_slug(str(juror["judge"])): juror for juror in jurors}
    slug = _slug(column)
    found = names.get(slug) or names.get(slug.removeprefix("judge_"))
    if found is None and slug == "judge" and len(jurors) == 1:
        found = jurors[0]
    if found is None:
        known = ", ".join(f"`judge_{name}`" for name in names)
        raise ConfigError(
            f"{file}: `{column}` is no judge of the run; rename the column, known: {known}, or choose"
            " columns with `--judge`"
        )
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _iter_entries(
    judge: JudgeReport, report: CalibrationReport, key: Mapping[str, Any], language: str
) -> Iterator[EntryJson]:
    names = {name: key[name] for name in ("judge", "model", "rubric")}
    groups = [g for g in judge.groups if g.column == LANGUAGE and g.value]
    for group in groups:
        agreement = _describe(group.agreement, report, group.macro_f1)
        yield {**names, LANGUAGE: group.value, **agreement}
    if not groups:
        yield {**names, LANGUAGE: language, **_describe(judge.agreement, report, judge.macro_f1)}


def _describe(
    agreement: RaterAgreement, report: CalibrationReport, macro_f1: float | None
) -> EntryJson:
    weights = MAIN_KAPPA.get(report.scale)
    kappa = agreement.kappa.get(weights) if weights else None
    return {
        "items": agreement.items,
        "scale": report.scale,
        "percent": agreement.percent,
        "kappa": (kappa or Coefficient(None))._asdict(),
        "alpha": agreement.alpha._asdict(),
        "ac1": agreement.ac1._asdict(),
        "macro_f1": macro_f1,
    }
