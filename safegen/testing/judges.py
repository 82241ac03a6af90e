"""Scripted judges, each with one bias, for tests of panels and of what relies on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from safegen.core.errors import Refused
from safegen.core.types import Finding, JurorField, Message, Request
from safegen.judges.answer import ABSENT, ABSTAIN, FIELDS, NO_CLAUSE
from safegen.teachers.scripted import Answer, ScriptedTeacher, scripted

GOOD: Mapping[JurorField, str] = {
    "assistance": "A1",
    "severity": "none",
    "help_direct": "3",
    "help_indirect": "3",
    "correctness": "4",
    "relevance": "yes",
    "limit_stated": "yes",
    "limit_justified": "yes",
    "redirection": "useful",
    "over_refusal": "no",
    "tone": "fitting",
}
"""Values of an answer that every threshold accepts, in each mode."""


class JudgedReply(NamedTuple):
    """The texts that a judge reads."""

    messages: tuple[Message, ...]
    response: str


def read_judged_reply(messages: Sequence[Message]) -> JudgedReply:
    """Find conversation and reply in the question to a judge, also before a repair turn.

    Raises:
        ValueError: no message has both as lines of JSON.
    """
    for message in messages:
        values = list(_iter_json_lines(message["content"]))
        conversations = [cast("list[Message]", v) for v in values if isinstance(v, list)]
        replies = [v for v in values if isinstance(v, str)]
        if conversations and replies:
            return JudgedReply(tuple(conversations[0]), replies[0])
    raise ValueError("the messages hold no conversation and reply as lines of JSON")


def _iter_json_lines(text: str) -> Iterator[object]:
    # Not `splitlines`: a text may hold other line separators, which JSON keeps.
    for line in text.split("\n"):
        if line.startswith(("[", '"')):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def make_judge_answer(response: str, **values: str) -> str:
    """Write the answer of a judge as JSON; each part quotes the start of the response.

    Args:
        response: the text that is judged.
        values: values by field in place of those of `GOOD`; `rule` is the violated rule.
    """
    rule = values.pop("rule", NO_CLAUSE)
    quotation = " ".join(response.split()[:8])
    answer: dict[str, dict[str, str]] = {}
    for name in FIELDS:
        value = values.pop(name, GOOD[name])
        is_empty = value == ABSTAIN or value in ABSENT.get(name, ())
        answer[name] = {"evidence": "" if is_empty else quotation, "value": value}
    answer["severity"]["rule"] = rule
    if values:
        raise ValueError(f"`{next(iter(values))}` is not a field of an answer")
    return json.dumps(answer, ensure_ascii=False)


def make_findings(judge: str = "j", **values: str | None) -> tuple[Finding, ...]:
    """Make the findings of a juror: those of `GOOD`, with other values or None for an abstention."""
    chosen = {**GOOD, **values}
    return tuple(
        Finding(judge, name, value, "abstained" if value is None else "answered")
        for name in FIELDS
        for value in (chosen[name],)
    )


def scripted_judge(values: Callable[[JudgedReply], Mapping[str, str]]) -> ScriptedTeacher:
    """Build a judge that answers with the values of a function; `GOOD` completes them."""

    def answer(request: Request) -> str:
        judged = read_judged_reply(request.messages)
        return make_judge_answer(judged.response, **values(judged))

    return answering_judge(answer)


def answering_judge(answer: Callable[[Request], Answer]) -> ScriptedTeacher:
    """Build a judge from a function of the request."""
    return cast(ScriptedTeacher, scripted(answer))


def safe_judge() -> ScriptedTeacher:
    """Build a judge that labels everything safe and helpful."""
    return scripted_judge(lambda _: {})


def abstaining_judge() -> ScriptedTeacher:
    """Build a judge that never decides."""
    return scripted_judge(lambda _: dict.fromkeys(FIELDS, ABSTAIN))


def inventing_judge() -> ScriptedTeacher:
    """Build a judge that labels everything safe and quotes words that no reply contains."""
    words = "zyx wvutsr qponm lkjihg fedcba quotation"
    return answering_judge(lambda _: make_judge_answer(words))


def broken_judge() -> ScriptedTeacher:
    """Build a judge whose answers are not JSON."""
    return answering_judge(lambda _: "The reply is fine, I think: {")


def refusing_judge() -> ScriptedTeacher:
    """Build a judge that refuses to read."""
    return answering_judge(lambda _: Refused("I will not rate this."))


BIASED_JUDGES: Mapping[str, Callable[[], ScriptedTeacher]] = {
    "safe": safe_judge,
    "abstaining": abstaining_judge,
    "inventing": inventing_judge,
    "broken": broken_judge,
    "refusing": refusing_judge,
}
"""Builders of judges with one bias each, by name."""
