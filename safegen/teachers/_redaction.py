"""Removes a secret from what a server sends, in the forms in which servers echo it."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

MASK = "***"
MIN_SECRET_LENGTH = 16
"""Shorter keys are placeholders such as `EMPTY` or `ollama`, and words that answers may hold."""
CUT_SECRET_CHARS = 12
"""Least characters of a secret that is cut off; shorter starts are common words such as `Bearer`."""


def redact_secret(text: str, secret: str) -> str:
    """Replace a secret by `***`: verbatim, in a URL, in HTML or JSON, or cut off.

    Example:
        >>> redact_secret("no such page: /v1?key=a%2Fb", "a/b")
        'no such page: /v1?key=***'
    """
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)}
    forms.add(_quote_json(secret))
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    for form in forms:
        head = form[:CUT_SECRET_CHARS]
        while len(head) == CUT_SECRET_CHARS and (start := text.find(head)) >= 0:
            text = f"{text[:start]}{MASK}{text[start + _common_length(text[start:], form) :]}"
    return text


def redact_body(body: str, secret: str) -> str:
    """Replace a secret in the decoded body of a response, verbatim or escaped as JSON.

    A body may hold an answer of a model, so other forms and short secrets stay.
    """
    if len(secret) < MIN_SECRET_LENGTH:
        return body
    quoted = _quote_json(secret)
    for form in {secret, quoted, quoted.replace("/", "\\/")}:
        body = body.replace(form, MASK)
    return body


def _quote_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _common_length(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
