from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from safegen.cli import main
from safegen.testing import Body, FakeEndpoint
from tests.cli.harness import RECIPE, Told, call
from tests.conftest import ROOT

SECRET = "sk-test-0123456789abcdef"
Lines = dict[str, dict[str, Any]]


def answer(body: Body) -> str:
    """An object where one is asked for, in whatever way."""
    wanted = "response_format" in body or "JSON schema" in body["messages"][-1]["content"]
    return json.dumps({"answer": "yes"}) if wanted else "yes"


def without(*modes: str) -> Callable[[Body, int], str | None]:
    """Let these kinds of `response_format` be refused."""

    def fault(body: Body, _: int) -> str | None:
        return "no-schema" if body.get("response_format", {}).get("type") in modes else None

    return fault


def write(url: str, *, model: str = "fake", key: str | None = None, more: str = "") -> None:
    params = {"base_url": url, "model": model} | ({"api_key_env": key} if key else {})
    drafter = json.dumps({"openai_chat": params})
    text = f"{RECIPE}teachers:\n  drafter: {drafter}\n{more}"
    Path("recipe.yaml").write_text(text, encoding="utf-8")


def examined(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Lines, Told]:
    """The exit code and the findings by check; of several under one name the last."""
    told = call(capsys, "doctor", "recipe.yaml", "--json", *more)
    return told.code, {line["check"]: line for line in told.lines}, told


def states(found: Lines, *checks: str) -> list[str]:
    return [found[check]["state"] if check in found else "-" for check in checks]


pytestmark = pytest.mark.usefixtures("workdir")


def test_healthy_endpoint_passes_without_showing_the_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITCHEN_API_KEY", SECRET)
    with FakeEndpoint(answer) as endpoint:
        endpoint.date = formatdate(usegmt=True)
        write(endpoint.url, key="KITCHEN_API_KEY")
        code, found, told = examined(capsys)
        asked = list(endpoint.requests)
        keys = set(endpoint.authorizations)
    assert code == 0
    checks = ("key", "address", "clock", "model", "completion", "json", "recipe", "disk", "output")
    assert states(found, *checks) == ["ok"] * len(checks)
    assert found["json"]["message"] == "response_format json_schema, and the answer fits"
    assert [body["max_tokens"] for body in asked] == [1, 400]
    assert keys == {f"Bearer {SECRET}"}
    assert SECRET not in told.out + told.err


def test_text_report_names_each_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer) as endpoint:
        write(endpoint.url, key="KITCHEN_API_KEY")
        told = call(capsys, "doctor", "recipe.yaml")
    assert told.code == 1
    assert "  fail  key           `KITCHEN_API_KEY` is not set\n" in told.out
    assert "→ export KITCHEN_API_KEY=…" in told.out
    assert told.out.rstrip().split("\n")[-1].startswith("1 failure")


@pytest.mark.parametrize(
    ("refused", "state", "told"),
    [
        (("json_schema",), "ok", "response_format json_object"),
        (("json_schema", "json_object"), "warn", "no response_format"),
    ],
)
def test_supported_json_format_is_named(
    refused: tuple[str, ...], state: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(answer, fault=without(*refused)) as endpoint:
        write(endpoint.url)
        code, found, _ = examined(capsys)
    assert (code, found["json"]["state"]) == (0, state)
    assert told in found["json"]["message"]


def test_ignored_json_schema_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeEndpoint(lambda body: "Yes, gladly.") as endpoint:
        write(endpoint.url)
        code, found, _ = examined(capsys)
    assert (code, found["json"]["state"]) == (0, "warn")
    assert "does not fit the schema" in found["json"]["message"]


def test_missing_model_list_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeEndpoint(answer) as endpoint:
        endpoint.models = None
        write(endpoint.url)
        code, found, _ = examined(capsys)
    assert code == 0
    assert states(found, "address", "model", "completion") == ["ok", "warn", "ok"]
    assert "HTTP 404" in found["model"]["message"]


def test_unlisted_model_is_a_warning_with_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeEndpoint(answer) as endpoint:
        write(endpoint.url, model="fakee")
        code, found, _ = examined(capsys)
    assert (code, found["model"]["state"]) == (0, "warn")
    assert "did you mean `fake`?" in found["model"]["message"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("401", "HTTP `401`"),
        ("404", "no such model"),
        ("500", "stumbled"),
        ("no-choices", "no chat"),
    ],
)
def test_failed_completion_is_a_failure_with_a_remedy(
    fault: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(answer, fault=lambda body, nth: fault) as endpoint:
        write(endpoint.url)
        code, found, _ = examined(capsys)
        count = len(endpoint.requests)
    assert (code, count) == (1, 1)
    assert states(found, "address", "completion", "json") == ["ok", "fail", "-"]
    assert told in found["completion"]["message"]


def test_rate_limit_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer, fault=lambda body, nth: "429") as endpoint:
        write(endpoint.url)
        code, found, _ = examined(capsys)
    assert (code, found["completion"]["state"]) == (0, "warn")


def test_dead_address_fails_and_stops_the_checks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # taken, and nobody listens
        write(f"http://127.0.0.1:{held.getsockname()[1]}/v1")
        code, found, _ = examined(capsys)
    assert code == 1
    assert states(found, "address", "model", "completion") == ["fail", "-", "-"]
    assert found["address"]["remedy"] == "start the server, or correct `base_url`"


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (3600, "warn"), (-3600, "warn")])
def test_wrong_clock_is_a_warning(
    off_s: int, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(answer) as endpoint:
        endpoint.date = formatdate(time() + off_s, usegmt=True)
        write(endpoint.url)
        code, found, _ = examined(capsys)
    assert (code, found["clock"]["state"]) == (0, state)


def test_each_model_of_a_recipe_is_checked_once(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer) as one, FakeEndpoint(answer) as other:
        reviser = json.dumps({"openai_chat": {"base_url": other.url, "model": "fake"}})
        write(one.url, more=f"  reviser: {reviser}\n")
        _, _, told = examined(capsys)
        assert {line["group"] for line in told.lines} > {
            "drafter: openai_chat",
            "reviser: openai_chat",
        }
        drafter = json.dumps({"openai_chat": {"base_url": one.url, "model": "fake"}})
        write(one.url, more=f"  reviser: {drafter}\n")
        before = len(one.requests)
        _, _, told = examined(capsys)
        assert len(one.requests) == before + 2
    assert "drafter, reviser: openai_chat" in {line["group"] for line in told.lines}


def test_embedded_teacher_needs_no_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    told = call(capsys, "doctor", "--json")
    assert told.code == 0
    assert {"check": "teacher", "state": "ok"}.items() <= told.lines[-1].items()


def test_overriding_local_file_is_a_warning(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = workdir / "prompts/locales"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "prompts/locales/en.yaml", place / "en.yaml")
    told = call(capsys, "doctor", "--json")
    (found,) = [line for line in told.lines if "hides" in line["message"]]
    assert (told.code, found["check"], found["state"]) == (0, "locales", "warn")
    assert "`en` of the working folder hides that of the checkout" in found["message"]
    assert "rename prompts/locales/en.yaml" in found["remedy"]


def test_unreadable_recipe_fails_but_other_checks_run(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "recipe.yaml").write_text("name: k\nplanet: core\n", encoding="utf-8")
    code, found, _ = examined(capsys)
    assert code == 1
    assert "recipe.yaml:2:1" in found["recipe"]["message"]
    assert states(found, "disk", "output", "key") == ["ok", "ok", "-"]


def test_invalid_teacher_parameter_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    write("ftp://127.0.0.1/v1")
    code, found, _ = examined(capsys)
    assert (code, found["teacher"]["state"]) == (1, "fail")


def test_unwritable_output_is_a_failure(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "full").write_text("a file where a folder should be", encoding="utf-8")
    told = call(capsys, "doctor", "-o", "full/out", "--json")
    (found,) = [line for line in told.lines if line["check"] == "output"]
    assert (told.code, found["state"]) == (1, "fail")


def test_missing_programs_are_warnings(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(workdir))
    told = call(capsys, "doctor", "--json")
    found = {line["check"]: line for line in told.lines}
    assert told.code == 0
    assert states(found, "git", "git-lfs") == ["warn", "warn"]
    assert "apt-get install git-lfs" in found["git-lfs"]["remedy"]


def test_doctor_leaves_no_files(workdir: Path) -> None:
    assert main.run_command(["doctor"]) == 0
    assert list(workdir.iterdir()) == []
