"""Faults of a composed draft: which phrases of the pack and which sentences of the goal it has.

A teacher that composes a language pack's phrases has them word for word, so a needless one is known
without a reading of the text. Nothing here reads drafts of models.
"""

from __future__ import annotations

from typing import Literal

from safegen.config.language_pack import Locale
from safegen.core.types import DraftContext

CompositionCode = Literal["needless_limit", "needless_contact", "too_general"]


def find_composition_fault(
    text: str, context: DraftContext, locale: Locale
) -> tuple[CompositionCode, str] | None:
    """Find a needless limit or contact, or facts without any sentence that was written for the prompt.

    Args:
        text: a draft that is acceptable in form.
        context: its prompt; without knowledge, no draft is too general.
        locale: the language pack of which it has phrases.

    Returns:
        The code with the words that show it, or None.
    """
    required, phrases = context.expectation.required, locale.phrases
    needless = [s for name, ss in phrases.elements.items() if name not in required for s in ss]
    if contact := _find_first(needless, text):
        return "needless_contact", contact
    if "limit" not in required and (limit := _find_first(phrases.general_limits, text)):
        return "needless_limit", limit
    written = _list_written(context)
    if written and not _find_first(written, text):
        return "too_general", text
    return None


def _list_written(context: DraftContext) -> tuple[str, ...]:
    scenario, know = context.scenario, context.knowledge
    if know.apt or scenario.intent != "benign" or scenario.turn:
        # An earlier answer of the conversation may have the goal's sentences already.
        return know.apt
    return know.answer


def _find_first(sentences: tuple[str, ...] | list[str], text: str) -> str:
    return next((sentence for sentence in sentences if sentence in text), "")
