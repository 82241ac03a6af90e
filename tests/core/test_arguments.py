"""Wrong arguments of public constructors: an error that names argument, value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from safegen.dataset.view import View
from safegen.store.journal import Journal
from safegen.teachers import (
    CachedTeacher,
    CircuitBreaker,
    CustomTeacher,
    ItemErrorTeacher,
    Meter,
    MeteredTeacher,
    ModelSource,
    RateLimitedTeacher,
    RateLimiter,
    RateLimiters,
    RetryingTeacher,
    StructuredTeacher,
    compose,
)
from safegen.teachers.scripted import scripted
from safegen.types import TeacherTraits, Usage, ValidatorTraits, Verdict

# Any: the arguments are wrong on purpose.
wrong = cast("Any", None)
ASK = scripted(["soup"])
SOURCE = ModelSource(ASK, str, "kitchen")


def verdict(**changes: Any) -> Verdict:
    values: dict[str, Any] = {"passed": True, "score": 1.0, "reason": "ok"} | changes
    return Verdict("taste", "1", **values)


def any_(kind: Callable[..., object]) -> Any:
    return kind


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "grade": (
        lambda: any_(TeacherTraits)(grade="gold"),
        ValueError,
        "`grade` is `'gold'`; use one of `demo`, `generated`",
    ),
    "grade type": (lambda: any_(TeacherTraits)(grade=4), TypeError, "`grade` is `4`; use one of"),
    "flag": (
        lambda: any_(TeacherTraits)(embedded="no"),
        TypeError,
        "`embedded` is `'no'`; use True",
    ),
    "one name": (
        lambda: any_(TeacherTraits)(operational="seed"),
        TypeError,
        "`operational` is `'seed'`; use a frozenset of texts",
    ),
    "hook": (
        lambda: any_(TeacherTraits)(check_params=3),
        TypeError,
        "`check_params` is `3`; use a",
    ),
    "codes": (lambda: any_(ValidatorTraits)("calm"), TypeError, "`codes` is `'calm'`; use a tuple"),
    "empty code": (lambda: ValidatorTraits(("",)), ValueError, "`codes: item` is `''`; use a text"),
    "teachable": (lambda: ValidatorTraits((), ("calm",)), ValueError, "`teachable` names `calm`"),
    "hard": (lambda: ValidatorTraits(hard=("loud",)), ValueError, "`hard` names `loud`"),
    "verdict code": (
        lambda: verdict(code=""),
        ValueError,
        "`code` is `''`; use a text that is not",
    ),
    "verdict blank": (lambda: verdict(code=" "), ValueError, "`code` is `' '`"),
    "passed": (lambda: verdict(passed="yes"), TypeError, "`passed` is `'yes'`; use True, False or"),
    "usage": (
        lambda: Usage(requests=-1),
        ValueError,
        "`requests` is `-1`; use a whole number from 0",
    ),
    "meter": (
        lambda: Meter(requests=-1),
        ValueError,
        "`requests` is `-1`; use a whole number from 1",
    ),
    "meter zero": (
        lambda: Meter(tokens=0),
        ValueError,
        "`tokens` is `0`; use a whole number from 1",
    ),
    "meter flag": (
        lambda: any_(Meter)(requests=True),
        TypeError,
        "`requests` is `True`; use a whole",
    ),
    "attempts": (
        lambda: RetryingTeacher(ASK, attempts=0),
        ValueError,
        "`attempts` is `0`; use a whole number from 1",
    ),
    "attempts type": (
        lambda: any_(RetryingTeacher)(ASK, attempts="3"),
        TypeError,
        "`attempts` is `'3'`; use a whole number from 1",
    ),
    "limit": (lambda: RateLimiter(0), ValueError, "`limit` is `0`; use a whole number from 1"),
    "limits": (lambda: RateLimiters().limiter_for("a", limit=-2), ValueError, "`limit` is `-2`"),
    "compose": (
        lambda: compose(SOURCE, limiter=RateLimiter(1), attempts=0),
        ValueError,
        "`attempts` is `0`",
    ),
    "format": (
        lambda: any_(compose)(SOURCE, limiter=RateLimiter(1), attempts=1, structured="xml"),
        ValueError,
        "`structured` is `'xml'`; use one of `auto`, ",
    ),
    "model": (lambda: CircuitBreaker(ASK, model=""), ValueError, "`model` is `''`; use a text"),
    "metered": (
        lambda: MeteredTeacher(wrong, meter=Meter()),
        TypeError,
        "`teacher` is `None`; use a",
    ),
    "retried": (lambda: RetryingTeacher(wrong, attempts=1), TypeError, "`teacher` is `None`"),
    "limited": (
        lambda: RateLimitedTeacher(wrong, limiter=RateLimiter(1)),
        TypeError,
        "`teacher` is",
    ),
    "cached": (
        lambda: CachedTeacher(wrong, key=str),
        TypeError,
        "`teacher` is `None`; use a function",
    ),
    "key": (lambda: CachedTeacher(ASK, key=wrong), TypeError, "`key` is `None`; use a function"),
    "structured": (lambda: StructuredTeacher(wrong), TypeError, "`teacher` is `None`"),
    "item errors": (lambda: ItemErrorTeacher(wrong), TypeError, "`teacher` is `None`"),
    "answers": (
        lambda: any_(scripted)(5),
        TypeError,
        "`answers` is `5`; use a list of answers or a",
    ),
    "view": (lambda: View("", wrong, wrong), ValueError, "`name` is `''`; use a text that is not"),
    "columns": (lambda: View("v", wrong, wrong), TypeError, "`columns` is `None`; use a function"),
    "unit": (
        lambda: any_(View)("v", list, list, unit="kg"),
        ValueError,
        "`unit` is `'kg'`; use one",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), CASES.values(), ids=CASES)
def test_wrong_argument_is_named_with_allowed_values(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_custom_teacher_without_name_is_refused() -> None:
    parts: dict[str, Any] = {"meter": Meter(), "limiters": RateLimiters()}
    journal: Journal | None = None
    with pytest.raises(ValueError, match="`name` is `''`; use a text"):
        CustomTeacher(ASK, name="", journal=journal, **parts)


def test_value_of_own_class_is_named_by_type() -> None:
    class Pot:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(TypeError, match=r"`attempts` is of type `.*Pot`; use a whole number"):
        any_(RetryingTeacher)(ASK, attempts=Pot())


def test_verdict_without_code_gets_that_of_result() -> None:
    assert [verdict(passed=p).code for p in (True, False, None)] == ["passed", "failed", "unscored"]
