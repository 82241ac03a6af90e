"""The one place that translates the SDK's exceptions and an endpoint's failures.

Exceptions are recognised by type. Only `is_content_policy` and `is_format_complaint` read a
provider's message, because these responses have no code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast

from safegen.core.errors import (
    Blocked,
    ContentFiltered,
    ItemError,
    ParseError,
    Refused,
    TeacherRejected,
    TeacherUnavailable,
    Truncated,
)
from safegen.core.types import Outcome, Reply

if TYPE_CHECKING:
    import openai

MAX_SHOWN_CHARS = 200
"""Characters of a provider's message that are shown or stored."""
# A wrong date in Retry-After must not stop a run for hours.
MAX_PAUSE_S = 600.0
# Time-out, conflict, too early. Any other 4xx needs a changed request.
TRANSIENT_STATUSES = frozenset({408, 409, 425})
# Marks of OpenAI, Azure (content management policy), DashScope (data_inspection_failed) and OpenRouter
# (requires moderation). No common code exists.
POLICY_MARKS = (
    "content_filter",
    "content_policy",
    "content management policy",
    "content policy",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
    "inappropriate content",
    "moderation_blocked",
    "safety_violation",
    "violating our usage polic",
    "requires moderation and your input was flagged",
)
FORMAT_MARKS = ("response_format", "json_schema", "json_object", "guided_json", "structured output")
ERROR_BY_OUTCOME: Mapping[Outcome, type[ItemError]] = {
    error.outcome: error
    for error in (Truncated, ContentFiltered, Refused, Blocked, ParseError, TeacherUnavailable)
}


class RetryableError(TeacherUnavailable):
    """A failure that another attempt may repair.

    The retry layer repeats the request. Without that layer the item is lost.

    Args:
        message: text for people.
        after_s: seconds that the server asks to wait (Retry-After); None if it names none.
        limited: a rate limit (HTTP 429) is the cause.
        malformed: the endpoint answered, but not with a chat completion.
    """

    def __init__(
        self,
        message: str,
        *,
        after_s: float | None = None,
        limited: bool = False,
        malformed: bool = False,
    ) -> None:
        super().__init__(message)
        self.after_s = after_s
        self.limited = limited
        self.malformed = malformed


class AttemptsExhausted(TeacherUnavailable):
    """Every attempt of a request failed, so the item is lost.

    The circuit breaker counts it. `malformed` means that the endpoint answered, but not with a chat
    completion.
    """

    def __init__(self, message: str, *, malformed: bool = False) -> None:
        super().__init__(message)
        self.malformed = malformed


class AmbiguousRejection(Exception):
    """A rejection of this request or of all requests; other responses decide which.

    `rejected` is the error to raise if the endpoint answers no request.
    """

    def __init__(self, message: str, *, rejected: TeacherRejected) -> None:
        super().__init__(message)
        self.rejected = rejected


class FormatUnsupported(Exception):
    """The endpoint does not take the `response_format` that was sent; carries its message."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address, model and key of an endpoint; `redact` removes the key from messages."""

    base_url: str
    model: str
    key_env: str | None
    key: str

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r}, {self.key_env!r})"

    def redact(self, message: object) -> str:
        """Remove the key and control characters from a message and cut it at 200 characters."""
        text = str(message).replace(self.key, "***") if self.key else str(message)
        printable = "".join(c if c.isprintable() else " " for c in text[: MAX_SHOWN_CHARS * 4])
        return " ".join(printable.split())[:MAX_SHOWN_CHARS]


def error_for_reply(reply: Reply) -> ItemError | None:
    """Return the error of a stored reply, or None if it is an answer."""
    return None if reply.outcome == "ok" else ERROR_BY_OUTCOME[reply.outcome](reply.message)


def is_content_policy(*fields: object) -> bool:
    """Check if the code, type or message of an HTTP 400 names a content policy."""
    text = " ".join(str(field) for field in fields if field).lower()
    return any(mark in text for mark in POLICY_MARKS)


def is_format_complaint(message: str) -> bool:
    """Check if the message of an HTTP 400 or 422 mentions the reply format."""
    text = message.lower()
    return any(mark in text for mark in FORMAT_MARKS)


def error_handlers() -> Mapping[
    type[openai.OpenAIError], Callable[[Endpoint, openai.APIError], Exception]
]:
    """Map each API error of the SDK to its translation; the nearest class counts."""
    import openai

    return {
        openai.APIError: _item_error,
        openai.APIConnectionError: _item_error,
        openai.APITimeoutError: _item_error,
        openai.APIResponseValidationError: _unreadable_error,
        openai.APIStatusError: _status_error,
        openai.BadRequestError: _bad_request_error,
        openai.UnprocessableEntityError: _bad_request_error,
        openai.AuthenticationError: _unauthorised_error,
        openai.OAuthError: _unauthorised_error,
        openai.PermissionDeniedError: _forbidden_error,
        openai.NotFoundError: _not_found_error,
        openai.ConflictError: _status_error,
        openai.RateLimitError: _rate_limit_error,
        openai.InternalServerError: _status_error,
    }


def translate_error(endpoint: Endpoint, error: Exception) -> Exception:
    """Translate an exception of the SDK, its transport or the time-out."""
    import openai

    if not isinstance(error, openai.APIError):
        return _no_answer_error(endpoint, error)
    table = error_handlers()
    handler = next(table[kind] for kind in type(error).__mro__ if kind in table)
    return handler(endpoint, error)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `retry-after-ms` or `retry-after` (seconds or a date): 0 to 600 s, or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        header = headers.get(name)
        if header is None:
            continue
        try:
            seconds = float(header) * unit
        except ValueError:
            seconds = _seconds_until(header)
        if not math.isnan(seconds):
            return min(max(seconds, 0.0), MAX_PAUSE_S)
    return None


def _seconds_until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return math.nan


def _provider_message(error: openai.APIError) -> str:
    # The SDK's message wraps the provider's in a repr of the body.
    body = cast(object, error.body)
    if isinstance(body, dict):
        message = cast("dict[str, object]", body).get("message")
        if isinstance(message, str) and message:
            return message
    return error.message


def _item_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    return _no_answer_error(endpoint, error)


def _no_answer_error(endpoint: Endpoint, error: BaseException) -> RetryableError:
    # The SDK reports most connection errors as a time-out, so the message names the first cause.
    import socket
    import ssl

    text_by_type: dict[type[BaseException], str] = {
        ConnectionRefusedError: "connection refused: no server listens on this port",
        socket.gaierror: "the host name cannot be resolved",
        ssl.SSLCertVerificationError: "the certificate cannot be verified",
        ssl.SSLError: "no TLS on this port; use http instead of https?",
        ConnectionError: "the connection was closed",
    }
    first = error
    while (cause := first.__cause__ or first.__context__) and isinstance(cause, Exception):
        first = cause
    texts = (text for kind, text in text_by_type.items() if isinstance(first, kind))
    return RetryableError(
        f"no answer from `{endpoint.base_url}` ({next(texts, type(first).__name__)})"
    )


def _unreadable_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    return RetryableError(f"the response of `{endpoint.base_url}` cannot be read", malformed=True)


def _status_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    status = cast("openai.APIStatusError", error)
    if status.status_code == 413:
        return _ambiguous_error(endpoint, status, "the request is too large")
    if status.status_code < 500 and status.status_code not in TRANSIENT_STATUSES:
        return _rejected_error(endpoint, status, "check `base_url` and the account")
    return RetryableError(
        f"`{endpoint.base_url}` answered HTTP `{status.status_code}`: {endpoint.redact(_provider_message(error))}",
        after_s=retry_after_s(status.response.headers),
    )


def _rate_limit_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    status = cast("openai.APIStatusError", error)
    if "insufficient_quota" in (error.code, error.type):
        return _rejected_error(
            endpoint, status, "the account has no quota left; raise it at the provider"
        )
    after = retry_after_s(status.response.headers)
    return RetryableError(
        f"`{endpoint.base_url}` limits the rate (HTTP `429`); lower `concurrency`",
        after_s=after,
        limited=True,
    )


def _key_hint(endpoint: Endpoint) -> str:
    key = f"the key in `{endpoint.key_env}`" if endpoint.key_env else "the key: set `api_key_env`"
    return f"check {key} and its permissions"


def _unauthorised_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    return _rejected_error(endpoint, cast("openai.APIStatusError", error), _key_hint(endpoint))


def _forbidden_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    return _ambiguous_error(endpoint, cast("openai.APIStatusError", error), _key_hint(endpoint))


def _not_found_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    remedy = f"check the model `{endpoint.model}` and the path of `base_url`"
    return _rejected_error(endpoint, cast("openai.APIStatusError", error), remedy)


def _bad_request_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    message = _provider_message(error)
    policy = is_content_policy(error.code, error.type, message)
    if not policy and is_format_complaint(message):
        return FormatUnsupported(endpoint.redact(message))
    remedy = "check the teacher's parameters in the recipe"
    if "max_completion_tokens" in message:
        remedy = "set `max_completion_tokens` instead of `max_tokens`"
    return _ambiguous_error(endpoint, cast("openai.APIStatusError", error), remedy)


def _ambiguous_error(endpoint: Endpoint, error: openai.APIStatusError, remedy: str) -> Exception:
    message = _provider_message(error)
    if is_content_policy(error.code, error.type, message):
        return Blocked(f"the provider blocked the request: {endpoint.redact(message)}")
    return AmbiguousRejection(
        f"the provider rejected the request (HTTP `{error.status_code}`): {endpoint.redact(message)}",
        rejected=_rejected_error(endpoint, error, remedy),
    )


def _rejected_error(
    endpoint: Endpoint, error: openai.APIStatusError, remedy: str
) -> TeacherRejected:
    return TeacherRejected(
        f"`{endpoint.base_url}` answered HTTP `{error.status_code}`:"
        f" {endpoint.redact(_provider_message(error))}",
        status=error.status_code,
        hint=remedy,
    )
