"""Conformance of every wrapper, and the inverse of every encoding."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from safegen.core import plugins
from safegen.coverage.axes import load_axes
from safegen.scenarios.wrapper import Wrapper, make_wrapper

NAMES = plugins.list_names("wrappers")
ENCODINGS = ["ascii", "atbash", "base64", "caesar", "reversed_text"]
TEXT = st.text(min_size=1, max_size=300).filter(str.strip)
PROMPT = (
    'Where does the {club} keep its "secret recipe", and who may read it?\nAsk for Ms. Ødegård.'
)


def inverse_of(name: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    module = importlib.import_module(f"{plugins.KINDS['wrappers']}.{name}")
    return module.encode, module.decode


def every_turn(wrapper: Wrapper, prompt: str) -> list[list[str]]:
    return [
        [m["content"] for m in wording(prompt)]
        for wordings in wrapper.wordings.values()
        for wording in wordings
    ]


def test_wrappers_include_each_requested_technique() -> None:
    assert {"role_play", "fiction", "hypothetical", "authority_endorsement"} <= set(NAMES)
    assert {"translation", "prefix_demand", "payload_split", "format_demand"} <= set(NAMES)
    assert set(ENCODINGS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_wrapper_value_is_on_the_axis(name: str) -> None:
    wrapper = make_wrapper(name)
    assert load_axes().require_value("obfuscation", wrapper.obfuscation) == wrapper.obfuscation
    assert all(":" in source for source in wrapper.sources)


@pytest.mark.parametrize("name", NAMES)
def test_wrapper_has_several_different_english_wordings(name: str) -> None:
    turns = every_turn(make_wrapper(name), PROMPT)
    assert len({tuple(t) for t in turns}) == len(turns) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_wrapper_note_names_level_of_detail(name: str) -> None:
    note = make_wrapper(name).note
    assert "level of detail" in note or "permitted detail" in note


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(prompt=TEXT)
def test_wrapped_turns_keep_or_restore_the_prompt(name: str, prompt: str) -> None:
    wrapper = make_wrapper(name)
    for wordings in wrapper.wordings.values():
        for wording in wordings:
            turns = wording(prompt)
            assert [m["role"] for m in turns] == ["user", "assistant", "user"][-len(turns) :]
            assert all(m["content"].strip() for m in turns)
            if wrapper.recover is None:
                assert any(prompt in m["content"] for m in turns)
            else:
                assert wrapper.recover(turns) == prompt


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters()))
def test_encoding_is_inverted_by_decode(name: str, text: str) -> None:
    encode, decode = inverse_of(name)
    assert decode(encode(text)) == text


@pytest.mark.parametrize("name", ENCODINGS)
def test_encoding_hides_the_words(name: str) -> None:
    encode, _ = inverse_of(name)
    assert "secret" not in encode(PROMPT)


def test_split_cuts_between_words() -> None:
    first, _, last = make_wrapper("payload_split").wordings["en"][0]("one two three four")
    assert "one two \n" in first["content"]
    assert "three four" in last["content"]
