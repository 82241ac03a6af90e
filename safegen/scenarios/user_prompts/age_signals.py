"""Ages that a user's prompt states outright, and the profiles that they contradict.

Written sets state an age as an attribute. In a user's prompt only a match of the language pack's
patterns counts.
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
    ("minor", "young_asker", "a person under age"),
)
"""Value of the axis `age`, name of its patterns, and name in messages."""
# Bounded and within a line, so that an unmatched quote does not hide the rest of a prompt.
QUOTED_TEXT = re.compile(r'"[^"\n]{0,400}"')


def age_conflicts(
    messages: Sequence[Message], profiles: Sequence[Profile], context: PlanningContext
) -> dict[Profile, str]:
    """Map the profiles that a stated age contradicts to the reason.

    Args:
        messages: the messages of a row. Only user turns count, without their quotes.
        profiles: the profiles to check.
        context: its axes exclude ages by profile; its language pack has the patterns.
    """
    ages = [age for age, _, _ in AGE_SIGNALS]
    if not any(context.profile_conflict({"age": age}, p) for age in ages for p in profiles):
        return {}
    text = "\n".join(m["content"] for m in messages if m["role"] == "user")
    signals = [
        (age, who) for age, name, who in AGE_SIGNALS if _shows_age(text, name, context.locale)
    ]
    if len(signals) != 1:  # both ages: the prompt mentions two people, and the asker is unknown
        return {}
    age, who = signals[0]
    return {
        profile: f"the prompt states that {who} asks, which `{profile}` excludes: {conflict}"
        for profile in profiles
        if (conflict := context.profile_conflict({"age": age}, profile)) is not None
    }


# One pass over a file checks each row up to three times.
@lru_cache(maxsize=256)
def _shows_age(text: str, name: str, locale: Locale) -> bool:
    pattern = locale.compiled.get(name)
    prose = fold_case(QUOTED_TEXT.sub(" ", text_forms.plain_text(text)))
    if pattern is None or name not in locale.index.possible_names(prose):
        return False
    return pattern.search(prose) is not None
