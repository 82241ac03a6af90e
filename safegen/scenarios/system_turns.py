"""System turns by deployment profile: the operator's turn before a user's prompt."""

from __future__ import annotations

from collections.abc import Sequence

from safegen.config.language_pack import Locale
from safegen.core.hashing import hash_fraction
from safegen.core.types import Message, Profile


def choose_system_turn(locale: Locale, set_id: str, profile: Profile) -> str:
    """Choose a wording of the profile's system turn; '' for none.

    All intents of a set share one wording, so that it does not reveal the intent.
    """
    wordings = locale.profiles[profile]
    return wordings[int(hash_fraction("system", set_id, profile) * len(wordings))].strip()


def add_system_turn(system: str, messages: Sequence[Message]) -> tuple[Message, ...]:
    """Prepend a system turn to a conversation, if there is one."""
    return (Message(role="system", content=system), *messages) if system else tuple(messages)


def build_messages(text: str, system: str) -> tuple[Message, ...]:
    """Build the messages that the student sees: the system turn, if any, and the prompt."""
    return add_system_turn(system, (Message(role="user", content=text),))
