"""Which required elements of an answer anything looks at, and how.

Nothing that ships with safegen reads what an answer says: `refusal_form` finds words that announce
a limit, decline or name a next step, `required_elements` those that a language pack has for an
element, such as a crisis contact. Whether help with a safe task is there, or anything is any good,
no rule can tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from safegen.config.language_pack import Locale
from safegen.core import plugins
from safegen.core.types import Mode, Verdict


class ElementCoverage(NamedTuple):
    """Required elements by how they are checked."""

    by_form: tuple[str, ...]
    unread: tuple[str, ...]
    others: tuple[str, ...]
    """Validators that are not safegen's; what they read is theirs to say."""

    @property
    def line(self) -> str:
        """One line for people."""
        parts = [f"{', '.join(self.by_form)} judged by form only"] if self.by_form else []
        if self.unread:
            but = f" by safegen, and {', '.join(self.others)} may" if self.others else ""
            parts.append(f"{', '.join(self.unread)} not checked{but}")
        return "; ".join(parts)


def classify_elements(
    mode: Mode,
    required: Iterable[str],
    validators: Collection[str],
    *,
    own: Collection[str],
    locale: Locale,
) -> ElementCoverage:
    """How the required elements of one expectation are checked.

    Args:
        mode: the expected mode.
        required: elements by name.
        validators: the validators that could tell.
        own: names of the validators that ship with safegen.
        locale: the language pack; elements that it has no words for, or none that decide, are not checked.
    """
    elements = {name: element.decides for name, element in locale.elements.items()}
    known: set[str] = set()
    for name in validators:
        reads = plugins.validator_traits(name).reads if name in own else None
        known |= set(reads(mode, elements)) if reads else set()
    required = tuple(required)
    return ElementCoverage(
        tuple(name for name in required if name in known),
        tuple(name for name in required if name not in known),
        tuple(name for name in validators if name not in own),
    )


def list_deciding_validators(verdicts: Iterable[Verdict]) -> list[str]:
    """The validators that could tell something of a draft."""
    return [v.validator for v in verdicts if v.passed is not None]


def merge_coverage(readings: Mapping[Mode, ElementCoverage]) -> ElementCoverage:
    """Several expectations as one; an element that is checked in some modes alone names the others."""
    by_form = _distinct(name for r in readings.values() for name in r.by_form)
    unread = _distinct(
        f"{name} in {mode}" if name in by_form else name
        for mode, r in readings.items()
        for name in r.unread
    )
    return ElementCoverage(
        by_form, unread, _distinct(n for r in readings.values() for n in r.others)
    )


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
