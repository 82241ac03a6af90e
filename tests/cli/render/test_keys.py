from __future__ import annotations

import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from safegen.cli.render.keys import read_keys


def typed(*reads: str) -> Callable[[], str]:
    """Stand in for the terminal: one text per call, then the end of the input."""
    remaining = iter(reads)
    return lambda: next(remaining, "")


@pytest.mark.parametrize(
    ("reads", "keys"),
    [
        (["n", "p"], "np"),
        (["npr"], "npr"),
        (["\x1b[C\x1b[D", "\x1b[A\x1b[B"], "nppn"),
        (["\x1bOC"], "n"),
        (["\x1b[5~", "\x1b[1;5C"], "?n"),
        (["\xe0H", "\x00P", "\xe0x"], "pn?"),
        (["n\x04p", "r"], "n"),
        (["\n \r"], "\n \r"),
        ([], ""),
    ],
)
def test_read_keys_splits_what_was_typed(reads: Sequence[str], keys: str) -> None:
    assert "".join(read_keys(typed(*reads))) == keys


def test_read_keys_ends_at_ctrl_d() -> None:
    def end() -> str:
        raise EOFError

    assert list(read_keys(end)) == []


def test_read_keys_raises_at_ctrl_c() -> None:
    keys = read_keys(typed("n\x03p"))
    assert next(keys) == "n"
    with pytest.raises(KeyboardInterrupt):
        next(keys)


def test_read_keys_restores_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, number = pty.openpty()
    with os.fdopen(number, "r") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        before = termios.tcgetattr(number)

        def press() -> None:
            while termios.tcgetattr(number) == before:  # until the key is waited for
                time.sleep(0.001)
            os.write(keyboard, b"\x1b[D")

        thread = threading.Thread(target=press)
        thread.start()
        assert next(read_keys()) == "p"
        thread.join()
        assert termios.tcgetattr(number) == before
    os.close(keyboard)
