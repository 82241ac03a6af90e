"""Thinking at the start of a text without a tag that a vendor documents: blocks of any name, labels, musings."""

from __future__ import annotations

import json
import re
from typing import NamedTuple, cast


class UnmarkedThinking(NamedTuple):
    """The start of a text that is, or may be, thinking."""

    thinking: str = ""
    text: str = ""
    problem: str = ""
    """Why the text cannot be used; empty if the thinking is split off."""


BLOCK = re.compile(
    r"\A\s*(?:<(?P<name>[^\W\d][\w:.-]{0,40})(?:\s[^<>\n]{0,100})?>|\[(?P<bracket>[^\W\d][\w ]{0,40})\])"
)
# HTML and BBCode, and names of documents that a person may ask for.
CONTENT_NAMES = frozenset(
    "a abbr address article aside audio b bdi bdo blockquote body br button canvas caption center cite code"
    " col color dd del dfn div dl doctype dt em email embed example fieldset figure font footer form"
    " h1 h2 h3 h4 h5 h6 head header hr html i iframe image img ins kbd label letter li link list main mark"
    " math message meta nav note object ol p picture poem pre q quote s samp script section"
    " size small source span spoiler story strike strong style sub summary sup svg table tbody td template text"
    " textarea tfoot th thead time title tr tt u ul url var verse video wbr xml document file artifact"
    " answer final response output reply result solution final_answer final_response root chorus intro".split()
)
# A card or an exercise, whose answer is content.
QUESTION_NAMES = frozenset(
    "question query prompt task input problem exercise front term instruction user request".split()
)
THINKING_PART = re.compile(
    r"think|thought|reason|ponder|brainstorm|reflect|analy[sz]|deliberat|scratch|monolog|rationale|(?:\A|[_:])cot(?:_|\Z)"
    r"|intent|consider|assess|strateg|planning|denk|gedank",
    re.IGNORECASE,
)
WRAPPER = re.compile(
    r"\s*<(?P<name>(?:final|my)?_?(?:final|answer|response|output|reply|solution|result))"
    r"(?:\s[^<>\n]{0,60})?>(?P<text>.*?)(?:</(?P=name)>\s*)?\Z",
    re.DOTALL | re.IGNORECASE,
)
MARKUP = re.compile(r"<[/!?a-zA-Z]")

_LABEL = (
    r"(?:(?:my|the|internal|inner) )?(?:thinking|thoughts?|reasoning|monologue|chain of thought|scratchpad"
    r"|analysis of the (?:request|prompt|question)|intent analysis)(?: process| for [\w ]{1,20})?"
    r"|思考(?:过程|過程)?|思维(?:过程|链)|推理(?:过程|過程)|내부 추론|생각|Gedanken(?:gang)?|Denkprozess|(?:Nach)?denken|Pensée"
    r"|Überlegung(?:en)?|Réflexion|Raisonnement|Pensamiento|Razonamiento|Ragionamento|Рассуждени[ея]"
    r"|Размышлени[ея]"
)
_REPLY_LABEL = (
    r"(?:my |the )?(?:final )?(?:answer|response|reply|output)|(?:最终|最終)?(?:回答|答案|答复|回复|答え)"
    r"|답변|(?:Endgültige )?Antwort|Réponse(?: finale)?|Respuesta(?: final)?|Risposta|Resposta|Ответ"
)
_MARK = r"[*_#> \t]{0,12}"
# `思考过程：… 回答：…`, `【思考】… 【回答】…`, `**Analysis of the request** … **Answer** …`
LABELLED = re.compile(
    rf"\A\s*{_MARK}(?:【(?:{_LABEL})】|(?:{_LABEL})[*_]{{0,3}}\s?(?:[:：]|(?=\n)))", re.IGNORECASE
)
LABELLED_REPLY = re.compile(
    rf"^{_MARK}(?:【(?:{_REPLY_LABEL})】|(?:{_REPLY_LABEL})[*_]{{0,3}}(?:\s?[:：]|[ \t]*$))[*_]{{0,3}}",
    re.IGNORECASE | re.MULTILINE,
)
# `*Thinking: …*` and `(Thinking: …)` on a line
DECORATED = re.compile(
    rf"\A\s*(?:(?P<mark>\*{{1,3}}|_{{1,3}})(?:{_LABEL})\s?[:：](?P<line>[^\n]+)(?P=mark)"
    rf"|[(\[](?:{_LABEL})\s?[:：](?P<round>[^\n]+)[)\]])[ \t]*(?:\n|\Z)",
    re.IGNORECASE,
)
DECORATED_START = re.compile(
    rf"\A\s*(?:[*_(\[]{{1,3}}(?:{_LABEL})\s?(?:[:：](?![*_])|\.\.\.|…)|【(?:{_LABEL})】"
    r"|(?:思考|思维|推理)(?:过程|過程)[:：\n])",
    re.IGNORECASE,
)
QUOTED = re.compile(
    rf"\A\s*>[ \t]*(?:💭|🤔|🧠|[*_#]{{0,3}}[ \t]*(?:{_LABEL})(?:\s?[:：]|…|\.\.\.|[*_]{{1,3}}[:：]?|[ \t]*\n))",
    re.IGNORECASE,
)
QUOTE_LINES = re.compile(r"\A\s*(?P<quote>(?:[ \t]*>[^\n]*(?:\n|\Z))+)")
DETAILS = re.compile(
    r"<details\b[^<>]{0,80}>\s{0,20}<summary\b[^<>]{0,80}>(?:<\w{1,10}>)?[^\w<]{0,12}"
    rf"(?:(?:show|view|see|click to (?:show|see)|model|model's) )?(?:{_LABEL})[^\w<]{{0,8}}"
    r"(?:\([^<()]{0,30}\))?\s{0,8}(?:</\w{1,10}>)?\s{0,8}</summary>",
    re.IGNORECASE,
)
STRIPPED_ROLES = re.compile(
    r"\A\s*(?:think|thinking|reasoning|analysis)[ \t]*\n(?P<thinking>.*?)\n"
    r"(?:answer|final|response|assistant|output)[ \t]*\n(?P<text>.*)\Z",
    re.DOTALL,
)
STRIPPED_ROLE = re.compile(r"\A\s*(?:think|thinking|reasoning)[ \t]*\n")

# A label that no word of an answer follows.
UNENDED = re.compile(
    r"\A\s*(?:\((?:thinking|reasoning)\)|(?:\*\*|__|#{1,6} )?(?:thinking|chain of thought|internal reasoning"
    r"|scratchpad)(?: process)?(?:(?:\*\*|__)?[:：]|\*\*))",
    re.IGNORECASE,
)
HEADING = re.compile(r"\A\s*#{1,6} (?:thinking|scratchpad|reasoning)[ \t]*\n", re.IGNORECASE)
# A block after a sentence or between paragraphs
INNER = re.compile(
    r"(?:^|(?<=[.!?;,…])[ \t]{1,8})<(?P<name>[a-z_:-]{0,20}(?:musing|ponder|brainstorm|reason|reflecti"
    r"|deliberat|scratch|monolog)[a-z_]{0,20})>",
    re.IGNORECASE | re.MULTILINE,
)
_OPENER = (
    r"(?:(?:okay|ok|alright|all right|hmm+|hm|let me see|let's see|got it|wait"
    r"|let me think(?: about this)?)[,.!…]{0,3}\s{1,3}(?:(?:so|well|now|first|right)[,.]?\s)?)"
)
# A text about software may start so.
_WEAK_OPENER = r"(?:(?:so|well|now|first|right)[,.]?\s)?"
_USER = r"(?:the|this) (?:user|person asking|prompt|requester)(?:'s|’s)?"
_ACT = (
    r"(?:(?:is|seems?|appears|has|have|may|might|could|wants?|asks?|asked|needs?|says?|said|just|probably"
    r"|requests?|requested|would|was|wrote|message|query|question|request|prompt)\b)"
)
MUSING = re.compile(
    rf"\A\s*(?:{_OPENER}{{1,4}}(?:i (?:need|have) to [^.\n]{{0,60}})?{_USER} {_ACT}"
    rf"|{_OPENER}{{1,4}}(?:i|we) (?:need|have|should|must)\b[^.\n]{{0,80}}\b(?:user|prompt|policy)\b"
    r"|嗯[，,。…]|(?:好的|好|首先)[，,]?\s?(?:这个)?用户(?:问|想|要|在|的|希望|询问)"
    r"|(?:okay|ok|gut|also),? (?:also )?(?:der|die) (?:nutzer|benutzer|user)"
    r"|(?:bien|vale|okay|ok),? (?:el|la) usuari[oa]|(?:d'accord|bon|ok|okay),? l['’]utilisat"
    r"|(?:хорошо|итак|так),? пользователь)",
    re.IGNORECASE,
)
# Without such an opener, a second sign is needed.
WEAK_MUSING = re.compile(
    rf"\A\s*(?:{_OPENER}{{1,4}}let me (?:think|analy[sz]e)\b|{_WEAK_OPENER}{_USER} {_ACT}|{_WEAK_OPENER}(?:i|we) (?:need|have|should|must)"
    rf" [^.\n]{{0,60}}\b(?:the|this) (?:user|prompt)\b|用户(?:问|想|要求|希望|询问)"
    r"|(?:we|i) (?:need|have|should|must) (?:to )?(?:produce|respond|answer|write|craft|comply|decide|provide)\b"
    r"|let me (?:think|analy[sz]e|consider)\b[^\n]{0,80}\b(?:request|prompt|question|user)\b)",
    re.IGNORECASE,
)
SECOND_SIGN = re.compile(
    r"(?:^|[.!?…\n])\s{0,3}(?:wait\b|hmm\b|let me (?:think|check|draft|write)|i(?:'ll| will| should| need to|"
    r" must)\b|we (?:should|must|need to)\b|but wait|the (?:policy|system prompt|guidelines?)\b"
    r"|我(?:需要|应该|得)|(?:\*\*|#{1,6} )?final (?:answer|response)\b)",
    re.IGNORECASE,
)
MUSING_CHARS = 3000
"""Characters at the start that may show thinking."""

REASONING_KEYS = frozenset(
    "reasoning thinking thoughts thought analysis chainofthought cot scratchpad reasoningcontent"
    " thoughtprocess thinkingprocess internalreasoning reasoningprocess 思考 推理".split()
)
ANSWER_KEYS = frozenset(
    "answer finalanswer response finalresponse reply output text content final message 回答 答案".split()
)
JSON_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(?P<body>.*?)\n?```\s*\Z", re.DOTALL)


def split_unmarked(text: str) -> UnmarkedThinking | None:
    """Split thinking off the start of a text; None if nothing suggests it."""
    for split in (_split_roles, _split_details, _split_labels, _split_quote, _split_block):
        if (found := split(text)) is not None:
            return found
    if any(start.match(text) for start in (DECORATED_START, STRIPPED_ROLE, UNENDED, HEADING)):
        return UnmarkedThinking(problem="the text starts with thinking that has no end")
    if (inner := INNER.search(text)) and _is_block(text, inner):
        return UnmarkedThinking(problem=f"`<{inner['name']}>` may be thinking")
    if _is_musing(text):
        return UnmarkedThinking(problem="the text starts as thinking does")
    return None


def split_object(text: str) -> UnmarkedThinking | None:
    """Split `{"reasoning": …, "answer": …}`, which is the form of a prompt that asks for thinking."""
    fenced = JSON_FENCE.match(text)
    body = (fenced["body"] if fenced else text).strip()
    if not body.startswith("{") or not body.endswith("}"):
        return None
    try:
        value: object = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return None
    fields = {
        re.sub(r"[\W_]", "", key).lower(): field
        for key, field in cast("dict[str, object]", value).items()
    }
    answers = [field for key, field in fields.items() if key in ANSWER_KEYS]
    thinking = [field for key, field in fields.items() if key in REASONING_KEYS]
    if not thinking or (not answers and len(thinking) < len(fields)):
        return None
    if len(answers) == 1 and isinstance(answers[0], str):
        return UnmarkedThinking("\n\n".join(str(part) for part in thinking), answers[0].strip())
    return UnmarkedThinking(problem="the text is an object that holds thinking")


def _split_roles(text: str) -> UnmarkedThinking | None:
    found = STRIPPED_ROLES.match(text)
    return UnmarkedThinking(found["thinking"], found["text"].strip()) if found else None


def _split_details(text: str) -> UnmarkedThinking | None:
    found = DETAILS.search(text)
    if found is None or text.count("```", 0, found.start()) % 2 == 1:
        return None
    end = text.find("</details>", found.end())
    if text[: found.start()].strip() or end == -1:
        return UnmarkedThinking(problem="a folded block inside of the text may be thinking")
    return UnmarkedThinking(text[found.end() : end], text[end + len("</details>") :].strip())


def _split_labels(text: str) -> UnmarkedThinking | None:
    if line := DECORATED.match(text):
        return UnmarkedThinking(line["line"] or line["round"], text[line.end() :].strip())
    start = LABELLED.match(text)
    answer = LABELLED_REPLY.search(text, start.end()) if start else None
    if start is None or answer is None:
        return None
    return UnmarkedThinking(text[start.end() : answer.start()], text[answer.end() :].strip())


def _split_quote(text: str) -> UnmarkedThinking | None:
    lines = QUOTE_LINES.match(text) if QUOTED.match(text) else None
    return UnmarkedThinking(lines["quote"], text[lines.end() :].strip()) if lines else None


def _split_block(text: str) -> UnmarkedThinking | None:
    """Read a closed block of an unknown name at the start, followed by an answer."""
    start = BLOCK.match(text)
    if start is None:
        return None
    raw = start["name"] or start["bracket"]
    name = raw.lower()
    close = f"</{raw}>" if start["name"] else f"[/{raw}]"
    end = text.find(close, start.end())
    rest = text[end + len(close) :].strip()
    if end == -1 or not rest or name in CONTENT_NAMES:
        return None
    body = text[start.end() : end]
    if name not in QUESTION_NAMES and (wrapped := WRAPPER.match(rest)):
        return UnmarkedThinking(body, wrapped["text"].strip())
    if THINKING_PART.search(name) and not MARKUP.match(rest):
        return UnmarkedThinking(body, rest)
    # XML has more elements, inside or after the first.
    if name in QUESTION_NAMES or MARKUP.search(body) or MARKUP.match(rest):
        return None
    return UnmarkedThinking(problem=f"`{start[0].strip()[:40]}` at the start may be thinking")


def _is_block(text: str, start: re.Match[str]) -> bool:
    is_closed = text.find(f"</{start['name']}>", start.end()) != -1
    is_fenced = text.count("```", 0, start.start()) % 2 == 1
    # XML has other elements before it.
    return is_closed and not is_fenced and not MARKUP.search(text[: start.start()])


def _is_musing(text: str) -> bool:
    head = text[:MUSING_CHARS]
    if MUSING.match(head):
        return True
    weak = WEAK_MUSING.match(head)
    return weak is not None and SECOND_SIGN.search(head, weak.end()) is not None
