from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safegen.config.recipe import Recipe
from safegen.core import plugins
from safegen.core.types import Record
from safegen.dataset.card import escape_cell, format_table, render_card
from safegen.dataset.curate import curate
from safegen.dataset.figures import MeasureInputs, RunMeasures
from safegen.dataset.manifest import ViewRows
from safegen.dataset.view import View
from safegen.store.run_folder import RunFolder
from safegen.testing import make_draft, make_pair, make_record

HOSTILE = "a|b\n# c [x](https://evil.example) <b>`d` *e* \u202e"


ROWS = ViewRows({"sft": {"train": 1}, "preference": {}})


def head_of(text: str) -> dict[str, object]:
    import yaml

    return yaml.safe_load(text.split("---\n")[1])


def card(
    folder: Path, *records: Record, rows: ViewRows = ROWS, views: Mapping[str, View] = {}
) -> str:
    run = RunFolder(folder)
    run.write_shard(run.records(0), records, [])
    curated = curate(run)
    return render_card(
        curated.stats,
        RunMeasures(MeasureInputs(), curated),
        recipe=Recipe(name="kitchen"),
        taxonomy="core@1.0.0",
        view_rows=rows,
        views=views,
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


def test_model_names_reach_the_card_escaped(tmp_path: Path) -> None:
    text = card(tmp_path, make_record(draft=make_draft(model=HOSTILE)))
    assert escape_cell(HOSTILE) in text
    assert "https://evil" not in text


def test_demo_rows_are_named_first(tmp_path: Path) -> None:
    body = card(tmp_path, make_record(grade="demo")).split("---\n")[2]
    assert "not a language model" in "\n".join(body.splitlines()[:5])
    assert "not a language model" not in card(tmp_path, make_record(grade="generated"))


def test_front_matter_lists_existing_data_only(tmp_path: Path) -> None:
    head = head_of(card(tmp_path, make_record()))
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


def test_empty_view_is_reported(tmp_path: Path) -> None:
    assert "The view preference is empty" in card(tmp_path, make_record())


def test_card_without_rows_offers_no_loading(tmp_path: Path) -> None:
    text = card(tmp_path, rows=ViewRows({"sft": {}}))
    assert "configs" not in head_of(text)
    assert "There are no rows to load." in text


def test_front_matter_lists_every_licence(tmp_path: Path) -> None:
    other = make_pair(1)[0]
    other = replace(other, scenario=replace(other.scenario, source_licence="CC0 1.0"))
    assert head_of(card(tmp_path, make_pair(0)[0], other))["license"] == ["apache-2.0", "cc0-1.0"]


def test_training_examples_name_the_filled_views(tmp_path: Path) -> None:
    views = {name: plugins.make_plugin("views", name, {}) for name in plugins.list_names("views")}
    text = card(tmp_path, make_record(), views=views)
    section = text.split("## Train on it")[1].split("## Limits")[0]
    assert "assistant_only_loss=True" in section
    assert "dataset: sft_train" in section
    assert "{folder}" not in section
    assert "{split}" not in section
    assert "llamafactory_preference" not in section


def test_front_matter_names_an_unlisted_licence(tmp_path: Path) -> None:
    record = make_pair(0)[0]
    scenario = replace(record.scenario, source_licence="House Rules: v2")
    head = head_of(card(tmp_path, replace(record, scenario=scenario)))
    assert (head["license"], head["license_name"]) == ("other", "House Rules: v2")
