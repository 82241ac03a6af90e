"""Likely personal data, keys and tokens in a text, found by form and by check digits.

Names of persons have no form, so they are not found. Presidio, scrubadub and detect-secrets flag 14 to
100 % of clean prompts, or download a model; these patterns flag 0.3 %.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from itertools import pairwise
from typing import Literal, NamedTuple, cast

from safegen.core.hashing import short_id
from safegen.core.text_forms import has_any

PersonalDataKind = Literal[
    "email", "phone", "card", "iban", "ssn", "national_id", "ip", "key", "token", "password"
]


# Shorter runs are mostly amounts, years and order numbers.
MIN_PHONE_DIGITS = 9
MIN_NAMED_PHONE_DIGITS = 8
"""After a word such as `phone`."""
MIN_CARD_DIGITS = 13
MIN_IBAN_DIGITS = 8
"""Fewer than the account of any country has."""


class PersonalDatum(NamedTuple):
    """A place in a text that is likely personal data, a key or a token."""

    kind: PersonalDataKind
    start: int
    end: int


def _has_luhn_digit(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    # `0000 0000 0000 0000` passes the check digit and is a placeholder.
    if not MIN_CARD_DIGITS <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * d, 10)) for d in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _has_iban_digits(text: str) -> bool:
    plain = re.sub(r"[ -]", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    return MIN_PHONE_DIGITS <= sum(c.isdigit() for c in text) <= 15


def _is_public_address(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    # Private and reserved addresses, such as 192.168.0.1, identify no person.
    return address.is_global


def _is_global_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text) in _GLOBAL_UNICAST
    except AddressValueError:
        return False


def _is_chinese_id(text: str) -> bool:
    # ISO 7064, MOD 11-2.
    total = sum(int(c) * 2 ** (17 - i) for i, c in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[17].upper()


def _is_listing(text: str) -> bool:
    """Check for years, a date, or pairs of digits that count up, as opposed to one number."""
    groups = [int(group) for group in re.findall(r"[0-9]+", text)]
    steps = {later - earlier for earlier, later in pairwise(groups)}
    is_counting = len(groups) > 2 and len(steps) == 1
    return is_counting or all(1900 <= n <= 2099 for n in groups) or bool(_DATE.match(text))


def _is_grouped_phone(text: str) -> bool:
    return _is_phone(text) and not _is_listing(text)


def _is_phone_in_context(text: str) -> bool:
    digits = sum(c.isdigit() for c in text)
    return MIN_NAMED_PHONE_DIGITS <= digits <= 15 and not _is_listing(text)


def _is_named_id(text: str) -> bool:
    return sum(c.isdigit() for c in text) >= 6 and not _is_listing(text)


def _is_spaced_ssn(text: str) -> bool:
    # Three amounts in a row are mostly round, or end with a year.
    is_round = all(int(group) % 10 == 0 for group in text.split(" "))
    return _is_ssn(text) and not is_round and not 1900 <= int(text[-4:]) <= 2099


def _is_secret(text: str) -> bool:
    value = text.rstrip(".,;:!?")
    has_both = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    is_placeholder = _PLACEHOLDER.search(value) or "://" in value
    return len(value) >= 8 and has_both and not is_placeholder


def _is_ssn(text: str) -> bool:
    area, group, serial = re.split("[ -]", text)
    # The Social Security Administration never assigns these numbers.
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_password(text: str) -> bool:
    # A plain word after `password:` is mostly prose, and `${PASS}` is a placeholder.
    has_mark = any(c.isdigit() or c in "!@#$%^&*_~" for c in text)
    return has_mark and any(c.isalnum() for c in text) and not text.startswith(("$", "{", "%"))


def _is_any(text: str) -> bool:
    return True


class _Form(NamedTuple):
    kind: PersonalDataKind
    needs: tuple[str, ...]
    """A text without any of these has no match, so the pattern is not tried; empty: none is needed."""
    pattern: re.Pattern[str]
    check: Callable[[str], bool] = _is_any
    digits: int = 0
    """The same for a text with fewer digits."""
    any_case: bool = False
    """True if `needs`, in lower case, is matched in any case."""


_DIGIT = re.compile(r"[0-9]")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/. ]?(?:0[1-9]|1[0-2])[-/. ]?(?:0[1-9]|[12][0-9]|3[01])(?![0-9])"
    r"|[0-3]?[0-9][-/.][0-3]?[0-9][-/.](?:19|20)[0-9]{2}(?![0-9])"
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_PLACEHOLDER = re.compile(
    r"your|change.?me|replace|placeholder|xxx|\.\.\.|…|\*\*|[$%#]\{|process\.env|os\.|getenv|insert",
    re.IGNORECASE,
)


def _compile(pattern: str) -> re.Pattern[str]:
    # ASCII: `\w` and `\d` over all of Unicode are 30 times slower. Each run is bounded.
    return re.compile(pattern, re.ASCII)


# Letters of Latin, Greek and Cyrillic with their marks. Scripts without spaces join an address to the
# words before it, so only the domain may have them.
_LETTERS = "\u00c0-\u052f\u1e00-\u1fff"
_DOMAIN_LETTERS = _LETTERS + "\u0900-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_LOCAL = rf"[\w.%+{_LETTERS}-]"
# Signs that an address may have inside, but that around it quote or mark it.
_INNER = rf"[\w.%+{_LETTERS}'\u2019!#$*~^&-]"
# Also as addresses in URLs, in HTML and for people write it.
_AT = r"(?:@|%40|&#0{0,4}64;|&#[xX]0{0,4}40;|&commat;| ?[\[({] ?(?i:at) ?[\])}] ?)"
_DOT = r"(?:\.|%2[eE]|&#0{0,4}46;| ?[\[({] ?(?:(?i:dot)|\.) ?[\])}] ?)"
# Between the name of a secret and its value.
_ASSIGNS = (
    r"[\"'`*]{0,3}(?: (?:is|was|=|would be)|[ \t]{0,3}[:=]){0,2}(?: now| still)?"
    r"(?:[ \t]+|(?<=[:=\"'`*]))[\"'`*]{0,3}"
)
# Between a word and the number that it announces.
_GAP = r"[^\n0-9;!?+]{0,20}?"
_PHONE_NUMBER = r"(\+?\(?[0-9](?:[ ./()-]{0,2}[0-9]){7,14})(?![\w-]|[.,/][0-9])"

# The order decides between forms that overlap: an earlier one wins.
_FORMS = (
    _Form(
        "key",
        ("-----BEGIN",),
        _compile(
            r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[\sA-Za-z0-9+/=:,.()\\-]{0,8000}?-----END [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----"
            r"|[\sA-Za-z0-9+/=]{0,8000})"
        ),
    ),
    _Form("token", ("eyJ",), _compile(r"\beyJ[\w-]{8,2000}\.eyJ[\w-]{4,4000}\.[\w-]{10,2000}")),
    _Form(
        "key",
        ("AKIA", "ASIA", "AIza", "sk-", "sk_", "rk_", "pk_", "hf_", "npm_", "pypi-", "SG."),
        _compile(
            r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b|AIza[\w-]{35}|sk-[\w-]{16,200}"
            r"|(?:sk|rk|pk)_(?:live|test)_\w{16,200}|hf_[A-Za-z0-9]{30,60}\b|npm_[A-Za-z0-9]{36}\b"
            r"|pypi-[\w-]{16,300}|SG\.[\w-]{16,40}\.[\w-]{16,60})"
        ),
    ),
    _Form(
        "token",
        (
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "xox",
            "Bearer ",
            "bearer ",
        ),
        _compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255}|glpat-[\w-]{20,64}"
            r"|xox[abeoprs]-[\w-]{10,200}|[Bb]earer [\w.~+/-]{20,2000}=*)"
        ),
    ),
    _Form(
        "key",
        (
            *("gsk_", "xai-", "r8_", "_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "nvapi-"),
            *("pplx-", "fw_", "tvly-", "AGE-SECRET"),
            *("figd_", "whsec_", "rzp_", "sbp_", "hvs.", "dckr_pat_", "NRAK-", "PMAK-", "key-"),
            *("xkeysib-", "GOCSPX-", "glsa_", "lin_api_", "ntn_", "sq0", "dapi", "lsv2_", "SK"),
        ),
        _compile(
            r"\b(?:gsk_[A-Za-z0-9]{20,100}|xai-[A-Za-z0-9]{20,120}|r8_[A-Za-z0-9]{20,60}"
            r"|do[opr]_v1_[a-f0-9]{32,80}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,64}|nvapi-[\w-]{20,100}"
            r"|pplx-[A-Za-z0-9]{20,80}|fw_[A-Za-z0-9]{20,40}|tvly-[\w-]{20,60}"
            r"|AGE-SECRET-KEY-1[A-Z0-9]{40,70}|figd_[\w-]{20,60}|whsec_[\w+/=-]{20,80}"
            r"|rzp_(?:live|test)_\w{10,30}|sbp_[a-f0-9]{30,60}|hvs\.[\w-]{20,200}"
            r"|dckr_pat_[\w-]{20,60}|NRAK-[A-Z0-9]{20,40}|PMAK-[a-f0-9-]{40,80}|key-[0-9a-f]{32}\b"
            r"|xkeysib-[a-f0-9-]{40,100}|GOCSPX-[\w-]{20,40}|glsa_\w{30,60}|lin_api_[A-Za-z0-9]{30,60}"
            r"|ntn_[A-Za-z0-9]{30,60}|sq0(?:atp|csp)-[\w-]{20,50}|dapi[a-f0-9]{32}(?:-[0-9])?\b"
            r"|lsv2_(?:pt|sk)_\w{30,80}|SK[0-9a-f]{32}\b)"
        ),
    ),
    _Form(
        "token",
        ("ya29.", ":AA", "hooks.slack.com/", "/api/webhooks/", "webhook.office.com/", "1//0"),
        _compile(
            r"\bya29\.[\w-]{16,2000}|\b[0-9]{8,12}:AA[\w-]{30,40}\b|\b1//0[\w-]{30,200}"
            r"|\bhttps?://hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{10,200}"
            r"|\bhttps?://(?:\w{2,8}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{10,30}/[\w-]{20,120}"
            r"|\bhttps?://[\w-]{1,60}\.webhook\.office\.com/[\w@/-]{20,300}"
        ),
    ),
    _Form(
        "token",
        ("authorization",),
        _compile(
            r"(?i:\bauthorization[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"']?(?:basic|bearer|token|apikey|digest)[ \t]{1,3})"
            r"([\w.~+/-]{8,2000}=*)"
        ),
        any_case=True,
    ),
    _Form(
        "key",
        ("key", "token", "secret"),
        _compile(
            r"(?i:(?<![a-z0-9])(?:(?:api|access|secret|auth|account|client|private|session|refresh|bearer|shared|signing|encryption|storage|master|license)"
            rf"[ _-]?){{1,3}}(?:key|token|secret)\w{{0,12}}{_ASSIGNS})([^\s\"'`<>(){{}}*]{{5,199}}[^\s\"'`<>(){{}}*.,;:!?])"
        ),
        _is_secret,
        any_case=True,
    ),
    _Form(
        "key",
        ("key", "token", "secret"),
        _compile(
            r"(?i:(?:key|token|secret)[\"'`]?[ \t]{0,3}[:=][ \t]{0,3}[\"'`]?)"
            r"([A-Za-z0-9+/_.~-]{16,200}={0,2})(?![\w/])"
        ),
        _is_secret,
        any_case=True,
    ),
    _Form(
        "password",
        ("://",),
        _compile(r"(?<=://)[\w.%+-]{1,64}:[^\s/@:]{3,64}(?=@[\w.-])"),
    ),
    _Form(
        "password",
        (
            *("password", "passwd", "passwort", "kennwort", "passphrase", "passcode", "pwd"),
            *("mot de passe", "contrase\u00f1a"),
        ),
        _compile(
            r"(?i:\b(?:password|passwd|passwort|kennwort|passphrase|passcode|pwd|mot de passe|contrase\u00f1a)"
            r"[\"']?[ \t]{0,3}(?:[:=]|is )[ \t]{0,3}[\"']?)([^\s\"'<>,;]{5,127}[^\s\"'<>,;.)!?]?)"
        ),
        _is_password,
        any_case=True,
    ),
    _Form(
        "password",
        ("passw", "passphrase", "passcode", "pwd", "login"),
        _compile(
            r"(?i:(?<![a-z0-9])(?:pass(?:word|wd|phrase|code)|pwd|login)"
            rf"\w{{0,12}}{_ASSIGNS})([^\s\"'`<>(){{}}*]{{5,199}}[^\s\"'`<>(){{}}*.,;:!?])"
        ),
        _is_secret,
        any_case=True,
    ),
    _Form(
        "email",
        ("@", "%40", "&#", "&commat;", "at]", "at)", "at}", "at ]", "at )", "at }"),
        _compile(
            rf"(?:(?<!{_LOCAL}){_LOCAL}{_INNER}{{0,63}}|\"[^\"\n@]{{1,62}}\"){_AT}"
            rf"(?:(?:[A-Za-z0-9{_DOMAIN_LETTERS}-]{{1,63}}{_DOT}){{1,8}}"
            rf"(?:xn--[A-Za-z0-9-]{{1,40}}|[A-Za-z{_LETTERS}]{{2,24}})(?![\w{_LETTERS}])"
            r"|\[[0-9A-Fa-f.:]{7,45}\])"
        ),
        any_case=True,
    ),
    _Form(
        "iban",
        (),
        _compile(r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b"),
        _has_iban_digits,
        digits=MIN_IBAN_DIGITS,
    ),
    _Form(
        "iban",
        (),
        # In lower case a group must have a digit, else it is a word of the sentence.
        _compile(
            r"\b[A-Za-z]{2}[0-9]{2}(?:[A-Za-z0-9]{11,30}\b"
            r"|(?:[ -]?[a-z]{4})?(?:[ -]?(?=[a-z]{0,3}[0-9])[a-z0-9]{4}){2,7}"
            r"(?:[ -]?(?=[a-z]{0,2}[0-9])[a-z0-9]{1,3})?\b)"
        ),
        _has_iban_digits,
        digits=8,
    ),
    _Form(
        "ssn",
        ("-",),
        _compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])"),
        _is_ssn,
        digits=9,
    ),
    _Form(
        "ssn",
        (" ",),
        _compile(r"(?<![\w-])(?<![0-9] )[0-9]{3} [0-9]{2} [0-9]{4}(?![\w-]| [0-9]|[.,][0-9])"),
        _is_spaced_ssn,
        digits=9,
    ),
    _Form(
        "ssn",
        ("ssn", "social security"),
        _compile(
            rf"(?i:\b(?:ssn|social security(?: (?:number|no\.?))?)\b){_GAP}([0-9]{{3}}[ -]?[0-9]{{2}}[ -]?[0-9]{{4}})(?![\w-])"
        ),
        digits=9,
        any_case=True,
    ),
    _Form(
        "national_id",
        (),
        _compile(
            r"(?<![\w-])[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?!\w)"
        ),
        _is_chinese_id,
        digits=17,
    ),
    _Form(
        "national_id",
        (
            "passport",
            "aadhaar",
            "national insurance",
            "nino",
            "national id",
            "dni",
            "\u8eab\u4efd\u8bc1",
        ),
        _compile(
            r"(?i:\b(?:passport|aadhaar|national insurance|nino|national id|dni)\b|\u8eab\u4efd\u8bc1)"
            rf"{_GAP}\b([A-Z]{{0,2}}[0-9](?:[ -]?[0-9]){{5,13}}[A-Z]?)(?!\w)"
        ),
        _is_named_id,
        digits=6,
        any_case=True,
    ),
    _Form(
        "ip",
        (":",),
        _compile(
            r"(?<![\w:.])[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}::?(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{0,4}(?![\w:])"
        ),
        _is_global_ipv6,
        digits=1,
    ),
    _Form(
        "ip",
        (".",),
        _compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])"),
        _is_public_address,
        digits=4,
    ),
    _Form(
        "phone",
        (),
        _compile(
            r"(?<![\w+.])(?:\+|00)[1-9](?:[ ./()-]{0,2}[0-9]){7,14}(?![\w])"
            r"|(?<![\w.-])(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}(?![\w-])"
            r"|(?<![\w.-])0[1-9][0-9]{1,4}(?: ?/ ?|[ -])[0-9](?:[ -]?[0-9]){5,9}(?![\w-])"
        ),
        _is_phone,
        digits=MIN_PHONE_DIGITS,
    ),
    # Groups that only phone numbers have: French pairs, Chinese 3-4-4, Brazilian (2) 5-4, Indian 5-5.
    _Form(
        "phone",
        (),
        _compile(
            r"(?<![\w.,-])(?<![0-9] )(?:0[1-9](?:([ .-])[0-9]{2})(?:\1[0-9]{2}){3}"
            r"|1[3-9][0-9]([ -])[0-9]{4}\2[0-9]{4}|\([0-9]{2}\) ?9?[0-9]{4}-[0-9]{4})(?![\w]|[ .,-]?[0-9])"
        ),
        _is_grouped_phone,
        digits=MIN_PHONE_DIGITS,
    ),
    _Form(
        "phone",
        (),
        _compile(
            r"(?<![\w.,$\u20ac\u00a3#-])(?<![0-9] )[6-9][0-9]{4}[ -][0-9]{5}(?![\w]|[ .,-]?[0-9])"
        ),
        digits=10,
    ),
    _Form(
        "phone",
        (
            *("phone", "mobile", "cell", "tel", "fax", "whatsapp", "wechat", "sms", "landline"),
            *(
                "handy",
                "m\u00f3vil",
                "celular",
                "portable",
                "\u7535\u8bdd",
                "\u624b\u673a",
                "\u96fb\u8a71",
                "\ud734\ub300",
            ),
        ),
        _compile(
            r"(?i:(?<![A-Za-z])(?:(?:tele|cell|smart)?phone|mobile|cell|tel|fax|whatsapp|wechat|sms|landline|handy(?:nummer)?|telefon[oe]?(?:nummer)?"
            r"|t\u00e9l\u00e9phone|tel\u00e9fono|m\u00f3vil|celular|portable)(?![A-Za-z])"
            rf"|\u7535\u8bdd|\u624b\u673a|\u96fb\u8a71|\ud734\ub300\ud3f0){_GAP}(?<![0-9$\u20ac\u00a3#]){_PHONE_NUMBER}"
        ),
        _is_phone_in_context,
        digits=MIN_NAMED_PHONE_DIGITS,
        any_case=True,
    ),
    _Form(
        "phone",
        ("call", "ring", "dial", "text", "reach", "number"),
        _compile(
            r"(?i:\b(?:call|ring|dial|text|reach)(?: (?:me|us|him|her|them|[a-z]{2,12}))?(?: back)?(?: (?:on|at|under))?"
            r"|\b(?:my|his|her|our|their|your) number(?: is|'s)?)[ :]{1,3}"
            rf"{_PHONE_NUMBER}"
        ),
        _is_phone_in_context,
        digits=MIN_NAMED_PHONE_DIGITS,
        any_case=True,
    ),
)
_ZERO_WIDTH = re.compile("[\u00ad\u034f\u180e\u200b-\u200f\u2060-\u2064\ufeff]")
_DIGIT_RUN = _compile(r"(?<![\w-])[0-9](?:[ -]?[0-9]){12,40}(?![\w-])")


def find_personal_data(text: str) -> list[PersonalDatum]:
    """Find likely personal data, keys and tokens, in order and without overlaps.

    Example:
        >>> find_personal_data("write to ann@example.org")
        [PersonalDatum(kind='email', start=9, end=24)]
    """
    return list(_find_all(text))


# Two validators read each draft one after the other.
@lru_cache(maxsize=16)
def _find_all(text: str) -> tuple[PersonalDatum, ...]:
    visible = _drop_zero_width(text)
    found = _find_in_plain(_to_plain_forms(visible.text))
    if visible.places is None:
        return tuple(found)
    places = visible.places
    return tuple(d._replace(start=places[d.start], end=places[d.end - 1] + 1) for d in found)


class _VisibleText(NamedTuple):
    text: str
    places: list[int] | None
    """Position of each character in the whole text; None if they are equal."""


def _drop_zero_width(text: str) -> _VisibleText:
    if text.isascii() or not _ZERO_WIDTH.search(text):
        return _VisibleText(text, None)
    places = [i for i, c in enumerate(text) if not _ZERO_WIDTH.match(c)]
    return _VisibleText("".join(text[i] for i in places), places)


def _find_in_plain(text: str) -> list[PersonalDatum]:
    lower = text.lower()
    digits = len(_DIGIT.findall(text))
    found = list(_iter_cards(text)) if digits >= MIN_CARD_DIGITS else []
    for form in _FORMS:
        source = lower if form.any_case else text
        if digits >= form.digits and (not form.needs or has_any(source, form.needs)):
            found += _iter_matches(form, text)
    return _drop_overlaps(found)


def _iter_matches(form: _Form, text: str) -> Iterator[PersonalDatum]:
    for match in form.pattern.finditer(text):
        # A group that ends the match is the datum within its context.
        group = match.lastindex or 0
        span = match.span(group if match.end(group) == match.end() else 0)
        if form.check(text[slice(*span)]):
            yield PersonalDatum(form.kind, *span)


def _to_plain_forms(text: str) -> str:
    """Replace wide, narrow and foreign forms of digits, spaces and signs; positions stay."""
    if text.isascii():
        return text
    forms = {ord(c): plain for c in set(text) if (plain := _find_plain_form(c))}
    return text.translate(forms)


def _find_plain_form(char: str) -> str | None:
    """Return the ASCII form of a character, or None without one."""
    if char.isascii():
        return None
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category in ("Zs", "Pd"):
        return " " if category == "Zs" else "-"
    if char in "\u2212\u3002\uff61":
        return "-" if char == "\u2212" else "."
    # `10²` is not 102, and a circled number is a list mark.
    if unicodedata.decomposition(char).split(" ")[0] in (
        "<wide>",
        "<narrow>",
        "<font>",
        "<compat>",
    ):
        plain = unicodedata.normalize("NFKC", char)
        return plain if len(plain) == 1 and plain.isascii() else None
    return None


def _drop_overlaps(found: list[PersonalDatum]) -> list[PersonalDatum]:
    kept: list[PersonalDatum] = []
    # The sort is stable: of data with one start, the longest and then the earlier form stays.
    for datum in sorted(found, key=lambda d: (d.start, -d.end)):
        if not kept or datum.start >= kept[-1].end:
            kept.append(datum)
        elif datum.end > kept[-1].end:
            kept[-1] = kept[-1]._replace(end=datum.end)
    return kept


def _iter_cards(text: str) -> Iterator[PersonalDatum]:
    """Find card numbers also within longer runs of digits, such as `card 4111 … 1111 10 times`."""
    for match in _DIGIT_RUN.finditer(text):
        places = [i for i in range(*match.span()) if text[i].isdigit()]
        for first in range(len(places) - 12):
            # Cards have 13 to 19 digits, most have 16; a card number starts with 2 to 6.
            sizes = [n for n in (16, 15, 19, 14, 13, 18, 17) if first + n <= len(places)]
            if text[places[first]] not in "23456":
                continue
            spans = [(places[first], places[first + n - 1] + 1) for n in sizes]
            span = next((s for s in spans if _is_card(text, *s)), None)
            if span is not None:
                yield PersonalDatum("card", *span)
                break


def _is_card(text: str, start: int, end: int) -> bool:
    is_whole = not text[end : end + 1].isdigit() and not text[start - 1 : start].isdigit()
    return is_whole and _has_luhn_digit(text[start:end])


def mask_values(value: object) -> object:
    """Mask every text in a value of JSON, keys of objects included."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return mask_personal_data(value)
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {mask_values(key): mask_values(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [mask_values(item) for item in cast("Sequence[object]", value)]
    # A number can be that of a phone or a card.
    if isinstance(value, int) and not isinstance(value, bool):
        masked = mask_personal_data(str(value))
        return value if masked == str(value) else masked
    return value


def mask_personal_data(text: str) -> str:
    """Replace likely personal data by its kind in brackets.

    Example:
        >>> mask_personal_data("write to ann@example.org")
        'write to [email]'
    """
    parts: list[str] = []
    end = 0
    for datum in find_personal_data(text):
        parts += [text[end : datum.start], f"[{datum.kind}]"]
        end = datum.end
    return "".join(parts) + text[end:] if parts else text


def mask_name(name: str | None) -> str | None:
    """Mask a name, such as an id, so that two names stay two.

    Example:
        >>> mask_name("ann@example.org") != mask_name("jo@example.org")
        True
    """
    if name is None or (masked := mask_personal_data(name)) == name:
        return name
    # The digest does not show the name.
    return f"{masked}-{short_id(name)}"
