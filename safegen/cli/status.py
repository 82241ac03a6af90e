"""Commands that look at a run and its dataset: status, verify."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import RenderableType

from safegen.cli.render.console import (
    format_counts,
    format_duration,
    format_json_line,
    format_number,
    format_plural,
    format_short,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
)
from safegen.core.errors import StoreDamaged
from safegen.dataset.coverage_report import iter_planned_rows
from safegen.dataset.dropped import count_losses
from safegen.pipeline import api
from safegen.store import plan
from safegen.store.run_folder import read_json

if TYPE_CHECKING:
    pass

# Any: what accounting.json and manifest.json hold was written by some version of safegen.
Json = dict[str, Any]
USAGE_KEYS = "prompt_tokens completion_tokens requests retries seconds".split()


def verify_dataset(folder: Path, *, json: bool) -> int:
    """Prove a dataset; 1 when it breaks a promise."""
    from safegen.dataset.verify import verify_dataset as prove

    problems = prove(folder)
    if json:
        payload = {"folder": str(folder), "proved": not problems, "problems": problems}
        sys.stdout.write(format_json_line(payload))
        return 1 if problems else 0
    out = make_console(sys.stdout)
    if problems:
        head = f"{folder}: {format_plural(len(problems), 'problem')}"
        table = make_grid("", "")
        for problem in problems:
            table.add_row("", "-", make_text(problem))
        print_out(out, make_text(head, "bold red"), table)
        print_out(
            out,
            make_text(f"`safegen build {shlex.quote(str(folder))}` writes it anew from its run"),
        )
        return 1
    manifest = _read_manifest(folder)
    head = f"{folder} is proved: {format_plural(len(manifest.get('files', {})), 'file')}"
    print_out(out, make_text(f"{head} with the hashes of the manifest", "bold green"))
    print_out(
        out,
        make_fact_table(
            [*_row_pairs(manifest), ("splits", "no goal stands in two of them")], width=10
        ),
    )
    return 0


def show_status(folder: Path, *, json: bool) -> None:
    """Say how far a run is."""
    run = api.open_run(folder)
    payload = _status_json(run)
    if json:
        sys.stdout.write(format_json_line(payload))
        return
    out = make_console(sys.stdout)
    print_out(out, make_text(f"{run.recipe.name} {run.recipe.version} in {run.output}", "bold"))
    print_out(out, make_fact_table(_status_pairs(run, payload), width=8), "")


def _status_json(run: api.Run) -> Json:
    plans = plan.Plans(run.folder.plans)
    shards, lost = plans.shards, count_losses(run.folder)
    firsts = [not row["first"] for row in iter_planned_rows(plans, ("first",))]
    return {
        "recipe": run.recipe.name,
        "version": run.recipe.version,
        "output": str(run.output),
        "planned": run.folder.plan(0).exists(),
        "rounds": plans.rounds,
        "prompts": sum(firsts),  # a prompt that a later round asks again is one prompt
        "drafts": len(firsts) * run.recipe.plan.candidates,
        "shards": shards,
        "shards_done": len([n for n in run.folder.finished_shards() if n < shards]),
        "shards_drafted": len([n for n in range(shards) if run.folder.drafts(n).exists()]),
        "failed_requests": dict(lost.failed_requests),
        "dropped": dict(lost.dropped),
        "accounting": api.read_usage(run.folder),
        "dataset": (run.output / "manifest.json").exists(),
    }


def _status_pairs(run: api.Run, payload: Json) -> Iterator[tuple[str, RenderableType]]:
    if not payload["planned"]:
        yield "plan", "not planned yet"
    else:
        rounds = f" in {payload['rounds']} rounds" if payload["rounds"] > 1 else ""
        drafts = format_plural(payload["drafts"], "draft")
        yield "plan", f"{format_plural(payload['prompts'], 'prompt')}, {drafts}{rounds}"
        drafted = payload["shards_drafted"]
        more = f", {format_number(drafted)} drafted and not judged yet" if drafted else ""
        yield "shards", f"{payload['shards_done']} of {payload['shards']} done{more}"
    yield (
        "lost",
        make_text(format_counts(payload["failed_requests"]), "yellow")
        if payload["failed_requests"]
        else "no request",
    )
    if dropped := payload["dropped"]:
        way = f"safegen show {shlex.quote(str(run.output))} --reason {next(iter(dropped))}"
        listed = f"{format_counts(dropped)}; `{way}` lists such prompts"
        yield "dropped", make_text(listed, "yellow")
    spent: Json = payload["accounting"]
    if spent:
        prompt_tokens, come, requests, retries, seconds = (
            _read_count(spent, name) for name in USAGE_KEYS
        )
        yield (
            "spent",
            f"{format_plural(requests, 'request')} ({format_plural(retries, 'repeat')}),"
            f" {format_short(prompt_tokens)} tokens in, {format_short(come)} out,"
            f" at least {format_duration(seconds)} of work",
        )
    rows = [f"{view} {told_}" for view, told_ in _row_pairs(_read_manifest(run.output))]
    yield "dataset", "; ".join(rows) if payload["dataset"] else "not built yet"
    yield "next", make_text(_next_step(run, payload))


def _next_step(run: api.Run, payload: Json) -> str:
    folder = shlex.quote(str(run.output))
    if not payload["planned"] or payload["shards_done"] < payload["shards"]:
        return "safegen generate with the same recipe and --output goes on"
    lost = set(payload["failed_requests"])
    if lost - {"unavailable"}:
        return f"safegen retry {folder}"
    if lost:
        return "safegen generate with the same recipe and --output asks again"
    return f"safegen {'verify' if payload['dataset'] else 'build'} {folder}"


def _read_manifest(folder: Path) -> Json:
    """The manifest, or nothing where there is none that can be read."""
    try:
        return read_json(folder / "manifest.json")
    except StoreDamaged:
        return {}


def _row_pairs(manifest: Json) -> Iterator[tuple[str, RenderableType]]:
    for view, splits in _read_object(_read_object(manifest, "counts"), "rows").items():
        counts = cast(Json, splits) if isinstance(splits, dict) else {}
        yield view, ", ".join(f"{split} {n}" for split, n in counts.items()) or "empty"


def _read_object(payload: Json, name: str) -> Json:
    """An object inside a file that anybody may have edited; empty where it is something else."""
    value = payload.get(name)
    return cast(Json, value) if isinstance(value, dict) else {}


def _read_count(payload: Json, name: str) -> int:
    value = payload.get(name)
    return round(value) if isinstance(value, int | float) else 0
