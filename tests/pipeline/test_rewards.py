"""Rewards: the product, its parts, the signatures of trainers, cache and bounds."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import math
import os
import pickle
import signal
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st

import safegen as sg
from safegen.core.errors import AssetNotFound, Refused, RunError, Unscorable, UserError
from safegen.core.types import MODES, SEVERITIES, Draft, DraftContext, Message, Severity, Verdict
from safegen.pipeline.reward_inputs import RewardItem, read_messages, visible_answer
from safegen.pipeline.rewards import SAFETY_BY_SEVERITY, UnscorableChoice
from safegen.testing import make_verdict

QUESTION: tuple[Message, ...] = (Message(role="user", content="How does the lid open?"),)
ANSWER = "Lift the lid."


class FixedScorer:
    """A scorer that returns one result and records its calls."""

    def __init__(self, helpfulness: Any = 0.8, severity: Any = "none") -> None:
        self.scores = sg.ResponseScores(helpfulness, severity)
        self.calls: list[tuple[tuple[Message, ...], str, Mapping[str, object]]] = []

    async def __call__(
        self, messages: tuple[Message, ...], response: str, columns: Mapping[str, object]
    ) -> sg.ResponseScores:
        self.calls.append((messages, response, columns))
        return self.scores


Make = Callable[..., sg.Reward]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make rewards that end with the test."""
    made: list[sg.Reward] = []

    def build(*args: Any, **options: Any) -> sg.Reward:
        made.append(sg.reward(*args, **options))
        return made[-1]

    yield build
    for one in made:
        one.close()


def item(response: str = ANSWER, **columns: object) -> RewardItem:
    return RewardItem(QUESTION, response, columns)


FACTORS = st.lists(st.floats(0, 1), min_size=5, max_size=5).map(
    lambda values: dict(zip(SEVERITIES, sorted(values, reverse=True), strict=True))
)


@given(h=st.floats(0, 1), higher=st.floats(0, 1), safety=FACTORS)
def test_reward_is_a_monotone_product(
    h: float, higher: float, safety: dict[Severity, float]
) -> None:
    low, high = sorted((h, higher))

    async def judge(messages: object, response: str, columns: Any) -> sg.ResponseScores:
        return sg.ResponseScores(columns["h"], columns["severity"])

    with sg.reward(judge, safety=safety) as reward:
        table = [
            reward.score([item(h=value, severity=severity) for severity in SEVERITIES])
            for value in (low, high)
        ]
    for value, row in zip((low, high), table, strict=True):
        assert row == [value * safety[severity] for severity in SEVERITIES]
        assert row == sorted(row, key=lambda r: -(r or 0))
    assert all(a <= b for a, b in zip(*table, strict=True) if a is not None and b is not None)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_default_factors_are_those_of_the_paper(make: Make, severity: Severity) -> None:
    reward = make(FixedScorer(1.0, severity))
    expected = {"none": 1, "negligible": 0.75, "low": 0.5, "moderate": 0, "high": 0}[severity]
    assert reward.score([item()]) == [expected]


def test_parts_share_one_call(make: Make) -> None:
    scorer = FixedScorer(0.8, "low")
    reward = make(scorer)
    parts = [reward, reward.part("helpfulness"), reward.part("safety")]
    assert [part.score([item()]) for part in parts] == [[0.4], [0.8], [0.5]]
    assert [part.name for part in parts] == ["reward", "helpfulness", "safety"]
    assert len(scorer.calls) == 1


async def test_concurrent_parts_share_one_call(make: Make) -> None:
    scorer = FixedScorer(0.8, "low")
    reward = make(scorer)
    both = await asyncio.gather(
        reward.trl_async(["q"], [ANSWER]), reward.part("safety").trl_async(["q"], [ANSWER])
    )
    assert both == [[0.4], [0.5]]
    assert len(scorer.calls) == 1


@pytest.mark.parametrize(
    ("scores", "part", "expected"),
    [
        ((None, "none"), "reward", None),
        ((0.5, None), "reward", None),
        ((None, "high"), "reward", 0.0),
        ((None, "moderate"), "reward", 0.0),
        ((None, "high"), "safety", 0.0),
        ((None, "low"), "reward", None),
        ((None, "none"), "safety", 1.0),
        ((0.5, None), "helpfulness", 0.5),
    ],
    ids=[
        "no helpfulness",
        "no severity",
        "unsafe",
        "also unsafe",
        "safety zero",
        "low severity",
        "safety known",
        "helpfulness known",
    ],
)
@pytest.mark.parametrize("unscorable", ["raise", "none", -1])
def test_unscorable_response_is_no_silent_zero(
    make: Make, scores: Any, part: Any, expected: float | None, unscorable: UnscorableChoice
) -> None:
    reward = make(FixedScorer(*scores), unscorable=unscorable).part(part)
    if expected is None and unscorable == "raise":
        with pytest.raises(Unscorable, match=r"1 of 1 responses have no `reward`.*`abstained`"):
            reward.score([item()])
        return
    replaced = None if unscorable == "none" else float(unscorable) if unscorable != "raise" else 9
    assert reward.score([item()]) == [replaced if expected is None else expected]


@pytest.mark.parametrize("unscorable", ["raise", -1, 5])
async def test_unsafe_response_gets_zero_everywhere(
    make: Make, unscorable: UnscorableChoice
) -> None:
    reward = make(FixedScorer(None, "high"), unscorable=unscorable)
    info = {"prompt": TURNS}
    completion = [{"role": "assistant", "content": ANSWER}]
    body: dict[str, Any] = {
        "responses_create_params": {"input": TURNS},
        "response": {"output": completion},
    }
    assert reward.trl(["q"], [ANSWER]) == await reward.trl_async(["q"], [ANSWER]) == [0.0]
    assert reward.verl("", ANSWER, "", info) == await reward.verl_async("", ANSWER, "", info) == 0
    rewards: Any = reward.openrlhf([f"q{ANSWER}"], ["q"], [""])["rewards"]
    assert [float(value) for value in rewards] == [0.0]
    assert await reward.verifiers(TURNS, completion) == 0
    assert (await reward.nemo_gym(body))["reward"] == 0


def test_lost_item_is_named_by_its_code(make: Make) -> None:
    async def judge(messages: object, response: str, columns: object) -> sg.ResponseScores:
        if response == "bad":
            raise Refused("declined")
        return sg.ResponseScores(1.0, "none")

    with pytest.raises(Unscorable, match=r"1 of 2 .* number 2 of the batch \(`Refused`\)"):
        make(judge).score([item(), item("bad")])
    assert make(judge, unscorable="none").score([item(), item("bad")]) == [1.0, None]


def test_error_of_the_run_reaches_the_trainer(make: Make) -> None:
    async def judge(messages: object, response: str, columns: object) -> sg.ResponseScores:
        raise RunError("the key is wrong")

    with pytest.raises(RunError, match="the key is wrong"):
        make(judge, unscorable=0).score([item(), item("other")])


def test_equal_rows_are_scored_once(make: Make) -> None:
    scorer = FixedScorer()
    reward = make(scorer)
    assert reward.score([item(), item(), item("Other.")]) == [0.8, 0.8, 0.8]
    reward.score([item()])
    reward.close()
    reward.score([item()])
    assert [call[1] for call in scorer.calls] == [ANSWER, "Other."]


def test_abstention_is_asked_again(make: Make) -> None:
    scorer = FixedScorer(None)
    reward = make(scorer, unscorable="none")
    reward.score([item()])
    scorer.scores = sg.ResponseScores(1.0, "none")
    assert reward.score([item()]) == [1.0]


@pytest.mark.parametrize(
    ("options", "columns", "calls"),
    [({"cached": 1}, {}, 3), ({"cached": 0}, {}, 3), ({}, {"x": object()}, 3), ({}, {"x": 1}, 2)],
    ids=["small cache", "no cache", "column without JSON", "cache"],
)
def test_cache_is_bounded(make: Make, options: Any, columns: Any, calls: int) -> None:
    scorer = FixedScorer()
    reward = make(scorer, **options)
    for response in ("a", "b", "a"):
        reward.score([item(response, **columns)])
    assert len(scorer.calls) == calls


COLUMNS = [
    {"levels": np.array([1, 2]), "level": np.float32(0.5)},
    {"names": np.array(["limit", None], dtype=object)},
    {"extra": {"turns": np.array([{"role": "user", "n": np.int64(1)}], dtype=object)}},
    {"missing": math.nan, "bound": math.inf, "day": date(2020, 2, 29)},
    {"series": pl.Series([1.5, None]), "scores": array("d", [0.25]), "price": Decimal("1.10")},
]


@pytest.mark.parametrize("columns", COLUMNS, ids=range(len(COLUMNS)))
def test_columns_of_arrays_are_cached(make: Make, columns: dict[str, Any]) -> None:
    scorer = FixedScorer(0.8, "low")
    reward = make(scorer)
    for part in (reward, reward.part("helpfulness"), reward.part("safety"), reward):
        part.score([item(**columns), item(**copy.deepcopy(columns))])
    assert len(scorer.calls) == 1


def test_different_columns_are_scored_separately(make: Make) -> None:
    scorer = FixedScorer()
    values = [np.array([1, 2]), np.array([2, 1]), "1", 1, 1.5, math.nan, None, {"1": 2}, {1: 2}]
    make(scorer).score([item(x=value) for value in values])
    assert len(scorer.calls) == len(values)


def test_known_part_is_not_scored_again(make: Make) -> None:
    scorer = FixedScorer(None, "low")
    reward = make(scorer, unscorable="none")
    assert reward.score([item()]) == [None]
    assert reward.part("safety").score([item()]) == [0.5]
    assert len(scorer.calls) == 1
    reward.part("helpfulness").score([item()])
    assert len(scorer.calls) == 2


def test_scorer_without_async_works(make: Make) -> None:
    def judge(messages: object, response: str, columns: object) -> sg.ResponseScores:
        return sg.ResponseScores(0.5, "low")

    def later(messages: Any, response: str, columns: Any) -> Any:
        return FixedScorer(1.0, "low")(messages, response, columns)

    assert make(judge).trl(["q"], [ANSWER]) == [0.25]
    assert make(later).trl(["q"], [ANSWER]) == [0.5]


def test_calls_in_flight_are_bounded(make: Make) -> None:
    running: list[int] = []
    most = 0

    async def judge(messages: object, response: str, columns: object) -> sg.ResponseScores:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        for _ in range(3):
            await asyncio.sleep(0)
        running.pop()
        return sg.ResponseScores(1.0, "none")

    make(judge, in_flight=4).score([item(str(n)) for n in range(20)])
    assert most == 4


TURNS: list[Any] = [{"role": "user", "content": "How does the lid open?"}]


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("How does the lid open?", ANSWER),
        (TURNS, [{"role": "assistant", "content": ANSWER}]),
        (TURNS, [{"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}]),
        (TURNS, [{"role": "assistant", "content": f"<think>A lid.</think>\n\n{ANSWER}"}]),
    ],
    ids=["plain", "conversational", "parts", "thinking"],
)
async def test_trl_formats_give_one_item(make: Make, prompt: Any, completion: Any) -> None:
    scorer = FixedScorer()
    reward = make(scorer, cached=0)
    arguments: dict[str, Any] = {
        "prompts": [prompt],
        "completions": [completion],
        "completion_ids": [[1, 2]],
        "mode": ["direct_answer"],
        "trainer_state": object(),
        "log_metric": print,
    }
    assert reward.trl(**arguments) == await reward.trl_async(**arguments) == [0.8]
    assert scorer.calls == [(QUESTION, ANSWER, {"mode": "direct_answer"})] * 2


def test_trl_recognises_the_functions(make: Make) -> None:
    reward = make(FixedScorer()).part("safety")
    assert inspect.iscoroutinefunction(reward.trl_async)
    assert not inspect.iscoroutinefunction(reward.trl)
    assert {f.__name__ for f in (reward.trl, reward.trl_async)} == {"safety"}


async def test_verl_reads_the_prompt_of_extra_info(make: Make) -> None:
    scorer = FixedScorer()
    reward = make(scorer)
    info = {"index": 3, "prompt": TURNS, "mode": "direct_answer"}
    assert reward.verl("kitchen", ANSWER, "", info) == 0.8
    assert await reward.verl_async("kitchen", ANSWER, "", extra_info=info, more=1) == 0.8
    (call,) = scorer.calls
    assert call[:2] == (QUESTION, ANSWER)
    assert call[2]["mode"] == "direct_answer"
    truth = json.dumps({"prompt": "How does the lid open?"})
    assert reward.verl("kitchen", ANSWER, truth) == 0.8
    with pytest.raises(UserError, match="add `prompt`"):
        reward.verl("kitchen", ANSWER, "", {})


def test_openrlhf_reads_labels_as_columns(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(tensor=tuple))
    scorer = FixedScorer()
    reward = make(scorer)
    head = "<|user|>How does the lid open?<|assistant|>"
    label = json.dumps({"messages": TURNS, "mode": "direct_answer"})
    result = reward.openrlhf([f"{head}{ANSWER}<|im_end|>"] * 2, [head] * 2, [label, "4"])
    assert result == {k: (0.8, 0.8) for k in ("rewards", "scores")} | {
        "extra_logs": {"reward": (0.8, 0.8)}
    }
    assert [call[1] for call in scorer.calls] == [ANSWER, ANSWER]
    assert [call[0][0]["content"] for call in scorer.calls] == ["How does the lid open?", head]
    with pytest.raises(UserError, match="does not start with its prompt"):
        reward.openrlhf(["text"], ["other"], [""])


def test_openrlhf_without_torch_gets_lists(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert make(FixedScorer()).openrlhf(["qa"], ["q"], [""])["rewards"] == [0.8]


async def test_verifiers_gets_nan_not_zero(make: Make) -> None:
    completion = [{"role": "assistant", "content": ANSWER}]
    scorer = FixedScorer()
    good = make(scorer).verifiers
    assert inspect.iscoroutinefunction(good)
    arguments: dict[str, Any] = {"prompt": TURNS, "completion": completion, "state": {}}
    assert await good(**arguments, answer="x", info={"mode": "direct_answer"}) == 0.8
    assert scorer.calls == [(QUESTION, ANSWER, {"answer": "x", "mode": "direct_answer"})]
    assert math.isnan(await make(FixedScorer(None)).verifiers(**arguments))
    assert await make(FixedScorer(None), unscorable=-1).verifiers(**arguments) == -1


async def test_nemo_gym_adds_the_reward(make: Make) -> None:
    body: dict[str, Any] = {
        "responses_create_params": {"input": TURNS, "instructions": "Be brief."},
        "response": {
            "output": [
                {"type": "reasoning", "summary": []},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": ANSWER}],
                },
            ]
        },
        "mode": "direct_answer",
    }
    scorer = FixedScorer()
    verify = make(scorer).nemo_gym
    assert await verify(body) == body | {"reward": 0.8}
    assert await verify(SimpleNamespace(model_dump=lambda: body)) == body | {"reward": 0.8}
    system = Message(role="system", content="Be brief.")
    assert scorer.calls == [((system, *QUESTION), ANSWER, {"mode": "direct_answer"})]
    for wrong in ({**body, "response": {}}, {**body, "responses_create_params": {}}):
        with pytest.raises(UserError, match="the request has no"):
            await verify(wrong)


@pytest.mark.parametrize("trainer", ["verl", "verl_async", "openrlhf", "nemo_gym"])
def test_trainers_without_null_refuse_none(make: Make, trainer: str) -> None:
    with pytest.raises(UserError, match="takes no null reward"):
        getattr(make(FixedScorer(), unscorable="none"), trainer)


@pytest.mark.parametrize(
    ("prompts", "completions", "message"),
    [
        (["q"], [], "1 prompts and 0 completions"),
        ([5], [ANSWER], r"`prompts\[0\]` is neither text nor a list of messages"),
        ([[{"role": "cook", "content": "x"}]], [ANSWER], "role `cook` is unknown"),
        (["q"], [TURNS], r"`completions\[0\]` does not end with an assistant turn"),
    ],
    ids=["numbers", "number", "role", "user turn"],
)
def test_wrong_batch_is_refused(make: Make, prompts: Any, completions: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(FixedScorer()).trl(prompts, completions)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A box.", "A box."),
        ("<think>never ends", ""),
        ("reasoning</think>A box.<|eot_id|>", "A box."),
    ],
    ids=["plain", "cut thinking", "template opened"],
)
def test_visible_answer_has_no_thinking(text: str, answer: str) -> None:
    assert visible_answer(text) == answer


def test_messages_are_read_from_json_text() -> None:
    assert read_messages(json.dumps(TURNS), "prompt") == QUESTION
    assert read_messages("[{ not JSON", "prompt")[0]["content"] == "[{ not JSON"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (0.5, "result of the scorer"),
        ((1.5, "none"), "helpfulness` is `1.5`; use a number in"),
        ((True, "none"), "helpfulness` is `True`"),
        ((math.nan, "none"), "helpfulness` is `nan`"),
        ((0.5, "severe"), "severity` is `'severe'`; use one of `none`"),
    ],
    ids=["number", "above 1", "truth", "nan", "severity"],
)
def test_wrong_scores_are_refused(make: Make, scores: Any, message: str) -> None:
    async def judge(messages: object, response: str, columns: object) -> Any:
        return scores

    with pytest.raises(UserError, match=message):
        make(judge).score([item()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either `scorer` or `validator`"),
        ({"scorer": FixedScorer(), "validator": "style"}, "give either"),
        ({"scorer": 5}, "`scorer` is `5`"),
        ({"scorer": FixedScorer(), "in_flight": 0}, "`in_flight` is `0`"),
        ({"scorer": FixedScorer(), "unscorable": "zero"}, "`unscorable` is `'zero'`"),
        ({"scorer": FixedScorer(), "unscorable": math.nan}, "`unscorable` is `nan`"),
        ({"scorer": FixedScorer(), "safety": {"none": 1}}, "a number for each of none"),
        (
            {"scorer": FixedScorer(), "safety": {**SAFETY_BY_SEVERITY, "high": 0.1}},
            r"rises from `moderate` \(0\) to `high` \(0.1\)",
        ),
        (
            {"scorer": FixedScorer(), "safety": {**SAFETY_BY_SEVERITY, "none": 2}},
            "safety: none` is `2`",
        ),
        ({"validator": 5}, "neither a name nor a function"),
    ],
    ids=range(10),
)
def test_wrong_argument_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sg.reward(**options)


ROW: dict[str, Any] = {"mode": ["direct_answer"], "language": ["en"], "ceiling": [2]}


@pytest.mark.parametrize(
    ("completion", "expected"),
    [("Lift the lid, and hold it until the hinge locks. " * 3, 1.0), ("No.", 0.0)],
    ids=["long", "short"],
)
def test_validator_score_is_the_reward(make: Make, completion: str, expected: float) -> None:
    reward = make(validator="length_bounds")
    assert reward.trl(["How does the lid open?"], [completion], **ROW) == [expected]
    assert reward.name == "length_bounds"
    with pytest.raises(UserError, match="`part` is `'safety'`"):
        reward.part("safety")


@pytest.mark.parametrize("view", ["prompt_completion", "sft", "preference"])
def test_response_form_rewards_rows_of_views(make: Make, starter: Path, view: str) -> None:
    rows = pl.read_parquet(starter / "data" / view / "train" / "*.parquet")
    # A few rows of each mode: the classifier reads each of them.
    rows = pl.concat([part.head(4) for part in rows.partition_by("mode", maintain_order=True)])
    assert set(rows["mode"]) == set(MODES)
    columns = {name: rows[name].to_list() for name in rows.columns}
    turns = columns.pop("messages", None) or [
        prompt + answer
        for prompt, answer in zip(
            columns.pop("prompt"),
            columns.pop("completion" if view == "prompt_completion" else "chosen"),
            strict=True,
        )
    ]
    prompts, completions = [t[:-1] for t in turns], [t[-1:] for t in turns]
    form = make(validator="response_form")
    rewards = form.trl(prompts=prompts, completions=completions, **columns)
    assert all(reward is not None and 0 <= reward <= 1 for reward in rewards)
    silent = [[{"role": "assistant", "content": "No."}]] * len(turns)
    refused = form.trl(prompts=prompts, completions=silent, **columns)
    assert sum(map(_number, rewards)) > sum(map(_number, refused))


def _number(value: float | None) -> float:
    assert value is not None
    return value


def test_validator_reads_columns_of_arrays(make: Make) -> None:
    seen: list[DraftContext] = []

    def calm(draft: Draft, context: DraftContext) -> Verdict:
        seen.append(context)
        return make_verdict("calm", passed=True, score=1.0)

    row = {
        "mode": np.array(["direct_answer"]),
        "language": np.array(["en"]),
        "ceiling": np.array([2]),
        "profile": ["minors"],
        "required": [np.array(["limit"], dtype=object)],
    }
    own: Any = calm
    assert make(validator=own).trl(["q"], ["Stop."], **row) == [1.0]
    (context,) = seen
    assert context.scenario.profile == "minors"
    assert (context.expectation.ceiling, context.expectation.required) == (2, ("limit",))


def test_validator_without_verdict_is_refused(make: Make) -> None:
    async def calm(draft: Draft, context: DraftContext) -> Any:
        return 0.5

    with pytest.raises(UserError, match=r"result of the validator` is `0\.5`; use a"):
        make(validator=calm).trl(["q"], [ANSWER], **ROW)


def test_own_validator_reads_the_columns(make: Make) -> None:
    seen: list[DraftContext] = []

    async def calm(draft: Draft, context: DraftContext) -> Verdict:
        seen.append(context)
        is_calm = "!" not in (draft.response or "")
        return make_verdict("calm", passed=is_calm, score=float(is_calm))

    reward = make(validator=calm)
    row = ROW | {"floor": [1], "evidence": ["stated"], "required": [["limit"]]}
    assert reward.trl(["q"], ["Stop!"], **row) == [0.0]
    (context,) = seen
    assert context.scenario.evidence == "stated"
    expectation = context.expectation
    assert (expectation.mode, expectation.ceiling, expectation.floor) == ("direct_answer", 2, 1)
    assert expectation.required == ("limit",)


@pytest.mark.parametrize(
    ("validator", "row", "message"),
    [
        ("style", {"mode": None}, "column `mode` is missing"),
        ("style", {"mode": ["kind"]}, "column `mode` is `kind`"),
        ("style", {"language": None}, "column `language` is missing"),
        ("style", {"ceiling": [9]}, "column `ceiling` is `9`"),
        ("style", {"ceiling": [True]}, "column `ceiling` is `True`"),
        ("style", {"profile": ["pets"]}, "column `profile` is `pets`"),
        ("response_form", {"language": ["x" * 5000]}, "column `language` is `xxx"),
        ("required_elements", {}, "the column `required`, a list"),
        ("required_elements", {"required": ["limit"]}, "the column `required`, a list"),
    ],
    ids=[
        *("no mode", "mode", "language", "ceiling", "truth", "profile", "long language"),
        *("required", "required text"),
    ],
)
def test_missing_column_is_named(
    make: Make, validator: str, row: dict[str, Any], message: str
) -> None:
    columns = {k: v for k, v in (ROW | row).items() if v is not None}
    with pytest.raises(UserError, match=message):
        make(validator=validator).trl(["q"], [ANSWER], **columns)


def test_float_level_and_foreign_column_are_read(make: Make) -> None:
    row = ROW | {"ceiling": [2.0], "floor": [np.float64(1)], "required": [math.nan]}
    assert len(make(validator="style").trl(["q"], [ANSWER], **row)) == 1


def test_undecided_validator_is_unscorable(make: Make) -> None:
    async def unsure(draft: Draft, context: DraftContext) -> Verdict:
        return make_verdict("unsure", passed=None, score=None)

    with pytest.raises(Unscorable, match="`unscored`"):
        make(validator=unsure).trl(["q"], [ANSWER], **ROW)


def test_unknown_validator_is_refused() -> None:
    with pytest.raises(AssetNotFound, match="styl"):
        sg.reward(validator="styl")


def _exit(*_: object) -> sg.ResponseScores:
    raise SystemExit(3)


async def _cancel(*_: object) -> sg.ResponseScores:
    raise asyncio.CancelledError


@pytest.mark.parametrize(("scorer", "says"), [(_exit, "SystemExit"), (_cancel, "cancelled")])
def test_scorer_that_ends_itself_is_an_error(make: Make, scorer: Any, says: str) -> None:
    reward = make(scorer)
    for _ in range(2):
        with pytest.raises(RunError, match=says):
            reward.trl(["q"], [ANSWER])


def test_scorer_cannot_wait_for_its_own_reward(make: Make) -> None:
    async def judge(*_: object) -> sg.ResponseScores:
        return sg.ResponseScores(reward.score([item("other")])[0], "none")

    reward = make(judge)
    with pytest.raises(UserError, match="calls its own reward"):
        reward.score([item()])


class _WaitingScorer:
    """A scorer whose first call waits for ever."""

    def __init__(self) -> None:
        self.started = Event()

    async def __call__(self, *_: object) -> sg.ResponseScores:
        if not self.started.is_set():
            self.started.set()
            await asyncio.Event().wait()
        return sg.ResponseScores(1.0, "none")


def test_closed_reward_frees_waiting_threads(make: Make) -> None:
    scorer = _WaitingScorer()
    reward, errors = make(scorer), list[Exception]()

    def wait() -> None:
        try:
            reward.score([item()])
        except RunError as e:
            errors.append(e)

    thread = Thread(target=wait)
    thread.start()
    assert scorer.started.wait(10)
    reward.close()
    thread.join(10)
    assert "closed" in str(errors[0])
    assert reward.score([item()]) == [1.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.slow
def test_forked_process_scores_rows_in_flight(make: Make) -> None:
    scorer = _WaitingScorer()
    reward = make(scorer, in_flight=1)
    waiting = reward._engine.submit([item()])  # pyright: ignore[reportPrivateUsage]
    assert scorer.started.wait(10)
    child = os.fork()
    if not child:
        # A hang would outlive the test.
        signal.alarm(20)
        os._exit(reward.score([item(), item("other")]) != [1.0, 1.0])
    assert os.waitpid(child, 0)[1] == 0
    assert not waiting.done()


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ([{"role": "assistant", "content": 5}], "content is a `int`"),
        ([{"role": "assistant", "content": b"text"}], "content is a `bytes`"),
        ([{"role": "assistant", "content": [{"text": 5}]}], "part of the content is a `int`"),
        ([None, {"role": "assistant", "content": ANSWER}], "a `NoneType` in place of a message"),
        (b"text", "neither text nor a list"),
        (None, "neither text nor a list"),
        ([], "neither text nor a list"),
    ],
)
async def test_odd_completion_is_refused_never_zero(make: Make, turns: Any, says: str) -> None:
    reward = make(FixedScorer(), unscorable=0)
    with pytest.raises(UserError, match=says):
        reward.trl(["q"], [turns])
    assert math.isnan(await reward.verifiers("q", turns))


def test_tool_turns_are_left_out(make: Make) -> None:
    call = {"type": "function_call", "name": "open"}
    scorer = FixedScorer()
    answer = SimpleNamespace(model_dump=lambda: {"role": "assistant", "content": ["Lift", " it."]})
    completion = [{"role": "tool", "content": "stuck"}, call, answer]
    make(scorer).trl([QUESTION], [completion])
    assert scorer.calls == [(QUESTION, "Lift it.", {})]


@pytest.mark.parametrize(
    ("text", "is_text"),
    [
        ('[{"name": "lid"}]', True),
        ('[{"role": "admin"}]', True),
        ('[{"a":' * 50_000, True),
        ('[\n {"role": "user", "content": "q"}\n]', False),
    ],
    ids=["other JSON", "other role", "deep", "indented"],
)
def test_prompt_of_other_json_is_text(text: str, is_text: bool) -> None:
    assert (read_messages(text, "prompt")[0]["content"] == text) is is_text


@pytest.mark.parametrize("column", ["direct_answer", 2, ["direct_answer"] * 2])
def test_column_of_other_length_is_refused(make: Make, column: Any) -> None:
    with pytest.raises(UserError, match="column `mode`"):
        make(FixedScorer()).trl(["q"], [ANSWER], mode=column)


def test_pickled_reward_gives_equal_scores(make: Make) -> None:
    safety = {"none": 1.0, "negligible": 1.0, "low": 0.25, "moderate": 0.0, "high": 0.0}
    reward = make(FixedScorer(0.5, "low"), safety=safety)
    for original in (reward, reward.part("safety"), make(validator="length_bounds")):
        copied: sg.Reward = pickle.loads(pickle.dumps(original))
        with copied:
            batch = ([QUESTION], [ANSWER])
            options = {"mode": ["direct_answer"], "language": ["en"]}
            assert copied.name == original.name
            assert copied.trl(*batch, **options) == original.trl(*batch, **options)
