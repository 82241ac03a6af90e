from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from hypothesis import given, strategies as st

from safegen.core.types import DraftContext, Message, Request
from safegen.teachers.openai_chat import openai_chat

Settings = dict[str, Any]
BASE: Settings = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
TELLING = st.fixed_dictionaries(
    {},
    optional={
        "base_url": st.sampled_from(["http://127.0.0.1:9/v2", "http://127.0.0.1:8/v1"]),
        "model": st.sampled_from(["n", "M"]),
        "temperature": st.sampled_from([0.0, 0.5, 1.0]),
        "top_p": st.sampled_from([0.5, 1.0]),
        "max_tokens": st.integers(1, 3),
        "max_completion_tokens": st.integers(1, 3),
        "extra": st.sampled_from([{"top_k": 1}, {"top_k": 2}, {"min_p": 1}]),
        "seed": st.integers(0, 3),
    },
).filter(lambda s: not {"max_tokens", "max_completion_tokens"} <= s.keys())
SILENT = st.fixed_dictionaries(
    {},
    optional={
        "concurrency": st.integers(1, 99),
        "attempts": st.integers(1, 9),
        "timeout_s": st.floats(1, 99),
    },
)
MESSAGES = st.lists(
    st.builds(
        lambda role, content: cast(Message, {"role": role, "content": content}),
        st.sampled_from(["system", "user", "assistant"]),
        st.text(max_size=5),
    ),
    min_size=1,
    max_size=3,
)
REQUESTS = st.builds(
    Request,
    MESSAGES.map(tuple),
    sample=st.integers(0, 2),
    schema=st.sampled_from([None, SCHEMA, SCHEMA | {"required": []}]),
)


def key(settings: Settings, request: Request) -> str:
    return openai_chat(**(BASE | settings)).request_key(request)


@given(TELLING, TELLING, REQUESTS, REQUESTS)
def test_different_requests_have_different_keys(
    one: Settings, two: Settings, first: Request, second: Request
) -> None:
    equal = BASE | one == BASE | two and first == second
    assert (key(one, first) == key(two, second)) is equal


@given(TELLING, SILENT, REQUESTS)
def test_unsent_parameters_do_not_change_the_key(
    params: Settings, silent: Settings, request: Request
) -> None:
    context = cast(DraftContext, object())
    assert key(params | silent, replace(request, context=context)) == key(params, request)
    slash = {"base_url": params.get("base_url", BASE["base_url"]) + "/"}
    assert key(params | slash, request) == key(params, request)


@given(REQUESTS)
def test_cache_address_gives_key_of_that_address(request: Request) -> None:
    moved = {"base_url": "http://127.0.0.1:7/v1?region=south"}
    former = "http://127.0.0.1:9/v1"
    assert key(moved, request) != key({}, request)
    assert key(moved | {"cache_address": former}, request) == key({}, request)
    assert key(moved | {"cache_address": f"{former}?a=1"}, request) == key(
        {"base_url": f"{former}?a=1"}, request
    )
    assert key({"cache_address": former}, request) == key({}, request)
    assert key({"cache_address": former, "model": "n"}, request) != key({}, request)
