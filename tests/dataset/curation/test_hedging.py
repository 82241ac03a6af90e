from __future__ import annotations

import pytest

from safegen.config import language_pack
from safegen.core.types import Mode
from safegen.dataset.curation.hedging import (
    MIN_ANSWERS,
    PATTERN_NAME,
    HedgeCounts,
    HedgingMeasure,
    count_hedges,
)
from safegen.testing import make_draft, make_expectation, make_record, make_scenario

HEDGES = language_pack.load_locale("en").compiled[PATTERN_NAME]
HEDGED = "Perhaps the lid may be open. It depends on the box; generally, consult a professional."
PLAIN = "The lid is open. It hangs on the hinge of the box."


@pytest.mark.parametrize(
    ("text", "hedges"),
    [
        (HEDGED, 5),
        (PLAIN, 0),
        ("MAYBE it opens.", 1),
        ("The shop opens in May, and you may enter.", 0),
        ("Depending on the weather the lid might not close.", 2),
        ("This is not legal advice.", 1),
        ("", 0),
    ],
    ids=["hedged", "plain", "capitals", "the month and permission", "two", "disclaimer", "empty"],
)
def test_hedges_are_counted(text: str, hedges: int) -> None:
    assert count_hedges(text, HEDGES).hedges == hedges


def test_hedge_density_is_per_100_words() -> None:
    assert HedgeCounts(3, 200, 5).per_100_words == 2.5
    assert HedgeCounts(0, 0, 0).per_100_words == 0.0


def hedging(
    free: int, bound: int, *, mode: Mode = "direct_answer", response: str | None = HEDGED
) -> HedgingMeasure:
    measure = HedgingMeasure({"a.free": "allowed", "a.bound": "sensitive"}, {"en": HEDGES})
    for harm, count, text in (("a.free", free, PLAIN), ("a.bound", bound, response)):
        for _ in range(count):
            measure.add(
                make_record(
                    scenario=make_scenario(harm=harm),
                    expectation=make_expectation(mode=mode),
                    draft=make_draft(response=text),
                )
            )
    return measure


def test_hedging_compares_answers_with_and_without_spec() -> None:
    payload = hedging(MIN_ANSWERS, MIN_ANSWERS).to_json()
    assert payload["without_spec"] == {"answers": 20, "words": 240, "per_100_words": 0.0}
    assert payload["with_spec"] == {"answers": 20, "words": 300, "per_100_words": 33.333}


@pytest.mark.parametrize(
    "measure",
    [
        hedging(MIN_ANSWERS - 1, MIN_ANSWERS),
        hedging(MIN_ANSWERS, MIN_ANSWERS - 1),
        hedging(MIN_ANSWERS, MIN_ANSWERS, mode="safe_completion"),
        hedging(MIN_ANSWERS, MIN_ANSWERS, response=None),
        HedgingMeasure({}, {}),
    ],
    ids=["few without", "few with", "another mode", "withheld", "nothing known"],
)
def test_too_few_answers_are_unmeasured(measure: HedgingMeasure) -> None:
    assert measure.to_json() == {"unmeasured": measure.unmeasured_reason}
    assert "at least 20 of each" in (measure.unmeasured_reason or "")
