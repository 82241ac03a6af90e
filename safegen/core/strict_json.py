"""JSON of files that may be damaged: a value that safegen cannot store or print is an error."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from safegen.core.yaml_errors import clip

MAX_INTEGER = 2**64
"""Integers of this size and larger fit no column and no table."""


def parse_json(text: str | bytes) -> object:
    """Parse JSON without infinite numbers, huge integers, half characters or deep nesting.

    Raises:
        ValueError: the text is not JSON, or it holds such a value.
    """
    try:
        # `json` accepts NaN and numbers of any length by default.
        value: object = json.loads(
            text,
            object_pairs_hook=refuse_repeated_keys,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
        )
        _check_surrogates(text, value)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e
    except UnicodeEncodeError as e:
        raise ValueError("it contains half a character (a lone surrogate)") from e
    return value


def _check_surrogates(text: str | bytes, value: object) -> None:
    """Check that a text and its parsed value can be encoded as UTF-8.

    Raises:
        UnicodeEncodeError: one of them holds a lone surrogate.
    """
    encoded = text if isinstance(text, bytes) else text.encode()
    # Writing the value again takes as long as reading it, and few files have such an escape.
    if b"\\ud" in encoded or b"\\uD" in encoded:
        json.dumps(value, ensure_ascii=False).encode()


class RepeatedKey(ValueError):
    """A key that an object has twice, so that one of its values would be lost."""

    @classmethod
    def of(cls, name: str) -> RepeatedKey:
        """Make the error of a key."""
        return cls(f"key `{clip(name, 60)}` appears twice")


def refuse_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its keys and values, for `object_pairs_hook`.

    Raises:
        RepeatedKey: a key appears twice.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise RepeatedKey.of(name)
            seen.add(name)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not a number of JSON")


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"`{digits[:20]}` is too large")
    return number


def _parse_int(digits: str) -> int:
    # Python refuses very long integers with a ValueError of its own.
    number = int(digits)
    if abs(number) >= MAX_INTEGER:
        raise ValueError(f"`{digits[:20]}` is too large")
    return number
