"""Commands that look and change nothing: check, show, verify, status, list."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.markup import escape

from safegen import api, assets, plugins
from safegen.cli.screen import console
from safegen.errors import AssetNotFound
from safegen.store import plan
from safegen.types import Record


def check(recipe: str, *, plugins: Sequence[str], json: bool) -> None:
    """Say what a recipe would do."""
    inputs = api.read_inputs(recipe, trusted=plugins)
    api.check_teachers(inputs, given={})
    _print(api.forecast(inputs), json=json)


def show(folder: Path, id: str | None, *, limit: int, reveal: bool, json: bool) -> None:
    """Print records whose ids start with `id`."""
    run = api.open_run(folder)
    shown = 0
    for record in _records(run):
        if id and not any(
            value.startswith(id)
            for value in (
                record.scenario.scenario_id,
                record.draft.draft_id,
                record.scenario.set_id,
                record.scenario.goal_id,
            )
        ):
            continue
        _print(_told(record, reveal=reveal), json=json)
        shown += 1
        if shown == limit:
            break
    if id and not shown:
        raise AssetNotFound(f"no record in `{folder}` has an id that starts with `{id}`")


def _records(run: api.Run) -> Iterator[Record]:
    for shard in run.folder.finished():
        yield from run.folder.read_records(shard)


def _told(record: Record, *, reveal: bool) -> dict[str, object]:
    scenario, draft, expected = record.scenario, record.draft, record.expectation
    told: dict[str, object] = {
        "goal": scenario.goal_id,
        "scenario": scenario.scenario_id,
        "draft": draft.draft_id,
        "asked": f"{scenario.intent}, evidence {scenario.evidence}, detail {scenario.requested_detail},"
        f" profile {scenario.profile}",
        "expected": f"{expected.mode}, ceiling {expected.ceiling}, floor {expected.floor},"
        f" by {', '.join(expected.rule_ids)} of {expected.policy_id}",
        "drafted": f"{draft.teacher}, candidate {draft.candidate}, revision {draft.revision}, {draft.outcome}",
        "accepted": "yes" if record.accepted else f"no: {record.reason}",
        "verdicts": "; ".join(
            f"{v.validator} {_mark(v.passed)} ({v.reason})" for v in record.verdicts
        ),
    }
    if reveal:
        told["messages"] = "\n".join(f"{m['role']}: {m['content']}" for m in scenario.messages)
        told["response"] = draft.response or ""
    return told


def _mark(passed: bool | None) -> str:
    return {True: "passed", False: "failed", None: "unscored"}[passed]


def verify(folder: Path, *, json: bool) -> int:
    """Prove a dataset; 1 when it breaks a promise."""
    from safegen.dataset.verify import verify as prove

    problems = prove(folder)
    if json:
        sys.stdout.write(jsonlib.dumps({"folder": str(folder), "problems": problems}) + "\n")
    else:
        out = console(sys.stdout)
        for problem in problems:
            out.print(escape(problem))
        out.print(f"{escape(str(folder))}: {f'{len(problems)} problems' if problems else 'proved'}")
    return 1 if problems else 0


def status(folder: Path, *, json: bool) -> None:
    """Say how far a run is."""
    run = api.open_run(folder)
    facts: dict[str, object] = {"recipe": run.recipe.name, "version": run.recipe.version}
    if run.folder.plan.exists():
        shards, scenarios = plan.size(run.folder.plan)
        done = len(run.folder.finished())
        facts |= {"scenarios": scenarios, "shards": f"{done} of {shards} done"}
    else:
        facts["shards"] = "not planned yet"
    facts |= {f"lost {k}": v for k, v in api.lost_items(run.folder).items()}
    facts |= api.spent(run.folder)
    facts["dataset"] = "built" if (run.output / "manifest.json").exists() else "not built yet"
    _print(facts, json=json)


def list_(kind: str | None, *, json: bool) -> None:
    """List names by kind."""
    kinds = {
        **{k: assets.names for k in assets.KINDS},
        **dict.fromkeys(plugins.KINDS, plugins.names),
    }
    if kind is not None:
        assets.known_or_fail(kind, list(kinds), what="kind")
    for name, names in kinds.items():
        if kind in (None, name):
            _print({name: ", ".join(names(name))}, json=json)


def _print(facts: dict[str, object], *, json: bool) -> None:
    if json:
        sys.stdout.write(jsonlib.dumps(facts, ensure_ascii=False) + "\n")
        return
    out = console(sys.stdout)
    for key, value in facts.items():
        clean = "".join(c if c.isprintable() or c == "\n" else "�" for c in str(value))
        out.print(f"[bold]{escape(key)}[/bold]  {escape(clean)}")
    out.print()
