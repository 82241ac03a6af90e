"""Counts over the rows of a file that show a wrong mapping or personal data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from safegen.core.personal_data import PersonalDataKind
from safegen.scenarios.user_prompts.redaction import find_row_data
from safegen.scenarios.user_prompts.rows import PromptRow

SPLIT_NAMES = frozenset(
    "train training test testing tests val valid validation dev development eval evaluation holdout"
    " train_sft test_sft train_prefs test_prefs".split()
)
# A name for each row of a large file would fill memory.
MAX_DISTINCT = 10_000
"""Distinct names that are counted; a file with more has no name that holds most rows."""
# A goal stays in one split, so a larger one would leave the other split nearly empty.
LARGE_SHARE = 0.5
MIN_ROWS = 8
"""Rows from which a large share is a sign; in a smaller file one set can be all."""
MIN_PROMPT_WORDS = 6
MIN_PROMPT_CHARS = 40
"""Average length from which names look like prompts."""


class NameCounts:
    """The names in one column: set or goal."""

    def __init__(self, field: Literal["set", "goal"]) -> None:
        self.field = field
        self.counts: Counter[str] = Counter()
        self.named = self.chars = self.words = self.questions = 0

    def add(self, name: str | None) -> None:
        """Count the name of a row."""
        if name is None:
            return
        self.named += 1
        self.chars, self.words = self.chars + len(name), self.words + len(name.split())
        self.questions += name.rstrip().endswith(("?", "？", "؟"))
        if name in self.counts or len(self.counts) < MAX_DISTINCT:
            self.counts[name] += 1

    def iter_signs(self, rows: int) -> Iterator[str]:
        """Yield the signs that the column has another meaning."""
        if not self.named:
            return
        [(name, most)] = self.counts.most_common(1)
        shown = ", ".join(f"`{n[:40]}` {c:,}" for n, c in self.counts.most_common(3))
        if all(n.strip().lower() in SPLIT_NAMES for n in self.counts):
            yield f"looks like a split (rows: {shown})"
        elif most > LARGE_SHARE * rows and rows >= MIN_ROWS:
            yield f"is `{name[:40]}` for {most:,} of {rows:,} rows, which stay in one split"
        if self._looks_like_prompts():
            yield f"looks like a prompt (`{name[:40]}`)"

    def _looks_like_prompts(self) -> bool:
        long = self.words >= MIN_PROMPT_WORDS * self.named or self.chars >= (
            MIN_PROMPT_CHARS * self.named
        )
        return long or 2 * self.questions > self.named


class FileProfile:
    """The counts of a file, filled row by row."""

    def __init__(self) -> None:
        self.rows = self.personal_rows = 0
        """Readable rows; those with likely personal data, keys or tokens."""
        self.personal_kinds: Counter[PersonalDataKind] = Counter()
        """Rows by kind of personal data; a row can count for several kinds."""
        self.names = (NameCounts("set"), NameCounts("goal"))

    def add(self, row: PromptRow, *, shown: PromptRow | None) -> None:
        """Count a row as the file has it, and its names as they are shown; None if it is dropped."""
        self.rows += 1
        kinds = find_row_data(row)
        self.personal_rows += bool(kinds)
        self.personal_kinds.update(kinds)
        if shown is not None:
            for counts, name in zip(self.names, (shown.set, shown.goal), strict=True):
                counts.add(name)

    def list_warnings(self, columns: Mapping[str, str]) -> tuple[str, ...]:
        """List columns that look like something else than the field that they feed."""
        return tuple(
            f"column `{columns[counts.field]}`, read as `{counts.field}`, {sign}; to leave it unread,"
            f" add `--column {counts.field}=`"
            for counts in self.names
            if counts.field in columns
            for sign in counts.iter_signs(self.rows)
        )
