from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from safegen.teachers._quota import Quota, read_quota, read_reset, retry_after_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("2.5", 2.5),
        ("20ms", 0.02),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("1h", 3_600.0),
        ("7 seconds", 7.0),
        ("1 hour, 2 minutes", 3_720.0),
        ("2 Sec", 2.0),
        ("PT7S", 7.0),
        ("P1DT2H", 93_600.0),
        ("pt1m0.5s", 60.5),
        ("00:07", 7.0),
        ("1:02:03", 3_723.0),
        ("PT", None),
        ("-3", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("5 bananas", None),
    ],
)
def test_reset_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert read_reset(value) == pytest.approx(seconds)


def test_reset_is_read_as_moment() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=50)
    forms = [moment.isoformat(), format_datetime(moment, usegmt=True), str(time.time() + 50)]
    forms += [str(int(1e3 * (time.time() + 50))), moment.strftime("%Y-%m-%d %H:%M:%S UTC")]
    assert [read_reset(form) for form in forms] == [pytest.approx(50, abs=3)] * 5
    assert read_reset(moment.strftime("%Y-%m-%dT%H:%M:%SZ")) == pytest.approx(50, abs=3)


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "8s"}, (9, 8.0)),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "40ms"}, (0, 0.04)),
        ({"x-ratelimit-remaining-tokens": "70", "x-ratelimit-reset-tokens": "40ms"}, None),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "12"}, (3, 12.0)),
        ({"ratelimitbysize-remaining": "3"}, None),
        ({"anthropic-ratelimit-requests-remaining": "4"}, None),
        ({"ratelimit": '"hour";r=50;t=30, "burst";r=2;t=1'}, (2, 1.0)),
        ({"ratelimit": "limit=100, remaining=6, reset=15"}, (6, 15.0)),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "5"}, (1, 5.0)),
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "8s"}, None),
        (
            {
                "x-ratelimit-limit-requests": "5",
                "x-ratelimit-remaining-requests": "-2",
                "x-ratelimit-reset-requests": "8s",
            },
            (0, 8.0),
        ),
        (
            {
                "x-ratelimit-limit-tokens": "-1",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "8s",
            },
            None,
        ),
        ({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "8s"}, None),
        ({}, None),
    ],
)
def test_quota_is_read_from_headers(
    headers: dict[str, str], quota: tuple[int, float] | None
) -> None:
    assert read_quota(headers) == (None if quota is None else Quota(*quota))


def test_iso_reset_of_requests_is_read() -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    name = "anthropic-ratelimit-requests-"
    quota = read_quota({f"{name}remaining": "0", f"{name}reset": moment})
    assert quota is not None
    assert (quota.remaining, quota.reset_s) == (0, pytest.approx(30, abs=3))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "9"}, 9.0),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "later"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m"}, 120.0),
    ],
)
def test_wait_is_read_from_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds
