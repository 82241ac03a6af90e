"""A brief → a set of prompts that passed every gate, or the faults that it did not lose.

    write → gates → (faults) → write the faulted texts anew → gates → set or faults

The author is asked once, and once more for the texts that failed. Texts without a fault stay as they
are, so a repair cannot spoil them, and a text is judged once. What a gate still finds drops the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from safegen.config.language_pack import Locale
from safegen.core import templates
from safegen.core.errors import ConfigError
from safegen.core.templates import PromptTemplate
from safegen.core.types import Attribute, Gate, Reply, Request, Teacher
from safegen.judges.labelling import (
    AxisValue,
    LabelFiles,
    gather_all,
    judge_goal_fit,
    load_questions,
    read_labels,
)
from safegen.scenarios.authoring import _writing, judged_checks
from safegen.scenarios.authoring.brief import (
    Brief,
    ContrastPart,
    Exemplar,
    GoalPart,
    HarmPart,
    PromptSlot,
    Wish,
)
from safegen.scenarios.authoring.judged_checks import ExpectAt, JudgedCase, Judgement
from safegen.scenarios.authoring.rule_checks import (
    RATIONALES,
    CheckBounds,
    CheckContext,
    Fault,
    check_rules,
)

__all__ = [
    "AuthorTemplates",
    "AuthoredPrompt",
    "AuthoringResult",
    "AxisValue",
    "Brief",
    "CheckBounds",
    "ContrastPart",
    "Exemplar",
    "Fault",
    "Gate",
    "GoalPart",
    "HarmPart",
    "PromptSlot",
    "Wish",
    "load_templates",
    "write_set",
]


@dataclass(frozen=True)
class AuthorTemplates:
    """The prompt files of authors and judges, with the axes that judges are asked about."""

    author: PromptTemplate
    labels: LabelFiles
    turn: PromptTemplate
    """Asks for the next user turn of a conversation."""


@dataclass(frozen=True, slots=True)
class AuthoredPrompt:
    """A prompt that passed. The slot's detail is the one that judges read."""

    slot: PromptSlot
    text: str
    confirmed: tuple[Attribute, ...]
    """The row's values that judges read in the text; the others are not stamped on."""


@dataclass(frozen=True, slots=True)
class AuthoringResult:
    """What became of a brief."""

    prompts: tuple[AuthoredPrompt, ...] | None
    """In the order of the slots, or None where a fault was left."""
    faults: tuple[Fault, ...]
    """What was left after the repair."""
    repaired_faults: tuple[Fault, ...]
    """What the first attempt had; empty where it passed untouched."""
    benign_use: str
    misuse_risk: str
    unsafe_keys: tuple[str, ...]
    """Journal keys of replies that held operational detail; their words must not be kept."""


_KnownJudgements = dict[tuple[str, bool], Judgement]
"""What judges said, by text and whether the goal was asked about."""


class _SetAttempt(NamedTuple):
    texts: dict[str, str]
    """Prompts and rationales by name."""
    faults: tuple[Fault, ...]
    cases: dict[str, JudgedCase]
    known: _KnownJudgements
    reply: Reply


def load_templates(
    *,
    axes: Sequence[AxisValue] = (),
    author: str = "author",
    turn: str = "turn",
    label: str = "label",
    same_goal: str = "same_goal",
) -> AuthorTemplates:
    """Read the prompt files by name or path.

    Args:
        axes: every value of every axis that a row may hold; judges are asked about all of them,
            whatever the row, so that the question gives nothing away.
        author: asks for a set.
        turn: asks for the next user turn of a conversation.
        label: asks what a prompt is.
        same_goal: asks whether it serves a goal.

    Raises:
        AssetNotFound: no such file.
        ConfigError: with file and line.
    """
    pair = ("system", "user")
    wrote = ("brief", "details", "language", "faults", "names", "sample")
    heard = (*wrote, "number", "conversation")
    return AuthorTemplates(
        author=templates.load_template(author, blocks=(*pair, "repair"), fields=wrote),
        turn=templates.load_template(turn, blocks=(*pair, "repair"), fields=heard),
        labels=load_questions(axes=axes, label=label, same_goal=same_goal),
    )


async def write_set(
    brief: Brief,
    *,
    author: Teacher,
    labeller: Teacher | tuple[Teacher, ...],
    files: AuthorTemplates,
    expect: ExpectAt,
    locale: Locale,
    bounds: CheckBounds | None = None,
    sample: int = 0,
    ask: int = 0,
) -> AuthoringResult:
    """Have a set written, checked, and mended once.

    Args:
        brief: what to write.
        author: writes.
        labeller: reads prompts blind; of several, more than half decide.
        files: the prompts of both.
        expect: the policy of the leaf for the profile that decides most.
        locale: the language to write in, and its tell-tale words.
        bounds: what the rule gates let pass.
        sample: the author index; another one is another set from the same brief.
        ask: counts repeats of lost requests.

    Raises:
        ItemError: a request that cannot be had; the set is lost.
        RunError: the run cannot go on.
        ConfigError: the language pack has no `tell_tale` patterns.
        ValueError: the row holds a value that judges are not asked about.
    """
    _check_templates(brief, files, locale)
    panel = labeller if isinstance(labeller, tuple) else (labeller,)
    desk = _SetAuthoring(
        brief, author, panel, files, expect, locale, bounds or CheckBounds(), sample, ask
    )
    first = await _attempt(desk, None)
    last = await _attempt(desk, first) if first.faults else first
    return _build_result(desk, first, last)


def _check_templates(brief: Brief, files: AuthorTemplates, locale: Locale) -> None:
    if "tell_tale" not in locale.patterns:
        raise ConfigError(
            f"language pack `{locale.locale}` has no `tell_tale` patterns, without which prompts"
            " cannot be checked; add them"
        )
    unknown = set(brief.row) - set(files.labels.axes)
    if unknown:
        raise ValueError(f"judges are not asked about {sorted(unknown)}; give `axes` to the files")


@dataclass(frozen=True, slots=True)
class _SetAuthoring:
    """What both attempts work with."""

    brief: Brief
    author: Teacher
    panel: tuple[Teacher, ...]
    files: AuthorTemplates
    expect: ExpectAt
    locale: Locale
    bounds: CheckBounds
    sample: int
    ask: int


async def _attempt(desk: _SetAuthoring, before: _SetAttempt | None) -> _SetAttempt:
    """Write, or write anew what failed before; then every gate."""
    names = (*(s.name for s in desk.brief.slots), *RATIONALES)
    if before is not None:
        failed = {f.slot for f in before.faults}
        names = tuple(n for n in names if n in failed)
    request = _make_request(desk, names, before)
    reply = await desk.author(request)
    texts = (before.texts if before else {}) | _writing.read_texts(reply, names)
    own = {s.name: texts[s.name] for s in desk.brief.slots}
    rationales = {name: texts[name] for name in RATIONALES}
    ruled = check_rules(own, rationales, CheckContext(desk.brief, desk.bounds, desk.locale))
    cases, known = await _judge_all(desk, own, ruled, before.known if before else {})
    faults = [fault for case in cases.values() for fault in judged_checks.find_faults(case)]
    return _SetAttempt(texts, (*ruled, *faults), cases, known, reply)


def _make_request(desk: _SetAuthoring, names: Sequence[str], before: _SetAttempt | None) -> Request:
    """The brief, and in a repair what was written and what is wrong with it."""
    return _writing.make_request(
        desk.files.author,
        {"brief": desk.brief, "language": desk.locale.locale},
        names=names,
        wrote=before.texts if before else None,
        faults=before.faults if before else (),
        sample=desk.sample,
        ask=desk.ask,
    )


async def _judge_all(
    desk: _SetAuthoring, texts: Mapping[str, str], ruled: Sequence[Fault], known: _KnownJudgements
) -> tuple[dict[str, JudgedCase], _KnownJudgements]:
    """Judged prompts by slot, and all that judges said so far.

    A prompt without form is not shown to judges; what was judged once is not asked again.
    """
    formless = {f.slot for f in ruled if f.gate == "form"}
    keys = {
        s.name: (texts[s.name], _needs_goal_check(desk.brief, s))
        for s in desk.brief.slots
        if s.name not in formless
    }
    keys_to_judge = [key for key in dict.fromkeys(keys.values()) if key not in known]
    judgements = await gather_all(
        _judge_prompt(desk, text, goal=goal) for text, goal in keys_to_judge
    )
    known = known | dict(zip(keys_to_judge, judgements, strict=True))
    row = {value.axis: value.value for value in desk.brief.row}
    slots = [s for s in desk.brief.slots if s.name in keys]
    return {s.name: JudgedCase(s, row, known[keys[s.name]], desk.expect) for s in slots}, known


async def _judge_prompt(desk: _SetAuthoring, text: str, *, goal: bool) -> Judgement:
    """Label one prompt blind, then, apart from that, ask whether it serves the goal."""
    labels = desk.files.labels
    reading = await read_labels(text, judges=desk.panel, files=labels, ask=desk.ask)
    if not goal:
        return Judgement(reading, None)
    goal_part = desk.brief.goal
    return Judgement(
        reading,
        await judge_goal_fit(
            text,
            purpose=goal_part.purpose,
            task=goal_part.task,
            judges=desk.panel,
            files=labels,
            ask=desk.ask,
        ),
    )


def _needs_goal_check(brief: Brief, slot: PromptSlot) -> bool:
    """A probe is about its leaf; its safe side only looks as if it were."""
    return brief.contrast is None or slot.intent == "malicious"


def _build_result(desk: _SetAuthoring, first: _SetAttempt, last: _SetAttempt) -> AuthoringResult:
    """The set where nothing is left, else its faults."""
    attempts = (first,) if last is first else (first, last)
    return AuthoringResult(
        prompts=None
        if last.faults
        else tuple(_build_prompt(desk, last, s) for s in desk.brief.slots),
        faults=last.faults,
        repaired_faults=() if last.faults else first.faults,
        benign_use=last.texts["benign_use"],
        misuse_risk=last.texts["misuse_risk"],
        unsafe_keys=_writing.find_unsafe_keys((a.reply, a.faults) for a in attempts),
    )


def _build_prompt(desk: _SetAuthoring, attempt: _SetAttempt, slot: PromptSlot) -> AuthoredPrompt:
    case = attempt.cases[slot.name]
    read_detail = case.labels.detail
    assert read_detail is not None, "an unsure detail is a fault"
    return AuthoredPrompt(
        replace(slot, detail=read_detail),
        attempt.texts[slot.name],
        judged_checks.confirmed_attributes(case),
    )
