"""Cases of exhaustive tests: a fixed sample by default, all of them under the marker `slow`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[tuple[object, ...]], *, every: int) -> list[Any]:
    """Parameter sets for `parametrize`: all but each `every`th are slow.

    Choose an `every` that shares no divisor with the sizes of a product, so that the sample has
    each value of each factor.
    """
    return [
        pytest.param(*case, marks=[pytest.mark.slow] if n % every else [])
        for n, case in enumerate(cases)
    ]


def every(step: int) -> pytest.MarkDecorator:
    """Pass `every=step` by default and `every=1` under `slow`, to a test that loops over `cases[::every]`."""
    return pytest.mark.parametrize(
        "every", [step, pytest.param(1, marks=pytest.mark.slow)], ids=["sample", "all"]
    )
