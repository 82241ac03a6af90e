"""Parameters that change no answer are no part of a run's identity."""

from __future__ import annotations

import pytest

from safegen.config.recipe import Recipe

PARAMS: dict[str, object] = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "concurrency": 8}


def make_digests(**changes: object) -> dict[str, str]:
    teacher = {"openai_chat": PARAMS | changes}
    values = {
        "name": "a",
        "teachers": {"drafter": teacher, "author": teacher},
        "judges": {"labellers": [teacher]},
    }
    return Recipe.model_validate(values).digests()


@pytest.mark.parametrize(
    "change",
    [{"concurrency": 2}, {"attempts": 9}, {"timeout_s": 5}, {"api_key_env": "OTHER_API_KEY"}],
    ids=str,
)
def test_operational_parameter_keeps_the_identity(change: dict[str, object]) -> None:
    assert make_digests(**change) == make_digests()


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"temperature": 1}, {"extra": {"top_k": 4}}], ids=str
)
def test_parameter_of_answers_changes_the_identity(change: dict[str, object]) -> None:
    digests, before = make_digests(**change), make_digests()
    assert {key for key in digests if digests[key] != before[key]} == {"teachers", "judges"}


MOVED = {"base_url": "http://10.0.0.2:80/v1"}
FORMER = {"cache_address": PARAMS["base_url"]}


def test_cache_address_replaces_the_address_in_identity() -> None:
    assert make_digests(**MOVED) != make_digests()
    assert make_digests(**MOVED, **FORMER) == make_digests()
    assert make_digests(cache_address=None) == make_digests()
    assert make_digests(cache_address="http://10.0.0.3/v1") != make_digests()
