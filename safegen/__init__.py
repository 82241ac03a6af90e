"""safegen: training data for safe-completions, from a harm taxonomy and written policy specs."""

from __future__ import annotations

__version__ = "0.1.0"
