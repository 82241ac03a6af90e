from __future__ import annotations

import io

import pytest
from rich.console import Console

from safegen.cli.render.progress import PlainLines, ProgressReader, show_progress
from safegen.core.progress import Progress
from safegen.core.types import Reply
from safegen.teachers import Meter, Wait


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at_work(time: Time) -> tuple[ProgressReader, Progress, Meter]:
    progress, meter = Progress(planned=1_000, shards_planned=4), Meter()
    counters = ProgressReader(now=time)
    counters.watch(progress, meter)
    return counters, progress, meter


def answer(progress: Progress, meter: Meter, count: int) -> None:
    for _ in range(count):
        meter.record_request()
        meter.record_reply(Reply(text="", model="jar", prompt_tokens=90, completion_tokens=10))
        meter.record_end()
        progress.done += 1
        progress.accepted += progress.done % 2


def line_of(counters: ProgressReader) -> str:
    seen = counters.read_view()
    assert seen is not None
    return seen.full_line()


def test_view_is_none_before_a_plan() -> None:
    assert ProgressReader(now=Time()).read_view() is None


def test_rates_restart_with_each_stage() -> None:
    time = Time()
    counters, labelling = ProgressReader(now=time), Progress(planned=10, stage="labelling")
    counters.watch(labelling, Meter())
    for labelling.done in (1, 5):
        time.now += 8
        line = line_of(counters)
    assert line == (
        "5/10 prompts read (50%), 0 failed, 0 in flight, 0 requests/min, 0 tokens, 0:10 left"
    )
    progress, meter = Progress(planned=4, shards_planned=1), Meter()
    counters.watch(progress, meter)
    assert "time left unknown" in line_of(counters)
    for _ in range(2):
        answer(progress, meter, 1)
        time.now += 10
        line = line_of(counters)
    assert line.endswith("50% of candidates accepted, 0:20 left")


def test_pipe_gets_an_opening_line_for_each_stage() -> None:
    printed: list[str] = []
    counters = ProgressReader(now=Time())
    lines = PlainLines(counters, printed.append, Time())
    counters.watch(Progress(planned=1, stage="labelling"), Meter())
    lines.print_if_due()
    counters.watch(Progress(planned=2, shards_planned=1), Meter())
    lines.print_if_due()
    lines.print_if_due()
    assert printed == ["1 prompt for the labellers to read", "2 drafts in 1 shard"]


def test_top_up_round_is_named_in_its_line() -> None:
    printed: list[str] = []
    time = Time()
    counters = ProgressReader(now=time)
    lines = PlainLines(counters, printed.append, time)
    counters.watch(Progress(planned=2, done=2, shards_planned=1, shards_done=1), Meter())
    lines.print_if_due()
    counters.watch(Progress(planned=9, shards_planned=1, round=1, resumed=True), Meter())
    lines.print_if_due()
    lines.print_last()
    assert printed[:2] == ["2 drafts in 1 shard", "round 2: 9 drafts in 1 shard"]
    assert printed[2].startswith("round 2: 0/9 drafts")


def test_full_line_has_all_counters() -> None:
    time = Time()
    counters, progress, meter = at_work(time)
    answer(progress, meter, 100)
    counters.read_view()
    answer(progress, meter, 150)
    progress.failed, progress.shards_done = 3, 1
    meter.record_request()
    time.now += 18
    assert line_of(counters) == (
        "250/1,000 drafts (25%), 1/4 shards, 3 failed, 1 in flight, 503 requests/min,"
        " 25.0k tokens, 50% of candidates accepted, 1:30 left"
    )


def test_time_left_is_unknown_before_two_replies() -> None:
    counters, _, meter = at_work(Time())
    meter.record_request()
    assert "0 requests/min" in line_of(counters)
    assert "time left unknown" in line_of(counters)


def test_time_left_comes_from_the_last_minute() -> None:
    time = Time()
    counters, progress, meter = at_work(time)
    progress.done = 800
    time.now += 1
    counters.read_view()
    for _ in range(10):
        time.now += 10
        answer(progress, meter, 1)
        counters.read_view()
    seen = counters.read_view()
    assert seen is not None
    assert seen.left_s == pytest.approx(1_900, rel=0.2)


def test_progress_line_names_build_after_last_shard() -> None:
    counters, progress, _ = at_work(Time())
    progress.done, progress.shards_done = 1_000, 4
    assert line_of(counters).endswith(", building the dataset")


def test_bar_fits_a_narrow_terminal() -> None:
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    counters, progress, meter = ProgressReader(out, now=Time()), Progress(), Meter()
    counters.watch(progress, meter)
    progress.planned = 1_234_567
    answer(progress, meter, 120)
    progress.shards_done, progress.shards_planned = 123, 4_823
    with out.capture() as captured:
        out.print(counters.get_renderable())
    lines = captured.get().splitlines()
    assert len(lines) == 2
    assert max(len(line) for line in lines) <= 80
    assert "120/1,234,567 drafts" in lines[0]


def test_plain_lines_come_every_ten_seconds() -> None:
    time, printed = Time(), list[str]()
    counters, progress, meter = at_work(time)
    lines = PlainLines(counters, printed.append, time)
    for second in range(26):
        time.now = 100.0 + second
        answer(progress, meter, 1)
        lines.print_if_due()
    lines.print_last()
    assert printed[0] == "1,000 drafts in 4 shards"
    resumed = ProgressReader(now=Time())
    resumed.watch(Progress(planned=9, shards_planned=2, resumed=True), Meter())
    seen = resumed.read_view()
    assert seen
    assert seen.opening_line() == "resuming: 9 drafts in 2 shards; cached replies are reused"
    assert [line.split("/")[0] for line in printed[1:]] == ["11", "21", "26"]
    assert "left" not in printed[-1]


def test_empty_run_prints_no_line() -> None:
    printed: list[str] = []
    counters = ProgressReader(now=Time())
    counters.watch(Progress(), Meter())
    lines = PlainLines(counters, printed.append, Time())
    lines.print_if_due()
    lines.print_last()
    assert printed == []


def test_scored_answers_are_counted_without_a_total() -> None:
    stream = io.StringIO()
    with show_progress(stream) as (watch, _):
        progress = Progress(stage="scoring")
        watch(progress, Meter())
        progress.done = 3
    first, last = stream.getvalue().splitlines()
    assert first == "safegen: scoring answers"
    assert last.startswith("safegen: 3 answers, 0 failed")


def test_pipe_gets_lines_without_escape_codes() -> None:
    stream = io.StringIO()
    with show_progress(stream) as (watch, _):
        progress = Progress(planned=2, shards_planned=1)
        watch(progress, Meter())
        progress.done = progress.accepted = 2
        progress.shards_done = 1
    first, last = stream.getvalue().splitlines()
    assert first == "safegen: 2 drafts in 1 shard"
    assert last.startswith("safegen: 2/2 drafts (100%), 1/1 shard, 0 failed")


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (None, ", 0 failed"),
        (Wait(4.0, "rate limit (HTTP 429)", 1, paused=True), ", 0 failed"),
        (
            Wait(90.0, "rate limit (HTTP 429)", 3, paused=True),
            ", all requests wait 1:30: rate limit (HTTP 429), 0 failed",
        ),
        (
            Wait(42.0, "rate limit (HTTP 429)", 1, paused=False),
            ", 1 request waiting, at most 0:42: rate limit (HTTP 429), 0 failed",
        ),
    ],
    ids=["none", "short", "paused", "one"],
)
def test_long_wait_shows_reason_and_time(wait: Wait | None, expected: str) -> None:
    counters, _, meter = at_work(Time())
    meter.read_wait = lambda: wait
    line = line_of(counters)
    assert f"0/4 shards{expected}" in line
