"""Search of made texts with a user's pattern, to find a pattern that takes too long.

Each repeat of a pattern gets texts that match it many times and then break off, which makes the
engine try every division of the text.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, cast

MAX_COUNT = 10_000
"""Largest product of the counts of nested repeats; the engine checks no time limit inside one."""
MAX_DEPTH = 10
"""Most repeats inside each other; the package `regex` compiles them in time exponential in their number."""
# A long pattern could have thousands of texts; the first repeats show most faults.
MAX_TEXTS = 200
LENGTHS = (30, 600)
"""Characters of a repeated part. 30 show an exponential time, 600 a cubic one."""
END = "\x01"
_CLASS_SAMPLES = {"WORD": "a0", "DIGIT": "0", "SPACE": " "}
_CANDIDATES = "a0 !\n\u00e9\x02"
_SAMPLES = 4

# Any: the nodes of the parser of `re`, which has no types.
Node = tuple[Any, Any]


class _Constants(Protocol):
    MAXREPEAT: int


def _parse(pattern: str) -> Sequence[Node]:
    # Private, but stable since Python 3.11, and the only parser that agrees with `re`.
    parser = importlib.import_module("re._parser")
    return cast("Sequence[Node]", list(parser.parse(pattern)))


def largest_count(pattern: str) -> int:
    """Return the largest product of the counts of nested repeats; `*` and `+` count as one."""
    return _largest_count(_parse(pattern))


def _largest_count(nodes: Sequence[Node]) -> int:
    return max((_count_node(node) for node in nodes), default=1)


def _count_node(node: Node) -> int:
    inner = max((_largest_count(part) for part in _parts(node)), default=1)
    repeat = _repeat_of(node)
    if repeat is None:
        return inner
    low, high, _ = repeat
    return inner * max(low, 1 if _is_endless(high) else high, 1)


def largest_depth(pattern: str) -> int:
    """Return the largest number of repeats inside each other."""
    return _largest_depth(_parse(pattern))


def _largest_depth(nodes: Sequence[Node]) -> int:
    depths = (
        (_repeat_of(node) is not None) + _largest_depth(part)
        for node in nodes
        for part in _parts(node)
    )
    return max(depths, default=0)


def make_texts(pattern: str) -> list[str]:
    """Make texts that nearly match each repeat of a pattern many times.

    Args:
        pattern: a valid regular expression.

    Returns:
        At most `MAX_TEXTS` texts of at most about `max(LENGTHS)` characters behind the part of the
        pattern before the repeat.
    """
    nodes = _parse(pattern)
    # An engine gives up at once if a letter that a match needs is missing.
    needed = END + "\n" + "".join(dict.fromkeys(_literals(nodes)))
    pumped = dict.fromkeys(_pump(nodes, ""))
    texts = (text + tail for text in pumped for tail in (END, needed))
    return list(islice(texts, MAX_TEXTS))


def _pump(nodes: Sequence[Node], prefix: str) -> Iterator[str]:
    """Yield each repeat's texts after a text that matches the nodes before it."""
    for place, node in enumerate(nodes):
        repeat = _repeat_of(node)
        if repeat is not None and repeat[1] > 1:
            yield from _pump_repeat(repeat, prefix)
        starts = [prefix]
        if str(node[0]).startswith("ASSERT"):  # the text after it is read twice
            starts.append(prefix + _samples_of(nodes[place + 1 :])[0])
        for part in _parts(node):
            for start in starts:
                yield from _pump(part, start)
        prefix += _samples_of([node])[0]


def _pump_repeat(repeat: tuple[int, int, Sequence[Node]], prefix: str) -> Iterator[str]:
    low, high, body = repeat
    for sample in filter(None, _samples_of(body)):
        counts = {max(length // len(sample), 2) for length in LENGTHS}
        if 2 < high <= max(LENGTHS):  # one less than needed breaks off at the end
            counts |= {high - 1, high, max(low - 1, 2)}
        for count in sorted(counts):
            yield prefix + sample * count


def _samples_of(nodes: Sequence[Node]) -> list[str]:
    """Return up to `_SAMPLES` texts that the nodes match, more or less; at least one."""
    choices = [_samples_of_node(node) for node in nodes]
    first = "".join(choice[0] for choice in choices)
    samples = [first]
    for place, choice in enumerate(choices):
        before = "".join(c[0] for c in choices[:place])
        after = "".join(c[0] for c in choices[place + 1 :])
        samples += [before + other + after for other in choice[1:]]
    return list(dict.fromkeys(samples))[:_SAMPLES]


def _samples_of_node(node: Node) -> list[str]:
    kind, value = str(node[0]), node[1]
    if kind == "LITERAL":
        return [chr(value)]
    if kind == "NOT_LITERAL":
        return [next(c for c in _CANDIDATES if ord(c) != value)]
    if kind == "ANY":
        return ["a", " "]
    if kind == "IN":
        return _samples_of_class(value)
    if kind in ("ASSERT", "ASSERT_NOT"):
        return [""]
    repeat = _repeat_of(node)
    if repeat is not None:
        low = repeat[0]
        samples = [sample * min(max(low, 1), 20) for sample in _samples_of(repeat[2])]
        return samples if low else [*samples[: _SAMPLES - 1], ""]
    samples = [sample for part in _parts(node) for sample in _samples_of(part)]
    return list(dict.fromkeys(samples)) or [""]


def _samples_of_class(items: Sequence[Node]) -> list[str]:
    members = "".join(_members(item) for item in items)
    if str(items[0][0]) != "NEGATE":
        return list(dict.fromkeys(members)) or ["a"]
    return [c for c in _CANDIDATES if c not in members][:_SAMPLES] or ["a"]


def _members(item: Node) -> str:
    kind, value = str(item[0]), item[1]
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        return chr(value[0]) + chr(value[1])
    if kind == "CATEGORY":
        name = str(value).removeprefix("CATEGORY_")
        known = _CLASS_SAMPLES.get(name.removeprefix("NOT_"), "")
        return "".join(c for c in _CANDIDATES if c not in known) if "NOT_" in name else known
    return ""


def _literals(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        if str(node[0]) == "LITERAL":
            yield chr(node[1])
        for part in _parts(node):
            yield from _literals(part)


def _repeat_of(node: Node) -> tuple[int, int, Sequence[Node]] | None:
    return node[1] if str(node[0]).endswith("_REPEAT") else None


def _is_endless(high: int) -> bool:
    constants = cast(_Constants, importlib.import_module("re._constants"))
    return high == constants.MAXREPEAT


def _parts(node: Node) -> Sequence[Sequence[Node]]:
    """Return the sequences of nodes inside a node."""
    kind, value = str(node[0]), node[1]
    if kind == "BRANCH":
        return value[1]
    if kind == "GROUPREF_EXISTS":
        return [part for part in value[1:] if part is not None]
    if kind == "SUBPATTERN":
        return [value[3]]
    if kind in ("ASSERT", "ASSERT_NOT"):
        return [value[1]]
    if kind == "ATOMIC_GROUP":
        return [value]
    return [value[2]] if kind.endswith("_REPEAT") else []
