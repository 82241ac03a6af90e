"""Splits a model's thinking from its answer, in the forms that servers leave in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class ThinkingSplit(NamedTuple):
    """A text without its thinking."""

    thinking: str | None
    text: str
    problem: str = ""
    """Why the text cannot be used, for example because thinking interrupts a sentence."""
    is_cut: bool = False
    """True if the text ends inside of the thinking."""


# Names of Qwen and DeepSeek (think), Anthropic prompts (thinking), Gemini (thought), Seed, MiniMax.
_NAME = r"(?:antml:|seed:|mm:)?(?:think(?:ing)?|thoughts?)"
_OPEN = (
    rf"(?:<|&lt;){_NAME}(?:\s[^<>\n]{{0,60}})?(?:>|&gt;)|\[THINK\]|◁think▷|<\|START_THINKING\|>"
    r"|<\|begin_of_thought\|>|<\|channel>\s*thought\b"
)
_CLOSE = (
    rf"(?:<|&lt;)/{_NAME}\s*(?:>|&gt;)|\[/THINK\]|◁/think▷|<\|END_THINKING\|>"
    r"|<\|end_of_thought\|>|<channel\|>"
)
TAG = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)
# These words are common in XML, so they count as thinking only at the start of a text.
LEADING_TAG = re.compile(
    r"\A\s*<(?P<name>reasoning|scratchpad|reflection|analysis|inner_monologue)>(?P<thinking>.*?)"
    r"</(?P=name)>",
    re.DOTALL | re.IGNORECASE,
)
OPEN_WEBUI = re.compile(
    r"<details\s+type=[\"']reasoning[\"'][^>]*>(?P<thinking>.*?)</details>", re.DOTALL
)
# The wrapper that goes with such tags; without thinking it is content.
ANSWER_WRAPPER = re.compile(
    r"\A\s*(?:<(answer|response|output)>|<\|(?:START_RESPONSE|begin_of_solution)\|>)(?P<text>.*?)"
    r"(?:</\1>|<\|(?:END_RESPONSE|end_of_solution)\|>)?\s*\Z",
    re.DOTALL | re.IGNORECASE,
)
# gpt-oss: <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…
HARMONY = re.compile(
    r"(?:<\|start\|>\w+)?(?:<\|channel\|>)?\s*(?P<channel>analysis|commentary|final)\b"
    r"(?:[^<]|<\|constrain\|>){0,80}<\|message\|>"
    r"(?P<body>.*?)(?P<end><\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
# The same with special tokens removed by the tokenizer: "analysisWe need …assistantfinalHello".
STRIPPED_FINAL = re.compile(r"assistant(?:channel)?final")
# With spaces, "the teaching assistant final exam" is English, so the text must start with a channel.
SPACED_FINAL = re.compile(rf"{STRIPPED_FINAL.pattern}|assistant\s(?:channel\s?)?final(?![a-z])")
SPACED_START = re.compile(r"\A\s*(?:assistant\s?)?(?:analysis|commentary)(?!\s+(?:of|is|was)\b)")
STRIPPED_START = re.compile(
    r"\A\s*(?:assistant\s?)?(?:analysis|commentary)(?=[A-Z\"'¡¿<(*]|[^\x00-\x7f]|\s*\n)"
)
STRIPPED_FINAL_START = re.compile(r"\A\s*(?:assistantfinal\s*|final(?=[A-Z][a-z]))")
GEMMA_START = re.compile(r"\A\s*(?:<unused\d+>\s*)?thought\n")
# Granite 3 and the command line of Ollama.
SENTENCES = (
    re.compile(
        r"\A\s*Here(?:'s| is) my thought process:(?P<thinking>.*?)Here(?:'s| is) my response:",
        re.DOTALL,
    ),
    re.compile(r"\A\s*Thinking\.\.\.\n(?P<thinking>.*?)\n\.\.\.done thinking\.", re.DOTALL),
)


# Every tag contains one of these characters. Most texts contain none, and the patterns cost far more.
_TAG_MARKS = "<&[◁"


def split_thinking(text: str) -> ThinkingSplit:
    r"""Split a text into thinking and answer.

    Blocks at the start, between paragraphs and at the end are split off. A block inside of a
    sentence or of a code fence makes the text unusable.

    Example:
        >>> split_thinking("<think>hm</think>\n\nYes.")[:2]
        ('hm', 'Yes.')
    """
    thinking: list[str] = []
    text, problem, is_cut = _split_harmony(text, thinking)
    is_marked = any(mark in text for mark in _TAG_MARKS)
    # `match` for patterns of the start: `search` tries them at every character.
    for find in (
        *((LEADING_TAG.match, OPEN_WEBUI.search) if is_marked else ()),
        *(pattern.match for pattern in SENTENCES),
    ):
        if found := find(text):
            thinking.append(found["thinking"])
            text = f"{text[: found.start()]}{text[found.end() :]}".lstrip()
    if is_marked and TAG.search(text):
        text, tag_problem, tag_cut = _split_tags(text, thinking)
        problem, is_cut = problem or tag_problem, is_cut or tag_cut
    if thinking and (wrapped := ANSWER_WRAPPER.match(text)):
        text = wrapped["text"].strip()
    text = text.lstrip() if thinking else text
    joined = "\n\n".join(part.strip() for part in thinking if part.strip())
    return ThinkingSplit(joined or None, text, problem, is_cut)


def _split_harmony(text: str, thinking: list[str]) -> tuple[str, str, bool]:
    messages = list(HARMONY.finditer(text)) if "<|message|>" in text else []
    if messages:
        return _join_channels(text, messages, thinking)
    final_pattern = SPACED_FINAL if SPACED_START.match(text) else STRIPPED_FINAL
    finals = list(final_pattern.finditer(text)) if "assistant" in text else []
    if finals and finals[-1].start() > 0 and text[: finals[-1].start()].strip():
        thinking.append(SPACED_START.sub("", text[: finals[-1].start()]))
        return text[finals[-1].end() :].strip(), "", False
    if STRIPPED_START.match(text) or GEMMA_START.match(text):
        thinking.append(text)
        return "", "the text is thinking without an answer", True
    start = STRIPPED_FINAL_START.match(text)
    return text[start.end() :] if start else text, "", False


def _join_channels(
    text: str, messages: Sequence[re.Match[str]], thinking: list[str]
) -> tuple[str, str, bool]:
    thinking.append(text[: messages[0].start()])
    thinking.extend(m["body"] for m in messages if m["channel"] != "final")
    finals = [m["body"].strip() for m in messages if m["channel"] == "final"]
    rest = text[messages[-1].end() :]
    return "\n\n".join(finals) + rest, "" if finals else "no final channel", not finals


def _split_tags(text: str, thinking: list[str]) -> tuple[str, str, bool]:
    answer, depth, start, inline = "", 0, 0, False
    opened_at = 0
    for tag in TAG.finditer(text):
        if tag["open"]:
            if depth == 0:
                answer += text[start : tag.start()]
                start = opened_at = tag.start()
            depth += 1
            continue
        if depth == 0:
            # The chat template opened the block, so everything so far is thinking.
            thinking.append(answer + text[start : tag.start()])
            answer, start = "", tag.end()
            continue
        depth -= 1
        if depth == 0:
            thinking.append(TAG.sub("", text[start : tag.end()]))
            inline |= _is_inline(text, opened_at, tag.end())
            start = tag.end()
            answer = answer.rstrip() + "\n\n" if answer.strip() else ""
            text_after = text[start:]
            start += len(text_after) - len(text_after.lstrip())
    if depth:
        thinking.append(TAG.sub("", text[start:]))
        return answer.strip(), "", True
    problem = "thinking inside of the text" if inline else ""
    return (answer + text[start:]).rstrip() if answer.strip() else text[start:], problem, False


def _is_inline(text: str, start: int, end: int) -> bool:
    before, after = text[:start], text[end:]
    in_fence = before.count("```") % 2 == 1
    line_before, line_after = before.rpartition("\n")[2], after.partition("\n")[0]
    return in_fence or bool(line_before.strip() and line_after.strip())
