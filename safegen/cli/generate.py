"""Commands that do work: generate, build, retry."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from safegen.cli.render.console import format_counts, format_json_line, format_plural
from safegen.cli.render.errors import print_differences
from safegen.cli.render.progress import ProgressReader, print_line, show_progress
from safegen.cli.render.summary import print_summary
from safegen.core.errors import AssetNotFound, UserError
from safegen.dataset.dropped import count_losses
from safegen.pipeline import api, session
from safegen.pipeline.resolve import resolve_recipe
from safegen.scenarios.user_prompts.reader import UserPrompts, open_prompts

if TYPE_CHECKING:
    from safegen.config.recipe import Recipe
    from safegen.core.types import DropReason
    from safegen.pipeline.api import Run
    from safegen.pipeline.session import Until

INTERRUPTED = 130


EMPTY_DATASET = (
    "the dataset has no rows: no draft was accepted; see `safegen show` for the verdicts"
)


def run_generate(
    recipe: str,
    *,
    output: Path | None,
    until: Until | None,
    strict: bool,
    replan: bool,
    plugins: Sequence[str],
    json: bool,
    prompts: UserPrompts | None = None,
) -> int:
    """Run a recipe and say what came of it."""
    run = _run_recipe(recipe, output, until=until, replan=replan, plugins=plugins, prompts=prompts)
    return INTERRUPTED if run is None else _report_run(run, until=until, strict=strict, json=json)


def read_prompt_options(
    file: Path | None, *, columns: Sequence[str], licence: str | None
) -> UserPrompts | None:
    """Read the options about a file of one's own prompts.

    Raises:
        UserError: an option without the file, a pair without `=`, an unknown field, no such file.
    """
    if file is None:
        if columns or licence is not None:
            raise UserError("`--column` and `--licence` belong to `--prompts FILE`; name the file")
        return None
    pairs = [option.partition("=") for option in columns]
    for option, (name, _, column) in zip(columns, pairs, strict=True):
        if not name or not column:
            raise UserError(f"`--column {option}` is not FIELD=COLUMN, such as `prompt=text`")
    names = [name for name, _, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"`--column` names `{name}` twice; keep one")
    renamed = {name: column for name, _, column in pairs}
    return open_prompts(file, columns=renamed, licence=licence)


def run_build(folder: Path, *, recipe: str | None, plugins: Sequence[str], json: bool) -> None:
    """Cut a run's records again."""
    run = api.open_run(folder)
    if recipe is not None:
        run = replace(run, recipe=api.load_recipe(recipe))
    basis = api.load_context(run, trusted=plugins)
    lock = session.open_folder(run.folder)
    try:
        session.update_snapshot(run.folder, basis)
        report = api.build(run.folder, basis)
    finally:
        lock.release()
    print_differences(basis)
    built = replace(run, report=report)
    _report_run(built, until=None, strict=False, json=json)


def run_retry(folder: Path, *, plugins: Sequence[str], json: bool) -> int:
    """Ask anew for what was lost."""
    run = api.open_run(folder)
    try:
        resolve_recipe(run.recipe, trusted=plugins)  # before any record is dropped
    except AssetNotFound as e:
        way = "`retry` asks by the recipe's own files: run it in the folder that has them"
        raise AssetNotFound(f"{e}; {way}") from e
    if not session.raise_failed_asks(run.folder) and api.is_finished(run.folder):
        return _report_nothing_failed(run, json=json)
    again = _run_recipe(run.recipe, folder, plugins=plugins, prompts=run.prompts)
    return INTERRUPTED if again is None else _report_run(again, until=None, strict=False, json=json)


def _report_nothing_failed(run: Run, *, json: bool) -> int:
    """Say that there is nothing to ask anew, and what else has no answer."""
    dropped = count_losses(run.folder).dropped
    line = f"no request was lost in `{run.output}`; there is nothing to ask anew"
    if dropped:
        line += (
            f". {format_plural(sum(dropped.values()), 'prompt')} dropped before drafting"
            f" ({format_counts(dropped)}) would be dropped again; {_dropped_hint(dropped)}"
        )
    print_line(sys.stderr, line)
    if json:
        payload = {"output": str(run.output), "failed_requests": dict[str, int](), "requests": 0}
        sys.stdout.write(format_json_line(payload | {"dropped": dict(dropped)}))
    return 0


def _dropped_hint(dropped: Mapping[DropReason, int]) -> str:
    """What leads on where asking anew does not: a turn hangs on its answer before, a set on its author."""
    ways = {
        "no_answer_before": "a turn of a conversation follows an accepted answer to the one before: see why"
        " that was not accepted (`safegen show --rejected`)",
        "": "another author or `seed` with `generate --replan` writes others",
    }
    kinds = dict.fromkeys(reason if reason in ways else "" for reason in dropped)
    return "; ".join(ways[kind] for kind in kinds)


def _run_recipe(
    recipe: Recipe | str,
    folder: Path | None,
    *,
    until: Until | None = None,
    replan: bool = False,
    plugins: Sequence[str],
    prompts: UserPrompts | None,
) -> Run | None:
    """Work under the progress bar; None when a person interrupted."""
    counters: ProgressReader | None = None
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        with show_progress(sys.stderr) as (watch, counters):
            return asyncio.run(
                api.agenerate(
                    recipe,
                    output=folder,
                    until=until,
                    replan=replan,
                    plugins=plugins,
                    watch=watch,
                    prompts=prompts,
                )
            )
    except KeyboardInterrupt:
        print_line(sys.stderr, f"interrupted; {_kept_text(counters)}")
        return None


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    """A scheduler's TERM ends the work as a person's Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def _kept_text(counters: ProgressReader | None) -> str:
    seen = counters.read_view() if counters else None
    if seen is None:
        return "nothing was asked yet"
    return (
        f"{seen.shards} of {seen.shards_planned} shards done, every paid answer kept; run it again"
    )


def _report_run(run: Run, *, until: Until | None, strict: bool, json: bool) -> int:
    lost = count_losses(run.folder)
    if json:
        sys.stdout.write(format_json_line(api.summarise(run, lost)))
    print_summary(run, lost, until=until)
    report = run.report
    if report is not None and not report.prompts:
        print_line(sys.stderr, EMPTY_DATASET)
        return 1
    return 1 if strict and (lost.failed_requests or api.count_unlabelled(run)) else 0
