"""Language packs: the operator turns, the offline teacher's phrasing and the validators' patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field

from safegen import assets, yamlfile
from safegen.errors import ConfigError
from safegen.hashing import fraction
from safegen.taxonomy import Frozen, Slug, Text
from safegen.types import PROFILES, Profile


def _pattern(value: str) -> str:
    try:
        re.compile(value, re.IGNORECASE)
    except re.error as e:
        raise ValueError(f"is not a regular expression: {e}") from e
    return value


Pattern = Annotated[str, AfterValidator(_pattern), Field(min_length=1, max_length=2_000)]


class Phrases(Frozen):
    """The offline teacher's words around a goal's knowledge. `{decline}` and `{left_out}` are filled in."""

    limits: tuple[Text, ...] = Field(min_length=1)
    """Says what a safe completion leaves out; holds `{left_out}`."""
    declines: tuple[Text, ...] = Field(min_length=1)
    """Declines plainly; holds `{decline}`."""
    refusals: tuple[Text, ...] = Field(min_length=1)
    """A needless or bare refusal, for the weak styles; holds `{decline}`."""
    sermons: tuple[Text, ...] = Field(min_length=1)
    """Preaching, for the weak styles; holds `{decline}`."""
    supports: tuple[Text, ...] = Field(min_length=1)
    """Speaks to a person at risk first."""


class Locale(Frozen):
    """What `prompts/locales/<tag>.yaml` holds."""

    locale: Text
    """BCP-47 language, such as `en`."""
    version: Text
    profiles: dict[Profile, Annotated[tuple[str, ...], Field(min_length=1)]]
    """Wordings of the operator's system turn for each deployment profile; an empty one for no system turn."""
    phrases: Phrases
    patterns: dict[Slug, tuple[Pattern, ...]]
    """Regular expressions by proposition, matched without regard to case."""

    def system_turn(self, set_id: str, profile: Profile) -> str:
        """The operator's system turn of a set: one wording for all its intents, '' for none."""
        wordings = self.profiles[profile]
        return wordings[int(fraction("system", set_id, profile) * len(wordings))].strip()

    @cached_property
    def compiled(self) -> Mapping[str, re.Pattern[str]]:
        """One compiled alternation per proposition."""
        return {
            name: re.compile("|".join(f"(?:{p})" for p in patterns), re.IGNORECASE)
            for name, patterns in self.patterns.items()
        }


def load(tag: str) -> Locale:
    """Read a language pack; `en-GB` falls back to `en`.

    Raises:
        AssetNotFound: no pack for the language.
        ConfigError: a mistake in the file.
    """
    known = assets.names("locales")
    name = tag if tag in known else tag.split("-")[0]
    path = assets.find("locales", name)
    locale = yamlfile.load(path, Locale)
    missing = [p for p in PROFILES if p not in locale.profiles]
    if missing:
        raise ConfigError(
            f"{path}: profiles: `{missing[0]}` is missing; add its system turns, or ['']"
        )
    return locale
