"""A run folder of another format is refused by every command, unchanged, and no request is sent."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import FormatMismatch
from safegen.pipeline import session
from safegen.store.run_folder import FORMAT, MANIFEST_FORMAT, RunFolder
from safegen.testing import FakeEndpoint
from tests.e2e.runs import cli, fails, hashes, long_answer, write_recipe
from tests.sampling import sampled

SNAPSHOT = Path("out/run/recipe.json")


class Made(NamedTuple):
    output: Path
    fake: FakeEndpoint


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A finished run of `r.yaml` with an endpoint that answers; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with FakeEndpoint(long_answer) as fake:
        safegen.generate(write_recipe(folder / "r.yaml", fake.url), output=folder / "out")
        yield Made(folder / "out", fake)


@pytest.fixture
def made(finished: Made, workdir: Path) -> Made:
    """A copy of that run and its recipe in the working folder."""
    shutil.copytree(finished.output.parent, workdir, dirs_exist_ok=True)
    finished.fake.requests.clear()
    return Made(workdir / "out", finished.fake)


def state(output: Path, **keys: Any) -> None:
    """Write the snapshot with other keys; None removes a key."""
    payload = json.loads(SNAPSHOT.read_text(encoding="utf-8")) | keys
    kept = {name: value for name, value in payload.items() if value is not None}
    SNAPSHOT.write_text(json.dumps(kept), encoding="utf-8")


COMMANDS = [
    "generate r.yaml -o out",
    "generate r.yaml -o out --replan",
    "generate r.yaml -o out --until expand",
    "check r.yaml -o out",
    "build out",
    "build out --recipe r.yaml",
    "status out",
    "retry out",
    "show out",
    "show out --why",
    "coverage out",
    "policy diff security security --run out",
    "policy explain 0 --run out",
]
OTHERS: dict[str, dict[str, Any]] = {
    "older": {"format": None, "safegen": "0.0.9"},
    "before": {"format": FORMAT - 1, "safegen": "0.1.0"},
    "newer": {"format": FORMAT + 1, "safegen": "9.9"},
    "no number": {"format": True, "safegen": None},
}


@pytest.mark.parametrize(("command", "other"), sampled(product(COMMANDS, OTHERS), every=5))
def test_folder_of_another_format_is_refused_unchanged(
    command: str, other: str, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = OTHERS[other]
    state(made.output, **keys)
    before = hashes(made.output)
    result = cli(capsys, *command.split())
    number = keys["format"]
    has = "no format number" if number is None else f"has format `{number}`"
    version = keys["safegen"]
    by = f"version `{version}`" if version else "the version that wrote it"
    fails(result, 2, has, f"reads format {FORMAT}", by, "choose another `--output`")
    assert result.out == ""
    assert hashes(made.output) == before
    assert made.fake.requests == []


def test_snapshot_of_another_format_is_refused(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    SNAPSHOT.write_text(json.dumps({"format": 12, "all": []}), encoding="utf-8")
    before = hashes(made.output)
    for command in ("generate r.yaml -o out", "status out"):
        fails(cli(capsys, *command.split()), 2, "format `12`")
    assert hashes(made.output) == before
    assert made.fake.requests == []


MANIFEST_COMMANDS = [
    "verify out",
    "status out",
    "build out",
    "retry out",
    "check r.yaml -o out",
    "generate r.yaml -o out",
    "generate r.yaml -o out --replan",
]
NUMBERS = [99, 0, "1", True, [1]]


@pytest.mark.parametrize(
    ("command", "number"), sampled(product(MANIFEST_COMMANDS, NUMBERS), every=3)
)
def test_manifest_of_another_format_is_refused_unchanged(
    command: str, number: object, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made.output / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"format": number, "safegen": "9.9"}), encoding="utf-8")
    before = hashes(made.output)
    result = cli(capsys, *command.split())
    state = f"has format `{number}`, and this version of safegen reads format {MANIFEST_FORMAT}"
    fails(result, 2, r"manifest\.json", re.escape(state), "use version `9.9`")
    assert result.out == ""
    assert hashes(made.output) == before
    assert made.fake.requests == []


def test_manifest_without_format_is_damaged(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    path = made.output / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["format"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    result = cli(capsys, "verify", "out", "--json")
    (problem,) = json.loads(result.out)["problems"]
    assert (result.code, "has no format number; run `safegen build`" in problem) == (1, True)
    assert cli(capsys, "build", "out").code == 0
    assert cli(capsys, "verify", "out").code == 0


def test_library_calls_refuse_another_format(made: Made) -> None:
    state(made.output, format=None)
    before = hashes(made.output)
    for call in (
        lambda: safegen.open_run("out"),
        lambda: safegen.generate("r.yaml", output="out"),
        lambda: session.reset_failures(RunFolder(Path("out"))),
    ):
        with pytest.raises(FormatMismatch):
            call()
    assert hashes(made.output) == before


def test_folder_of_this_format_resumes(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(SNAPSHOT.read_text(encoding="utf-8"))["format"] == FORMAT
    result = cli(capsys, "generate", "r.yaml", "-o", "out", "--json")
    assert (result.code, json.loads(result.out)["requests"]) == (0, 0)


def test_verify_ignores_the_run_format(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    state(made.output, format=None)
    before = hashes(made.output)
    assert cli(capsys, "verify", "out").code == 0
    assert hashes(made.output) == before


def test_fingerprints_are_nested_by_kind(made: Made) -> None:
    payload = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert {"taxonomy", "locale", "prompt", "policy", "sets", "axes"} <= set(
        payload["fingerprints"]
    )
    assert set(payload["fingerprints"]["prompt"]) == {"draft", "revise"}
    assert "security" in payload["fingerprints"]["policy"]
    assert set(payload["digests"]) <= set(Recipe.model_fields)
    manifest = json.loads((made.output / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["fingerprints"] == payload["fingerprints"]


@pytest.mark.parametrize("broken", [{"policy": "0"}, [], "0"])
def test_malformed_fingerprints_are_damage(
    broken: object, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    state(made.output, fingerprints=broken)
    fails(cli(capsys, "status", "out"), 1, "`fingerprints", "--replan")
