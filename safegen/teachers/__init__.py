"""Models that write drafts, judge them, or replace a model in tests.

A teacher is an async function from `Request` to `Reply`. The layers below are teachers around a
teacher, so they work alone and in any order; `compose` stacks all of them around a transport:

    from safegen.teachers import Meter, MeteredTeacher, RetryingTeacher

    metered = MeteredTeacher(ask, meter=Meter(requests=500))
    teacher = RetryingTeacher(metered, attempts=3)
"""

from safegen.core.control_tokens import cut_control_tokens
from safegen.store.journal import Journal
from safegen.teachers._cache import CachedTeacher
from safegen.teachers._circuit_breaker import CircuitBreaker
from safegen.teachers._compose import ModelSource, compose
from safegen.teachers._custom import CustomTeacher
from safegen.teachers._errors import RetryableError
from safegen.teachers._item_errors import ItemErrorTeacher
from safegen.teachers._meter import Meter, MeteredTeacher, Wait
from safegen.teachers._rate_limit import RateLimitedTeacher, RateLimiter, RateLimiters
from safegen.teachers._request_options import KEY_NAME, split_unset_variables
from safegen.teachers._retry import RetryingTeacher
from safegen.teachers._structured import parse_object
from safegen.teachers._structured_output import StructuredTeacher
from safegen.teachers._thinking import split_thinking

__all__ = [
    "KEY_NAME",
    "CachedTeacher",
    "CircuitBreaker",
    "CustomTeacher",
    "ItemErrorTeacher",
    "Journal",
    "Meter",
    "MeteredTeacher",
    "ModelSource",
    "RateLimitedTeacher",
    "RateLimiter",
    "RateLimiters",
    "RetryableError",
    "RetryingTeacher",
    "StructuredTeacher",
    "Wait",
    "compose",
    "cut_control_tokens",
    "parse_object",
    "split_thinking",
    "split_unset_variables",
]
