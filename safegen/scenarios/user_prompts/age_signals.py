"""What the words of a user's prompt tell of the age of whoever asks, and the profiles that this rules out.

Written sets say it in their attributes; of a user's words only what the language pack's patterns
read as said outright counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from safegen.config.language_pack import Locale, fold_case
from safegen.core import text_forms
from safegen.core.types import Message, Profile
from safegen.scenarios.context import PlanningContext

Age = Literal["adult", "minor"]
AGE_SIGNALS: tuple[tuple[Age, str, str], ...] = (
    ("adult", "adult_asker", "an adult"),
    ("minor", "young_asker", "somebody under age"),
)
"""Value of the axis `age`, name of the patterns that tell it, and how it is said."""
QUOTED_TEXT = re.compile(r'"[^"\n]{0,400}"')


def age_conflicts(
    messages: Sequence[Message], profiles: Sequence[Profile], context: PlanningContext
) -> dict[Profile, str]:
    """The profiles that what a person says of their age rules out, with the reason.

    Args:
        messages: the messages of a row; its user turns are read, without what they quote.
        profiles: those that it may be asked under otherwise.
        context: its axes say which ages a profile excludes, its language pack how an age is told.
    """
    if not any(
        context.profile_conflict({"age": age}, p) for age, _, _ in AGE_SIGNALS for p in profiles
    ):
        return {}
    text = "\n".join(m["content"] for m in messages if m["role"] == "user")
    ages = [(age, who) for age, name, who in AGE_SIGNALS if _shows_age(text, name, context.locale)]
    if len(ages) != 1:  # both: the words speak of two people, and who asks is not told
        return {}
    age, who = ages[0]
    return {
        profile: f"by its words {who} asks, and not under `{profile}`: {conflict}"
        for profile in profiles
        if (conflict := context.profile_conflict({"age": age}, profile)) is not None
    }


@lru_cache(maxsize=256)
def _shows_age(text: str, name: str, locale: Locale) -> bool:
    pattern = locale.compiled.get(name)
    prose = fold_case(QUOTED_TEXT.sub(" ", text_forms.plain_text(text)))
    return pattern is not None and pattern.search(prose) is not None
