"""Regular expressions of users, whose searches end after a time limit.

Python's `re` has no limit: a pattern such as `(a+)+b` takes time exponential in the length of a text.
"""

from __future__ import annotations

import importlib
import re
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol, TypeVar

from safegen.core.errors import ConfigError, RunError
from safegen.core.pattern_probe import (
    MAX_COUNT,
    MAX_DEPTH,
    largest_count,
    largest_depth,
    make_texts,
)

BURST_S = 2.0
"""CPU time that a pattern may take beyond its share, in seconds."""
SECONDS_PER_CHAR = 20e-6
"""A pattern's share of CPU time; one without nested repeats takes a hundredth of it."""
PROBE_S = 0.25
"""CPU time of one pattern with its made texts; the shipped patterns take at most a tenth of it."""
REWRITE_HINT = (
    "rewrite it without a repeat inside a repeat, such as `(a+)+`, and without several long repeats"
    " in a row; bound each repeat, such as `{0,40}`"
)
# `re` reads these as text: a brace without a count, and a bracket inside a class.
_TOKEN = re.compile(
    r"\\.|\[(?P<start>\^?\]?)(?P<rest>(?:\\.|[^\]\\])*)\]|(?P<brace>\{)(?!\d+(?:,\d*)?\}|,\d*\})",
    re.DOTALL,
)
_BRACKET = re.compile(r"(\\.)|\[", re.DOTALL)
ResultT = TypeVar("ResultT")


class SearchPattern(Protocol):
    """The used part of `re.Pattern[str]`."""

    @property
    def pattern(self) -> str:
        """The regular expression."""
        ...

    def search(self, string: str, /) -> re.Match[str] | None:
        """Return the first match, or None."""
        ...

    def finditer(self, string: str, /) -> Iterator[re.Match[str]]:
        """Return the matches in order."""
        ...

    def sub(self, repl: Callable[[re.Match[str]], str], string: str, /) -> str:
        """Replace each match."""
        ...


class _RegexPattern(Protocol):
    """The used part of `regex.Pattern`, which has no types."""

    def search(self, string: str, *, timeout: float) -> re.Match[str] | None: ...
    def finditer(self, string: str, *, timeout: float) -> Iterator[re.Match[str]]: ...
    def sub(self, repl: Callable[[re.Match[str]], str], string: str, *, timeout: float) -> str: ...


@contextmanager
def allow_open_brackets() -> Generator[None]:
    """Ignore the warning that `[[` may start a nested set in a later Python; here it never does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Possible ", FutureWarning)
        yield


class TimedPattern:
    """A pattern with a limit of CPU time over all its searches.

    Each searched character adds `SECONDS_PER_CHAR` to the time that is left, up to `burst_s`.

    Args:
        pattern: a regular expression in the syntax of `re`.
        place: the file and key of the pattern, for messages.
        burst_s: the time that is left at the start, in seconds; None means `BURST_S`.
    """

    def __init__(self, pattern: str, *, place: str, burst_s: float | None = None) -> None:
        self.pattern = pattern
        self.place = place
        self.burst_s = BURST_S if burst_s is None else burst_s
        self._left_s = self.burst_s

    def __reduce__(self) -> tuple[Callable[..., TimedPattern], tuple[str, str, float]]:
        return _restore, (self.pattern, self.place, self.burst_s)

    def compile(self) -> None:
        """Compile the pattern now.

        Raises:
            ConfigError: the pattern has too many repeats, or no meaning for the package `regex`.
        """
        _ = self._compiled

    @allow_open_brackets()
    def probe(self) -> None:
        """Search made texts that are hard for the pattern.

        Raises:
            ConfigError: the pattern cannot be compiled, or takes more than `PROBE_S` seconds.
        """
        search, left_s = self._compiled.search, PROBE_S
        for text in make_texts(self.pattern):
            start = time.thread_time()
            try:
                search(text, timeout=left_s)
            except (TimeoutError, MemoryError):
                left_s = 0.0
            left_s -= time.thread_time() - start
            if left_s <= 0:
                raise ConfigError(
                    f"{self.place}: the pattern takes too long (more than {PROBE_S:g} s for short texts); {REWRITE_HINT}"
                )

    @cached_property
    @allow_open_brackets()
    def _compiled(self) -> _RegexPattern:
        regex = importlib.import_module("regex")
        try:
            self._check_size()
            # VERSION0 behaves as `re`; VERSION1 has nested sets and other case folding.
            return regex.compile(_to_regex_syntax(self.pattern), regex.VERSION0)
        except (re.error, regex.error, OverflowError, RecursionError) as e:
            raise ConfigError(f"{self.place}: is not a regular expression: {e}") from e

    def _check_size(self) -> None:
        # The time and memory of the engine's compilation have no limit.
        count, depth = largest_count(self.pattern), largest_depth(self.pattern)
        if count > MAX_COUNT:
            raise ConfigError(
                f"{self.place}: the pattern repeats a part up to {count} times; at most {MAX_COUNT}, or `*`"
            )
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"{self.place}: the pattern has {depth} repeats inside each other; at most {MAX_DEPTH}"
            )

    def search(self, string: str, /) -> re.Match[str] | None:
        """Return the first match, or None."""
        return self._run(string, lambda s: self._compiled.search(string, timeout=s))

    def finditer(self, string: str, /) -> Iterator[re.Match[str]]:
        """Return the matches in order."""
        # The clock of `regex` runs on between two matches, so all are read at once.
        return iter(self._run(string, lambda s: list(self._compiled.finditer(string, timeout=s))))

    def sub(self, repl: Callable[[re.Match[str]], str], string: str, /) -> str:
        """Replace each match."""
        return self._run(string, lambda s: self._compiled.sub(repl, string, timeout=s))

    def _run(self, text: str, call: Callable[[float], ResultT]) -> ResultT:
        """Search a text within the time that is left.

        Raises:
            RunError: the time is used up, by this search or by many slow ones.
        """
        # Time saved on easy texts is bounded, so that one hard text cannot use all of it.
        left_s = min(self.burst_s, self._left_s + len(text) * SECONDS_PER_CHAR)
        start = time.thread_time()
        try:
            result = call(left_s)
        except (TimeoutError, MemoryError) as e:
            raise self._slow_error() from e
        self._left_s = left_s - (time.thread_time() - start)
        if self._left_s <= 0:
            raise self._slow_error()
        return result

    def _slow_error(self) -> RunError:
        return RunError(
            f"{self.place}: the pattern takes too long (its searches took {self.burst_s:g} s of CPU time more"
            f" than {SECONDS_PER_CHAR * 1e6:g} µs a character) or too much memory; {REWRITE_HINT}"
        )


def _restore(pattern: str, place: str, burst_s: float) -> TimedPattern:
    return TimedPattern(pattern, place=place, burst_s=burst_s)


def _to_regex_syntax(pattern: str) -> str:
    """Escape the text that only the package `regex` reads as fuzzy counts and POSIX classes."""
    return _TOKEN.sub(_escape_token, pattern)


def _escape_token(token: re.Match[str]) -> str:
    if token["brace"]:
        return "\\{"
    if token["rest"] is None:
        return token[0]
    rest = _BRACKET.sub(lambda m: m[1] or "\\[", token["rest"])
    return f"[{token['start']}{rest}]"
