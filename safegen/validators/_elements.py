"""The coverage of required elements by validators.

Built-in validators read form only: `response_form` requires a decline and a next step of a refusal;
`required_elements` reads a limit, a next step and a safe task by a classifier, and the elements of a
language pack, such as a crisis contact, by words. No rule checks if an answer is any good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from safegen.config.language_pack import Locale
from safegen.core import plugins
from safegen.core.types import Mode, Verdict

BY_FORM_NOTE = "checked by wording only"


class ElementCoverage(NamedTuple):
    """Required elements by how they are checked."""

    by_form: tuple[str, ...]
    unread: tuple[str, ...]
    others: tuple[str, ...]
    """Validators from outside the package; the elements that they read are unknown."""

    @property
    def line(self) -> str:
        """The summary for people on one line."""
        notes = ((BY_FORM_NOTE, self.by_form), (self._unread_note, self.unread))
        return "; ".join(f"{', '.join(names)} ({note})" for note, names in notes if names)

    def describe(self, element: str) -> str:
        """Describe how one element is checked."""
        return BY_FORM_NOTE if element in self.by_form else self._unread_note

    @property
    def _unread_note(self) -> str:
        if not self.others:
            return "no validator checks it"
        names = ", ".join(f"`{name}`" for name in self.others)
        return f"no validator of safegen checks it, perhaps {names} does"


def classify_elements(
    mode: Mode,
    required: Iterable[str],
    validators: Collection[str],
    *,
    own: Collection[str],
    locale: Locale,
) -> ElementCoverage:
    """Classify the required elements of one expectation by how they are checked.

    Args:
        mode: the expected mode.
        required: element names.
        validators: names of the validators that read the draft.
        own: names of the validators that ship with safegen.
        locale: the language pack; an element without deciding words in it is not checked.
    """
    elements = {name: element.decides for name, element in locale.elements.items()}
    known: set[str] = set()
    for name in validators:
        # The traits of other validators need a trusted import, which this summary must not make.
        reads = plugins.validator_traits(name).reads if name in own else None
        known |= set(reads(mode, elements)) if reads else set()
    required = tuple(required)
    return ElementCoverage(
        tuple(name for name in required if name in known),
        tuple(name for name in required if name not in known),
        tuple(name for name in validators if name not in own),
    )


def list_deciding_validators(verdicts: Iterable[Verdict]) -> list[str]:
    """List the validators whose verdict is not null."""
    return [v.validator for v in verdicts if v.passed is not None]


def merge_coverage(readings: Mapping[Mode, ElementCoverage]) -> ElementCoverage:
    """Merge the coverage of several modes; an element that is unread in some modes names them."""
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
