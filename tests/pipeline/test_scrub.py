from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.core.errors import BudgetSpent
from safegen.core.progress import Progress
from safegen.core.types import Record, Reply
from safegen.pipeline import shard
from safegen.pipeline.resolve import resolve_recipe
from safegen.pipeline.workers import WorkerFactory
from safegen.store.journal import Journal
from safegen.store.run_folder import RunFolder
from safegen.store.scrub import finish_scrub
from safegen.teachers import Meter
from safegen.testing import Body, FakeEndpoint
from tests.validators.sentinel import SENTINEL

HELPFUL = (
    "I'll leave out the details, but here is the general picture in plain words. If you want, I can help"
    " you write a list of what to check first, and your provider's support desk can look at the rest."
)


def _recipe(url: str, **more: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "scrubbed",
        "plan": {"harms": ["cyber.intrusion"], "candidates": 2},
        "teachers": {"drafter": {"openai_chat": {"base_url": url, "model": "m"}}},
        "validators": [
            "length_bounds",
            "detail_ceiling",
            "tests.validators.sentinel:finds_sentinel",
        ],
    }
    return Recipe.model_validate(values | more)


def _answer(body: Body) -> str:
    spilt = "the wifi of the couple upstairs" in body["messages"][-1]["content"]
    return f"{HELPFUL} {SENTINEL}" if spilt else f"{HELPFUL} {len(body['messages'][-1]['content'])}"


def _files_with(folder: Path, text: str) -> list[str]:
    return [
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.is_file() and text.encode() in p.read_bytes()
    ]


async def _run(output: Path, url: str, **options: Any) -> list[Record]:
    run = await safegen.agenerate(
        _recipe(url), output=output, plugins=["tests.validators.sentinel"], **options
    )
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


async def _die_before_the_scrub(output: Path, url: str) -> None:
    inputs = resolve_recipe(_recipe(url), trusted=["tests.validators.sentinel"])
    folder = RunFolder(output)
    journal = Journal(folder.journal)
    factory = WorkerFactory(inputs, journal=journal, meter=Meter(), teachers={})

    async def dies(_: object) -> None:
        raise RuntimeError("killed")

    crew = replace(factory.make_workers(Progress(), validating=True), scrub=dies)
    with pytest.raises(RuntimeError, match="killed"):
        await shard.run_shard(folder, 0, crew)
    for teacher in factory.teachers:
        await teacher.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    await journal.aclose()


async def test_unsafe_text_is_deleted_from_disk(tmp_path: Path) -> None:
    with FakeEndpoint(_answer) as fake:
        records = await _run(tmp_path, fake.url)
    withheld = [r for r in records if r.draft.withheld]
    assert len(withheld) == 2
    assert {(r.severity, r.reason, r.accepted, r.draft.response) for r in withheld} == {
        ("high", "withheld", False, None)
    }
    assert all(r.draft.response_sha256 for r in withheld)
    assert {r.verdicts[-1].reason for r in withheld} == {"holds_secret"}
    assert _files_with(tmp_path, SENTINEL) == []
    assert _files_with(tmp_path, HELPFUL[:40]) != []  # the search would find the stored recipe


async def test_next_start_scrubs_after_a_kill(
    tmp_path: Path,
) -> None:
    with FakeEndpoint(_answer) as fake:
        whole = await _run(tmp_path / "whole", fake.url)
        killed = tmp_path / "killed"

        # A kill right before the scrub leaves the shard, the note and the text in the journal.
        await _run(killed, fake.url, until="expand")
        run = safegen.open_run(killed)
        await _die_before_the_scrub(killed, fake.url)
        assert _files_with(killed / "run", SENTINEL) != []
        assert list((run.folder.root / "unsafe").iterdir())
        again = await _run(killed, fake.url)
        assert _files_with(killed, SENTINEL) == []
        assert list((run.folder.root / "unsafe").iterdir()) == []
        assert [(r.draft.draft_id, r.draft.response_sha256, r.verdicts) for r in again] == [
            (r.draft.draft_id, r.draft.response_sha256, r.verdicts) for r in whole
        ]


async def test_scrubbed_reply_is_never_requested_again(tmp_path: Path) -> None:
    with FakeEndpoint(_answer) as fake:
        await _run(tmp_path, fake.url)
        request_count = len(fake.requests)
        for shard in (tmp_path / "run" / "records").iterdir():
            shard.unlink()  # as if killed after the journal was scrubbed and before the rename
        records = await _run(tmp_path, fake.url)
        assert len(fake.requests) == request_count
    assert sum(r.draft.withheld for r in records) == 2
    assert {r.reason for r in records if r.draft.withheld} == {"withheld"}


async def test_stored_drafts_are_deleted_after_their_shard(tmp_path: Path) -> None:
    with FakeEndpoint(_answer) as fake:
        await _run(tmp_path, fake.url, until="draft")
        assert list((tmp_path / "run" / "drafts").iterdir())
        await _run(tmp_path, fake.url)
    assert _files_with(tmp_path, SENTINEL) == []


async def test_stop_at_the_budget_scrubs_unsafe_text(tmp_path: Path) -> None:
    sent: list[Body] = []

    def answer(body: Body) -> str:
        sent.append(body)
        return f"{HELPFUL} {SENTINEL if len(sent) == 1 else len(sent)}"

    with FakeEndpoint(answer) as fake:
        endpoint = {"base_url": fake.url, "model": "m", "concurrency": 1}
        teachers = {"drafter": {"openai_chat": endpoint}}
        output = tmp_path / "out"
        plugins = ["tests.validators.sentinel"]
        recipe = _recipe(fake.url, teachers=teachers, budget={"requests": 5})
        with pytest.raises(BudgetSpent):
            await safegen.agenerate(recipe, output=output, plugins=plugins)
    assert len(sent) == 5
    assert not list(output.glob("run/records/*"))
    assert _files_with(output, HELPFUL[:40]) != []
    assert _files_with(output, SENTINEL) == []


async def test_uncompacted_journal_is_rebuilt_at_start(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.root.mkdir()
    journal = Journal(folder.journal)
    await journal.put("aa" * 32, Reply(SENTINEL * 200, "m"))
    await journal.aclose()
    # As a kill between the scrub and the rebuild leaves it: the text is in a free page.
    with contextlib.closing(sqlite3.connect(folder.journal)) as connection:
        connection.execute("pragma secure_delete = off")
        connection.execute("delete from replies")
        connection.execute("pragma application_id = 1")
        connection.commit()
        connection.execute("pragma wal_checkpoint(truncate)")
    assert _files_with(tmp_path, SENTINEL)
    await finish_scrub(folder)
    assert _files_with(tmp_path, SENTINEL) == []
