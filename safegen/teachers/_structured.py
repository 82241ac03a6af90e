"""Requests and reads objects that fit a JSON schema, and cleans a model's text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

from safegen.core.hashing import canonical_json
from safegen.core.strict_json import RepeatedKey, refuse_repeated_keys
from safegen.core.types import Message, ReplyFormat
from safegen.teachers._thinking import split_thinking

REPLY_FORMATS: tuple[ReplyFormat, ...] = ("json_schema", "json_object", "text")
"""From the strictest to the one that every endpoint takes."""
MAX_CHARS = 200_000
"""Longest answer that is searched for an object."""
MAX_STARTS = 32
"""Number of `{` that are tried as the start of an object."""
MAX_REPAIRED_CHARS = 20_000
"""Longest text that is repaired: json_repair takes minutes for some long texts."""
MAX_REPAIRED_OBJECTS = 32
"""Most `{` in a text that is repaired, for the same reason."""
INVISIBLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]"
)
# Text after `{` that begins no key; json_repair reads it many times.
NO_KEY = re.compile(r"\{(?!\s*[\"'“”‘’\w}\\/#])")
FENCE = re.compile(r"\A```[a-zA-Z]*\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
TYPE_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "null": lambda v: v is None,
}


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates by U+FFFD, so that UTF-8 can encode the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_text(text: str) -> str:
    """Remove characters of a model's text that are unfit for training or a terminal.

    Lone surrogates become U+FFFD. Terminal sequences, controls except line feed and tab, byte order
    marks, and the overrides and isolates that reorder text are dropped. Text in a right-to-left
    script does not change.
    """
    return INVISIBLE.sub("", replace_surrogates(text).replace("\r\n", "\n"))


def make_response_format(
    schema: Mapping[str, object], reply_format: ReplyFormat
) -> dict[str, object] | None:
    """Build the `response_format` of a request; None for plain text."""
    if reply_format == "text":
        return None
    if reply_format == "json_object":
        return {"type": "json_object"}
    plain = json.loads(canonical_json(dict(schema)))
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": plain},
    }


def add_schema_instruction(
    messages: Sequence[Message], schema: Mapping[str, object]
) -> list[Message]:
    """Append the schema as an instruction to the last user turn."""
    instruction = (
        "Answer with one JSON object and nothing else. It must satisfy this JSON schema:\n"
        + canonical_json(dict(schema)).decode()
    )
    new = list(messages)
    for i in reversed(range(len(new))):
        if new[i]["role"] == "user":
            new[i] = {"role": "user", "content": f"{new[i]['content']}\n\n{instruction}"}
            return new
    return [*new, {"role": "user", "content": instruction}]


def make_repair_turns(text: str, problem: str) -> list[Message]:
    """Build the turns that request a corrected object: the answer and its problem."""
    return [
        {"role": "assistant", "content": text[:MAX_CHARS] or "(nothing)"},
        {
            "role": "user",
            "content": f"This does not fit: {problem}. Answer again with the corrected JSON object"
            " and nothing else.",
        },
    ]


class ParsedObject(NamedTuple):
    """The object in an answer, or the reason why there is none."""

    value: dict[str, object] | None
    problem: str
    """In words for the model; empty with a value."""


def parse_object(text: str, schema: Mapping[str, object]) -> ParsedObject:
    """Read the object in an answer.

    Skips thinking and fences, decodes the objects in the text, and repairs text that is nearly JSON.
    An answer with two different objects that fit, or with a key twice, has no value, because it does
    not say which one holds. Texts above 200 000 characters are not read.
    """
    if len(text) > MAX_CHARS:
        return ParsedObject(None, f"it is longer than {MAX_CHARS} characters")
    body = split_thinking(text, is_object=True).text.strip()
    fenced = FENCE.match(body)
    body = fenced[1] if fenced else body
    try:
        strict = _find_objects(body, schema)
        found = strict if strict.fitting else _repair(body, schema)
    except RepeatedKey as e:
        return ParsedObject(None, str(e))
    if any(value != found.fitting[0] for value in found.fitting[1:]):
        return ParsedObject(None, "it holds two different objects")
    if found.fitting:
        return ParsedObject(found.fitting[0], "")
    return ParsedObject(None, strict.problem or found.problem or "there is no JSON object in it")


class _FoundObjects(NamedTuple):
    fitting: list[dict[str, object]]
    problem: str
    """The problem of the first object that does not fit."""


def _find_objects(body: str, schema: Mapping[str, object]) -> _FoundObjects:
    """Decode strict JSON at each `{` outside of an object that fits.

    Raises:
        RepeatedKey: an object has a key twice.
    """
    decoder = json.JSONDecoder(object_pairs_hook=refuse_repeated_keys)
    fitting: list[dict[str, object]] = []
    first_problem, position = "", 0
    for _ in range(MAX_STARTS):
        start = body.find("{", position)
        if start < 0:
            break
        position = start + 1
        try:
            value, end = cast("tuple[dict[str, object], int]", decoder.raw_decode(body, start))
        except RepeatedKey:
            raise
        except (ValueError, RecursionError):
            continue
        problem = find_schema_problem(value, schema)
        if problem is None:
            fitting.append(value)
            position = end
        first_problem = first_problem or problem or ""
    return _FoundObjects(fitting, first_problem)


def _repair(body: str, schema: Mapping[str, object]) -> _FoundObjects:
    """Repair text that is nearly JSON.

    Raises:
        RepeatedKey: the text has a key more often than the object.
    """
    import json_repair

    text = body[max(0, body.find("{")) :]
    is_short = len(text) <= MAX_REPAIRED_CHARS and text.count("{") <= MAX_REPAIRED_OBJECTS
    if not text.startswith("{") or not is_short or NO_KEY.search(text):
        return _FoundObjects([], "")
    try:
        value = cast("object", json_repair.loads(text))
    except (ValueError, RecursionError):
        return _FoundObjects([], "")
    if not isinstance(value, dict):
        return _FoundObjects([], "")
    fixed = cast("dict[str, object]", value)
    if problem := find_schema_problem(fixed, schema):
        return _FoundObjects([], problem)
    for name, count in _count_keys(fixed).items():
        if len(re.findall(rf"""(["']){re.escape(name)}\1\s*:""", text)) > count:
            raise RepeatedKey.of(name)
    return _FoundObjects([fixed], "")


def _count_keys(value: object) -> Counter[str]:
    counts: Counter[str] = Counter()
    if isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            counts += Counter([name]) + _count_keys(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            counts += _count_keys(inner)
    return counts


def find_schema_problem(
    value: object, schema: Mapping[str, object], path: str = "the object"
) -> str | None:
    """Return the first violation of a schema: type, required, enum, additionalProperties, items."""
    # Not pydantic: a schema is data (its enums are the axes of a run), and the text of a violation
    # is part of the repair turn, so it must name the field in words for a model.
    expected = schema.get("type")
    types = [expected] if isinstance(expected, str) else cast("list[str]", expected or [])
    if types and not any(TYPE_CHECKS[t](value) for t in types if t in TYPE_CHECKS):
        return f"{path} must be of type {' or '.join(types)}"
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in cast("list[object]", allowed):
        return f"{path} must be one of {json.dumps(allowed, ensure_ascii=False)[:300]}"
    if isinstance(value, dict):
        return _find_object_problem(cast("dict[str, object]", value), schema, path)
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, Mapping):
        inner = cast("Mapping[str, object]", items)
        for i, item in enumerate(cast("list[object]", value)):
            if problem := find_schema_problem(item, inner, f"{path}[{i}]"):
                return problem
    return None


def _find_object_problem(
    value: dict[str, object], schema: Mapping[str, object], path: str
) -> str | None:
    properties = cast("Mapping[str, Mapping[str, object]]", schema.get("properties") or {})
    for name in cast("Sequence[str]", schema.get("required") or ()):
        if name not in value:
            return f"{path} lacks `{name}`"
    for name, inner in value.items():
        if name in properties:
            # A property of a property has its full name: many objects may have an equal one.
            full = f"{path[:-1]}.{name}`" if path.endswith("`") else f"`{name}`"
            if problem := find_schema_problem(inner, properties[name], full):
                return problem
        elif schema.get("additionalProperties") is False:
            return f"{path} may not hold `{name[:40]}`"
    return None
