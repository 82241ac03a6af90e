"""Thinking tags in other spellings: escaped, in other brackets, with invisible characters."""

from __future__ import annotations

import re

_LESS = r"(?:\\{0,4}<|&(?:amp;){0,4}(?:lt|#0{0,8}60|#x0{0,8}3c);|\\{1,4}(?:u003c|x3c))"
_GREATER = r"(?:\\{0,4}>|&(?:amp;){0,4}(?:gt|#0{0,8}62|#x0{0,8}3e);|\\{1,4}(?:u003e|x3e))"
_INVISIBLE = "\u00ad\u180e\u200b-\u200f\u2060-\u2064"
ZERO_WIDTH = re.compile(f"[{_INVISIBLE}]")
_BODY = rf"[{_INVISIBLE} \\/]{{0,8}}[\w{_INVISIBLE}:-]{{1,40}}[{_INVISIBLE} \\/]{{0,8}}"
ANGLED = re.compile(rf"{_LESS}(?P<body>{_BODY}){_GREATER}", re.IGNORECASE)
# Such brackets are common, so they count only if the text also closes the block.
BRACKETED = re.compile(rf"[\[{{【‹«⟨〈＜《﹤]{{1,2}}(?P<body>{_BODY})[\]}}】›»⟩〉＞》﹥>]{{1,2}}")
NAME = re.compile(
    r"(?:\w{1,12}[:_-])?(?:think(?:ing)?|thoughts?|reasoning)(?:[_-]?\w{1,12})?"
    r"|(?:start|begin|end)_?of_?(?:think(?:ing)?|thoughts?|reasoning)"
    r"|analysis|scratch_?pad|(?:inner_|internal_)?monologue|cot|chain_of_thoughts?|(?:self_?)?reflection"
    r"|ponder(?:ing)?|brainstorm(?:ing)?|deliberation"
    # Other languages.
    r"|思考(?:过程|過程)?|思维(?:过程|链)?|推理(?:过程|過程)?|思索|考え|생각|추론|denken|gedanken(?:gang)?"
    r"|überlegung(?:en)?|pens[ée]es?|réflexion|raisonnement|pensamientos?|pensando|razonamiento|pensiero"
    r"|ragionamento|pensamentos?|raciocínio|размышлени[ея]|рассуждени[ея]|мысли|мышление|تفكير",
    re.IGNORECASE,
)
# Every such tag has one of these characters.
MARKS = frozenset("<&\\[{【‹«⟨〈＜《﹤")
BOUNDARY = re.compile(r"(?P<edge>start|begin|end)_?of_?", re.IGNORECASE)


def normalize_tags(text: str) -> str:
    r"""Rewrite each thinking tag of an unusual spelling in angle brackets.

    Example:
        >>> normalize_tags(r"\\u003cthink\\u003ehm[/REASONING]")
        '<think>hm[/REASONING]'
    """
    if MARKS.isdisjoint(text):
        return text
    closed = {tag[1] for m in BRACKETED.finditer(text) if (tag := _read(m["body"])) and tag[0]}

    def rewrite_bracket(match: re.Match[str]) -> str:
        tag = _read(match["body"])
        return _format(match[0], tag) if tag and tag[1] in closed else match[0]

    text = BRACKETED.sub(rewrite_bracket, text) if closed else text
    return ANGLED.sub(lambda m: _format(m[0], _read(m["body"])), text)


def _read(body: str) -> tuple[bool, str] | None:
    """Return whether a tag closes, and its name, or None if it is no tag of thinking."""
    plain = ZERO_WIDTH.sub("", body).replace("\\", "").strip()
    # `<think/>` is a block without content.
    name = plain.lstrip("/").strip().lower()
    if not NAME.fullmatch(name):
        return None
    edge = BOUNDARY.match(name)
    return plain.startswith("/") or bool(edge and edge["edge"] == "end"), name


def _format(raw: str, tag: tuple[bool, str] | None) -> str:
    if tag is None:
        return raw
    is_close, name = tag
    is_named = name.isascii() and not BOUNDARY.match(name)
    if is_named and raw.isascii() and raw[0] == "<" and raw[-1] == ">" and "\\" not in raw:
        return raw
    return f"<{'/' if is_close else ''}{name if is_named else 'think'}>"
