"""Probes an endpoint: does it answer, list the model, complete, and follow a JSON schema.

Sends one GET and the teacher's own requests: its parameters, a system turn and a schema, with a
harmless prompt. Nothing is cached, and no message shows the key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from safegen.core.errors import Blocked, TeacherRejected
from safegen.core.finding import DoctorFinding
from safegen.core.suggestions import suggest_names
from safegen.core.types import Message, Reply, ReplyFormat, Request
from safegen.teachers import _structured
from safegen.teachers._client import HttpClient, ModelList
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._errors import AmbiguousRejection, OversizedReply, RetryableError
from safegen.teachers._reply import has_thinking_in_text
from safegen.teachers._settings import Settings
from safegen.teachers._structured_output import FormatFallbackTeacher, FormatMemory
from safegen.teachers._transport import ChatTransport

TIMEOUT_S = 30.0
MAX_CLOCK_SKEW_S = 60.0
"""A larger difference makes Retry-After dates and the check of certificates unreliable."""
NO_LIST_STATUSES = frozenset({404, 405, 501})
SLOW_ANSWER_S = 20.0
# A user waits for the probe; a run may wait longer.
MAX_TIMEOUT_S = 120.0
PROBE_MESSAGES = (
    Message(role="system", content="You are a helpful assistant."),
    Message(role="user", content="Answer with the word yes."),
)
PROBE_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
PROBE_ERRORS = (RetryableError, TeacherRejected, Blocked, AmbiguousRejection, OversizedReply)


async def probe(settings: Settings) -> list[DoctorFinding]:
    """Probe one endpoint; the first failed step ends the probe, because the next steps need it."""
    settings = replace(settings, timeout_s=max(TIMEOUT_S, min(settings.timeout_s, MAX_TIMEOUT_S)))
    endpoint = settings.endpoint
    client = HttpClient(endpoint, connections=1, timeout_s=TIMEOUT_S)
    transport = ChatTransport(settings)
    findings: list[DoctorFinding] = []
    try:
        findings += await _check_models(client, endpoint)
        if all(f.state != "fail" for f in findings):
            findings += await _check_completion(transport, settings)
        if all(f.state != "fail" for f in findings):
            findings.append(await _check_schema(transport, settings))
    finally:
        await client.aclose()
        await transport.aclose()
    return findings


async def _check_models(client: HttpClient, endpoint: Endpoint) -> list[DoctorFinding]:
    try:
        listed = await client.models()
    except RetryableError as e:
        if e.limited:
            return [DoctorFinding("address", "warn", str(e), "wait, or lower `concurrency`")]
        return [DoctorFinding("address", "fail", str(e), _address_remedy(e))]
    except (TeacherRejected, AmbiguousRejection) as e:
        rejected = e.rejected if isinstance(e, AmbiguousRejection) else e
        answers = DoctorFinding("address", "ok", f"{endpoint.base_url} answers")
        if rejected.status in NO_LIST_STATUSES:
            message = f"the endpoint lists no models (HTTP {rejected.status}); the completion below decides"
            return [answers, DoctorFinding("model", "warn", message)]
        return [answers, _error_finding("models", rejected)]
    except (Blocked, OversizedReply) as e:
        return [DoctorFinding("models", "warn", str(e))]
    answers = DoctorFinding("address", "ok", f"{endpoint.base_url} answers")
    return [answers, *_check_clock(listed), _check_model(listed, endpoint)]


def _address_remedy(error: RetryableError) -> str:
    return error.hint or "start the server, or correct `base_url`"


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


async def _check_completion(transport: ChatTransport, settings: Settings) -> list[DoctorFinding]:
    began = time.perf_counter()
    try:
        reply, body = await transport.send(Request(PROBE_MESSAGES))
    except PROBE_ERRORS as e:
        return [_error_finding("completion", e)]
    seconds = time.perf_counter() - began
    message = f"answered in {1000 * seconds:.0f} ms by {reply.model}"
    if reply.prompt_tokens is None:
        message = f"{message}; it counts no tokens"
    state, remedy = "warn" if seconds > SLOW_ANSWER_S else "ok", ""
    if reply.outcome != "ok":
        state, message = "warn", f"{message}, but {reply.message}"
        remedy = f"`generate` would report `{reply.outcome}`"
    findings = [DoctorFinding("completion", state, message, remedy)]
    if has_thinking_in_text(body):
        text = "the server leaves the model's thinking in the text; safegen splits it off"
        remedy = "start the server with the reasoning parser of the model"
        findings.append(DoctorFinding("thinking", "warn", text, remedy))
    if settings.fold_system:
        text = "the system turn is sent inside of the first user turn"
        findings.append(DoctorFinding("system", "ok", text))
    return findings


async def _check_schema(transport: ChatTransport, settings: Settings) -> DoctorFinding:
    memory = FormatMemory()
    # A probe has one attempt, so the first HTTP 5xx or 429 already leads to the next format.
    memory.server_errors = memory.limits = 1
    teacher = FormatFallbackTeacher(transport, structured=settings.structured, memory=memory)
    try:
        reply = await teacher(Request(PROBE_MESSAGES, schema=PROBE_SCHEMA))
    except PROBE_ERRORS as e:
        return _error_finding("json", e)
    used = memory.format if settings.structured == "auto" else settings.structured
    return _schema_finding(reply, used)


def _schema_finding(reply: Reply, reply_format: ReplyFormat) -> DoctorFinding:
    parsed, problem = _structured.parse_object(reply.text, PROBE_SCHEMA)
    if parsed is None:
        cause = reply.message or problem
        message = f"takes {reply_format}, but the answer does not fit the schema ({cause})"
        remedy = "judges and authors need JSON; try `structured: text`, or another model"
        return DoctorFinding("json", "warn", message, remedy)
    if reply_format == "text":
        message = "no response_format; objects are parsed from plain text"
        return DoctorFinding(
            "json", "warn", message, "expect some malformed answers of judges and authors"
        )
    return DoctorFinding("json", "ok", f"response_format {reply_format}, and the answer fits")


def _error_finding(check: str, error: Exception) -> DoctorFinding:
    if isinstance(error, RetryableError) and error.limited:
        return DoctorFinding(check, "warn", str(error), "wait, or lower `concurrency`")
    if isinstance(error, RetryableError):
        return DoctorFinding(check, "fail", str(error), error.hint)
    rejected = error.rejected if isinstance(error, AmbiguousRejection) else error
    if isinstance(rejected, TeacherRejected):
        return DoctorFinding(check, "fail", rejected.problem, rejected.hint)
    return DoctorFinding(check, "fail", str(error))
