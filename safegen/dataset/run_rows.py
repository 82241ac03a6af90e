"""The rows that a run's records give, to compare a dataset with its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from typing import NamedTuple

from safegen.config.recipe import Recipe
from safegen.dataset.curate import CurationResult
from safegen.dataset.curation.exact_duplicates import digest_64
from safegen.dataset.curation.split import split_of
from safegen.dataset.view import View
from safegen.store.schema import ArrowRow


class MissingRows(NamedTuple):
    """The number of rows of a view and split that a dataset lacks."""

    view: str
    split: str
    missing: int


class RunRows:
    """Rows by view and split; keeps only 64-bit digests.

    Args:
        curated: the curated state of the run.
        recipe: gives the share of the test split.
        views: the views by name.
        skipped: True if the recipe has other views, whose rows are not compared.
    """

    def __init__(
        self,
        curated: CurationResult,
        recipe: Recipe,
        views: Mapping[str, View],
        *,
        skipped: bool = False,
    ) -> None:
        self._views: Container[str] = frozenset(views)
        self._skipped = skipped
        self._left = Counter[tuple[str, str, int]]()
        for group in curated.iter_groups():
            if group.selected is None:
                continue
            split = split_of(group.selected.scenario.goal_id, test=recipe.split.test)
            for name, view in views.items():
                self._left.update((name, split, digest_64(row)) for row in view.rows(group))

    def take(self, row: ArrowRow, *, view: str, split: str) -> bool:
        """Return True if the run gives a row; each row is given as often as the run has it."""
        if self._skipped and view not in self._views:
            return True
        key = (view, split, digest_64(row))
        found = self._left[key] > 0
        self._left[key] -= found
        return found

    def count_left(self) -> Iterator[MissingRows]:
        """Count the rows that were not taken, by view and split."""
        left = Counter[tuple[str, str]]()
        for (view, split, _), number in self._left.items():
            left[view, split] += number
        for (view, split), number in sorted(left.items()):
            if number:
                yield MissingRows(view, split, number)
