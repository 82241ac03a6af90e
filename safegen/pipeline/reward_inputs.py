"""Prompts and responses of trainers, in the shapes in which their reward functions receive them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from safegen.core.errors import UserError
from safegen.core.types import Message, Role
from safegen.teachers import cut_control_tokens, split_thinking

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
TOOL_ROLES = frozenset(("tool", "function"))
"""Roles of tool results; validators and judges know no turn of a tool, so they are left out."""
_JSON_TURNS = re.compile(r"\s*\[\s*\{")
PROMPT_COLUMNS = ("prompt", "messages")
NOT_COLUMNS = frozenset(("completion_ids", "trainer_state", "log_extra", "log_metric"))
"""Arguments of TRL that are no columns of the dataset."""


@dataclass(frozen=True, slots=True)
class RewardItem:
    """A response to score, with the conversation before it and the columns of its row."""

    messages: tuple[Message, ...]
    response: str
    columns: Mapping[str, object]


def read_trl_batch(
    prompts: Sequence[object], completions: Sequence[object], columns: Mapping[str, object]
) -> list[RewardItem]:
    """Read the arguments of a TRL reward function, in the plain or the conversational format.

    Raises:
        UserError: a prompt or completion has another format, or the numbers of values differ.
    """
    if len(prompts) != len(completions):
        raise UserError(f"there are {len(prompts)} prompts and {len(completions)} completions")
    plain = {name: _unpack(values) for name, values in columns.items() if name not in NOT_COLUMNS}
    per_row = {
        name: _check_column(name, cast("object", values), len(prompts))
        for name, values in plain.items()
        # Trainers also pass objects and functions of their own.
        if isinstance(values, list | tuple | str | int | float | Mapping)
    }
    return [
        _make_item(
            read_messages(prompt, f"prompts[{n}]"),
            completion,
            {name: values[n] for name, values in per_row.items()},
            place=f"completions[{n}]",
        )
        for n, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
    ]


def _check_column(name: str, values: object, rows: int) -> Sequence[object]:
    if not isinstance(values, list | tuple):
        raise UserError(f"column `{name}` is one value; pass a list with one value for each prompt")
    column = cast("Sequence[object]", values)
    if len(column) != rows:
        raise UserError(f"column `{name}` has {len(column)} values for {rows} prompts")
    return column


def read_verl_item(
    data_source: object, solution: str, ground_truth: object, extra_info: object
) -> RewardItem:
    """Read the arguments of verl's `compute_score`; the prompt is in `extra_info` or `ground_truth`.

    Raises:
        UserError: there is no prompt.
    """
    columns = {
        "data_source": data_source,
        "ground_truth": ground_truth,
        **_to_columns(ground_truth),
        **_to_columns(extra_info),
    }
    remedy = "verl passes no prompt; add `prompt` (text or messages) to `extra_info`"
    return _make_item(_find_prompt(columns, remedy), solution, columns, place="solution_str")


def read_openrlhf_batch(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[object]
) -> list[RewardItem]:
    """Read the arguments of OpenRLHF's `reward_func`.

    A label may be JSON text of an object with columns. If it has `prompt` or `messages`, they are the
    conversation; else the templated prompt is one user turn.

    Raises:
        UserError: the numbers differ, or a query does not start with its prompt.
    """
    if not len(queries) == len(prompts) == len(labels):
        raise UserError(
            f"there are {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels"
        )
    items: list[RewardItem] = []
    for n, (query, prompt, label) in enumerate(zip(queries, prompts, labels, strict=True)):
        if not isinstance(cast("object", query), str) or not isinstance(
            cast("object", prompt), str
        ):
            raise UserError(f"queries[{n}] or prompts[{n}] is no text")
        if not query.startswith(prompt):
            raise UserError(
                f"queries[{n}] does not start with its prompt, so its response is unknown"
            )
        columns = {"label": label, **_to_columns(label)}
        named = next((columns[name] for name in PROMPT_COLUMNS if columns.get(name)), prompt)
        messages = read_messages(named, f"labels[{n}]")
        items.append(_make_item(messages, query[len(prompt) :], columns, place=f"queries[{n}]"))
    return items


def read_verifiers_item(
    prompt: object, completion: object, answer: object, info: object
) -> RewardItem:
    """Read the arguments of a reward function of verifiers.

    Raises:
        UserError: prompt or completion have another format.
    """
    columns = {"answer": answer, **_to_columns(answer), **_to_columns(info)}
    return _make_item(read_messages(prompt, "prompt"), completion, columns, place="completion")


def read_nemo_gym_item(body: Mapping[str, object]) -> RewardItem:
    """Read the body of a `verify` request of NeMo Gym; other keys of the row are columns.

    Raises:
        UserError: the body has no input, or the output has no message.
    """
    request, response = (
        _to_columns(body.get("responses_create_params")),
        _to_columns(body.get("response")),
    )
    columns = {k: v for k, v in body.items() if k not in ("responses_create_params", "response")}
    if not request.get("input"):
        raise UserError("the request has no `responses_create_params.input`")
    instructions = request.get("instructions")
    system = [Message(role="system", content=instructions)] if isinstance(instructions, str) else []
    turns = read_messages(request["input"], "responses_create_params.input")
    output = [
        item
        for item in _iter_mappings(response.get("output"))
        if item.get("type", "message") == "message"
    ]
    if not output:
        raise UserError("the request has no message in `response.output`")
    return _make_item((*system, *turns), output, columns, place="response.output")


def read_messages(value: object, place: str) -> tuple[Message, ...]:
    """Read a conversation: text is one user turn, else a list of messages, also as JSON text.

    Raises:
        UserError: the value is neither, or a role is unknown.
    """
    if isinstance(value, str):
        parsed = _parse_turns(value)
        if parsed is None:
            return (Message(role="user", content=value),)
        value = parsed
    messages = tuple(
        _read_turn(turn, place) for turn in _list_turns(value, place) if not _is_tool_turn(turn)
    )
    if not messages:
        raise UserError(f"`{place}` is neither text nor a list of messages")
    return messages


def _parse_turns(text: str) -> list[object] | None:
    """Parse JSON text of messages; None for any other text, also a prompt that is other JSON."""
    turns = _parse_json(text) if _JSON_TURNS.match(text) else None
    if not isinstance(turns, list):
        return None
    known = {*ROLES, *TOOL_ROLES}
    every = cast("list[object]", turns)
    are_turns = all(
        isinstance(turn, Mapping) and cast("Mapping[str, object]", turn).get("role") in known
        for turn in every
    )
    return every if are_turns else None


def _list_turns(value: object, place: str) -> list[Mapping[str, object]]:
    """List messages, also those of an array or of pydantic models."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise UserError(f"`{place}` is neither text nor a list of messages")
    turns: list[Mapping[str, object]] = []
    for turn in cast("Iterable[object]", value):
        plain = _dump_model(turn)
        if not isinstance(plain, Mapping):
            raise UserError(f"`{place}` holds a `{type(plain).__name__}` in place of a message")
        turns.append(cast("Mapping[str, object]", plain))
    return turns


def _dump_model(value: object) -> object:
    """Convert a pydantic model to plain values; return any other value as it is."""
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else value


def _is_tool_turn(turn: Mapping[str, object]) -> bool:
    # Inputs of NeMo Gym also hold calls, their results and reasoning, which have no role.
    is_other = turn.get("role") is None and turn.get("type") not in (None, "message")
    return is_other or turn.get("role") in TOOL_ROLES


def _read_turn(turn: Mapping[str, object], place: str) -> Message:
    role = ROLES.get(str(turn.get("role")))
    if role is None:
        raise UserError(
            f"`{place}`: role `{str(turn.get('role'))[:60]}` is unknown; use {', '.join(ROLES)}"
        )
    return Message(role=role, content=_read_content(turn.get("content"), place))


def _read_content(content: object, place: str) -> str:
    """Read the text of a turn: text, nothing, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(_read_part(part, place) for part in _list_parts(content, place))


def _list_parts(content: object, place: str) -> list[object]:
    if isinstance(content, bytes | Mapping) or not isinstance(content, Iterable):
        kind = type(cast("object", content)).__name__
        raise UserError(f"`{place}`: the content is a `{kind}`; use text")
    return list(cast("Iterable[object]", content))


def _read_part(part: object, place: str) -> str:
    plain = _dump_model(part)
    text = cast("Mapping[str, object]", plain).get("text") if isinstance(plain, Mapping) else plain
    # A part without text is an image or a refusal.
    if text is not None and not isinstance(text, str):
        raise UserError(f"`{place}`: a part of the content is a `{type(text).__name__}`; use text")
    return text or ""


def _make_item(
    messages: tuple[Message, ...],
    completion: object,
    columns: Mapping[str, object],
    *,
    place: str,
) -> RewardItem:
    if isinstance(completion, str):
        return RewardItem(messages, visible_answer(completion), columns)
    turns = read_messages(completion, place)
    if turns[-1]["role"] != "assistant":
        raise UserError(f"`{place}` does not end with an assistant turn")
    return RewardItem((*messages, *turns[:-1]), visible_answer(turns[-1]["content"]), columns)


def to_plain(value: object) -> object:
    """Replace arrays and scalars of numpy, pandas, polars and torch by lists and numbers, at any depth.

    Example:
        >>> import numpy as np
        >>> to_plain({"levels": np.array([1, 2]), "level": np.int64(3)})
        {'levels': [1, 2], 'level': 3}
    """
    value = _unpack(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {to_plain(name): to_plain(element) for name, element in pairs}
    if isinstance(value, list | tuple):
        return [to_plain(element) for element in cast("Sequence[object]", value)]
    return value


def _unpack(value: object) -> object:
    """Return the list or number of an array; any other value unchanged."""
    for name in ("tolist", "to_list"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    return value


def visible_answer(text: str) -> str:
    """Return the answer without thinking and control tokens; empty if the thinking never ends.

    Example:
        >>> visible_answer("<think>hm</think>Use a lid.<|im_end|>")
        'Use a lid.'
    """
    split = split_thinking(text)
    return cut_control_tokens(split.text).text


def _find_prompt(columns: Mapping[str, object], remedy: str) -> tuple[Message, ...]:
    for name in PROMPT_COLUMNS:
        value = columns.get(name)
        # Not `if value`, because the value may be an array.
        if value is not None and not (isinstance(value, str) and not value):
            return read_messages(value, name)
    raise UserError(remedy)


def _to_columns(value: object) -> dict[str, object]:
    """Return the columns of an object, or of JSON text of an object."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _parse_json(value)
    return dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else {}


def _parse_json(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None


def _iter_mappings(value: object) -> Iterator[Mapping[str, object]]:
    # Also arrays of numpy, in which pandas and verl keep lists.
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        for item in cast("Iterable[object]", value):
            if isinstance(item, Mapping):
                yield cast("Mapping[str, object]", item)
