"""`dataset_info.json`: the description by which LLaMA-Factory reads the views of a dataset.

`dataset_dir` of LLaMA-Factory names the dataset's folder, and `dataset` names entries of this file.
"""

from __future__ import annotations

from collections.abc import Mapping

from safegen.dataset.manifest import ViewRows
from safegen.dataset.view import View

DATASET_INFO = "dataset_info.json"
# `openai` is a format too, but LLaMA-Factory 0.9 appends a sentence to each system turn in it.
_FORMAT = {
    "formatting": "sharegpt",
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}


def describe_for_llama_factory(
    views: Mapping[str, View], view_rows: ViewRows
) -> dict[str, dict[str, object]]:
    """Describe each split of each view that LLaMA-Factory can read, as `<view>_<split>`.

    A split is a folder of its own, because LLaMA-Factory reads all files of a folder as one split.

    Args:
        views: the views by name.
        view_rows: the rows of each view; splits without rows are left out.
    """
    return {
        f"{name}_{split}": {"file_name": f"data/{name}/{split}", **_FORMAT, **view.dataset_info}
        for name, view in views.items()
        if view.dataset_info
        for split, count in view_rows.rows.get(name, {}).items()
        if count
    }
