"""Control tokens of chat templates: cut at the ends of a text, reported inside of it."""

from __future__ import annotations

import re
from typing import NamedTuple

from safegen.core.invented_turns import cut_invented_turns

# Llama 3, ChatML, Phi, Granite, Command R: <|…|>. DeepSeek: <｜…｜> (U+FF5C). EXAONE: [|…|].
# Llama 2 and Mistral: <s>, [INST]. Gemma: <end_of_turn>, <turn|>. Baichuan: <reserved_…>.
_TOKEN = (
    r"<\|[A-Za-z0-9_\-/.:]{1,40}\|?>|<[A-Za-z_]{1,20}\|>|<｜[^｜<>\n]{1,40}｜>|\[\|[A-Za-z_]{1,20}\|\]"
    r"|</?s>|<<?/?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|BOS|EOS)\]"
    r"|<(?:start_of_turn|end_of_turn|end_of_utterance|end_of_text|eos|bos|pad|unk|eot|eom|eod|EOD"
    r"|unused\d+|reserved_\d+|extra_id_\d+|fim_(?:prefix|middle|suffix)|0x[0-9A-F]{2})>"
    # Seed, GLM, InternLM, MiniMax.
    r"|<end▁of▁sentence>|</?seed:(?:eos|bos|pad|tool_call)>|\[[gs]MASK\]|<(?:[se]op|eo[ahs]|eosys|mask:\d+)>"
    r"|\[E(?:OT|OM|OD)\]|\[e~\[|\]~!?b[\[\]]"
    # ChatML without its bars; Ling and Ring.
    r"|<im_(?:start|end)>|<role>(?:HUMAN|[Hh]uman|ASSISTANT|SYSTEM|OBSERVATION)</role>"
)
TOKEN = re.compile(_TOKEN)
# A stop string or the limit of tokens may cut a token, such as `<|im_end`.
CUT_TOKEN = re.compile(
    r"(?:(?<=[.!?\n])<\||<\|[A-Za-z0-9_]{1,40}\|?|<｜[^｜<>\n]{0,40}｜?|</s|<(?:start|end)_of(?:_[a-z]*)?|\[/INST?)\Z"
)
# Hermes and Qwen, Mistral, Llama 3, DeepSeek, Kimi, InternLM. The call is the answer, so it is never cut.
TOOL_CALL = re.compile(
    r"<(?:[a-z]+:)?(?:tool_calls?|function_calls?)\b[^<>\n]{0,60}>|<function=[\w.-]{1,60}>"
    r"|<\|[a-z_]{0,20}(?:tool_?call|python_tag|action_start)[a-z_]{0,30}\|?>"
    r"|<｜tool▁call[^｜<>\n]{0,30}｜>|\[TOOL_CALLS\]",
    re.IGNORECASE,
)
_ROLE = r"(?:user|human|system|assistant|model|tool|developer|chatbot|observation|instruction)"
TOKEN_END = re.compile(rf"(?:{_TOKEN})\Z")
ROLE_END = re.compile(rf"{_ROLE}\Z", re.IGNORECASE)
# The longest token has 44 characters. A search from the start at each step would be quadratic.
TAIL_CHARS = 64
# <|im_start|>assistant, <|start_header_id|>assistant<|end_header_id|>, <s>, <|assistant|>
LEADING = re.compile(
    rf"\A(?:\s*(?:{_TOKEN})(?:\s*(?:assistant|model|chatbot|ai)\b(?=\s*(?:\n|{_TOKEN}|:)):?)?)+\s*",
    re.IGNORECASE,
)
# A turn that starts after control tokens: the role is a word of its own, or the token names it.
NEXT_TURN = re.compile(
    rf"(?:\s*(?:{_TOKEN})){{0,3}}?\s*(?:(?:{_TOKEN})\s*{_ROLE}\b|<\|(?:{_ROLE}|end_of_role|"
    rf"(?:USER|CHATBOT|SYSTEM)_TOKEN)\|>|<｜(?:User|Assistant)｜>|\[\|{_ROLE}\|\]|\[INST\]"
    rf"|<role>{_ROLE}</role>"
    rf"|{_ROLE}\s*(?::|\n|<\|))",
    re.IGNORECASE,
)
# Tokens that a text is about: `<s> is the first token`, `the turn ends with <|im_end|>`, `if x == "<|user|>":`
MENTIONED_START = re.compile(
    r"(?:is|are|was|and|or|marks?|starts?|begins?|ends?|means?|signals?|denotes?|indicates?|separates?"
    r"|tokens?|tags?)\b"
)
MENTIONED_END = re.compile(
    r"\b(?:is|are|was|with|by|as|and|or|like|the|an?|to|of|for|in|after|before|called|named|tokens?|tags?|markers?"
    r"|use|write|type|print|add)\Z"
)
OPEN_QUOTE = re.compile(r"(?:\A|[\s(\[{=,:])[\"'`“‘«„]\Z")
# Every token has one of these characters. Most texts contain none, and the patterns cost far more.
_TOKEN_MARKS = ("<", "[", "]~")


class CleanText(NamedTuple):
    """A text without control tokens at its ends."""

    text: str
    token: str = ""
    """A control token inside of the text, or what may start a further turn; the text is then unusable."""


def cut_control_tokens(text: str) -> CleanText:
    """Cut control tokens and invented further turns at the ends of a text.

    Example:
        >>> cut_control_tokens("Use a lid.<|eot_id|>").text
        'Use a lid.'
    """
    is_marked = any(mark in text for mark in _TOKEN_MARKS)
    if is_marked and (call := TOOL_CALL.search(text)):
        return CleanText(text, call[0])
    text = _drop_cut_token(text) if is_marked else text
    if is_marked and TOKEN.search(text):
        text = _cut_leading(text)
        turns = (t for t in TOKEN.finditer(text) if NEXT_TURN.match(text, t.start()))
        turn = next(turns, None)
        if turn is not None and not _is_quoted(text, turn.start()):
            text = text[: turn.start()].rstrip()
        text = _cut_trailing(text)
    text, doubt = cut_invented_turns(text)
    inside = TOKEN.search(text) if is_marked else None
    return CleanText(text, inside[0] if inside else doubt)


def _cut_leading(text: str) -> str:
    lead = LEADING.match(text)
    if lead is None or (lead[0][-1] == " " and MENTIONED_START.match(text, lead.end())):
        return text
    return text[lead.end() :]


def _is_quoted(text: str, start: int) -> bool:
    """Check if a token is in a code fence or follows an opening quotation mark."""
    before = text[max(start - 2, 0) : start]
    return OPEN_QUOTE.search(before) is not None or text.count("```", 0, start) % 2 == 1


def _cut_trailing(text: str) -> str:
    """Cut the tokens at the end, and a role after them."""
    end = _skip_spaces_back(text, len(text))
    role = ROLE_END.search(text, max(end - TAIL_CHARS, 0), end)
    for start in (_skip_spaces_back(text, role.start()) if role else end, end):
        cut = start
        while token := TOKEN_END.search(text, max(cut - TAIL_CHARS, 0), cut):
            cut = _skip_spaces_back(text, token.start())
        if cut != start:
            is_mention = text[cut] == " " and MENTIONED_END.search(text, max(cut - 20, 0), cut)
            return text if is_mention else text[:cut]
    return text


def _skip_spaces_back(text: str, end: int) -> int:
    # `rstrip` would copy the text for each of many tokens.
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _drop_cut_token(text: str) -> str:
    cut = CUT_TOKEN.search(text)
    return text[: cut.start()].rstrip() if cut else text


def find_control_token(text: str) -> str:
    """Return the first control token or call of a tool in a text, or the empty string.

    Example:
        >>> find_control_token("Use a lid.<|eot_id|>")
        '<|eot_id|>'
    """
    if not any(mark in text for mark in _TOKEN_MARKS):
        return ""
    match = TOKEN.search(text) or TOOL_CALL.search(text)
    return match[0] if match else ""


def drop_control_tokens(text: str) -> str:
    """Remove every control token, for reasoning, which no trainer reads as an answer."""
    return TOKEN.sub("", text)
