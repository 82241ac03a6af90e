"""What `safegen policy diff` and `import` print and write."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, RenderableType

from safegen.cli.policy_explain import plans
from safegen.cli.render.console import console, facts, json_line, number, plural, put, word
from safegen.cli.render.tables import table, write
from safegen.config import taxonomy
from safegen.core.errors import ConfigError, UserError
from safegen.core.types import Expectation, Planned
from safegen.pipeline import api
from safegen.policy import loader
from safegen.policy.check import check
from safegen.policy.diff import Affected, Change, Difference, Redo, Row, affected, diff as compare
from safegen.policy.importers import fms
from safegen.policy.schema import SPACE, Rule, Situation
from safegen.policy.spec import Policy
from safegen.store import plan
from safegen.store.run_folder import RunFolder

TO_DO: Mapping[Redo, tuple[str, str]] = {
    "draft": ("to draft and judge again", "what the teacher is told changes"),
    "judge": ("to judge again, drafts stay", "what a judge is told changes"),
    "relabel": ("stay, under the new spec's id", "nothing that concerns them changes"),
}
"""What is to be done with rows, and why where their expectation stays."""


def diff(old: str, new: str, *, run: Path | None, ids: bool, json: bool) -> None:
    """Print what changes, and which rows of a run it concerns."""
    if ids and run is None:
        raise UserError("`--ids` names scenarios of a run; name its folder with `--run FOLDER`")
    before, after = loader.load(old), loader.load(new)
    found = compare(before, after)
    rows = None if run is None else _counted(run, before, after)
    if json:
        sys.stdout.write(json_line(_facts(found, None if rows is None else rows.affected)))
        return
    out = console(sys.stdout)
    put(out, word(f"{before.policy_id} → {after.policy_id}", "bold"), "")
    put(out, f"situations that change: {len(found.situations)} of {len(SPACE)}")
    for (b, a), changes in found.by_rule().items():
        decides = b if b == a else f"{b} → {a}"
        pairs = [
            ("situations", number(len(changes))),
            ("expects", _step(changes[0])),
            ("where", _where(changes)),
        ]
        put(out, "", word(f"  {decides}"), facts(pairs, indent=4))
    put(out, "")
    put(out, f"texts that change: {len(found.texts)}")
    table(out, ("part", "", "text"), list(_texts(found)))
    if rows is not None:
        _put_rows(out, rows, ids=ids)


def _texts(found: Difference) -> list[tuple[str, str, str]]:
    lines: list[tuple[str, str, str]] = []
    for part, before, after in found.texts:
        lines += [(part, "-", before)] if before is not None else []
        lines += [(part, "+", after)] if after is not None else []
    return lines


def _step(change: Change) -> str:
    """The modes, details and required elements that differ."""
    before, after = change.before, change.after
    parts = (
        [f"{_outcome(before)} → {_outcome(after)}"] if _outcome(before) != _outcome(after) else []
    )
    parts += _required(before, after)
    return "; ".join(parts) or "the order of what is required"


def _required(before: Rule | Expectation, after: Rule | Expectation) -> list[str]:
    more = [name for name in after.required if name not in before.required]
    less = [name for name in before.required if name not in after.required]
    told = [f"requires {', '.join(more)} too"] if more else []
    return told + ([f"requires {', '.join(less)} no more"] if less else [])


def _outcome(rule: Rule | Expectation) -> str:
    floor = f", floor {rule.floor}" if rule.floor else ""
    return f"{rule.mode}, ceiling {rule.ceiling}{floor}"


def _where(changes: list[Change]) -> str:
    """The values of each axis over which the changes run; an axis that runs whole is left out."""
    parts: list[str] = []
    for axis in Situation._fields:
        values = list(dict.fromkeys(str(getattr(c.at, axis)) for c in changes))
        if len(values) < len({getattr(at, axis) for at in SPACE}):
            parts.append(f"{axis} {'/'.join(values)}")
    return ", ".join(parts) or "everywhere"


class Counted(NamedTuple):
    """The rows of a run that two specs concern."""

    affected: Affected
    run: Path
    old: Policy
    new: Policy
    prompts: int
    under: int
    """Prompts that were made under the old spec."""
    undone: int
    """Shards of the run that are not done; `generate` goes on with them, whatever an edit changes."""
    orphans: dict[str, str]
    """Leaf by id of the prompts whose leaf neither the new spec nor another one of the run covers."""


def _counted(run: Path, old: Policy, new: Policy) -> Counted:
    basis = api.basis(api.open_run(run))
    harms = basis.tree.harms
    before, after = _specs(basis.policies, old, new)
    leaves: dict[str, str] = {}
    size = Counter[str]()

    def planned() -> Iterator[Planned]:
        for item in (item for path in plans(run) for item in plan.every(path)):
            if item.first:  # further candidates of a prompt that was there before
                continue
            size["prompts"] += 1
            size["under"] += _made_under(item.expectation, old)
            if not any(spec.covers(item.scenario.harm) for spec in after):
                leaves[item.scenario.scenario_id] = item.scenario.harm
            yield item

    found = affected(planned(), old=before, new=after, harms=harms)
    orphans = {id_: leaves.get(id_, "of no leaf of the run") for id_ in found.orphans}
    folder = RunFolder(run)
    undone = plan.Plans(folder.plans).shards - len(folder.finished())
    return Counted(found, run, old, new, size["prompts"], size["under"], undone, orphans)


def _specs(
    run: Sequence[Policy], old: Policy, new: Policy
) -> tuple[Sequence[Policy], Sequence[Policy]]:
    """The specs of a run before the edit and after it; the two alone where the run knows no such spec.

    The others matter where a leaf goes from one spec to another.
    """
    if all(one.spec.policy != old.spec.policy for one in run):
        return [old], [new]
    names = (old.spec.policy, new.spec.policy)
    return [old, *run], [new, *(one for one in run if one.spec.policy not in names)]


def _made_under(expectation: Expectation, policy: Policy) -> bool:
    return expectation.policy_id.split("@")[0] == policy.spec.policy


def _put_rows(out: Console, rows: Counted, *, ids: bool) -> None:
    """Say in words which rows change, from what to what."""
    groups: dict[tuple[Redo, tuple[str, ...]], list[Row]] = {}
    for row in rows.affected.rows:
        groups.setdefault((row.redo, _change(row)), []).append(row)
    own = sum(_made_under(row.before, rows.old) for row in rows.affected.rows)
    stay = rows.under - own - len(rows.orphans)
    named = f"{number(rows.under)} of {plural(rows.prompts, 'prompt')} in {rows.run}"
    put(out, "", word(f"{named} were made under {rows.old.spec.policy}", "bold"))
    for redo, (to_do, _) in TO_DO.items():
        for (of, told), found in groups.items():
            if of == redo:
                leaves = Counter(row.harm for row in found)
                named = [row.scenario_id for row in found] if ids else []
                _group(out, f"{plural(len(found), 'prompt')} {to_do}", told, leaves, named)
    if rows.orphans:
        head = f"{plural(len(rows.orphans), 'prompt')} of leaves that {rows.new.spec.policy} does not cover"
        told = ("nor does another spec of the run; the recipe needs one for these leaves",)
        _group(out, head, told, Counter(rows.orphans.values()), list(rows.orphans) if ids else [])
    if stay:
        put(out, "", word(f"  {plural(stay, 'prompt')} as they are".strip()))
    if rows.undone > 0:
        told = f"{plural(rows.undone, 'shard')} of the run not done: `generate` goes on there, whatever this edit changes"
        put(out, "", word(told, "yellow"))
    if rows.affected.rows and not ids:
        put(out, "", word("`--ids` names the scenarios, `--json` has all of it", "dim"))


def _change(row: Row) -> tuple[str, ...]:
    """From what to what a row's expectation changes, in lines; the reason where it stays."""
    before, after = row.before, row.after
    outcomes = _outcome(before), _outcome(after)
    parts = [f"{outcomes[0]} → {outcomes[1]}"] if outcomes[0] != outcomes[1] else []
    parts += _required(before, after)
    specs = [one.policy_id.split("@")[0] for one in (before, after)]
    if specs[0] != specs[1]:
        parts.insert(0, f"spec {specs[0]} → {specs[1]}")
    if not parts:
        return (f"expectation as it is; {TO_DO[row.redo][1]}",)
    return (*parts, f"by {', '.join(before.rule_ids)} → {', '.join(after.rule_ids)}")


def _group(
    out: Console, head: str, told: Sequence[str], leaves: Counter[str], ids: Sequence[str]
) -> None:
    pairs: list[tuple[str, RenderableType]] = [
        ("" if n else "change", word(line)) for n, line in enumerate(told)
    ]
    pairs.append(("leaves", word(", ".join(f"{h} {n}" for h, n in sorted(leaves.items())))))
    if ids:
        pairs.append(("ids", word(" ".join(ids))))
    put(out, "", word(head), facts(pairs, indent=2))


def _facts(found: Difference, rows: Affected | None) -> dict[str, object]:
    told: dict[str, object] = {
        "situations": [
            {**c.at._asdict(), "before": _told(c.before), "after": _told(c.after)}
            for c in found.situations
        ],
        "texts": [text._asdict() for text in found.texts],
    }
    if rows is not None:
        told["rows"] = {
            "draft": rows.draft,
            "judge": rows.judge,
            "relabel": rows.relabel,
            "orphans": rows.orphans,
            "changes": [_row_told(row) for row in rows.rows],
        }
    return told


def _row_told(row: Row) -> dict[str, object]:
    return {**row._asdict(), "before": asdict(row.before), "after": asdict(row.after)}


def _told(rule: Rule) -> dict[str, object]:
    return rule.model_dump(mode="json", include={"id", "mode", "ceiling", "floor", "required"})


def import_(
    file: Path, output: Path, *, taxonomy_output: Path | None, force: bool, json: bool
) -> None:
    """Write the spec, and the taxonomy if it is wanted; report what was lost."""
    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"`{output}` must end in `.yaml`, or no recipe can name it")
    made = fms.convert(file)
    write(output, made.spec, force=force)
    if taxonomy_output is not None:
        write(taxonomy_output, made.taxonomy, force=force)
    findings = check([str(output)], taxonomy.load("core")).findings
    if json:
        told = {"output": str(output), "lost": [lost._asdict() for lost in made.lost]}
        sys.stdout.write(json_line({**told, "findings": [str(found) for found in findings]}))
        return
    out = console(sys.stdout)
    table(out, ("where", "what could not be carried over"), made.lost)
    for found in findings:
        put(out, word(found, "yellow" if found.warning else "red"))
    put(out, word(f"wrote {output}; look at it with `safegen policy show {output}`"))
