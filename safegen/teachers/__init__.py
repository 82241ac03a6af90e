"""Models that write drafts, judge them, or replace a model in tests."""

from safegen.teachers._custom import CustomTeacher
from safegen.teachers._meter import Meter
from safegen.teachers._rate_limit import RateLimiters
from safegen.teachers._settings import KEY_NAME

__all__ = ["KEY_NAME", "CustomTeacher", "Meter", "RateLimiters"]
