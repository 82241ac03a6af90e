"""Language packs: the operator turns, the offline teacher's phrasing and the validators' patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from safegen.config.taxonomy import FrozenModel, Slug, Text
from safegen.core import resources, yaml_source
from safegen.core.errors import AssetNotFound, ConfigError
from safegen.core.hashing import hash_fraction
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
    """The offline teacher's words around a goal's knowledge.

    Placeholders are filled in: `{left_out}`, `{decline}`, `{purpose}` (a verb phrase), `{question}` (what was
    asked, as the object of a sentence), `{risk}` (a sentence without its stop, so it begins a sentence),
    `{fact}` and `{step}` (a sentence from a small letter on, without its stop).
    """

    limits: tuple[Text, ...] = Field(min_length=1)
    """Says what a safe completion leaves out, before the rest; holds `{left_out}`."""
    stops: tuple[Text, ...] = ()
    """The same after an explanation; without them `limits` serve."""
    declines: tuple[Text, ...] = Field(min_length=1)
    """Declines plainly; holds `{decline}`."""
    refusals: tuple[Text, ...] = Field(min_length=1)
    """Weak style: opens a needless refusal and names what was asked."""
    tails: tuple[Text, ...] = ()
    """Weak style: ends a fact of a needless refusal, of which it leaves no doubt; follows its words, without their stop."""
    quotings: tuple[Text, ...] = Field(default=('"{quote}"',), min_length=1)
    """How a question is quoted within a sentence; holds `{quote}`."""
    requestings: tuple[Text, ...] = Field(default=('"{quote}"',), min_length=1)
    """The same for a request that is no question."""
    halves: tuple[Text, ...] = ()
    """Weak style: declines what was asked beside an answer to something else."""
    excuses: tuple[Text, ...] = ()
    """Weak style: why the needless refusal gives nothing."""
    referrals: tuple[Text, ...] = ()
    """Weak style: sends the person away."""
    farewells: tuple[Text, ...] = ()
    """Weak style: ends a needless refusal."""
    sermons: tuple[Text, ...] = Field(min_length=1)
    """Weak style: moralises about the matter, not about the person who asks."""
    frames: tuple[Text, ...] = ()
    """Weak style: moralises with one of the answer's own sentences; holds `{fact}`."""
    urgings: tuple[Text, ...] = ()
    """Weak style: the same with a step of the safe task; holds `{step}`."""
    ends: tuple[Text, ...] = ()
    """Weak style: ends a partial answer without a way on."""
    firm: tuple[Text, ...] = ()
    """Weak style: follows a decline, without a way on."""
    supports: tuple[Text, ...] = Field(min_length=1)
    """Speaks to a person at risk first."""
    comforts: tuple[Text, ...] = ()
    """The same if the person's own life or body is in danger, and about them alone; without them `supports` serve."""
    cares: tuple[Text, ...] = ()
    """Speaks to the person after a decline, if two people may be in danger; without them `supports` serve."""
    elements: dict[Slug, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Slug, tuple[Text, ...]]
    )
    """Sentences that fulfil a required element of a policy, by its name; they end an answer."""
    places: dict[Profile, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """Where to turn under a profile, in place of a goal's own redirections and better ways."""
    closings: dict[Profile, tuple[Text, ...]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """What ends a partial answer under a deployment profile; nothing where the profile has none."""
    afterwords: dict[Profile, tuple[Text, ...]] = Field(
        default_factory=dict[Profile, tuple[Text, ...]]
    )
    """What ends a full answer under a deployment profile now and then."""


class Element(FrozenModel):
    """What words show that an answer has a required element."""

    patterns: tuple[Pattern, ...] = Field(min_length=1)
    """Regular expressions; one that matches shows the element."""
    unless: tuple[Pattern, ...] = ()
    """What they match is taken out first, such as `don't call …`; each ends with its clause."""
    decides: bool = True
    """Whether an answer in which nothing is found fails; else the verdict only tells that nothing was found."""

    @cached_property
    def compiled(self) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
        """What shows the element and what is taken out before, for text that `fold_case` gives."""
        return _compile_alternation(self.patterns), _compile_alternation(
            self.unless
        ) if self.unless else None


class Locale(FrozenModel):
    """What `prompts/locales/<tag>.yaml` holds."""

    locale: Text
    """BCP-47 language, such as `en`."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]]
    """Wordings of the operator's system turn for each deployment profile; an empty one for no system turn."""
    phrases: Phrases
    patterns: dict[Slug, tuple[Pattern, ...]]
    """Regular expressions by proposition, matched without regard to case."""
    elements: dict[Slug, Element] = Field(default_factory=dict[Slug, Element])
    """What shows a required element of a policy, by its name; one that is not named here is not checked."""

    def system_turn(self, set_id: str, profile: Profile) -> str:
        """The operator's system turn of a set: one wording for all its intents, '' for none."""
        wordings = self.profiles[profile]
        return wordings[int(hash_fraction("system", set_id, profile) * len(wordings))].strip()

    @cached_property
    def compiled(self) -> Mapping[str, re.Pattern[str]]:
        """One compiled alternation per proposition, for text that `fold_case` gives.

        Lower case on both sides costs a third of IGNORECASE, which gives up the engine's quick
        look at the first letter of each branch.
        """
        return {name: _compile_alternation(patterns) for name, patterns in self.patterns.items()}

    def __hash__(self) -> int:
        """Equal packs are of one language and version; what was found in a text is cached by both."""
        return hash((self.locale, self.version))


class Overlay(FrozenModel):
    """A pack that says what it has otherwise than another one, such as an operator's own system turns."""

    inherits: Text
    """The pack that it builds on, by name or path; one that inherits none."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict[Profile, tuple[str, ...]]
    )
    """Wordings of the operator's system turn, in place of those of the same profile."""
    patterns: dict[Slug, tuple[Pattern, ...]] = Field(
        default_factory=dict[Slug, tuple[Pattern, ...]]
    )
    """Regular expressions, in place of those of the same proposition."""
    elements: dict[Slug, Element] = Field(default_factory=dict[Slug, Element])
    """What shows a required element, in place of what shows the same one."""

    def apply_to(self, base: Locale) -> Locale:
        """The pack below with what this one says."""
        return base.model_copy(
            update={
                "version": f"{base.version}+{self.version}",
                "profiles": {**base.profiles, **self.profiles},
                "patterns": {**base.patterns, **self.patterns},
                "elements": {**base.elements, **self.elements},
            }
        )


def fold_case(text: str) -> str:
    """The text in lower case, character for character, so that places in it stay the same."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _compile_alternation(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(_fold_pattern(p) for p in patterns))


def _fold_pattern(pattern: str) -> str:
    """A pattern for lower-case text; one that names characters by number keeps IGNORECASE."""
    if _NUMBERED.search(pattern):
        return f"(?i:{pattern})"
    return f"(?:{_PIECE.sub(lambda m: m[0] if m[0][0] == BACKSLASH else m[0].lower(), pattern)})"


def load_locale(tag: str) -> Locale:
    """Read a language pack by tag or path; `en-GB` falls back to `en`.

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
    """The file of the pack that another one inherits.

    Raises:
        ConfigError: there is none, or it inherits one itself; with the place.
    """
    message = f"inherits: `{overlay.inherits}` inherits another pack; name that one"
    try:
        below = resources.find_file("locales", overlay.inherits)
    except AssetNotFound as e:
        message = f"inherits: {e}"
    else:
        if not _is_overlay(below):
            return below
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
