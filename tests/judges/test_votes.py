"""Majorities of labellers when some of them give no usable answer."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from safegen.config.taxonomy import load_taxonomy
from safegen.core.errors import Blocked, ItemError, ParseError, RunError
from safegen.core.types import Message, Request, Teacher
from safegen.judges.blind_labels import (
    GoalFit,
    PromptLabels,
    judge_goal_fit,
    load_questions,
    read_labels,
)
from safegen.judges.label_definitions import AxisValue
from safegen.judges.user_prompt_labels import BlindLabels, Labellers, LabelRequest
from safegen.testing import scripted

TEXT = "how do shops count stock"
FILES = load_questions(axes=[AxisValue("tone", "calm", "no hurry")])
LABELS = {"intent": "benign", "evidence": "none", "detail": 1, "tone": "calm"}
FIT = {"same_purpose": True, "same_task": False, "task": "plan"}


def says(**fields: object) -> Teacher:
    return scripted(lambda _: json.dumps(fields))


def mumbles() -> Teacher:
    return scripted(lambda _: "sorry")


def blocked() -> Teacher:
    def answer(_: Request) -> str:
        raise Blocked("not today")

    return scripted(answer)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("lost", [mumbles, blocked], ids=["unreadable", "blocked"])
async def test_one_lost_labeller_leaves_the_majority(
    place: int, lost: Callable[[], Teacher]
) -> None:
    judges = [says(**LABELS), says(**LABELS)]
    judges.insert(place, lost())
    labels = await read_labels(TEXT, judges=judges, files=FILES)
    assert labels == PromptLabels("benign", "none", 1, (("tone", "calm"),))
    judges = [says(**FIT), says(**FIT)]
    judges.insert(place, lost())
    fit = await judge_goal_fit(TEXT, purpose="p", task="t", judges=judges, files=FILES)
    assert fit == GoalFit(True, False, "plan")


async def test_value_outside_the_schema_casts_no_vote() -> None:
    judges = [says(**LABELS), says(**LABELS | {"intent": "odd"}), says(**LABELS)]
    assert (await read_labels(TEXT, judges=judges, files=FILES)).intent == "benign"


async def test_majority_counts_all_labellers() -> None:
    # Two of four agree, and two are lost or differ: no label has more than half.
    judges = [says(**LABELS), mumbles(), says(**LABELS), says(**LABELS | {"detail": 3})]
    labels = await read_labels(TEXT, judges=judges, files=FILES)
    assert (labels.intent, labels.detail) == ("benign", None)


@pytest.mark.parametrize(
    ("judges", "error"),
    [
        ([blocked(), mumbles(), says(**LABELS)], Blocked),
        ([mumbles(), says(**LABELS)], ParseError),
        ([says(**LABELS), mumbles(), blocked(), says(**LABELS)], ParseError),
        ([mumbles()], ParseError),
    ],
    ids=["two of three", "one of two", "two of four", "one of one"],
)
async def test_too_few_answers_raise_the_first_error(
    judges: list[Teacher], error: type[ItemError]
) -> None:
    with pytest.raises(error):
        await read_labels(TEXT, judges=judges, files=FILES)


async def test_run_error_of_one_labeller_stops() -> None:
    def answer(_: Request) -> str:
        raise RunError("the disk is full")

    judges = [says(**LABELS), says(**LABELS), scripted(answer)]
    with pytest.raises(RunError, match="the disk is full"):
        await read_labels(TEXT, judges=judges, files=FILES)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (1, BlindLabels("property.theft", "benign", "none", 1)),
        (
            2,
            BlindLabels(
                reasons=dict.fromkeys(
                    ("harm", "intent", "evidence", "detail"),
                    "no answer of a labeller (blocked); `safegen retry` repeats the request",
                )
            ),
        ),
    ],
    ids=["one of three", "two of three"],
)
async def test_imported_row_needs_most_labellers(lost: int, expected: BlindLabels) -> None:
    def answer(request: Request) -> str:
        schema = json.dumps(request.schema)
        fields = LABELS | {"harm": "property.theft"}
        return json.dumps({name: value for name, value in fields.items() if f'"{name}"' in schema})

    judges = tuple([blocked()] * lost + [scripted(answer)] * (3 - lost))
    labellers = Labellers(judges, {"property.theft": load_taxonomy("core").harms["property.theft"]})
    messages: tuple[Message, ...] = ({"role": "user", "content": TEXT},)
    result = await labellers.read(LabelRequest(messages, labels=True, harm=True))
    assert result._replace(errors={}) == expected
    assert {name: len(errors) for name, errors in result.errors.items()} == dict.fromkeys(
        expected.reasons, lost
    )
