"""One pass over a text that finds which of many patterns can match it.

Most patterns of a language pack match no part of most texts. A set of wider patterns, which RE2 runs
together in linear time, rules them out before Python's `re` runs.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Protocol, cast

# A search that needs more fails, and then every pattern counts as possible.
MAX_BYTES = 64 * 1024 * 1024
"""Memory of RE2 for the states of one set."""
# The states of one set grow with the product of its patterns: 30 patterns of 50,000 characters needed
# 5 ms for each of the first 400 texts, groups of this size 0.8 ms.
GROUP_CHARS = 4_500
"""Characters of the patterns that are searched together."""
# Several validators search the same draft and its sentences.
CACHED_TEXTS = 256
_END = "\n\x00"
"""End of every text, with a pattern of its own: without its match the answer of RE2 does not count."""
_NON_ASCII = r"\x{80}-\x{10FFFF}"
# RE2 reads these classes as ASCII; Python reads them as Unicode.
_CLASSES = {
    "w": rf"0-9A-Za-z_{_NON_ASCII}",
    "d": rf"0-9{_NON_ASCII}",
    "s": rf"\x09-\x0d\x1c-\x20{_NON_ASCII}",
}
_TOKEN = re.compile(
    r"\\(?P<escape>.)|(?P<look>\(\?<?[=!])|(?P<name>\(\?P<\w+>)|(?P<group>\(\?:)|(?P<other>\(\?)"
    r"|(?P<open>\[\^?\]?)|(?P<anchor>[\^$])|(?P<odd>\{,)|\{(?P<least>\d+)(?:,\d*)?\}|(?P<plain>.)",
    re.DOTALL,
)
_QUANTIFIERS = frozenset("?*+{")
# Characters, a class or a sign of a pattern for RE2, and the repeats after it.
_PIECE = re.compile(
    r"[^\\\[()|?*+]+(?![?*+])|\\x\{\w*\}|\\.|\(\?:|\[\^?(?:\\.|[^\]\\])*\]|.", re.DOTALL
)
_REPEATS = re.compile(r"[?*+]*")


class _Unsupported(Exception):
    """A pattern without a wider pattern for RE2."""


class _PatternSet(Protocol):
    """The used part of `re2.Set`, which has no types."""

    def Add(self, pattern: str) -> int: ...
    def Compile(self) -> None: ...
    def Match(self, text: str) -> list[int] | None: ...


class PatternIndex:
    """Names of patterns, by which of them can match a text.

    The patterns are searched in groups, and only in the groups of the names that are asked for.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns = dict(patterns)
        parts = _split_patterns(self._patterns)
        self._groups = [_share_group(tuple(part.items())) for part in parts]
        self._group_of = {name: group for group in self._groups for name in group.patterns}

    def __reduce__(self) -> tuple[type[PatternIndex], tuple[dict[str, str]]]:
        # A compiled set cannot be sent to another process.
        return PatternIndex, (self._patterns,)

    def can_match(self, name: str, text: str) -> bool:
        """Check if the pattern of a name may match a part of the text."""
        return name in self._group_of[name].possible_names(text)

    def possible_names(self, text: str) -> frozenset[str]:
        """Return the names of all patterns that match a part of the text, and perhaps of others."""
        return frozenset[str]().union(*(group.possible_names(text) for group in self._groups))


def _split_patterns(patterns: Mapping[str, str]) -> list[dict[str, str]]:
    """Split patterns into groups of at most `GROUP_CHARS` characters, or of one pattern."""
    groups: list[dict[str, str]] = []
    size = 0
    for name, pattern in patterns.items():
        size += len(pattern)
        if not groups or size > GROUP_CHARS:
            groups.append({})
            size = len(pattern)
        groups[-1][name] = pattern
    return groups


class _PatternGroup:
    """Patterns that are searched together."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.patterns = dict(patterns)
        # Several checks read the same text one after the other.
        self.possible_names = lru_cache(maxsize=CACHED_TEXTS)(self._find_possible)

    @cached_property
    def _compiled(self) -> tuple[_PatternSet, list[str]] | None:
        try:
            re2 = importlib.import_module("re2")
        except ImportError:  # a platform without a wheel: every pattern runs
            return None
        options = re2.Options()
        options.max_mem = MAX_BYTES
        # RE2 would print each pattern that it rejects to stderr.
        options.log_errors = False
        found = cast(_PatternSet, re2.Set.SearchSet(options))
        unsupported = (_Unsupported, cast(type[Exception], re2.error))
        names: list[str] = []
        # The first pattern matches the end of every text; see `_END`.
        found.Add("\\x00")
        for name, pattern in self.patterns.items():
            try:
                found.Add(trim_edges(widen_pattern(pattern)))
            except unsupported:
                continue
            names.append(name)
        found.Compile()
        return found, names

    @cached_property
    def _unindexed(self) -> frozenset[str]:
        indexed = self._compiled[1] if self._compiled else ()
        return frozenset(self.patterns) - frozenset(indexed)

    def _find_possible(self, text: str) -> frozenset[str]:
        if self._compiled is None:
            return self._unindexed
        found, names = self._compiled
        try:
            numbers = found.Match(text + _END) or []
        except UnicodeEncodeError:  # a lone surrogate
            numbers = []
        if 0 not in numbers:
            return frozenset(self.patterns)
        return self._unindexed.union(names[number - 1] for number in numbers if number)


# A compiled pack costs 100 ms, and a process that makes several runs uses the same one.
@lru_cache(maxsize=64)
def _share_group(patterns: tuple[tuple[str, str], ...]) -> _PatternGroup:
    return _PatternGroup(dict(patterns))


def widen_pattern(pattern: str) -> str:
    """Return a pattern for RE2 that matches wherever a Python pattern does, and perhaps elsewhere.

    Look-arounds, anchors and counts are removed, and classes of Unicode hold every other letter.

    Raises:
        _Unsupported: the pattern has a part that RE2 lacks or reads in another way.
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:  # a backslash at the end
            raise _Unsupported
        position = token.end()
        kind = token.lastgroup
        if kind in ("other", "odd"):
            raise _Unsupported
        if kind == "look":
            position = _skip_group(pattern, position)
        elif kind == "open":
            part, position = _widen_class(pattern, position, token[0])
            parts.append(part)
        elif kind == "escape":
            parts.append(_widen_escape(token["escape"]))
        elif kind in ("name", "group"):
            parts.append("(?:")
        elif kind in ("least", "plain"):
            parts.append(_widen_count(token["least"]) or token[0])
        is_removed = kind in ("look", "anchor") or (kind == "escape" and not parts[-1])
        if is_removed and pattern[position : position + 1] in _QUANTIFIERS:
            raise _Unsupported
    return "".join(parts)


def trim_edges(pattern: str) -> str:
    """Drop the parts at both ends of a widened pattern that may be empty.

    The rest occurs in the same texts, and a set of patterns that begin with an optional word has
    several times the states.
    """
    return _trim(pattern, left=True, right=True)


def _trim(pattern: str, *, left: bool, right: bool) -> str:
    branches: list[str] = []
    for items in _split_branches(pattern):
        while left and items and _may_be_empty(items[0]):
            items = items[1:]
        while right and items and _may_be_empty(items[-1]):
            items = items[:-1]
        if not items:  # the pattern occurs in every text
            return pattern
        last = len(items) - 1
        branches.append(
            "".join(
                _trim_group(item, left=left and i == 0, right=right and i == last)
                for i, item in enumerate(items)
            )
        )
    return "|".join(branches)


def _trim_group(item: str, *, left: bool, right: bool) -> str:
    inner = _find_inner(item)
    if inner is None or not (left or right):
        return item
    return f"(?:{_trim(inner, left=left, right=right)})"


def _find_inner(item: str) -> str | None:
    """Return the pattern inside of a group that is not repeated."""
    if item[0] != "(" or item[-1] != ")":
        return None
    return item[1:-1].removeprefix("?:")


def _may_be_empty(item: str) -> bool:
    repeats = item[len(item.rstrip("?*+")) :]
    if repeats and len(item) > len(repeats) and item[-len(repeats) - 1] != "\\":
        return repeats[0] != "+"
    inner = _find_inner(item)
    return inner is not None and any(
        all(map(_may_be_empty, items)) for items in _split_branches(inner)
    )


# Each nested group is asked for once per level above it.
@lru_cache(maxsize=4_096)
def _split_branches(pattern: str) -> tuple[tuple[str, ...], ...]:
    """Split a pattern into its branches, and these into items with their repeats."""
    branches: list[list[str]] = [[]]
    position = start = depth = 0
    while position < len(pattern):
        piece = _PIECE.match(pattern, position)
        assert piece is not None, "a point matches every character"
        position = piece.end()
        depth += piece[0] in ("(", "(?:")
        depth -= piece[0] == ")"
        if depth:
            continue
        if piece[0] == "|":
            branches.append([])
        else:
            repeats = _REPEATS.match(pattern, position)
            position = repeats.end() if repeats else position
            branches[-1].append(pattern[start:position])
        start = position
    return tuple(map(tuple, branches))


def _widen_count(least: str | None) -> str:
    # Without counts a set has a fraction of the states.
    return "" if least is None else "+" if int(least) else "*"


def _widen_escape(letter: str) -> str:
    if letter in "bBAZ":
        return ""
    if letter in _CLASSES:
        return f"[{_CLASSES[letter]}]"
    if letter in "WDSntrfv" or (letter.isascii() and not letter.isalnum()):
        return "\\" + letter
    raise _Unsupported


def _widen_class(pattern: str, position: int, opening: str) -> tuple[str, int]:
    """Return the wider class that begins with `opening`, and the position after it."""
    parts, negated = [opening.replace("]", r"\]")], "^" in opening
    while (letter := pattern[position]) != "]":
        escape = pattern[position + 1] if letter == "\\" else ""
        position += 1 + len(escape)
        if letter == "[" and pattern[position] == ":":
            raise _Unsupported
        parts.append(_widen_in_class(escape, negated=negated) if escape else letter)
    return "".join([*parts, "]"]), position + 1


def _widen_in_class(escape: str, *, negated: bool) -> str:
    # A negated class must exclude no more than Python's.
    if escape in _CLASSES:
        return "\\" + escape if negated else _CLASSES[escape]
    if escape in "ntrfv" or (escape in "WDS" and not negated):
        return "\\" + escape
    if escape.isascii() and not escape.isalnum():
        return "\\" + escape
    raise _Unsupported


def _skip_group(pattern: str, position: int) -> int:
    """Return the position after the group that is open at `position`."""
    depth = 1
    while depth:
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise _Unsupported
        position = token.end()
        if token.lastgroup == "open":
            _, position = _widen_class(pattern, position, token[0])
        elif token.lastgroup in ("look", "name", "group", "other") or token[0] == "(":
            depth += 1
        elif token[0] == ")":
            depth -= 1
    return position
