"""Single keys from the terminal, read with `typer.getchar`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import typer

ARROWS = {"A": "p", "B": "n", "C": "n", "D": "p"}
"""Up, down, right and left after `ESC [`, mapped to the letters of the same action."""
WINDOWS_ARROWS = {"H": "p", "P": "n", "M": "n", "K": "p"}
"""The same after the prefix of a special key on Windows."""
KEY = re.compile(r"\x1b[\[O][0-9;]*(?P<arrow>.)|[\x00\xe0](?P<windows>.)|(?P<letter>.)", re.DOTALL)
OTHER_KEY = "?"
INTERRUPT_KEY, END_KEY = "\x03", "\x04"


def read_keys(getchar: Callable[[], str] = typer.getchar) -> Iterator[str]:
    """Yield keys as they are pressed, arrows as letters, until Ctrl-D or the end of the input.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    while True:
        try:
            typed = getchar()
        except EOFError:
            return
        if not typed:
            return
        # One call returns all that was typed since the last one.
        for match in KEY.finditer(typed):
            if match["letter"] == INTERRUPT_KEY:
                raise KeyboardInterrupt
            if match["letter"] == END_KEY:
                return
            yield (
                match["letter"]
                or ARROWS.get(match["arrow"])
                or WINDOWS_ARROWS.get(match["windows"], OTHER_KEY)
            )
