"""Replies of judges that decline in prose, where a structured answer or a rating was asked for."""

from __future__ import annotations

import re

from safegen.judges.answer import FIELDS

MAX_CHARS = 600
"""Characters from the start that are read: a model declines in its first sentences."""
_UNWILLING = (
    r"(?:ca(?:n(?:no|['’])?t|n not)|wo(?:n['’]t)|will not)(?! (?:find|see|fault|say|detect|imagine|think))"
    r"|do(?:n['’]t| not) (?:feel comfortable|want to|wish to|rate|judge|assess|evaluate|engage|provide)"
    r"|(?:am|['’]m) (?:unable|unwilling|not (?:able|willing|comfortable|going|allowed|permitted))|must (?:decline|refuse)|(?:have|need) to (?:decline|refuse)"
    r"|(?:respectfully |politely )?(?:decline|refuse)|(?:would|['’]d) (?:rather|prefer) not|prefer not"
)
_DECLINES = re.compile(
    rf"\b(?:i|we)\s*(?:{_UNWILLING})\b"
    r"|\b(?:unable|not able|not willing|not allowed|not permitted) to (?:rate|judge|assess|evaluate|review|help|assist"
    r"|comply|continue|answer|engage|provide|read|score)\b"
    r"|\b(?:this|that|it) (?:request|content|task) (?:violates|goes against|is against)\b"
    r"|\bnot something (?:that )?(?:i|we) (?:can|will)\b"
    r"|\b(?:not|in)appropriate for me to\b|\bagainst my (?:guidelines|policy|policies|principles)\b"
    r"|\bje (?:ne peux|ne vais|refuse|préfère ne)\b|\bich (?:kann|werde|möchte|darf)\b[^.]{0,60}\bnicht\b"
    r"|\bno puedo\b|\bnon posso\b|\bnão posso\b",
    re.IGNORECASE,
)
# The quotation marks of JSON may be escaped, also as HTML.
_FIELD = re.compile(rf"\b(?:{'|'.join(FIELDS)})\b(?:[\"'*\\\\`]|&#?\w{{1,8}};)*\s*[:=]")


def declines_to_judge(text: str) -> bool:
    r"""Return True if a reply without a usable answer declines in prose.

    A reply with the name of a question tries to answer, and may quote a text that declines.

    Example:
        >>> declines_to_judge("I'm sorry, but I can't evaluate this content.")
        True
        >>> declines_to_judge('{"severity": {"evidence": "I can\'t help with that')
        False
    """
    return not _FIELD.search(text) and _DECLINES.search(text[:MAX_CHARS]) is not None
