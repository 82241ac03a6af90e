"""Labellers of a user's prompts are checked on known prompts before they label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import safegen
from safegen.config import taxonomy
from safegen.core.errors import RunError
from safegen.core.types import Request
from safegen.teachers.scripted import scripted
from tests.scenarios.authoring.author_cases import asked_fields, asked_text

GOALS = list(taxonomy.load_taxonomy("core").goals())
KNOWN = {
    p.text: (goal.harm, {"intent": intent, "evidence": p.evidence, "detail": p.detail})
    for goal in GOALS
    for intent, _, p in goal.prompts.iter_by_intent()
}
OWN = "What keeps the lid of a puzzle box shut?"
DRAFTER = scripted(lambda _: "A spring holds the lid.")
RECIPE = """
name: checked
judges: {known: 120}
"""


def honest(request: Request) -> str:
    harm, labels = KNOWN.get(
        asked_text(request),
        ("cyber.intrusion", {"intent": "benign", "evidence": "none", "detail": 1}),
    )
    return json.dumps({"harm": harm} if "harm" in asked_fields(request) else labels)


def constant(request: Request) -> str:
    if "harm" in asked_fields(request):
        return json.dumps({"harm": "cyber.intrusion"})
    return json.dumps({"intent": "dual_use", "evidence": "none", "detail": 1})


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"prompt": OWN, "licence": "CC0-1.0"}) + "\n", encoding="utf-8")
    return path


def test_constant_labeller_stops_before_own_prompts(prompts: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: Request) -> str:
        asked.append(asked_text(request))
        return constant(request)

    with pytest.raises(RunError, match="NOT good enough"):
        safegen.generate(
            tmp_path / "recipe.yaml",
            output=tmp_path / "out",
            prompts=prompts,
            teachers={"labeller": scripted(answer), "drafter": DRAFTER},
        )
    assert asked and OWN not in asked
    assert json.loads((tmp_path / "out/run/labellers.json").read_text())["misread"]


def test_honest_labeller_passes_into_the_manifest(prompts: Path, tmp_path: Path) -> None:
    run = safegen.generate(
        tmp_path / "recipe.yaml",
        output=tmp_path / "out",
        prompts=prompts,
        teachers={"labeller": scripted(honest), "drafter": DRAFTER},
        until="expand",
    )
    assert run.plans.shards == 1
    check = json.loads((tmp_path / "out/run/labellers.json").read_text())
    assert {name: field["agree"] for name, field in check["fields"].items()} == dict.fromkeys(
        ("intent", "evidence", "detail", "expectation", "harm"), 120
    )
