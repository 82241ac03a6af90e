from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from safegen.core.errors import DiskFailed, RunError, StoreDamaged
from safegen.core.types import Reply
from safegen.store.journal import Journal, Lock, check_journal, stored_key


async def test_replies_survive_reopening_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    replies = {
        stored_key("k", i): Reply(text=f"t{i}", model="m", completion_tokens=i) for i in range(200)
    }
    await asyncio.gather(*(journal.put(k, r) for k, r in replies.items()))
    await journal.aclose()
    again = Journal(tmp_path / "j.sqlite")
    assert len(again) == 200
    key = stored_key("k", 7)
    assert again.get(key) == Reply(text="t7", model="m", completion_tokens=7, key=key)
    assert again.get(stored_key("none", 0)) is None
    again.close()


async def test_put_returns_when_the_reply_is_durable(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path / "j.sqlite"), Journal(tmp_path / "j.sqlite")
    await journal.put(stored_key("k", 0), Reply(text="t", model="m"))
    assert other.get(stored_key("k", 0)) is not None
    await journal.aclose()
    other.close()


def test_raised_retry_numbers_add_up(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    journal.raise_retry_numbers(["a", "a", "b"])
    journal.raise_retry_numbers(["a"])
    assert [journal.retry_number(base) for base in "abc"] == [2, 1, 0]
    journal.close()


def test_damaged_journal_is_named_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(StoreDamaged, match=r"j\.sqlite.*move it away"):
        Journal(path)


def test_journal_in_missing_folder_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed):
        Journal(tmp_path / "gone" / "j.sqlite")


def test_lock_refuses_a_second_process(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(RunError, match="another safegen process"):
        Lock(tmp_path / "lock")
    lock.release()
    Lock(tmp_path / "lock").release()


async def test_scrub_covers_all_asks_and_reasoning(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    secret = "the-forbidden-cake-recipe"
    for ask in range(3):
        reply = Reply(f"{secret} {ask}", "m", reasoning_content=f"{secret}, thought {ask}")
        await journal.put(stored_key("base", ask), reply)
    journal.raise_retry_numbers(["base", "base"])
    journal.raise_retry_numbers(["base"])
    await journal.scrub(["base"])
    for ask in range(3):
        kept = journal.get(stored_key("base", ask))
        assert kept is not None
        assert (kept.text, kept.reasoning_content, kept.withheld) == ("", None, True)
    files = [
        p.read_bytes() for p in tmp_path.iterdir()
    ]  # also in the log, while the journal is open
    assert not any(secret.encode() in data for data in files)
    await journal.aclose()


async def test_first_reply_to_a_request_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    for text in ("first", "second"):
        journal = Journal(path)
        await journal.put(stored_key("key", 0), Reply(text, "m"))
        await journal.aclose()
    again = Journal(path)
    kept = again.get(stored_key("key", 0))
    assert kept is not None
    assert kept.text == "first"
    await again.aclose()


@pytest.mark.parametrize("seed", range(12))
async def test_closed_journal_holds_no_scrubbed_byte(seed: int, tmp_path: Path) -> None:
    generator, journal = random.Random(seed), Journal(tmp_path / "j.sqlite")
    unsafe: list[str] = []
    pending: list[asyncio.Task[None]] = []
    for number in range(150):
        base, words = f"request {number}", ["flour"] * generator.randrange(20, 900)
        if generator.random() < 0.3:
            words[generator.randrange(len(words))] = "SECRETSPICE"
            unsafe.append(base)
        pending.append(
            asyncio.create_task(journal.put(stored_key(base, 0), Reply(" ".join(words), "m")))
        )
        if generator.random() < 0.1:
            await pending[-1]
    await asyncio.gather(*(pending))
    await journal.scrub(unsafe)
    await journal.aclose()
    assert unsafe
    assert not any(b"SECRETSPICE" in p.read_bytes() for p in tmp_path.iterdir())


async def test_reply_of_900_characters_takes_1300_bytes(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    reply = Reply("x" * 900, "some/model-7b", finish_reason="stop", completion_tokens=200)
    await asyncio.gather(*(journal.put(stored_key("k", n), reply) for n in range(2000)))
    await journal.aclose()
    assert path.stat().st_size / 2000 < 1300


async def test_journal_of_format_1_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("create table replies (key text primary key, reply text) without rowid")
    connection.execute("pragma user_version = 1")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"format 1.*reads 2.*move it away"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("keeps", [True, False])
async def test_reasoning_is_stored_only_if_kept(keeps: bool, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite", keeps_reasoning=keeps)
    await journal.put(stored_key("k", 0), Reply("t", "m", reasoning_content="hidden thoughts"))
    reply = journal.get(stored_key("k", 0))
    await journal.aclose()
    assert reply is not None
    assert reply.reasoning_content == ("hidden thoughts" if keeps else None)
    assert (b"hidden thoughts" in (tmp_path / "j.sqlite").read_bytes()) is keeps


BAD_SQL = {
    "negative tokens": "update spent set prompt_tokens = -1",
    "text as replies": "update spent set replies = 'many'",
    "huge number": "update spent set completion_tokens = 9007199254740993",
    "no sums": "delete from spent",
    "fewer replies than stored": "update spent set replies = 1",
    "short key": "update replies set key = x'00' where rowid = 1",
    "text as key": "update replies set key = 'key' where rowid = 1",
    "bytes as reply": "update replies set reply = cast(reply as blob)",
    "cut reply": "update replies set reply = substr(reply, 1, 9) where rowid = 2",
    "negative tokens of a reply": """update replies set reply = '{"text":"","model":"","prompt_tokens":-1}'""",
    "negative retry": "insert into asks values ('base', -1)",
    "text as retry": "insert into asks values ('base', 'x')",
}


@pytest.mark.parametrize("statement", BAD_SQL.values(), ids=BAD_SQL)
async def test_damaged_value_in_a_journal_is_found(statement: str, tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    for number in range(3):
        await journal.put(stored_key("base", number), Reply("t", "m", prompt_tokens=2))
    await journal.aclose()
    check_journal(path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"cannot be read .* or move it away"):
        check_journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [-1, "many"])
def test_invalid_sum_of_a_journal_is_damage(number: object, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    with sqlite3.connect(tmp_path / "j.sqlite") as connection:
        connection.execute("update spent set prompt_tokens = ?", (number,))
    connection.close()
    with pytest.raises(StoreDamaged, match="a sum of requests or tokens is invalid"):
        journal.usage()
    journal.close()
