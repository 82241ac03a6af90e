"""The run folder: where each thing lies, the frozen recipe, failures and accounting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safegen.errors import StoreDamaged
from safegen.store import parquet
from safegen.store.columns import record_of, record_row, record_schema
from safegen.types import Failure, Record


@dataclass(frozen=True)
class RunFolder:
    """`<output>/run`: never versioned."""

    output: Path

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self.output / "run"

    @property
    def recipe(self) -> Path:
        """The recipe as resolved."""
        return self.root / "recipe.json"

    @property
    def plans(self) -> Path:
        """The scenarios of each round, `0.parquet` and so on; one row group per shard."""
        return self.root / "plan"

    def plan(self, round_: int) -> Path:
        """The scenarios of one round."""
        return self.plans / f"{round_}.parquet"

    @property
    def journal(self) -> Path:
        """Replies."""
        return self.root / "journal.sqlite"

    @property
    def accounting(self) -> Path:
        """Requests, tokens and times over all sessions of the run."""
        return self.root / "accounting.json"

    def records(self, shard: int) -> Path:
        """Every draft of a shard with its verdicts."""
        return self.root / "records" / f"{shard:05d}.parquet"

    def drafts(self, shard: int) -> Path:
        """The drafts of a shard before any verdict (`--until draft`)."""
        return self.root / "drafts" / f"{shard:05d}.parquet"

    def failures(self, shard: int) -> Path:
        """The items of a shard that could not be had."""
        return self.root / "failures" / f"{shard:05d}.jsonl"

    def finished(self) -> list[int]:
        """Shards whose records are on disk, in order."""
        return sorted(int(p.stem) for p in (self.root / "records").glob("[0-9]*.parquet"))

    def write_shard(
        self, path: Path, records: Sequence[Record], failures: Sequence[Failure]
    ) -> None:
        """Write a shard: failures first, since the rename of the records makes it done."""
        listing = self.failures(int(path.stem))
        if failures:
            lines = [json.dumps(asdict(f), ensure_ascii=False, sort_keys=True) for f in failures]
            parquet.write_text(listing, "\n".join(lines) + "\n")
        else:
            listing.unlink(missing_ok=True)
        parquet.write(path, [record_row(r) for r in records], record_schema())

    def read_records(self, shard: int) -> list[Record]:
        """The records of a finished shard, in canonical order.

        Raises:
            StoreDamaged: the file is not a shard of records.
        """
        path = self.records(shard)
        rows = parquet.read(path)
        try:
            return [record_of(row) for row in rows]
        except (KeyError, TypeError) as e:
            raise StoreDamaged(
                f"`{path}` has other columns than this safegen writes; delete it and run the same command again"
            ) from e

    def read_failures(self) -> Iterator[tuple[int, Failure]]:
        """Every listed failure with its shard."""
        for path in sorted((self.root / "failures").glob("[0-9]*.jsonl")):
            try:
                for line in path.read_text(encoding="utf-8").splitlines():
                    yield int(path.stem), Failure(**json.loads(line))
            except (OSError, ValueError, TypeError) as e:
                raise StoreDamaged(f"`{path}` cannot be read ({e}); delete it") from e

    def drop_shard(self, shard: int) -> None:
        """Let a shard be done again; its paid replies stay in the journal."""
        self.records(shard).unlink(missing_ok=True)
        self.failures(shard).unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the run.

    Raises:
        StoreDamaged: unreadable, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise StoreDamaged(f"`{path}` cannot be read ({e})") from e
    if not isinstance(value, dict):
        raise StoreDamaged(f"`{path}` is not a JSON object")
    return cast(dict[str, Any], value)


def write_json(path: Path, value: object) -> None:
    """Write JSON for people and machines: sorted, indented, a final newline."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    parquet.write_text(path, text + "\n")
