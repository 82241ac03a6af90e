"""The edge of the program: streams that a caller closed, and errors as messages with an exit code."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safegen.pipeline.snapshot import RunSnapshot


def open_streams() -> None:
    """Let every character be written, and a stream that the caller closed swallow what it gets."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (until the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_stdout() -> int:
    """Nobody reads on: what is done is done, and Python's last flush must not complain."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    os.dup2(sys.stdout.fileno(), 1)
    return 0


def flush_stdout() -> None:
    """Write out what is buffered; where that cannot be, drop it, so that Python's last flush does not fail as well."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_stdout()


def report_error(e: Exception, *, json: bool) -> int:
    """Say an error to people, and to machines where they asked; its exit code comes back."""
    code, message = _error_text(e)
    print_message(f"error: {message}")
    if json:
        from safegen.cli.render.console import format_json_line

        # Where stdout is what failed, the object has nowhere to go; the line on stderr is there.
        with contextlib.suppress(OSError):
            sys.stdout.write(format_json_line({"error": message, "exit": code}))
    return code


def _error_text(e: Exception) -> tuple[int, str]:
    from safegen.core.errors import RunError, SafegenError

    if isinstance(e, SafegenError):
        return 1 if isinstance(e, RunError) else 2, str(e)
    if hasattr(e, "format_message"):
        return 2, _usage_text(e)
    if isinstance(e, OSError):
        subject = f"`{e.filename}`" if e.filename else "the system"
        return 1, f"{subject}: {(e.strerror or str(e)).lower()}; mend that and run again"
    logging.getLogger("safegen").debug("bug", exc_info=e)
    if place := _find_plugin_frame(e):
        return 1, f"{place}: your plug-in failed ({type(e).__name__}: {e}); mend it and run again"
    return (
        1,
        f"a bug in safegen ({type(e).__name__}: {e}); run again with --verbose and report it",
    )


def _find_plugin_frame(e: BaseException) -> str:
    """File and line of the deepest frame that is neither ours nor a library's, or nothing."""
    import sysconfig
    import traceback

    ours = str(Path(__file__).parent.parent.parent)
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    named = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(e.__traceback__)
        if Path(frame.filename).is_file()
        and not frame.filename.startswith((ours, *libraries))
        and Path(frame.filename).name != "safegen"
    ]
    return named[-1] if named else ""


def _usage_text(e: Exception) -> str:
    """Say a usage error in safegen's manner, with the help that would have told."""
    message = str(e.format_message()).rstrip(".")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType] (click)
    context = getattr(e, "ctx", None)
    path = context.command_path if context is not None else "safegen"
    return f"{message[:1].lower()}{message[1:]}; see `{path} --help`"


def print_message(text: str, *, name: str = "safegen") -> None:
    """Write a line to stderr, made harmless for a terminal and wrapped at its words."""
    from safegen.cli.render.console import sanitise, wrap_text

    sys.stderr.write(f"{wrap_text(f'{name}: {sanitise(text)}', sys.stderr)}\n")


def print_differences(basis: RunSnapshot) -> None:
    """Say in one line what a run was made with and reads otherwise here."""
    if basis.difference_line:
        print_message(basis.difference_line)
