"""The order of the layers around a transport, as a request passes them.

    item errors → cache → structured output → circuit breaker → retry → rate limit → outage gate
    → format fallback → meter → transport

Each layer wraps a teacher and is a teacher, so it works alone and in any other order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from safegen.core.types import Request, Teacher
from safegen.store.journal import Journal
from safegen.teachers._cache import CachedTeacher
from safegen.teachers._circuit_breaker import CircuitBreaker
from safegen.teachers._item_errors import ItemErrorTeacher
from safegen.teachers._meter import Meter, MeteredTeacher
from safegen.teachers._outage_gate import FIRST_ALONE_S, GatedTeacher, OutageGate
from safegen.teachers._rate_limit import RateLimitedTeacher, RateLimiter
from safegen.teachers._retry import RetryingTeacher
from safegen.teachers._settings import StructuredSetting
from safegen.teachers._structured_output import (
    FormatFallbackTeacher,
    FormatMemory,
    StructuredTeacher,
)


class ModelSource(NamedTuple):
    """A transport and its description for the layers."""

    transport: Teacher
    """Makes one attempt at one request."""
    key: Callable[[Request], str]
    """Digest of everything that decides a reply."""
    model: str
    """Model name of replies that no model wrote."""


def compose(
    source: ModelSource,
    *,
    limiter: RateLimiter,
    attempts: int,
    structured: StructuredSetting = "auto",
    journal: Journal | None = None,
    meter: Meter | None = None,
    formats: FormatMemory | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Teacher:
    """Wrap a transport in all layers.

    Args:
        source: the transport and its description.
        limiter: bounds the requests in flight and the rate of their starts.
        attempts: calls per request, the first included; at least 1.
        structured: reply format of requests with a schema.
        journal: stores replies; None stores none.
        meter: counts and bounds requests and tokens; None bounds nothing.
        formats: what is known of the endpoint's reply formats; None knows nothing.
        sleep: waits some seconds between attempts.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: `attempts`, `structured` or the model of the source has a wrong value.
    """
    meter = meter or Meter()
    gate = OutageGate(first_alone_s=FIRST_ALONE_S)
    # Innermost, because every attempt is paid for, also one in another reply format.
    metered = MeteredTeacher(source.transport, meter=meter)
    formatted = FormatFallbackTeacher(metered, structured=structured, memory=formats)
    limited = RateLimitedTeacher(GatedTeacher(formatted, gate=gate), limiter=limiter)
    # Outside of the limiter: a request that waits for its retry occupies no place in the window.
    retrying = RetryingTeacher(limited, attempts=attempts, sleep=sleep, gate=gate)
    breaker = CircuitBreaker(
        retrying, model=source.model, control=formatted, limiter=limiter, gate=gate
    )
    asking = StructuredTeacher(breaker)
    # Outside of the breaker: a cached reply needs no endpoint.
    cached = CachedTeacher(
        asking, key=source.key, journal=journal, meter=meter, in_flight=limiter.hold
    )
    return ItemErrorTeacher(cached)
