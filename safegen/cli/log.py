"""Log lines on stderr, sanitised, and above a live progress bar if there is one."""

from __future__ import annotations

import logging

from safegen.cli.render.errors import print_message, print_traceback


class StderrHandler(logging.Handler):
    """A handler that looks up `sys.stderr` per record, because rich replaces it during a live bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        # The package only: module names mean nothing to a user.
        print_message(record.getMessage(), name=record.name.partition(".")[0])
        if record.exc_info:
            print_traceback(record.exc_info[1])


def configure_logging(*, verbose: bool) -> None:
    """Configure logging once, for the process."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[StderrHandler()])
    # The debug lines of the SDK contain prompts.
    for noisy in ("openai", "httpx2", "httpcore2", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
