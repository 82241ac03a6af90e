from __future__ import annotations

from safegen.core import plugins
from safegen.core.plugins import list_names
from safegen.dataset.dataset_info import describe_for_llama_factory
from safegen.dataset.manifest import ViewRows
from safegen.dataset.view import View


def views() -> dict[str, View]:
    made = [plugins.make_plugin("views", name, {}) for name in list_names("views")]
    return {view.name: view for view in made}


def test_entries_name_only_columns_that_exist() -> None:
    for view in views().values():
        columns = view.dataset_info.get("columns", {})
        assert isinstance(columns, dict)
        assert set(columns.values()) <= set(view.schema.names)


def test_each_filled_split_is_an_entry() -> None:
    rows = {name: {"train": 2, "test": 1} for name in views()}
    rows["llamafactory_preference"] = {"train": 2, "test": 0}
    described = describe_for_llama_factory(views(), ViewRows(rows))
    assert set(described) == {"sft_train", "sft_test", "llamafactory_preference_train"}
    assert described["sft_train"]["file_name"] == "data/sft/train"
    assert described["llamafactory_preference_train"]["ranking"] is True
    assert {entry["formatting"] for entry in described.values()} == {"sharegpt"}
