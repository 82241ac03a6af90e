from __future__ import annotations

import pytest

from safegen.dataset.run_stats import LossResult, classify_loss


@pytest.mark.parametrize(
    ("reason", "result"),
    [
        ("gate_form", "dropped"),
        ("no_answer_before", "dropped"),
        ("filtered", "failed"),
        ("detail_ceiling", "rejected"),
        ("unscored", "rejected"),
        ("withheld", "withheld"),
        ("near_duplicate", "excluded"),
        ("duplicate_response", "excluded"),
        ("unfinished", "unfinished"),
    ],
)
def test_reason_has_the_word_of_its_loss(reason: str, result: LossResult) -> None:
    assert classify_loss(reason) == result
