"""Log lines of the command line: on stderr, harmless, and above a live bar where there is one."""

from __future__ import annotations

import logging

from safegen.cli.render.errors import print_message


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment: rich puts its own there while a bar is live."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        print_message(record.getMessage(), name=record.name)


def configure_logging(*, verbose: bool) -> None:
    """Set up logging once; the SDK's own debug lines hold prompts and stay out."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[StderrHandler()])
    for noisy in ("openai", "httpx2", "httpcore2", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
