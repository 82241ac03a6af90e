"""Thinking at the start of a text without a tag that a vendor documents: blocks of any name, labels, musings."""

from __future__ import annotations

import json
import re
from typing import NamedTuple, cast

from safegen.core.text_forms import has_any
from safegen.teachers._thinking_signs import (
    PLAN,
    decides_by_policy,
    is_clear_label,
    is_thinking_pair,
    may_consider_request,
    plans_an_answer,
    thinks_about_request,
)


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
    r"|intent|consider|assess|strateg|planning|justif|denk|gedank",
    re.IGNORECASE,
)
# The other names may belong to what the user asked for.
SURE_PART = re.compile(
    r"think|thought|reasoning|ponder|scratch|monolog|(?:\A|[_:])cot(?:_|\Z)|denk|gedank",
    re.IGNORECASE,
)
WRAPPER = re.compile(
    r"\s*<(?P<name>(?:final|my)?_?(?:final|answer|response|output|reply|solution|result))"
    r"(?:\s[^<>\n]{0,60})?>(?P<text>.*?)(?:</(?P=name)>\s*)?\Z",
    re.DOTALL | re.IGNORECASE,
)
LAST_WRAPPER = re.compile(r"</(?:final_?)?(?:answer|response|output)>\s*\Z", re.IGNORECASE)
MARKUP = re.compile(r"<[/!?a-zA-Z]")

_LABEL = (
    r"(?:(?:my|the|internal|inner|hidden|private|brief|short|step[- ]by[- ]step) )?(?:thinking|thoughts?|reasoning|monologue|chain of thought|scratchpad"
    r"|analysis of the (?:request|prompt|question)|intent analysis|note to self|internal(?: notes?)?)"
    r"(?: process| for [\w ]{1,20})?(?: \([^()\n]{1,30}\))?"
    r"|思考(?:过程|過程)?|思维(?:过程|链)|推[理論](?:过程|過程)?|(?:내부 )?추론|생각|Gedanken(?:gang)?|Denkprozess|(?:Nach)?denken|Pensée"
    r"|Überlegung(?:en)?|Réflexion|Raisonnement|Pensamiento|Razonamiento|Ragionamento|Рассуждени[ея]"
    r"|Размышлени[ея]"
)
_REPLY_LABEL = (
    r"(?:my |the )?(?:final )?(?:answer|response|reply|output)(?: (?:to|for) the user)?|(?:最终|最終)?(?:回答|答案|答复|回复|答え)"
    r"|답변|(?:Endgültige )?Antwort|Réponse(?: finale)?|Respuesta(?: final)?|Risposta|Resposta|Ответ"
)
_EMOJI = "💭🤔🧠💡💬✅📝"
_MARK = rf"(?:(?:[-•]|\d[.)])[ \t])?[*_#> \t{_EMOJI}\ufe0f]{{0,12}}"
# `思考过程：… 回答：…`, `【思考】… 【回答】…`, `**Analysis of the request** … **Answer** …`
LABELLED = re.compile(
    rf"\A\s*{_MARK}(?:【(?:{_LABEL})】|(?:{_LABEL})[*_]{{0,3}}\s?(?:[:：][*_]{{0,3}}|(?=\n)))",
    re.IGNORECASE,
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
QUOTE_LINES = re.compile(r"\A\s*(?P<quote>>[^\n]*(?:\n[ \t]*>[^\n]*)*\n?)")
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
    rf"\A\s*(?:\((?:thinking|reasoning)\)|[{_EMOJI}\ufe0f ]{{0,4}}(?:\*\*|__|#{{1,6}} )?(?:thinking|chain of thought"
    r"|(?:internal|inner) (?:reasoning|thoughts?|notes?|monologue)|scratchpad)(?: process)?(?:(?:\*\*|__)?[:：]|\*\*))",
    re.IGNORECASE,
)
HEADING = re.compile(r"\A\s*#{1,6} (?:thinking|scratchpad|reasoning)[ \t]*\n", re.IGNORECASE)
# A block after a sentence or between paragraphs
INNER = re.compile(
    r"(?:^|(?<=[.!?;,…])[ \t]{1,8})<(?P<name>[a-z_:-]{0,20}(?:musing|ponder|brainstorm|reason|reflecti"
    r"|deliberat|scratch|monolog|rationale|justif|self_?check)[a-z_]{0,20})>",
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
    rf"|{_OPENER}{{1,4}}(?:i|we) (?:need|have) to (?:answer|respond|reply|write|produce|figure|come up)\b"
    rf"|{_OPENER}{{0,2}}(?:i(?:['’]m| am| have been)(?: being)? asked (?:to|about|for)|we(?:['’]re| are)(?: being)? asked to"
    r" (?:explain|answer|describe|provide|give|write|produce|help))\b[^.\n]{0,80}\. (?:i|we) (?:should|need|must|will)\b"
    r"|(?:first,? |so,? )?(?:i|we) (?:need to|have to|should|must) (?:consider|think about|figure out|determine|decide"
    r"|check|understand) (?:what|how|whether|if) (?:the|this) (?:user|policy|request|prompt)\b"
    r"|(?:i|we) (?:need to|have to|should|must|will) (?:answer|respond|reply)\b[^.\n]{0,60}"
    r"\b(?:ceiling|policy|safe.completion|level \d)\b"
    r"|according to (?:the|my|our) (?:policy|guidelines|spec|system prompt),? (?:i|we) (?:must|should|need to|have to)"
    r" (?:redirect|answer|respond|refuse|decline|comply|give|keep)\b"
    r"|this (?:is|seems|looks like|appears to be) an? [^.\n]{0,40}\b(?:request|question|prompt|query)\b[^.\n]{0,60}"
    r"\b(?:i|we) (?:should|need to|must|have to) (?:answer|respond|give|keep|stay|refuse|decline|provide|redirect"
    r"|be (?:careful|cautious))\b"
    r"|嗯[，,。…][^\n]{0,40}(?:用户|我(?:需要|应该|得|先|来))|(?:好的|好|首先)[，,]?\s?(?:这个)?用户(?:问|想|要|在|的|希望|询问)"
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
TAIL_CHARS = 2000
HEADING_LINE = re.compile(
    r"\A(?:#{1,6} [^\n]{2,80}|(\*{1,3})[^*\n]{2,80}\1:?|[^\n]{2,60}:|[A-Z][^\n.!?…]{2,60})[ \t]*\Z"
)
CASE = re.compile(
    r"\b(?:case stud(?:y|ies)|transcript|user stor(?:y|ies)|support tickets?|chat logs?|vignette)\b",
    re.IGNORECASE,
)
QUOTATION = re.compile(r"[\"“„«][^\"”“»]{1,2000}[\"”“»]")
OTHER_USER = re.compile(
    r"\b(?:an?|one|each|every|another|our|your|this|new|first|second) (?:user|requester|customer|client)"
    r" (?:\w+ )?(?:writes?|wrote|asks?|asked|contact(?:s|ed)|call(?:s|ed)|complain(?:s|ed)|say?s|said|open(?:s|ed)"
    r"|sen(?:ds|t)|wants?|wanted|reports?|reported)\b",
    re.IGNORECASE,
)
CASE_HEADING = re.compile(
    r"\b(?:cases?|examples?|logs?|transcripts?|chats?|stor(?:y|ies)|scenarios?|tickets?|dialogues?|conversations?"
    r"|agents?|incidents?|exercises?|vignettes?|excerpts?|diary|interviews?|scenes?|minutes|sprint|backlog|meeting)\b",
    re.IGNORECASE,
)
ASIDE_STARTS = ("(", "[", "*", "_", "<!--", "---\n", "> ")
ASIDE_ENDS = (")", "]", "*", "_", "-->", ".")
TAIL_LABEL = re.compile(
    rf"^[-*_(\[>#{_EMOJI} \t]{{0,8}}(?:{_LABEL}|rationale|justification|(?:meta|internal)?[ -]?note|explanation of my [\w ]{{1,20}}|why (?:i|this) [\w ]{{1,30}})"
    r"(?: behind [\w ]{1,30})?[*_]{0,3}\s?[:：]",
    re.IGNORECASE | re.MULTILINE,
)
LABEL_ENDS = (":", "：")
"""Characters of which each label of `TAIL_LABEL` has one."""
# "T/think>" and "think>T" lost the first character of their tags.
HALF_TAG = re.compile(
    r"(?<=[.!?\s])/(?:think(?:ing)?|thoughts?|reasoning)>|\A\s*(?:think|thinking|thought|analysis)>"
    r"|\A\s*THINK.{0,20000}/THINK",
    re.DOTALL,
)
QUOTED_TAGS = re.compile(
    r"\A\s*`<(?P<name>think(?:ing)?|thoughts?|reasoning)>`.{1,20000}?`</(?P=name)>`\s{0,8}\n",
    re.DOTALL,
)
START_LABEL = re.compile(
    rf"\A\s*{_MARK}(?:[a-z]+ ){{0,3}}(?:analysis|assessment|intent|check|classification|plan|strategy|approach"
    r"|notes?|interpretation|consideration)s?[*_]{0,3}\s?[:：]",
    re.IGNORECASE,
)
# "**Assessing the request**", the form of summaries of thinking
TITLE = re.compile(r"\A\s*(?:\*{1,3}[^*\n]{3,80}\*{1,3}:?|#{1,6} [^\n]{3,80})[ \t]*\n\s*")
GERUND = re.compile(
    r"\b[a-z]{3,14}ing\b[^\n]{0,30}\b(?:user|request|query|prompt|question|response|answer|policy|policies|approach|intent)",
    re.IGNORECASE,
)
_OWN_MULLING = (
    r"\bi(?:['’]m| am) (?:now |currently |also )?(?:focus|consider|think|work|analy|explor|look|craft|plan|wrestl"
    r"|dig|delv|evaluat|assess|weigh|refin|zero|try)|\bi(?:['’]ve| have) (?:decided|determined|concluded|identified"
    r"|settled|been)\b|\bi (?:need to|should|must|have to)\b"
)
OWN_MULLING = re.compile(_OWN_MULLING, re.IGNORECASE)
MULLING = re.compile(rf"{_OWN_MULLING}|\b{_USER} {_ACT}", re.IGNORECASE)
THINKING_HEADING = re.compile(
    r"reason|think|thought|analy|approach|assess|intent|policy|request|query",
    re.IGNORECASE,
)
EMOJI_START = re.compile(r"\A\s*[💭🤔🧠]")
REQUEST_START = re.compile(
    r"\A\s*(?:so,? )?(?:the|this) (?:question|request|prompt|query) (?:asks|is about|seems|concerns|involves)\b",
    re.IGNORECASE,
)
OWN_LIMITS = re.compile(
    r"\bthe (?:policy|guidelines|spec|system prompt)\b[^\n]{0,80}\b(?:level|ceiling|i|we)\b",
    re.IGNORECASE,
)
OPENER = re.compile(
    rf"\A\s*(?:{_OPENER}|(?:(?:okay|ok|alright|so|well|first),? )?(?:let['’]s (?:think|tackle|analy[sz]e)"
    r"|let me (?:check|look|review|consider|think|see))\b)",
    re.IGNORECASE,
)
USER_OR_POLICY = re.compile(
    rf"\b{_USER} {_ACT}|\bthe (?:policy|guidelines|system prompt|spec)\b[^.\n]{{0,40}}\b(?:allow|say|cap|ceiling|limit)"
    r"|\b(?:check|see|follow|per|by) (?:what )?the (?:policy|guidelines|system prompt|spec)\b"
    r"|\b(?:the|this) (?:question|request|prompt|query) (?:is about|touches|concerns|involves|asks)\b"
    r"|\bpolicy says\b|\bthe person (?:wants|asks|is asking|seems)\b",
    re.IGNORECASE,
)
MUSING_CHARS = 3000
"""Characters at the start that may show thinking."""

REASONING_KEYS = frozenset(
    "reasoning thinking thoughts thought analysis chainofthought cot scratchpad reasoningcontent"
    " thoughtprocess thinkingprocess internalreasoning reasoningprocess 思考 推理".split()
)
# The others may be fields that the user asked for.
CLEAR_KEYS = REASONING_KEYS - {"analysis", "thoughts", "thought", "思考", "推理"}
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
    inner = INNER.search(text) if "<" in text else None
    if inner and _is_block(text, inner):
        return UnmarkedThinking(problem=f"`<{inner['name']}>` may be thinking")
    problem = find_musing(text)
    return UnmarkedThinking(problem=problem) if problem else None


def find_musing(text: str) -> str:
    """Return the problem of a text that starts or ends as thinking does; empty if none.

    Example:
        >>> find_musing("Okay, the user wants tea. I should be brief.")
        'the text starts as thinking does'
    """
    if _is_musing(text):
        return "the text starts as thinking does"
    return "the text ends with thinking" if _ends_with_thinking(text) else ""


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
    words = "\n".join(str(part) for part in thinking)
    is_about_request = thinks_about_request(words)
    # A solved exercise has a question too, and a record has more fields.
    if answers and len(fields) > len(thinking) + len(answers) and not is_about_request:
        return None
    is_clear = any(key in CLEAR_KEYS for key in fields) or is_about_request
    if len(answers) == 1 and isinstance(answers[0], str) and is_clear:
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
    rest = text[end + len("</details>") :].strip()
    if "thinking" in found[0].lower():
        return UnmarkedThinking(text[found.end() : end], rest)
    return _split_if_clear(found[0], text[found.end() : end], rest)


def _split_labels(text: str) -> UnmarkedThinking | None:
    if line := DECORATED.match(text):
        part = line["line"] or line["round"]
        return _split_if_clear(line[0][: line[0].find(part)], part, text[line.end() :].strip())
    start = LABELLED.match(text)
    answer = LABELLED_REPLY.search(text, start.end()) if start else None
    if start is None or answer is None:
        return None
    part, rest = text[start.end() : answer.start()], text[answer.end() :].strip()
    # A list of exercises has a reasoning and an answer for each.
    if is_thinking_pair(start[0], answer[0]) and not LABELLED_REPLY.search(rest):
        return UnmarkedThinking(part, rest, find_musing(rest))
    return _split_if_clear(start[0], part, rest)


def _split_if_clear(label: str, thinking: str, text: str) -> UnmarkedThinking:
    """Split a labelled part off if its label or its words show that it is no part of the answer."""
    if is_clear_label(label) or thinks_about_request(thinking):
        return UnmarkedThinking(thinking, text)
    name = " ".join(label.split())[:40]
    return UnmarkedThinking(problem=f"`{name}` may be thinking or a part of the answer")


def _split_quote(text: str) -> UnmarkedThinking | None:
    label, lines = QUOTED.match(text), QUOTE_LINES.match(text)
    if lines is None:
        return None
    rest = text[lines.end() :].strip()
    if label is not None:
        return _split_if_clear(label[0], lines["quote"], rest)
    return _split_if_clear("> ", lines["quote"], rest) if plans_an_answer(lines["quote"]) else None


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
    is_sure = SURE_PART.search(name) or (THINKING_PART.search(name) and thinks_about_request(body))
    if is_sure and not MARKUP.match(rest):
        return UnmarkedThinking(body, rest)
    if name not in QUESTION_NAMES and rest.startswith("<") and LAST_WRAPPER.search(rest[-40:]):
        return UnmarkedThinking(problem=f"`{start[0].strip()[:40]}` at the start may be thinking")
    # XML has more elements, inside or after the first.
    if name in QUESTION_NAMES or MARKUP.search(body) or MARKUP.match(rest):
        return None
    return UnmarkedThinking(problem=f"`{start[0].strip()[:40]}` at the start may be thinking")


def _is_block(text: str, start: re.Match[str]) -> bool:
    is_closed = text.find(f"</{start['name']}>", start.end()) != -1
    is_fenced = text.count("```", 0, start.start()) % 2 == 1
    # XML has other elements before it.
    return is_closed and not is_fenced and not MARKUP.search(text[: start.start()])


def _ends_with_thinking(text: str) -> bool:
    """Check if the last paragraph, or what follows a label at the end, thinks about the request."""
    last = text.rstrip().rpartition("\n\n")[2][-TAIL_CHARS:]
    is_aside = last.startswith(ASIDE_STARTS) and last.endswith(ASIDE_ENDS)
    if _plans_own_answer(last) and not _is_case(text, last):
        return True
    if is_aside and thinks_about_request(last):
        return True
    tail = text[-TAIL_CHARS:]
    if not has_any(tail, LABEL_ENDS):
        return False
    labels = [label for label in TAIL_LABEL.finditer(tail) if label.start()]
    return bool(labels) and may_consider_request(tail[labels[-1].end() :])


# A case study speaks of a user before its last paragraph, or has a heading or a quote above it.
def _is_case(text: str, last: str) -> bool:
    if decides_by_policy(last):
        return False
    before = text.rstrip()[: -len(last)].rstrip()
    line = before.rpartition("\n")[2].strip()
    heads = (line, last.partition("\n")[0])
    is_headed = any(
        HEADING_LINE.match(head) and (head.endswith(":") or CASE_HEADING.search(head))
        for head in heads
    )
    return bool(is_headed or last.startswith(">") or OTHER_USER.search(before))


def _plans_own_answer(paragraph: str) -> bool:
    """Check if a paragraph plans an answer in the writer's own voice, in no quotation or case study."""
    own = QUOTATION.sub("", paragraph)
    if not plans_an_answer(own):
        return False
    return decides_by_policy(own) or CASE.search(own) is None


def _has_tag_name(text: str) -> bool:
    # Most texts have none, and the patterns cost far more.
    return any(name in text for name in ("think", "thought", "reasoning", "analysis>", "THINK"))


def _has_damaged_tags(text: str) -> bool:
    return HALF_TAG.search(text) is not None or QUOTED_TAGS.match(text) is not None


def _is_mulled(heading: str, first: str) -> bool:
    """Check if a paragraph under a heading considers the request."""
    if GERUND.search(heading) and MULLING.search(first):
        return True
    if re.search(r"\bthe user\b", first, re.IGNORECASE) and OWN_MULLING.search(first):
        return True
    return THINKING_HEADING.search(heading) is not None and thinks_about_request(first)


def _is_musing(text: str) -> bool:
    head = text[:MUSING_CHARS]
    if MUSING.match(head) or (_has_tag_name(text) and _has_damaged_tags(text)):
        return True
    heading = TITLE.match(head)
    body = head[heading.end() :] if heading else head
    first = body.strip().partition("\n\n")[0]
    is_labelled = LABELLED.match(head) or START_LABEL.match(head)
    # Only such a heading introduces the voice of another person; "Overview" may head thinking.
    is_case = heading is not None and CASE_HEADING.search(heading[0]) is not None
    is_plan = _plans_own_answer(first)
    if (is_plan and (not is_case or decides_by_policy(first))) or (
        is_labelled and thinks_about_request(first)
    ):
        return True
    if heading and not is_case and _is_mulled(heading[0], first):
        return True
    if EMOJI_START.match(head) and thinks_about_request(first):
        return True
    if REQUEST_START.match(first) and OWN_LIMITS.search(first):
        return True
    if OPENER.match(first) and USER_OR_POLICY.search(first) and PLAN.search(first):
        return True
    weak = WEAK_MUSING.match(head)
    return weak is not None and SECOND_SIGN.search(head, weak.end()) is not None
