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
    "authorization=Basic am86a2V0dGxlN2RydW0=": "authorization=Basic [token]",
    "06.98.76.54.31 or 07 11 42 33 90": "[phone] or [phone]",
    "138 0013 8000 and (11) 98765-4321": "[phone] and [phone]",
    "WhatsApp: 15912345670": "WhatsApp: [phone]",
    "her mobile is (415) 5550137 99": "her mobile is [phone]",
    "ring him on 2125550147.": "ring him on [phone].",
    "my number is 91234567": "my number is [phone]",
    "\u6211\u7684\u624b\u673a\u662f15912345670": "\u6211\u7684\u624b\u673a\u662f[phone]",
    "write to 87654 32109, please": "write to [phone], please",
    "from 2a00:1450:4009:81f::200e to [2a00:1450::1]:443": "from [ip] to [[ip]]:443",
    "id 11010519491231002X": "id [national_id]",
    "passport no. X1234567": "passport no. [national_id]",
    "SSN 219 09 9999, SSN: 219099999": "SSN [ssn], SSN: [ssn]",
    "x" + "ai-" + "Ab3" * 20: "[key]",
    "gs" + "k_" + "Ab3" * 16: "[key]",
    "r8" + "_" + "Ab3" * 12: "[key]",
    "do" + "p_v1_" + "ab3" * 20: "[key]",
    "shp" + "at_" + "ab3" * 11: "[key]",
    "ya" + "29." + "Ab3" * 12: "[token]",
    "bot 1234567890" + ":AA" + "Hb3" * 11: "bot [token]",
    "https://hooks." + "slack.com/services/T01/B02/" + "Ab3" * 8: "[token]",
    "API key: " + "0f" * 16: "API key: [key]",
    "export BOX_API_KEY='" + "0f" * 12 + "'": "export BOX_API_KEY='[key]'",
    'x = {"token": "' + "4e" * 20 + '"}': 'x = {"token": "[key]"}',
    "aws_secret_access" + "_key = " + "wJ4l/K7M" * 5: "aws_secret_access_key = [key]",
    "the password Kettle7Drum, please": "the password [password], please",
    "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\nVersion: Box v1.4 (x)\n\nlQOYBF=\n"
    "-----END " + "PGP PRIVATE KEY BLOCK----- end": "[key] end",
    "to ann%40box.org&x=1": "to [email]&x=1",
    "to ann&#64;box.org or ann&#x40;box.org": "to [email] or [email]",
    "to ann [at] box [dot] org or ann(at)box.org": "to [email] or [email]",
    "to 'o'hara@box.org' and **ann@box.org**": "to '[email]' and **[email]**",
    "to ann.\u200bb@bo\u200bx.o\u00adrg now": "to [email] now",
    'to "ann b"@box.org': "to [email]",
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
        "the years 1998 1999 2000 2001 and 2024 2025",
        "01 02 03 04 05 and 05 10 15 20 25 are rows of pairs",
        "order 13812345678, invoice no. 4155552671, ticket 98765432",
        "it cost $1234567890 or 1 234 567,89 EUR, and 12 345 678 people came",
        "the phone costs 1,299.00, weighs 187 g and came on 2024-03-14 at 12:30",
        "the mobile app has version 10.12.3, and 2019 2020 2021 sold well",
        "text 12 rows of 34 and call f(10, 20, 30)",
        "call me on 14/03/2024 12:30, or on 2024-03-14 12:30",
        "at 12:30:45 and 01:02:03:04, aa:bb:cc:dd:ee:ff, std::vector, a::b",
        "loopback ::1 and link fe80::1",
        "100 20 3000, then 120 15 2024",
        "ISBN 3-16-148410-0, DOI 10.1000/182, RFC 2822, ISO 8601-1:2019",
        "id 110105194912310021 fails its check digit",
        "token: the smallest unit; a secret is kept; key = value; max_tokens=4096",
        "api_key = YOUR_API_KEY_1, api_key=os.environ['KEY1'], token=${TOKEN1}",
        "the password protects accounts; the login page loads; API keys expire",
        "look at the map (at noon) or meet [at] home",
        "50%40 of it, AT&T, a&#64;b",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "uuid 123e4567-e89b-12d3-a456-426614174000, tel-aviv, cell 12 of row 34",
        "passport photos are 35 x 45 mm, renew them by 2030",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert find_personal_data(text) == []


@pytest.mark.parametrize(
    "text",
    [
        *("1 " * 40_000, "a@" * 40_000, "-----BEGIN " * 8_000, "0-" * 40_000, "f:" * 40_000),
        *("call me " * 8_000 + "1", "phone (" * 8_000 + "1", "api key " * 8_000, "a [at] " * 8_000),
        *("token=" * 10_000, "\u200ba@" * 20_000, "06 12 " * 10_000, "password " * 8_000),
    ],
)
def test_long_hostile_text_is_read(text: str) -> None:
    assert len(mask_personal_data(text)) <= len(text) + 100
