"""What `safegen policy diff` and `import` print and write."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from safegen import api, taxonomy
from safegen.cli.policy_look import plans
from safegen.cli.screen import console, facts, json_line, number, put, word
from safegen.cli.tables import table, write
from safegen.errors import ConfigError
from safegen.policy import fms, spec
from safegen.policy.check import check
from safegen.policy.diff import Affected, Change, Difference, affected
from safegen.policy.diff import diff as compare
from safegen.policy.model import SPACE, Rule, Situation
from safegen.store import plan

WORDS = {
    "draft": "draft and judge again",
    "judge": "judge again",
    "relabel": "keep; only the spec's id changes",
}


def diff(old: str, new: str, *, run: Path | None, json: bool) -> None:
    """Print what changes, and which rows of a run it concerns."""
    before, after = spec.load(old), spec.load(new)
    found = compare(before, after)
    rows: Affected | None = None
    if run is not None:
        harms = api.basis(api.open_run(run)).tree.harms
        planned = (item for path in plans(run) for item in plan.every(path))
        rows = affected(planned, old=[before], new=[after], harms=harms)
    if json:
        sys.stdout.write(json_line(_facts(found, rows)))
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
        _rows(rows)


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
    parts += [f"+{name}" for name in after.required if name not in before.required]
    parts += [f"-{name}" for name in before.required if name not in after.required]
    return " ".join(parts) or "the order of what is required"


def _outcome(rule: Rule) -> str:
    return f"{rule.mode} {rule.floor}-{rule.ceiling}"


def _where(changes: list[Change]) -> str:
    """The values of each axis over which the changes run; an axis that runs whole is left out."""
    parts: list[str] = []
    for axis in Situation._fields:
        values = list(dict.fromkeys(str(getattr(c.at, axis)) for c in changes))
        if len(values) < len({getattr(at, axis) for at in SPACE}):
            parts.append(f"{axis} {'/'.join(values)}")
    return ", ".join(parts) or "everywhere"


def _rows(found: Affected) -> None:
    out = console(sys.stdout)
    counts = Counter((row.redo, row.harm, row.before.mode, row.after.mode) for row in found.rows)
    told = [
        (WORDS[redo], harm, before if before == after else f"{before} → {after}", count)
        for (redo, harm, before, after), count in sorted(counts.items())
    ]
    put(
        out,
        f"scenarios: {len(found.draft)} to draft again, {len(found.judge)} to judge again,"
        f" {len(found.relabel)} to relabel, {len(found.orphans)} without a spec",
    )
    table(out, ("to do", "harm", "mode", "scenarios"), told)


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
        }
    return told


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
    findings = [str(f) for f in check([str(output)], taxonomy.load("core")).findings]
    if json:
        told = {"output": str(output), "lost": [lost._asdict() for lost in made.lost]}
        sys.stdout.write(json_line({**told, "findings": findings}))
        return
    out = console(sys.stdout)
    table(out, ("where", "what could not be carried over"), made.lost)
    for found in findings:
        put(out, word(found, "red"))
    put(out, word(f"wrote {output}; look at it with `safegen policy show {output}`"))
