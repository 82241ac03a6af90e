"""Reads the wait that the words of a server's message state, such as `resets in 1m30s`."""

from __future__ import annotations

import re
import time

from safegen.teachers import _quota as quota

# By the first character of a Chinese unit: an hour is 小时 or 时.
UNIT_S = quota.UNIT_S | {
    "w": 604_800.0,
    "秒": 1.0,
    "分": 60.0,
    "小": 3_600.0,
    "时": 3_600.0,
    "天": 86_400.0,
}
SPAN = (
    r"\d+(?:\.\d+)?\s*(?:ms|milliseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|[smhdw])"
    r"(?![a-z])"
)
SPANS = rf"{SPAN}(?:(?:\s|,|and)*{SPAN})*"
# A limit per span (`100 requests in 60 seconds`) states no wait, so a verb has to come first.
VERB = (
    r"(?:retry|retried|try|wait\w*|resets?|reset|resetting|refill\w*|renew\w*|refresh\w*|available|again"
    r"|restored?|back|resumes?|expires?)"
)
SPAN_AFTER_VERB = re.compile(
    rf"\b{VERB}\b[^\d.!?;]{{0,40}}?\b({SPANS}|\d+(?:\.\d+)?(?=\s*(?:$|[.,;)\"])))",
    re.IGNORECASE,
)
SPAN_BEFORE_VERB = re.compile(rf"\bin ({SPANS})[^.!?;]{{0,30}}\b{VERB}\b", re.IGNORECASE)
CHINESE_SPAN = re.compile(r"(\d+)\s*(秒|分|小时|时|天)钟?(?:之|以)?后")
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|[a-z])?", re.IGNORECASE)
MOMENT = re.compile(
    rf"\b{VERB}\b[^\d!?;]{{0,40}}?(\d{{4}}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?)",
    re.IGNORECASE,
)


def read_stated_wait(message: str) -> float | None:
    """Return the seconds that a message asks to wait; None if it names no span or future moment."""
    moment = MOMENT.search(message)
    if moment is not None:
        return _read_moment(moment[1])
    chinese = CHINESE_SPAN.search(message)
    if chinese is not None:
        return float(chinese[1]) * UNIT_S[chinese[2][0]]
    found = SPAN_AFTER_VERB.search(message) or SPAN_BEFORE_VERB.search(message)
    return None if found is None else _sum_spans(found[1])


def _sum_spans(text: str) -> float:
    total = 0.0
    for number, unit in PART.findall(text):
        name = unit.lower() or "s"
        total += float(number) * UNIT_S["ms" if name == "milli" else name]
    return total


def _read_moment(text: str) -> float | None:
    moment = quota.read_moment(text)
    return None if moment is None or moment <= time.time() else moment - time.time()
