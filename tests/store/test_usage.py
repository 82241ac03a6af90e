from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from safegen.core.errors import BudgetSpent, DiskFailed, StoreDamaged
from safegen.core.types import Reply, Usage
from safegen.store import usage
from safegen.store.journal import Journal, stored_key
from safegen.teachers import Meter

REPLY = Reply(text="t", model="m", prompt_tokens=30, completion_tokens=12)


async def test_journal_sums_usage_of_all_replies(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    assert journal.usage() == Usage()
    for key in ("a", "b", "b"):
        await journal.put(stored_key(key, 0), REPLY)
    await journal.put(stored_key("c", 0), Reply(text="", model="m", outcome="blocked"))
    await journal.aclose()
    again = Journal(tmp_path / "j.sqlite")
    assert again.usage() == Usage(requests=4, prompt_tokens=90, completion_tokens=36)
    again.close()


def test_killed_session_counts_by_its_replies(tmp_path: Path) -> None:
    path = tmp_path / "accounting.json"
    assert usage.prior_usage(path, Usage()) == Usage()
    first = Usage(requests=7, retries=2, prompt_tokens=50, completion_tokens=20)
    kept = Usage(requests=5, prompt_tokens=50, completion_tokens=20)
    usage.write_accounting(path, before=Usage(), session=first, kept=kept, seconds=1.5)
    assert usage.prior_usage(path, kept) == first
    grown = Usage(requests=9, prompt_tokens=90, completion_tokens=40)
    wanted = Usage(requests=11, retries=2, prompt_tokens=90, completion_tokens=40)
    assert usage.prior_usage(path, grown) == wanted
    usage.write_accounting(path, before=wanted, session=Usage(requests=1), kept=grown, seconds=1)
    assert usage.prior_usage(path, grown) == Usage(12, 0, 2, 90, 40)
    accounting = usage.read_accounting(path)
    assert (accounting["requests"], accounting["seconds"]) == (12, 2.5)


def test_missing_journal_does_not_refund_usage(tmp_path: Path) -> None:
    path = tmp_path / "accounting.json"
    spent = Usage(requests=7, prompt_tokens=50)
    usage.write_accounting(path, before=Usage(), session=spent, kept=spent, seconds=1)
    assert usage.prior_usage(path, Usage()) == spent


@pytest.mark.parametrize(
    "text",
    [
        '{"requests": "many"}',
        '{"requests": -1}',
        '{"requests": true}',
        '{"prompt_tokens": 1.5}',
        '{"seconds": Infinity}',
        '{"journalled": []}',
        '{"journalled": {"requests": null}}',
        "[]",
        "",
    ],
)
def test_invalid_accounting_is_named_with_a_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounting.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoreDamaged, match=r"accounting\.json.*delete it"):
        usage.read_accounting(path)


@pytest.mark.parametrize(
    ("limits", "says"),
    [({"requests": 5}, "`5` requests"), ({"tokens": 50}, "`50` tokens")],
    ids=["requests", "tokens"],
)
def test_meter_starts_with_prior_usage(limits: dict[str, Any], says: str) -> None:
    before = Usage(requests=4, prompt_tokens=20, completion_tokens=10)
    meter = Meter(**limits, before=before)
    meter.record_request()
    meter.record_reply(REPLY)
    meter.record_end()
    assert meter.usage() == Usage(requests=1, prompt_tokens=30, completion_tokens=12)
    with pytest.raises(BudgetSpent, match=says):
        meter.record_request()


def test_killed_session_counts_unanswered_requests(tmp_path: Path) -> None:
    with usage.open_request_counter(tmp_path / "requests.txt") as counter:
        assert counter.read() == 0
        meter = Meter(before=Usage(requests=7), on_request=counter.write)
        for _ in range(5):
            meter.record_request()
    with usage.open_request_counter(tmp_path / "requests.txt") as counter:
        before = usage.prior_usage(tmp_path / "accounting.json", Usage(), sent=counter.read())
    assert before == Usage(requests=12)
    with pytest.raises(BudgetSpent, match="`12` requests"):
        Meter(requests=12, before=before).record_request()


def test_unwritable_counter_sends_no_request(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "requests.txt"
    with usage.open_request_counter(path) as counter, pytest.MonkeyPatch.context() as patch:
        full = SimpleNamespace(seek=lambda _: 0, write=fail)
        patch.setattr(counter, "_file", full)
        meter = Meter(on_request=counter.write)
        with pytest.raises(DiskFailed, match=r"requests\.txt` cannot be written: no space"):
            meter.record_request()
    assert (meter.usage().requests, meter.in_flight) == (0, 0)


@pytest.mark.parametrize("content", [b"many\n", b"9" * 5000, b"-0000000000000000001\n", b"7\n"])
def test_invalid_counter_is_named_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "requests.txt"
    path.write_bytes(content)
    with (
        usage.open_request_counter(path) as counter,
        pytest.raises(StoreDamaged, match=r"requests\.txt` contains no number.*delete it"),
    ):
        counter.read()
