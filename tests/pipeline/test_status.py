from __future__ import annotations

from pathlib import Path

from safegen.pipeline.api import agenerate, open_run, rebuild, reset_failed
from safegen.pipeline.records import iter_records, record_to_json
from safegen.pipeline.status import read_manifest, read_status
from tests.cli.harness import write_recipe


async def test_status_follows_a_run(workdir: Path) -> None:
    recipe = str(write_recipe(workdir))
    planned = read_status(await agenerate(recipe, output="out", until="expand"))
    assert (planned.planned, planned.shards_done, planned.dataset) == (True, 0, False)
    drafted = read_status(await agenerate(recipe, output="out", until="draft"))
    assert (drafted.shards_done, drafted.shards_drafted) == (0, 1)
    built = read_status(await agenerate(recipe, output="out"))
    assert (built.shards_done, built.shards_drafted, built.dataset) == (1, 0, True)
    assert built.prompts == planned.prompts > 0


async def test_rebuild_changes_no_file(workdir: Path) -> None:
    run = await agenerate(str(write_recipe(workdir)), output="out")
    before = read_manifest(run.output)
    rebuilt = rebuild("out")
    assert rebuilt.run.report is not None
    assert not rebuilt.run.report.changed
    assert read_manifest(run.output) == before
    assert rebuilt.context.differing == ()


async def test_finished_run_has_nothing_to_retry(workdir: Path) -> None:
    await agenerate(str(write_recipe(workdir)), output="out")
    assert not reset_failed(open_run("out"))


async def test_records_hide_texts_unless_revealed(workdir: Path) -> None:
    run = await agenerate(str(write_recipe(workdir)), output="out")
    record = next(iter_records(run.folder))
    texts = {"messages", "response", "reasoning_content"}
    hidden = record_to_json(record)
    assert texts & set(hidden) == set()
    assert all("evidence" not in verdict for verdict in hidden["verdicts"])
    assert texts <= set(record_to_json(record, reveal=True))


def test_missing_manifest_is_empty(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
