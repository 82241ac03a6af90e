"""Personal data, keys and tokens are found by form; ordinary numbers are not."""

from __future__ import annotations

import pytest

from safegen.core.personal_data import find_personal_data, mask_personal_data

# Split, so that scanners of repositories do not take them for secrets.
GITHUB = "gh" + "p_" + "Ab1" * 12
CLOUD = "AK" + "IA" + "ABCDEFGH23456789"
MODEL = "s" + "k-proj-" + "x9Y" * 10
JWT = "ey" + "JhbGciOiJub25lIn0.ey" + "JzdWIiOiJib3gifQ.c2lnbmF0dXJlLW9mLWJveA"
PEM = "-----BEGIN " + "EC PRIVATE KEY-----\nMHcCAQ==\n-----END EC PRIVATE KEY-----"

FOUND = {
    "Reply to jo.doe+box@mail.example.org, please.": "Reply to [email], please.",
    "My number is +44 20 7946 0958.": "My number is [phone].",
    "Call (212) 555-0147 or 030 / 1234567": "Call [phone] or [phone]",
    "Pay with 5500-0000-0000-0004 today": "Pay with [card] today",
    "card 4012 8888 8888 1881 12 times": "card [card] 12 times",
    "IBAN GB82 WEST 1234 5698 7654 32 it is": "IBAN [iban] it is",
    "SSN 219-09-9999": "SSN [ssn]",
    "server 93.184.216.34:80": "server [ip]:80",
    f"token {GITHUB}": "token [token]",
    f"key={CLOUD};": "key=[key];",
    f"use {MODEL}!": "use [key]!",
    f"jwt {JWT}": "jwt [token]",
    f"pem {PEM} end": "pem [key] end",
    "postgres://box:s3cretword@db/x": "postgres://[password]@db/x",
    "ring +44\u00a020\u202f7946\u20090958 now": "ring [phone] now",
    "ring \uff0b\uff14\uff14 \uff12\uff10 7946 0958": "ring [phone]",
    "ring +\u0664\u0664 20 7946\u20110958": "ring [phone]",
    "pay 5500\u00a00000\u00a00000\u00a00004": "pay [card]",
    "server \uff19\uff13\uff0e184\uff0e216\uff0e34": "server [ip]",
    "to j\u00f6rg@m\u00fchle.de, or ann@m\u00fchle.de.": "to [email], or [email].",
    "to jo\u0308rg@mu\u0308hle.de": "to [email]",
    "to ann@\u4f8b\u3048.jp or \u5199\u4fe1\u7ed9ann@box.org\u3002": "to [email] or \u5199\u4fe1\u7ed9[email]\u3002",
    "to ann\uff20box\uff0eorg": "to [email]",
    "pays gb82 west 1234 5698 7654 32 and then": "pays [iban] and then",
    "pays gb82west12345698765432.": "pays [iban].",
    "pays GB82\u202fWEST\u202f1234\u202f5698\u202f7654\u202f32": "pays [iban]",
    "password: kettle7drum": "password: [password]",
    "My PASSWORD is 'kettle7drum'!": "My PASSWORD is '[password]'!",
    "Passwort=kettle7drum, user=jo": "Passwort=[password], user=jo",
    "Authorization: Bearer abcdef0123456789abcdef": "Authorization: [token]",
}


@pytest.mark.parametrize("text", FOUND)
def test_likely_personal_data_is_masked(text: str) -> None:
    assert mask_personal_data(text) == FOUND[text]
    assert mask_personal_data(FOUND[text]) == FOUND[text]


@pytest.mark.parametrize(
    "text",
    [
        "In 1999 about 1,250,000 jars of 370 ml were sold.",
        "Mix 2 kg at 18.5 °C on 2024-03-14 at 12:30:45.",
        "ISBN 978-3-16-148410-0, order 1234567890123456",
        "127.0.0.1 and 192.168.0.7 are local; version 1.2.3",
        "the range 100-200-3000 and 555-12-34",
        "user@localhost, @box, a@b, https://example.org/a?b=c",
        "sk-learn, hf_hub, eyJ, Bearer of news",
        "0000 0000 0000 0000",
        "2 3 4 5 6 7 8 9",
        "password: what makes a good one? A password is important.",
        "password=${BOX_PASS1} or password: ********",
        "between 2020\u20132021 the area was 10\u00b2 m, in steps \u2460\u2461\u2462",
        "ab12 this that word case from then",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert find_personal_data(text) == []


@pytest.mark.parametrize(
    "text", ["1 " * 40_000, "a@" * 40_000, "-----BEGIN " * 8_000, "0-" * 40_000]
)
def test_long_hostile_text_is_read(text: str) -> None:
    assert len(mask_personal_data(text)) <= len(text) + 100
