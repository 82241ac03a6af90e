from __future__ import annotations

import os
import pty
import sys
import termios
from collections.abc import Generator

import pytest

from safegen.cli.render.keys import open_keyboard, split_keys


@pytest.mark.parametrize(
    ("reads", "keys"),
    [
        (["n", "p"], "np"),
        (["npr"], "npr"),
        (["\x1b[C\x1b[D", "\x1b[A\x1b[B"], "nppn"),
        (["\x1bOC"], "n"),
        (["\x1b[5~", "\x1b[1;5C"], "?n"),
        (["n\x04p", "r"], "n"),
        (["\n \r"], "\n \r"),
        ([], ""),
    ],
)
def test_what_was_read_is_taken_key_by_key(reads: list[str], keys: str) -> None:
    assert "".join(split_keys(iter(reads))) == keys


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    """A terminal as standard input; what is written to the number is typed."""
    typed, number = pty.openpty()
    with os.fdopen(number, "r") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield typed
    os.close(typed)


def test_keys_come_without_enter_and_the_terminal_is_as_it_was(terminal: int) -> None:
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    with open_keyboard() as keys:
        assert termios.tcgetattr(number) != before
        os.write(terminal, b"n\x1b[D")
        assert (next(keys), next(keys)) == ("n", "p")
        os.write(terminal, b"\x04")
        assert next(keys, None) is None
    assert termios.tcgetattr(number) == before


def test_the_terminal_is_as_it_was_after_an_error(terminal: int) -> None:
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    with pytest.raises(KeyboardInterrupt), open_keyboard():
        raise KeyboardInterrupt
    assert termios.tcgetattr(number) == before
