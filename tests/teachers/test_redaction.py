from __future__ import annotations

import pytest

from safegen.teachers._redaction import redact_secret

SECRET = "sEcr3t/+of the=kitchen"


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        "sEcr3t%2F%2Bof%20the%3Dkitchen",
        "sEcr3t/%2Bof%20the%3Dkitchen",
        "sEcr3t%2F%2Bof+the%3Dkitchen",
        SECRET[:15],
        f"{SECRET} and {SECRET[:13]}",
    ],
)
def test_echoed_secret_is_removed_in_any_form(echo: str) -> None:
    shown = redact_secret(f"no page /v1?key={echo}...", SECRET)
    assert "sEcr3t" not in shown
    assert "kitchen" not in shown
    assert shown.startswith("no page /v1?key=***")


def test_secret_in_html_and_json_is_removed() -> None:
    assert redact_secret("key a&lt;b&gt; \\u00e9", "a<b>") == "key *** \\u00e9"
    assert redact_secret('{"key": "a\\"b"}', 'a"b') == '{"key": "***"}'


def test_short_start_of_a_secret_stays() -> None:
    assert redact_secret("Bearer sk-1 is wrong", "sk-123456789-abc") == "Bearer sk-1 is wrong"
