"""Output of `safegen taxonomy check`, `show` and `import`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from safegen.cli.render.console import (
    format_json_line,
    make_console,
    make_fact_table,
    make_text,
    print_out,
)
from safegen.cli.render.tables import print_table, write_file
from safegen.config import taxonomy, taxonomy_import
from safegen.config.goals import Goal
from safegen.config.taxonomy import Harm, Taxonomy
from safegen.config.taxonomy_import import TaxonomyHeader
from safegen.core.errors import ConfigError


def check_taxonomy(name: str, *, json: bool) -> None:
    """Validate a taxonomy with its goals and print a summary."""
    tree = taxonomy.load_taxonomy(name)
    goals = Counter(goal.harm for goal in tree.goals())
    without_goals = [
        harm.id for harm in tree.harms.values() if not harm.red_line and not goals[harm.id]
    ]
    barred = _list_barred(tree)
    split_sentences = [
        {"goal_id": goal.goal_id, "text": text}
        for goal in tree.goals()
        for text in _find_split_sentences(goal)
    ]
    payload: dict[str, object] = {
        "taxonomy": f"{tree.file.taxonomy}@{tree.file.version}",
        "file": str(tree.path),
        "domains": len(tree.file.domains),
        "leaves": len(tree.harms),
        "red_lines": sum(harm.red_line for harm in tree.harms.values()),
        "goals": goals.total(),
        "not_under": barred,
        "leaves_without_goals": without_goals,
        "split_sentences": split_sentences,
    }
    if json:
        sys.stdout.write(format_json_line(payload))
        return
    shown = payload | {
        "not_under": "; ".join(f"{p}: {', '.join(ids)}" for p, ids in barred.items()) or "none",
        "leaves_without_goals": ", ".join(without_goals) or "none",
    }
    del shown["split_sentences"]
    out = make_console(sys.stdout)
    pairs = [(key.replace("_", " "), make_text(value)) for key, value in shown.items()]
    print_out(out, make_fact_table(pairs, indent=0))
    for sentence in split_sentences:
        line = (
            f"{sentence['goal_id']}: `{sentence['text']}` starts in lower case: quote the sentence if"
            " YAML split it at a comma"
        )
        print_out(out, make_text(line, "yellow"))


def _find_split_sentences(goal: Goal) -> Iterator[str]:
    # YAML splits an unquoted sentence in a flow list at its commas; the second part starts in lower case.
    knowledge = goal.knowledge
    texts = (
        *knowledge.answer,
        *knowledge.concepts,
        *knowledge.safe_task.steps,
        *knowledge.redirections,
        *knowledge.better_ways,
    )
    yield from (text for text in texts if text[0].islower())


def _list_barred(tree: Taxonomy) -> dict[str, list[str]]:
    """List the leaves without prompts under a profile, by profile."""
    harms_by_profile: dict[str, list[str]] = {}
    for harm in tree.harms.values():
        for profile in harm.not_under:
            harms_by_profile.setdefault(profile, []).append(harm.id)
    return harms_by_profile


def show_taxonomy(name: str, *, json: bool) -> None:
    """Print the leaves of a taxonomy."""
    tree = taxonomy.load_taxonomy(name)
    goals = Counter(goal.harm for goal in tree.goals())
    if json:
        for harm in tree.harms.values():
            payload = {**harm.model_dump(mode="json"), "goals": goals[harm.id]}
            sys.stdout.write(format_json_line(payload))
        return
    out = make_console(sys.stdout)
    print_out(
        out, make_text(f"{tree.file.title}  {tree.file.taxonomy}@{tree.file.version}", "bold"), ""
    )
    head = ("leaf", "tier", "severity", "not under", "goals", "ailuminate", "llama guard", "name")
    print_table(out, head, [_leaf_row(harm, goals[harm.id]) for harm in tree.harms.values()])


def _leaf_row(harm: Harm, goals: int) -> tuple[object, ...]:
    goal_count = "red line" if harm.red_line else goals
    ids = harm.crosswalk.ailuminate, harm.crosswalk.llama_guard
    scheme_ids = ["-" if scheme == "none" else " ".join(scheme) for scheme in ids]
    return (
        harm.id,
        harm.tier,
        harm.severity,
        ", ".join(harm.not_under) or "-",
        goal_count,
        *scheme_ids,
        harm.name,
    )


def import_taxonomy(
    file: Path,
    output: Path | None,
    *,
    head: TaxonomyHeader,
    force: bool,
    json: bool,
) -> None:
    """Convert a table to a taxonomy; write YAML to the file or stdout, the report to stderr.

    Raises:
        ConfigError: the output is no `.yaml`, or the table is wrong.
    """
    if output is not None and output.suffix not in (".yaml", ".yml"):
        example = output / "taxonomy.yaml"
        raise ConfigError(f"`{output}` must end in `.yaml`, such as `{example}`")
    entries = taxonomy_import.read_table(file)
    imported = taxonomy_import.build_taxonomy(entries, head)
    if output is None and not json:
        sys.stdout.write(imported.text)
    elif output is not None:
        write_file(output, imported.text, force=force)
    if json:
        payload = {
            "taxonomy": head.name,
            "output": None if output is None else str(output),
            "gaps": [gap._asdict() for gap in imported.gaps],
            "notes": imported.notes,
        }
        sys.stdout.write(format_json_line(payload))
        return
    out = make_console(sys.stderr)
    for note in imported.notes:
        print_out(out, make_text(note))
    print_table(out, ("leaf", "missing value", "default"), imported.gaps)
    if output is not None:
        print_out(out, make_text(f"wrote {output}"))
