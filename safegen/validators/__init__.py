"""Checks of drafts; each module holds one factory of the same name."""

from safegen.validators import _elements as element_coverage
from safegen.validators._elements import ElementCoverage

__all__ = ["ElementCoverage", "element_coverage"]
