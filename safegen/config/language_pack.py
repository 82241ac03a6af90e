"""Language packs: the operator turns, the offline teacher's phrasing and the validators' patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from safegen.config.fields import FrozenModel, Slug, Text, UnifyKeys
from safegen.core import resources, yaml_source
from safegen.core.errors import AssetNotFound, ConfigError
from safegen.core.pattern_index import PatternIndex
from safegen.core.types import PROFILES, Profile


def _check_pattern(value: str) -> str:
    try:
        re.compile(value, re.IGNORECASE)
    except re.error as e:
        raise ValueError(f"is not a regular expression: {e}") from e
    return value


BACKSLASH = "\\"
_NUMBERED = re.compile(r"\\[xuUN0-9]|\(\?P")
_PIECE = re.compile(r"\\.|[^\\]+", re.DOTALL)
Pattern = Annotated[str, AfterValidator(_check_pattern), Field(min_length=1, max_length=2_000)]


class Phrases(FrozenModel):
    """Phrases of the offline teacher around a goal's knowledge.

    Placeholders: `{left_out}`, `{decline}`, `{purpose}` (a verb phrase), `{question}` (the request as the
    object of a sentence), `{risk}` (a sentence without its final stop, at the start of a sentence),
    `{fact}` and `{step}` (a sentence with a small first letter and without its final stop).
    """

    limits: tuple[Text, ...] = Field(min_length=1)
    """Opens a safe completion by naming what it omits; contains `{left_out}`."""
    stops: tuple[Text, ...] = ()
    """The same after an explanation; default `limits`."""
    declines: tuple[Text, ...] = Field(min_length=1)
    """Declines plainly; contains `{decline}`."""
    refusals: tuple[Text, ...] = Field(min_length=1)
    """Weak style: opens a needless refusal and names the request."""
    tails: tuple[Text, ...] = ()
    """Weak style: appended to a fact in a needless refusal, without the final stop of the fact."""
    quotings: tuple[Text, ...] = Field(default=('"{quote}"',), min_length=1)
    """Quotes a question within a sentence; contains `{quote}`."""
    requestings: tuple[Text, ...] = Field(default=('"{quote}"',), min_length=1)
    """The same for a request that is not a question."""
    halves: tuple[Text, ...] = ()
    """Weak style: declines the request next to an answer to another question."""
    excuses: tuple[Text, ...] = ()
    """Weak style: excuse of a needless refusal."""
    referrals: tuple[Text, ...] = ()
    """Weak style: sends the user away."""
    farewells: tuple[Text, ...] = ()
    """Weak style: ends a needless refusal."""
    sermons: tuple[Text, ...] = Field(min_length=1)
    """Weak style: moralises about the subject, not about the user."""
    frames: tuple[Text, ...] = ()
    """Weak style: moralises with a sentence of the answer; contains `{fact}`."""
    urgings: tuple[Text, ...] = ()
    """Weak style: the same with a step of the safe task; contains `{step}`."""
    ends: tuple[Text, ...] = ()
    """Weak style: ends a partial answer without a next step."""
    firm: tuple[Text, ...] = ()
    """Weak style: follows a decline, without a next step."""
    supports: tuple[Text, ...] = Field(min_length=1)
    """Opens the answer to a person at risk."""
    comforts: tuple[Text, ...] = ()
    """The same if only the person's own life or body is in danger; default `supports`."""
    cares: tuple[Text, ...] = ()
    """Addresses the person after a decline, if two people may be in danger; default `supports`."""
    elements: dict[Slug, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Slug, tuple[Text, ...]]
    )
    """Sentences by required element of a policy; each fulfils it at the end of an answer."""
    places: dict[Profile, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Places to turn to by profile; they replace a goal's redirections and better ways."""
    closings: dict[Profile, tuple[Text, ...]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Endings of a partial answer by profile; none for a profile that is missing here."""
    afterwords: dict[Profile, tuple[Text, ...]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Occasional endings of a full answer by profile."""


class Element(FrozenModel):
    """Patterns that show a required element in an answer."""

    patterns: tuple[Pattern, ...] = Field(min_length=1)
    """Regular expressions; one match is enough."""
    unless: tuple[Pattern, ...] = ()
    """Regular expressions whose matches are removed first, such as `don't call …`; each covers its whole clause."""
    decides: bool = True
    """True if an answer without a match fails; else the verdict only reports that there was no match."""

    @cached_property
    def compiled(self) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
        """Compiled `patterns` and `unless`, for text that `fold_case` returns."""
        unless = _compile_alternation(self.unless) if self.unless else None
        return _compile_alternation(self.patterns), unless


class Locale(FrozenModel):
    """A language pack, `prompts/locales/<tag>.yaml`."""

    locale: Text
    """BCP-47 language, such as `en`."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]]
    """Wordings of the operator's system turn by profile; an empty one means no system turn."""
    phrases: Phrases
    patterns: Annotated[dict[Slug, tuple[Pattern, ...]], UnifyKeys]
    """Regular expressions by proposition; case is ignored."""
    elements: dict[Slug, Element] = Field(default_factory=dict[Slug, Element])
    """Patterns by required element of a policy; an element that is missing here is not checked."""

    @cached_property
    def compiled(self) -> Mapping[str, re.Pattern[str]]:
        """One compiled alternation per proposition, for text that `fold_case` returns."""
        # Lower case on both sides takes a third of the time of IGNORECASE, which disables the
        # engine's check of the first letter of each branch.
        return {name: _compile_alternation(patterns) for name, patterns in self.patterns.items()}

    @cached_property
    def index(self) -> PatternIndex:
        """The propositions whose pattern can match a text that `fold_case` returns."""
        return PatternIndex({name: p.pattern for name, p in self.compiled.items()})

    def __hash__(self) -> int:
        # Verdicts on a text are cached by pack, and the fields of a pack cannot be hashed.
        return hash((self.locale, self.version))


class Overlay(FrozenModel):
    """A pack that overrides parts of another one, such as the operator's system turns."""

    inherits: Text
    """The base pack, by name or path; it must not inherit another one."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Profile, tuple[str, ...]]
    )
    """Wordings of the operator's system turn; replace those of the same profile."""
    patterns: Annotated[dict[Slug, tuple[Pattern, ...]], UnifyKeys] = Field(
        default_factory=dict[Slug, tuple[Pattern, ...]]
    )
    """Regular expressions; replace those of the same proposition."""
    elements: dict[Slug, Element] = Field(default_factory=dict[Slug, Element])
    """Patterns of required elements; replace those of the same element."""

    def apply_to(self, base: Locale) -> Locale:
        """Merge this overlay into its base pack."""
        return base.model_copy(
            update={
                "version": f"{base.version}+{self.version}",
                "profiles": {**base.profiles, **self.profiles},
                "patterns": {**base.patterns, **self.patterns},
                "elements": {**base.elements, **self.elements},
            }
        )


def fold_case(text: str) -> str:
    """Lower-case a text character by character, so that positions in it do not change."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _compile_alternation(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_fold_pattern(p) for p in patterns))


def _fold_pattern(pattern: str) -> str:
    # Lower-casing would change escapes that name a character by number, so these keep IGNORECASE.
    if _NUMBERED.search(pattern):
        return f"(?i:{pattern})"
    return f"(?:{_PIECE.sub(lambda m: m[0] if m[0][0] == BACKSLASH else m[0].lower(), pattern)})"


def load_locale(tag: str) -> Locale:
    """Load a language pack by tag or path; `en-GB` falls back to `en`.

    Raises:
        AssetNotFound: no pack for the language.
        ConfigError: a mistake in the file.
    """
    whole = tag in resources.list_names("locales") or tag.endswith((".yaml", ".yml"))
    path = resources.find_file("locales", tag if whole else tag.split("-")[0])
    if not _is_overlay(path):
        return _load_resolved(path)
    overlay = yaml_source.load(path, Overlay)
    return overlay.apply_to(_load_resolved(_find_base(overlay, path)))


def _find_base(overlay: Overlay, path: Path) -> Path:
    message = f"inherits: `{overlay.inherits}` inherits another pack; name that one"
    try:
        base = resources.find_file("locales", overlay.inherits)
    except AssetNotFound as e:
        message = f"inherits: {e}"
    else:
        if not _is_overlay(base):
            return base
    raise ConfigError(f"{yaml_source.format_place(path, ('inherits',))}: {message}")


def _is_overlay(path: Path) -> bool:
    data = yaml_source.compose(yaml_source.read_text(path), shown=str(path)).data
    return isinstance(data, dict) and "inherits" in data


def _load_resolved(path: Path) -> Locale:
    locale = yaml_source.load(path, Locale)
    missing = [p for p in PROFILES if p not in locale.profiles]
    if missing:
        raise ConfigError(
            f"{path}: profiles: `{missing[0]}` is missing; add its system turns, or ['']"
        )
    return locale
