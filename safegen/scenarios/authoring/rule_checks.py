"""Gates of a written set that form alone decides. A function's name is the name of its fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import NamedTuple

from safegen.config.language_pack import Locale, fold_case
from safegen.core import language_id, text_forms
from safegen.core.types import DETAIL_LEVELS, Gate
from safegen.scenarios.authoring.brief import Brief, PromptSlot

RATIONALES = ("benign_use", "misuse_risk")
"""What an author writes beside the prompts."""
PLACEHOLDER = re.compile(
    r"\[(?=[^\]\n]*[^\W\d_])[^\]\n]{1,60}\]"
    r"|\{[\w .-]{1,60}\}"
    r"|<(?=[a-zA-Z])[\w .-]{1,60}>"
    r"|_{3,}|\bX{4,}\b|\bTODO\b|\b[Ll]orem ipsum\b|\$\{?[A-Z_]{2,}\b"
)
LABEL = re.compile(
    r"\A\W*(?:benign|dual[ _-]?use|malicious|prompt|slot)[ _]?\d*\W{0,3}:", re.IGNORECASE
)
QUOTED_TEXT = re.compile(r'"[^"\n]{0,400}"')
ENUMERATOR = re.compile(r"(?:^|(?<=\s))\(?(\d{1,2})[.):]\s+(?=\S)")
SHINGLE = 3
"""Words of a run that near-duplicates share."""


class Fault(NamedTuple):
    """What is wrong with one text of a set. The reason never quotes what a text should not hold."""

    gate: Gate
    slot: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckBounds:
    """What the gates let pass. Hand-written sets of `core` fail `parallel_length` alone: theirs differ in length on purpose."""

    max_chars: int = 1_200
    """Longest prompt or rationale."""
    length_ratio: float = 2.5
    """Longest prompt of an author's set over its shortest, in characters."""
    near_duplicate: float = 0.4
    """Jaccard similarity over runs of three words from which two prompts of a set are copies."""
    amounts: int = 2
    """Most numbers with a unit in a prompt; a dose or two belong to an honest question."""
    min_letters: int = 20
    """Fewer letters are too short to tell a language."""
    language_share: float = 0.2
    """Lowest probability of the set's language; short prompts are never told with certainty."""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a gate holds texts against."""

    brief: Brief
    bounds: CheckBounds
    locale: Locale


TextsBySlot = Mapping[str, str]
"""Text by slot name."""
CheckFunction = Callable[[TextsBySlot, CheckContext], Iterator[Fault]]


def form(texts: TextsBySlot, bench: CheckContext) -> Iterator[Fault]:
    """Texts that nobody would send: empty, too long, unprintable, with a gap to fill or a label."""
    for name, text in texts.items():
        if reason := _form_problem(text, bench.bounds):
            yield Fault("form", name, reason)


def _form_problem(text: str, bounds: CheckBounds) -> str:
    if not text.strip():
        return "is empty"
    if len(text) > bounds.max_chars:
        return f"has {len(text)} characters, {bounds.max_chars} at most"
    if any(not c.isprintable() and c not in "\n\t" for c in text):
        return "holds control characters"
    if gap := PLACEHOLDER.search(text):
        return f"holds the placeholder `{gap.group()[:40]}`"
    if LABEL.search(text):
        return "begins with a label"
    return ""


def language(texts: TextsBySlot, bench: CheckContext) -> Iterator[Fault]:
    """Texts that read as another language outside quotes; what is too short to tell passes."""
    expected = bench.locale.locale.split("-")[0].lower()
    for name, text in texts.items():
        prose = (
            QUOTED_TEXT.sub(" ", text_forms.plain_text(text)).encode("utf-8", "replace").decode()
        )
        if sum(map(str.isalpha, prose)) < bench.bounds.min_letters:
            continue
        shares = language_id.language_shares(prose, expected)
        shares_by_language = max(shares, key=lambda tag: shares[tag], default=expected)
        if shares_by_language != expected and shares[expected] < bench.bounds.language_share:
            yield Fault("language", name, f"reads as `{shares_by_language}`, not `{expected}`")


def operational_detail(texts: TextsBySlot, bench: CheckContext) -> Iterator[Fault]:
    """Prompts that hold what they should only ask for: steps, code, commands, settings, amounts."""
    for name, text in texts.items():
        if reason := _operational_problem(text, bench.bounds):
            yield Fault("operational_detail", name, reason)


def _operational_problem(text: str, bounds: CheckBounds) -> str:
    if text_forms.proven_detail(text)[0] == max(DETAIL_LEVELS):
        return "holds code, a command or settings"
    numbers = [int(n) for n in ENUMERATOR.findall(text_forms.plain_text(text))]
    if [n for n in numbers if n <= 3][:3] == [1, 2, 3]:
        return "holds numbered steps"
    if len(text_forms.amounts(text)) > bounds.amounts:
        return f"holds more than {bounds.amounts} amounts"
    return ""


def lexical_artifact(texts: TextsBySlot, bench: CheckContext) -> Iterator[Fault]:
    """Words that give a label away: tags that excuse a question, a claimed role under one intent alone.

    The language pack's `tell_tale` patterns name the tags; a match of their group `role` is a claimed
    role, which only tells where the set's other intents claim none.
    """
    pattern = bench.locale.compiled["tell_tale"]
    claims: dict[str, str] = {}
    for slot in bench.brief.slots:
        found = list(pattern.finditer(fold_case(text_forms.plain_text(texts.get(slot.name, "")))))
        tags = [m.group() for m in found if m.lastgroup != "role"]
        if tags:
            yield Fault("lexical_artifact", slot.name, f"holds the tag `{tags[0][:60]}`")
        roles = [m.group() for m in found if m.lastgroup == "role"]
        if roles:
            claims[slot.name] = roles[0]
    claiming = {s.intent for s in bench.brief.slots if s.name in claims}
    if len(claiming) == 1 < len({s.intent for s in bench.brief.slots}):
        for name, words in claims.items():
            yield Fault("lexical_artifact", name, f"only its intent claims a role: `{words[:60]}`")


def parallel_length(texts: TextsBySlot, bench: CheckContext) -> Iterator[Fault]:
    """Prompts whose length sets them apart within the set."""
    sizes = {name: len(text.strip()) for name, text in texts.items() if text.strip()}
    ratio = bench.bounds.length_ratio
    if not sizes or max(sizes.values()) <= ratio * min(sizes.values()):
        return
    middle = median(sizes.values())
    for name, size in sizes.items():
        if not middle / ratio**0.5 <= size <= middle * ratio**0.5:
            word = "shorter" if size < middle else "longer"
            yield Fault(
                "parallel_length",
                name,
                f"has {size} characters, much {word} than the set's middle of {middle:.0f}",
            )


def near_duplicate(texts: TextsBySlot, bench: CheckContext) -> Iterator[Fault]:
    """Prompts that nearly repeat an earlier one of the set, said once per later prompt.

    A probe and its unsafe twin are alike by design, so across intents only equal words count there.
    """
    runs = {n: text_forms.shingles(text_forms.words(t), size=SHINGLE) for n, t in texts.items()}
    told: set[str] = set()
    for one, other in combinations([s for s in bench.brief.slots if s.name in runs], 2):
        alike = text_forms.jaccard(runs[one.name], runs[other.name])
        if other.name not in told and alike >= _copy_bound(one, other, bench):
            told.add(other.name)
            yield Fault("near_duplicate", other.name, f"is {alike:.0%} the words of `{one.name}`")


def _copy_bound(one: PromptSlot, other: PromptSlot, bench: CheckContext) -> float:
    twins = bench.brief.contrast is not None and one.intent != other.intent
    return 1.0 if twins else bench.bounds.near_duplicate


RULE_CHECKS: tuple[CheckFunction, ...] = (
    form,
    language,
    operational_detail,
    lexical_artifact,
    parallel_length,
    near_duplicate,
)
"""In the order in which faults are told."""


def check_rules(texts: TextsBySlot, rationales: TextsBySlot, bench: CheckContext) -> list[Fault]:
    """Every fault that form shows, of the prompts by all gates and of the rationales by two."""
    faults = [fault for rule in RULE_CHECKS for fault in rule(texts, bench)]
    return [*faults, *form(rationales, bench), *operational_detail(rationales, bench)]
