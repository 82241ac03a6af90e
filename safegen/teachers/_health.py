"""An endpoint examined: does it answer, list the model, complete, and keep to a JSON schema.

At most one GET and four short completions; nothing is journalled and no key is told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from safegen.core.errors import Blocked, TeacherRejected
from safegen.core.finding import Finding
from safegen.core.types import Message, Reply
from safegen.core.yaml_source import did_you_mean
from safegen.teachers import _structured
from safegen.teachers._client import Body, Listed, Wire
from safegen.teachers._errors import Again, Caller, Doubtful, FormatUnsupported

TIMEOUT_S = 30.0
CLOCK_S = 60.0
"""A clock that is further off spoils waiting times that are told as dates, and certificates."""
NO_LIST = frozenset({404, 405, 501})
SLOW_S = 20.0
ASKED = Message(role="user", content="Answer with the word yes.")
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
ANSWER_TOKENS = 400
"""Room for an object, and for a model that thinks first."""


async def probe(caller: Caller) -> list[Finding]:
    """Examine one endpoint; a step that the ones after it need ends the examination."""
    wire = Wire(caller, connections=1, timeout_s=TIMEOUT_S)
    found: list[Finding] = []
    try:
        found += await _listed(wire, caller)
        if all(f.state != "fail" for f in found):
            found.append(await _completes(wire, caller))
        if all(f.state != "fail" for f in found):
            found.append(await _keeps_to_a_schema(wire, caller))
    finally:
        await wire.aclose()
    return found


async def _listed(wire: Wire, caller: Caller) -> list[Finding]:
    """Whether it answers at all, has the model, and what time it is there."""
    try:
        listed = await wire.models()
    except Again as e:
        if e.limited:
            return [Finding("address", "warn", str(e), "wait, or lower `concurrency`")]
        return [Finding("address", "fail", str(e), "start the server, or mend `base_url`")]
    except TeacherRejected as e:
        answers = Finding("address", "ok", f"{caller.base_url} answers")
        if e.status in NO_LIST:
            told = f"no list of models there (HTTP {e.status}); the completion below tells"
            return [answers, Finding("model", "warn", told)]
        return [answers, _told("models", e)]
    except Doubtful as e:
        answers = Finding("address", "ok", f"{caller.base_url} answers")
        return [answers, _told("models", e.rejected)]
    except (Blocked, FormatUnsupported) as e:
        return [Finding("models", "warn", str(e))]
    answers = Finding("address", "ok", f"{caller.base_url} answers")
    return [answers, *_clock(listed), _model(listed, caller)]


def _model(listed: Listed, caller: Caller) -> Finding:
    if listed.names is None:
        return Finding("model", "warn", "the list of models cannot be read")
    if caller.model in listed.names:
        return Finding("model", "ok", f"`{caller.model}` is listed")
    hint = did_you_mean(caller.model, listed.names[:20])
    told = f"`{caller.model}` is not listed{hint}"
    return Finding("model", "warn", told, "mend `model`, if the completion below fails")


def _clock(listed: Listed) -> Iterator[Finding]:
    """How far the clocks are apart, where the endpoint tells the time."""
    try:
        there = parsedate_to_datetime(listed.date or "")
    except (ValueError, TypeError):
        return
    there = there if there.tzinfo else there.replace(tzinfo=UTC)
    apart = abs((there - datetime.now(UTC)).total_seconds())
    told = f"{apart:.0f} s apart from the endpoint's"
    late = apart > CLOCK_S
    remedy = "set the clock of this machine (timedatectl set-ntp true)" if late else ""
    yield Finding("clock", "warn" if late else "ok", told, remedy)


async def _completes(wire: Wire, caller: Caller) -> Finding:
    """A completion of one token."""
    began = time.perf_counter()
    body: Body = {"model": caller.model, "messages": [ASKED], "max_tokens": 1}
    try:
        reply = _structured.reply_of(await wire.post(body), caller.model)
    except (Again, TeacherRejected, Blocked, FormatUnsupported) as e:
        return _told("completion", e)
    except Doubtful as e:
        return _told("completion", e.rejected)
    seconds = time.perf_counter() - began
    if reply is None:
        remedy = "check that `base_url` ends as the provider says"
        return Finding("completion", "fail", "the answer is no chat completion", remedy)
    told = f"one token in {1000 * seconds:.0f} ms by {reply.model}"
    if reply.prompt_tokens is None:
        return Finding("completion", "ok", f"{told}; it counts no tokens")
    return Finding("completion", "warn" if seconds > SLOW_S else "ok", told)


async def _keeps_to_a_schema(wire: Wire, caller: Caller) -> Finding:
    """The strictest way of asking for JSON that the endpoint takes, and whether the answer fits."""
    reply: Reply | None = None
    used: _structured.Mode = "text"
    for mode in _structured.MODES:
        messages = [ASKED] if mode == "json_schema" else _structured.instructed([ASKED], SCHEMA)
        form = _structured.response_format(SCHEMA, mode)
        body: Body = {"model": caller.model, "messages": messages, "max_tokens": ANSWER_TOKENS}
        if form is not None:
            body["response_format"] = form
        try:
            data = await wire.post(body)
        except FormatUnsupported:
            continue
        except (Again, TeacherRejected, Blocked) as e:
            return _told("json", e)
        except Doubtful as e:
            return _told("json", e.rejected)
        reply, used = _structured.reply_of(data, caller.model), mode
        break
    return _schema_finding(reply, used)


def _schema_finding(reply: Reply | None, mode: _structured.Mode) -> Finding:
    parsed, wrong = _structured.parse(reply.text, SCHEMA) if reply else (None, "no completion")
    if parsed is None:
        told = f"takes {mode}, and the answer does not fit the schema ({wrong})"
        remedy = "judges and authors need JSON; try `structured: text`, or another model"
        return Finding("json", "warn", told, remedy)
    if mode == "text":
        told = "no response_format; objects are read out of plain text"
        return Finding("json", "warn", told, "expect some malformed answers of judges and authors")
    return Finding("json", "ok", f"response_format {mode}, and the answer fits")


def _told(check: str, error: Exception) -> Finding:
    """An error as a finding; its message says what mends it."""
    if isinstance(error, Again) and error.limited:
        return Finding(check, "warn", str(error), "wait, or lower `concurrency`")
    told, _, remedy = str(error).rpartition("; ")
    return Finding(check, "fail", told or remedy, remedy if told else "")
