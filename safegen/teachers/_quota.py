"""Read rate-limit headers: Retry-After, the vendors' quota headers and the IETF draft."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import NamedTuple

MAX_PAUSE_S = 600.0
"""Longest pause. A longer wait stops the run, whose user can do better than to wait."""
EPOCH_FROM = 1e9
"""Larger numbers are points in time, because no quota resets after 30 years."""
MILLISECONDS_FROM = 1e11
"""Larger numbers are milliseconds; in seconds they are after the year 5000."""
PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-", "ratelimit-")
UNIT_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|d|h|m|s)")
UNIT_NAME = re.compile(
    r"\s*\b(?:(millisecond|ms)|(second|sec)|(minute|min)|(hour|hr)|(day))s?\b[\s,]*", re.IGNORECASE
)
UNITS = ("ms", "s", "m", "h", "d")
ISO_DURATION = re.compile(
    r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.IGNORECASE
)
CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)")

# `2026-12-01 00:00:00 +0800`, `2026-12-01 00:00:00 UTC`
ZONE = re.compile(r"(?<=\d)\s(?:([+-]\d\d:?\d\d)(?:\s[A-Z]{2,5})?|UTC|GMT|Z)\Z")


class Quota(NamedTuple):
    """Requests that an endpoint still accepts."""

    remaining: int
    """Requests until the reset; 0 also if no tokens are left."""
    reset_s: float
    """Seconds until the reset, from 0 to 600."""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `retry-after-ms`, `retry-after` or the reset of an empty quota: seconds from 0, or None."""
    in_ms = headers.get("retry-after-ms", "") or headers.get("x-ms-retry-after-ms", "")
    milliseconds = _read_number(in_ms)
    if milliseconds is not None and milliseconds < MILLISECONDS_FROM:
        return max(milliseconds / 1000, 0.0)
    seconds = read_reset(headers.get("retry-after", "") or headers.get("x-retry-after", ""))
    if seconds is not None:
        return seconds
    quota = read_quota(headers)
    return quota.reset_s if quota is not None and quota.remaining == 0 else None


def read_quota(headers: Mapping[str, str]) -> Quota | None:
    """Read the tightest quota of requests from the headers of a response.

    A quota of tokens counts only when it is empty, because the tokens of the next request are
    unknown.
    """
    headers = {name.lower(): value for name, value in headers.items() if "limit" in name.lower()}
    if not headers:
        return None
    quotas = [*_vendor_quotas(headers), *_structured_quotas(headers.get("ratelimit", ""))]
    return min(quotas, key=lambda q: (q.remaining, -q.reset_s), default=None)


def read_reset(value: str) -> float | None:
    """Read a reset: seconds, a duration, an ISO time, an HTTP date or a time since 1970.

    A duration is `6m0s`, `20ms`, `5 seconds`, `PT5S` or `00:05`.

    Returns:
        Seconds from now, at least 0; None if the value has none of these forms.
    """
    text = value.strip()
    number = _read_number(text)
    if number is not None:
        return max(_to_seconds(number) - time.time() if number >= EPOCH_FROM else number, 0.0)
    duration = _read_duration(text)
    if duration is not None:
        return duration
    moment = read_moment(text)
    return None if moment is None else max(moment - time.time(), 0.0)


def _to_seconds(moment: float) -> float:
    # Points in time also in milli-, micro- and nanoseconds.
    while moment >= MILLISECONDS_FROM:
        moment /= 1000
    return moment


def _read_duration(text: str) -> float | None:
    short = UNIT_NAME.sub(lambda m: UNITS[(m.lastindex or 1) - 1], text)
    if text and DURATION.sub("", short) == "":
        return sum(float(n) * UNIT_S[unit] for n, unit in DURATION.findall(short))
    parts = ISO_DURATION.fullmatch(text)
    clock = CLOCK.fullmatch(text)
    if parts is not None and any(parts.groups()):
        numbers = parts.groups(default="0")
    elif clock is not None:
        numbers = ("0", *clock.groups(default="0"))
    else:
        return None
    return sum(float(n) * UNIT_S[unit] for n, unit in zip(numbers, "dhms", strict=True))


def _vendor_quotas(headers: Mapping[str, str]) -> Iterator[Quota]:
    for name, value in headers.items():
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        if prefix is None or "remaining" not in name:
            continue
        remaining = _read_number(value)
        if remaining is None or ("token" in name and remaining > 0):
            continue
        reset = _read_first_reset(headers, name, prefix)
        if reset is not None and not _is_unlimited(headers, name, remaining):
            yield Quota(max(int(remaining), 0), _bound(reset))


def _is_unlimited(headers: Mapping[str, str], name: str, remaining: float) -> bool:
    """Check if a quota bounds nothing: servers without a limit send -1."""
    limit = _read_number(headers.get(name.replace("remaining", "limit"), ""))
    return limit <= 0 if limit is not None else remaining < 0


def _read_first_reset(headers: Mapping[str, str], name: str, prefix: str) -> float | None:
    # Mistral's and GitHub's headers have one reset for several quotas.
    for other in (name.replace("remaining", "reset"), f"{prefix}reset"):
        if other in headers:
            return read_reset(headers[other])
    return None


# draft-ietf-httpapi-ratelimit-headers: `"name";r=50;t=30, …`, and `limit=100, remaining=50, reset=5`
# of its earlier versions.
def _structured_quotas(value: str) -> Iterator[Quota]:
    items = [value] if "remaining" in value else value.split(",")
    for item in items:
        pairs = re.findall(r"\b(remaining|reset|r|t)\s*=\s*(\d+)", item)
        values = {name[0] if name != "reset" else "t": int(number) for name, number in pairs}
        if "r" in values and "t" in values:
            yield Quota(values["r"], _bound(float(values["t"])))


def _read_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_moment(text: str, *, zone: tzinfo = UTC) -> float | None:
    """Read an ISO time or an HTTP date as seconds since 1970; in `zone` if it names none."""
    try:
        moment = datetime.fromisoformat(ZONE.sub(lambda m: m[1] or "Z", text))
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _bound(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_PAUSE_S)
