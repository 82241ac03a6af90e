"""Removes a secret from the words of a server, in the forms in which servers echo it."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

CUT_SECRET_CHARS = 12
"""Least characters of a secret that is cut off; shorter starts are common words such as `Bearer`."""


def redact_secret(text: str, secret: str) -> str:
    """Replace a secret by `***`: verbatim, in a URL, in HTML or JSON, or cut off.

    Example:
        >>> redact_secret("no such page: /v1?key=a%2Fb", "a/b")
        'no such page: /v1?key=***'
    """
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)}
    forms.add(json.dumps(secret)[1:-1])
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    for form in forms:
        head = form[:CUT_SECRET_CHARS]
        while len(head) == CUT_SECRET_CHARS and (start := text.find(head)) >= 0:
            text = f"{text[:start]}***{text[start + _common_length(text[start:], form) :]}"
    return text


def _common_length(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
