"""The one place that translates exceptions of HTTP clients and an endpoint's failures.

Exceptions are recognised by type, responses by status and code. `_provider_text` reads words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import urljoin, urlsplit

from safegen.core.errors import (
    Blocked,
    ContentFiltered,
    EmptyAnswer,
    ItemError,
    ParseError,
    Refused,
    TeacherRejected,
    TeacherUnavailable,
    Truncated,
)
from safegen.core.quotation import hide_quotation
from safegen.core.types import Outcome, Reply, Request
from safegen.teachers import _provider_text
from safegen.teachers._bounded_body import BodyTooLarge, DamagedBody, UnknownEncoding
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._error_body import ErrorBody, read_charset, read_error
from safegen.teachers._exchange import IncompleteBody, InvalidHttp, SlowConnection
from safegen.teachers._proxy import find_proxy
from safegen.teachers._quota import MAX_PAUSE_S, retry_after_s
from safegen.teachers._stated_wait import read_stated_wait
from safegen.teachers._tls import UNTRUSTED, explain_certificate

if TYPE_CHECKING:
    import openai

# Time-out, conflict, too early. Any other 4xx needs a changed request.
TRANSIENT_STATUSES = frozenset({408, 409, 425})
# The request itself was wrong, or its prompt.
REQUEST_STATUSES = frozenset({400, 403, 413, 415, 422, 424, 451})
MAX_SHOWN_WAIT_S = 10 * 365 * 86_400
"""Longest wait that is shown; dates end with the year 9999."""
ERROR_BY_OUTCOME: Mapping[Outcome, type[ItemError]] = {
    error.outcome: error
    for error in (
        Truncated,
        ContentFiltered,
        Refused,
        EmptyAnswer,
        Blocked,
        ParseError,
        TeacherUnavailable,
    )
}


class RetryableError(TeacherUnavailable):
    """A failure that another attempt may repair.

    The retry layer repeats the request. Without that layer the item is lost.

    Args:
        message: text for people.
        after_s: seconds that the server asks to wait (Retry-After); None if it names none.
        limited: a rate limit (HTTP 429) is the cause.
        status: the HTTP status, if there was one.
        cause: short name of the cause; the circuit breaker counts failures of one cause in a row.
        hint: the remedy, or the empty string.
        words: the server's own message, or the empty string.
    """

    def __init__(
        self,
        message: str,
        *,
        after_s: float | None = None,
        limited: bool = False,
        status: int | None = None,
        cause: str = "",
        hint: str = "",
        words: str = "",
    ) -> None:
        super().__init__(message)
        self.words = words
        self.after_s = after_s
        self.limited = limited
        self.status = status
        self.cause = cause
        self.hint = hint
        self.uncounted = False
        """True if the endpoint answered other requests, so that this attempt was a matter of luck."""


class AttemptsExhausted(TeacherUnavailable):
    """Every attempt of a request failed, so the item is lost; the circuit breaker counts it."""

    def __init__(self, message: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        self.hint = hint


class AmbiguousRejection(Exception):
    """A rejection of this request or of all requests; other requests decide which.

    `rejected` is the error to raise if the endpoint answers no request. `is_account` marks a spent
    balance: it stops the run at once if the control request fails too. `is_general` marks a status
    that mostly concerns all requests, such as a wrong key or model: it does so until the endpoint
    has answered a request. `is_temporary` marks a long wait that the server asks for: the item stays
    retryable.
    """

    def __init__(
        self,
        message: str,
        *,
        rejected: TeacherRejected,
        cause: str = "",
        is_account: bool = False,
        is_general: bool = False,
        is_temporary: bool = False,
    ) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary
        self.is_account = is_account
        self.is_general = is_general
        self.rejected = rejected
        self.cause = cause or f"http {rejected.status}"


class OversizedReply(Exception):
    """The decoded answer exceeds `max_reply_bytes`; only its item is lost."""


def hide_prompt(message: str, request: Request) -> str:
    """Replace each part of a server's message that repeats the messages of a request."""
    return hide_quotation(message, [m["content"] for m in request.messages])


def error_for_reply(reply: Reply) -> ItemError | None:
    """Return the error of a stored reply, or None if it is an answer."""
    if reply.outcome == "ok":
        return None
    error = ERROR_BY_OUTCOME[reply.outcome](reply.message)
    error.text = reply.text
    return error


def error_handlers() -> Mapping[
    type[openai.OpenAIError], Callable[[Endpoint, openai.APIError], Exception]
]:
    """Map each API error of the SDK to its translation; the nearest class counts."""
    import openai

    return {
        openai.APIError: translate_network_error,
        openai.APIConnectionError: translate_network_error,
        openai.APITimeoutError: translate_network_error,
        openai.APIResponseValidationError: _unreadable_error,
        openai.APIStatusError: _status_error,
        openai.OAuthError: _unauthorised_error,
    }


def translate_error(endpoint: Endpoint, error: Exception) -> Exception:
    """Translate an exception of the SDK, its transport or the time-out."""
    import httpx2
    import openai

    # httpx reports a closed connection and a damaged head as one type.
    if isinstance(error.__cause__, httpx2.RemoteProtocolError):
        return translate_network_error(endpoint, InvalidHttp())
    if not isinstance(error, openai.APIError):
        return translate_network_error(endpoint, error)
    table = error_handlers()
    handler = next(table[kind] for kind in type(error).__mro__ if kind in table)
    return handler(endpoint, error)


def translate_response(
    endpoint: Endpoint, *, status: int, headers: Mapping[str, str], body: object
) -> Exception:
    """Translate a response with an error status, for every HTTP client.

    Args:
        endpoint: address, model and key.
        status: the HTTP status.
        headers: names in lower case.
        body: bytes, text or JSON of any shape.
    """
    charset = read_charset(headers.get("content-type", ""))
    return _Failure(endpoint, read_error(body, charset=charset), status, headers).translate()


def translate_failed_reply(
    endpoint: Endpoint,
    error: ErrorBody,
    *,
    headers: Mapping[str, str],
    is_completion: bool,
    http_status: int = 200,
) -> Exception:
    """Translate the body of a success without an answer of a model."""
    status = error.status
    message = endpoint.redact(error.message) or "an empty body"
    failure = _Failure(endpoint, error, status or 0, headers, http_status=http_status)
    if is_completion:
        return failure.find_quota() or RetryableError(
            f"the provider failed to finish the answer: {message}", cause="unfinished answer"
        )
    special = failure.find_quota() or failure.find_policy()
    if special is not None:
        return special
    if status is not None:
        return failure.translate()
    return RetryableError(
        f"`{endpoint.base_url}` answered HTTP `{http_status}` with a body that is no chat completion:"
        f" {message}",
        status=http_status,
        cause="no chat completion",
        hint=error.hint
        or _path_hint(endpoint)
        or "check the path of `base_url` in the provider's documentation",
    )


class _Failure:
    """A response with an error, translated by status, code and, last, the provider's words."""

    def __init__(
        self,
        endpoint: Endpoint,
        error: ErrorBody,
        status: int,
        headers: Mapping[str, str],
        *,
        http_status: int = 0,
    ) -> None:
        self._http_status = http_status
        self._endpoint = endpoint
        self._error = error
        self._status = status
        self._headers = headers
        self._message = endpoint.redact(error.message) or "no message"
        # A prompt about billing or safety must not decide.
        self._words = _provider_text.strip_echo(error.message)

    def translate(self) -> Exception:
        special = self.find_quota() or self.find_policy()
        if special is not None:
            return special
        status = self._status
        wait_s = self._find_wait()
        is_transient = status == 429 or status >= 500 or status in TRANSIENT_STATUSES
        if is_transient and wait_s is not None and wait_s > MAX_PAUSE_S:
            return self._long_wait(wait_s)
        if status == 429:
            return self._rate_limit()
        if 300 <= status < 400:
            return self._redirect()
        if status in (401, 407):
            return self._general(_key_hint(self._endpoint))
        if status == 404:
            return self._general(self._not_found_hint())
        if status in REQUEST_STATUSES:
            return self._ambiguous()
        if status < 500 and status not in TRANSIENT_STATUSES:
            return self._general("check `base_url` and the account")
        return RetryableError(
            f"`{self._endpoint.base_url}` answered HTTP `{status}`: {self._message}",
            after_s=wait_s,
            status=status,
            cause=f"http {status}",
        )

    def find_quota(self) -> Exception | None:
        codes = {c for c in self._error.codes if not c.isdecimal() or len(c) != 3}
        status = self._status or None
        wait_s = self._find_wait()
        if not _provider_text.is_quota(codes, self._words, status=status, wait_s=wait_s):
            return None
        # A safety check that mentions a balance is no quota.
        if status not in (402, 429) and self.find_policy() is not None:
            return None
        rejected = self.reject(
            "the balance or quota of the account is used up; raise it at the provider"
        )
        # A long prompt or a large `max_tokens` may cost more than what is left, and words may concern
        # the prompt, so a control request decides.
        # If only words say so and the control request is answered, the limit was a short one.
        is_temporary = status == 429 and not _provider_text.is_quota(codes, "", status=status)
        return AmbiguousRejection(
            self._rejection_text(),
            rejected=rejected,
            is_account=True,
            is_temporary=is_temporary,
        )

    def find_policy(self) -> Exception | None:
        words = self._words if self._status in (0, 400, 403, 422, 451) else ""
        if self._status in (401, 404, 429):
            return None
        if not _provider_text.is_content_policy(self._error.codes, words):
            return None
        names = ", ".join(dict.fromkeys(self._error.categories))
        category = f" (category `{self._endpoint.redact(names)}`)" if names else ""
        return Blocked(f"the provider blocked the request{category}: {self._message}")

    def _find_wait(self) -> float | None:
        for wait_s in (retry_after_s(self._headers), self._error.wait_s):
            if wait_s is not None:
                return wait_s
        # These statuses quote no prompt, and Google names the wait after 400 characters.
        is_limit = self._status in (429, 503, 529)
        words = _provider_text.hide_quotes(self._error.message) if is_limit else self._words
        return read_stated_wait(words)

    def _long_wait(self, wait_s: float) -> AmbiguousRejection:
        seconds = min(math.ceil(wait_s), MAX_SHOWN_WAIT_S)
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        rejected = TeacherRejected(
            f"`{self._endpoint.base_url}` answered HTTP `{self._status}`: {self._message};"
            f" it asks to wait {seconds:,} s, until {until:%Y-%m-%d %H:%M} UTC",
            status=self._status,
            kept=True,
            hint="run the same command again after that time",
        )
        # The limit may be that of one request, so a control request decides.
        return AmbiguousRejection(
            self._rejection_text(), rejected=rejected, is_account=True, is_temporary=True
        )

    def _redirect(self) -> AmbiguousRejection:
        status, base_url = self._status, self._endpoint.base_url
        target = self._find_target()
        if not target:
            text, hint = (
                "a redirect without an address",
                "check `base_url` in the provider's documentation",
            )
        elif target == base_url:
            text, hint = (
                f"a redirect to the same address `{target}`",
                "ask the operator of the server",
            )
        else:
            text, hint = (
                f"a redirect to `{target}`",
                f"set `base_url` to `{target}` if you trust it",
            )
        text = f"{text}: {self._message}" if self._error.message else text
        rejected = TeacherRejected(
            f"`{base_url}` answered HTTP `{status}`: {text}", status=status, hint=hint
        )
        return AmbiguousRejection(
            f"the provider rejected the request (HTTP `{status}`): {text}",
            rejected=rejected,
            is_general=True,
        )

    def _find_target(self) -> str:
        """Return the `base_url` to which a redirect leads, without user info, query and secrets."""
        location = self._headers.get("location", "").strip()
        base_url = self._endpoint.base_url
        if not location:
            return ""
        try:
            parts = urlsplit(urljoin(f"{base_url}/chat/completions", location))
            host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
        except ValueError:
            return ""
        if ":" in (parts.hostname or ""):
            host = parts.netloc.rpartition("@")[2]
        if parts.scheme not in ("http", "https") or not host:
            return ""
        path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
        return self._endpoint.redact(f"{parts.scheme}://{host}{path}")

    def _general(self, hint: str) -> AmbiguousRejection:
        # A gateway may reject one prompt with any status, so a control request decides.
        return AmbiguousRejection(
            self._rejection_text(), rejected=self.reject(hint), is_general=True
        )

    def _rejection_text(self) -> str:
        status = self._status or self._http_status
        return f"the provider rejected the request (HTTP `{status}`): {self._message}"

    def reject(self, hint: str) -> TeacherRejected:
        status = self._status or self._http_status
        return TeacherRejected(
            f"`{self._endpoint.base_url}` answered HTTP `{status}`: {self._message}",
            status=status,
            hint=hint,
        )

    def _rate_limit(self) -> Exception:
        return RetryableError(
            f"`{self._endpoint.base_url}` limits the rate (HTTP `429`): {self._message}",
            after_s=self._find_wait(),
            limited=True,
            status=429,
            cause="http 429",
            hint="lower `concurrency`",
            words=self._endpoint.redact(self._error.message),
        )

    def _not_found_hint(self) -> str:
        model = f"check the model `{self._endpoint.model}`"
        if self._endpoint.is_azure_deployment:
            return "check the deployment in `base_url` and `api-version` in `query`"
        path = _path_hint(self._endpoint)
        return f"{model}; {path}" if path else f"{model} and the path of `base_url`"

    def _ambiguous(self) -> Exception:
        words = self._words
        hint = _provider_text.suggest_fix(words)
        if self._status == 413:
            hint = "shorten the prompts, or raise the server's limit for the size of a request"
        if self._status == 403:
            hint = _key_hint(self._endpoint)
        cause = ""
        if _provider_text.is_context_overflow(self._error.codes, words):
            cause = "prompt and answer exceed the model's context, "
            hint = "lower `max_tokens`, or serve the model with a longer context"
        return AmbiguousRejection(f"{cause}{self._rejection_text()}", rejected=self.reject(hint))


def translate_network_error(endpoint: Endpoint, error: BaseException) -> Exception:
    """Translate an exchange that ended without a response, by the type of its first cause."""
    # Clients wrap the cause: the SDK reports most connection errors as a time-out.
    import socket
    import ssl

    first, causes = error, [error]
    while (cause := first.__cause__ or first.__context__) and isinstance(cause, Exception):
        # The failure of an earlier attempt is the context of a later one, not its cause. The chain
        # also ends at a body that was received, whose decoder has errors of its own.
        if isinstance(cause, ItemError) or isinstance(first, DamagedBody | UnknownEncoding):
            break
        first = cause
        causes.append(cause)
    running = "check that the server is running"
    text_by_type: dict[type[BaseException], tuple[str, str]] = {
        ConnectionRefusedError: (
            "connection refused: no server listens on this port",
            "start the server, or correct `base_url`",
        ),
        socket.gaierror: ("the host name cannot be resolved", "check `base_url`"),
        UnicodeError: ("the host name cannot be resolved", "check `base_url`"),
        ssl.SSLCertVerificationError: (
            explain_certificate(first)
            if isinstance(first, ssl.SSLCertVerificationError)
            else UNTRUSTED
        ),
        ssl.SSLError: ("no TLS on this port; use http instead of https?", "correct `base_url`"),
        ConnectionError: (
            "the connection was closed",
            # A server that speaks TLS closes a connection without it.
            f"{running}; a server with TLS needs `https://` in `base_url`"
            if urlsplit(endpoint.base_url).scheme == "http"
            else running,
        ),
        SlowConnection: ("no connection in time", f"check `base_url` and the network; {running}"),
        TimeoutError: (
            "no complete answer in time",
            f"raise `timeout_s`, lower `concurrency` or `max_tokens`, or {running}",
        ),
        InvalidHttp: (
            "the answer is no complete HTTP/1.1",
            f"check host and port of `base_url`, and {running}",
        ),
        IncompleteBody: ("the connection was closed inside of the answer", running),
        UnknownEncoding: (
            f"the content encoding of the answer is unknown: `{endpoint.redact(first)}`",
            "let the server or the proxy send gzip or no encoding",
        ),
        DamagedBody: (
            "the compressed answer is damaged or ends early",
            "check the compression of the server and of the proxy",
        ),
    }
    if any(isinstance(c, BodyTooLarge) for c in causes):
        return OversizedReply(
            "the answer exceeds `max_reply_bytes`; raise it, or lower `max_tokens`"
        )
    texts = (text for kind, text in text_by_type.items() if isinstance(first, kind))
    name = type(first).__name__
    text, hint = next(texts, (name, running))
    through = ""
    if (proxy := find_proxy(endpoint.base_url)) is not None:
        # The connection is one to the proxy, whatever server runs behind it.
        through = f" through the proxy `{endpoint.redact(proxy.url)}`"
        if isinstance(first, ConnectionRefusedError):
            text = "connection refused: no proxy listens on this port"
        has_answered = ssl.SSLError | UnknownEncoding | DamagedBody | IncompleteBody | TimeoutError
        if not isinstance(first, has_answered):
            hint = _proxy_hint(endpoint)
    return RetryableError(
        f"no answer from `{endpoint.base_url}`{through} ({text})", cause=text, hint=hint
    )


def translate_proxy_status(endpoint: Endpoint, status: int) -> RetryableError:
    """Return the error of a proxy that opens no tunnel."""
    proxy = find_proxy(endpoint.base_url)
    name = endpoint.redact(proxy.url) if proxy else ""
    hint = _proxy_hint(endpoint)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and proxy:
        hint = f"set `{proxy.variable}` to `http://USER:PASSWORD@HOST:PORT` with the credentials of the proxy"
    return RetryableError(
        f"the proxy `{name}` answered HTTP `{status}`: no connection to `{endpoint.base_url}`",
        status=status,
        cause=f"proxy http {status}",
        hint=hint,
    )


def _proxy_hint(endpoint: Endpoint) -> str:
    parts = urlsplit(endpoint.base_url)
    proxy = find_proxy(endpoint.base_url)
    name = proxy.variable if proxy else f"{parts.scheme.upper()}_PROXY"
    return f"start the proxy or correct `{name}`, or add `{parts.hostname}` to `NO_PROXY`"


def unreadable_text_error(endpoint: Endpoint, charset: str) -> RetryableError:
    """Return the error of an answer whose bytes are not text."""
    name = f" and not `{endpoint.redact(charset)}`" if charset else " and names no other charset"
    return RetryableError(
        f"the answer of `{endpoint.base_url}` is not UTF-8{name}",
        cause="wrong charset",
        hint="let the server send UTF-8, or the right charset in `Content-Type`",
    )


def _unreadable_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    return RetryableError(
        f"the response of `{endpoint.base_url}` cannot be read", cause="no chat completion"
    )


def _status_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    response = cast("openai.APIStatusError", error).response
    return translate_response(
        endpoint, status=response.status_code, headers=response.headers, body=response.content
    )


def _unauthorised_error(endpoint: Endpoint, error: openai.APIError) -> Exception:
    return TeacherRejected(
        f"`{endpoint.base_url}` rejected the key: {endpoint.redact(error.message)}",
        hint=_key_hint(endpoint),
    )


def _key_hint(endpoint: Endpoint) -> str:
    secrets = [
        f"`{option.name}` in `{kind}`"
        for kind, options in (("headers", endpoint.headers), ("query", endpoint.query))
        for option in options
        if option.is_secret
    ]
    if secrets and not endpoint.key_env:
        return f"check the value of {', '.join(secrets)} and its permissions"
    if endpoint.headers and not endpoint.key_env:
        names = ", ".join(f"`{option.name}`" for option in endpoint.headers)
        return f"the recipe sends {names} in `headers`: add the header with the key, or set `api_key_env`"
    if not endpoint.key_env:
        return "check the key: the recipe names none; set `api_key_env` to the name of its environment variable"
    key = f"the key in `{endpoint.key_env}`"
    more = f", and the value of {', '.join(secrets)}," if secrets else ""
    return f"check {key}{more} and its permissions"


def _path_hint(endpoint: Endpoint) -> str:
    path = urlsplit(endpoint.base_url).path.strip("/")
    return "" if path else "does `base_url` lack `/v1`?"
