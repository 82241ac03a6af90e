"""Implementation of generate, build and retry."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from safegen.cli.options import INTERRUPTED
from safegen.cli.render.console import format_counts, format_json_line
from safegen.cli.render.errors import print_differences, print_message
from safegen.cli.render.progress import ProgressReader, print_line, show_progress
from safegen.cli.render.summary import format_yield, print_summary
from safegen.core import event_loop
from safegen.core.errors import UserError
from safegen.core.plural import format_plural
from safegen.dataset.dropped import count_losses
from safegen.pipeline import api
from safegen.pipeline.snapshot import find_recipe_edit
from safegen.scenarios.user_prompts.reader import UserPrompts, open_prompts

if TYPE_CHECKING:
    from safegen.config.recipe import Recipe
    from safegen.core.types import DropReason, Until
    from safegen.dataset.build import BuildReport
    from safegen.dataset.yields import MinYield
    from safegen.pipeline.api import Run


def run_generate(
    recipe: str,
    *,
    output: Path | None,
    until: Until | None,
    strict: bool,
    replan: bool,
    min_yield: MinYield,
    plugins: Sequence[str],
    json: bool,
    prompts: UserPrompts | None = None,
) -> int:
    """Run a recipe, print the summary, and return the exit code."""
    run = _run_recipe(recipe, output, until=until, replan=replan, plugins=plugins, prompts=prompts)
    if run is None:
        return INTERRUPTED
    return _report_run(run, until=until, strict=strict, min_yield=min_yield, json=json)


def read_prompt_options(
    files: Sequence[str],
    more: Sequence[str],
    *,
    columns: Sequence[str],
    licence: str | None,
    drop_answer: bool,
    skip_unreadable: bool,
) -> UserPrompts | None:
    """Read `--prompts` and the options that need it.

    Raises:
        UserError: a file is missing, or an option is malformed or names an unknown field.
    """
    if not files:
        if more:
            raise UserError(f"unexpected argument `{more[0]}`; files of prompts need `--prompts`")
        if columns or licence is not None or drop_answer or skip_unreadable:
            raise UserError(
                "`--column`, `--licence`, `--drop-answer` and `--skip-unreadable` need `--prompts FILE`"
            )
        return None
    return open_prompts(
        [*files, *more],
        columns=parse_columns(columns),
        licence=licence,
        drop_answer=drop_answer,
        skip_unreadable=skip_unreadable,
    )


def parse_columns(options: Sequence[str]) -> dict[str, str]:
    """Read `--column` options to a column by field.

    Raises:
        UserError: an option is malformed, or names a field twice.
    """
    return _parse_pairs(
        options, name="column", key="field", form="FIELD=COLUMN, such as `prompt=text`, or `FIELD=`"
    )


def read_overrides(options: Sequence[str]) -> dict[str, str]:
    """Read the values of `--set` by key.

    Raises:
        UserError: an option is malformed, or names a key twice.
    """
    return _parse_pairs(
        options, name="set", key="key", form="KEY=VALUE, such as `validators.style.threshold=0.8`"
    )


def _parse_pairs(options: Sequence[str], *, name: str, key: str, form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for option in options:
        left, sign, right = option.partition("=")
        if not left or not sign:
            raise UserError(f"`--{name} {option}` must be {form}")
        if left in pairs:
            raise UserError(f"`--{name}` names the {key} `{left}` twice; keep one")
        pairs[left] = right
    return pairs


def run_build(
    folder: Path,
    *,
    recipe: str | None,
    overrides: Mapping[str, str],
    min_yield: MinYield,
    plugins: Sequence[str],
    json: bool,
) -> int:
    """Rebuild the dataset from the records of a run and return the exit code."""
    if recipe is None:
        _print_recipe_edit(api.open_run(folder), "build")
    rebuilt = api.rebuild(folder, recipe=recipe, overrides=overrides, plugins=plugins)
    print_differences(rebuilt.context)
    return _report_run(rebuilt.run, until=None, strict=False, min_yield=min_yield, json=json)


def run_retry(folder: Path, *, plugins: Sequence[str], json: bool) -> int:
    """Retry the failed requests of a run and return the exit code."""
    run = api.open_run(folder)
    _print_recipe_edit(run, "retry")
    # Before anything is changed, because the file may be missing.
    prompts = api.find_prompts(run)
    if not api.reset_failed(run, plugins=plugins):
        return _report_nothing_failed(run, plugins=plugins, json=json)
    result = _run_recipe(run.recipe, folder, plugins=plugins, prompts=prompts)
    if result is None:
        return INTERRUPTED
    return _report_run(result, until=None, strict=False, min_yield="rows", json=json)


def _print_recipe_edit(run: Run, command: Literal["build", "retry"]) -> None:
    """Name an edited recipe file, because the command uses the recipe of the run."""
    try:
        edit = find_recipe_edit(run.folder, run.recipe)
    except UserError as e:
        print_message(f"{e}; `{command}` uses the recipe of the run")
        return
    if edit is None:
        return
    keys = ", ".join(f"`{key}`" for key in edit.keys)
    folder, file = shlex.quote(str(run.output)), shlex.quote(edit.file)
    if command == "build" and not edit.needs_replan:
        fix = f"safegen build {folder} --recipe {file}"
    else:
        options = (
            f"{' --prompts …' if run.prompts else ''}{' --replan' if edit.needs_replan else ''}"
        )
        fix = f"safegen generate {file} --output {folder}{options}"
    print_message(
        f"`{edit.file}` differs from the recipe of the run ({keys}); `{command}` uses that of the run;"
        f" to apply the edit, run `{fix}`"
    )


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
    return _report_empty(rebuilt.report)


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
    _handle_end_signals()
    try:
        with show_progress(sys.stderr) as (watch, counters):
            return event_loop.run(
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
    # A shell without job control ignores INT in background commands, so INT cannot be raised there.
    if not callable(signal.getsignal(signal.SIGINT)):
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _handle_end_signals() -> None:
    # Schedulers send TERM, a closed terminal HUP; `nohup` ignores HUP. Handle both like Ctrl-C.
    signal.signal(signal.SIGTERM, _raise_interrupt)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _raise_interrupt)


def _kept_text(counters: ProgressReader | None) -> str:
    view = counters.read_view() if counters else None
    if view is None:
        return "no request was sent yet"
    shards = f"{view.shards} of {format_plural(view.shards_planned, 'shard')} done"
    return f"{shards}, all replies cached; run the same command to resume"


def _report_run(
    run: Run, *, until: Until | None, strict: bool, min_yield: MinYield, json: bool
) -> int:
    losses = count_losses(run.folder)
    if json:
        sys.stdout.write(format_json_line(api.summarise(run, losses, min_yield=min_yield)))
    print_summary(run, losses, until=until)
    for warning in api.list_warnings(run):
        print_message(warning, name="warning")
    is_incomplete = bool(losses.failed_requests or api.count_unlabelled(run))
    has_failed = _report_empty(run.report) or _report_yields(run.report, min_yield)
    return has_failed or int(strict and is_incomplete)


def _report_yields(report: BuildReport | None, min_yield: MinYield) -> int:
    """Print the yields below the bound; return the exit code."""
    below = report.yields.find_below(min_yield) if report else ()
    if not below:
        return 0
    heads: Mapping[MinYield, str] = {"rows": "planned modes have no row"}
    head = heads.get(min_yield, f"the yield is below {min_yield}")
    lines = "".join(f"\n  {format_yield(value)}" for value in below)
    print_line(sys.stderr, f"{head} (`--min-yield`):{lines}")
    return 1


def read_min_yield(value: str) -> MinYield:
    """Read `--min-yield`.

    Raises:
        UserError: it is neither `rows` nor a number from 0 to 1.
    """
    default: MinYield = "rows"
    if value == default:
        return default
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    # Also false for NaN.
    if not 0 <= share <= 1:
        raise UserError(f"`--min-yield {value}`: use `{default}` or a share from 0 to 1")
    return share


def _report_empty(report: BuildReport | None) -> int:
    """Print why a dataset has no rows; return the exit code."""
    if report is None or report.why_empty is None:
        return 0
    print_line(
        sys.stderr,
        f"the dataset has no rows: {report.why_empty}; see the verdicts with `safegen show`",
    )
    return 1
