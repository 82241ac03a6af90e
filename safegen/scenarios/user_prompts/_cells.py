"""The cells of a user's row, read as texts, names, choices and messages; each mistake with its place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from safegen.core.types import Message
from safegen.core.yaml_source import suggest_names
from safegen.scenarios.user_prompts._faults import RowError, RowFault
from safegen.scenarios.user_prompts.reader import MAX_NAME, NAME_PROBLEM, RawRow, is_printable_name

MAX_MESSAGE_CHARS = 131_072
"""Characters of a row's messages together, and of a CSV cell."""
MAX_LISTED = 12
"""Values that a mistake lists; there are more leaves, and a file may name many wrongly."""
MAX_TEXT_CHARS = 4_000
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
WHOLE_NUMBER = re.compile(r"([0-4])(?:\.0+)?")
T = TypeVar("T", bound=str)


def is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True, slots=True)
class RowCells:
    """A row's values by field, and how to read them."""

    raw: RawRow
    values: Mapping[str, object]

    def make_error(self, code: RowFault, problem: str) -> RowError:
        return RowError(f"{self.raw.place}: {problem}", code=code)

    def text(self, name: str, *, most: int = MAX_TEXT_CHARS) -> str | None:
        """A text exactly as it stands."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.make_error("not_text", f"`{name}` is no text but {_type_name(value)}")
        if len(value) > most:
            raise self.make_error("too_long", f"`{name}` has more than {most} characters")
        return self.require_encodable(name, value)

    def require_encodable(self, name: str, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise self.make_error(
                "not_encodable", f"`{name}` holds half a character (a lone surrogate)"
            ) from e
        return value

    def name(self, name: str) -> str | None:
        """A name in one line; a whole number is one too."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        text = self.text(name)
        if text is not None and not is_printable_name(text):
            raise self.make_error("invalid_name", f"`{name}` {NAME_PROBLEM}")
        return text

    def choice(self, name: str, allowed: Sequence[T]) -> T | None:
        """One of several words."""
        value = self.text(name)
        for known in allowed:
            if value == known:
                return known
        if value is None:
            return None
        hint = suggest_names(value, allowed, listed=len(allowed) <= MAX_LISTED)
        hint = hint or f"; `safegen taxonomy show TAXONOMY` lists the {len(allowed)} known"
        raise self.make_error("unknown_value", f"`{name}` is `{value[:60]}`{hint}")

    def detail(self) -> int | None:
        """0 to 4, also where a table made text or a fraction of it."""
        value = self.values.get("detail")
        if value is None:
            return None
        match = None if isinstance(value, bool) else WHOLE_NUMBER.fullmatch(str(value))
        if match is None:
            raise self.make_error(
                "invalid_detail",
                f"`detail` is `{str(value)[:60]}`; give a whole number from 0 to 4",
            )
        return int(match[1])

    def language(self) -> str | None:
        value = self.text("language", most=MAX_NAME)
        if value is not None and not LANGUAGE_TAG.fullmatch(value):
            raise self.make_error(
                "invalid_language", f"`language` is `{value[:60]}`; give a BCP-47 tag such as `en`"
            )
        return value


def read_conversation(cells: RowCells) -> tuple[Message, ...]:
    fields = [name for name in ("prompt", "messages") if name in cells.values]
    if len(fields) != 1:
        if not fields:
            raise cells.make_error(
                "missing_prompt", "has no `prompt`; write one or leave the row out"
            )
        raise cells.make_error("ambiguous_prompt", "has both `prompt` and `messages`; keep one")
    if fields == ["prompt"]:
        if isinstance(cells.values["prompt"], list):
            raise cells.make_error(
                "not_text", "`prompt` is a list; a conversation is read from `messages`"
            )
        text = cells.text("prompt", most=MAX_MESSAGE_CHARS) or ""
        messages = (Message(role="user", content=text),)
    else:
        messages = _read_turns(cells)
    if sum(len(m["content"]) for m in messages) > MAX_MESSAGE_CHARS:
        raise cells.make_error(
            "too_long", f"`messages` have more than {MAX_MESSAGE_CHARS} characters"
        )
    if not messages[-1]["content"].strip():
        raise cells.make_error("blank_prompt", f"`{fields[0]}` is blank")
    return messages


def _read_turns(cells: RowCells) -> tuple[Message, ...]:
    value = cells.values["messages"]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as e:
            raise cells.make_error(
                "invalid_messages", "`messages` is not the JSON of a list of messages"
            ) from e
    if not isinstance(value, list) or not value:
        raise cells.make_error(
            "invalid_messages", "`messages` is not a list of messages with `role` and `content`"
        )
    turns = [_read_turn(cells, turn) for turn in cast("list[object]", value)]
    roles = [m["role"] for m in turns if m["role"] != "system"]
    if any(m["role"] == "system" for m in turns[1:]):
        raise cells.make_error(
            "invalid_messages", "`messages` have a `system` turn that is not the first"
        )
    if roles[-1:] != ["user"] or any(
        role != ("user", "assistant")[i % 2] for i, role in enumerate(roles)
    ):
        raise cells.make_error(
            "invalid_messages",
            "`messages` must begin and end with a `user` turn, with one `assistant` turn between two",
        )
    return tuple(turns)


def _read_turn(cells: RowCells, value: object) -> Message:
    turn = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    role, content = turn.get("role"), turn.get("content")
    extra = sorted(k for k, v in turn.items() if k not in ("role", "content") and not is_missing(v))
    if extra:
        raise cells.make_error(
            "invalid_messages", f"`messages` have the key `{extra[0][:60]}`; known: content, role"
        )
    if not isinstance(content, str):
        raise cells.make_error(
            "invalid_messages",
            f"`messages` have a `content` that is no text but {_type_name(content)}",
        )
    content = cells.require_encodable("messages", content)
    if role == "system":
        return Message(role="system", content=content)
    if role == "user":
        return Message(role="user", content=content)
    if role == "assistant":
        return Message(role="assistant", content=content)
    hint = suggest_names(str(role), ("system", "user", "assistant"))
    raise cells.make_error("invalid_messages", f"`messages` have the role `{str(role)[:60]}`{hint}")


def _type_name(value: object) -> str:
    if value is None:
        return "nothing"
    kinds = {"list": "a list", "dict": "an object", "bytes": "bytes", "bool": "true or false"}
    name = type(value).__name__
    return kinds.get(name, f"a number ({name})" if isinstance(value, int | float) else name)
