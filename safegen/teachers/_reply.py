"""The one reader of replies: the body of HTTP 200 as text, reasoning and outcome, in any vendor's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from safegen.core.control_tokens import cut_control_tokens, drop_control_tokens
from safegen.core.types import Outcome, Reply
from safegen.core.visible_text import has_visible_character
from safegen.teachers._error_body import (
    ErrorBody,
    describe_body,
    find_error,
    find_filtered,
    states_no_error,
)
from safegen.teachers._finish_reasons import classify_finish
from safegen.teachers._structured import clean_text
from safegen.teachers._thinking import split_thinking

EVENT_STREAM = "an event stream, although `stream` is `false`"
MAX_NAME = 200
# Far above any context; sums of a run still fit the journal's integers.
MAX_TOKENS = 2**40
"""Token counts above this are ignored."""
MAX_DIGITS = 20
MAX_REASON = 80
"""Characters of a finish reason that are shown."""
# DeepSeek and vLLM, OpenRouter, Ollama, LiteLLM.
REASONING_KEYS = (
    "reasoning_content reasoning reasoning_details thinking thinking_blocks thoughts".split()
)
# Gemini marks a part with `thought`; others name the channel of gpt-oss.
FLAG_KEYS = ("thought", "is_thought", "thinking", "reasoning", "is_reasoning")
CHANNEL_KEYS = ("type", "channel", "phase", "role", "name")
THINKING_NAMES = frozenset(
    "analysis commentary thought thoughts reflection scratchpad thinking reasoning".split()
)
TEXT_TYPES = frozenset(
    "text output_text input_text text_delta text/plain text/markdown plain plain_text plaintext markdown"
    " paragraph string content output message answer final response assistant".split()
) | {""}
# Parts about the text, which hold none of it.
NOTE_TYPES = frozenset(
    "reference references citation citations source sources annotation annotations metadata"
    " grounding search_result search_results web_search_result usage step-start step_start".split()
)
# A server that sends the prompt back as the answer.
OTHER_ROLES = frozenset("user human system developer tool function".split())
PART_KEYS = ("content", "text", "parts", "output", "value")
MAX_PART_DEPTH = 4
# Gemini's parts have no type.
UNTYPED_KEYS = frozenset(
    "code executableCode executable_code codeExecutionResult functionCall function_call inlineData"
    " inline_data image_url image audio json tool_use".split()
)
MIN_ECHO = 40
"""A shorter reasoning may be the start of the answer by chance."""


class FailedReply(NamedTuple):
    """A body without an answer of a model."""

    error: ErrorBody
    """The words of the server."""
    is_completion: bool = False
    """True if the body is a chat completion that the provider could not finish."""


class _Content(NamedTuple):
    text: str
    reasoning: str = ""
    refusal: str = ""
    unknown: str = ""
    """Type of a part that is neither text nor a note about it."""


def read_reply(body: object, model: str, *, is_object: bool = False) -> Reply | FailedReply:
    """Read the body of HTTP 200.

    Args:
        body: JSON, or text if the body is no JSON.
        model: name of the model if the body names none.
        is_object: True if the request has a schema.
    """
    fields = _to_dict(body)
    choice = _first_choice(fields)
    error = None if states_no_error(choice.get("error")) else find_error(choice)
    if error is None and (not choice or not states_no_error(fields.get("error"))):
        error = find_error(body)
    if error is not None:
        return FailedReply(error)
    if not choice and (blocked := tuple(find_filtered(body))):
        return Reply(
            "",
            _model_name(fields.get("model")) or model,
            outcome="filtered",
            message=_filter_message("prompt_feedback", blocked),
        )
    message = choice.get("message")
    if "delta" in choice and "message" not in choice:
        return FailedReply(
            ErrorBody(EVENT_STREAM, hint="switch streaming off in the server or proxy")
        )
    content = _read_content(_to_dict(message).get("content"))
    if not isinstance(message, dict) or content is None:
        return FailedReply(describe_body(body))
    role = str(_to_dict(choice.get("message")).get("role") or "").strip().lower()
    if role in OTHER_ROLES:
        return FailedReply(
            ErrorBody(f"a message of the role `{role}` instead of an answer"), is_completion=True
        )
    return _read_choice(choice, content, fields=fields, model=model, is_object=is_object)


def has_thinking_in_text(body: object) -> bool:
    """Check if the text of a chat completion holds thinking that the server did not split off."""
    message = _to_dict(_first_choice(_to_dict(body)).get("message"))
    content = _read_content(message.get("content"))
    return content is not None and split_thinking(content.text).thinking is not None


def _read_choice(
    choice: Mapping[str, object],
    content: _Content,
    *,
    fields: dict[str, object],
    model: str,
    is_object: bool,
) -> Reply | FailedReply:
    message = _to_dict(choice["message"])
    field = _read_reasoning(message) or content.reasoning
    # A server may state the reasoning twice, in its field and in the text.
    raw_text = _cut_echo(clean_text(content.text), field)
    split = split_thinking(raw_text, is_split=bool(field), is_object=is_object)
    cleaned = cut_control_tokens(_cut_echo(split.text, field))
    thinking = "\n\n".join(part for part in (field, split.thinking or "") if part)
    finish = _read_finish(choice.get("finish_reason"))
    native = _read_finish(choice.get("native_finish_reason"))
    problem = split.problem
    if not problem and content.unknown:
        problem = f"a part of the type `{content.unknown}`"
    if not problem and cleaned.token:
        problem = f"control token or turn `{cleaned.token}` inside of the text"
    if classify_finish(finish) == "failure":
        return FailedReply(
            ErrorBody(f"finish reason `{(finish or '')[:MAX_REASON]}`"), is_completion=True
        )
    result = _read_outcome(
        _Ending(
            finish=_pick_finish(finish, native),
            refusal=_read_word(message.get("refusal")) or content.refusal,
            text=cleaned.text,
            problem=problem,
            is_cut=split.is_cut,
            has_thinking=bool(thinking),
            categories=tuple(find_filtered(choice)),
        )
    )
    usage = _to_dict(fields.get("usage"))
    return Reply(
        text=cleaned.text,
        model=_model_name(fields.get("model")) or model,
        outcome=result.outcome,
        message=result.message,
        finish_reason=finish,
        reasoning_content=drop_control_tokens(thinking).strip() or None,
        prompt_tokens=_token_count(usage.get("prompt_tokens")),
        completion_tokens=_token_count(usage.get("completion_tokens")),
    )


class _Ending(NamedTuple):
    finish: str | None
    refusal: str
    text: str
    problem: str
    is_cut: bool
    has_thinking: bool
    categories: tuple[str, ...]


class _Result(NamedTuple):
    outcome: Outcome
    message: str
    """The reason of an outcome other than `ok`."""


def _read_outcome(ending: _Ending) -> _Result:
    finish = (ending.finish or "stop").strip()[:MAX_REASON]
    kind = classify_finish(finish)
    if kind == "length":
        return _Result(
            "truncated",
            "the answer was cut at the token limit; raise `max_tokens` and run `generate` with `--replan`",
        )
    if kind == "filter" or (ending.categories and not has_visible_character(ending.text)):
        return _Result("filtered", _filter_message(finish, ending.categories))
    if kind == "refusal":
        return _Result("refused", f"the model refused (finish reason `{finish}`)")
    if kind == "tool":
        return _Result("malformed", f"the model called a tool instead of answering (`{finish}`)")
    if kind == "unknown":
        return _Result("malformed", f"the answer did not end by itself (finish reason `{finish}`)")
    return _read_text_outcome(ending)


def _read_text_outcome(ending: _Ending) -> _Result:
    if ending.refusal:
        return _Result("refused", "the model used the refusal field")
    if ending.is_cut:
        return _Result(
            "truncated",
            "the answer ends inside of its thinking; raise `max_tokens` and run `generate` with `--replan`",
        )
    if not has_visible_character(ending.text) and not ending.problem:
        only = "only reasoning and no answer" if ending.has_thinking else "an empty answer"
        return _Result("empty", f"the model sent {only}")
    if ending.problem:
        return _Result("malformed", f"the answer cannot be used: {ending.problem}")
    return _Result("ok", "")


def _read_finish(value: object) -> str | None:
    """Return a finish reason as text; a number or object gets the outcome of an unknown reason."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        for key in ("type", "reason", "name", "value"):
            if text := _to_text(fields.get(key)):
                return text
    if value is None or isinstance(value, str):
        return _read_word(value)
    return _one_line(str(cast("object", value))) or None


def _pick_finish(finish: str | None, native: str | None) -> str | None:
    # OpenRouter maps the reason of the upstream; the upstream's own names the category.
    if native and classify_finish(native) in ("filter", "refusal", "length"):
        return native
    return finish


def _filter_message(finish: str, categories: tuple[str, ...]) -> str:
    names = ", ".join(dict.fromkeys(_one_line(c)[:MAX_REASON] for c in categories))
    category = f", category `{names}`" if names else ""
    return f"the provider withheld the answer (finish reason `{finish}`{category})"


def _first_choice(fields: Mapping[str, object]) -> dict[str, object]:
    choices = fields.get("choices")
    if not isinstance(choices, list) or not choices:
        return {}
    return _to_dict(cast("list[object]", choices)[0])


def _read_content(value: object, depth: int = 0) -> _Content | None:
    if value is None:
        return _Content("")
    if isinstance(value, str):
        return _Content(value)
    if isinstance(value, dict):
        single = cast("dict[str, object]", value)
        parts = single.get("parts")
        value = cast("object", parts if isinstance(parts, list) else [single])
    if not isinstance(value, list):
        return None
    parts = [_read_part(part, depth) for part in cast("list[object]", value)]
    return _Content(
        "".join(part.text for part in parts),
        clean_text("\n".join(part.reasoning for part in parts if part.reasoning)),
        "\n".join(part.refusal for part in parts if part.refusal),
        next((part.unknown for part in parts if part.unknown), ""),
    )


def _read_part(part: object, depth: int) -> _Content:
    if isinstance(part, str):
        return _Content(part)
    fields = _to_dict(part)
    kind = str(fields.get("type") or "").strip().lower()
    if _is_thinking(fields):
        return _Content("", "\n".join(_iter_texts(fields)))
    if kind == "refusal":
        return _Content("", refusal="\n".join(_iter_texts(fields)))
    if kind in NOTE_TYPES:
        return _Content("")
    if kind not in TEXT_TYPES:
        return _Content("", unknown=_one_line(kind)[:MAX_REASON])
    nested = next((fields[k] for k in PART_KEYS if isinstance(fields.get(k), list)), None)
    if nested is not None and depth < MAX_PART_DEPTH:
        return _read_content(nested, depth + 1) or _Content("")
    text = "".join(_iter_texts(fields))
    hidden = "" if text or kind else next((k for k in fields if k in UNTYPED_KEYS), "")
    return _Content(text, unknown=hidden)


def _is_thinking(part: Mapping[str, object]) -> bool:
    """Check if a part of a content list is thinking, by its type, its flag or its channel."""
    kind = str(part.get("type") or "").lower()
    channels = {str(part.get(key) or "").strip().lower() for key in CHANNEL_KEYS}
    is_flagged = any(str(part.get(key)).lower() in ("true", "1") for key in FLAG_KEYS)
    return (
        is_flagged or "think" in kind or "reason" in kind or not channels.isdisjoint(THINKING_NAMES)
    )


def _cut_echo(text: str, reasoning: str) -> str:
    """Cut reasoning from the start of a text that repeats it, with any white space."""
    expected = "".join(reasoning.split())
    if len(expected) < MIN_ECHO:
        return text
    matched = 0
    for index, char in enumerate(text):
        if char.isspace():
            continue
        if char != expected[matched]:
            return text
        matched += 1
        if matched == len(expected):
            return text[index + 1 :].lstrip()
    return text


def _read_reasoning(message: Mapping[str, object]) -> str:
    own = _to_dict(message.get("provider_specific_fields"))
    for fields in (message, own):
        for key in REASONING_KEYS:
            if text := "\n".join(_iter_texts(fields.get(key))).strip():
                return clean_text(text)
    return ""


def _iter_texts(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts of nested parts, such as `{thinking: [{type: text, text: …}]}`."""
    if depth > 4:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in cast("list[object]", value):
            yield from _iter_texts(entry, depth + 1)
    elif isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        for key in ("text", "thinking", "reasoning", "reasoning_content", "summary", "content",
                    "refusal", "markdown", "output", "value", "message"):  # fmt: skip
            if key in fields:
                yield from _iter_texts(fields[key], depth + 1)
                return


def _to_dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _to_text(value: object) -> str | None:
    return clean_text(value) if isinstance(value, str) and value else None


def _read_word(value: object) -> str | None:
    """Return a text, or None if it only spells the absence of a value."""
    text = _to_text(value)
    return None if text is None or text.strip().lower() in ("null", "none") else text


def _one_line(text: str) -> str:
    return " ".join(clean_text(text).split())


def _model_name(value: object) -> str:
    return _one_line(_to_text(value) or "")[:MAX_NAME]


def _token_count(value: object) -> int | None:
    # Gateways of other languages send `5.0` or `"5"`.
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= MAX_DIGITS:
        value = int(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value <= MAX_TOKENS else None
