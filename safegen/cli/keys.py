"""Keys that a person presses, one at a time, without Enter: termios on POSIX, msvcrt on Windows."""

from __future__ import annotations

import sys
from collections.abc import Iterator

ARROWS = {"A": "p", "B": "n", "C": "n", "D": "p"}
"""Up, down, right and left, after `ESC [`, as the letters that do the same."""


def pressed() -> Iterator[str]:
    """Yield keys as they are pressed; ends with the input. Ctrl-C interrupts as ever."""
    read = {"win32": _read_windows}.get(sys.platform, _read_posix)
    while key := read():
        yield key


def _read_posix() -> str:
    """One key; the terminal is as it was before and after."""
    import os
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        return named(os.read(number, 8).decode(errors="ignore"))
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _read_windows() -> str:
    import importlib

    msvcrt = importlib.import_module("msvcrt")  # not there on the systems that check the types
    first = str(msvcrt.getwch())
    if first == "\x03":
        raise KeyboardInterrupt
    if first in ("\x00", "\xe0"):
        return {"H": "p", "K": "p", "P": "n", "M": "n"}.get(str(msvcrt.getwch()), "?")
    return named(first)


def named(read: str) -> str:
    """What was read at once as one key: an arrow as a letter, else the first character."""
    if read.startswith(("\x1b[", "\x1bO")) and len(read) > 2:
        return ARROWS.get(read[2], "?")
    if read == "\x04":
        return ""
    return read[:1]
