"""Errors as messages with an exit code, and streams that the caller closed."""

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
    """Replace closed streams with devnull, and escape characters that a stream cannot encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (open until exit)
        elif isinstance(stream, io.TextIOWrapper):
            # A terminal with ASCII must not end a run because of a prompt in another script.
            stream.reconfigure(errors="backslashreplace")


def discard_stdout() -> int:
    """Redirect a closed stdout to devnull, so that the flush at exit does not raise."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open until exit)
    # Libraries and the interpreter's exit write to the descriptor itself.
    os.dup2(sys.stdout.fileno(), 1)
    return 0


def flush_stdout() -> None:
    """Flush stdout, and discard what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_stdout()


def report_error(e: Exception, *, json: bool) -> int:
    """Print an error to stderr, and as JSON to stdout if requested; return the exit code."""
    code, message = _error_text(e)
    print_message(f"error: {message}")
    if json:
        from safegen.cli.render.console import format_json_line

        # If stdout itself failed, the line on stderr has to do.
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
        return 1, f"{subject}: {(e.strerror or str(e)).lower()}; fix this and run the command again"
    logger = logging.getLogger("safegen")
    logger.debug("traceback of the error:", exc_info=e)
    is_shown = logger.isEnabledFor(logging.DEBUG)
    if place := _find_plugin_frame(e):
        hint = "" if is_shown else "; `safegen -v COMMAND` shows the traceback"
        return (
            1,
            f"{place}: your plug-in failed ({type(e).__name__}: {e}); fix it and run the command"
            f" again{hint}",
        )
    remedy = (
        "report it with the traceback above"
        if is_shown
        else "run it again with `safegen -v COMMAND` and report it with the traceback"
    )
    return 1, f"a bug in safegen ({type(e).__name__}: {e}); {remedy}"


def _find_plugin_frame(e: BaseException) -> str:
    """Return file and line of the deepest frame outside safegen and the libraries, or an empty text."""
    import sysconfig
    import traceback

    package = str(Path(__file__).parent.parent.parent)
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    places = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(e.__traceback__)
        if Path(frame.filename).is_file()
        and not frame.filename.startswith((package, *libraries))
        and Path(frame.filename).name != "safegen"
    ]
    return places[-1] if places else ""


def _usage_text(e: Exception) -> str:
    message = str(e.format_message()).rstrip(".")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType] (click)
    context = getattr(e, "ctx", None)
    path = context.command_path if context is not None else "safegen"
    return f"{message[:1].lower()}{message[1:]}; see `{path} --help`"


def print_message(text: str, *, name: str = "safegen") -> None:
    """Write a sanitised line to stderr, wrapped at words on a terminal."""
    from safegen.cli.render.console import sanitise, wrap_text

    sys.stderr.write(f"{wrap_text(f'{name}: {sanitise(text)}', sys.stderr)}\n")


def print_traceback(error: BaseException | None) -> None:
    """Write the sanitised traceback of an error to stderr."""
    import traceback

    from safegen.cli.render.console import sanitise

    sys.stderr.write(sanitise("".join(traceback.format_exception(error))))


def print_differences(basis: RunSnapshot) -> None:
    """Print one line on files that differ from the snapshot of a run."""
    if basis.difference_line:
        print_message(basis.difference_line)
