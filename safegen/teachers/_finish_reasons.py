"""Finish reasons of all vendors, by what they mean for the item."""

from __future__ import annotations

import re
from typing import Literal

FinishKind = Literal["end", "length", "filter", "refusal", "failure", "tool", "unknown"]
"""`failure` is the provider's own; another attempt may succeed."""
# OpenAI, TGI (eos_token), Anthropic (end_turn, stop_sequence), Cohere (COMPLETE), Gemini (STOP).
END = frozenset(
    "stop eos eos_token end_turn stop_sequence stop_token end done complete completed finished"
    " eod".split()
)
# Mistral (model_length), Anthropic (model_context_window_exceeded), Responses API (max_output_tokens).
LENGTH = frozenset(
    "length max_tokens model_length max_output_tokens max_length max_new_tokens token_limit"
    " model_context_window_exceeded context_length_exceeded length_limit incomplete".split()
)
# A limit on the rate of tokens is a failure of the provider.
LENGTH_WORDS = re.compile(
    r"(?!.*(?:error|(?:\A|_)rate_|per_(?:minute|second|day)))"
    r"(?:.*(?:max|limit|budget|exceed|reach).*(?:token|length|context)"
    r"|.*(?:token|length|context).*(?:max|limit|budget|exceed|reach|window)|.*truncat)"
)
REFUSAL = frozenset("refusal refused model_refusal refuse".split())
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
)
# `FINISH_REASON_STOP`, `FinishReason.STOP`, `finishReason=STOP`
PREFIX = re.compile(r"\A[\w.]*reason[.:=/_]+")
MAX_CHARS = 200
CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def classify_finish(reason: str | None) -> FinishKind:
    """Return the meaning of a finish reason; a missing one counts as `end`."""
    words = CAMEL_CASE.sub("_", (reason or "stop").strip()[:MAX_CHARS]).lower()
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
    if FILTER_WORDS.search(name):
        return "filter"
    if LENGTH_WORDS.match(name):
        return "length"
    # A malformed call is the model's fault; another attempt gives the same.
    if FAILURE_WORDS.search(name) and "function" not in name:
        return "failure"
    return "unknown"
