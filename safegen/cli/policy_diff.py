"""Output of `safegen policy diff` and `safegen policy import`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, RenderableType

from safegen.cli.render.console import (
    format_json_line,
    format_number,
    make_console,
    make_fact_table,
    make_text,
    print_out,
)
from safegen.cli.render.tables import print_table, write_file
from safegen.core.errors import ConfigError, UserError
from safegen.core.plural import format_plural
from safegen.core.types import Expectation
from safegen.pipeline import policies
from safegen.pipeline.policies import RunComparison
from safegen.policy.diff import AffectedRows, Difference, PlanRow, Redo, SituationChange
from safegen.policy.schema import ALL_SITUATIONS, Rule, Situation
from safegen.policy.spec import Policy

REDO_TEXT: Mapping[Redo, tuple[str, str]] = {
    "draft": ("to draft and judge again", "the teacher's instructions change"),
    "judge": ("to judge again, drafts are kept", "the judge's rubric changes"),
    "relabel": ("kept under the new spec's id", "nothing else changes for them"),
}
"""The action for rows, and its reason if their expectation is unchanged."""


def show_diff(old: str, new: str, *, run: Path | None, ids: bool, json: bool) -> None:
    """Print what changes between two specs, and which rows of a run are affected."""
    if ids and run is None:
        raise UserError("`--ids` lists scenarios of a run; name its folder with `--run FOLDER`")
    comparison = policies.compare_policies(old, new, run=run)
    difference, rows = comparison.difference, comparison.run
    if json:
        payload = _to_json(difference, None if rows is None else rows.affected)
        sys.stdout.write(format_json_line(payload))
        return
    out = make_console(sys.stdout)
    head = f"{comparison.old.policy_id} → {comparison.new.policy_id}"
    print_out(out, make_text(head, "bold"), "")
    print_out(out, f"changed situations: {len(difference.situations)} of {len(ALL_SITUATIONS)}")
    for (rule_before, rule_after), changes in difference.by_rule().items():
        rules = rule_before if rule_before == rule_after else f"{rule_before} → {rule_after}"
        pairs = [
            ("situations", format_number(len(changes))),
            ("expects", _describe_step(changes[0])),
            ("if", _describe_axes(changes)),
        ]
        print_out(out, "", make_text(f"  {rules}"), make_fact_table(pairs, indent=4))
    print_out(out, "")
    print_out(out, f"changed texts: {len(difference.texts)}")
    print_table(out, ("part", "", "text"), list(_text_rows(difference)))
    if rows is not None:
        _print_rows(out, rows, old=comparison.old, new=comparison.new, run=run, ids=ids)


def _text_rows(difference: Difference) -> list[tuple[str, str, str]]:
    lines: list[tuple[str, str, str]] = []
    for part, before, after in difference.texts:
        lines += [(part, "-", before)] if before is not None else []
        lines += [(part, "+", after)] if after is not None else []
    return lines


def _describe_step(change: SituationChange) -> str:
    before, after = change.before, change.after
    parts = (
        [f"{_describe_outcome(before)} → {_describe_outcome(after)}"]
        if _describe_outcome(before) != _describe_outcome(after)
        else []
    )
    parts += _describe_required(before, after)
    return "; ".join(parts) or "order of the required elements"


def _describe_required(before: Rule | Expectation, after: Rule | Expectation) -> list[str]:
    added = [name for name in after.required if name not in before.required]
    removed = [name for name in before.required if name not in after.required]
    parts = [f"also requires {', '.join(added)}"] if added else []
    return parts + ([f"no longer requires {', '.join(removed)}"] if removed else [])


def _describe_outcome(rule: Rule | Expectation) -> str:
    floor = f", floor {rule.floor}" if rule.floor else ""
    return f"{rule.mode}, ceiling {rule.ceiling}{floor}"


def _describe_axes(changes: list[SituationChange]) -> str:
    # An axis that takes all of its values says nothing.
    parts: list[str] = []
    for axis in Situation._fields:
        values = list(dict.fromkeys(str(getattr(c.situation, axis)) for c in changes))
        if len(values) < len({getattr(at, axis) for at in ALL_SITUATIONS}):
            parts.append(f"{axis} {'/'.join(values)}")
    harms = dict.fromkeys(harm for change in changes for harm in change.harms)
    parts += [f"harm {'/'.join(harms)}"] if harms else []
    return ", ".join(parts) or "always"


def _print_rows(
    out: Console, rows: RunComparison, *, old: Policy, new: Policy, run: Path | None, ids: bool
) -> None:
    groups: dict[tuple[Redo, tuple[str, ...]], list[PlanRow]] = {}
    for row in rows.affected.rows:
        groups.setdefault((row.redo, _describe_change(row)), []).append(row)
    affected = sum(policies.is_made_under(row.before, old) for row in rows.affected.rows)
    unchanged = rows.under_policy - affected - len(rows.orphans)
    head = f"{format_number(rows.under_policy)} of {format_plural(rows.prompts, 'prompt')} in {run}"
    print_out(out, "", make_text(f"{head} were made under {old.spec.policy}", "bold"))
    for redo, (action, _) in REDO_TEXT.items():
        for (group_redo, lines), group in groups.items():
            if group_redo == redo:
                _print_group(
                    out,
                    f"{format_plural(len(group), 'prompt')} {action}",
                    lines,
                    Counter(row.harm for row in group),
                    [row.scenario_id for row in group] if ids else [],
                )
    if rows.orphans:
        _print_group(
            out,
            f"{format_plural(len(rows.orphans), 'prompt')} of leaves that {new.spec.policy} does not cover",
            ("no other spec of the run covers them; the recipe needs one for these leaves",),
            Counter(rows.orphans.values()),
            list(rows.orphans) if ids else [],
        )
    if unchanged:
        print_out(out, "", make_text(f"{format_plural(unchanged, 'prompt')} unchanged"))
    if rows.unfinished_shards > 0:
        shards = format_plural(rows.unfinished_shards, "shard")
        line = (
            f"{shards} of the run unfinished: `generate` resumes them, whatever this edit changes"
        )
        print_out(out, "", make_text(line, "yellow"))
    if rows.affected.rows and not ids:
        print_out(out, "", make_text("`--ids` lists the scenarios, `--json` shows all", "dim"))


def _describe_change(row: PlanRow) -> tuple[str, ...]:
    before, after = row.before, row.after
    outcomes = _describe_outcome(before), _describe_outcome(after)
    parts = [f"{outcomes[0]} → {outcomes[1]}"] if outcomes[0] != outcomes[1] else []
    parts += _describe_required(before, after)
    specs = [one.policy_id.split("@")[0] for one in (before, after)]
    if specs[0] != specs[1]:
        parts.insert(0, f"spec {specs[0]} → {specs[1]}")
    if not parts:
        return (f"expectation unchanged; {REDO_TEXT[row.redo][1]}",)
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
                "harms": list(c.harms),
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
    """Write the spec, optionally a taxonomy, and report what was not converted."""
    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"`{output}` must end in `.yaml`, so that a recipe can name it")
    imported = policies.import_policy(file)
    write_file(output, imported.spec, force=force)
    if taxonomy_output is not None:
        write_file(taxonomy_output, imported.taxonomy, force=force)
    findings = policies.check_policies([str(output)]).findings
    if json:
        payload = {
            "output": str(output),
            "lost": [rule._asdict() for rule in imported.unsupported],
            "findings": [str(finding) for finding in findings],
        }
        sys.stdout.write(format_json_line(payload))
        return
    out = make_console(sys.stdout)
    print_table(out, ("place", "not converted"), imported.unsupported)
    for finding in findings:
        print_out(out, make_text(finding, "yellow" if finding.warning else "red"))
    print_out(out, make_text(f"wrote {output}; show it with `safegen policy show {output}`"))
