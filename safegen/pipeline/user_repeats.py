"""Rows of a user's file that repeat an earlier one, found before any request for a draft.

They are reported and not excluded, because curation keeps the first of them with an accepted answer,
which is unknown before drafting.
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
    """The number and id of a row, for messages."""

    row: int
    id: str | None

    def __str__(self) -> str:
        return f"row {self.row}" + (f" (`{self.id}`)" if self.id else "")


class Repeat(NamedTuple):
    """A row that duplicates or nearly duplicates an earlier row."""

    row: RowRef
    of: RowRef
    similarity: float
    """Jaccard similarity of word shingles as in curation; 1 for equal texts."""

    def __str__(self) -> str:
        return f"{self.row} repeats {self.of} ({self.similarity:.0%})"


def find_repeats(prompts: PromptImport, rows: Collection[int]) -> tuple[Repeat, ...]:
    """Find rows that repeat an earlier one, by the measure and threshold of curation, in row order.

    Within a set only equal texts count, as in curation.

    Args:
        prompts: the file.
        rows: numbers of the rows to compare.
    """
    refs: dict[int, RowRef] = {}
    matches: list[tuple[int, int, float]] = []

    def texts() -> Iterator[near_duplicates.CorpusText]:
        first: dict[int, int] = {}
        for row in prompts.iter_rows():
            if row.number not in rows:
                continue
            refs[row.number] = RowRef(row.number, row.id)
            set_ = row_set_id(row, prompts.context)
            original = first.setdefault(_equality_key(row, set_), row.number)
            if original != row.number:
                matches.append((row.number, original, 1.0))
            else:
                yield near_duplicates.CorpusText(str(row.number), user_text(row.messages), set_)

    copies = near_duplicates.find_near_duplicates(texts())
    matches += [(int(copy.id), int(copy.original), copy.similarity) for copy in copies]
    return tuple(Repeat(refs[row], refs[of], similarity) for row, of, similarity in sorted(matches))


def _equality_key(row: PromptRow, set_: str) -> int:
    texts = [[m["role"], normalise(m["content"])] for m in row.messages]
    # One prompt under two profiles, or in two sets, is planned on purpose.
    return digest_64([set_, row.profile, texts])


def format_warning(duplicates: Sequence[Repeat], *, most: int) -> str:
    """Format a warning with the number of repeated rows, the first ones, and a fix."""
    count = "1 row repeats" if len(duplicates) == 1 else f"{len(duplicates):,} rows repeat"
    first = "; ".join(str(repeat) for repeat in duplicates[:most])
    more = f" and {len(duplicates) - most:,} more" if len(duplicates) > most else ""
    return (
        f"{count} an earlier one: {first}{more}; all are drafted, and the dataset keeps the first with an"
        " accepted answer; remove the others from the file, or give related rows one `set`, within which"
        " only equal texts are dropped"
    )
