"""A brief becomes a set of prompts that pass every check, or a list of faults.

    write → check → (faults) → rewrite the texts with faults → check → … → set or faults

There are two repairs. Texts without a fault are kept, so that a repair cannot spoil them, and no text
is judged twice. A prompt with a fault after the repairs is dropped. If an intent then has no prompt
left, the whole set is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from safegen.config.language_pack import Locale
from safegen.core import templates
from safegen.core.errors import ConfigError
from safegen.core.templates import PromptTemplate
from safegen.core.types import Attribute, Reply, Request, Teacher
from safegen.judges.blind_labels import (
    LabelFiles,
    gather_all,
    judge_goal_fit,
    load_questions,
    read_labels,
)
from safegen.judges.label_definitions import AxisValue
from safegen.scenarios.authoring import _writing, judged_checks
from safegen.scenarios.authoring.brief import (
    Brief,
    PromptSlot,
)
from safegen.scenarios.authoring.judged_checks import ExpectAt, JudgedCase, Judgement
from safegen.scenarios.authoring.rule_checks import (
    RATIONALES,
    CheckBounds,
    CheckContext,
    Fault,
    check_rules,
)

MAX_REPAIRS = 2
"""Repairs of a set. Most authors fix half of their faults in each, and each costs labels."""


@dataclass(frozen=True)
class AuthorTemplates:
    """The prompt templates of authors and labellers, with the axes that labellers read."""

    author: PromptTemplate
    labels: LabelFiles
    turn: PromptTemplate
    """The template of the next user turn of a conversation."""


@dataclass(frozen=True, slots=True)
class AuthoredPrompt:
    """A prompt that passed every check; its slot has the evidence and detail that labellers read."""

    slot: PromptSlot
    text: str
    confirmed: tuple[Attribute, ...]
    """The row's values that labellers read in the text; other values are not recorded."""


@dataclass(frozen=True, slots=True)
class AuthoringResult:
    """The prompts of a brief, or its remaining faults."""

    prompts: tuple[AuthoredPrompt, ...] | None
    """The prompts without a fault, in the order of their slots; None if the set is dropped."""
    faults: tuple[Fault, ...]
    """The faults after the repairs."""
    repaired_faults: tuple[Fault, ...]
    """The faults that repairs removed."""
    benign_use: str
    misuse_risk: str
    unsafe_keys: tuple[str, ...]
    """Journal keys of replies with operational detail; their text must be scrubbed."""
    texts: Mapping[str, str]
    """The last text of each slot, without those with operational detail."""


_KnownJudgements = dict[tuple[str, bool], Judgement]
"""Judgements by text and by the flag that the goal was judged, too."""


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
    """Load the prompt templates by name or path.

    Args:
        axes: every value of every axis that a row may hold. Labellers read all of them for every
            prompt, so that the question does not reveal the row.
        author: template that requests a set.
        turn: template that requests the next user turn of a conversation.
        label: template that requests blind labels.
        same_goal: template that asks if a prompt serves a goal.

    Raises:
        AssetNotFound: no such file.
        ConfigError: a template that does not fit, with file and line.
    """
    pair = ("system", "user")
    set_fields = ("brief", "definitions", "language", "faults", "names", "sample")
    turn_fields = (*set_fields, "number", "conversation")
    return AuthorTemplates(
        author=templates.load_template(author, blocks=(*pair, "repair"), fields=set_fields),
        turn=templates.load_template(turn, blocks=(*pair, "repair"), fields=turn_fields),
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
    """Let an author write a set, check it, and repair it up to `MAX_REPAIRS` times.

    Args:
        brief: the content of the set.
        author: the teacher that writes.
        labeller: one or more blind labellers; a majority of them decides.
        files: the templates of both.
        expect: the policy of the harm at the set's profile.
        locale: the language to write in, and its patterns of lexical artifacts.
        bounds: limits of the rule checks.
        sample: the author index; each index gives another set from the same brief.
        ask: number of earlier attempts of lost requests.

    Raises:
        ItemError: a request failed; the set is lost.
        RunError: the run cannot continue.
        ConfigError: the language pack has no `tell_tale` patterns.
        ValueError: the row has an axis that labellers do not read.
    """
    _check_templates(brief, files, locale)
    panel = labeller if isinstance(labeller, tuple) else (labeller,)
    authoring = _SetAuthoring(
        brief, author, panel, files, expect, locale, bounds or CheckBounds(), sample, ask
    )
    attempts = [await _attempt(authoring, ())]
    while attempts[-1].faults and len(attempts) <= MAX_REPAIRS:
        attempts.append(await _attempt(authoring, attempts))
    return _build_result(authoring, attempts)


def _check_templates(brief: Brief, files: AuthorTemplates, locale: Locale) -> None:
    if "tell_tale" not in locale.patterns:
        raise ConfigError(
            f"language pack `{locale.locale}` has no `tell_tale` patterns, and prompts cannot be"
            " checked without them; add them"
        )
    # A value that labellers do not read could never be confirmed or contradicted.
    unknown = set(brief.row) - set(files.labels.axes)
    if unknown:
        raise ValueError(
            f"labellers do not read {sorted(unknown)}; pass `axes` to `load_templates`"
        )


@dataclass(frozen=True, slots=True)
class _SetAuthoring:
    brief: Brief
    author: Teacher
    panel: tuple[Teacher, ...]
    files: AuthorTemplates
    expect: ExpectAt
    locale: Locale
    bounds: CheckBounds
    sample: int
    ask: int


async def _attempt(authoring: _SetAuthoring, earlier: Sequence[_SetAttempt]) -> _SetAttempt:
    before = earlier[-1] if earlier else None
    names = (*(s.name for s in authoring.brief.slots), *RATIONALES)
    if before is not None:  # only texts with a fault are written again
        failed = {f.slot for f in before.faults}
        names = tuple(n for n in names if n in failed)
    request = _make_request(authoring, names, earlier)
    reply = await authoring.author(request)
    texts = (before.texts if before else {}) | _writing.read_texts(reply, names)
    own = {s.name: texts[s.name] for s in authoring.brief.slots}
    rationales = {name: texts[name] for name in RATIONALES}
    rule_faults = check_rules(
        own, rationales, CheckContext(authoring.brief, authoring.bounds, authoring.locale)
    )
    cases, known = await _judge_all(authoring, own, rule_faults, before.known if before else {})
    faults = [fault for case in cases.values() for fault in judged_checks.find_faults(case)]
    return _SetAttempt(texts, (*rule_faults, *faults), cases, known, reply)


def _make_request(
    authoring: _SetAuthoring, names: Sequence[str], earlier: Sequence[_SetAttempt]
) -> Request:
    before = earlier[-1] if earlier else None
    return _writing.make_request(
        authoring.files.author,
        {"brief": authoring.brief, "language": authoring.locale.locale},
        names=names,
        definitions=authoring.files.labels.definitions,
        texts=before.texts if before else None,
        faults=before.faults if before else (),
        sample=authoring.sample,
        ask=authoring.ask,
        revision=len(earlier),
    )


async def _judge_all(
    authoring: _SetAuthoring,
    texts: Mapping[str, str],
    rule_faults: Sequence[Fault],
    known: _KnownJudgements,
) -> tuple[dict[str, JudgedCase], _KnownJudgements]:
    # A prompt with a fault of form is not worth a labeller's request, and no text is judged twice.
    formless = {f.slot for f in rule_faults if f.gate == "form"}
    keys = {
        s.name: (texts[s.name], _needs_goal_check(authoring.brief, s))
        for s in authoring.brief.slots
        if s.name not in formless
    }
    keys_to_judge = [key for key in dict.fromkeys(keys.values()) if key not in known]
    judgements = await gather_all(
        _judge_prompt(authoring, text, goal=goal) for text, goal in keys_to_judge
    )
    known = known | dict(zip(keys_to_judge, judgements, strict=True))
    row = {value.axis: value.value for value in authoring.brief.row}
    slots = [s for s in authoring.brief.slots if s.name in keys]
    return {s.name: JudgedCase(s, row, known[keys[s.name]], authoring.expect) for s in slots}, known


async def _judge_prompt(authoring: _SetAuthoring, text: str, *, goal: bool) -> Judgement:
    # Two requests: labels are blind, and the goal would reveal the intent.
    labels = authoring.files.labels
    blind_labels = await read_labels(text, judges=authoring.panel, files=labels, ask=authoring.ask)
    if not goal:
        return Judgement(blind_labels, None)
    goal_part = authoring.brief.goal
    return Judgement(
        blind_labels,
        await judge_goal_fit(
            text,
            purpose=goal_part.purpose,
            task=goal_part.task,
            judges=authoring.panel,
            files=labels,
            ask=authoring.ask,
        ),
    )


def _needs_goal_check(brief: Brief, slot: PromptSlot) -> bool:
    # The safe side of a probe only looks as if it were about the harm.
    return brief.contrast is None or slot.intent == "malicious"


def _build_result(authoring: _SetAuthoring, attempts: Sequence[_SetAttempt]) -> AuthoringResult:
    last, slots = attempts[-1], authoring.brief.slots
    faulty = {f.slot for f in last.faults}
    kept = [s for s in slots if s.name not in faulty]
    # A set without one of its intents is not matched; rationales describe all prompts.
    is_matched = {s.intent for s in kept} == {s.intent for s in slots}
    is_kept = is_matched and not faulty & set(RATIONALES)
    repaired = dict.fromkeys(f for attempt in attempts for f in attempt.faults)
    hazardous = {f.slot for f in last.faults if f.gate == "operational_detail"}
    return AuthoringResult(
        prompts=tuple(_build_prompt(last, s) for s in kept) if is_kept else None,
        faults=last.faults,
        repaired_faults=tuple(f for f in repaired if f not in last.faults),
        benign_use=last.texts["benign_use"],
        misuse_risk=last.texts["misuse_risk"],
        unsafe_keys=_writing.find_unsafe_keys((a.reply, a.faults) for a in attempts),
        texts={s.name: last.texts[s.name] for s in slots if s.name not in hazardous},
    )


def _build_prompt(attempt: _SetAttempt, slot: PromptSlot) -> AuthoredPrompt:
    case = attempt.cases[slot.name]
    read = case.labels
    assert read.detail is not None and read.evidence is not None, "an unsure label is a fault"
    # The labels that were read decide the expectation, because the student sees only the text.
    return AuthoredPrompt(
        replace(slot, evidence=read.evidence, detail=read.detail),
        attempt.texts[slot.name],
        judged_checks.confirmed_attributes(case),
    )
