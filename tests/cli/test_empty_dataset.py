"""A dataset without rows: `generate`, `build` and `retry` exit 1 and name the same reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.harness import call, write_recipe

RECIPE = "name: bare\npolicies: [security]\nplan: {harms: [cyber.intrusion]}\n"
NO_ROWS = {
    "rejected": (
        "validators: [{length_bounds: {min_chars: 9000}}]\nrevise: 0\n",
        "no draft was accepted",
    ),
    "no pair": ("views: [preference]\n", "each view is empty (`preference`: "),
}


@pytest.mark.parametrize(("keys", "reason"), NO_ROWS.values(), ids=NO_ROWS)
def test_dataset_without_rows_exits_1(
    keys: str, reason: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir, RECIPE + keys)
    for command in (["generate", recipe, "-o", "out"], ["build", "out"], ["retry", "out"]):
        result = call(capsys, *command, "--json")
        assert result.code == 1, command
        assert f"the dataset has no rows: {reason}" in result.err
        # Neither a folder to load nor a check of no rows is offered.
        assert "safegen verify" not in result.err
        assert not [line for line in result.err.splitlines() if line.startswith("  dataset ")]
        (payload,) = result.lines
        assert not any(payload["rows"].values())
    assert "next      safegen show out" in call(capsys, "status", "out").out
