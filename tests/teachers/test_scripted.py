from __future__ import annotations

from typing import Any, cast

import pytest

from safegen.core import plugins
from safegen.core.errors import ParseError, TeacherRejected, TeacherUnavailable, Truncated
from safegen.core.types import Reply, Request
from safegen.teachers.scripted import ScriptedTeacher, scripted

ASKED = Request(({"role": "user", "content": "Hello?"},))
SCHEMA = {"type": "object", "required": ["a"]}


async def test_list_answers_in_order_until_exhausted() -> None:
    teacher = scripted(["one", Reply("two", "other"), Truncated("cut"), TeacherRejected("no")])
    assert (await teacher(ASKED)).text == "one"
    assert (await teacher(ASKED)).model == "other"
    with pytest.raises(Truncated):
        await teacher(ASKED)
    with pytest.raises(TeacherRejected):
        await teacher(ASKED)
    with pytest.raises(TeacherUnavailable, match="no more answers"):
        await teacher(ASKED)


async def test_function_answers_from_the_request() -> None:
    teacher = cast(
        ScriptedTeacher, scripted(lambda request: request.messages[-1]["content"].upper())
    )
    assert (await teacher(ASKED)).text == "HELLO?"
    assert teacher.requests == [ASKED]
    assert (teacher.name, teacher.model) == ("scripted", "scripted")
    await teacher.aclose()


async def test_answers_to_a_schema_are_parsed() -> None:
    teacher = scripted(['{"a": 1}', "nothing", Reply("", "m", outcome="truncated")])
    request = Request(ASKED.messages, schema=SCHEMA)
    assert (await teacher(request)).parsed == {"a": 1}
    with pytest.raises(ParseError):
        await teacher(request)
    with pytest.raises(Truncated):
        await teacher(request)


async def test_recipes_reach_the_teachers_by_name() -> None:
    params: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "attempts": "2"}
    teacher = plugins.make_plugin("teachers", "openai_chat", params, journal=None, meter=None)
    assert teacher.model == "m"
    assert plugins.find_factory("teachers", "scripted") is scripted
