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
from tests.cli.harness import RECIPE, CommandResult, call
from tests.conftest import ROOT

SECRET = "sk-test-0123456789abcdef"
Lines = dict[str, dict[str, Any]]


def answer(body: Body) -> str:
    """Reply with a JSON object if the request asks for one in any form."""
    wanted = "response_format" in body or "JSON schema" in body["messages"][-1]["content"]
    return json.dumps({"answer": "yes"}) if wanted else "yes"


def without(*modes: str) -> Callable[[Body, int], str | None]:
    """Refuse these kinds of `response_format`."""

    def fault(body: Body, _: int) -> str | None:
        return "no-schema" if body.get("response_format", {}).get("type") in modes else None

    return fault


def write(url: str, *, model: str = "fake", key: str | None = None, more: str = "") -> None:
    params = {"base_url": url, "model": model} | ({"api_key_env": key} if key else {})
    drafter = json.dumps({"openai_chat": params})
    text = f"{RECIPE}teachers:\n  drafter: {drafter}\n{more}"
    Path("recipe.yaml").write_text(text, encoding="utf-8")


def examined(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Lines, CommandResult]:
    """Run doctor; return exit code, findings by check (the last of a name) and result."""
    result = call(capsys, "doctor", "recipe.yaml", "--json", *more)
    return result.code, {line["check"]: line for line in result.lines}, result


def states(by_name: Lines, *checks: str) -> list[str]:
    return [by_name[check]["state"] if check in by_name else "-" for check in checks]


pytestmark = pytest.mark.usefixtures("workdir")


def test_healthy_endpoint_passes_without_showing_the_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITCHEN_API_KEY", SECRET)
    with FakeEndpoint(answer) as endpoint:
        endpoint.date = formatdate(usegmt=True)
        write(endpoint.url, key="KITCHEN_API_KEY")
        code, by_name, result = examined(capsys)
        requests = list(endpoint.requests)
        keys = set(endpoint.authorizations)
    assert code == 0
    checks = ("key", "address", "clock", "model", "completion", "json", "recipe", "disk", "output")
    assert states(by_name, *checks) == ["ok"] * len(checks)
    assert by_name["json"]["message"] == "response_format json_schema, and the answer fits"
    assert ["response_format" in body for body in requests] == [False, True]
    assert all(body["messages"][0]["role"] == "system" for body in requests)
    assert keys == {f"Bearer {SECRET}"}
    assert SECRET not in result.out + result.err


def test_text_report_names_each_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer) as endpoint:
        write(endpoint.url, key="KITCHEN_API_KEY")
        result = call(capsys, "doctor", "recipe.yaml")
    assert result.code == 1
    assert "  fail  key           `KITCHEN_API_KEY` is not set\n" in result.out
    assert "→ export KITCHEN_API_KEY=…" in result.out
    assert result.out.rstrip().split("\n")[-1].startswith("1 failure")


@pytest.mark.parametrize(
    ("refused", "state", "expected"),
    [
        (("json_schema",), "ok", "response_format json_object"),
        (("json_schema", "json_object"), "warn", "no response_format"),
    ],
)
def test_supported_json_format_is_named(
    refused: tuple[str, ...], state: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(answer, fault=without(*refused)) as endpoint:
        write(endpoint.url)
        code, checks, _ = examined(capsys)
    assert (code, checks["json"]["state"]) == (0, state)
    assert expected in checks["json"]["message"]


def test_ignored_json_schema_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeEndpoint(lambda body: "Yes, gladly.") as endpoint:
        write(endpoint.url)
        code, checks, _ = examined(capsys)
    assert (code, checks["json"]["state"]) == (0, "warn")
    assert "does not fit the schema" in checks["json"]["message"]


def test_missing_model_list_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeEndpoint(answer) as endpoint:
        endpoint.models = None
        write(endpoint.url)
        code, checks, _ = examined(capsys)
    assert code == 0
    assert states(checks, "address", "model", "completion") == ["ok", "warn", "ok"]
    assert "HTTP 404" in checks["model"]["message"]


def test_unlisted_model_is_a_warning_with_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeEndpoint(answer) as endpoint:
        write(endpoint.url, model="fakee")
        code, checks, _ = examined(capsys)
    assert (code, checks["model"]["state"]) == (0, "warn")
    assert "did you mean `fake`?" in checks["model"]["message"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("401", "HTTP `401`"),
        ("404", "no such model"),
        ("500", "stumbled"),
        ("no-choices", "no chat"),
    ],
)
def test_failed_completion_is_a_failure_with_a_remedy(
    fault: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(answer, fault=lambda body, nth: fault) as endpoint:
        write(endpoint.url)
        code, checks, _ = examined(capsys)
        count = len(endpoint.requests)
    assert (code, count) == (1, 1)
    assert states(checks, "address", "completion", "json") == ["ok", "fail", "-"]
    assert expected in checks["completion"]["message"]


def test_rate_limit_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer, fault=lambda body, nth: "429") as endpoint:
        write(endpoint.url)
        code, checks, _ = examined(capsys)
    assert (code, checks["completion"]["state"]) == (0, "warn")


def test_dead_address_fails_and_stops_the_checks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, but not listening
        write(f"http://127.0.0.1:{held.getsockname()[1]}/v1")
        code, checks, _ = examined(capsys)
    assert code == 1
    assert states(checks, "address", "model", "completion") == ["fail", "-", "-"]
    assert checks["address"]["remedy"] == "start the server, or correct `base_url`"


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (3600, "warn"), (-3600, "warn")])
def test_wrong_clock_is_a_warning(
    off_s: int, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(answer) as endpoint:
        endpoint.date = formatdate(time() + off_s, usegmt=True)
        write(endpoint.url)
        code, checks, _ = examined(capsys)
    assert (code, checks["clock"]["state"]) == (0, state)


def test_each_model_of_a_recipe_is_checked_once(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer) as one, FakeEndpoint(answer) as other:
        reviser = json.dumps({"openai_chat": {"base_url": other.url, "model": "fake"}})
        write(one.url, more=f"  reviser: {reviser}\n")
        _, _, result = examined(capsys)
        assert {line["group"] for line in result.lines} > {
            "drafter: openai_chat",
            "reviser: openai_chat",
        }
        drafter = json.dumps({"openai_chat": {"base_url": one.url, "model": "fake"}})
        write(one.url, more=f"  reviser: {drafter}\n")
        before = len(one.requests)
        _, _, result = examined(capsys)
        assert len(one.requests) == before + 2
    assert "drafter, reviser: openai_chat" in {line["group"] for line in result.lines}


def test_embedded_teacher_needs_no_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "doctor", "--json")
    assert result.code == 0
    assert {"check": "teacher", "state": "ok"}.items() <= result.lines[-1].items()


def test_overriding_local_file_is_a_warning(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = workdir / "prompts/locales"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "prompts/locales/en.yaml", place / "en.yaml")
    result = call(capsys, "doctor", "--json")
    (line_,) = [line for line in result.lines if "hides" in line["message"]]
    assert (result.code, line_["check"], line_["state"]) == (0, "locales", "warn")
    assert "`en` of the working folder hides that of the checkout" in line_["message"]
    assert "rename prompts/locales/en.yaml" in line_["remedy"]


def test_unreadable_recipe_fails_but_other_checks_run(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "recipe.yaml").write_text("name: k\nplanet: core\n", encoding="utf-8")
    code, checks, _ = examined(capsys)
    assert code == 1
    assert "recipe.yaml:2:1" in checks["recipe"]["message"]
    assert states(checks, "disk", "output", "key") == ["ok", "ok", "-"]


def test_invalid_teacher_parameter_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    write("ftp://127.0.0.1/v1")
    code, checks, _ = examined(capsys)
    assert (code, checks["teacher"]["state"]) == (1, "fail")


def test_unwritable_output_is_a_failure(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "full").write_text("a file where a folder should be", encoding="utf-8")
    result = call(capsys, "doctor", "-o", "full/out", "--json")
    (check,) = [line for line in result.lines if line["check"] == "output"]
    assert (result.code, check["state"]) == (1, "fail")


def test_missing_programs_are_warnings(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(workdir))
    result = call(capsys, "doctor", "--json")
    checks = {line["check"]: line for line in result.lines}
    assert result.code == 0
    assert states(checks, "git", "git-lfs") == ["warn", "warn"]
    assert "apt-get install git-lfs" in checks["git-lfs"]["remedy"]


def test_doctor_leaves_no_files(workdir: Path) -> None:
    assert main.run_command(["doctor"]) == 0
    assert list(workdir.iterdir()) == []


def test_thinking_in_the_text_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(lambda body: f"<think>hm</think>{answer(body)}") as endpoint:
        write(endpoint.url)
        code, checks, _ = examined(capsys)
    assert (code, checks["thinking"]["state"]) == (0, "warn")
    assert "reasoning parser" in checks["thinking"]["remedy"]
    assert checks["json"]["state"] == "ok"


def test_folded_system_turn_is_sent_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(answer) as endpoint:
        params = {"base_url": endpoint.url, "model": "fake", "fold_system": True}
        drafter = json.dumps({"openai_chat": params})
        text = f"{RECIPE}teachers:\n  drafter: {drafter}\n"
        Path("recipe.yaml").write_text(text, encoding="utf-8")
        code, checks, _ = examined(capsys)
    assert (code, checks["system"]["state"]) == (0, "ok")
    (message,) = endpoint.requests[0]["messages"]
    assert message["role"] == "user"
    assert message["content"].startswith("You are a helpful assistant.")
