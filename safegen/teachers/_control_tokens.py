"""Control tokens of chat templates: cut at the ends of a text, reported inside of it."""

from __future__ import annotations

import re
from typing import NamedTuple

# Llama 3, ChatML, Phi, Granite, Command R: <|…|>. DeepSeek: <｜…｜> (U+FF5C). EXAONE: [|…|].
# Llama 2 and Mistral: <s>, [INST]. Gemma: <end_of_turn>, <turn|>. Baichuan: <reserved_…>.
_TOKEN = (
    r"<\|[A-Za-z0-9_\-/.:]{1,40}\|?>|<[A-Za-z_]{1,20}\|>|<｜[^｜<>\n]{1,40}｜>|\[\|[A-Za-z_]{1,20}\|\]"
    r"|</?s>|<<?/?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|BOS|EOS)\]"
    r"|<(?:start_of_turn|end_of_turn|end_of_utterance|end_of_text|eos|bos|pad|unk|eot|eom|eod|EOD"
    r"|unused\d+|reserved_\d+|extra_id_\d+|fim_(?:prefix|middle|suffix)|0x[0-9A-F]{2})>"
    r"|<end▁of▁sentence>"
)
TOKEN = re.compile(_TOKEN)
_ROLE = r"(?:user|human|system|assistant|model|tool|developer|chatbot|observation|instruction)"
TOKEN_END = re.compile(rf"(?:{_TOKEN})\Z")
ROLE_END = re.compile(rf"{_ROLE}\Z", re.IGNORECASE)
# The longest token has 44 characters. A search from the start at each step would be quadratic.
TAIL_CHARS = 64
# <|im_start|>assistant, <|start_header_id|>assistant<|end_header_id|>, <s>, <|assistant|>
LEADING = re.compile(
    rf"\A(?:\s*(?:{_TOKEN})(?:\s*(?:assistant|model|chatbot)\b(?=\s*(?:\n|{_TOKEN}|:)):?)?)+\s*",
    re.IGNORECASE,
)
# A turn that starts after control tokens: the role is a word of its own, or the token names it.
NEXT_TURN = re.compile(
    rf"(?:\s*(?:{_TOKEN})){{0,3}}?\s*(?:(?:{_TOKEN})\s*{_ROLE}\b|<\|(?:{_ROLE}|end_of_role|"
    rf"(?:USER|CHATBOT|SYSTEM)_TOKEN)\|>|<｜(?:User|Assistant)｜>|\[\|{_ROLE}\|\]|\[INST\]"
    rf"|{_ROLE}\s*(?::|\n|<\|))",
    re.IGNORECASE,
)
# A turn that a base model invents. Alone, `User:` may belong to the answer, so an assistant must follow.
# Each pattern starts after a line feed, because spaces before it would be searched at every position.
PLAIN_TURN = re.compile(
    r"(?<=\n)[ \t]*(?:"
    r"(?P<alone>(?:\*\*|#{2,3}[ \t]*)?(?:Human|### ?(?:Human|User|Instruction|Input)):(?:\*\*)?\s"
    r"|#{2,3} ?(?:Human|User|Instruction):?[ \t]*\n)"
    r"|(?:\*\*)?(?:User|USER|Human):(?:\*\*)?\s)"
)
PLAIN_ANSWER = re.compile(r"(?<=\n)[ \t]*(?:\*\*)?(?:Assistant|ASSISTANT|AI):")


# Every token starts with `<` or `[`, and every invented turn has one of these names. Most texts contain
# none of them, and the patterns cost far more.
_TURN_NAMES = ("Human", "User", "USER", "Instruction", "Input")


class CleanText(NamedTuple):
    """A text without control tokens at its ends."""

    text: str
    token: str = ""
    """The first control token inside of the text, if there is one; the text is then unusable."""


def cut_control_tokens(text: str) -> CleanText:
    """Cut control tokens and invented further turns at the ends of a text.

    Example:
        >>> cut_control_tokens("Use a lid.<|eot_id|>").text
        'Use a lid.'
    """
    is_marked = "<" in text or "[" in text
    if is_marked and TOKEN.search(text):
        text = LEADING.sub("", text, count=1)
        for token in TOKEN.finditer(text):
            if NEXT_TURN.match(text, token.start()):
                text = text[: token.start()].rstrip()
                break
        text = _cut_trailing(text)
    start = _find_invented_turn(text)
    # A line that ends in a colon introduces an example dialogue.
    if start is not None and (before := text[:start].rstrip()) and before[-1] not in ":：":
        text = before
    inside = TOKEN.search(text) if is_marked else None
    return CleanText(text, inside[0] if inside else "")


def _cut_trailing(text: str) -> str:
    """Cut the tokens at the end, and a role after them."""
    end = _skip_spaces_back(text, len(text))
    role = ROLE_END.search(text, max(end - TAIL_CHARS, 0), end)
    for start in (_skip_spaces_back(text, role.start()) if role else end, end):
        cut = start
        while token := TOKEN_END.search(text, max(cut - TAIL_CHARS, 0), cut):
            cut = _skip_spaces_back(text, token.start())
        if cut != start:
            return text[:cut]
    return text


def _skip_spaces_back(text: str, end: int) -> int:
    # `rstrip` would copy the text for each of many tokens.
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _find_invented_turn(text: str) -> int | None:
    if not any(name in text for name in _TURN_NAMES):
        return None
    answers = [answer.start() for answer in PLAIN_ANSWER.finditer(text)]
    last_answer = answers[-1] if answers else -1
    turns = PLAIN_TURN.finditer(text)
    return next((t.start() for t in turns if t["alone"] or t.start() < last_answer), None)


def drop_control_tokens(text: str) -> str:
    """Remove every control token, for reasoning, which no trainer reads as an answer."""
    return TOKEN.sub("", text)
