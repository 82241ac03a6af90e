from __future__ import annotations

import io
import json
import logging

import pytest

from safegen.cli.log import StderrHandler
from safegen.cli.render.console import (
    format_duration,
    format_json_line,
    format_share,
    format_short,
    make_console,
    make_text,
    print_out,
    sanitise,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode — 漢字", "plain, ünïcode — 漢字"),
        ("two\nlines\r\nthree", "two\nlines\nthree"),
        ("a\tb", "a    b"),
        ("\x1b[31mred", "�[31mred"),
        ("bell\x07 nul\x00 csi\x9b31m", "bell� nul� csi�31m"),
        ("\u202eback", "�back"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
    ids=["plain", "lines", "tab", "escape", "controls", "direction", "joiner"],
)
def test_sanitise_removes_control_characters(text: str, shown: str) -> None:
    assert sanitise(text) == shown


@pytest.mark.parametrize("value", ["\x9b31m", "\u202e", "\ud800", "\U000e0001", "ü\n"])
def test_json_line_is_one_printable_line(value: str) -> None:
    line = format_json_line({"text": value})
    assert json.loads(line) == {"text": value}
    assert [c for c in line[:-1] if not c.isprintable()] == []


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 0, "–"), (0, 9, "0%"), (9, 9, "100%"), (1, 1_000, "<1%"), (999, 1_000, "99%")],
)
def test_share_never_rounds_to_none_or_all(part: int, whole: int, shown: str) -> None:
    assert format_share(part, whole) == shown


def test_counts_and_durations_are_short() -> None:
    assert [format_short(n) for n in (0, 999, 1_234, 123_456, 4_600_000)] == [
        "0",
        "999",
        "1.2k",
        "123k",
        "4.6M",
    ]
    assert [format_duration(s) for s in (6.6, 754, 3_723)] == ["0:07", "12:34", "1:02:03"]


def test_print_out_keeps_markup_and_long_lines() -> None:
    stream = io.StringIO()
    print_out(make_console(stream), make_text("[red]name[/red] :smile: " + "x" * 500))
    assert stream.getvalue() == "[red]name[/red] :smile: " + "x" * 500 + "\n"


def test_log_handler_escapes_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("safegen.x", logging.WARNING, "", 0, "model %s", ("\x1b[2J",), None)
    StderrHandler().emit(record)
    assert capsys.readouterr().err == "safegen: model �[2J\n"
