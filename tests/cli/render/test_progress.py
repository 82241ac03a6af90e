from __future__ import annotations

import io

import pytest
from rich.console import Console

from safegen.cli.render.progress import PlainLines, ProgressReader, show_progress
from safegen.core.progress import Progress
from safegen.core.types import Reply
from safegen.teachers import Meter


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at_work(time: Time) -> tuple[ProgressReader, Progress, Meter]:
    progress, meter = Progress(planned=1_000, shards_planned=4), Meter()
    counters = ProgressReader(time)
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


def test_nothing_is_read_before_there_is_a_plan() -> None:
    assert ProgressReader(Time()).read_view() is None


def test_a_stage_before_the_drafts_says_its_own_name_and_rates_begin_anew_after_it() -> None:
    time = Time()
    counters, read = ProgressReader(time), Progress(planned=10, stage="labelling")
    counters.watch(read, Meter())
    read.done = 5
    time.now += 10
    assert line_of(counters) == (
        "5/10 prompts read (50%), 0 failed, 0 in flight, 0 requests/min, 0 tokens, 0:10 left"
    )
    read.done = 10
    time.now += 10
    progress, meter = Progress(planned=4, shards_planned=1), Meter()
    counters.watch(progress, meter)
    answer(progress, meter, 2)
    time.now += 10
    assert line_of(counters).endswith("50% accepted, 0:10 left")


def test_a_pipe_gets_an_opening_line_for_each_stage() -> None:
    said: list[str] = []
    counters = ProgressReader(Time())
    lines = PlainLines(counters, said.append, Time())
    counters.watch(Progress(planned=1, stage="labelling"), Meter())
    lines.print_if_due()
    counters.watch(Progress(planned=2, shards_planned=1), Meter())
    lines.print_if_due()
    lines.print_if_due()
    assert said == ["1 prompt to be read by labellers", "2 drafts to make in 1 shard"]


def test_a_further_round_is_told_as_one() -> None:
    said: list[str] = []
    time = Time()
    counters = ProgressReader(time)
    lines = PlainLines(counters, said.append, time)
    counters.watch(Progress(planned=2, done=2, shards_planned=1, shards_done=1), Meter())
    lines.print_if_due()
    counters.watch(Progress(planned=9, shards_planned=1, round=1, resumed=True), Meter())
    lines.print_if_due()
    lines.print_last()
    assert said[:2] == ["2 drafts to make in 1 shard", "round 2: 9 drafts to make in 1 shard"]
    assert said[2].startswith("round 2: 0/9 drafts")


def test_the_line_says_it_all() -> None:
    time = Time()
    counters, progress, meter = at_work(time)
    answer(progress, meter, 250)
    progress.failed, progress.shards_done = 3, 1
    meter.record_request()
    time.now += 30
    assert line_of(counters) == (
        "250/1,000 drafts (25%), 1/4 shards, 3 failed, 1 in flight, 502 requests/min,"
        " 25.0k tokens, 50% accepted, 1:30 left"
    )


def test_nothing_done_yet_has_no_time_left() -> None:
    time = Time()
    counters, _, meter = at_work(time)
    meter.record_request()
    time.now += 0.001
    assert " 60 requests/min" in line_of(counters)
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


def test_when_all_shards_are_on_disk_the_dataset_is_being_built() -> None:
    counters, progress, _ = at_work(Time())
    progress.done, progress.shards_done = 1_000, 4
    assert line_of(counters).endswith(", building the dataset")


def test_the_bar_fits_a_narrow_terminal() -> None:
    time = Time()
    counters, progress, meter = at_work(time)
    progress.planned = 1_234_567
    answer(progress, meter, 120)
    progress.shards_done, progress.shards_planned = 123, 4_823
    time.now += 3
    seen = counters.read_view()
    assert seen is not None
    out = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with out.capture() as captured:
        out.print(seen.render_bar())
    lines = captured.get().splitlines()
    assert len(lines) == 2
    assert max(len(line) for line in lines) <= 80
    assert "120/1,234,567 drafts" in lines[0]


def test_plain_lines_come_at_the_start_every_ten_seconds_and_at_the_end() -> None:
    time, said = Time(), list[str]()
    counters, progress, meter = at_work(time)
    lines = PlainLines(counters, said.append, time)
    for second in range(26):
        time.now = 100.0 + second
        answer(progress, meter, 1)
        lines.print_if_due()
    lines.print_last()
    assert said[0] == "1,000 drafts to make in 4 shards"
    resumed = ProgressReader(Time())
    resumed.watch(Progress(planned=9, shards_planned=2, resumed=True), Meter())
    seen = resumed.read_view()
    assert seen
    assert "9 drafts to go through in 2 shards; what was answered before" in seen.opening_line()
    assert [line.split("/")[0] for line in said[1:]] == ["11", "21", "26"]
    assert "left" not in said[-1]


def test_a_run_with_nothing_to_do_says_no_line() -> None:
    said: list[str] = []
    counters = ProgressReader(Time())
    counters.watch(Progress(), Meter())
    lines = PlainLines(counters, said.append, Time())
    lines.print_if_due()
    lines.print_last()
    assert said == []


def test_a_pipe_gets_lines_without_codes() -> None:
    stream = io.StringIO()
    with show_progress(stream) as (watch, _):
        progress = Progress(planned=2, shards_planned=1)
        watch(progress, Meter())
        progress.done = progress.accepted = 2
        progress.shards_done = 1
    first, last = stream.getvalue().splitlines()
    assert first == "safegen: 2 drafts to make in 1 shard"
    assert last.startswith("safegen: 2/2 drafts (100%), 1/1 shards, 0 failed")
