"""The run folder: where each thing lies, the frozen recipe, failures and accounting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from safegen.core.errors import ConfigError, FormatMismatch, StoreDamaged
from safegen.core.types import Failure, Outcome, Record
from safegen.store import parquet
from safegen.store.schema import record_from_row, record_row, record_schema

FORMAT = 1
"""Format of the run folder. Raise it with every change that an earlier state of safegen cannot read."""
DATASET_PARTS = ("data", "policies", "README.md", ".gitattributes", "manifest.json")
"""What a dataset consists of, in the order in which it is swapped in."""


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
    def import_report(self) -> Path:
        """What became of a user's file of prompts: counts, columns, labellers."""
        return self.root / "prompts.json"

    @property
    def unlabelled_rows(self) -> Path:
        """Rows of a user's file that are not planned since nobody could tell what they are."""
        return self.root / "unlabelled.jsonl"

    @property
    def stop_state(self) -> Path:
        """Why no further round was planned, for a look from where the taxonomy's goals are not at hand."""
        return self.root / "target.json"

    @property
    def accounting(self) -> Path:
        """Requests, tokens and times over all sessions of the run."""
        return self.root / "accounting.json"

    def check_foreign_files(self) -> None:
        """Stop before anything is written among files that no run and no dataset of ours explains.

        Raises:
            ConfigError: the folder holds what a dataset would replace.
        """
        if self.root.is_dir() or "safegen" in _read_json_or_empty(self.output / "manifest.json"):
            return
        for name in DATASET_PARTS:
            path = self.output / name
            if path.exists() or path.is_symlink():
                raise ConfigError(
                    f"`{path}` is not safegen's and would be replaced; choose another `--output`,"
                    " or move it away"
                )

    def refuse_other_format(self) -> None:
        """Stop before a folder of another format is changed; one without a readable snapshot passes.

        Raises:
            FormatMismatch: the folder states another format, or none as older ones do.
        """
        _check_format(self.recipe, _read_json_or_empty(self.recipe))

    def read_snapshot(self) -> dict[str, dict[str, Any]]:
        """The recipe that began the run: `recipe` as resolved, `digests` of its keys, `fingerprints`.

        Raises:
            FormatMismatch: the folder states another format, or none as older ones do.
            StoreDamaged: missing or not what `generate` writes.
        """
        remedy = "restore it, or run again with `--replan`: replies are kept"
        payload = read_json(self.recipe, remedy=remedy)
        _check_format(self.recipe, payload)
        fingerprints = payload.get("fingerprints")
        if not all(isinstance(payload.get(name), dict) for name in ("recipe", "digests")) or not (
            _is_nested(fingerprints)
        ):
            raise StoreDamaged(f"`{self.recipe}` is not what safegen writes; {remedy}")
        return payload

    def write_snapshot(self, frozen: dict[str, Any]) -> None:
        """Write `recipe.json` with the format number, unless it says the same already."""
        write_json_if_changed(self.recipe, frozen | {"format": FORMAT})

    def records(self, shard: int) -> Path:
        """Every draft of a shard with its verdicts."""
        return self.root / "records" / f"{shard:05d}.parquet"

    def drafts(self, shard: int) -> Path:
        """The drafts of a shard before any verdict (`--until draft`)."""
        return self.root / "drafts" / f"{shard:05d}.parquet"

    def failures(self, shard: int) -> Path:
        """The items of a shard that could not be had."""
        return self.root / "failures" / f"{shard:05d}.jsonl"

    def record_unsafe(self, shard: int, keys: Sequence[str]) -> None:
        """Note the requests whose replies must leave the journal once the shard is written."""
        if keys:
            write_json(self._unsafe_file(shard), {"keys": sorted(keys)})

    def clear_unsafe(self, shard: int) -> None:
        """Drop the note; what it named is gone."""
        self._unsafe_file(shard).unlink(missing_ok=True)

    def read_unsafe(self) -> dict[int, list[str]]:
        """Notes that a kill left behind, by shard."""
        numbers = sorted(_list_numbers(self.root / "unsafe", ".json"))
        return {
            shard: list(read_json(self._unsafe_file(shard)).get("keys", [])) for shard in numbers
        }

    def _unsafe_file(self, shard: int) -> Path:
        return self.root / "unsafe" / f"{shard:05d}.json"

    def finished_shards(self) -> list[int]:
        """Shards whose records are on disk, in order."""
        return sorted(_list_numbers(self.root / "records", ".parquet"))

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
        parquet.write_rows(path, [record_row(r) for r in records], record_schema())

    def read_records(self, shard: int) -> list[Record]:
        """The records of a finished shard, in canonical order.

        Raises:
            StoreDamaged: the file is not a shard of records.
        """
        path = self.records(shard)
        rows = parquet.read_rows(path)
        try:
            return [record_from_row(row) for row in rows]
        except (KeyError, TypeError, ValueError) as e:
            raise StoreDamaged(
                f"`{path}` has other columns than this safegen writes; delete it and run the same command again"
            ) from e

    def read_failures(self) -> Iterator[tuple[int, Failure]]:
        """Every listed failure with its shard."""
        for shard in sorted(_list_numbers(self.root / "failures", ".jsonl")):
            for failure in self.shard_failures(shard):
                yield shard, failure

    def shard_failures(self, shard: int) -> list[Failure]:
        """The listed failures of one shard.

        Raises:
            StoreDamaged: a line is not a failure.
        """
        path = self.failures(shard)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
            failures = [Failure(**json.loads(line)) for line in lines if line]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, RecursionError) as e:
            raise StoreDamaged(
                f"`{path}` cannot be read ({e}); delete it and `{self.records(shard)}`, and run the"
                " same command again: replies are kept"
            ) from e
        if any(f.outcome not in get_args(Outcome) for f in failures):
            raise StoreDamaged(
                f"`{path}` names an outcome that is none; delete it and `{self.records(shard)}`, and"
                " run the same command again: replies are kept"
            )
        return failures

    def reset_shard(self, shard: int) -> None:
        """Let a shard be done again; its paid replies stay in the journal."""
        self.records(shard).unlink(missing_ok=True)
        self.drafts(shard).unlink(missing_ok=True)
        self.failures(shard).unlink(missing_ok=True)


def _check_format(path: Path, snapshot: Mapping[str, Any]) -> None:
    number = snapshot.get("format")
    # An older snapshot has a recipe and no number; any other file without one is damage.
    if number is None and not isinstance(snapshot.get("recipe"), dict):
        return
    if type(number) is int and number == FORMAT:
        return
    has = "no format number" if number is None else f"format `{str(number)[:40]}`"
    by = snapshot.get("safegen")
    version = f" (version `{by[:40]}`)" if isinstance(by, str) else ""
    raise FormatMismatch(
        f"`{path}` has {has}, and this safegen reads format {FORMAT}; use the safegen that wrote"
        f" it{version}, or choose another `--output`; nothing in the folder was changed"
    )


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(names, dict) for names in cast("dict[str, object]", value).values()
    )


def _read_json_or_empty(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except StoreDamaged:
        return {}


def _list_numbers(folder: Path, suffix: str) -> Iterator[int]:
    """Numbers of the files that safegen names; whatever else lies there is not looked at."""
    for path in folder.glob(f"*{suffix}"):
        stem = path.name.removesuffix(suffix)
        if stem.isascii() and stem.isdigit() and stem == f"{int(stem):05d}":
            yield int(stem)


def read_json(path: Path, *, remedy: str = "") -> dict[str, Any]:
    """A JSON object from a file of the run.

    Args:
        path: the file.
        remedy: what to do when it cannot be read, for the message.

    Raises:
        StoreDamaged: unreadable, or not an object.
    """
    then = f"; {remedy}" if remedy else ""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise StoreDamaged(f"`{path}` cannot be read ({e}){then}") from e
    if not isinstance(value, dict):
        raise StoreDamaged(f"`{path}` is not a JSON object{then}")
    return cast(dict[str, Any], value)


def write_json_if_changed(path: Path, value: dict[str, Any]) -> None:
    """Write JSON, unless the file says the same already."""
    if _read_json_or_empty(path) != value:
        write_json(path, value)


def write_json(path: Path, value: object) -> None:
    """Write JSON for people and machines: sorted, indented, a final newline."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    parquet.write_text(path, text + "\n")
