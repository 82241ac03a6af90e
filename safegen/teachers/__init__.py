"""Teachers: models that write drafts, judge them, or stand in for one in tests."""

from safegen.teachers._client import Counted, Meter
from safegen.teachers._health import probe
from safegen.teachers._rate_limit import Gates
from safegen.teachers._settings import KEY_NAME, check_key_name

__all__ = ["KEY_NAME", "Counted", "Gates", "Meter", "check_key_name", "probe"]
