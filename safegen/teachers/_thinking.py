"""Splits a model's thinking from its answer, in the forms that servers leave in the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from safegen.core.control_tokens import cut_control_tokens
from safegen.teachers._disguised_tags import normalize_tags
from safegen.teachers._thinking_signs import (
    is_clear_label,
    is_thinking_pair,
    may_consider_request,
    thinks_about_request,
)
from safegen.teachers._unmarked_thinking import find_musing, split_object, split_unmarked


class ThinkingSplit(NamedTuple):
    """A text without its thinking."""

    thinking: str | None
    text: str
    problem: str = ""
    """Why the text cannot be used, for example because thinking interrupts a sentence."""
    is_cut: bool = False
    """True if the text ends inside of the thinking."""


# Names of Qwen and DeepSeek (think), Anthropic prompts (thinking), Gemini (thought), Seed, MiniMax.
_NAME = (
    r"(?:[a-z]{1,12}[:_-]|ant)?(?:think(?:ing)?|thoughts?)(?:[_-]?(?:process|block|trace|content))?"
    r"|(?:inner|internal)[_-]?(?:monologue|reasoning)|chain[_-]of[_-]thoughts?"
    r"|reasoning[_-](?:content|process|trace)"
)
_WORD = r"(?:think(?:ing)?|thoughts?|reasoning)"
_OPEN = (
    rf"(?:<|&lt;)[ ]?(?:{_NAME})(?:\s[^<>\n]{{0,60}})?(?:>|&gt;)|\[THINK\]|◁think▷"
    rf"|<\|START_THINKING\|>|<\|(?:(?:begin|start)_?of_?)?{_WORD}(?:_start|_begin)?\|>"
    r"|<\|channel>\s*thought\b"
)
_CLOSE = (
    rf"(?:<|&lt;)[ ]?/[ ]?(?:{_NAME})\s*(?:>|&gt;)|\[/THINK(?:ING)?\]|◁/think▷"
    rf"|<\|END_THINKING\|>|<\|(?:/|end_?of_?){_WORD}\|>|<\|{_WORD}_end\|>|<channel\|>"
)
TAG = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)
# A rule separates thinking and answer.
LEADING_RULE = re.compile(r"\A\s*(?:-{3,}|\*{3,}|_{3,})[ \t]*\n")
EMPTY_TAG = re.compile(rf"\A\s*<(?:{_NAME})\s*/>\s*", re.IGNORECASE)
# These words are common in XML, so a tag counts as thinking only at the start of a line.
SECTION_TAG = re.compile(
    r"<[ ]?(?P<slash>/?)[ ]?(?P<name>reasoning|scratch_?pad|(?:self_?)?reflection|analysis|internal"
    r"|cot|planning|plan|deliberation|monologue|reason)(?:\s[^<>\n]{0,60})?>",
    re.IGNORECASE,
)
# A plan or an analysis may be what the user asked for.
AMBIGUOUS_SECTIONS = frozenset("plan planning reason internal analysis reflection".split())
ONE_SECTION = re.compile(
    r"\A\s*(?:<\?xml[^<>]{0,80}>\s*)?<(?P<name>[a-z_]{1,20})>(?P<body>.*)</(?P=name)>\s*\Z",
    re.DOTALL | re.IGNORECASE,
)
CHILD = re.compile(r"<[a-zA-Z][\w:.-]{0,40}[\s/>]")
DETAILS_START = re.compile(r"<details\b")
OPEN_WEBUI = re.compile(
    r"<details\b[^<>]{0,80}?\btype=[\"']?reasoning\b[^<>]{0,200}>"
    r"(?P<thinking>.*?)(?:</details>|(?P<cut>\Z))",
    re.DOTALL,
)
COMMENT = re.compile(
    r"\A\s*<!--\s*(?:my )?(?:thinking|thoughts?|reasoning|scratchpad)\b(?: process)?:?"
    r"(?P<thinking>.*?)(?:-->|(?P<cut>\Z))",
    re.DOTALL | re.IGNORECASE,
)
FENCE_START = re.compile(r"^(?:```|~~~)[^\n]", re.MULTILINE)
FENCE = re.compile(
    r"^(?P<fence>```+|~~~+)[ ]?(?:think(?:ing)?|thoughts?|reasoning|scratchpad|cot)[ \t]*\n"
    r"(?P<thinking>.*?)(?:^(?P=fence)[ \t]*$|(?P<cut>\Z))",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
# The wrapper that goes with such tags; without thinking it is content.
_FINAL = r"final(?:[_-]?(?:answer|response|output))?"
_ANSWER_NAMES = r"answer|response|output|solution|reply|result"
ANSWER_WRAPPER = re.compile(
    rf"\A\s*(?:<[ ]?(?P<name>{_FINAL}|{_ANSWER_NAMES})(?:\s[^<>\n]{{0,60}})?>"
    r"|<\|(?:START_RESPONSE|begin_of_solution)\|>)(?P<text>.*?)"
    r"(?:<[ ]?/[ ]?(?P=name)\s?>|<\|(?:END_RESPONSE|end_of_solution)\|>)?\Z",
    re.DOTALL | re.IGNORECASE,
)
INNER_ANSWER = re.compile(rf"<(?:{_FINAL}|{_ANSWER_NAMES})[\s>]", re.IGNORECASE)
WRAPPER_START = re.compile(
    rf"^<[ ]?(?P<name>{_FINAL}|{_ANSWER_NAMES})\s?>", re.MULTILINE | re.IGNORECASE
)
WRAPPER_END = re.compile(rf"<[ ]?/[ ]?(?P<name>{_FINAL}|{_ANSWER_NAMES})\s?>\Z", re.IGNORECASE)
WRAPPER_END_CHARS = 40
FINAL_WRAPPER = re.compile(
    rf"\A\s*<(?P<name>{_FINAL})>(?P<text>.*?)</(?P=name)>\s*\Z", re.DOTALL | re.IGNORECASE
)
# gpt-oss: <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…
HARMONY = re.compile(
    r"(?:<\|start\|>\w{1,40})?(?:<\|channel\|>\s{0,8})?(?P<channel>analysis|commentary|final)\b"
    r"(?:[^<]|<\|constrain\|>){0,80}<\|message\|>"
    r"(?P<body>.*?)(?P<end><\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
# The same with special tokens removed by the tokenizer: "analysisWe need …assistantfinalHello".
STRIPPED_FINAL = re.compile(r"assistant(?:channel)?final(?::(?=\s))?")
# With spaces, "the teaching assistant final exam" is English, so the text must start with a channel.
SPACED_FINAL = re.compile(rf"{STRIPPED_FINAL.pattern}|assistant\s(?:channel\s?)?final(?![a-z])")
SPACED_START = re.compile(r"\A\s*(?:assistant\s?)?(?:analysis|commentary)(?!\s+[a-z])")
STRIPPED_START = re.compile(
    r"\A\s*(?:assistant\s?)?(?:analysis|commentary)(?=[A-Za-z\"'¡¿<(*]|[^\x00-\x7f]|\s*\n)"
)
# Thinking after the answer: "Add oil.assistantanalysisThe user …"
STRIPPED_TAIL = re.compile(r"assistant(?:channel)?(?:analysis|commentary)")
STRIPPED_FINAL_START = re.compile(r"\A\s*(?:assistantfinal\s*|final(?=[A-Z][a-z]))")
GEMMA_START = re.compile(r"\A\s*(?:<unused\d+>\s*)?thought\n")
# Messages whose channel is missing: <|message|>…<|end|><|start|>assistant<|message|>…
MESSAGE = re.compile(r"(?:<\|start\|>(?P<role>\w{1,40})?)?[ \t]{0,8}<\|message\|>")
MESSAGE_END = re.compile(r"<\|(?:end|return|call|start)\|>")
# Solar: <|think|>…<|end|><|begin|>assistant<|content|>…
SOLAR = re.compile(
    r"(?:<\|begin\|>\w{1,40})?<\|(?P<channel>think|content)\|>"
    r"(?P<body>.*?)(?P<end><\|(?:end|flush)\|>|(?=<\|begin\|>)|\Z)",
    re.DOTALL,
)
# Harmony without the first half of each token: analysis|>…<|end|>assistant|>final|>…
HALF_STRIPPED = re.compile(
    r"(?:<\|)?(?:(?:start\|>)?assistant\|?>?)?(?:channel\|>)?(?P<channel>analysis|commentary|final)"
    r"(?:message)?\|>(?P<body>.*?)(?P<end><\|(?:end|return|call)\|>|(?=assistant\|>)|\Z)",
    re.DOTALL,
)
# Granite 3 and the command line of Ollama.
SENTENCES = (
    re.compile(
        r"\A\s*Here(?:'s| is) my thought process:(?P<thinking>.*?)Here(?:'s| is) my response:",
        re.DOTALL,
    ),
    # Apriel
    re.compile(r"(?P<thinking>(?s:.*?))\[BEGIN FINAL RESPONSE\]"),
    re.compile(r"\A\s*Thinking\.\.\.\n(?P<thinking>.*?)\n\.\.\.done thinking\.", re.DOTALL),
)


_THINKING_WORD = (
    r"(?:my\s|the\s)?(?:thinking|thoughts?|reasoning|internal (?:reasoning|monologue)|chain of thought"
    r"|scratchpad)(?:\sprocess)?"
)
_ANSWER_WORD = (
    r"(?:my\s|the\s)?(?:final(?:\s(?:answer|response|reply|output))?|answer|response|reply)"
)
# "**Thinking**", "## Reasoning", "analysis:"
_BOLD = r"(?:\*{1,3}|__?)"
HEADED_START = re.compile(
    rf"\A\s*(?:{_BOLD}(?:{_THINKING_WORD}|(?P<bold>analysis)):?{_BOLD}:?|\[{_THINKING_WORD}\]"
    rf"|#{{1,6}}[ ]+(?:{_THINKING_WORD}|(?P<heading>analysis)):?[ \t]*$"
    rf"|(?:{_THINKING_WORD}|analysis):)(?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
HEADED_ANSWER = re.compile(
    rf"(?:^|(?<=\s)){_BOLD}{_ANSWER_WORD}:?{_BOLD}:?(?=\s)|^[ \t]*\[{_ANSWER_WORD}\](?=\s)"
    rf"|^[ \t]*#{{1,6}}[ ]+{_ANSWER_WORD}:?[ \t]*$|^[ \t]*{_ANSWER_WORD}:(?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
# The channels of gpt-oss
CHANNELS = re.compile(r"analysis: final(?: answer)?:")
HEADED_PART = re.compile(
    rf"(?:^|(?<=\s)){_BOLD}{_THINKING_WORD}:?{_BOLD}|^[ \t]*(?:#{{1,6}}[ ]+)?{_THINKING_WORD}:?[ \t]*$"
    rf"|^[ \t]*{_THINKING_WORD}:(?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
# "Final thoughts" ends an essay.
HEADED_FINAL = re.compile(
    r"^[ \t]*(?:\*\*|#{1,6}[ ]+)final\b(?![ \t]+(?:thoughts?|notes?|words?|remarks?|tips?|exams?|checks?|steps?"
    r"|rounds?|scores?|grades?|reports?|costs?|days?|weeks?)\b)",
    re.IGNORECASE | re.MULTILINE,
)
# Thinking whose end has no mark. In "Here is my reasoning: the bike is light", it may be the answer.
ANNOUNCED = re.compile(
    r"\A\s*(?:[^\n]{0,60}[.!,]\s{1,2})?(?:(?:here(?:'s|’s| is| are)|this is) my (?:internal )?"
    r"(?:reasoning steps|thought process|thinking(?: process)?|reasoning(?: process)?|chain of thought|monologue)\b"
    r"(?P<sentence>:? [^\n*])?"
    r"|[^\n]{0,60}\bmy (?:internal )?(?:thought process|thinking|reasoning|monologue):\s*\n"
    r"|(?:\*\*|#{1,6} )(?:thought process|internal (?:reasoning|monologue)|chain of thought):?"
    r"(?:\*\*)?:?[ \t]*\n"
    r"|(?:\*\*|#{1,6} )?(?:thinking|thought|reasoning) process:|[💭🤔🧠 ]{0,4}thinking(?:\.\.\.|…)\n)",
    re.IGNORECASE,
)

REQUEST = re.compile(
    r"\b(?:user|request|prompt|query|question|asks?|asked|asking|answer|respon[sd]\w*|reply|policy|guidelines?|refus\w+|declin\w+"
    r"|let me|okay|hmm|wait)\b",
    re.IGNORECASE,
)


# Every tag contains one of these characters. Most texts contain none, and the patterns cost far more.
_TAG_MARKS = ("<", "&", "[", "◁", "```", "~~~")


MAX_TAGS = 200
"""Most tags of a text; a text with more is no answer, and each tag costs a pass over it."""


def split_thinking(text: str, *, is_split: bool = False, is_object: bool = False) -> ThinkingSplit:
    r"""Split a text into thinking and answer.

    Blocks at the start, between paragraphs and at the end are split off. A block inside of a
    sentence or of a code fence makes the text unusable, and so does a start that may be thinking.

    Args:
        text: an answer of a model.
        is_split: True if the server sent the thinking in a field of its own.
        is_object: True if the answer has to fit a schema, so that words around it do no harm.

    Example:
        >>> split_thinking("<think>hm</think>\n\nYes.")[:2]
        ('hm', 'Yes.')
    """
    normal = normalize_tags(text)
    split = _split_marked(normal, is_split=is_split)
    if normal != text and split.thinking is None and not split.problem and not split.is_cut:
        # The tags in other spellings belong to the answer.
        split = _split_marked(text, is_split=is_split)
    if is_object or split.problem or split.is_cut:
        return split
    if split.thinking is not None:
        # An answer after a heading or a block may still think about the request.
        problem = find_musing(split.text)
        return split._replace(problem=problem)
    found = split_object(split.text) or split_unmarked(split.text)
    if found is None:
        return split
    if found.problem:
        return ThinkingSplit(None, split.text, found.problem)
    return ThinkingSplit(found.thinking.strip() or None, found.text)


def _split_marked(text: str, *, is_split: bool) -> ThinkingSplit:
    thinking: list[str] = []
    text, problem, is_cut = _split_harmony(text, thinking)
    is_marked = any(mark in text for mark in _TAG_MARKS)
    if is_marked and _has_too_many_tags(text):
        return ThinkingSplit(None, text, f"more than {MAX_TAGS} tags of thinking")
    splitters: list[_Splitter] = [_split_details, _split_tags, _split_sections] if is_marked else []
    for split in (*splitters, _split_sentences, _split_headings):
        text, next_problem, next_cut = split(text, thinking)
        problem, is_cut = problem or next_problem, is_cut or next_cut
    if is_marked:
        text = unwrap_answer(text, has_thinking=bool(thinking) or is_split)
    if (thinking or is_split) and is_marked and _has_inner_wrapper(text):
        problem = problem or "the answer is only a part of the text"
    text = LEADING_RULE.sub("", text, count=1).lstrip() if thinking else text
    joined = "\n\n".join(part.strip() for part in thinking if part.strip())
    return ThinkingSplit(joined or None, text, problem, is_cut)


def unwrap_answer(text: str, *, has_thinking: bool) -> str:
    r"""Remove the wrapper around an answer; without thinking only that of a final answer.

    Example:
        >>> unwrap_answer("<answer>\nYes.\n</answer>\n", has_thinking=True)
        'Yes.'
    """
    # Tokens and turns after the wrapper hide its end, and the wrapper may be a token itself.
    cleaned = cut_control_tokens(text)
    body = (text if cleaned.token else cleaned.text).rstrip()
    pattern = ANSWER_WRAPPER if has_thinking else FINAL_WRAPPER
    wrapped = pattern.match(body) or pattern.match(text.rstrip())
    if wrapped:
        name = wrapped["name"]
        is_whole = not name or f"</{name.lower()}>" not in wrapped["text"].lower()
        return wrapped["text"].strip() if is_whole else text
    end = WRAPPER_END.search(body, max(len(body) - WRAPPER_END_CHARS, 0)) if has_thinking else None
    # The chat template opened the wrapper.
    if end and f"<{end['name'].lower()}" not in body[: end.start()].lower():
        return body[: end.start()].rstrip()
    return text


def _find_wrapper_end(text: str) -> str | None:
    """Return the name of the wrapper that the text ends with."""
    end = WRAPPER_END.search(text.rstrip()[-WRAPPER_END_CHARS:])
    return end["name"].lower() if end else None


def _has_inner_wrapper(text: str) -> bool:
    """Check if words are before or after the wrapped answer."""
    if WRAPPER_START.match(text.lstrip()):
        return True
    name = _find_wrapper_end(text)
    starts = WRAPPER_START.finditer(text) if name else ()
    return any(start["name"].lower() == name for start in starts)


def _has_too_many_tags(text: str) -> bool:
    patterns = (TAG, SECTION_TAG, DETAILS_START, FENCE_START)
    return any(
        sum(1 for _ in islice(pattern.finditer(text), MAX_TAGS + 1)) > MAX_TAGS
        for pattern in patterns
    )


class _Rest(NamedTuple):
    text: str
    problem: str = ""
    is_cut: bool = False


_Splitter = Callable[[str, list[str]], _Rest]


_SENTENCE_MARKS = (
    "Here is my response:",
    "Here's my response:",
    "[BEGIN FINAL",
    "...done thinking.",
)


def _split_sentences(text: str, thinking: list[str]) -> _Rest:
    if thinking or not any(mark in text for mark in _SENTENCE_MARKS):
        return _Rest(text)
    for pattern in SENTENCES:
        if found := pattern.match(text):
            thinking.append(found["thinking"])
            return _Rest(text[found.end() :].removesuffix("[END FINAL RESPONSE]").strip())
    return _Rest(text)


def _split_headings(text: str, thinking: list[str]) -> _Rest:
    """Split "**Thinking** … **Answer** …" if both headings are there."""
    start = None if thinking else HEADED_START.match(text)
    answers = list(HEADED_ANSWER.finditer(text, start.end())) if start else []
    # "## Analysis … ## Answer" is also the form of an ordinary report.
    is_report = start is not None and bool(start["bold"] or start["heading"])
    if start and not is_report and answers:
        # The thinking may hold an answer in draft.
        answer = answers[-1] if "final" in answers[-1][0].lower() else answers[0]
        part = text[start.end() : answer.start()]
        labels = f"{start[0].strip()} {answer[0].strip()}"
        is_pair = CHANNELS.fullmatch(labels) or (
            is_thinking_pair(start[0], answer[0]) and not _has_more_parts(text, answer)
        )
        if not (is_pair or is_clear_label(start[0]) or thinks_about_request(part)):
            return _Rest(text, f"`{start[0].strip()}` {DOUBT}")
        thinking.append(part)
        return _Rest(text[answer.end() :].strip())
    if is_report and HEADED_FINAL.search(text):
        return _Rest(text, "the text may start with thinking (`analysis`)")
    announced = None if thinking else ANNOUNCED.match(text)
    if announced and (not announced["sentence"] or REQUEST.search(text, announced.end())):
        return _Rest(text, "the text starts with thinking that has no end")
    return _Rest(text)


# A list of exercises has a reasoning and an answer for each.
def _has_more_parts(text: str, answer: re.Match[str]) -> bool:
    rest = text[answer.end() :]
    return HEADED_PART.search(rest) is not None or HEADED_ANSWER.search(rest) is not None


def _split_details(text: str, thinking: list[str]) -> _Rest:
    is_cut, problem = False, ""
    for pattern in (OPEN_WEBUI, COMMENT, FENCE):
        while found := pattern.search(text):
            thinking.append(found["thinking"])
            problem = problem or _doubt_label(text[found.start() : found.start("thinking")], found)
            is_cut |= found["cut"] is not None
            text = f"{text[: found.start()]}{text[found.end() :].lstrip()}".rstrip()
    return _Rest(text, problem, is_cut)


def _doubt_label(label: str, found: re.Match[str]) -> str:
    """Return the doubt about a fence or a comment named "thought" or "reasoning"."""
    is_sure = found.re is OPEN_WEBUI or "thinking" in label.lower() or is_clear_label(label)
    if is_sure or found["cut"] is not None or thinks_about_request(found["thinking"]):
        return ""
    return f"`{label.strip()}` {DOUBT}"


MENTIONED_CLOSE = "a closing thinking tag inside of a sentence"
# The line before a block that is an example or a part of XML.
INTRODUCED = re.compile(r"(?:[:：]|<[^/<>\n][^<>\n]{0,80}>)\s*\Z")


def _split_sections(text: str, thinking: list[str]) -> _Rest:
    # After thinking in the tags of a vendor, a section is thinking too.
    is_known = bool(thinking)
    if not is_known and _is_requested(text):
        return _Rest(text)
    return _cut_sections(text, thinking, is_known=is_known)


DOUBT = "may be thinking or a part of the answer"


def _is_requested(text: str) -> bool:
    """Check if a text is one element that the user asked for: a plan, or XML with more elements."""
    section = ONE_SECTION.match(text)
    if section is None:
        return False
    name = section["name"].lower()
    is_section = SECTION_TAG.match(f"<{name}>") or TAG.match(f"<{name}>")
    if (is_section and name not in AMBIGUOUS_SECTIONS) or ANSWER_WRAPPER.match(f"<{name}>"):
        return False
    body = section["body"]
    parts = {tag["name"].lower() for tag in SECTION_TAG.finditer(body)}
    if not parts <= AMBIGUOUS_SECTIONS or TAG.search(body) or INNER_ANSWER.search(body):
        return False
    is_content = name == "plan" or CHILD.search(body) is not None
    return is_content and not may_consider_request(body)


def _cut_sections(text: str, thinking: list[str], *, is_known: bool) -> _Rest:
    """Split `<reasoning>…</reasoning>` at the start of a line; elsewhere such a tag is content."""
    answer, start, opened, mentioned = "", 0, None, set[str]()
    problem = ""
    for tag in SECTION_TAG.finditer(text):
        name = tag["name"].lower()
        if opened is not None:
            if tag["slash"] and opened["name"].lower() == name:
                thinking.append(text[opened.end() : tag.start()])
                problem = problem or _doubt_section(tag, thinking[-1], is_known=is_known)
                start, opened = tag.end(), None
        elif name in mentioned or _is_content(text, tag):
            mentioned.add(name)
        elif not tag["slash"]:
            if INTRODUCED.search(text, max(0, tag.start() - 200), tag.start()):
                problem = f"`{tag[0]}` may be an example"
            answer, opened = _join(answer, text[start : tag.start()]), tag
        elif _is_mentioned(text, tag):
            return _Rest(text, MENTIONED_CLOSE)
        else:
            # The chat template opened the block, so everything so far is thinking.
            thinking.append(answer + text[start : tag.start()])
            problem = problem or _doubt_section(tag, thinking[-1], is_known=is_known)
            answer, start = "", tag.end()
    if opened is None:
        problem = problem or _find_inline_section(text)
        return _Rest(_join(answer, text[start:]) if start else text, problem)
    if answer.strip() or _find_wrapper_end(text):
        return _Rest(text, f"`{opened[0]}` is not closed")
    thinking.append(text[opened.end() :])
    return _Rest("", "", is_cut=True)


def _doubt_section(close: re.Match[str], body: str, *, is_known: bool) -> str:
    """Return the doubt about a section that may be what the user asked for."""
    name = close["name"].lower()
    rest = close.string[close.end() : close.end() + WRAPPER_END_CHARS]
    is_wrapped = ANSWER_WRAPPER.match(rest) is not None
    is_sure = is_known or name not in AMBIGUOUS_SECTIONS
    if is_sure or is_wrapped or thinks_about_request(body):
        return ""
    return f"`<{name}>` {DOUBT}"


# "Sure. <reasoning>…</reasoning> …"
INLINE_SECTION = re.compile(rf"(?<=[.!?;,…])[ \t]{{1,8}}{SECTION_TAG.pattern}", re.IGNORECASE)


def _find_inline_section(text: str) -> str:
    """Return the problem of a closed block after a sentence of the same line."""
    for tag in INLINE_SECTION.finditer(text):
        is_closed = f"</{tag['name']}>" in text[tag.end() :]
        if is_closed and not tag["slash"] and text.count("```", 0, tag.start()) % 2 == 0:
            return "thinking inside of the text"
    return ""


def _join(before: str, after: str) -> str:
    if not before.strip():
        return after.strip()
    return f"{before.rstrip()}\n\n{after.strip()}".rstrip()


def _is_content(text: str, tag: re.Match[str]) -> bool:
    """Check if a tag is in a code fence, in backticks or, if it opens a block, inside of a line."""
    if _is_quoted(text, tag) or text.count("```", 0, tag.start()) % 2 == 1:
        return True
    return not tag["slash"] and bool(_read_line_before(text, tag.start()))


def _split_harmony(text: str, thinking: list[str]) -> _Rest:
    for pattern, mark in (
        (HARMONY, "<|message|>"),
        (SOLAR, "<|content|>"),
        (HALF_STRIPPED, "analysis|>"),
        (HALF_STRIPPED, "final|>"),
    ):
        if mark in text and (messages := list(pattern.finditer(text))):
            return _join_channels(text, messages, thinking)
    if "<|message|>" in text:
        return _join_messages(text, thinking)
    if "<|channel|>" in text:
        return _Rest(text, "a channel without a message")
    final_pattern = SPACED_FINAL if SPACED_START.match(text) else STRIPPED_FINAL
    finals = list(final_pattern.finditer(text)) if "assistant" in text else []
    if finals and finals[-1].start() > 0 and text[: finals[-1].start()].strip():
        thinking.append(SPACED_START.sub("", text[: finals[-1].start()]))
        return _Rest(_cut_stripped_tail(text[finals[-1].end() :], thinking).strip())
    text = _cut_stripped_tail(text, thinking)
    if STRIPPED_START.match(text) or GEMMA_START.match(text):
        thinking.append(text)
        return _Rest("", "the text is thinking without an answer", is_cut=True)
    start = STRIPPED_FINAL_START.match(text)
    return _Rest(text[start.end() :] if start else text)


def _cut_stripped_tail(text: str, thinking: list[str]) -> str:
    tail = STRIPPED_TAIL.search(text)
    if tail is None or not text[: tail.start()].strip():
        return text
    thinking.append(text[tail.end() :])
    return text[: tail.start()].rstrip()


def _join_messages(text: str, thinking: list[str]) -> _Rest:
    """Take the last message of the assistant; those before it are thinking."""
    starts = list(MESSAGE.finditer(text))
    head = MESSAGE_END.sub("", text[: starts[0].start()]).strip()
    parts = [head] if head else []
    limits = [*(start.start() for start in starts[1:]), len(text)]
    for start, limit in zip(starts, limits, strict=True):
        if (start["role"] or "assistant").lower() != "assistant":
            break
        end = MESSAGE_END.search(text, start.end(), limit)
        if body := text[start.end() : end.start() if end else limit].strip():
            parts.append(body)
    if not parts:
        return _Rest(text, "no message of the assistant")
    thinking.extend(parts[:-1])
    return _Rest(parts[-1])


_FINAL_CHANNELS = frozenset({"final", "content"})


def _join_channels(text: str, messages: Sequence[re.Match[str]], thinking: list[str]) -> _Rest:
    thinking.append(text[: messages[0].start()])
    thinking.extend(m["body"] for m in messages if m["channel"] not in _FINAL_CHANNELS)
    finals = [m["body"].strip() for m in messages if m["channel"] in _FINAL_CHANNELS]
    rest = text[messages[-1].end() :]
    if not finals and "<|message|>" in rest:
        return _join_messages(rest, thinking)
    problem = "" if finals else "no final channel"
    return _Rest("\n\n".join(finals) + rest, problem, is_cut=not finals)


def _split_tags(text: str, thinking: list[str]) -> _Rest:
    answer, depth, start, is_inline = "", 0, 0, False
    opened_at = 0
    text = EMPTY_TAG.sub("", text, count=1)
    tags = [tag for tag in TAG.finditer(text) if not _is_quoted(text, tag)]
    if not tags:
        return _Rest(text)
    for tag in tags:
        if tag["open"]:
            if depth == 0:
                answer += text[start : tag.start()]
                start = opened_at = tag.start()
            depth += 1
            continue
        if depth == 0:
            if _is_mentioned(text, tag):
                return _Rest(text, MENTIONED_CLOSE)
            # The chat template opened the block, so everything so far is thinking.
            thinking.append(answer + text[start : tag.start()])
            answer, start = "", tag.end()
            continue
        depth -= 1
        if depth == 0:
            thinking.append(TAG.sub("", text[start : tag.end()]))
            is_inline |= _is_inline(text, opened_at, tag.end())
            start = tag.end()
            answer = answer.rstrip() + "\n\n" if answer.strip() else ""
            text_after = text[start:]
            start += len(text_after) - len(text_after.lstrip())
    if depth:
        return _split_open_tag(text, thinking, answer=answer, position=opened_at)
    problem = "thinking inside of the text" if is_inline else ""
    return _Rest((answer + text[start:]).rstrip() if answer.strip() else text[start:], problem)


def _split_open_tag(text: str, thinking: list[str], *, answer: str, position: int) -> _Rest:
    if _is_in_sentence(text, position):
        return _Rest(text, "a thinking tag inside of a sentence is not closed")
    if text.count("```", 0, position) % 2 == 1:
        return _Rest(text, "a thinking tag inside of a code fence is not closed")
    if _find_wrapper_end(text):
        return _Rest(text, "the thinking before the answer is not closed")
    thinking.append(TAG.sub("", text[position:]))
    return _Rest(answer.strip(), "", is_cut=True)


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    """Check if a tag is in backticks, as in a text about tags."""
    is_opened = tag.start() > 0 and text[tag.start() - 1] == "`"
    return is_opened and text.startswith("`", tag.end())


def _is_mentioned(text: str, close: re.Match[str]) -> bool:
    """Check if a closing tag without an opening one is a word of a sentence."""
    is_spaced = text[close.start() - 1 : close.start()] == " " and text.startswith(" ", close.end())
    return is_spaced and _is_in_sentence(text, close.start())


def _read_line_before(text: str, position: int) -> str:
    return text[text.rfind("\n", 0, position) + 1 : position].strip()


def _is_in_sentence(text: str, position: int) -> bool:
    line = _read_line_before(text, position)
    return bool(line) and line[-1] not in ".!?:"


def _is_inline(text: str, start: int, end: int) -> bool:
    before, after = text[:start], text[end:]
    in_fence = before.count("```") % 2 == 1
    line_before, line_after = before.rpartition("\n")[2], after.partition("\n")[0]
    return in_fence or bool(line_before.strip() and line_after.strip())
