"""Replies of hostile servers, long enough that a pattern of quadratic time would not end."""

from __future__ import annotations

import pytest

from safegen.teachers._reply import read_reply
from tests.sampling import sampled

N = 100_000
TEXTS = {
    "line feeds before a turn": "a" + "\n" * N + "User x",
    "spaces before a token": "a" + " " * N + "x<|eot_id|>",
    "spaces around a role": "<s>" + " " * N + "user" + " " * N + "b",
    "tokens": "a" + "<s>" * N + "b",
    "tokens at the end": "a" + "<s>" * N,
    "turns without an answer": "a\n" + "User: b\n" * N + "c",
    "spaces before a channel": "<|message|>" + " " * N + "x",
    "details without an end": '<details type="reasoning">' * N,
    "details of another type": "<details>" * N + "</details>",
    "blocks": "<think>a</think>" * N,
    "starts": "<think>" * N,
    "ends": "a</think>" * N,
    "a wrapper": "<think>a</think><answer>b" + " " * N + "c",
    "hashes": "\n" + "### " * N + "User",
    "sections": "<reasoning>a</reasoning>\n" * N,
    "fences": "```thinking\na\n```\n" * N,
    "comments": "<!-- thinking " * N,
    "late wrappers": "<think>a</think>x\n" + "<answer>\n" * N,
    "headings": "Thinking: a\n" + "**Answer " * N,
    "half channels": "analysis|>" * N,
    "dialogue": "User: a?\nAI: b\n" * N,
    "cut tokens": "<|" * N,
    "messages": "<|message|>" * N,
    "messages without an end": "<|message|>a" * N + "<|start|>user",
    "backslashes": "\\" * N + "<think",
    "brackets": "[" * N + "think]",
    "bracketed tags": "[think]" * N + "[/think]",
    "entities": "&amp;" * N,
    "zeros": "&#" + "0" * N,
    "a label of spaces": "Thinking:\n" + "Answer" + " " * N + "x",
    "a line of stars": "*Thinking: " + "* " * N,
    "quotes": "> Thinking:\n" + "> a\n" * N,
    "an open block": "<musings>" * N,
    "folded blocks": "<details><summary>" * N,
    "wrappers of spaces": "<draft>a</draft><answer>" + "</answer> " * N + "b",
    "lines of answers": "think\n" + "answer x\n" * N,
    "an object": '{"reasoning": ' * N + "}",
    "openers": "okay " * N,
    "bare roles": "a\n" + "user\n" * N,
    "bare turns": "a\n" + "user\nb\nmodel\n" * N,
    "glued roles": "a b c" + ".user\n\n" * N,
    "labels": "a.\n\nUser: b\n" + "User: c\n" * N,
    "label of spaces": "a.\n\nUser: b\n" + " " * N + "c",
    "headings of users": "a.\n" + "### User:\n" * N,
    "a role and spaces": "assistant\n" + " " * N,
    "stripped tails": "a" + "assistantanalysis" * N,
}


@pytest.mark.parametrize("name", sampled(zip(TEXTS), every=5))
def test_long_reply_is_read_to_its_end(name: str) -> None:
    message = {"role": "assistant", "content": TEXTS[name]}
    reply = read_reply({"choices": [{"message": message, "finish_reason": "stop"}]}, "m")
    assert getattr(reply, "outcome", None) in {"ok", "empty", "malformed", "truncated"}
