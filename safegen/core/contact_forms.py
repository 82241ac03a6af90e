"""Contacts in a text, found by form: telephone numbers, short codes, links, addresses and named help lines.

Years, prices, law sections and ports are numbers too. A short number is a contact only after words such
as `call` or `text … to`, or if it is known and its sentence is about calling.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import Literal, NamedTuple

from safegen.core.personal_data import find_personal_data
from safegen.core.text_forms import ODD_CASES, has_any

ContactForm = Literal["phone", "link", "email", "name"]
MIN_PHONE_DIGITS = 7
"""Shorter numbers are short codes, which are contacts only in context."""
MAX_PHONE_DIGITS = 15
MIN_SPACED_DIGITS = 5
"""Shorter numbers are written without groups; `13 11 14` has some."""
VANITY_DIGITS = 10
"""Digits of a number with letters, without the leading 1; `800 IU` is an amount."""
LINK_START = re.compile(r"\Ahttps?://", re.IGNORECASE)


class ContactMention(NamedTuple):
    """A place in a text that names a contact."""

    form: ContactForm
    key: str
    """The contact in the form in which contacts are compared; see `phone_key` and `link_key`."""
    start: int
    end: int


# A text without any of these holds no contact, and most answers hold none.
_CLUE = re.compile(
    r"[0-9@]|://|www\.|\.(?:org|com|gov|net)\b|[Ll]ine\b|-(?:one|eight|two)\b|\b(?:one|two|eight|nine) (?:one|two|eight|nine|zero|oh)\b"
)
_DIGIT = re.compile("[0-9]")
# Each match of the pattern of clues has one of these; searches for plain strings take a tenth of its time.
_DIGIT_OR_AT = re.compile("[0-9@]")
_CLUE_MARKS = (
    *("://", "www.", ".org", ".com", ".gov", ".net", "line", "Line", "-one", "-eight", "-two"),
    *(
        f"{one} {other}"
        for one in ("one", "two", "eight", "nine")
        for other in ("one", "two", "eight", "nine", "zero", "oh")
    ),
)
_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_DIGIT_WORDS = {
    word: str(digit)
    for digit, words in enumerate(
        ("zero oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    )
    for word in words.split()
}
_SPELLED = re.compile(
    rf"\b(?:{'|'.join(_DIGIT_WORDS)})(?:[- ](?:{'|'.join(_DIGIT_WORDS)})){{2,9}}\b", re.IGNORECASE
)
_SPELLED_MIDDLE = re.compile(rf"[- ](?:{'|'.join(_DIGIT_WORDS)})[- ]")
# Freephone numbers with letters, such as 1-800-555-SOUP.
_VANITY = re.compile(
    r"(?<![\w–-])(?:\+?1[-. ])?\(?8\d\d\)?[-. ](?=[A-Z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*\b"
)
_VANITY_PART = re.compile(r"8\d\d\)?[-. ]")
# The engine skips to the first character of a number faster than it tries a look-behind at each one.
_NOT_AFTER = r"(?<![\w$€£¥#§@/.,+-].)(?<![0-9][ :].)"
_NUMBER = re.compile(
    rf"(?:\+{_NOT_AFTER}\(?[0-9]|\({_NOT_AFTER}[0-9]|[0-9]{_NOT_AFTER})"
    r"(?:[ ().\u00a0\u202f/–-]{0,2}[0-9]){1,14}(?![\w%°€]|[.,:/][0-9]|-[0-9])"
)
_PAIR = re.compile(r"(?<![\w/.,-])([0-9]{2,3})/([0-9]{2,3})(?![\w/]|[.,-][0-9])")
# Words after which a number is one to call.
_CUE = re.compile(
    r"(?:\b(?:call(?:ing|ed|s)?|dial(?:l?ing|l?ed|s)?|ring(?:ing)?|rang|phon(?:e|ing)|text(?:ing|ed)?|sms|tel|telephone|whatsapp"
    r"|(?:help|hot|life|care|text|crisis|tip|advice|support|listening|night|information|quit|relay|poison)[ -]?lines?"
    r"|(?:phone|telephone|emergency|crisis|toll[- ]free|freephone|short|hotline|helpline) (?:number|code)s?|switchboard"
    r"|(?:reach|contact|message|speak to|talk to|get)(?: \w+){1,4}? (?:on|at|by calling)|text(?: \S+){1,3} to|emergency services|freephone"
    r"|appel(?:ez|er)|compos(?:ez|er)|joign(?:ez|able)|contact(?:ez|er) le|numéro|anrufen|notruf|wähle[n]?|rufe?n?)\b)"
    r"(?:[ *_\"“”'‘’(\[:`,\u00a0–-]+(?:the|us|them|it|is|on|at|to|now|or|text|number|line|emergency|services?|police|an?|ambulance|free|toll-free|crisis"
    r"|helpline|hotline|lifeline|using|via|by|de|le|la|au|die|der|unter|and|national|local|suicide|poison|[A-Z]{2,8})){0,7}"
    r"[ *_\"“”'‘’(\[:`,\u00a0–-]{0,6}\Z",
    re.IGNORECASE,
)
_CUE_CHARS = 90
# What may follow a number that is called; a noun shows a count, as in `call 500 people`.
_END = re.compile(
    r"[*_\"”'’)\]`]*(?:\Z|[.;!?\n)\]]|,? (?:[(–—-]|or|and|if|for|from|now|immediately|right|when|whenever|any ?time|free|straight|first|with|directly|today"
    r"|tonight|before|while|then|so|because|who|they|to (?:speak|talk|reach|get|report|ask)|24|day|et|ou|pour|wenn|und|in an emergency|is)\b|[,:/–—-])",
    re.IGNORECASE,
)
# `911`, `9-1-1` or `9 1 1`.
_PLAIN_SHORT = re.compile(r"\(?[0-9]+|\(?[0-9](?:[-. ][0-9])+")
_COUNTED = re.compile(
    r"[*_)]* ?(?:%|per ?cent|percent|people|persons|times|years?|days?|hours?|minutes?|miles?|metres?|meters?|feet|km|kg|mg|ml|dollars|euros|pounds"
    r"|customers|users|words|pages|employees|victims|cases|students|members|accounts|messages|homes|deaths|items|units|rows|(?:million|thousand|billion))\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:\b(?:section|sections|sec|art|article|articles|rule|port|ports|error|errors|code|status|http|room|page|pages|line|lines|flight|bus|route|highway|chapter"
    r"|title|form|level|version|iso|rfc|no|nr|step|unit|apartment|flat|model|usc|cfr|regulation|act|law|bill|channel|year|about|around|over|nearly"
    r"|almost|than|some|only|least|most|porsche|boeing|airbus|part|case|item)\.?|[§#$€£~≈])[ *_(]*\Z",
    re.IGNORECASE,
)
_ABOUT_CALLS = re.compile(
    r"\b(?:emergenc\w+|crisis|danger|ambulances?|police|fire (?:service|brigade|department)|rescue|(?:help|hot|life|care)[ -]?lines?|calls?|called|calling|dial\w*|ring|ringing"
    r"|phone\w*|text|texting|operators?|dispatch\w*|counsell?ors?|samu|pompiers|urgences?|notruf)\b",
    re.IGNORECASE,
)
_LINK = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'`*\])}]+", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}\b")
# Lower case: `Booking.com` is the name of a company.
_BARE_HOST = re.compile(
    r"(?<![\w@./:-])(?:[a-z0-9][a-z0-9-]{0,62}\.){1,4}(?:org|com|gov|net|int|edu|info|eu|uk|fr|ca|de|ie|nz|au|ch)(?![\w-]|\.[a-z])(?:/[^\s<>\"'`*\])}]*)?"
)
_HOST_END = re.compile(
    r"\.(?:org|com|gov|net|int|edu|info|eu|uk|fr|ca|de|ie|nz|au|ch)(?![\w-]|\.[a-z])"
)
_TO_HOST = re.compile(
    r"\b(?:at|to|visit|via|see|on|through|website|site|online|chat|check|try|open|use|browse|use their|report it)(?: (?:the|their|its|website|site|online|at|chat|page|it|to|is)){0,3}[\s*_\"“'‘(\[:–-]{0,5}\Z",
    re.IGNORECASE,
)
_NO_HOST = re.compile(
    r"(?:\A|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local|your[\w-]*\.\w+|my[\w-]*\.\w+|domain\.com|company\.com|site\.com|website\.com"
    r"|some[\w-]*\.\w+|attacker\.com|evil\.com|victim\.com|foo\.com|bar\.com|bank\.com)\Z",
    re.IGNORECASE,
)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LINE_END = re.compile(
    r"(?:Help ?line|Hot ?line|Life ?line|Care ?line|Text ?line|Tip ?line|Warm ?line|Crisis (?:Text )?Line|Support Line)\b"
)
_LINE_NAME = re.compile(
    r"(?:\b[A-Z0-9][\w&'’-]{0,30}(?: (?:of|for|and|the|on|to|&))?(?: (?:the|for))? ){1,7}?(?:[A-Z][\w-]* )?(?:Help ?line|Hot ?line|Life ?line|Care ?line|Text ?line|Tip ?line|Warm ?line|Crisis (?:Text )?Line|Support Line)\b"
)
_GENERIC_WORDS = frozenset(
    "a an and any ask at available call calling can chat child children contact crisis dial domestic emergency emotional find first for free friends general get help helpline if"
    " immediate in international is keep line local look mental health my national need new now of offer on or our phone poison prevention reach report ring see sexual"
    " suicide support talk telephone text that the their these this to trained try use violence abuse visit warm what when where with youth your you drug gambling".split()
)


def phone_key(number: str) -> str:
    """Return the digits of a number, with the letters of a keypad as digits and without a leading 1 or +.

    Example:
        >>> phone_key("1-800-555-SOUP"), phone_key("+44 (0)20 0000 0000")
        ('8005557687', '2000000000')
    """
    is_international = number.lstrip(" (*").startswith(("+", "00"))
    plain = number.replace("(0)", "").upper().translate(_KEYPAD)
    digits = re.sub(r"[^0-9]", "", plain)
    if is_international and len(digits) > MIN_PHONE_DIGITS + 2:
        return _strip_country(digits.removeprefix("00"))
    if len(digits) == 11 and digits.startswith("1"):
        return digits[1:]
    # The trunk prefix of a national number, which an international one lacks.
    return digits[1:] if len(digits) >= MIN_PHONE_DIGITS and digits[0] == "0" else digits


# Country codes of one or two digits; all others have three.
_SHORT_CODES = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


def _strip_country(digits: str) -> str:
    code = _SHORT_CODES.match(digits)
    return digits[code.end() :] if code else digits[3:]


def link_key(link: str) -> str:
    """Return host and path of a link without scheme, `www.`, query and final `/`.

    Example:
        >>> link_key("https://www.Bakery.example/chat/?from=soup")
        'bakery.example/chat'
    """
    plain = re.sub(r"[?#].*", "", LINK_START.sub("", link.strip()).rstrip(".,;:!?"))
    host, slash, path = plain.partition("/")
    return (host.lower().removeprefix("www.").split(":")[0] + slash + path).rstrip("/")


def find_contacts(text: str, *, short_numbers: Collection[str] = ()) -> list[ContactMention]:
    """Find the contacts in a text, in their order.

    Args:
        text: an answer or a prompt.
        short_numbers: known numbers of at most six digits, such as `911`, which are contacts in any
            sentence about calls or emergencies.

    Example:
        >>> [m.key for m in find_contacts("Call 555-0100 in 2024, or see www.soup.example/help.")]
        []
        >>> [m.key for m in find_contacts("Text SOUP to 741741 if you need it.")]
        ['741741']
    """
    if not _has_clue(text):
        return []
    mentions: list[ContactMention] = []
    # An address or a link may hold digits and hosts of its own, and the first finder wins.
    for found in (
        *_find_emails(text),
        *_find_links(text),
        *_find_numbers(text, frozenset(short_numbers)),
        *_find_line_names(text),
    ):
        if not any(m.start < found.end and found.start < m.end for m in mentions):
            mentions.append(found)
    return sorted(mentions, key=lambda mention: mention.start)


def _has_clue(text: str) -> bool:
    if _DIGIT_OR_AT.search(text):
        return True
    return has_any(text, _CLUE_MARKS) and bool(_CLUE.search(text))


def _find_emails(text: str) -> Iterator[ContactMention]:
    for match in _EMAIL.finditer(text) if "@" in text else ():
        if not _NO_HOST.search(match[0].rpartition("@")[2]):
            yield ContactMention("email", match[0].lower(), *match.span())


def _find_links(text: str) -> Iterator[ContactMention]:
    fences = [match.span() for match in _FENCED.finditer(text)] if "```" in text else []
    for match in _LINK.finditer(text) if "://" in text or "www." in text.lower() else ():
        yield from _make_link(match, fences)
    for match in _BARE_HOST.finditer(text) if _HOST_END.search(text) else ():
        if _TO_HOST.search(text, max(0, match.start() - 40), match.start()):
            yield from _make_link(match, fences)


def _make_link(match: re.Match[str], fences: list[tuple[int, int]]) -> Iterator[ContactMention]:
    value = match[0].rstrip(".,;:!?")
    key = link_key(value)
    host = key.partition("/")[0]
    # A link in code is a constant of a program.
    if any(start <= match.start() < end for start, end in fences) or not _is_public_host(host):
        return
    yield ContactMention("link", key, match.start(), match.start() + len(value))


def _is_public_host(host: str) -> bool:
    if "." not in host or _NO_HOST.search(host) or host.endswith((".example", ".test")):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _find_numbers(text: str, short_numbers: frozenset[str]) -> Iterator[ContactMention]:
    yield from _find_spelled(text, short_numbers)
    if not _DIGIT.search(text):
        return
    for match in _VANITY.finditer(text) if _VANITY_PART.search(text) else ():
        if len(phone_key(match[0])) == VANITY_DIGITS:
            yield _make_phone(match)
    for match in _PAIR.finditer(text) if "/" in text else ():
        # `112/999`: two numbers, of which one alone would be a fraction or a date.
        if {match[1], match[2]} <= short_numbers and _is_about_calls(match):
            yield ContactMention("phone", match[1], *match.span(1))
            yield ContactMention("phone", match[2], *match.span(2))
    for match in _NUMBER.finditer(text):
        if _is_contact_number(match, short_numbers):
            yield _make_phone(match)
    # Numbers in forms of other countries, and those in the middle of a line of digits.
    for datum in find_personal_data(text):
        if datum.kind == "phone":
            key = phone_key(text[datum.start : datum.end])
            yield ContactMention("phone", key, datum.start, datum.end)


def _find_spelled(text: str, short_numbers: frozenset[str]) -> Iterator[ContactMention]:
    may_spell = _SPELLED_MIDDLE.search(text.lower()) or has_any(text, ODD_CASES)
    for match in _SPELLED.finditer(text) if may_spell else ():
        key = "".join(_DIGIT_WORDS[word.lower()] for word in re.split("[- ]", match[0]))
        if key in short_numbers and _is_about_calls(match):
            yield ContactMention("phone", key, *match.span())


def _make_phone(match: re.Match[str]) -> ContactMention:
    # `(112, free)`: the bracket belongs to the sentence.
    start = match.start() + (match[0].startswith("(") and ")" not in match[0])
    return ContactMention("phone", phone_key(match[0]), start, match.end())


def _is_contact_number(match: re.Match[str], short_numbers: frozenset[str]) -> bool:
    text, key = match.string, phone_key(match[0])
    before = text[max(0, match.start() - _CUE_CHARS) : match.start()]
    after = text[match.end() : match.end() + 40]
    # `9/11` is a date, and `1–10` a range.
    is_short = len(key) < MIN_SPACED_DIGITS
    is_range = is_short and not _PLAIN_SHORT.fullmatch(match[0])
    if is_range or _NUMBERED.search(before) or _COUNTED.match(after):
        return False
    has_cue = bool(_CUE.search(before))
    if key in short_numbers:
        is_called = has_cue and bool(_END.match(after))
        # Numbers of two digits are too common to be recognised without a word such as `call`.
        return is_called or (len(key) > 2 and _is_about_calls(match))
    if not has_cue or not _END.match(after):
        return False
    digits = re.sub(r"[^0-9]", "", match[0])
    is_year = len(digits) == 4 and digits[:2] in ("19", "20") and digits in match[0]
    return 3 <= len(digits) <= MAX_PHONE_DIGITS and not is_year


def _find_line_names(text: str) -> Iterator[ContactMention]:
    has_name = "ine" in text and _LINE_END.search(text)
    for match in _LINE_NAME.finditer(text) if has_name else ():
        words = match[0].split()
        # `A Local Crisis Line` in a heading names a kind of service.
        first = next(
            (i for i, word in enumerate(words[:-1]) if word.lower() not in _GENERIC_WORDS), None
        )
        if first is not None:
            yield ContactMention("name", match[0].casefold(), *match.span())


def _is_about_calls(match: re.Match[str]) -> bool:
    """Return True if the words around a number, up to the ends of its sentence, are about calls or emergencies."""
    text, (start, end) = match.string, match.span()
    before = re.split(r"[.!?]\s|\n", text[max(0, start - 120) : start])[-1]
    after = re.split(r"[.!?](?:\s|\Z)|\n", text[end : end + 120])[0]
    return bool(_ABOUT_CALLS.search(before) or _ABOUT_CALLS.search(after))
