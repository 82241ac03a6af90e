"""Further turns that a model invents after its answer, without the control tokens of its template."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from safegen.core.text_forms import has_any

# OpenChat
_PREFIX = r"(?P<openchat>GPT4 (?:Correct )?|Code )?"
# Roles on a line of their own. Alone, `User:` or a heading `## User` may belong to the answer, so a
# turn of the assistant must follow.
ROLE_LINE = re.compile(
    rf"^[ \t]*(?:\*\*|#{{1,6}}[ \t]*)?{_PREFIX}(?:(?P<user>Human|HUMAN|User|USER)|Assistant|ASSISTANT|(?P<ai>AI))"
    r"(?:\*\*:|:\*\*|:)(?=\s|\Z)"
    # Vicuna and Alpaca
    r"|^[ \t]*(?P<hashes>#{1,6})[ \t]*(?:(?P<heading>Human|User|Instruction|Input(?=:))|Assistant|Response)"
    r":?[ \t]*$"
    r"|^[ \t]*(?:<(?P<tagged>human|user)>:|\[(?P<bracket>Human|HUMAN|User|USER)\]:?(?=\s)|<(?:bot|assistant)>:"
    r"|\[(?:Assistant|ASSISTANT)\]:?(?=\s))",
    re.MULTILINE,
)
# The role of the answer itself.
LEADING_ROLE = re.compile(
    r"\A\s*(?:(?:(?:GPT4 (?:Correct )?|Code )?(?:[Aa]ssistant|ASSISTANT|助手))\s?[:：]\s*|(?:assistant|model)[ \t]*\n\s*"
    r"|\*\*Assistant(?::\*\*|\*\*:)\s*|#{1,6} ?(?:Assistant|Response):[ \t]*\n\s*)(?=\S)"
)
# "Assistant: helps.\nManager: leads." is a list.
LABEL_LIST = re.compile(r"[^\n]*\n(?:\*\*)?[A-Z][\w'-]{0,20}(?:\*\*)?:(?:\*\*)? ")
# Llama and Gemma without their tokens: "Add oil.user\n\nAnd salt?model\n\nYes."
BARE_ROLE = re.compile(
    r"(?:^|(?<=\S))(?:(?P<user>user|human)|assistant|model)[ \t]*$", re.MULTILINE
)
GLUED_ROLE = re.compile(
    r"(?:(?P<end>(?<=[.!?…。！？]))(?P<space>[ ])?|(?P<quoted>(?<=[.!?…。！？][)\"”*]))|(?<=[)\"”*]))"
    r"(?P<role>user|human|assistant|model|system)(?=[ \t]*(?:\n[ \t]*\n|\Z))"
)
# "Add oil. GPT4 Correct User: And salt?"
OPENCHAT_TURN = re.compile(r"\s{0,8}\bGPT4 (?:Correct )?(?:User|Assistant):")
# "Add oil.\nassistant\nAdd salt."
SECOND_ANSWER = re.compile(r"(?<=[.!?…])\n{1,3}assistant[ \t]*\n(?=\s{0,8}\S)")
_USERS = (
    r"Human|HUMAN|human|User|USER|user|Assistant|Benutzer|Nutzer|Utilisateur|Usuari[oa]|Utente|Usuário|Пользователь|用户|使用者"
    r"|人类|ユーザー|사용자"
)
# A turn that nothing answers.
LONE_TURN = re.compile(
    rf"^[ \t]*(?:\*\*|(?P<hashes>#{{1,6}})[ \t]*)?(?:(?:{_USERS})(?:\*\*[ ]?[:：]|[ ]?[:：](?:\*\*)?)"
    r"|(?P<task>(?<=#)[ \t]?Instruction:)|(?P<tag><(?:user|human)>)"
    r"|(?P<question>(?:Q|Question|问|問)(?:\*\*[:：]|[:：](?:\*\*)?)))",
    re.MULTILINE,
)
# `Pan: …` in a list of explained words
LABEL_LINE = re.compile(
    r"^[ \t]*(?:[-*+] |\d{1,3}[.)] )?(?:\*\*)?(?P<label>[^\W\d][\w '-]{0,30})(?:\*\*)?[ ]?[:：]",
    re.MULTILINE,
)
MAX_DOUBT = 40
RULE_END = re.compile(r"(?:\n[ \t]*(?:-{3,20}|\*{3,20}|_{3,20}))+\Z")
BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]", re.MULTILINE)
# "Add oil.USER: And salt?", "Add oil. USER: And salt? ASSISTANT: Yes."
INLINE_TURN = re.compile(
    r"(?<=[.!?…])(?:USER|HUMAN|Human|User):(?=\s)|(?<=[.!?…] )USER:(?=\s)(?=[^\n]{1,2000}\bASSISTANT:)"
    r"|^(?:Instruct: [^\n]{1,2000}\n{1,2}Output:|SYSTEM: [^\n]{1,2000}\n{1,2}USER:)(?=\s)",
    re.MULTILINE,
)
USER_LABEL = re.compile(rf"(?:{_USERS})\Z")
QUESTIONS = re.compile(
    r"FAQ|Q ?& ?A|question|asked|example|quiz|flash ?card|Frage|问答|问题", re.IGNORECASE
)
INTRODUCTION = re.compile(
    r"\b(?:dialogues?|dialogs?|conversations?|transcripts?|chat|examples?|sample|script|role-?play|exchange)\b",
    re.IGNORECASE,
)
# "A helper declines kindly.", before a dialogue that shows it
SHOWN = re.compile(
    r"\b(?:assistants?|helpers?|chatbots?|bots?|messages?|repl(?:y|ies)|says|asks|answers|declines|responds|writes"
    r"|like this|for instance|scammers?)\b",
    re.IGNORECASE,
)
ENDS = tuple('.!?…。！？"”)*`>')
# Each turn holds one of these. Most texts hold none, and the patterns cost twenty times as much.
_NAMES = (
    *_USERS.replace("Usuari[oa]", "Usuari").split("|"),
    *("Instruct", "Input", "Response", "ssistant", "SSISTANT", "助手", "model", "system"),
    *("<bot>", "Q", "问", "問"),
)


class CutTurns(NamedTuple):
    """A text without invented turns."""

    text: str
    doubt: str = ""
    """The start of what may be an invented turn or a part of the answer."""


def cut_invented_turns(text: str) -> CutTurns:
    r"""Cut the role before an answer and the turns after it.

    Example:
        >>> cut_invented_turns("Assistant: Add oil.\n\nHuman: And salt?").text
        'Add oil.'
    """
    if not has_any(text, _NAMES):
        return CutTurns(text)
    role = LEADING_ROLE.match(text)
    if role and LABEL_LIST.match(text, role.end()):
        return CutTurns(text, role[0].strip())
    text = text[role.end() :] if role else text
    for cut in (
        _cut_openchat,
        _cut_answered,
        _cut_bare,
        _cut_second_answer,
        _cut_glued,
        _cut_lone,
        _find_inline,
    ):
        text, doubt = cut(text)
        if doubt:
            return CutTurns(text, doubt)
    return CutTurns(text)


def _cut_openchat(text: str) -> CutTurns:
    turn = OPENCHAT_TURN.search(text)
    if turn is None or not turn.start() or _is_example(text[: turn.start()]):
        return CutTurns(text)
    return CutTurns(text[: turn.start()].rstrip())


def _read_before(text: str, position: int) -> str:
    """Return the text before a turn, without a rule that separates them."""
    return RULE_END.sub("", text[:position].rstrip()).rstrip()


def _find_inline(text: str) -> CutTurns:
    turn = INLINE_TURN.search(text)
    if turn is None or not turn.start() or _is_example(text[: turn.start()]):
        return CutTurns(text)
    return CutTurns(text, turn[0].strip()[:MAX_DOUBT])


def _ends_the_text(text: str, start: int) -> bool:
    """Check if no paragraph follows a turn, which could continue the answer."""
    return "\n\n" not in BLANK_LINE.sub("\n\n", text[start:].strip())


def _cut_answered(text: str) -> CutTurns:
    lines = list(ROLE_LINE.finditer(text))
    for turn, following in pairwise(lines):
        # "Human: slow. AI: fast." may compare the two.
        is_answer = not following["ai"] or "?" in text[turn.end() : following.start()]
        if _is_user(turn) and not _is_user(following) and is_answer:
            before = _read_before(text, turn.start())
            if not before or _is_example(before):
                return CutTurns(text)
            is_task = turn["heading"] and turn["heading"] != "Input"
            is_alpaca = is_task and following["hashes"] and not HEADING.search(before)
            is_last = _ends_the_text(text, lines[-1].end()) and not _may_show(before)
            is_clear = is_last and turn["heading"] != "Input"
            if is_alpaca or turn["openchat"] or is_clear:
                return CutTurns(before)
            return CutTurns(text, turn[0].strip())
    return CutTurns(text)


def _cut_bare(text: str) -> CutTurns:
    for turn, following in pairwise(BARE_ROLE.finditer(text)):
        body = text[turn.end() : following.start()].strip()
        # A list of the roles has nothing between them.
        if turn["user"] and not following["user"] and body:
            before = text[: turn.start()].rstrip()
            is_turn = before.endswith(ENDS) or (body.endswith(ENDS) and len(body.split()) > 1)
            if not before or not is_turn or _is_example(before):
                return CutTurns(text)
            is_clear = "?" in body and _ends_the_text(text, following.end())
            return CutTurns(before) if is_clear else CutTurns(text, turn[0].strip())
    return CutTurns(text)


def _cut_second_answer(text: str) -> CutTurns:
    second = SECOND_ANSWER.search(text)
    if second is None or _is_example(text[: second.start()].rstrip()):
        return CutTurns(text)
    if BARE_ROLE.search(text, second.end()):
        # A list of roles
        return CutTurns(text, "assistant")
    return CutTurns(text[: second.start()].rstrip())


def _cut_glued(text: str) -> CutTurns:
    for role in GLUED_ROLE.finditer(text):
        line = text[text.rfind("\n", 0, role.start()) + 1 : role.start()]
        if len(line.split()) > 2 and not _is_example(text[: role.start()]):
            # "It is in request.user" is code, and "etc. assistant" may be a list of jobs.
            is_glued = not role["space"] and (role["end"], role["quoted"]) != (None, None)
            is_sure = role["role"] == "assistant" and is_glued
            return CutTurns(text[: role.start()]) if is_sure else CutTurns(text, role["role"])
    return CutTurns(text)


def _cut_lone(text: str) -> CutTurns:
    turn = LONE_TURN.search(text)
    before = _read_before(text, turn.start()) if turn else ""
    if turn is None or not before or _is_example(before) or _is_part(turn, before):
        return CutTurns(text)
    if turn["question"]:
        return CutTurns(text, turn[0].strip())
    is_asked = turn["hashes"] or "?" in text[turn.end() :] or "？" in text[turn.end() :]
    is_structured = turn["hashes"] and HEADING.search(before)
    # The user's later turns may follow, but no other paragraph.
    rest = BLANK_LINE.split(text[turn.end() :].strip())[1:]
    is_last = all(LONE_TURN.match(paragraph) for paragraph in rest)
    is_clear = is_last and not is_structured and not _may_show(before)
    if is_asked and before.endswith(ENDS) and is_clear:
        return CutTurns(before)
    return CutTurns(text, turn[0].strip() if is_asked or before.endswith(ENDS) else "")


def _is_part(turn: re.Match[str], before: str) -> bool:
    """Check if a line that looks as a turn is one of several parts of an answer."""
    text = turn.string
    if turn["hashes"]:
        same = re.compile(rf"^{turn['hashes']}[ \t]*(?!{_USERS}|Instruction)[^#\s]", re.MULTILINE)
        return same.search(text) is not None
    if turn["tag"]:
        return "<" in before or "</" not in text[turn.end() :]
    if turn["question"]:
        return not before.endswith(ENDS) or QUESTIONS.search(before) is not None
    paragraph = before[before.rfind("\n\n") + 1 :].lstrip()
    if LABEL_LINE.match(paragraph):
        return True
    after = LABEL_LINE.finditer(text, turn.end())
    return any(not USER_LABEL.match(label["label"].strip()) for label in after)


def _is_example(before: str) -> bool:
    """Check if a code fence, a heading, a colon or a word introduces a dialogue."""
    line = before[before.rfind("\n") + 1 :].strip()
    is_heading = line.startswith("#") or (line.startswith("**") and line.endswith("**"))
    is_introduced = line.endswith((":", "：")) or INTRODUCTION.search(line) is not None
    return is_heading or is_introduced or before.count("```") % 2 == 1


def _may_show(before: str) -> bool:
    """Check if the sentence before a turn speaks about a talk, which may follow as a sample."""
    return SHOWN.search(before[before.rfind("\n") + 1 :]) is not None


def _is_user(line: re.Match[str]) -> bool:
    return any(line[name] for name in ("user", "heading", "tagged", "bracket"))
