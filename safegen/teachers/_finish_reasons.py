"""Finish reasons of all vendors, by what they mean for the item."""

from __future__ import annotations

import re
from typing import Literal

FinishKind = Literal["end", "length", "filter", "refusal", "failure", "tool", "unknown"]
"""`failure` is the provider's own; another attempt may succeed."""
# OpenAI, TGI (eos_token), Anthropic (end_turn, stop_sequence), Cohere (COMPLETE), Gemini (STOP).
END = frozenset(
    "stop eos eos_token end_turn stop_sequence stop_token end done complete completed finished"
    " eod stopped success succeeded successful finish ended ok normal natural /s im_end".split()
)
# TGI and llama.cpp (stopped_eos, eosTokenReached), vendors that pass the token on (`<|end_of_text|>`).
END_WORDS = re.compile(
    r"(?!.*(?:max|length|limit|budget|error|without|missing|before|(?:\A|_)(?:no|not)_))"
    r".*(?:(?:\A|_)(?:eos|eot|eom|eod)(?:\Z|_)|end_?of_?(?:text|turn|sequence|sentence|message|stream"
    r"|utterance|generation|response|output|answer)|(?:stop|end)_?(?:token|sequence|string|str|words?)"
    r"|im_end|(?:end|stop)_turn)"
)
# Mistral (model_length), Anthropic (model_context_window_exceeded), Responses API (max_output_tokens).
LENGTH = frozenset(
    "length max_tokens model_length max_output_tokens max_length max_new_tokens token_limit"
    " model_context_window_exceeded context_length_exceeded length_limit incomplete limit"
    " max".split()
)
# A limit on the rate of tokens is a failure of the provider.
LENGTH_WORDS = re.compile(
    r"(?!.*(?:error|(?:\A|_)rate_|per_(?:minute|second|day)))"
    r"(?:.*(?:max|limit|budget|exceed|reach).*(?:token|length|context)"
    r"|.*(?:token|length|context).*(?:max|limit|budget|exceed|reach|window)|.*truncat"
    r"|.*length|.*too_(?:long|large|many_tokens)|.*cut_?off|.*(?:stop|end|cut|finish)\w*_limit)"
)
REFUSAL = frozenset("refusal refused model_refusal refuse".split())
REFUSAL_WORDS = re.compile(r"(?!.*(?:connect|server|network|upstream)).*(?:refus|declin)")
TOOL = frozenset("tool_calls tool_call function_call tool_use pause_turn".split())
# Gemini (RECITATION, SPII, LANGUAGE), Zhipu (sensitive), Bedrock (guardrail_intervened).
FILTER = frozenset(
    "content_filter content_filtered safety recitation blocklist prohibited_content spii sensitive"
    " guardrails guardrail_intervened language image_safety flagged moderation unsafe risk".split()
)
FILTER_WORDS = re.compile(
    r"filter|safety|sensitive|guard_?rail|policy|moderat|prohibit|toxic|block|censor|inspection"
)
# DeepSeek (insufficient_system_resource), Zhipu (network_error), vLLM (abort), Ollama (load), Gemini.
FAILURE = frozenset(
    "error abort aborted cancelled canceled timeout other load unload failed unavailable"
    " unspecified insufficient_system_resource network_error server_error".split()
)
FAILURE_WORDS = re.compile(
    r"error|abort|cancel|time_?out|unavailable|insufficient|overload|fail|interrupt|exhausted|crash"
    r"|preempt|kill|(?:\A|_)oom(?:\Z|_)|memory|rate_?limit|throttl|(?:dis)?connect|evict|shut_?down"
    r"|terminat|expire|busy|capacity|network|quota|exception|panic|unreachable|lost|died|unsuccess"
)
# `FINISH_REASON_STOP`, `FinishReason.STOP`, `finishReason=STOP`
PREFIX = re.compile(r"\A[\w.]*reason[.:=/_]+")
MAX_CHARS = 200
TOKEN_CHARS = " \t\r\n<>|[]｜"
CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def classify_finish(reason: str | None) -> FinishKind:
    """Return the meaning of a finish reason; a missing one counts as `end`."""
    # A vendor may send the last token itself, such as `<eos>`.
    words = CAMEL_CASE.sub("_", (reason or "stop").strip(TOKEN_CHARS)[:MAX_CHARS]).lower()
    name = PREFIX.sub("", words.replace("-", "_").replace(" ", "_"), count=1)
    exact: tuple[tuple[FinishKind, frozenset[str]], ...] = (
        ("end", END),
        ("length", LENGTH),
        ("refusal", REFUSAL),
        ("tool", TOOL),
        ("filter", FILTER),
        ("failure", FAILURE),
    )
    for kind, names in exact:
        if name in names:
            return kind
    return _classify_words(name)


def _classify_words(name: str) -> FinishKind:
    if FILTER_WORDS.search(name):
        return "filter"
    if REFUSAL_WORDS.match(name):
        return "refusal"
    if END_WORDS.match(name) and not FAILURE_WORDS.search(name):
        return "end"
    if LENGTH_WORDS.match(name):
        return "length"
    # A malformed call is the model's fault; another attempt gives the same.
    if FAILURE_WORDS.search(name) and "function" not in name:
        return "failure"
    return "unknown"
