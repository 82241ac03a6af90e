"""Keys that a person presses, without Enter: termios on POSIX, msvcrt on Windows."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

ARROWS = {"A": "p", "B": "n", "C": "n", "D": "p"}
"""Up, down, right and left, after `ESC [`, as the letters that do the same."""
WINDOWS_ARROWS = {"H": "p", "P": "n", "M": "n", "K": "p"}
"""The same after the marks of a special key."""
KEY = re.compile(r"\x1b[\[O][0-9;]*(?P<last>.)|(?P<one>.)", re.DOTALL)
OTHER_KEY = "?"
END_KEY = "\x04"
CHUNK_BYTES = 64


@contextmanager
def open_keyboard() -> Generator[Iterator[str]]:
    """Give keys as they are pressed, until the input ends or Ctrl-D; the terminal is as it was after.

    Ctrl-C interrupts as ever.
    """
    hold = {"win32": _open_windows}.get(sys.platform, _open_posix)
    with hold() as keys:
        yield keys


@contextmanager
def _open_posix() -> Generator[Iterator[str]]:
    import os
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    # For as long as keys are read: what is typed in between would be echoed, and wait for Enter.
    tty.setcbreak(number)
    try:
        yield split_keys(iter(lambda: os.read(number, CHUNK_BYTES).decode(errors="ignore"), ""))
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


@contextmanager
def _open_windows() -> Generator[Iterator[str]]:
    import importlib

    msvcrt = importlib.import_module("msvcrt")  # not there on the systems that check the types

    def one() -> str:
        first = str(msvcrt.getwch())
        if first == "\x03":
            raise KeyboardInterrupt
        special = first in ("\x00", "\xe0")
        return WINDOWS_ARROWS.get(str(msvcrt.getwch()), OTHER_KEY) if special else first

    yield split_keys(iter(one, ""))


def split_keys(reads: Iterator[str]) -> Iterator[str]:
    """Each key of what was read, arrows as letters; Ctrl-D ends."""
    for read in reads:
        for match in KEY.finditer(read):
            if match["one"] == END_KEY:
                return
            yield match["one"] or ARROWS.get(match["last"], OTHER_KEY)
