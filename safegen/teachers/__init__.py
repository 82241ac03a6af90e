"""Teachers: models that write drafts, judge them, or stand in for one in tests."""

from safegen.teachers._client import Meter, MeteredTeacher
from safegen.teachers._health import probe
from safegen.teachers._rate_limit import RateLimiters
from safegen.teachers._settings import KEY_NAME, check_key_name

__all__ = ["KEY_NAME", "Meter", "MeteredTeacher", "RateLimiters", "check_key_name", "probe"]
