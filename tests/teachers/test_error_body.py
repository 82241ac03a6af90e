from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from safegen.core.errors import Blocked
from safegen.teachers import _provider_text
from safegen.teachers._endpoint import Endpoint
from safegen.teachers._error_body import find_error, read_error
from safegen.teachers._errors import (
    AmbiguousRejection,
    RetryableError,
    translate_failed_reply,
    translate_response,
)
from safegen.teachers._request_options import Option
from safegen.teachers._stated_wait import read_stated_wait

CALLER = Endpoint("http://127.0.0.1:9/v1", "m", "MY_API_KEY", "the-key")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too salty", "code": null}}', "too salty"),
        (b'[{"error": {"code": 400, "message": "too salty"}}]', "too salty"),
        (b'{"error": "too salty", "error_type": "validation"}', "too salty"),
        (b'{"detail": "too salty"}', "too salty"),
        (
            b'{"detail": [{"loc": ["body", "salt"], "msg": "too salty", "type": "x"}]}',
            "body.salt: too salty",
        ),
        (b'{"object": "error", "message": "too salty", "code": 400}', "too salty"),
        (b'{"error_code": 17, "error_msg": "too salty"}', "too salty"),
        (b'{"errors": ["too salty", "too hot"]}', "too salty; too hot"),
        (b'{"code": "InvalidParameter", "message": "too salty"}', "too salty"),
        (b'{"code": 500, "msg": "too salty"}', "too salty"),
        (b'data: {"error": {"message": "too salty"}}\n\ndata: [DONE]\n', "too salty"),
        (
            b'event: error\ndata: {"type": "error", "error": {"message": "too salty"}}',
            "too salty",
        ),
        (
            b"<html><head><title>502</title><style>p{}</style></head><p>too salty</p>",
            "502 too salty",
        ),
        (b"too salty\n", "too salty"),
        (b'"too salty"', "too salty"),
        (b"\xff too salty", "\ufffd too salty"),
        (b'{"title": "too salty", "status": 400}', "too salty"),
        (b'{"Message": "too salty"}', "too salty"),
        (b'{"errorMessage": "too salty", "errorCode": 7}', "too salty"),
        (b'{"error": "bad_spice", "error_description": "too salty"}', "too salty"),
        (b'{"Error-Message": "too salty"}', "too salty"),
        (b'{"error": ["too salty", "too hot"]}', "too salty; too hot"),
        (b'{"error": ["salty"]}', "salty"),
        (b'{"err": "too salty"}', "too salty"),
        (b'{"errors": {"salt": ["too much"]}}', "salt: too much"),
        (b'{"message": "bad dish", "errors": {"salt": ["too much"]}}', "bad dish; salt: too much"),
        (b'{"salt": ["too much of it"], "status": 400}', "salt: too much of it"),
        (
            b'{"fault": {"faultstring": "too salty", "detail": {"errorcode": "x.Salt"}}}',
            "too salty",
        ),
        (b'{"data": {"message": "too salty"}, "ok": false}', "too salty"),
        (b'{"message": {"text": "too salty"}}', "too salty"),
        (b'{"success": false, "result": "too salty"}', "too salty"),
        (b'{"success": false, "result": "salty"}', "salty"),
        (b'{"statusCode": 401, "body": "too salty"}', "too salty"),
        (b'{"body": "{\\"q\\": \\"my own soup\\"}"}', ""),
        (b'{"kitchen": [{"chef": {"says": "too salty"}}], "input": "my own soup"}', "too salty"),
        (b'\xef\xbb\xbf{"error": {"message": "too salty"}}', "too salty"),
        ('{"error": {"message": "too salty"}}'.encode("utf-16"), "too salty"),
        (b"", ""),
    ],
)
def test_message_is_found_in_every_shape(body: bytes, message: str) -> None:
    assert read_error(body).message == message


def test_error_body_is_decoded_by_its_charset() -> None:
    body = '{"error": {"message": "Zuviel Würze"}}'.encode("latin-1")
    headers = {"content-type": "application/json; charset=ISO-8859-1"}
    error = translate_response(CALLER, status=503, headers=headers, body=body)
    assert "Zuviel Würze" in str(error)


def test_message_of_the_upstream_is_shown_too() -> None:
    raw = json.dumps({"error": {"message": "no salt left", "type": "arrearage"}})
    body = {"error": {"message": "upstream failed", "code": 429, "metadata": {"raw": raw}}}
    error = read_error(json.dumps(body))
    assert error.message == "upstream failed: no salt left"
    assert {"429", "arrearage"} <= set(error.codes)


def test_deep_and_odd_bodies_are_read() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = {"error": deep}
    assert read_error(deep).message == ""
    assert find_error({"error": None, "choices": [1]}) is None
    assert find_error(7) is None


def translated(status: int, body: object) -> Exception:
    return translate_response(CALLER, status=status, headers={}, body=body)


QUOTA = [
    (429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}),
    (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "suspended"}}),
    (400, {"code": "Arrearage", "message": "Access denied"}),
    (403, {"error": "Your team has used all available credits or reached its spending limit."}),
    (403, {"error": {"code": "insufficient_user_quota", "message": "用户额度不足"}}),
    (403, {"error": {"message": "user quota is not enough"}}),
    (429, {"error": {"message": "You exceeded your current quota, please check your plan."}}),
    (429, {"error": {"message": "クレジット残高が不足しています"}}),
    (429, {"error": {"message": "잔액이 부족합니다"}}),
    (429, {"error": {"message": "Saldo insuficiente, recargue su cuenta"}}),
    (429, {"error": {"message": "Votre solde insuffisant"}}),
    (429, {"error": {"message": "Недостаточно средств на счёте"}}),
    (429, {"error": {"message": "Ihr Guthaben ist aufgebraucht"}}),
    (429, {"error": {"message": "The monthly allowance is used up. Upgrade the subscription."}}),
    (429, {"message": "Your trial expired"}),
    (429, {"message": "the free trial of this workspace has ended"}),
    (403, {"message": "The subscription is no longer active: subscription expired"}),
    (
        429,
        {"error": {"message": "Rate limit exceeded: free-soups-per-day. Add 5 credits to go on"}},
    ),
    (429, {"error": {"message": "Daily request limit reached"}}),
    (403, {"message": "there are no remaining tokens in the package"}),
    (403, {"message": "0 requests left in this bundle"}),
    (429, {"message": "you have used all 1000 free requests"}),
    (429, {"message": "the plan's message limit has been reached"}),
    (429, {"message": "Out of tokens. Please purchase more."}),
    (403, {"message": "Insufficient tokens remaining"}),
    (429, {"message": "The workspace has reached its monthly spend"}),
    (429, {"message": "The credits of this workspace have expired"}),
    (429, {"message": "suspended for non-payment"}),
    (429, {"message": "Upgrade the kitchen to continue"}),
    (429, {"message": "the maximum number of requests for this plan was reached"}),
    (429, {"message": "Rate limit: the allowance returns tomorrow, try again tomorrow"}),
    (429, {"message": "套餐已用完"}),
    (429, {"message": "您的试用已过期"}),
    (412, {"error": {"message": "Account suspended: monthly spending limit reached"}}),
]


@pytest.mark.parametrize(("status", "body"), QUOTA)
def test_spent_balance_stops_the_run(status: int, body: object) -> None:
    error = translated(status, body)
    assert isinstance(error, AmbiguousRejection)
    assert error.is_account
    assert "balance or quota" in error.rejected.hint


MONEY = [
    {"error": {"message": "The credits of this bakery ran out"}},
    {"error": {"message": "Insufficient balance for the oven"}},
    {"error": {"message": "The wallet of the kitchen is empty"}},
    {"error": {"message": "There are not sufficient funds in the account"}},
    {"error": {"message": "The team has hit its spending cap"}},
    {"error": {"message": "Suspended because of an unpaid invoice"}},
    {"error": {"message": "A valid payment method has to be on file"}},
    {"error": {"message": "The card of the bakery: card declined"}},
    {"error": {"message": "The bakery's account is past due"}},
    {"error": {"message": "Das Budget ist leider erschöpft"}},
    {"error": {"message": "x", "code": "BILLING_NOT_ENABLED"}},
    {"error": {"message": "x", "code": "CreditsDepleted"}},
    {"detail": "payment required before the next loaf"},
]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 418, 422, 429, 500, 502, 503])
@pytest.mark.parametrize("body", MONEY)
def test_spent_money_counts_on_any_status(status: int, body: object) -> None:
    error = translated(status, body)
    assert isinstance(error, AmbiguousRejection)
    assert error.is_account
    assert "balance or quota" in error.rejected.hint


@pytest.mark.parametrize("body", MONEY)
def test_spent_money_inside_http_200_counts(body: object) -> None:
    error = translate_failed_reply(CALLER, read_error(body), headers={}, is_completion=False)
    assert isinstance(error, AmbiguousRejection)
    assert error.is_account


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"error": {"message": "API key limit reached (total limit)"}}),
        (429, {"error": {"message": "The weekly cap of this account was hit"}}),
        (429, {"error": {"message": "Das Kontingent ist ausgeschöpft"}}),
        (429, {"error": {"message": "Le quota du projet est dépassé"}}),
        (429, {"error": {"message": "Se ha agotado la cuota"}}),
        (429, {"error": {"message": "x", "type": "UsageLimitExceeded"}}),
        (429, {"error": {"message": "x", "code": "quota-exceeded"}}),
        (
            429,
            {"message": "Daily quota reached, limit exhausted. Retry after 9999-01-01T00:00:00Z"},
        ),
        (429, {"message": "Quota exceeded: loaves per day. Please retry in 7200s"}),
        (429, {"message": "Token quota exceeded, resets in 2 days"}),
        (429, {"message": "You used up your daily free allocation of loaves"}),
        (429, {"error": {"message": "Free allocated quota exceeded.", "code": "Throttling.X"}}),
    ],
)
def test_limit_of_days_stops_the_run(status: int, body: object) -> None:
    error = translated(status, body)
    assert isinstance(error, AmbiguousRejection)
    assert error.is_account


@pytest.mark.parametrize(
    "message", ["Token quota exceeded", "The monthly quota is exhausted", "no balance left"]
)
def test_short_retry_after_means_rate_limit(message: str) -> None:
    headers = {"retry-after": "2"}
    body = {"error": {"message": message}}
    error = translate_response(CALLER, status=429, headers=headers, body=body)
    assert isinstance(error, RetryableError)
    assert (error.limited, error.after_s) == (True, 2)


@pytest.mark.parametrize(
    "message",
    [
        "no healthy upstream in the load balancer",
        "the proxy lost its balance wheel",
        "internal error while loading the quota service",
        "the limit of retries was reached",
    ],
)
def test_server_error_without_money_is_retried(message: str) -> None:
    assert isinstance(translated(502, {"error": {"message": message}}), RetryableError)


def test_exhausted_context_is_no_spent_quota() -> None:
    error = translated(400, {"error": {"message": "all tokens used up: n_ctx is 512"}})
    assert isinstance(error, AmbiguousRejection)
    assert not error.is_account
    assert "longer context" in error.rejected.hint


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("resets in 1 second", 1),
        ("wait 2 minutes", 120),
        ("please retry in 1m30.5s", 90.5),
        ("try again in 6h0m0s", 21_600),
        ("in 3 hours you may try again", 10_800),
        ("Retry after: 40", 40),
        ("available again in 1 hour and 20 minutes", 4_800),
        ("retry in 250ms", 0.25),
        ("请在30秒后重试", 30),
        ("please wait 1,500 seconds", 1_500),
        ("retry in 2,000.5 s", 2_000.5),
        ("wait 3 - 8 seconds", 8),
        ("the limit resets in 00:02:05", 125),
        ("try again in an hour", 3_600),
        ("retryDelay: 7s", 7),
        ("2分15秒后重试", 135),
        ("请等待 20 秒", 20),
        ("45秒後に再試行してください", 45),
        ("1시간 5분 후에 다시 시도하세요", 3_900),
        ("Bitte in 40 Sekunden erneut versuchen", 40),
        ("Réessayez dans 2 minutes", 120),
        ("Inténtelo de nuevo en 1 minuto y 10 segundos", 70),
        ("20 Anfragen in 30 Sekunden sind erlaubt", None),
        ("30秒内最多20次", None),
        ("retry after 2001-01-01T00:00:00Z", None),
        ("100 requests in 60 seconds are allowed", None),
        ("retry after a while", None),
        ("wait for 5 bananas", None),
    ],
)
def test_stated_wait_is_read_from_words(message: str, seconds: float | None) -> None:
    assert read_stated_wait(message) == seconds


@pytest.mark.parametrize(
    ("form", "zone"),
    [
        ("Retry after %Y-%m-%d %H:%M:%S +0300 MSK", 3),
        ("limits reset at: %Y-%m-%d %H:%M:%S UTC", 0),
        ("the quota will be reset %a, %d %b %Y %H:%M:%S GMT", 0),
        ("try again at %Y-%m-%d %H:%M:%S (Asia/Tokyo)", 9),
        ("限额将在 %Y-%m-%d %H:%M:%S 重置", 8),
        ("available again at %H:%M:%S UTC", 0),
    ],
)
def test_stated_moment_is_read_in_its_zone(form: str, zone: int) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=20, hours=zone)
    assert read_stated_wait(moment.strftime(form)) == pytest.approx(1_200, abs=60)


def google_error(period: str, **fields: object) -> list[object]:
    message = f"{'You exceeded your current quota, see the plan and its billing details. ' * 8}\n"
    violation = {"quotaId": f"CallsPer{period}PerKitchen-FreeTier", "quotaValue": "10"}
    details = [{"violations": [violation]}, fields]
    error = {"code": 429, "message": f"{message}Please retry in 12.5s.", "details": details}
    return [{"error": error}]


@pytest.mark.parametrize(
    ("body", "after_s"),
    [
        (google_error("Minute", retryDelay="17s"), 17),
        (google_error("Minute"), 12.5),
        (google_error("Minute", retryDelay={"seconds": 9, "nanos": 5}), 9),
        ({"error": {"message": "check your plan and billing", "retry_after": 4}}, 4),
        ({"error": {"message": "quota exceeded", "retry_after_ms": 2500}}, 2.5),
        (
            {"error": {"message": "x", "metadata": {"headers": {"Retry-After": "6"}}}},
            6,
        ),
    ],
)
def test_wait_in_the_body_means_rate_limit(body: object, after_s: float) -> None:
    error = translated(429, body)
    assert isinstance(error, RetryableError)
    assert (error.limited, error.after_s) == (True, after_s)


@pytest.mark.parametrize(("code", "temporary"), [("x", True), ("insufficient_quota", False)])
def test_quota_named_by_words_leaves_items_retryable(code: str, temporary: bool) -> None:
    error = translated(429, {"error": {"message": "The monthly quota is exhausted", "code": code}})
    assert isinstance(error, AmbiguousRejection)
    assert (error.is_account, error.is_temporary) == (True, temporary)


def test_google_quota_of_a_day_stops_the_run() -> None:
    error = translated(429, google_error("Day", retryDelay="17s"))
    assert isinstance(error, AmbiguousRejection)
    assert error.is_account


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Service tier capacity exceeded for this model.", "code": "3505"},
        {"error": {"message": "Allocated quota exceeded, raise it", "code": "Throttling.Quota"}},
        {"error": {"message": "Allocated quota exceeded, please raise the limit"}},
        {"message": "You exceeded your daily usage tier acceleration limit"},
        {"error": {"message": "The plan of this pool is exceeded", "code": "server_overloaded"}},
    ],
)
def test_short_lack_of_capacity_is_retried(body: object) -> None:
    error = translated(429, body)
    assert isinstance(error, RetryableError)
    assert error.limited


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Content about unpaid invoices is not permitted; see billing details"),
        (403, "Your request about an overdue payment violates our rules"),
    ],
)
def test_safety_words_about_money_leave_the_account(status: int, message: str) -> None:
    error = translated(status, {"error": {"message": message}})
    assert isinstance(error, AmbiguousRejection)
    assert not error.is_account


def test_plain_words_of_the_upstream_decide() -> None:
    raw = "ERROR: the template of this model has no system role"
    error = translated(400, {"error": {"message": "upstream failed", "metadata": {"raw": raw}}})
    assert isinstance(error, AmbiguousRejection)
    assert f"upstream failed: {raw}" in str(error)
    assert "fold_system" in error.rejected.hint


@pytest.mark.parametrize(
    "message",
    [
        "Your credit balance is too low to use this API.",
        "Budget has been exceeded! Current cost: 12",
        "cannot parse: why is my billing page empty?",
    ],
)
def test_words_of_a_400_leave_the_balance_open(message: str) -> None:
    error = translated(400, {"error": {"message": message}})
    assert isinstance(error, AmbiguousRejection)
    assert error.is_account
    assert "balance or quota" in error.rejected.hint


ECHOES = [
    'cannot parse the turn "I exceeded my quota at the library, what does their billing office do?"',
    "cannot parse {'role': 'user', 'content': 'which safety check did the guardrail fail?'}",
    "cannot parse the turn: " + "which jar " * 50 + "was flagged under the content policy?",
]


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("message", ECHOES)
def test_echoed_prompt_decides_nothing(message: str, status: int) -> None:
    error = translated(status, {"error": {"message": message}})
    assert isinstance(error, AmbiguousRejection)
    assert not error.is_account


@pytest.mark.parametrize(
    "message",
    [
        "rate limit reached; try again in 3 s",
        "Quota exceeded for requests per minute. Please retry in 12 s",
        "Allocated quota exceeded: 60000 TPM",
        "Rate limit reached: tokens per minute. Need more? Upgrade your plan today",
        "Rate limit of requests per day reached. Please try again in 7m12s.",
        "Too many requests for this plan",
        "Concurrency limit of this plan reached: 2 requests",
        "too fast for the free limit, slow down",
        "The trial key allows 40 calls / minute; the trial limit is lifted by payment",
        "Rate limit exceeded, upgrade your plan for a higher one",
        "请求过于频繁，请稍后再试",
        "slow down",
        "Token quota exceeded, resets in 20 seconds",
        "All requests used up in this window, wait 4 seconds",
        "the daily peak: the server is busy",
        "Insufficient credits per minute",
    ],
)
def test_rate_limit_is_no_spent_balance(message: str) -> None:
    error = translated(429, {"error": {"message": message}})
    assert isinstance(error, RetryableError)
    assert error.limited
    assert message in str(error)
    assert error.words == message


POLICY = [
    (400, {"error": {"code": "content_filter", "message": "no"}}),
    (400, {"error": {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (403, {"code": "permission-denied", "error": "Content violates usage guidelines."}),
    (400, {"error": {"code": "invalid_prompt", "message": "limited for safety reasons"}}),
    (400, {"error": {"type": "content_filter", "message": "judged to be of high risk"}}),
    (400, {"error": {"code": "1301", "message": "系统检测到输入可能包含不安全或敏感内容"}}),
    (400, {"error": {"code": "data_inspection_failed", "message": "Input data"}}),
    (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
    (403, {"error": {"message": "x requires moderation and your input was flagged for y"}}),
    (500, {"error": {"code": "content_policy_violation", "message": "no"}}),
]


@pytest.mark.parametrize(("status", "body"), POLICY)
def test_content_policy_blocks_one_item(status: int, body: object) -> None:
    assert isinstance(translated(status, body), Blocked)


def test_category_of_a_block_is_kept() -> None:
    inner = {"content_filter_result": {"violence": {"filtered": True}, "hate": {"filtered": False}}}
    body = {"error": {"code": "content_filter", "message": "no", "innererror": inner}}
    assert "`violence`" in str(translated(400, body))


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"error": {"code": "context_length_exceeded", "message": "x"}}, "lower `max_tokens`"),
        ({"object": "error", "message": "maximum context length is 10"}, "lower `max_tokens`"),
        ({"error": {"message": "request exceeds the available context size"}}, "`max_tokens`"),
        ({"error": {"message": "System role not supported"}}, "fold_system"),
        ({"error": {"message": "roles must alternate user/assistant"}}, "fold_system"),
        ({"error": {"message": "use max_completion_tokens, not max_tokens"}}, "set `max_compl"),
        ({"error": {"message": "temperature must be 1"}}, "`temperature`"),
        ({"error": {"message": "response_format is not supported"}}, "`structured`"),
        ({"error": {"message": "enable_thinking must be false"}}, "`extra`"),
        ({"error": {"message": "no"}}, "parameters"),
    ],
)
def test_rejected_request_names_the_remedy(body: object, hint: str) -> None:
    error = translated(400, body)
    assert isinstance(error, AmbiguousRejection)
    assert hint in error.rejected.hint


def test_missing_path_names_v1() -> None:
    bare = Endpoint("http://127.0.0.1:9", "m", None, "")
    error = translate_response(bare, status=404, headers={}, body=b"Not Found")
    assert isinstance(error, AmbiguousRejection)
    assert "`/v1`" in error.rejected.hint


@pytest.mark.parametrize(
    "message", ["temperature is out of range", "context_length_exceeded", "invalid content type"]
)
def test_other_complaints_are_no_content_policy(message: str) -> None:
    assert not _provider_text.is_content_policy((), message)


TEAM = Option("X-Team", "spices", is_secret=False)
PASS = Option("X-Kitchen-Pass", "pepper-and-salt-77", is_secret=True)
SIGNED = Option("sig", "thyme-and-salt-77", is_secret=True)


@pytest.mark.parametrize(
    ("key_env", "headers", "query", "hint"),
    [
        (None, (), (), "the recipe names none; set `api_key_env`"),
        (None, (TEAM, PASS), (), "check the value of `X-Kitchen-Pass` in `headers`"),
        (None, (), (SIGNED,), "check the value of `sig` in `query`"),
        (None, (TEAM,), (), "the recipe sends `X-Team` in `headers`"),
        ("MY_API_KEY", (PASS,), (), "`MY_API_KEY`, and the value of `X-Kitchen-Pass` in `headers`"),
        ("MY_API_KEY", (TEAM,), (), "check the key in `MY_API_KEY` and its permissions"),
    ],
)
def test_key_hint_names_the_secrets_sent(
    key_env: str | None, headers: tuple[Option, ...], query: tuple[Option, ...], hint: str
) -> None:
    caller = Endpoint("http://127.0.0.1:9/v1", "m", key_env, "", headers=headers, query=query)
    error = translate_response(caller, status=401, headers={}, body=b"who are you?")
    assert isinstance(error, AmbiguousRejection)
    assert hint in error.rejected.hint
    assert "salt-77" not in str(error.rejected)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://kitchen.example/api/v2/chat/completions", "https://kitchen.example/api/v2"),
        ("/v2/chat/completions/", "http://127.0.0.1:9/v2"),
        ("https://user:the-key@kitchen.example:81/v1?token=abc#x", "https://kitchen.example:81/v1"),
        ("//kitchen.example/the-key/v1", "http://kitchen.example/***/v1"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_names_its_target(location: str, target: str, status: int) -> None:
    headers = {"location": location}
    error = translate_response(CALLER, status=status, headers=headers, body=b"")
    assert isinstance(error, AmbiguousRejection)
    assert error.rejected.problem == (
        f"`http://127.0.0.1:9/v1` answered HTTP `{status}`: a redirect to `{target}`"
    )
    assert error.rejected.hint == f"set `base_url` to `{target}` if you trust it"


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("/v1/chat/completions", "a redirect to the same address"),
        ("", "a redirect without an address"),
        ("mailto:cook@kitchen.example", "a redirect without an address"),
        ("http://[bad/", "a redirect without an address"),
    ],
)
def test_useless_redirect_names_the_fault(location: str, text: str) -> None:
    headers = {"location": location}
    error = translate_response(CALLER, status=307, headers=headers, body=b"")
    assert isinstance(error, AmbiguousRejection)
    assert text in error.rejected.problem
    assert "set `base_url`" not in error.rejected.hint


@pytest.mark.parametrize("status", [429, 500, 503])
def test_long_wait_names_time_and_reason(status: int) -> None:
    headers = {"retry-after": "PT2H"}
    body = {"error": {"message": "the oven is cleaned"}}
    error = translate_response(CALLER, status=status, headers=headers, body=body)
    assert isinstance(error, AmbiguousRejection)
    assert error.is_temporary
    assert "the oven is cleaned; it asks to wait 7,200 s, until " in error.rejected.problem
