"""Reads the wait that the words of a server's message state, such as `resets in 1m30s`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from safegen.teachers import _quota as quota

NUMBER = r"\d{1,12}(?:,\d{3}){0,4}(?:[.,]\d{1,12})?"
THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
# `5 - 10 seconds` asks for up to ten.
RANGE_START = re.compile(rf"{NUMBER}\s?(?:-|–|to)\s?(?=\d)")
_WORD_UNITS = (
    r"(?:milliseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|ms|[smhdw])(?![a-z])"
)
SPAN = rf"(?:(?:{NUMBER}\s?(?:-|–|to)\s?)?{NUMBER}\s{{0,4}}{_WORD_UNITS}|an?\s(?:second|minute|hour|day|week)\b)"
SPANS = rf"{SPAN}(?:(?:\s|,|and){{0,8}}{SPAN}){{0,5}}"
# A limit per span (`100 requests in 60 seconds`) states no wait, so a verb has to come first.
VERB = (
    r"(?:retry(?:[_-]?(?:delay|after))?(?:[_-]?(?:ms|s|seconds))?|retried|try|wait\w{0,4}|resets?|reset"
    r"|resetting|refill\w{0,4}|renew\w{0,4}|refresh\w{0,4}|available|again|restored?|back|resumes?"
    r"|expires?|regain\w{0,3})"
)
SPAN_AFTER_VERB = re.compile(
    rf"\b{VERB}\b[^\d.!?;]{{0,40}}?\b({SPANS}|{NUMBER}(?=\s{{0,4}}(?:$|[.,;)\"])))",
    re.IGNORECASE,
)
SPAN_BEFORE_VERB = re.compile(rf"\bin ({SPANS})[^.!?;]{{0,30}}\b{VERB}\b", re.IGNORECASE)
PART = re.compile(rf"({NUMBER}|\ban?\b)\s{{0,4}}(ms|milli|[a-z])?", re.IGNORECASE)
UNIT_S = quota.UNIT_S | {"w": 604_800.0}

# By the first characters of a unit in Chinese, Japanese and Korean.
CJK_UNIT_S = {
    "毫秒": 0.001, "ミリ秒": 0.001, "밀리초": 0.001,
    "秒": 1.0, "초": 1.0,
    "分": 60.0, "분": 60.0,
    "小时": 3_600.0, "小時": 3_600.0, "时": 3_600.0, "時": 3_600.0, "시간": 3_600.0,
    "天": 86_400.0, "日": 86_400.0, "일": 86_400.0,
}  # fmt: skip
CJK_PART = re.compile(
    rf"(?<![\d月年.])(\d{{1,9}}(?:\.\d{{1,9}})?)\s{{0,3}}({'|'.join(CJK_UNIT_S)})(?:钟|鐘|間)?\s{{0,3}}"
)
CJK_SPAN = re.compile(
    rf"(?P<spans>(?:{CJK_PART.pattern}){{1,5}})(?:之|以)?(?:后|後|후|뒤)"
    rf"|(?:等待|等候|等)\s{{0,3}}(?P<waits>(?:{CJK_PART.pattern}){{1,5}})"
)
# A word that asks to come back, in the languages of `PLAIN_UNIT_S`.
_AGAIN = (
    r"(?:erneut|wieder|nochmal|noch einmal|versuch\w*|wart\w*|ré-?essa\w*|attend\w*|nouveau|inténte\w*"
    r"|intent\w*|reintent\w*|esper\w*|nuevo|riprov\w*|tent[ea]\w*|novamente|aguard\w*|повтор\w*|попроб\w*"
    r"|подожд\w*|снова)"
)
PLAIN_UNIT_S = {
    "sekunde": 1.0, "seconde": 1.0, "segundo": 1.0, "secondo": 1.0, "secondi": 1.0, "секунд": 1.0,
    "minute": 60.0, "minuto": 60.0, "minuti": 60.0, "минут": 60.0,
    "stunde": 3_600.0, "heure": 3_600.0, "hora": 3_600.0, "ora": 3_600.0, "ore": 3_600.0, "час": 3_600.0,
    "tag": 86_400.0, "jour": 86_400.0, "día": 86_400.0, "dia": 86_400.0, "giorn": 86_400.0,
    "день": 86_400.0, "дня": 86_400.0, "дней": 86_400.0,
}  # fmt: skip
PLAIN_PART = re.compile(rf"({NUMBER})\s{{1,3}}({'|'.join(PLAIN_UNIT_S)})\w{{0,3}}\b", re.IGNORECASE)
AGAIN = re.compile(rf"\b{_AGAIN}\b", re.IGNORECASE)

_ZONE = r"\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)(?![\w:])"
_DATE = rf"\d{{4}}-\d\d-\d\d(?:(?:[T ]| at )\d\d:\d\d(?::\d\d(?:\.\d{{1,9}})?)?(?:{_ZONE})?)?"
_HTTP_DATE = (
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? )?\d{1,2}[ -][A-Z][a-z]{2}[ -]\d{4} \d\d:\d\d(?::\d\d)?"
    r"(?: (?:[A-Z]{2,4}|[+-]\d{4})\b)?"
)
MOMENT = re.compile(
    rf"\b{VERB}\b[^\d!?;]{{0,40}}?(?P<after>{_DATE}|{_HTTP_DATE})"
    rf"|(?P<before>{_DATE})\s?(?:之?[后後]|重置|重试|再试|恢复|刷新|に|から)",
    re.IGNORECASE,
)
CLOCK = re.compile(
    rf"\b{VERB}\b[^\d!?;]{{0,40}}?\b(?:at|after|until) (\d\d?):(\d\d)(?::(\d\d))? ?(?:UTC|GMT|Z)\b",
    re.IGNORECASE,
)
CLOCK_SPAN = re.compile(
    rf"\b{VERB}\b[^\d!?;]{{0,30}}?\bin (\d{{1,2}}:\d\d(?::\d\d)?)(?![\d:])", re.IGNORECASE
)
ZONE_NAME = re.compile(
    r"\b(?P<name>(?:Asia|Europe|America|Australia|Africa|Pacific)/[A-Z]\w{2,20})|\b(?:Pacific Time|P[SD]?T)\b"
)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
JAPANESE_OR_KOREAN = re.compile(r"[\u3040-\u30ff\uac00-\ud7a3]")


def read_stated_wait(message: str) -> float | None:
    """Return the seconds that a message asks to wait; None if it names no span or future moment.

    Example:
        >>> read_stated_wait("Too many calls; try again in 1m30s.")
        90.0
    """
    moment = MOMENT.search(message)
    if moment is not None:
        return _read_moment(moment["after"] or moment["before"], message)
    duration = CLOCK_SPAN.search(message)
    if duration is not None:
        return quota.read_reset(duration[1])
    clock = CLOCK.search(message)
    if clock is not None:
        return _until_clock(*(int(part or 0) for part in clock.groups()))
    cjk = CJK_SPAN.search(message)
    if cjk is not None:
        spans = cjk["spans"] or cjk["waits"]
        return sum(float(n) * CJK_UNIT_S[unit] for n, unit in CJK_PART.findall(spans))
    found = SPAN_AFTER_VERB.search(message) or SPAN_BEFORE_VERB.search(message)
    if found is not None:
        return _sum_spans(found[1])
    parts = PLAIN_PART.findall(message) if AGAIN.search(message) else []
    if not parts:
        return None
    return sum(_read_number(n) * PLAIN_UNIT_S[unit.lower()] for n, unit in parts)


def _sum_spans(text: str) -> float:
    text = RANGE_START.sub("", text)
    if text.isdecimal():
        # A bare number may be a point in time.
        return quota.read_reset(text) or 0.0
    total = 0.0
    for number, unit in PART.findall(text):
        name = unit.lower() or "s"
        seconds = UNIT_S["ms" if name == "milli" else name]
        total += seconds if number[0].isalpha() else _read_number(number) * seconds
    return total


def _read_number(text: str) -> float:
    # `1,200` in English, `1,5` in German.
    return float(text.replace(",", "") if THOUSANDS.fullmatch(text) else text.replace(",", "."))


def _read_moment(text: str, message: str) -> float | None:
    moment = quota.read_moment(text.replace(" at ", " "), zone=_guess_zone(message))
    return None if moment is None or moment <= time.time() else moment - time.time()


def _guess_zone(message: str) -> tzinfo:
    """Return the zone of a time without one: vendors who write Chinese use that of Beijing."""
    import zoneinfo

    if named := ZONE_NAME.search(message):
        try:
            return zoneinfo.ZoneInfo(named["name"] or "America/Los_Angeles")
        except (KeyError, ValueError, OSError):
            return UTC
    if JAPANESE_OR_KOREAN.search(message):
        return timezone(timedelta(hours=9))
    return timezone(timedelta(hours=8)) if CHINESE.search(message) else UTC


def _until_clock(hour: int, minute: int, second: int) -> float | None:
    if hour > 23 or minute > 59 or second > 59:
        return None
    now = datetime.now(UTC)
    moment = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return ((moment - now).total_seconds()) % 86_400.0
