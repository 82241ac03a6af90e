"""What `safegen policy diff` and `import` print and write."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, RenderableType

from safegen.cli.policy_explain import list_plans
from safegen.cli.render.console import (
    format_json_line,
    format_number,
    format_plural,
    make_console,
    make_fact_table,
    make_text,
    print_out,
)
from safegen.cli.render.tables import print_table, write_file
from safegen.config import taxonomy
from safegen.core.errors import ConfigError, UserError
from safegen.core.types import Expectation, PlannedScenario
from safegen.pipeline import api
from safegen.policy import loader
from safegen.policy.check import check_specs
from safegen.policy.diff import (
    AffectedRows,
    Difference,
    PlanRow,
    Redo,
    SituationChange,
    diff_specs as compare,
    find_affected,
)
from safegen.policy.importers import fms
from safegen.policy.schema import ALL_SITUATIONS, Rule, Situation
from safegen.policy.spec import Policy
from safegen.store import plan
from safegen.store.run_folder import RunFolder

REDO_TEXT: Mapping[Redo, tuple[str, str]] = {
    "draft": ("to draft and judge again", "what the teacher is told changes"),
    "judge": ("to judge again, drafts stay", "what a judge is told changes"),
    "relabel": ("stay, under the new spec's id", "nothing that concerns them changes"),
}
"""What is to be done with rows, and why where their expectation stays."""


def show_diff(old: str, new: str, *, run: Path | None, ids: bool, json: bool) -> None:
    """Print what changes, and which rows of a run it concerns."""
    if ids and run is None:
        raise UserError("`--ids` names scenarios of a run; name its folder with `--run FOLDER`")
    before, after = loader.load_policy(old), loader.load_policy(new)
    difference = compare(before, after)
    rows = None if run is None else _count_rows(run, before, after)
    if json:
        sys.stdout.write(
            format_json_line(_to_json(difference, None if rows is None else rows.affected))
        )
        return
    out = make_console(sys.stdout)
    print_out(out, make_text(f"{before.policy_id} → {after.policy_id}", "bold"), "")
    print_out(out, f"situations that change: {len(difference.situations)} of {len(ALL_SITUATIONS)}")
    for (b, a), changes in difference.by_rule().items():
        decides = b if b == a else f"{b} → {a}"
        pairs = [
            ("situations", format_number(len(changes))),
            ("expects", _describe_step(changes[0])),
            ("where", _describe_axes(changes)),
        ]
        print_out(out, "", make_text(f"  {decides}"), make_fact_table(pairs, indent=4))
    print_out(out, "")
    print_out(out, f"texts that change: {len(difference.texts)}")
    print_table(out, ("part", "", "text"), list(_text_rows(difference)))
    if rows is not None:
        _print_rows(out, rows, ids=ids)


def _text_rows(difference: Difference) -> list[tuple[str, str, str]]:
    lines: list[tuple[str, str, str]] = []
    for part, before, after in difference.texts:
        lines += [(part, "-", before)] if before is not None else []
        lines += [(part, "+", after)] if after is not None else []
    return lines


def _describe_step(change: SituationChange) -> str:
    """The modes, details and required elements that differ."""
    before, after = change.before, change.after
    parts = (
        [f"{_describe_outcome(before)} → {_describe_outcome(after)}"]
        if _describe_outcome(before) != _describe_outcome(after)
        else []
    )
    parts += _describe_required(before, after)
    return "; ".join(parts) or "the order of what is required"


def _describe_required(before: Rule | Expectation, after: Rule | Expectation) -> list[str]:
    more = [name for name in after.required if name not in before.required]
    less = [name for name in before.required if name not in after.required]
    parts = [f"requires {', '.join(more)} too"] if more else []
    return parts + ([f"requires {', '.join(less)} no more"] if less else [])


def _describe_outcome(rule: Rule | Expectation) -> str:
    floor = f", floor {rule.floor}" if rule.floor else ""
    return f"{rule.mode}, ceiling {rule.ceiling}{floor}"


def _describe_axes(changes: list[SituationChange]) -> str:
    """The values of each axis over which the changes run; an axis that runs whole is left out."""
    parts: list[str] = []
    for axis in Situation._fields:
        values = list(dict.fromkeys(str(getattr(c.situation, axis)) for c in changes))
        if len(values) < len({getattr(at, axis) for at in ALL_SITUATIONS}):
            parts.append(f"{axis} {'/'.join(values)}")
    return ", ".join(parts) or "everywhere"


class RunDiff(NamedTuple):
    """The rows of a run that two specs concern."""

    affected: AffectedRows
    run: Path
    old: Policy
    new: Policy
    prompts: int
    under_policy: int
    """Prompts that were made under the old spec."""
    undone_prompts: int
    """Shards of the run that are not done; `generate` goes on with them, whatever an edit changes."""
    orphans: dict[str, str]
    """Leaf by id of the prompts whose leaf neither the new spec nor another one of the run covers."""


def _count_rows(run: Path, old: Policy, new: Policy) -> RunDiff:
    basis = api.load_context(api.open_run(run))
    harms = basis.tree.harms
    before, after = _find_specs(basis.policies, old, new)
    leaves: dict[str, str] = {}
    size = Counter[str]()

    def planned() -> Iterator[PlannedScenario]:
        for item in (item for path in list_plans(run) for item in plan.iter_scenarios(path)):
            if item.first:  # further candidates of a prompt that was there before
                continue
            size["prompts"] += 1
            size["under"] += _is_made_under(item.expectation, old)
            if not any(spec.covers(item.scenario.harm) for spec in after):
                leaves[item.scenario.scenario_id] = item.scenario.harm
            yield item

    rows = find_affected(planned(), old=before, new=after, harms=harms)
    orphans = {id_: leaves.get(id_, "of no leaf of the run") for id_ in rows.orphans}
    folder = RunFolder(run)
    undone = plan.Plans(folder.plans).shards - len(folder.finished_shards())
    return RunDiff(rows, run, old, new, size["prompts"], size["under"], undone, orphans)


def _find_specs(
    run: Sequence[Policy], old: Policy, new: Policy
) -> tuple[Sequence[Policy], Sequence[Policy]]:
    """The specs of a run before the edit and after it; the two alone where the run knows no such spec.

    The others matter where a leaf goes from one spec to another.
    """
    if all(one.spec.policy != old.spec.policy for one in run):
        return [old], [new]
    names = (old.spec.policy, new.spec.policy)
    return [old, *run], [new, *(one for one in run if one.spec.policy not in names)]


def _is_made_under(expectation: Expectation, policy: Policy) -> bool:
    return expectation.policy_id.split("@")[0] == policy.spec.policy


def _print_rows(out: Console, rows: RunDiff, *, ids: bool) -> None:
    """Say in words which rows change, from what to what."""
    groups: dict[tuple[Redo, tuple[str, ...]], list[PlanRow]] = {}
    for row in rows.affected.rows:
        groups.setdefault((row.redo, _describe_change(row)), []).append(row)
    own = sum(_is_made_under(row.before, rows.old) for row in rows.affected.rows)
    stay = rows.under_policy - own - len(rows.orphans)
    named = f"{format_number(rows.under_policy)} of {format_plural(rows.prompts, 'prompt')} in {rows.run}"
    print_out(out, "", make_text(f"{named} were made under {rows.old.spec.policy}", "bold"))
    for redo, (to_do, _) in REDO_TEXT.items():
        for (of, change_lines), group in groups.items():
            if of == redo:
                leaves = Counter(row.harm for row in group)
                named = [row.scenario_id for row in group] if ids else []
                _print_group(
                    out,
                    f"{format_plural(len(group), 'prompt')} {to_do}",
                    change_lines,
                    leaves,
                    named,
                )
    if rows.orphans:
        head = f"{format_plural(len(rows.orphans), 'prompt')} of leaves that {rows.new.spec.policy} does not cover"
        change_lines = ("nor does another spec of the run; the recipe needs one for these leaves",)
        _print_group(
            out,
            head,
            change_lines,
            Counter(rows.orphans.values()),
            list(rows.orphans) if ids else [],
        )
    if stay:
        print_out(out, "", make_text(f"  {format_plural(stay, 'prompt')} as they are".strip()))
    if rows.undone_prompts > 0:
        change_lines = f"{format_plural(rows.undone_prompts, 'shard')} of the run not done: `generate` goes on there, whatever this edit changes"
        print_out(out, "", make_text(change_lines, "yellow"))
    if rows.affected.rows and not ids:
        print_out(out, "", make_text("`--ids` names the scenarios, `--json` has all of it", "dim"))


def _describe_change(row: PlanRow) -> tuple[str, ...]:
    """From what to what a row's expectation changes, in lines; the reason where it stays."""
    before, after = row.before, row.after
    outcomes = _describe_outcome(before), _describe_outcome(after)
    parts = [f"{outcomes[0]} → {outcomes[1]}"] if outcomes[0] != outcomes[1] else []
    parts += _describe_required(before, after)
    specs = [one.policy_id.split("@")[0] for one in (before, after)]
    if specs[0] != specs[1]:
        parts.insert(0, f"spec {specs[0]} → {specs[1]}")
    if not parts:
        return (f"expectation as it is; {REDO_TEXT[row.redo][1]}",)
    return (*parts, f"by {', '.join(before.rule_ids)} → {', '.join(after.rule_ids)}")


def _print_group(
    out: Console, head: str, lines: Sequence[str], leaves: Counter[str], ids: Sequence[str]
) -> None:
    pairs: list[tuple[str, RenderableType]] = [
        ("" if n else "change", make_text(line)) for n, line in enumerate(lines)
    ]
    pairs.append(("leaves", make_text(", ".join(f"{h} {n}" for h, n in sorted(leaves.items())))))
    if ids:
        pairs.append(("ids", make_text(" ".join(ids))))
    print_out(out, "", make_text(head), make_fact_table(pairs, indent=2))


def _to_json(difference: Difference, rows: AffectedRows | None) -> dict[str, object]:
    payload: dict[str, object] = {
        "situations": [
            {
                **c.situation._asdict(),
                "before": _rule_to_json(c.before),
                "after": _rule_to_json(c.after),
            }
            for c in difference.situations
        ],
        "texts": [text._asdict() for text in difference.texts],
    }
    if rows is not None:
        payload["rows"] = {
            "draft": rows.to_draft,
            "judge": rows.to_judge,
            "relabel": rows.to_relabel,
            "orphans": rows.orphans,
            "changes": [_row_to_json(row) for row in rows.rows],
        }
    return payload


def _row_to_json(row: PlanRow) -> dict[str, object]:
    return {**row._asdict(), "before": asdict(row.before), "after": asdict(row.after)}


def _rule_to_json(rule: Rule) -> dict[str, object]:
    return rule.model_dump(mode="json", include={"id", "mode", "ceiling", "floor", "required"})


def import_policy(
    file: Path, output: Path, *, taxonomy_output: Path | None, force: bool, json: bool
) -> None:
    """Write the spec, and the taxonomy if it is wanted; report what was lost."""
    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"`{output}` must end in `.yaml`, or no recipe can name it")
    made = fms.convert_policy(file)
    write_file(output, made.spec, force=force)
    if taxonomy_output is not None:
        write_file(taxonomy_output, made.taxonomy, force=force)
    findings = check_specs([str(output)], taxonomy.load_taxonomy("core")).findings
    if json:
        payload = {"output": str(output), "lost": [lost._asdict() for lost in made.unsupported]}
        sys.stdout.write(
            format_json_line({**payload, "findings": [str(finding) for finding in findings]})
        )
        return
    out = make_console(sys.stdout)
    print_table(out, ("where", "what could not be carried over"), made.unsupported)
    for finding in findings:
        print_out(out, make_text(finding, "yellow" if finding.warning else "red"))
    print_out(out, make_text(f"wrote {output}; look at it with `safegen policy show {output}`"))
