"""Probes an endpoint: does it answer, list the model, complete, and follow a JSON schema.

Sends at most one GET and four short completions. Nothing is cached, and no message shows the key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from safegen.core.errors import Blocked, TeacherRejected
from safegen.core.finding import DoctorFinding
from safegen.core.suggestions import suggest_names
from safegen.core.types import Message, Reply, ReplyFormat
from safegen.teachers import _structured
from safegen.teachers._client import HttpClient, ModelList, RequestBody
from safegen.teachers._errors import AmbiguousRejection, Endpoint, FormatUnsupported, RetryableError

TIMEOUT_S = 30.0
MAX_CLOCK_SKEW_S = 60.0
"""A larger difference makes Retry-After dates and the check of certificates unreliable."""
NO_LIST_STATUSES = frozenset({404, 405, 501})
SLOW_ANSWER_S = 20.0
PROBE_MESSAGE = Message(role="user", content="Answer with the word yes.")
PROBE_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
ANSWER_TOKENS = 400
"""Room for an object, and for a model that thinks first."""


async def probe(endpoint: Endpoint) -> list[DoctorFinding]:
    """Probe one endpoint; the first failed step ends the probe, because the next steps need it."""
    wire = HttpClient(endpoint, connections=1, timeout_s=TIMEOUT_S)
    findings: list[DoctorFinding] = []
    try:
        findings += await _check_models(wire, endpoint)
        if all(f.state != "fail" for f in findings):
            findings.append(await _check_completion(wire, endpoint))
        if all(f.state != "fail" for f in findings):
            findings.append(await _check_schema(wire, endpoint))
    finally:
        await wire.aclose()
    return findings


async def _check_models(wire: HttpClient, endpoint: Endpoint) -> list[DoctorFinding]:
    try:
        listed = await wire.models()
    except RetryableError as e:
        if e.limited:
            return [DoctorFinding("address", "warn", str(e), "wait, or lower `concurrency`")]
        return [DoctorFinding("address", "fail", str(e), "start the server, or correct `base_url`")]
    except TeacherRejected as e:
        answers = DoctorFinding("address", "ok", f"{endpoint.base_url} answers")
        if e.status in NO_LIST_STATUSES:
            message = (
                f"the endpoint lists no models (HTTP {e.status}); the completion below decides"
            )
            return [answers, DoctorFinding("model", "warn", message)]
        return [answers, _error_finding("models", e)]
    except AmbiguousRejection as e:
        answers = DoctorFinding("address", "ok", f"{endpoint.base_url} answers")
        return [answers, _error_finding("models", e.rejected)]
    except (Blocked, FormatUnsupported) as e:
        return [DoctorFinding("models", "warn", str(e))]
    answers = DoctorFinding("address", "ok", f"{endpoint.base_url} answers")
    return [answers, *_check_clock(listed), _check_model(listed, endpoint)]


def _check_model(listed: ModelList, endpoint: Endpoint) -> DoctorFinding:
    if listed.names is None:
        return DoctorFinding("model", "warn", "the list of models cannot be read")
    if endpoint.model in listed.names:
        return DoctorFinding("model", "ok", f"`{endpoint.model}` is listed")
    hint = suggest_names(endpoint.model, listed.names[:20])
    message = f"`{endpoint.model}` is not listed{hint}"
    return DoctorFinding("model", "warn", message, "correct `model` if the completion below fails")


def _check_clock(listed: ModelList) -> Iterator[DoctorFinding]:
    try:
        server_time = parsedate_to_datetime(listed.date or "")
    except (ValueError, TypeError):
        return
    server_time = server_time if server_time.tzinfo else server_time.replace(tzinfo=UTC)
    skew_s = abs((server_time - datetime.now(UTC)).total_seconds())
    message = f"differs by {skew_s:.0f} s from the endpoint's"
    is_wrong = skew_s > MAX_CLOCK_SKEW_S
    remedy = "set the clock of this machine (timedatectl set-ntp true)" if is_wrong else ""
    yield DoctorFinding("clock", "warn" if is_wrong else "ok", message, remedy)


async def _check_completion(wire: HttpClient, endpoint: Endpoint) -> DoctorFinding:
    began = time.perf_counter()
    body: RequestBody = {"model": endpoint.model, "messages": [PROBE_MESSAGE], "max_tokens": 1}
    try:
        reply = _structured.parse_reply(await wire.post(body), endpoint.model)
    except (RetryableError, TeacherRejected, Blocked, FormatUnsupported) as e:
        return _error_finding("completion", e)
    except AmbiguousRejection as e:
        return _error_finding("completion", e.rejected)
    seconds = time.perf_counter() - began
    if reply is None:
        remedy = "check the path of `base_url` in the provider's documentation"
        return DoctorFinding("completion", "fail", "the response is no chat completion", remedy)
    message = f"one token in {1000 * seconds:.0f} ms by {reply.model}"
    if reply.prompt_tokens is None:
        return DoctorFinding("completion", "ok", f"{message}; it counts no tokens")
    return DoctorFinding("completion", "warn" if seconds > SLOW_ANSWER_S else "ok", message)


async def _check_schema(wire: HttpClient, endpoint: Endpoint) -> DoctorFinding:
    reply: Reply | None = None
    used: ReplyFormat = "text"
    for mode in _structured.REPLY_FORMATS:
        messages = (
            [PROBE_MESSAGE]
            if mode == "json_schema"
            else _structured.add_schema_instruction([PROBE_MESSAGE], PROBE_SCHEMA)
        )
        form = _structured.make_response_format(PROBE_SCHEMA, mode)
        body: RequestBody = {
            "model": endpoint.model,
            "messages": messages,
            "max_tokens": ANSWER_TOKENS,
        }
        if form is not None:
            body["response_format"] = form
        try:
            data = await wire.post(body)
        except FormatUnsupported:
            continue
        except (RetryableError, TeacherRejected, Blocked) as e:
            return _error_finding("json", e)
        except AmbiguousRejection as e:
            return _error_finding("json", e.rejected)
        reply, used = _structured.parse_reply(data, endpoint.model), mode
        break
    return _schema_finding(reply, used)


def _schema_finding(reply: Reply | None, mode: ReplyFormat) -> DoctorFinding:
    parsed, problem = (
        _structured.parse_object(reply.text, PROBE_SCHEMA) if reply else (None, "no completion")
    )
    if parsed is None:
        message = f"takes {mode}, but the answer does not fit the schema ({problem})"
        remedy = "judges and authors need JSON; try `structured: text`, or another model"
        return DoctorFinding("json", "warn", message, remedy)
    if mode == "text":
        message = "no response_format; objects are parsed from plain text"
        return DoctorFinding(
            "json", "warn", message, "expect some malformed answers of judges and authors"
        )
    return DoctorFinding("json", "ok", f"response_format {mode}, and the answer fits")


def _error_finding(check: str, error: Exception) -> DoctorFinding:
    if isinstance(error, RetryableError) and error.limited:
        return DoctorFinding(check, "warn", str(error), "wait, or lower `concurrency`")
    if isinstance(error, TeacherRejected):
        return DoctorFinding(check, "fail", error.problem, error.hint)
    return DoctorFinding(check, "fail", str(error))
