"""Scrubbing: delete the text of replies that were rated unsafe from the run's journal.

A note under `run/unsafe/` names the requests. It is written before the shard and deleted after the
scrub. After a kill in between, the next start repeats the scrub, and the shard has the same bytes as
without the kill.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from safegen.core.errors import RERUN_HINT
from safegen.store.journal import Journal
from safegen.store.json_files import StoredModel, read_model, write_json
from safegen.store.run_folder import RunFolder, list_numbers

RequestKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class UnsafeNote(StoredModel):
    """The content of a note."""

    keys: tuple[RequestKey, ...]
    measures: dict[RequestKey, str] = Field(default_factory=dict[str, str])
    """Measures that their tombstones keep, see `Journal.scrub`."""


def note_unsafe(
    folder: RunFolder,
    shard: int,
    keys: Sequence[str],
    *,
    measures: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Note the requests whose replies must be scrubbed when the shard is complete.

    Args:
        folder: the run.
        shard: number of the shard.
        keys: keys of the requests.
        measures: what the tombstones keep, by key; other keys are ignored.
    """
    if keys:
        # Sorted, because drafts end in any order and equal runs write equal files.
        payload: dict[str, object] = {"keys": sorted(keys)}
        kept = {key: measures[key] for key in sorted(keys) if key in measures}
        write_json(_note(folder, shard), payload | ({"measures": kept} if kept else {}))


def delete_note(folder: RunFolder, shard: int) -> None:
    """Delete the note of a shard after its replies were scrubbed."""
    _note(folder, shard).unlink(missing_ok=True)


async def finish_scrub(folder: RunFolder) -> None:
    """Scrub the replies that a killed session rated unsafe and did not scrub.

    If it scrubbed the journal and did not compact it, that is done now.

    Raises:
        StoreDamaged: a note or the journal cannot be read.
    """
    finished = set(folder.finished_shards())
    _delete_leftovers(folder, finished)
    shards = sorted(list_numbers(folder.root / "unsafe", ".json"))
    if not shards and not folder.journal.exists():
        return
    journal = Journal(folder.journal)
    try:
        for shard in shards:
            # An unfinished shard runs again, judges the same replies and scrubs them.
            if shard in finished:
                note = _read_note(folder, shard)
                await journal.scrub(note.keys, measures=note.measures)
            delete_note(folder, shard)
    finally:
        await journal.aclose()


def _read_note(folder: RunFolder, shard: int) -> UnsafeNote:
    path = _note(folder, shard)
    # Without its note, the shard must run again to find its unsafe replies.
    remedy = f"delete it and `{folder.records(shard)}`, and {RERUN_HINT}: cached replies are reused"
    return read_model(path, UnsafeNote, remedy=remedy)


def _delete_leftovers(folder: RunFolder, finished: Collection[int]) -> None:
    """Delete files of a killed session that a finished shard does not need."""
    for temporary in folder.root.rglob("*.tmp"):
        temporary.unlink(missing_ok=True)
    for shard in finished:
        folder.drafts(shard).unlink(missing_ok=True)
        folder.settled(shard).unlink(missing_ok=True)


def _note(folder: RunFolder, shard: int) -> Path:
    return folder.root / "unsafe" / f"{shard:05d}.json"
