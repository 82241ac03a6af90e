"""The messages of a row, from a prompt or from one of the common forms of a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from safegen.core.strict_json import refuse_repeated_keys
from safegen.core.suggestions import suggest_names
from safegen.core.types import Message, Role
from safegen.core.visible_text import has_visible_character
from safegen.scenarios.user_prompts.cell_checks import (
    MAX_MESSAGE_CHARS,
    check_text,
    describe_type,
    is_missing,
    make_fault,
    require_encodable,
)

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
"""Role by the name that a conversation gives it; ShareGPT has `human` and `gpt`."""
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value")
# Images and other parts have no text that a policy could read.
TEXT_PARTS = (None, "text", "input_text", "output_text")
TURNS_HINT = (
    "a conversation belongs in `messages`: a list of {role, content} that ends with a user turn"
)


class PromptCells(NamedTuple):
    """The cells of a row that make its messages; None for an empty one."""

    prompt: object = None
    messages: object = None
    context: object = None
    drop_answer: bool = False
    """True if an answer at the end is dropped."""


def is_turn(value: object) -> bool:
    """Check for a turn of a conversation: an object with a role and a content."""
    fields = _to_fields(value)
    has_role = any(key in fields for key in ROLE_KEYS)
    return has_role and any(key in fields for key in CONTENT_KEYS)


def _to_fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def parse_conversation(cells: PromptCells) -> tuple[Message, ...]:
    """Read the messages of a row, which end with a user turn.

    Raises:
        PydanticCustomError: the row has no prompt, several, or one that cannot be read.
    """
    if cells.prompt is None and cells.messages is None:
        raise make_fault("missing_prompt", "has no `prompt`; write one")
    if cells.prompt is not None and cells.messages is not None:
        problem = "has both `prompt` and `messages`; leave one unread with `--column messages=`"
        raise make_fault("ambiguous_prompt", f"{problem} or `--column prompt=`")
    if cells.messages is None:
        name, messages = "prompt", _parse_prompt(cells.prompt, cells.context)
    else:
        if cells.context is not None:
            problem = "`context` belongs before a `prompt`, and the row has `messages`"
            raise make_fault(
                "invalid_messages", f"{problem}; leave one unread with `--column context=`"
            )
        name, messages = "messages", _parse_turns(cells.messages, drop_answer=cells.drop_answer)
    if sum(len(m["content"]) for m in messages) > MAX_MESSAGE_CHARS:
        raise make_fault("too_long", f"`{name}` has more than {MAX_MESSAGE_CHARS} characters")
    if not has_visible_character(messages[-1]["content"]):
        raise make_fault("blank_prompt", f"`{name}` is blank")
    return messages


def ends_with_answer(value: object) -> bool:
    """Check if the last turn of a conversation is an assistant turn.

    Raises:
        PydanticCustomError: the turns cannot be read.
    """
    return _read_role(_list_turns(value)[-1]) == "assistant"


def split_answer(value: object, *, alone: bool = False) -> tuple[tuple[Message, ...], str]:
    """Split a conversation that ends with an assistant turn into the messages before it and its text.

    Args:
        value: the turns, in one of the common forms.
        alone: True if no turn precedes the answer.

    Raises:
        PydanticCustomError: the turns cannot be read, or the last one is no answer.
    """
    turns = [_parse_turn(turn) for turn in _list_turns(value)]
    if not turns or turns[-1]["role"] != "assistant":
        problem = "`messages` must end with an `assistant` turn, the answer to score"
        raise make_fault("missing_response", problem)
    answer = turns.pop()["content"]
    if len(answer) > MAX_MESSAGE_CHARS:
        raise make_fault("too_long", f"the answer has more than {MAX_MESSAGE_CHARS} characters")
    if alone:
        return (), answer
    return parse_conversation(PromptCells(messages=turns)), answer


def _parse_prompt(value: object, context: object) -> tuple[Message, ...]:
    if isinstance(value, list):
        items = cast("list[object]", value)
        if any(is_turn(item) for item in items):
            problem = "`prompt` is a conversation; read it with `--column messages=COLUMN`"
            raise make_fault("not_text", problem)
        if len(items) != 1 or not isinstance(items[0], str):
            problem = f"`prompt` is a list of {len(items)} values and not of one text; {TURNS_HINT}"
            raise make_fault("not_text", problem)
        value = items[0]
    text = check_text(value, "prompt", most=MAX_MESSAGE_CHARS)
    if context is not None:
        before = check_text(context, "context", most=MAX_MESSAGE_CHARS)
        # Only the context cannot make a prompt.
        if has_visible_character(before) and has_visible_character(text):
            text = f"{before}\n\n{text}"
    return (Message(role="user", content=text),)


def _parse_turns(value: object, *, drop_answer: bool) -> tuple[Message, ...]:
    listed = list(_list_turns(value))
    # Not parsed: an assistant turn with a tool call instead of an answer has no text.
    if drop_answer and _read_role(listed[-1]) == "assistant":
        listed.pop()
    turns = [_parse_turn(turn) for turn in listed]
    # Most chat templates reject a later system turn.
    if any(m["role"] == "system" for m in turns[1:]):
        problem = "`messages` have a `system` turn that is not the first"
        raise make_fault("invalid_messages", problem)
    roles = [m["role"] for m in turns if m["role"] != "system"]
    alternating = all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles))
    if alternating and roles[-1:] == ["user"]:
        return tuple(turns)
    problem = (
        "`messages` must begin and end with a `user` turn, with one `assistant` turn between two"
    )
    if alternating and roles[-1:] == ["assistant"]:
        problem += "; drop answers at the end with `--drop-answer`"
    raise make_fault("invalid_messages", problem)


def _list_turns(value: object) -> Sequence[object]:
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=refuse_repeated_keys)
        except (ValueError, RecursionError) as e:
            reason = "nested too deeply" if isinstance(e, RecursionError) else str(e)
            problem = f"`messages` is not the JSON of a list of messages ({reason[:120]})"
            raise make_fault("invalid_messages", problem) from None
    if isinstance(value, dict):
        value = _transpose(cast("dict[str, object]", value))
    if not isinstance(value, list) or not value:
        problem = "`messages` is not a list of messages with `role` and `content`"
        raise make_fault("invalid_messages", problem)
    turns = cast("list[object]", value)
    if isinstance(turns[0], str):
        if len(turns) == 1:
            return [{"role": "user", "content": turns[0]}]
        problem = f"`messages` is a list of {len(turns)} texts without roles; {TURNS_HINT}"
        raise make_fault("invalid_messages", problem)
    return turns


def _transpose(columns: Mapping[str, object]) -> object:
    """Turn an object of lists, as which `datasets` stores a sequence of turns, into a list of objects."""
    lists = {
        name: cast("list[object]", value)
        for name, value in columns.items()
        if isinstance(value, list)
    }
    sizes = {len(values) for values in lists.values()}
    if len(sizes) != 1:
        return None
    return [dict(zip(lists, items, strict=True)) for items in zip(*lists.values(), strict=True)]


def _parse_turn(value: object) -> Message:
    turn = _to_fields(value)
    role = _read_role(turn)
    content = next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)
    return Message(role=role, content=_parse_content(content))


def _read_role(value: object) -> Role:
    turn = _to_fields(value)
    # Parquet gives every turn all keys of the column, and null for those that it lacks.
    role = next((turn[key] for key in ROLE_KEYS if not is_missing(turn.get(key))), None)
    known = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        hint = suggest_names(str(role)[:60], ("system", "user", "assistant"))
        problem = f"`messages` have the role `{str(role)[:60]}`{hint}"
        raise make_fault("invalid_messages", problem)
    return known


def _parse_content(content: object) -> str:
    if isinstance(content, list):
        content = "\n".join(_parse_part(part) for part in cast("list[object]", content))
    if not isinstance(content, str):
        problem = f"`messages` have a `content` that is not text but {describe_type(content)}"
        raise make_fault("invalid_messages", problem)
    return require_encodable(content, "messages")


def _parse_part(part: object) -> str:
    if isinstance(part, str):
        return part
    fields = _to_fields(part)
    text, kind = fields.get("text"), fields.get("type")
    if kind in TEXT_PARTS and isinstance(text, str):
        return text
    problem = (
        f"`messages` have a part of the type `{str(kind)[:60]}`; only parts with `text` are read"
    )
    raise make_fault("invalid_messages", problem)
