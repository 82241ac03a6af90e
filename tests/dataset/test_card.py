from __future__ import annotations

from safegen.config.recipe import Recipe
from safegen.dataset.card import escape_cell, format_table, render_card
from safegen.dataset.figures import MeasureInputs, RunMeasures
from safegen.dataset.manifest import RunCounts
from safegen.testing import make_draft, make_record, make_scenario

HOSTILE = "a|b\n# c [x](https://evil.example) <b>`d` *e* \u202e"


def facts_of(**overrides: object) -> RunCounts:
    facts = RunCounts(rows={"sft": {"train": 1}, "preference": {}})
    record = make_record(**overrides)
    facts.add_draft(record)
    facts.add_kept(record)
    return facts


def head_of(text: str) -> dict[str, object]:
    import yaml

    return yaml.safe_load(text.split("---\n")[1])


def shown(facts: RunCounts) -> str:
    return render_card(
        facts, RunMeasures(MeasureInputs()), recipe=Recipe(name="kitchen"), taxonomy="core@1.0.0"
    )


def test_foreign_text_cannot_leave_its_table_cell() -> None:
    written = escape_cell(HOSTILE)
    assert "\n" not in written
    assert "<b>" not in written
    assert "://" not in written
    assert "\u202e" not in written
    assert written.startswith(r"a\|b")
    assert r"\[x\]" in written
    assert format_table(("x",), [(HOSTILE,)]).count("\n") == 2


def test_names_with_underscores_stay_readable() -> None:
    assert escape_cell("dual_use") == "dual_use"
    assert escape_cell("_loud_") == r"\_loud\_"


def test_model_names_reach_the_card_escaped() -> None:
    text = shown(facts_of(draft=make_draft(model=HOSTILE)))
    assert escape_cell(HOSTILE) in text
    assert "https://evil" not in text


def test_demo_rows_are_named_first() -> None:
    body = shown(facts_of(grade="demo")).split("---\n")[2]
    assert "not by a language model" in "\n".join(body.splitlines()[:5])
    assert "not by a language model" not in shown(facts_of(grade="generated"))


def test_front_matter_lists_existing_data_only() -> None:
    head = head_of(shown(facts_of()))
    assert head["license"] == "apache-2.0"
    assert head["language"] == ["en"]
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"] == [
        {
            "config_name": "sft",
            "default": True,
            "data_files": [{"split": "train", "path": "data/sft/train/*.parquet"}],
        }
    ]


def test_empty_view_is_reported() -> None:
    assert "The view preference came out empty" in shown(facts_of())


def test_card_without_rows_offers_no_loading() -> None:
    text = shown(RunCounts(rows={"sft": {}}))
    assert "configs" not in head_of(text)
    assert "There are no rows to load." in text


def test_front_matter_lists_every_licence() -> None:
    facts = facts_of()
    facts.add_kept(make_record(scenario=make_scenario(source_licence="CC0 1.0")))
    assert head_of(shown(facts))["license"] == ["apache-2.0", "cc0-1.0"]
