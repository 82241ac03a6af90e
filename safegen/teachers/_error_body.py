"""Reads a server's error from a body of any shape: object, list, string, page or event stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from email.message import Message
from itertools import islice
from typing import NamedTuple, cast

from safegen.teachers._quota import read_reset, retry_after_s

# Names of keys in lower case, without `_` and `-`.
MESSAGE_KEYS = (
    "message msg detail errormsg errormessage statusmsg errmsg errordescription faultstring"
    " description errortext statusmessage text title reason".split()
)
CODE_KEYS = (
    "code type status errortype errorcode statuscode errcode reason finishreason quotaid".split()
)
NESTED_KEYS = (
    "error errors err detail innererror metadata details baseresp fault exception cause data result"
    " response status violations".split()
)
# Gateways quote the upstream's body under these keys, as JSON or as plain text.
UPSTREAM_KEYS = (
    "raw rawerror rawmessage upstream upstreamerror providererror originalerror body".split()
)
# Google's RetryInfo; others send seconds, milliseconds or a time.
WAIT_KEYS = "retrydelay retryafter retryafterseconds retryafters retryin waitseconds".split()
MILLISECOND_KEYS = frozenset({"retryafterms", "retryaftermilliseconds"})
WORD_KEYS = "error errors err fault exception message messages".split()
"""Keys whose value may be the server's words itself, or a list of them."""
# Servers quote the request under these keys.
ECHO_KEYS = frozenset("input inputs prompt prompts messages content request choices".split())
MAX_LEAVES = 5
"""Texts that are shown of a body with unknown keys."""
# Gateways nest errors of providers two or three deep; a hostile body nests forever.
MAX_DEPTH = 6
MAX_TEXT = 4_000
"""Characters of a body without JSON that are read."""
MAX_SHOWN_JSON = 200
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)
INVISIBLE_HTML = re.compile(
    r"<(script|style|head|title)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE
)
HTML_TAG = re.compile(r"<[^>]*>")
# Codes and types of errors inside of HTTP 200, by the status that they mean.
STATUS_BY_CODE: Mapping[str, int] = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthorized": 401,
    "unauthenticated": 401,
    "payment_required": 402,
    "insufficient_quota": 429,
    "insufficient_balance": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "permission-denied": 403,
    "forbidden": 403,
    "not_found": 404,
    "not_found_error": 404,
    "model_not_found": 404,
    "timeout": 408,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "throttling": 429,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "context_length_exceeded": 400,
    "bad_request": 400,
    "content_filter": 400,
    "data_inspection_failed": 400,
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "overloaded_error": 503,
    "overloaded": 503,
    "service_unavailable": 503,
    "unavailable": 503,
    # MiniMax, which answers HTTP 200 with `base_resp`.
    "1004": 401,
    "1008": 402,
    "1002": 429,
    "1027": 400,
}

NO_ERROR_WORDS = frozenset(
    ",0,200,false,ok,success,successful,succeeded,completed,none,null,no_error,no error,noerror,成功,请求成功".split(
        ","
    )
)


class ErrorBody(NamedTuple):
    """The error that a server sent."""

    message: str
    """The server's own words; empty if there are none."""
    codes: tuple[str, ...] = ()
    """Codes, types and statuses in all levels, in lower case."""
    categories: tuple[str, ...] = ()
    """Filter categories that the body marks as filtered."""
    wait_s: float | None = None
    """Seconds that a field of the body asks to wait, or None."""
    hint: str = ""
    """The remedy, if the form of the body shows it."""

    @property
    def status(self) -> int | None:
        """The HTTP status that the codes name, or None."""
        numbers = [int(c) for c in self.codes if c.isdecimal() and len(c) == 3]
        known = [STATUS_BY_CODE[c] for c in self.codes if c in STATUS_BY_CODE]
        return next((s for s in [*numbers, *known] if 400 <= s < 600), None)


def read_error(body: bytes | str | object, *, charset: str = "") -> ErrorBody:
    """Read an error body: JSON of any shape, an event stream, a page, or plain text."""
    if isinstance(body, bytes):
        body = _decode_damaged(body[: 16 * MAX_TEXT], charset)
    payload = parse_payload(body) if isinstance(body, str) else body
    if isinstance(payload, str):
        return ErrorBody(_page_text(payload))
    nodes = list(_walk(payload))
    # Gateways wrap the upstream's words, so all levels are shown.
    words = dict.fromkeys(text for node in nodes if (text := _node_message(node)))
    message = ": ".join(w for w in words if not w.lstrip().startswith(("{", "[")))
    codes = dict.fromkeys(code for node in nodes for code in _node_codes(node))
    leaves = _find_leaves(payload)
    message = message or "; ".join(leaves.sentences)
    message = message or next(iter(codes), "") or "; ".join(leaves.names)
    waits = [wait for node in nodes for wait in _node_waits(node)]
    return ErrorBody(message, tuple(codes), tuple(find_filtered(payload)), max(waits, default=None))


def describe_body(body: object) -> ErrorBody:
    """Describe the body of a success that is no chat completion."""
    error = read_error(body)
    if isinstance(body, str):
        # A page or an event stream is read as such.
        if not body.lstrip().startswith(("{", "[")):
            return error
        text = " ".join(body[:MAX_SHOWN_JSON].split())
        hint = "check the server and each proxy between; the answer is no valid JSON"
        return error._replace(message=f"JSON that is cut off or damaged: {text}", hint=hint)
    fields = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    if "choices" in fields:
        text = "`choices` holds no message" if fields["choices"] else "`choices` is empty"
        return error._replace(message=text, hint="see the log of the server")
    if any(char.isalpha() for char in error.message):
        return error
    if fields:
        text = f"an object with the keys {', '.join(f'`{key[:40]}`' for key in islice(fields, 8))}"
    else:
        shown = "a list" if isinstance(body, list) else f"`{json.dumps(body)[:MAX_SHOWN_JSON]}`"
        text = f"JSON without a message: {shown}"
    return error._replace(message=text)


def states_no_error(value: object) -> bool:
    """Check if the value of `error` in a complete answer only says that there is none.

    Example:
        >>> states_no_error({"code": 0, "message": ""}), states_no_error({"code": 500})
        (True, False)
    """
    if isinstance(value, dict):
        fields = _plain_fields(cast("dict[str, object]", value))
        # An error may be without words, but an id alone is none.
        return all(states_no_error(v) for k, v in fields.items() if not k.endswith(("id", "time")))
    if isinstance(value, list):
        return all(states_no_error(v) for v in cast("list[object]", value))
    if isinstance(value, str):
        return value.strip().lower().rstrip(".!") in NO_ERROR_WORDS
    is_number = isinstance(value, int | float)
    return value is None or (is_number and (value == 0 or 200 <= value < 300))


def decode_json(body: bytes, charset: str = "") -> str | None:
    """Return the text of a JSON body in UTF-8, UTF-16, UTF-32 or its charset, or None.

    UTF-8 comes first, because many servers name Latin-1 and send UTF-8.
    """
    for name in (json.detect_encoding(body), charset):
        try:
            text = body.decode(name) if name else ""
            # The escapes of ISO-2022-JP are valid UTF-8, but no JSON.
            if name and (name == charset or "\x1b" not in text):
                return text
        except (LookupError, ValueError):
            continue
    return None


def read_charset(content_type: str) -> str:
    """Return the charset of a `Content-Type`, or the empty string."""
    message = Message()
    message["Content-Type"] = content_type
    return message.get_content_charset("")


def _decode_damaged(body: bytes, charset: str) -> str:
    text = decode_json(body, charset)
    return body.decode("utf-8-sig", "replace") if text is None else text


def parse_payload(text: str) -> object:
    """Return the JSON of a body, also of the last event of a stream; else the text."""
    text = text.lstrip("\ufeff").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    events = [line.partition(":")[2].strip() for line in lines if line.startswith("data:")]
    for candidate in (*(e for e in events if "error" in e), *events[:1]):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    return events[0] if events else text


def find_error(payload: object) -> ErrorBody | None:
    """Return the error inside of a body with status 200, or None if it states none.

    A body without `choices` that has a message or a code is an error too.
    """
    if isinstance(payload, list) and payload:
        return find_error(cast("list[object]", payload)[0])
    if not isinstance(payload, dict):
        return None
    body = cast("dict[str, object]", payload)
    fields = _plain_fields(body)
    resp = fields.get("baseresp")
    failed = isinstance(resp, dict) and cast("dict[str, object]", resp).get("status_code")
    if fields.get("error") or failed:
        return read_error(_error_part(body))
    has_words = any(
        isinstance(fields.get(k), str | list | dict) and fields[k] for k in MESSAGE_KEYS
    )
    if body.get("choices") or not (has_words or fields.get("errors")):
        return None
    return read_error(body)


def _error_part(body: dict[str, object]) -> object:
    # The rest of the body holds ids and models, which are no codes.
    known = {*MESSAGE_KEYS, *CODE_KEYS, *NESTED_KEYS}
    return {k: v for k, v in body.items() if _plain_key(k) in known}


def _plain_key(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _plain_fields(node: Mapping[str, object]) -> dict[str, object]:
    return {_plain_key(k): v for k, v in node.items()}


def find_filtered(payload: object) -> Iterator[str]:
    """Yield the categories that content filter results, ratings or guardrails mark as filtered."""
    for node in _walk(payload, every=True):
        for name, value in node.items():
            if not isinstance(value, dict):
                continue
            result = cast("dict[str, object]", value)
            if result.get("filtered") is True or result.get("detected") is True:
                yield name
        category = node.get("category")
        if isinstance(category, str) and (
            node.get("blocked") is True or node.get("probability") == "HIGH"
        ):
            yield category
        block = node.get("block_reason") or node.get("blockReason")
        if isinstance(block, str):
            yield block


def _walk(payload: object, *, every: bool = False, depth: int = 0) -> Iterator[dict[str, object]]:
    if depth > MAX_DEPTH:
        return
    if isinstance(payload, list):
        for entry in cast("list[object]", payload)[:20]:
            yield from _walk(entry, every=every, depth=depth + 1)
    elif isinstance(payload, str) and depth:
        # OpenRouter and LiteLLM quote the upstream's body as text.
        nested = parse_payload(payload) if payload.lstrip().startswith(("{", "[")) else None
        if isinstance(nested, dict | list):
            yield from _walk(cast("object", nested), every=every, depth=depth + 1)
    elif isinstance(payload, dict):
        node = cast("dict[str, object]", payload)
        fields = _plain_fields(node)
        keys = list(fields) if every else [*NESTED_KEYS, *UPSTREAM_KEYS, "message"]
        inner = [fields[k] for k in keys if k in fields]
        yield node
        for value in inner:
            yield from _walk(value, every=every, depth=depth + 1)


def _node_message(node: Mapping[str, object]) -> str:
    fields = _plain_fields(node)
    own = next((v for k in MESSAGE_KEYS if isinstance(v := fields.get(k), str) and v.strip()), "")
    text = own or next((t for k in WORD_KEYS if (t := _join_texts(fields.get(k)))), "")
    quoted = [t for k in UPSTREAM_KEYS if (t := _plain_text(fields.get(k))) and t != text]
    if "loc" in node and isinstance(node["loc"], list) and text:
        # FastAPI names the field in a list.
        place = ".".join(str(part) for part in cast("list[object]", node["loc"]))
        return f"{place}: {text}"
    # ASP.NET and Laravel list the problems of each field.
    return "; ".join(part for part in (text, *quoted, *_field_errors(fields.get("errors"))) if part)


def _plain_text(value: object) -> str:
    """Return a text that is no JSON, which is read as a body of its own."""
    if not isinstance(value, str) or value.lstrip().startswith(("{", "[")):
        return ""
    return _page_text(value)


def _node_waits(node: Mapping[str, object]) -> Iterator[float]:
    fields = _plain_fields(node)
    for key, value in fields.items():
        if isinstance(value, dict):
            # A duration of protobuf: seconds and nanoseconds
            value = cast("dict[str, object]", value).get("seconds")
        text = str(value).strip() if isinstance(value, str | int | float) else ""
        wait = read_reset(text) if key in WAIT_KEYS and not isinstance(value, bool) else None
        if wait is not None:
            yield wait
        if key in MILLISECOND_KEYS and (wait := read_reset(f"{text}ms")) is not None:
            yield wait
    # OpenRouter quotes the headers of the upstream.
    headers = fields.get("headers")
    if isinstance(headers, dict):
        texts = {str(k).lower(): str(v) for k, v in cast("dict[str, object]", headers).items()}
        if (wait := retry_after_s(texts)) is not None:
            yield wait


def _join_texts(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, list):
        return ""
    return "; ".join(e for e in cast("list[object]", value) if isinstance(e, str))


def _field_errors(value: object) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    known = {*MESSAGE_KEYS, *CODE_KEYS, *NESTED_KEYS}
    for name, texts in cast("dict[str, object]", value).items():
        if _plain_key(name) not in known and (text := _join_texts(texts)):
            yield f"{name}: {text}"


class _Leaves(NamedTuple):
    sentences: list[str]
    names: list[str]
    """Texts of one word."""


def _find_leaves(payload: object) -> _Leaves:
    """Find the first sentences and the first single words of a body with unknown keys."""
    leaves = dict.fromkeys(leaf for leaf in islice(_iter_leaves(payload), 1_000) if leaf.strip())
    sentences = [leaf for leaf in leaves if " " in leaf.strip() or not leaf.isascii()]
    names = [leaf for leaf in leaves if leaf not in sentences[:MAX_LEAVES]]
    return _Leaves(sentences[:MAX_LEAVES], names[:MAX_LEAVES])


def _iter_leaves(value: object, depth: int = 0) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        # Quoted JSON is the request, or was read before.
        if not value.lstrip().startswith(("{", "[")):
            yield value
    elif isinstance(value, list):
        for entry in cast("list[object]", value)[:20]:
            yield from _iter_leaves(entry, depth + 1)
    elif isinstance(value, dict):
        for key, entry in cast("dict[str, object]", value).items():
            if _plain_key(key) in ECHO_KEYS:
                continue
            # The name of a list is often that of the wrong field.
            texts = "" if isinstance(entry, str) else _join_texts(entry)
            yield from [f"{key}: {texts}"] if texts else _iter_leaves(entry, depth + 1)


def _node_codes(node: Mapping[str, object]) -> Iterator[str]:
    fields = _plain_fields(node)
    for key in CODE_KEYS:
        value = fields.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= 80:
            yield str(value).strip().lower()
    error = fields.get("error")
    if isinstance(error, str) and re.fullmatch(r"[A-Za-z_.-]{3,60}", error):
        yield error.lower()


def _page_text(text: str) -> str:
    text = text[:MAX_TEXT]
    if "<" not in text:
        return " ".join(text.split())
    title = TITLE.search(text)
    body = HTML_TAG.sub(" ", INVISIBLE_HTML.sub(" ", text))
    parts = [title[1] if title else "", body]
    return " ".join(" ".join(parts).split())
