"""Implementation of generate, build and retry."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from safegen.cli.render.console import format_counts, format_json_line, format_plural
from safegen.cli.render.errors import print_differences
from safegen.cli.render.progress import ProgressReader, print_line, show_progress
from safegen.cli.render.summary import print_summary
from safegen.core.errors import UserError
from safegen.dataset.dropped import count_losses
from safegen.pipeline import api
from safegen.scenarios.user_prompts.reader import UserPrompts, open_prompts

if TYPE_CHECKING:
    from safegen.config.recipe import Recipe
    from safegen.core.types import DropReason
    from safegen.pipeline.api import Run
    from safegen.pipeline.session import Until

INTERRUPTED = 130
EMPTY_DATASET = (
    "the dataset has no rows: no draft was accepted; see the verdicts with `safegen show`"
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
    """Run a recipe, print the summary, and return the exit code."""
    run = _run_recipe(recipe, output, until=until, replan=replan, plugins=plugins, prompts=prompts)
    return INTERRUPTED if run is None else _report_run(run, until=until, strict=strict, json=json)


def read_prompt_options(
    file: Path | None, *, columns: Sequence[str], licence: str | None
) -> UserPrompts | None:
    """Read `--prompts`, `--column` and `--licence`.

    Raises:
        UserError: the file is missing, or an option is malformed or names an unknown field.
    """
    if file is None:
        if columns or licence is not None:
            raise UserError("`--column` and `--licence` need `--prompts FILE`")
        return None
    pairs = [option.partition("=") for option in columns]
    for option, (name, _, column) in zip(columns, pairs, strict=True):
        if not name or not column:
            raise UserError(f"`--column {option}` must be FIELD=COLUMN, such as `prompt=text`")
    fields = [name for name, _, _ in pairs]
    for name in fields:
        if fields.count(name) > 1:
            raise UserError(f"`--column` names the field `{name}` twice; keep one")
    column_by_field = {name: column for name, _, column in pairs}
    return open_prompts(file, columns=column_by_field, licence=licence)


def run_build(folder: Path, *, recipe: str | None, plugins: Sequence[str], json: bool) -> None:
    """Rebuild the dataset from the records of a run."""
    rebuilt = api.rebuild(folder, recipe=recipe, plugins=plugins)
    print_differences(rebuilt.context)
    _report_run(rebuilt.run, until=None, strict=False, json=json)


def run_retry(folder: Path, *, plugins: Sequence[str], json: bool) -> int:
    """Retry the failed requests of a run and return the exit code."""
    run = api.open_run(folder)
    if not api.reset_failed(run, plugins=plugins):
        return _report_nothing_failed(run, plugins=plugins, json=json)
    result = _run_recipe(run.recipe, folder, plugins=plugins, prompts=run.prompts)
    if result is None:
        return INTERRUPTED
    return _report_run(result, until=None, strict=False, json=json)


def _report_nothing_failed(run: Run, *, plugins: Sequence[str], json: bool) -> int:
    dropped = count_losses(run.folder).dropped
    line = f"no failed request in `{run.output}`; nothing to retry"
    if dropped:
        line += (
            f". {format_plural(sum(dropped.values()), 'prompt')} dropped before drafting"
            f" ({format_counts(dropped)}); a retry would drop them again: {_dropped_hint(dropped)}"
        )
    print_line(sys.stderr, line)
    # As after a retry: a build that was interrupted is finished, and `--json` has the same keys.
    rebuilt = api.rebuild(run.output, plugins=plugins).run
    if json:
        sys.stdout.write(format_json_line(api.summarise(rebuilt, count_losses(run.folder))))
    return 0


def _dropped_hint(dropped: Mapping[DropReason, int]) -> str:
    # A dialogue turn depends on the answer before it; any other dropped prompt depends on its author.
    hints = {
        "no_answer_before": "a dialogue turn needs an accepted answer to the previous turn"
        " (see `safegen show --rejected`)",
        "": "change the author or `seed` and run `generate --replan`",
    }
    kinds = dict.fromkeys(reason if reason in hints else "" for reason in dropped)
    return "; ".join(hints[kind] for kind in kinds)


def _run_recipe(
    recipe: Recipe | str,
    folder: Path | None,
    *,
    until: Until | None = None,
    replan: bool = False,
    plugins: Sequence[str],
    prompts: UserPrompts | None,
) -> Run | None:
    """Run with a progress display; None if it was interrupted."""
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
    # Schedulers send TERM; handle it like Ctrl-C.
    signal.raise_signal(signal.SIGINT)


def _kept_text(counters: ProgressReader | None) -> str:
    view = counters.read_view() if counters else None
    if view is None:
        return "no request was sent yet"
    shards = f"{view.shards} of {view.shards_planned} shards done"
    return f"{shards}, all replies cached; run the same command to resume"


def _report_run(run: Run, *, until: Until | None, strict: bool, json: bool) -> int:
    losses = count_losses(run.folder)
    if json:
        sys.stdout.write(format_json_line(api.summarise(run, losses)))
    print_summary(run, losses, until=until)
    report = run.report
    if report is not None and not report.prompts:
        print_line(sys.stderr, EMPTY_DATASET)
        return 1
    return 1 if strict and (losses.failed_requests or api.count_unlabelled(run)) else 0
