from __future__ import annotations

import socket
import ssl
from email.utils import formatdate
from time import time

import httpx2
import openai
import pytest

from safegen.teachers._endpoint import Endpoint
from safegen.teachers._errors import (
    RetryableError,
    error_handlers,
    retry_after_s,
    translate_error,
)

CALLER = Endpoint("http://127.0.0.1:9/v1", "m", "MY_API_KEY", "the-key")


def descendants(kind: type[openai.APIError]) -> set[type[openai.APIError]]:
    below = set(kind.__subclasses__())
    return {kind}.union(*(descendants(k) for k in below))


def test_each_sdk_error_is_translated() -> None:
    ours = {k for k in descendants(openai.APIError) if k.__module__.startswith("openai")}
    assert len(ours) >= 14
    table = error_handlers()
    nearest = {kind: next(k for k in kind.__mro__ if k in table) for kind in ours}
    assert {kind for kind, known in nearest.items() if known is openai.APIError} == {
        openai.APIError
    }


def test_retry_after_accepts_milliseconds_seconds_and_dates() -> None:
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_s({"retry-after": "2"}) == 2
    assert retry_after_s({"retry-after": "-2"}) == 0
    assert retry_after_s({"retry-after": "1e6"}) == 1e6
    assert retry_after_s({"retry-after": "nan"}) is None
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({}) is None
    assert 28 < (retry_after_s({"retry-after": formatdate(time() + 30)}) or 0) <= 30


def test_redacted_text_is_short_printable_without_key() -> None:
    shown = CALLER.redact("bad the-key\x1b[31m\n" + "x" * 999)
    assert len(shown) == 200
    assert shown.isprintable()
    assert "the-key" not in shown + repr(CALLER)


def test_transport_error_names_only_the_address() -> None:
    assert str(translate_error(CALLER, TimeoutError("the-key"))) == (
        "no answer from `http://127.0.0.1:9/v1` (no complete answer in time)"
    )


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (ConnectionRefusedError(111, "the-key"), "no server listens"),
        (socket.gaierror(-2, "the-key"), "cannot be resolved"),
        (ssl.SSLCertVerificationError("the-key"), "certificate"),
        (ssl.SSLError("the-key"), "http instead of https"),
        (ConnectionResetError("the-key"), "closed"),
        (TimeoutError("the-key"), "in time"),
    ],
)
def test_cause_of_an_sdk_timeout_is_named(cause: Exception, says: str) -> None:
    middle = RuntimeError("the-key")
    middle.__cause__ = cause
    error = openai.APITimeoutError(httpx2.Request("POST", "http://127.0.0.1:9/v1"))
    error.__context__ = middle
    text = str(translate_error(CALLER, error))
    assert says in text
    assert "the-key" not in text


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        (0, "cannot be verified", "`SSL_CERT_FILE`"),
        (20, "cannot be verified", "`SSL_CERT_FILE`"),
        (9, "not valid yet", "clock"),
        (10, "has expired", "renew"),
        (62, "another host name", "`base_url`"),
        (64, "another host name", "`base_url`"),
    ],
)
def test_certificate_problem_names_its_remedy(code: int, text: str, hint: str) -> None:
    error = ssl.SSLCertVerificationError("the-key")
    if code:
        error.verify_code = code
    problem = translate_error(CALLER, error)
    assert isinstance(problem, RetryableError)
    assert text in str(problem)
    assert hint in problem.hint


def test_closed_connection_names_the_scheme() -> None:
    problem = translate_error(CALLER, ConnectionResetError())
    assert isinstance(problem, RetryableError)
    assert "`https://` in `base_url`" in problem.hint
