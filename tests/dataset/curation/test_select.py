from __future__ import annotations

from safegen.core.types import Record
from safegen.dataset.curation.select import select_best
from safegen.testing import make_draft, make_record, make_verdict


def scored(candidate: int, *scores: float | None, accepted: bool = True) -> Record:
    verdicts = tuple(make_verdict(f"v{i}", score=s) for i, s in enumerate(scores))
    return make_record(draft=make_draft(candidate=candidate), verdicts=verdicts, accepted=accepted)


def test_highest_sum_of_scores_wins() -> None:
    records = [scored(0, 0.5, None), scored(1, 0.4, 0.3), scored(2, 0.1)]
    assert select_best(records) is records[1]


def test_ties_select_the_first_draft_id() -> None:
    records = [scored(2, 0.5), scored(0, 0.5), scored(1, 0.5)]
    assert select_best(records) is records[1]


def test_unusable_drafts_are_never_selected() -> None:
    records = [
        scored(0, 1.0, accepted=False),
        make_record(draft=make_draft(candidate=1, outcome="truncated")),
        make_record(draft=make_draft(candidate=2, response=None)),
        make_record(draft=make_draft(candidate=3, withheld=True)),
    ]
    assert select_best(records) is None
