"""A run is resumed after an edit of a user's plug-in file."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import safegen
from safegen.core.hashing import file_sha256
from safegen.pipeline.resolve import resolve_recipe
from safegen.testing import scripted
from tests.e2e.runs import CommandResult, cli
from tests.e2e.test_outside_plugins import TEACHER, VALIDATOR, VIEW

MODULES = ("hinge", "calm", "sizes", "keys")
RECIPE = """
name: edited
plan: {harms: [property.theft], sets_per_harm: 1, profiles: [public]}
teachers:
  drafter: {"hinge:locksmith": {sentence: "Oil the hinge and keep the spare key with a friend."}}
validators: ["calm:no_shouting", "keys:names_key"]
require: ["calm:no_shouting"]
views: ["sizes:lengths"]
"""
FILES = {
    "hinge.py": TEACHER,
    "calm.py": VALIDATOR,
    "sizes.py": VIEW,
    # A package that only exports the factory of its module.
    "keys/__init__.py": "from keys.words import names_key as names_key\n",
    "keys/words.py": VALIDATOR.replace("no_shouting", "names_key"),
    "keys/unused.py": "WORDS = ['key']\n",
    "r.yaml": RECIPE,
}


def forget_modules() -> None:
    """Let the next command import the plug-ins again, as a new process does."""
    for name in [m for m in sys.modules if m.partition(".")[0] in MODULES]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # A quick edit can keep size and time of a file, and then Python would use its old byte code.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    forget_modules()
    yield tmp_path
    forget_modules()


def run(capsys: pytest.CaptureFixture[str], command: str, *options: str) -> CommandResult:
    forget_modules()
    trusted = [word for module in MODULES for word in ("--plugin", module)]
    # Equal answers are duplicates, so not every planned mode has a row.
    least = ("--min-yield", "0") if command == "generate" else ()
    return cli(capsys, command, "r.yaml", "-o", "out", *trusted, *least, *options)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


EDITS = {
    "teacher": ("hinge.py", "Ask {request.sample + 1}", "Call {request.sample + 1}"),
    "validator": ("calm.py", '"no_shouting", "1"', '"no_shouting", "2"'),
    "exported validator": ("keys/words.py", "most: int = 3", "most: int = 0"),
    "package": ("keys/__init__.py", "keys.words", "keys.words  "),
}


@pytest.mark.parametrize(
    ("case", "stopped"),
    [
        # By default each edit once, and both states.
        pytest.param(case, stopped, marks=[] if n % 2 == stopped else [pytest.mark.slow])
        for n, case in enumerate(EDITS)
        for stopped in (True, False)
    ],
)
def test_edited_plugin_is_refused_by_name(
    case: str, stopped: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--until", "draft") if stopped else ()
    assert run(capsys, "generate", *options).code == 0
    name, old, new = EDITS[case]
    edit(folder / name, old, new)
    before = (folder / "out/run/recipe.json").read_bytes()
    result = run(capsys, "generate")
    assert result.code == 2
    message = " ".join(result.err.split())
    for part in (f"`plugin {name}`", "restore it", "`--output`", "`--replan`"):
        assert part in message
    assert (folder / "out/run/recipe.json").read_bytes() == before
    edit(folder / name, new, old)
    assert run(capsys, "generate").code == 0


def test_edited_plugin_is_adopted_with_replan(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "generate").code == 0
    edit(folder / "calm.py", '"no_shouting", "1"', '"no_shouting", "2"')
    state = json.loads(run(capsys, "check", "--json").out)["folder"]
    assert (state["state"], state["differing"]) == ("refused", ["plugin calm.py"])
    assert run(capsys, "generate", "--replan").code == 0
    records = safegen.open_run(folder / "out").folder.read_records(0)
    assert {v.version for r in records for v in r.verdicts if v.validator == "no_shouting"} == {"2"}
    assert run(capsys, "generate").code == 0


def test_edited_view_is_used_without_replan(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "generate").code == 0
    edit(folder / "sizes.py", "len(record.draft.response)", "-1")
    assert run(capsys, "generate").code == 0
    rows: pl.DataFrame = safegen.open_run(folder / "out").view("lengths")
    assert set(rows["length"]) == {-1}


def test_file_that_no_plugin_uses_may_change(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "generate").code == 0
    edit(folder / "keys/unused.py", "key", "lock")
    assert run(capsys, "generate").code == 0


def test_manifest_lists_plugin_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "generate").code == 0
    manifest = json.loads((folder / "out/manifest.json").read_text(encoding="utf-8"))
    names = ("hinge.py", "calm.py", "keys/__init__.py", "keys/words.py")
    assert manifest["fingerprints"]["plugin"] == {n: file_sha256(folder / n) for n in names}


def test_shipped_plugins_have_no_fingerprint() -> None:
    inputs = resolve_recipe("starter")
    assert "plugin" not in inputs.fingerprints


def test_snapshot_without_plugin_files_resumes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "generate").code == 0
    path = folder / "out/run/recipe.json"
    snapshot = json.loads(path.read_text(encoding="utf-8"))
    del snapshot["fingerprints"]["plugin"]
    path.write_text(json.dumps(snapshot), encoding="utf-8")
    assert run(capsys, "generate").code == 0
    assert "plugin" in json.loads(path.read_text(encoding="utf-8"))["fingerprints"]


def test_own_teacher_replaces_untrusted_plugin(folder: Path) -> None:
    teacher = scripted(lambda _: "Oil the hinge, and keep the spare key with a friend.")
    plugins = ["calm", "sizes", "keys"]
    run_ = safegen.generate(
        "r.yaml", output=folder / "out", plugins=plugins, teachers={"drafter": teacher}
    )
    stored = json.loads(run_.folder.snapshot_path.read_text(encoding="utf-8"))["fingerprints"][
        "plugin"
    ]
    assert sorted(stored) == ["calm.py", "keys/__init__.py", "keys/words.py"]
