from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.harness import call, write_recipe

EMPTY = {
    "no written sets": ("sets_per_harm: 0", "`plan.sets_per_harm: 0` excludes all written sets"),
    "barred": (
        "harms: [sexual.*], profiles: [minors]",
        "the taxonomy excludes sexual.",
    ),
    "probes that no chosen leaf has": (
        "harms: [cyber.intrusion], sets_per_harm: 0, contrast: [homonyms]",
        "the chosen harms have nothing written for `plan.contrast`;",
    ),
    "conversations that no chosen leaf has": (
        "harms: [fraud.identity], sets_per_harm: 0, dialogues: [recovery]",
        "let an author write some (`plan.authored_dialogues`)",
    ),
}


@pytest.mark.parametrize(("keys", "expected"), EMPTY.values(), ids=EMPTY.keys())
@pytest.mark.parametrize("command", ["check", "generate", "preview"])
def test_empty_plan_names_its_cause(
    command: str, keys: str, expected: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_recipe(workdir, f"name: none\nplan: {{{keys}}}\n")
    result = call(capsys, command, path)
    assert (result.code, result.out) == (2, "")
    assert "the plan is empty" in result.err
    assert expected in result.err


def test_taxonomy_without_goals_is_named(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call(capsys, "init", "guild.yaml", "--taxonomy", "guild", "--policy", "secrets").code == 0
    )
    tree = workdir / "taxonomies/guild/taxonomy.yaml"
    tree.write_text(tree.read_text().replace("sets: [sets/first.yaml]", "sets: []"))
    result = call(capsys, "check", "guild.yaml")
    assert result.code == 2
    assert "taxonomy `guild` has no goals for the chosen harms" in result.err
    assert "`--prompts FILE`" in result.err
