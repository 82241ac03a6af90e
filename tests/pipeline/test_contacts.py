"""Contacts in a whole run: instructions, verdicts, snapshot, card, warnings and equal bytes."""

from __future__ import annotations

import ast
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import RecipeMismatch
from safegen.core.types import Record, Request
from safegen.pipeline.api import list_warnings, rebuild
from safegen.pipeline.preflight.estimate import dry_run
from safegen.testing import scripted
from tests.config.contact_files import write_registry

OWN, FOREIGN = "Call 0800 555 0199 today.", "Call 116 123 today."
PACKAGES = ("config", "scenarios", "policy", "validators", "dataset", "coverage", "store", "core")


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_registry(tmp_path)


def recipe(**keys: Any) -> Recipe:
    plan = {"harms": ["selfharm.suicide"], "sets_per_harm": 1}
    return Recipe.model_validate({"name": "soup", "plan": plan, "validators": ["contacts"]} | keys)


def run_with(
    keys: dict[str, Any], answer: str = OWN, **options: Any
) -> tuple[safegen.Run, list[Request]]:
    teacher = scripted(lambda request: f"{answer} {request.item}")
    run = safegen.generate(recipe(**keys), output="out", teachers={"drafter": teacher}, **options)
    return run, teacher.requests  # pyright: ignore[reportAttributeAccessIssue] (a scripted teacher)


def records(run: safegen.Run) -> list[Record]:
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


def verdict_codes(run: safegen.Run) -> set[str]:
    return {v.code for r in records(run) for v in r.verdicts if v.validator == "contacts"}


def read_dataset(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "run" not in path.relative_to(folder).parts
    }


def system_turns(requests: list[Request]) -> list[str]:
    return [str(r.messages[0]["content"]) for r in requests if r.messages[0]["role"] == "system"]


def at(day: str) -> Any:
    seconds = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return lambda: seconds


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"contacts": "US"}, "known_contact"),
        ({"contacts": "GB"}, "other_region"),
        ({}, "without_region"),
    ],
)
def test_region_of_recipe_decides_verdicts(keys: dict[str, Any], code: str) -> None:
    run, _ = run_with(keys)
    assert verdict_codes(run) == {code}


def test_rows_hold_the_region_of_the_recipe() -> None:
    run, _ = run_with({"contacts": "US"})
    assert {r.scenario.jurisdiction for r in records(run)} == {"US"}
    assert set(run.view("sft")["jurisdiction"]) == {"US"}


def test_drafter_reads_entries_that_fit() -> None:
    _, requests = run_with({"contacts": "US"})
    turns = system_turns(requests)
    assert turns
    assert all("- Soup Kitchen Lifeline: call 0800 555 0199" in turn for turn in turns)
    assert all("Name a service by its kind" not in turn for turn in turns)


def test_drafter_names_kinds_without_a_registry() -> None:
    _, requests = run_with({})
    turns = system_turns(requests)
    assert turns
    assert all("Name a service by its kind" in turn for turn in turns)
    assert not any("0800" in turn for turn in turns)


def test_stale_entry_leaves_instructions_and_fails() -> None:
    keys = {"contacts": {"regions": ["US"], "as_of": "2027-01-01"}}
    run, requests = run_with(keys)
    assert not any("0800" in turn for turn in system_turns(requests))
    assert verdict_codes(run) == {"unchecked_contact"}


def test_dataset_is_equal_on_every_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets: list[dict[str, bytes]] = []
    for day in ("2026-01-11", "2030-01-01"):
        monkeypatch.setattr(time, "time", at(day))
        run, _ = run_with({"contacts": "US"}, replan=bool(datasets))
        datasets.append(read_dataset(run.output))
    assert datasets[0] == datasets[1]


def test_edited_registry_changes_the_card(registry: Path, tmp_path: Path) -> None:
    first = read_dataset(run_with({"contacts": "US"})[0].output)
    write_registry(tmp_path, checked_on="2026-01-11")
    second = read_dataset(run_with({"contacts": "US"}, replan=True)[0].output)
    assert first["README.md"] != second["README.md"]


# The bytes of a dataset depend on files alone, so nothing below `pipeline` may read a date.
def test_no_dataset_code_reads_the_date() -> None:
    source = Path(safegen.__file__).parent
    calls = [
        f"{path.relative_to(source)}:{node.lineno}"
        for package in PACKAGES
        for path in sorted((source / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("today", "now", "utcnow")
    ]
    assert calls == []


def test_edited_registry_blocks_a_resume(tmp_path: Path) -> None:
    run_with({"contacts": "US"})
    write_registry(tmp_path, checked_on="2026-02-01")
    with pytest.raises(RecipeMismatch, match="contacts US"):
        run_with({"contacts": "US"})


def test_rebuild_uses_the_stored_registry(registry: Path) -> None:
    run, _ = run_with({"contacts": "US"})
    before = read_dataset(run.output)
    registry.unlink()
    rebuild(run.output)
    assert read_dataset(run.output) == before


def test_recipe_without_contacts_reads_no_registry(registry: Path) -> None:
    registry.write_text("broken: [", encoding="utf-8")
    run, _ = run_with({"validators": ["length_bounds"]})
    assert "contacts" not in run.folder.read_snapshot()["fingerprints"]
    assert "contacts" not in run.folder.read_snapshot()["digests"]


def test_registry_by_path_replaces_the_region(tmp_path: Path) -> None:
    path = write_registry(tmp_path / "own", reach='{call: "0800 555 0111"}')
    run, _ = run_with({"contacts": [str(path)]}, answer="Call 0800 555 0111 today.")
    assert verdict_codes(run) == {"known_contact"}


def hints(day: str, **keys: Any) -> list[str]:
    found = dry_run(recipe(**keys), clock=at(day)).estimate.hints
    return [hint for hint in found if hint.startswith("`contacts`")]


@pytest.mark.parametrize(
    ("day", "count"), [("2026-01-10", 0), ("2026-07-09", 0), ("2026-07-10", 1)]
)
def test_check_warns_after_the_last_day(day: str, count: int) -> None:
    assert len(hints(day, contacts="US")) == count


def test_stale_warning_names_entry_and_remedy() -> None:
    (hint,) = hints("2026-07-10", contacts="US")
    assert "stale since 2026-07-09 (`us-soup-line`)" in hint
    assert "`contacts.as_of: 2026-07-10`" in hint


def test_check_warns_about_unchecked_entries(tmp_path: Path) -> None:
    write_registry(tmp_path, checked_on="null")
    (hint,) = hints("2026-01-10", contacts="US")
    assert "1 unchecked entry (`us-soup-line`)" in hint


def test_check_warns_without_validator_or_region() -> None:
    assert len(hints("2026-01-10", contacts="US", validators=["length_bounds"])) == 1
    found = hints("2026-01-10", contacts=["US", "CA"])
    assert any("with several regions" in hint for hint in found)


def test_check_is_silent_without_contacts() -> None:
    assert hints("2090-01-01") == []


def test_run_warns_by_its_clock_alone() -> None:
    run, _ = run_with({"contacts": "US"})
    assert list_warnings(run, clock=at("2026-02-01")) == ()
    assert len(list_warnings(run, clock=at("2027-02-01"))) == 1


def test_card_lists_state_and_last_day(tmp_path: Path) -> None:
    extra = """  - {id: us-tea, languages: [en], purpose: poison, name: Teapots, reach: {call: "112"},
     source: "https://soup-kitchen.example"}
"""
    write_registry(tmp_path, entries=extra)
    run, _ = run_with({"contacts": "US"})
    card = (run.output / "README.md").read_text(encoding="utf-8")
    assert "**Unchecked or stale.** 1 of 2 entries" in card
    assert (
        "| US | Soup Kitchen Lifeline | suicide_crisis | call 0800 555 0199 | checked | 2026-07-09 |"
        in card
    )
    assert date(2026, 7, 9).isoformat() in card
