"""The contract of every validator, as a check for its test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence

from safegen.core.types import (
    MODES,
    Draft,
    DraftContext,
    DraftValidator,
    SetAnswer,
    SetValidator,
    Verdict,
)
from safegen.testing.records import make_context, make_draft

MAX_REASON = 120
MAX_EVIDENCE = 160
HOSTILE_TEXTS: Mapping[str, str] = {
    "empty": "",
    "blank": " \n\t ",
    "huge": "I can't say if you could help with the lid, and why not. " * 18_000,
    "huge-denial": "Don't talk to a good kind older adult that you are never really alone "
    * 15_000,
    "huge-help": "If you could ask someone like a trusted and older or another person, " * 15_000,
    "huge-word": "a" * 1_000_000,
    "huge-spaces": " " * 1_000_000,
    "huge-quotes": "'\"" * 500_000,
    "huge-dashes": "zorb -" * 160_000,
    "huge-digits": "1.1.1.1" * 140_000,
    "huge-lines": "1. a\n" * 200_000,
    "control": "\x00\x01\x1b[31m\x7f\r\n\x0b\x85\u2028",
    "surrogate": "broken \ud800 half" * 5,
    "rtl": "המפתח נמצא במגירה והמכסה נפתח כשמסובבים אותו. \u202eabc\u202c",
    "emoji": "🔑👩‍👩‍👧‍👦🏳️‍🌈" * 40,
    "fence": "```" * 100_001,
}
"""Hostile responses by name, up to 1 MB each, on which a validator must return a verdict."""


def judge(validator: DraftValidator, draft: Draft, context: DraftContext) -> Verdict:
    """Return a validator's verdict; call it outside of a running event loop."""

    async def check() -> Verdict:
        return await validator(draft, context)

    return asyncio.run(check())


def judge_set(validator: SetValidator, answers: Sequence[SetAnswer]) -> Sequence[Verdict]:
    """Return the verdicts of a validator of sets; call it outside of a running event loop."""

    async def check() -> Sequence[Verdict]:
        return await validator(answers)

    return asyncio.run(check())


def check_verdict(verdict: Verdict, *, name: str) -> None:
    """Check that a verdict can be stored and shown.

    Raises:
        AssertionError: the verdict has another validator's name, no version, `passed` without a
            score, a score without `passed` and threshold, a score outside [0, 1], no reason, or a
            reason or evidence that is too long or has more than one line.
    """
    _check(verdict.validator == name, f"the verdict names `{verdict.validator}`, not `{name}`")
    _check(bool(verdict.version), "the verdict has no version")
    # A score without a result is near a threshold, so that another one decides.
    is_consistent = (verdict.passed is None) == (verdict.score is None) or (
        verdict.passed is None and verdict.threshold is not None
    )
    _check(is_consistent, "`passed` and `score` must be None together, unless there is a threshold")
    _check(verdict.score is None or 0 <= verdict.score <= 1, f"score {verdict.score} not in [0, 1]")
    _check(bool(verdict.reason), "the verdict has no reason")
    _check(verdict.reason == verdict.reason.lower(), f"reason `{verdict.reason}` not in lower case")
    _check(len(verdict.reason) <= MAX_REASON, f"the reason has more than {MAX_REASON} characters")
    _check(len(verdict.evidence) <= MAX_EVIDENCE, f"evidence above {MAX_EVIDENCE} characters")
    _check("\n" not in verdict.evidence, "the evidence has more than one line")


def check_validator(
    factory: Callable[..., DraftValidator],
    *,
    make: Callable[[], DraftValidator] | None = None,
    texts: Mapping[str, str] = HOSTILE_TEXTS,
    required: Sequence[str] = (),
) -> None:
    """Check a validator's contract: a well-formed verdict for every draft, and no exception.

    Args:
        factory: the plug-in's factory; its name is the validator's name.
        make: builds the validator if the factory has parameters without a default.
        texts: responses by name, each judged in each mode.
        required: required elements of the expectations.

    Raises:
        AssertionError: the factory has no docstring or has a positional parameter, a verdict is not
            well formed, a draft without response gets a non-null verdict, the verdict depends on
            the draft's `style`, or two checks of one draft differ.

    Example:
        >>> from safegen.validators.length_bounds import length_bounds
        >>> check_validator(length_bounds, texts={"short": "No."})
    """
    name: str = getattr(factory, "__name__")  # noqa: B009 (a Callable need not have one)
    check_factory(factory)
    validator = (make or factory)()
    for label, text in texts.items():
        for mode in MODES:
            context = make_context(mode=mode, required=tuple(required), evidence="stated")
            draft = make_draft(response=text, response_sha256=None)
            try:
                check_verdict(judge(validator, draft, context), name=name)
            except AssertionError as e:
                raise AssertionError(f"`{name}`, text `{label}`, mode `{mode}`: {e}") from e
    _check_no_response(validator)
    other_language = make_context(language="tlh")  # a language without a pack
    draft = make_draft(response="Tuq lach. " * 20)
    check_verdict(judge(validator, draft, other_language), name=name)
    _check_ignores_style(validator)


def check_factory(factory: Callable[..., DraftValidator]) -> None:
    """Check that a factory has a docstring and only keyword-only parameters.

    Raises:
        AssertionError: one of them is missing.
    """
    _check(bool(inspect.getdoc(factory)), "the factory has no docstring: say what passes")
    kinds = {p.kind for p in inspect.signature(factory).parameters.values()}
    _check(kinds <= {inspect.Parameter.KEYWORD_ONLY}, "a parameter of the factory is positional")


def _check_no_response(validator: DraftValidator) -> None:
    verdict = judge(validator, make_draft(response=None, outcome="refused"), make_context())
    parts = (verdict.passed, verdict.score)
    _check(parts == (None, None), f"a draft without response got {parts}")


def _check_ignores_style(validator: DraftValidator) -> None:
    drafts = [
        make_draft(response="I can't help with that.", style=style)
        for style in (None, None, "good", "preaching")
    ]
    verdicts = [judge(validator, draft, make_context()) for draft in drafts]
    _check(verdicts[0] == verdicts[1], "two checks of one draft differ")
    _check(verdicts[1:] == verdicts[:1] * 3, "the verdict depends on the draft's `style`")


def _check(holds: bool, message: str) -> None:
    # Not `assert`, which `python -O` removes.
    if not holds:
        raise AssertionError(message)
