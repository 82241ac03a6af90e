"""Runs against a failing endpoint: each failing request costs one item."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from safegen.core.hashing import digest
from safegen.store import parquet
from safegen.teachers._circuit_breaker import CONTROL_MESSAGE, MAX_FAILED_ITEMS
from safegen.testing import Body, FakeEndpoint
from safegen.testing.endpoint import STATUS
from tests.e2e.runs import KEY_ENV, CommandResult, cli, hashes, long_answer, write_recipe

RARE = {"408", "short-body", "no-choices"}
"""Faults that the run treats like others; `tests/teachers` has each of them by default."""
MENDED = ["429", "500", "408", "reset", "cut-json", "short-body", "no-choices"]
"""Faults that a retry resolves."""
PAID = {
    "400-policy": "blocked",
    "length": "truncated",
    "content_filter": "filtered",
    "refusal": "refused",
    "empty": "empty",
}
"""Persistent faults, and the outcome that is cached for them."""
UNPAID = ["500", "reset", "408", "short-body", "cut-json", "no-choices"]
"""Persistent faults without a cached outcome: the same command repeats the request."""
Fault = Callable[[Body, int], str | None]


def rarely(cases: Iterable[tuple[str, ...]]) -> list[Any]:
    """Parameter sets for `parametrize`: those of rare faults are slow."""
    return [pytest.param(*c, marks=[pytest.mark.slow] if c[0] in RARE else []) for c in cases]


def prompt(body: Body) -> str:
    return str(body["messages"][-1]["content"])


def chosen(body: Body, share: int = 5) -> bool:
    """Choose one prompt in `share`."""
    return int(digest(prompt(body)), 16) % share == 0


def sometimes(name: str, *, times: int = 10**9) -> Fault:
    return lambda body, nth: name if chosen(body) and nth < times else None


def generate(capsys: pytest.CaptureFixture[str], *more: object) -> CommandResult:
    return cli(capsys, "generate", "recipe.yaml", "-o", "out", "--json", *more)


def summary_of(result: CommandResult) -> dict[str, Any]:
    assert "Traceback" not in result.err
    assert "a bug in safegen" not in result.err
    return json.loads(result.out.splitlines()[0])


def listed(folder: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for path in sorted((folder / "run" / "failures").glob("*.jsonl")):
        lines += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return lines


def prompts_in(folder: Path, view: str) -> set[str]:
    files = sorted((folder / "data" / view).rglob("*.parquet"))
    rows = [row for path in files for row in parquet.read_rows(path)]
    return {row["messages"][-2]["content"] for row in rows}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for p in sorted((folder / "run/records").iterdir()) for row in parquet.read_rows(p)]


@pytest.mark.parametrize("fault", rarely((fault,) for fault in MENDED))
def test_passing_fault_costs_one_request(
    fault: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes(fault, times=1), retry_after="0.05") as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        result = generate(capsys)
        failed = {prompt(body) for body in fake.requests if chosen(body)}
    assert result.code == 0
    assert summary_of(result)["failed_requests"] == {}
    assert failed <= prompts_in(workdir / "out", "sft")
    assert (
        summary_of(result)["requests"]
        == len(fake.requests)
        == summary_of(result)["planned"] + len(failed)
    )


@pytest.mark.parametrize(
    ("fault", "outcome"),
    rarely([*PAID.items(), *((name, "unavailable") for name in UNPAID)]),
)
def test_persistent_fault_costs_one_item(
    fault: str, outcome: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes(fault)) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        result = generate(capsys)
        failed = {prompt(body) for body in fake.requests if chosen(body)}
        control = {CONTROL_MESSAGE["content"]}
        prompts = {prompt(body) for body in fake.requests} - control
    assert result.code == 0
    assert summary_of(result)["failed_requests"] == {outcome: len(failed)}
    assert summary_of(result)["accepted"] == len(prompts) - len(failed) > 0
    assert re.search(
        rf"^  {outcome} +failed +\d+ +\S+ +{len(failed)}$", result.err, re.MULTILINE
    ), result.err
    lines = listed(workdir / "out")
    assert len(lines) == len(failed)
    assert {line["outcome"] for line in lines} == {outcome}
    assert all(line["message"] for line in lines if fault not in ("length", "empty"))
    assert all(line["key"] for line in lines if outcome != "unavailable")
    assert prompts_in(workdir / "out", "sft") == prompts - failed
    lost = [row for row in rows_of(workdir / "out") if row["outcome"] != "ok"]
    assert len(lost) == len(failed)
    assert not any(row["accepted"] or row["response"] for row in lost)
    assert {row["reason"] for row in lost} == {outcome}


def test_strict_exits_1_only_after_losses(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes("length", times=1)) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        assert generate(capsys, "--strict").code == 1
        assert cli(capsys, "retry", "out").code == 0
        assert generate(capsys, "--strict").code == 0


@pytest.mark.parametrize("fault", ["401", "404", "400", "quota", "redirect"])
def test_rejecting_endpoint_stops_the_run(
    fault: str, workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-a-key-that-nobody-may-see-0123"
    monkeypatch.setenv(KEY_ENV, key)
    with FakeEndpoint(long_answer, fault=lambda body, nth: fault) as fake:
        write_recipe(
            workdir / "recipe.yaml", fake.url, endpoint={"api_key_env": KEY_ENV, "attempts": 6}
        )
        result = generate(capsys)
    assert result.code == 1
    assert fake.url in result.err
    assert key not in result.err
    assert "Traceback" not in result.err
    # A 400 may concern one prompt: five items with a control each, and those in flight, show the cause.
    # Other statuses need one control.
    assert len(fake.requests) <= (2 * MAX_FAILED_ITEMS + 4 if fault == "400" else 5)
    assert not (workdir / "out" / "data").exists()


def test_replies_in_flight_survive_a_revoked_key(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = {"yes": True}
    with FakeEndpoint(
        long_answer,
        latency_s=0.05,
        fault=lambda body, nth: "401" if dead["yes"] and len(fake.requests) > 6 else None,
    ) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        assert generate(capsys).code == 1
        dead["yes"] = False
        assert generate(capsys).code == 0
        answered = fake.answered
    assert max(answered.values()) == 1


@pytest.mark.parametrize("limit", [{"requests": 10}, {"tokens": 4_000}], ids=str)
def test_spent_budget_stops_without_double_payment(
    limit: dict[str, int], workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, latency_s=0.02) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url, budget=limit)
        for _ in range(2):
            stopped = generate(capsys)
            assert stopped.code == 1
            assert "is spent; raise `budget." in stopped.err
        sent = len(fake.requests)
        assert 0 < sent <= 14
        write_recipe(workdir / "recipe.yaml", fake.url)
        assert generate(capsys).code == 0
        assert len(fake.requests) > sent
        assert max(Counter(digest(body) for body in fake.requests).values()) == 1
        spent = json.loads((workdir / "out" / "run" / "accounting.json").read_text("utf-8"))
        assert spent["requests"] == len(fake.requests)


def test_finished_run_repeated_sends_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes("content_filter")) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        assert generate(capsys).code == 0
        sent, before = len(fake.requests), hashes(workdir / "out")
        times = {p: p.stat().st_mtime_ns for p in (workdir / "out" / "data").rglob("*")}
        again = generate(capsys)
        assert len(fake.requests) == sent
    assert again.code == 0
    assert hashes(workdir / "out") == before
    assert times == {p: p.stat().st_mtime_ns for p in (workdir / "out" / "data").rglob("*")}
    assert summary_of(again)["requests"] == 0
    assert summary_of(again)["changed"] is False
    assert "is complete; requests: 0, files changed: 0" in again.err


def test_rerun_repeats_unavailable_requests_only(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    down = {"yes": True}

    def fault(body: Body, nth: int) -> str | None:
        if chosen(body):
            return "500" if down["yes"] else None
        return "content_filter" if chosen(body, 3) else None

    with FakeEndpoint(long_answer, fault=fault) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        first = summary_of(generate(capsys))
        assert first["failed_requests"].keys() == {"unavailable", "filtered"}
        down["yes"] = False
        sent = len(fake.requests)
        again = summary_of(generate(capsys))
        repeated = fake.requests[sent:]
    assert again["failed_requests"] == {"filtered": first["failed_requests"]["filtered"]}
    assert len(repeated) == first["failed_requests"]["unavailable"] > 0
    assert all(chosen(body) for body in repeated)


@pytest.mark.parametrize(
    "fault",
    [
        "content_filter",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cut-json", "length", "refusal", "400-policy")
        ),
    ],
)
def test_retry_repeats_failed_items_only(
    fault: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes(fault, times=2)) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url, endpoint={"attempts": 2})
        first = summary_of(generate(capsys))
        sent = len(fake.requests)
        counts = []
        while listed(workdir / "out"):
            assert cli(capsys, "retry", "out").code == 0
            counts.append(len(fake.requests) - sent)
            assert len(counts) <= 2
        assert all(chosen(body) for body in fake.requests[sent:])
        nothing = cli(capsys, "retry", "out")
    lost = sum(first["failed_requests"].values())
    assert counts[0] == lost > 0
    assert nothing.code == 0
    assert "no failed request" in nothing.err
    failed = {prompt(body) for body in fake.requests if chosen(body)}
    assert failed <= prompts_in(workdir / "out", "sft")


@pytest.mark.parametrize(
    "until", ["draft", *(pytest.param(s, marks=pytest.mark.slow) for s in ("expand", "validate"))]
)
def test_interrupted_run_equals_a_straight_run(
    until: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes("length")) as fake:
        write_recipe(
            workdir / "recipe.yaml", fake.url, plan={"harms": ["property.*"], "candidates": 2}
        )
        assert cli(capsys, "generate", "recipe.yaml", "-o", "straight").code == 0
        straight = Counter(digest(body) for body in fake.requests)
        fake.requests.clear()
        early = cli(capsys, "generate", "recipe.yaml", "-o", "out", "--until", until)
        assert early.code == 0
        assert f"stopped after {'the plan' if until == 'expand' else until}:" in early.err
        assert not (workdir / "out" / "data").exists()
        assert bool(fake.requests) == (until != "expand")
        assert generate(capsys).code == 0
        assert Counter(digest(body) for body in fake.requests) == straight
    assert hashes(workdir / "out" / "data") == hashes(workdir / "straight" / "data")


def test_until_draft_repeats_unavailable_drafts(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes("500", times=2)) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        assert summary_of(generate(capsys, "--until", "draft"))["failed_requests"].keys() == {
            "unavailable"
        }
        assert summary_of(generate(capsys, "--until", "draft"))["failed_requests"] == {}


def test_refused_prompts_are_blocked_others_continue(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = (400, {"message": "maximum context length", "code": "context_length_exceeded"})
    monkeypatch.setattr("safegen.testing.endpoint.STATUS", {"400": refused})
    first: list[str] = []

    def fault(body: Body, nth: int) -> str | None:
        first.append(
            prompt(body)
        )  # the first request is answered, which shows that the endpoint works
        return "400" if chosen(body) and prompt(body) != first[0] else None

    with FakeEndpoint(long_answer, fault=fault) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url, endpoint={"concurrency": 1})
        result = generate(capsys)
        request_count = len(fake.requests)
        again = generate(capsys)
        assert len(fake.requests) == request_count
    bad = {p for p in first if chosen({"messages": [{"content": p}]}) and p != first[0]}
    assert result.code == again.code == 0
    assert summary_of(result)["failed_requests"] == {"blocked": len(bad)}
    assert bad
    assert "context length" in str(listed(workdir / "out"))


def test_one_endpoint_in_two_roles_shares_its_limit(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, latency_s=0.02) as fake:
        params = {"base_url": fake.url, "model": "m", "concurrency": 3}
        teachers = {r: {"openai_chat": dict(params)} for r in ("drafter", "reviser")}
        strict = [{"length_bounds": {"min_chars": 5_000}}]
        write_recipe(
            workdir / "recipe.yaml", fake.url, teachers=teachers, validators=strict, revise=1
        )
        result = generate(capsys)
    assert "no draft was accepted" in result.err
    assert summary_of(result)["requests"] == len(fake.requests) > 12
    assert fake.max_in_flight <= 3


def test_recipe_seed_is_not_sent(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEndpoint(long_answer) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url, seed=7)
        generate(capsys)
        endpoint = {"seed": 40, "extra": {"top_k": 20, "min_p": 0.1, "on": True, "is": "x"}}
        write_recipe(workdir / "recipe.yaml", fake.url, seed=7, endpoint=endpoint)
        sent = len(fake.requests)
        generate(capsys, "--replan")
    assert all(set(body) == {"model", "messages", "stream"} for body in fake.requests[:sent])
    assert {body["seed"] for body in fake.requests[sent:]} == {40}
    assert {(b["top_k"], b["min_p"], b["on"], b["is"]) for b in fake.requests[sent:]} == {
        (20, 0.1, True, "x")
    }


def test_status_and_show_print_the_servers_message(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeEndpoint(long_answer, fault=sometimes("400-policy")) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url)
        generate(capsys)
    message = "The response was filtered due to the content management policy"
    assert message in " ".join(cli(capsys, "status", "out").out.split())
    status = json.loads(cli(capsys, "status", "out", "--json").out)
    assert message in status["failure_messages"]["blocked"]
    shown = cli(capsys, "show", "out", "--reason", "blocked", "-n", "1").out
    assert message in " ".join(shown.split())


def test_echoed_prompt_is_shown_with_reveal_only(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(body: Body, nth: int) -> str | None:
        quoted = (400, {"message": f"cannot read `{prompt(body)[:60]}`"})
        monkeypatch.setitem(STATUS, "400", quoted)
        return "400" if chosen(body) else None

    with FakeEndpoint(long_answer, fault=fault) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url, endpoint={"concurrency": 1})
        assert generate(capsys).code == 0
    command = ("show", "out", "--reason", "blocked", "-n", "1")
    for form in ((), ("--json",)):
        hidden = " ".join(cli(capsys, *command, *form).out.split())
        assert "cannot read `…" in hidden
        revealed = cli(capsys, *command, *form, "--reveal").out
        assert "cannot read" in revealed
        assert "cannot read `…" not in revealed
    status = " ".join(cli(capsys, "status", "out").out.split())
    assert "cannot read `…" in status


def test_retry_without_its_key_changes_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, "a-long-key-of-the-kitchen")
    with FakeEndpoint(long_answer, fault=sometimes("length")) as fake:
        write_recipe(workdir / "recipe.yaml", fake.url, endpoint={"api_key_env": KEY_ENV})
        generate(capsys)
    before = hashes(workdir / "out" / "run")
    monkeypatch.delenv(KEY_ENV)
    result = cli(capsys, "retry", "out")
    assert result.code == 2
    assert KEY_ENV in result.err
    assert hashes(workdir / "out" / "run") == before
