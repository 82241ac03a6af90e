"""Output of `safegen status` and `safegen verify`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import RenderableType

from safegen.cli.render.console import (
    format_counts,
    format_duration,
    format_json_line,
    format_number,
    format_short,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.cli.render.errors import print_message
from safegen.cli.render.summary import iter_effect_facts, iter_import_facts, iter_jury_facts
from safegen.core.plural import format_plural
from safegen.pipeline import api
from safegen.pipeline.status import RunStatus, read_manifest, read_status

# Any: users may edit accounting.json and manifest.json.
ManifestJson = dict[str, Any]
USAGE_KEYS = "prompt_tokens completion_tokens requests retries seconds".split()


def verify_dataset(folder: Path, *, plugins: Sequence[str], json: bool) -> int:
    """Check a dataset and print the result; return 1 if there is a problem."""
    from safegen.pipeline.verification import verify

    result = verify(folder, plugins=plugins)
    problems = result.problems
    if json:
        payload = {
            "folder": str(folder),
            "valid": not problems,
            "problems": problems,
            "compared_with_run": result.is_compared,
            "note": result.note,
            "remedy": result.remedy,
        }
        sys.stdout.write(format_json_line(payload))
        return 1 if problems else 0
    out = make_console(sys.stdout)
    if problems:
        head = f"{folder}: {format_plural(len(problems), 'problem')}"
        table = make_grid("", "")
        for problem in problems:
            table.add_row("", "-", make_text(problem))
        print_out(out, make_text(head, "bold red"), table)
        if result.remedy:
            print_out(out, make_text(result.remedy))
        return 1
    manifest = read_manifest(folder)
    files = format_plural(len(manifest.get("files", {})), "file")
    match = "matches" if len(manifest.get("files", {})) == 1 else "match"
    head = f"{folder}: OK, {files} {match} the manifest"
    print_out(out, make_text(head, "bold green"))
    compared = f"not compared: {result.note}" if result.note else "its records give these rows"
    pairs = [
        *_row_pairs(manifest),
        ("splits", "no goal appears in two splits"),
        ("run", compared),
    ]
    print_out(out, make_fact_table(pairs, width=10))
    if result.is_compared:
        for warning in api.list_warnings(api.open_run(folder)):
            print_message(warning, name="warning")
    return 0


def show_status(folder: Path, *, json: bool) -> None:
    """Print progress, failures and usage of a run."""
    run = api.open_run(folder)
    status = read_status(run)
    if json:
        sys.stdout.write(format_json_line(status.to_json()))
        return
    out = make_console(sys.stdout)
    print_out(out, make_text(f"{run.recipe.name} {run.recipe.version} in {run.output}", "bold"))
    print_out(
        out, make_fact_table(_status_pairs(run, status), width=9 if status.imported else 8), ""
    )


def _status_pairs(run: api.Run, status: RunStatus) -> Iterator[tuple[str, RenderableType]]:
    if not status.planned:
        yield "plan", "not planned yet"
    else:
        rounds = f" in {status.rounds} rounds" if status.rounds > 1 else ""
        drafts = format_plural(status.drafts, "draft")
        yield "plan", f"{format_plural(status.prompts, 'prompt')}, {drafts}{rounds}"
        drafted = status.shards_drafted
        unvalidated = f", {format_number(drafted)} drafted but not validated" if drafted else ""
        yield "shards", f"{status.shards_done} of {status.shards} done{unvalidated}"
    yield from iter_import_facts(run)
    if status.jury is not None and status.jury.drafts:
        yield from iter_jury_facts(run, status.jury)
    if status.effect is not None:
        yield from iter_effect_facts(status.effect)
    if status.failed_requests:
        yield "failed", make_text(format_counts(status.failed_requests), "yellow")
        for outcome, message in status.failure_messages.items():
            yield "", make_text(f"{outcome}: {message}")
    else:
        yield "failed", "no request"
    if status.dropped:
        reason = next(iter(status.dropped))
        command = f"safegen show {shlex.quote(str(run.output))} --reason {reason}"
        line = f"{format_counts(status.dropped)}; list them with `{command}`"
        yield "dropped", make_text(line, "yellow")
    if status.accounting:
        prompt_tokens, completion_tokens, requests, retries, seconds = (
            _read_count(status.accounting, name) for name in USAGE_KEYS
        )
        yield (
            "usage",
            f"{format_plural(requests, 'request')} ({format_plural(retries, 'retry', 'retries')}),"
            f" {format_short(prompt_tokens)} tokens in, {format_short(completion_tokens)} out,"
            f" at least {format_duration(seconds)} of work",
        )
    rows = [f"{view} {counts}" for view, counts in _row_pairs(read_manifest(run.output))]
    yield "dataset", "; ".join(rows) if status.dataset else "not built yet"
    yield "next", make_text(_next_step(run, status))


def _next_step(run: api.Run, status: RunStatus) -> str:
    folder = shlex.quote(str(run.output))
    repeatable = set(status.failed_requests) - {"unavailable"}
    is_incomplete = not status.planned or status.shards_done < status.shards
    # Without a plan, only requests to labellers can have failed, and they keep the run from its plan.
    if is_incomplete and not (repeatable and not status.planned):
        return "resume: safegen generate with the same recipe and --output"
    if repeatable:
        hint = (
            "; for truncated answers, raise `max_tokens` and run `safegen generate` with `--replan`"
        )
        return f"safegen retry {folder}{hint if 'truncated' in status.failed_requests else ''}"
    if status.failed_requests:
        return "send them again: safegen generate with the same recipe and --output"
    if not status.dataset:
        return f"safegen build {folder}"
    return f"safegen {'verify' if _has_rows(read_manifest(run.output)) else 'show'} {folder}"


def _has_rows(manifest: ManifestJson) -> bool:
    rows = _read_object(_read_object(manifest, "counts"), "rows")
    return any(rows.values())


def _row_pairs(manifest: ManifestJson) -> Iterator[tuple[str, RenderableType]]:
    for view, splits in _read_object(_read_object(manifest, "counts"), "rows").items():
        counts = cast(ManifestJson, splits) if isinstance(splits, dict) else {}
        yield view, ", ".join(f"{split} {n}" for split, n in counts.items()) or "empty"


def _read_object(payload: ManifestJson, name: str) -> ManifestJson:
    """Return an object of an edited file; empty if it has another type."""
    value = payload.get(name)
    return cast(ManifestJson, value) if isinstance(value, dict) else {}


def _read_count(payload: Mapping[str, object], name: str) -> int:
    value = payload.get(name)
    return round(value) if isinstance(value, int | float) else 0
