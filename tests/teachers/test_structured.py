from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from safegen.core.errors import ParseError, TeacherRejected, TeacherUnavailable
from safegen.core.types import Request
from safegen.store.journal import Journal
from safegen.teachers._structured import (
    clean_text,
    find_schema_problem,
    parse_object,
)
from safegen.testing import Body, FakeEndpoint
from safegen.testing.endpoint import STATUS
from tests.teachers.test_openai_chat import endpoint, request_of

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "dish": {"type": "string", "enum": ["soup", "cake"]},
        "spoons": {"type": ["integer", "null"]},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["dish"],
    "additionalProperties": False,
}
GOOD = '{"dish": "soup", "spoons": 2}'


def request() -> Request:
    return request_of(schema=SCHEMA)


def mode(body: Body) -> str:
    return body.get("response_format", {"type": "text"})["type"]


def takes(*modes: str) -> Any:
    return lambda body, nth: None if mode(body) in modes else "no-schema"


@pytest.mark.parametrize(
    ("understood", "tried"),
    [
        (["json_schema", "json_object", "text"], ["json_schema"]),
        (["json_object", "text"], ["json_schema", "json_object"]),
        (["text"], ["json_schema", "json_object", "text"]),
    ],
)
async def test_auto_finds_the_supported_format_once(
    understood: list[str], tried: list[str]
) -> None:
    with FakeEndpoint(lambda body: GOOD, fault=takes(*understood)) as fake:
        async with endpoint(fake.url) as teacher:
            key = teacher.request_key(request())
            first = await teacher(request())
            second = await teacher(request_of("another", schema=SCHEMA))
            assert teacher.request_key(request()) == key == first.key
    assert first.parsed == second.parsed == {"dish": "soup", "spoons": 2}
    assert [mode(b) for b in fake.requests] == [*tried, tried[-1]]
    mentions_schema = [
        "additionalProperties" in b["messages"][-1]["content"] for b in fake.requests
    ]
    assert mentions_schema == [mode(b) != "json_schema" for b in fake.requests]


async def test_configured_format_is_not_changed() -> None:
    with FakeEndpoint(lambda body: GOOD, fault=takes("text")) as fake:
        async with endpoint(fake.url, structured="json_object") as teacher:
            for i in range(4):
                with pytest.raises(TeacherUnavailable, match="structured"):
                    await teacher(request_of(str(i), schema=SCHEMA))
            with pytest.raises(TeacherRejected, match="structured"):
                await teacher(request())
        async with endpoint(fake.url, structured="text") as teacher:
            assert (await teacher(request())).parsed == {"dish": "soup", "spoons": 2}


async def test_schema_is_sent_as_strict() -> None:
    with FakeEndpoint(lambda body: GOOD) as fake:
        async with endpoint(fake.url) as teacher:
            await teacher(request())
    assert fake.requests[0]["response_format"]["json_schema"] == {
        "name": "answer",
        "strict": True,
        "schema": SCHEMA,
    }


async def test_wrong_object_gets_one_repair_turn(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")

    def answer(body: Body) -> str:
        return GOOD if len(body["messages"]) > 2 else '{"dish": "stone"}'

    with FakeEndpoint(answer) as fake:
        async with endpoint(fake.url, journal=journal) as teacher:
            reply = await teacher(request())
            assert await teacher(request()) == reply
    assert reply.parsed == {"dish": "soup", "spoons": 2}
    assert len(fake.requests) == 2
    assert [m["role"] for m in fake.requests[1]["messages"][-2:]] == ["assistant", "user"]
    assert "must be one of" in fake.requests[1]["messages"][-1]["content"]
    assert len(journal) == 1
    await journal.aclose()


async def test_unrepairable_reply_is_malformed_and_cached(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    with FakeEndpoint(lambda body: "No object here.") as fake:
        async with endpoint(fake.url, journal=journal) as teacher:
            for _ in range(2):
                with pytest.raises(ParseError, match="no JSON object"):
                    await teacher(request())
    assert len(fake.requests) == 2
    await journal.aclose()


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"<think>{{no}}</think>\n{GOOD}",
        f"```json\n{GOOD}\n```",
        f"Here you are: {GOOD} Enjoy!",
        f"With {{braces}} first: {GOOD}",
        '{"dish": "soup", "spoons": 2,}',
        "{'dish': 'soup', 'spoons': 2}",
        '{"dish": "soup", "spoons": 2',
    ],
)
def test_objects_are_found_in_replies(text: str) -> None:
    assert parse_object(text, SCHEMA) == ({"dish": "soup", "spoons": 2}, "")


@pytest.mark.parametrize(
    "text",
    [
        f'The text quotes {{"dish": "cake", "spoons": 1}}. My answer: {GOOD}',
        f'[{GOOD}, {{"dish": "cake", "spoons": 1}}]',
        f'{{"quoted": {{"dish": "cake", "spoons": 1}}, "answer": {GOOD}}}',
        '{"dish": "cake", "spoons": 1, "spoons": 2}',
        '{"dish": "cake", "spoons": 1, "spoons": 2,}',
    ],
    ids=["quoted", "list", "nested", "repeated key", "repeated key of broken JSON"],
)
def test_contradicting_object_is_not_chosen(text: str) -> None:
    assert parse_object(text, SCHEMA).value is None
    assert parse_object(f"{GOOD} Again: {GOOD}", SCHEMA).value is not None


@pytest.mark.parametrize(
    "text",
    ["", "none", "[1]", "{" * 200_000, "{'" * 32 + "(" * 90_000, "x" * 200_001, '{"spoons": 1}'],
)
def test_wrong_object_is_reported(text: str) -> None:
    parsed, wrong = parse_object(text, SCHEMA)
    assert parsed is None
    assert wrong


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"dish": 1}, "`dish` must be of type string"),
        ({"dish": "soup", "spoons": True}, "integer or null"),
        ({"dish": "soup", "more": 1}, "may not hold `more`"),
        ({"dish": "soup", "notes": ["a", 2]}, r"`notes`\[1\]"),
        ({}, "lacks `dish`"),
        ([], "must be of type object"),
    ],
)
def test_schema_problem_is_named(value: object, says: str) -> None:
    import re

    assert re.search(says, find_schema_problem(value, SCHEMA) or "")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("a\nb\tc\r\nd", "a\nb\tc\nd"),
        ("\x00\x1b[31mred\x1b[0m\x07\x7f\x85\x9b", "red"),
        ("\u202egnp.exe\u202c \u2066x\u2069 a\ufeffb", "gnp.exe x ab"),
        ("half \ud83d whole \U0001f600", "half \ufffd whole \U0001f600"),
        ("\u200fשלום, مرحبا\u200e", "\u200fשלום, مرحبا\u200e"),
    ],
)
def test_invisible_characters_are_removed(written: str, kept: str) -> None:
    assert clean_text(written) == kept


REJECTIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "key": (401, {"message": "this key may not send forms"}),
    "paid": (402, {"message": "forms require a paid plate"}),
    "tier": (429, {"message": "forms are not served at this table"}),
    "quota": (429, {"message": "no forms left", "code": "insufficient_quota"}),
    "words": (500, {"message": "Insufficient credits for forms"}),
    "inside": (200, {"message": "forms are unknown"}),
    "conflict": (409, {"message": "forms collide"}),
    "gateway": (503, {"message": "no cook for forms"}),
}


@pytest.mark.parametrize("kind", REJECTIONS)
@pytest.mark.parametrize("understood", [("text",), ("json_object", "text")])
async def test_rejected_format_steps_down(
    kind: str, understood: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATUS, "no-schema", REJECTIONS[kind])
    with FakeEndpoint(lambda body: GOOD, fault=takes(*understood), retry_after=None) as fake:
        async with endpoint(fake.url, attempts=3, concurrency=4) as teacher:
            calls = [teacher(request_of(f"dish {i}", schema=SCHEMA)) for i in range(6)]
            replies = await asyncio.gather(*calls)
            before = len(fake.requests)
            await teacher(request_of("last", schema=SCHEMA))
            await teacher(request_of("again", schema=SCHEMA))
            cost = len(fake.requests) - before
    assert [reply.outcome for reply in replies] == ["ok"] * 6
    assert cost <= 6


@pytest.mark.parametrize("kind", ["paid", "quota", "words"])
async def test_spent_balance_costs_three_requests(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATUS, "no-schema", REJECTIONS[kind])
    with FakeEndpoint(lambda body: GOOD, fault=takes()) as fake:
        async with endpoint(fake.url, concurrency=8) as teacher:
            calls = [teacher(request_of(f"dish {i}", schema=SCHEMA)) for i in range(8)]
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(r) for r in results} == {TeacherRejected}
    # The request, the same one without a format, and the control.
    assert len(fake.requests) == 3
