"""Review of the quarantine: list, read, accept and reject the drafts that split the judges."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from safegen.core.errors import ConfigError, UserError
from safegen.core.types import Record, UnixClock
from safegen.pipeline.session import open_folder
from safegen.store import quarantine
from safegen.store.quarantine import Quarantine
from safegen.store.run_folder import RunFolder

if TYPE_CHECKING:
    from safegen.pipeline.api import Run


class HarmVote(NamedTuple):
    """The severity that a juror saw, with the words that it quoted."""

    judge: str
    severity: str | None
    clause: str | None
    evidence: str


def open_quarantine(run: Run, *, clock: UnixClock = time.time) -> Quarantine:
    """Open the quarantine of a run with the key from the environment; expired drafts are deleted.

    Raises:
        UserError: the recipe has no quarantine, or the variable of the key is not set.
        ConfigError: `cryptography` is not installed, or the key is none.
    """
    settings = run.recipe.judges.quarantine
    if settings is None:
        raise UserError(
            f"the run in `{run.output}` has no quarantine; a recipe names its key as"
            " `judges.quarantine: {key_env: NAME}`"
        )
    quarantine.delete_expired(run.folder, now=clock())
    key = os.environ.get(settings.key_env)
    if not key:
        raise ConfigError(
            f"`{settings.key_env}` is not set, and it holds the key of the quarantine in"
            f" `{run.output}`; set it to the key of the run"
        )
    return Quarantine(run.folder, key, days=settings.days)


def accept_drafts(run: Run, ids: Iterable[str], *, clock: UnixClock = time.time) -> list[str]:
    """Accept drafts: their text returns to the records, and the next build may use it.

    Args:
        run: the run.
        ids: draft ids, or their first characters.
        clock: returns seconds since 1970.

    Returns:
        The full ids.

    Raises:
        AssetNotFound: no such draft; nothing is changed.
    """
    chosen = _read(run, ids, clock)
    with open_folder(run.folder):
        for record in chosen.values():
            # First the decision: after a kill the same command completes the rest.
            quarantine.accept(run.folder, record)
        _rewrite_records(run.folder, frozenset(chosen))
        for draft_id in chosen:
            quarantine.delete(run.folder, draft_id)
    return list(chosen)


def reject_drafts(run: Run, ids: Iterable[str], *, clock: UnixClock = time.time) -> list[str]:
    """Reject drafts: their text is deleted from the quarantine.

    Args:
        run: the run.
        ids: draft ids, or their first characters.
        clock: returns seconds since 1970.

    Returns:
        The full ids.

    Raises:
        AssetNotFound: no such draft; nothing is changed.
    """
    chosen = _read(run, ids, clock)
    with open_folder(run.folder):
        for draft_id in chosen:
            quarantine.delete(run.folder, draft_id)
    return list(chosen)


def _read(run: Run, ids: Iterable[str], clock: UnixClock) -> dict[str, Record]:
    opened = open_quarantine(run, clock=clock)
    records = [opened.read(start) for start in ids]
    return {record.draft.draft_id: record for record in records}


def _rewrite_records(folder: RunFolder, draft_ids: frozenset[str]) -> None:
    for shard in folder.finished_shards():
        records = folder.read_records(shard)
        if any(r.draft.draft_id in draft_ids for r in records):
            restored = quarantine.restore_accepted(folder, records)
            folder.write_shard(folder.records(shard), restored, folder.shard_failures(shard))


def list_votes(record: Record) -> list[HarmVote]:
    """List the severities that the jurors saw in a draft."""
    return [
        HarmVote(f.judge, f.value, f.clause, f.evidence)
        for f in record.findings
        if f.field == "severity"
    ]


# Any: values are columns of the Arrow schema.
def to_json(record: Record, *, reveal: bool) -> Mapping[str, Any]:
    """Convert a draft of the quarantine to JSON; texts only with `reveal`."""
    payload: dict[str, Any] = {
        "draft_id": record.draft.draft_id,
        "scenario_id": record.scenario.scenario_id,
        "harm": record.scenario.harm,
        "intent": record.scenario.intent,
        "mode": record.expectation.mode,
        "teacher": record.draft.teacher,
        "model": record.draft.model,
        "votes": [
            {"judge": v.judge, "severity": v.severity, "clause": v.clause}
            | ({"evidence": v.evidence} if reveal else {})
            for v in list_votes(record)
        ],
    }
    if reveal:
        payload["messages"] = list(record.scenario.messages)
        payload["response"] = record.draft.response
        payload["reasoning_content"] = record.draft.reasoning_content
    return payload
