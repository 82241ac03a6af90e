"""Rows of a user's file that repeat an earlier one, found before anybody is paid for an answer.

They are told and not left out: curation keeps the first of them that has an accepted answer, and
which that is, nobody knows before the answers are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.corpus_checks import user_text
from safegen.dataset.curation.exact_duplicates import digest_64, normalise
from safegen.pipeline._user_rows import PromptImport
from safegen.scenarios.user_prompts.plan_rows import row_set_id
from safegen.scenarios.user_prompts.rows import PromptRow


class RowRef(NamedTuple):
    """A row, as messages name it."""

    row: int
    id: str | None

    def __str__(self) -> str:
        return f"row {self.row}" + (f" (`{self.id}`)" if self.id else "")


class Repeat(NamedTuple):
    """A row that says what an earlier row says, or nearly."""

    row: RowRef
    of: RowRef
    similarity: float
    """Jaccard similarity over runs of words as curation measures it; 1 where all of them are shared."""

    def __str__(self) -> str:
        return f"{self.row} repeats {self.of} ({self.similarity:.0%})"


def find_repeats(desk: PromptImport, rows: Collection[int]) -> tuple[Repeat, ...]:
    """Find rows that repeat an earlier one, by the measure and threshold of curation, in their order.

    Rows of one set are compared for equal words alone, as in curation.

    Args:
        desk: reads the file.
        rows: numbers of the rows that are compared.
    """
    named: dict[int, RowRef] = {}
    matches: list[tuple[int, int, float]] = []

    def texts() -> Iterator[near_duplicates.CorpusText]:
        first: dict[int, int] = {}
        for row in desk.iter_rows():
            if row.number not in rows:
                continue
            named[row.number] = RowRef(row.number, row.id)
            set_ = row_set_id(row, desk.world)
            of = first.setdefault(_equality_key(row, set_), row.number)
            if of != row.number:
                matches.append((row.number, of, 1.0))
            else:
                yield near_duplicates.CorpusText(str(row.number), user_text(row.messages), set_)

    alike = near_duplicates.find_near_duplicates(texts())
    matches += [(int(copy.id), int(copy.original), copy.similarity) for copy in alike]
    return tuple(Repeat(named[row], named[of], share) for row, of, share in sorted(matches))


def _equality_key(row: PromptRow, set_: str) -> int:
    texts = [[m["role"], normalise(m["content"])] for m in row.messages]
    return digest_64([set_, row.profile, texts])


def format_warning(duplicates: Sequence[Repeat], *, most: int) -> str:
    """Say how many rows repeat others, name the first ones, and what to do about it."""
    count = "1 row repeats" if len(duplicates) == 1 else f"{len(duplicates):,} rows repeat"
    first = "; ".join(str(repeat) for repeat in duplicates[:most])
    more = f" and {len(duplicates) - most:,} more" if len(duplicates) > most else ""
    return (
        f"{count} an earlier one, wholly or nearly: {first}{more}. All are drafted, and of rows alike the"
        " dataset keeps the first with an accepted answer; take the others out of the file, or give rows"
        " that belong together one `set`, where only equal words are left out"
    )
