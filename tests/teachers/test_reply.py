from __future__ import annotations

from typing import Any

import pytest

from safegen.core.types import Outcome, Reply
from safegen.teachers._reply import FailedReply, has_thinking_in_text, read_reply


def completion(content: object, finish: object = "stop", **fields: Any) -> dict[str, Any]:
    message = {"content": content, **fields.pop("message", {})}
    return {"choices": [{"message": message, "finish_reason": finish, **fields}], "model": "m"}


def read(content: object, finish: object = "stop", **fields: Any) -> Reply:
    reply = read_reply(completion(content, finish, **fields), "m")
    assert isinstance(reply, Reply)
    return reply


FINISHES: list[tuple[object, Outcome]] = [
    *((name, "ok") for name in (None, "stop", "STOP", "eos_token", "end_turn", "COMPLETE")),
    *((name, "truncated") for name in ("length", "MAX_TOKENS", "model_length")),
    ("model_context_window_exceeded", "truncated"),
    *((name, "filtered") for name in ("content_filter", "SAFETY", "RECITATION", "SPII")),
    *((name, "filtered") for name in ("sensitive", "guardrail_intervened", "ERROR_TOXIC")),
    *((name, "filtered") for name in ("PROHIBITED_CONTENT", "image_safety", "policy_block")),
    *((name, "ok") for name in ("FINISH_REASON_STOP", "FinishReason.STOP", "endTurn")),
    *((name, "truncated") for name in ("FINISH_REASON_MAX_TOKENS", "FinishReason.MAX_TOKENS")),
    *((name, "truncated") for name in ("max_tokens_reached", "output-token-limit", "maxTokens")),
    *((name, "truncated") for name in ("max completion tokens", "truncated_output")),
    *((name, "filtered") for name in ("FinishReason.SAFETY", "contentFilter")),
    *((name, "refused") for name in ("refusal", "refused")),
    *((name, "ok") for name in ("end_of_text", "endOfText", "<eos>", "<|im_end|>", "im_end")),
    *((name, "ok") for name in ("stopped", "success", "eosTokenReached", "stop_token_reached")),
    *((name, "ok") for name in ("stopped_eos", "EndOfTurn", "</s>", "stop_string")),
    *((name, "truncated") for name in ("stop_by_length", "too_long", "no_eos_max_tokens")),
    *((name, "truncated") for name in ("stopped_limit", "cutoff", "length_stop")),
    *((name, "refused") for name in ("model_declined", "REFUSED_BY_MODEL", "declined")),
    *((name, "malformed") for name in ("tool_calls", "function_call", "tool_use")),
    *((name, "malformed") for name in ("Brand-New", "MALFORMED_FUNCTION_CALL")),
]


@pytest.mark.parametrize(("finish", "outcome"), FINISHES)
def test_finish_reason_decides_the_outcome(finish: object, outcome: Outcome) -> None:
    reply = read("Add oil and", finish)
    assert (reply.outcome, reply.finish_reason) == (outcome, finish)
    assert outcome in ("ok", "truncated") or str(finish) in reply.message


@pytest.mark.parametrize(
    ("finish", "outcome"),
    [
        (1, "malformed"),
        (0, "malformed"),
        ({}, "malformed"),
        (["stop"], "malformed"),
        ({"type": "novel"}, "malformed"),
        ({"type": "length"}, "truncated"),
        ({"reason": "stop"}, "ok"),
    ],
)
def test_finish_that_is_no_text_needs_a_meaning(finish: object, outcome: Outcome) -> None:
    assert read("Add oil and", finish).outcome == outcome


@pytest.mark.parametrize(
    "finish",
    "FINISH_REASON_UNSPECIFIED rate_limit_error error:503 error abort aborted cancelled insufficient_system_resource network_error load OTHER timeout"
    " server_overloaded preempted killed oom rate_limited disconnected connection_refused"
    " OutOfMemory workerKilled token_rate_limited".split(),
)
def test_failure_of_the_provider_is_no_reply(finish: str) -> None:
    failed = read_reply(completion("Add", finish), "m")
    assert isinstance(failed, FailedReply)
    assert failed.is_completion
    assert finish in failed.error.message


@pytest.mark.parametrize(
    "error",
    [
        {"message": "", "type": "", "param": "", "code": None},
        {"code": 0, "message": "", "request_id": "r-1"},
        {"code": 200, "message": "Success"},
        "null",
    ],
)
def test_error_field_without_an_error_is_ignored(error: object) -> None:
    reply = read_reply({**completion("Add oil."), "error": error}, "m")
    assert isinstance(reply, Reply)
    assert (reply.text, reply.outcome) == ("Add oil.", "ok")


@pytest.mark.parametrize("error", [{"code": 503}, {"message": "too hot"}, "too hot", True])
def test_error_field_with_an_error_fails(error: object) -> None:
    assert isinstance(read_reply({**completion("Add oil."), "error": error}, "m"), FailedReply)


@pytest.mark.parametrize(
    ("count", "tokens"), [(5, 5), (5.0, 5), ("5", 5), ("many", None), (-1, None)]
)
def test_tokens_are_counted_in_any_form(count: object, tokens: int | None) -> None:
    reply = read_reply({**completion("Add oil."), "usage": {"prompt_tokens": count}}, "m")
    assert isinstance(reply, Reply)
    assert reply.prompt_tokens == tokens


@pytest.mark.parametrize(
    "parts",
    [
        [{"type": "output", "text": "Add"}, {"type": "markdown", "text": " oil."}],
        [{"type": "message", "content": [{"type": "output_text", "text": "Add oil."}]}],
        [{"type": "message", "content": [{"type": "thinking", "text": "hm"}, "Add oil."]}],
        ["Add", {"type": "citation", "id": 3}, {"text": " oil."}],
    ],
)
def test_parts_of_many_types_are_joined(parts: object) -> None:
    reply = read(parts)
    assert (reply.text, reply.outcome) == ("Add oil.", "ok")


@pytest.mark.parametrize("kind", ["code", "image_url", "tool_use", "novel"])
def test_part_of_an_unknown_type_is_named(kind: str) -> None:
    reply = read([{"type": "text", "text": "Add oil."}, {"type": kind, "text": "heat()"}])
    assert (reply.text, reply.outcome) == ("Add oil.", "malformed")
    assert f"`{kind}`" in reply.message
    assert read([{"type": kind, "text": "heat()"}]).outcome == "malformed"
    assert "`inlineData`" in read(["Add oil.", {"inlineData": {"data": "aGVhdA=="}}]).message


@pytest.mark.parametrize("word", ["null", "None"])
def test_words_for_nothing_count_as_absent(word: str) -> None:
    assert read("Add oil.", word, message={"refusal": word}).outcome == "ok"


@pytest.mark.parametrize("role", ["user", "System", "tool"])
def test_message_of_another_role_is_no_reply(role: str) -> None:
    failed = read_reply(completion("Add oil.", message={"role": role}), "m")
    assert isinstance(failed, FailedReply)
    assert role.lower() in failed.error.message


@pytest.mark.parametrize("role", ["assistant", "model", "", None])
def test_message_of_a_model_is_a_reply(role: str | None) -> None:
    assert read("Add oil.", message={"role": role}).outcome == "ok"


@pytest.mark.parametrize(
    ("fields", "category"),
    [
        ({"content_filter_results": {"hate": {"filtered": True}, "sexual": {"filtered": False}}}, "hate"),
        ({"safety_ratings": [{"category": "HARM_A", "blocked": True}]}, "HARM_A"),
        ({"native_finish_reason": "PROHIBITED_CONTENT"}, "PROHIBITED_CONTENT"),
    ],
)  # fmt: skip
def test_category_of_a_filter_is_kept(fields: dict[str, Any], category: str) -> None:
    reply = read("", "stop", **fields)
    assert reply.outcome == "filtered"
    assert category in reply.message


@pytest.mark.parametrize(
    ("content", "message", "says"),
    [
        ("", {}, "empty answer"),
        (None, {"reasoning_content": "The pan is hot."}, "only reasoning"),
        ("<think>hm</think>", {}, "only reasoning"),
        ("<|eot_id|>", {}, "empty answer"),
        (" \n\u200b\u3164", {}, "empty answer"),
    ],
)
def test_reply_without_text_is_empty(content: object, message: Any, says: str) -> None:
    reply = read(content, message=message)
    assert reply.outcome == "empty"
    assert says in reply.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Add oil.", {"reasoning_content": "hm"}),
        ("Add oil.", {"reasoning": "hm"}),
        ("<answer>Add oil.</answer>", {"reasoning": "hm"}),
        ("<answer>\nAdd oil.\n</answer>\n", {"reasoning": "hm"}),
        ("<response>\nAdd oil.\n</response>\n<|im_end|>\n", {"reasoning_content": "hm"}),
        ("Add oil.", {"thinking": "hm"}),
        ("Add oil.", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        ("Add oil.", {"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}),
        ("Add oil.", {"provider_specific_fields": {"reasoning_content": "hm"}}),
        ([{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "Add oil."}], {}),
        ([{"type": "reasoning", "summary": [{"text": "hm"}]}, {"type": "output_text", "text": "Add oil."}], {}),
        ([{"type": "text", "text": "hm", "channel": "analysis"}, {"type": "text", "text": "Add oil."}], {}),
        ([{"text": "hm", "thought": "true"}, {"text": "Add oil.", "thought": "false"}], {}),
        ({"parts": [{"text": "hm", "thought": True}, {"text": "Add oil."}]}, {}),
        ([{"type": "text", "text": "<think>hm</think>Add "}, "oil."], {}),
        ("<think>hm<|end|></think>Add oil.<|im_end|>", {}),
    ],
)  # fmt: skip
def test_thinking_of_every_vendor_becomes_reasoning(content: object, message: Any) -> None:
    reply = read(content, message=message)
    assert (reply.text, reply.reasoning_content, reply.outcome) == ("Add oil.", "hm", "ok")


def test_reasoning_repeated_in_the_text_is_cut() -> None:
    thought = "The pan is hot, so the oil goes in first, and then the salt."
    for echo in (thought, thought.replace(", ", ",\n\n  ")):
        reply = read(f"{echo}\n\nAdd oil.", message={"reasoning_content": thought})
        assert reply.text == "Add oil."


@pytest.mark.parametrize(
    ("content", "outcome", "says"),
    [
        ("Add <|im_end|> oil.", "malformed", "<|im_end|>"),
        ("Write <think>x</think> around it.", "malformed", "thinking"),
        ("<think>and on", "truncated", "max_tokens"),
    ],
)
def test_unusable_text_names_its_cause(content: str, outcome: Outcome, says: str) -> None:
    reply = read(content)
    assert reply.outcome == outcome
    assert says in reply.message


def test_refusal_field_and_part_are_refusals() -> None:
    assert read(None, message={"refusal": "I will not."}).outcome == "refused"
    assert read([{"type": "refusal", "refusal": "I will not."}]).outcome == "refused"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": {"message": "the kettle is cold", "code": 502}}, "kettle"),
        ({"error": "the kettle is cold"}, "kettle"),
        ({"choices": None, "detail": "the kettle is cold"}, "kettle"),
        ({"base_resp": {"status_code": 1004, "status_msg": "the kettle is cold"}}, "kettle"),
        ({"choices": [{"error": {"code": 502, "message": "the kettle is cold"}}]}, "kettle"),
        ([{"error": {"message": "the kettle is cold"}}], "kettle"),
        ("<html><title>Kitchen</title><body>Please log in</body></html>", "Kitchen"),
        ({"choices": []}, "`choices` is empty"),
        ({"choices": [{"message": {"content": 7}}]}, "no message"),
        ({"choices": [{"text": "Add oil."}], "id": "x", "model": "m"}, "no message"),
        ('{"choices": [{"message": {"cont', "cut off"),
        ({"code": 0, "data": {"choices": []}}, "the keys `code`, `data`"),
        ("", ""),
        (None, "`null`"),
        ([], "a list"),
        (7, "`7`"),
    ],
)
def test_body_without_an_answer_is_no_reply(body: object, says: str) -> None:
    failed = read_reply(body, "m")
    assert isinstance(failed, FailedReply)
    assert says in failed.error.message
    assert not failed.is_completion


def test_blocked_prompt_without_choices_is_filtered() -> None:
    reply = read_reply({"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}, "m")
    assert isinstance(reply, Reply)
    assert reply.outcome == "filtered"


def test_null_error_beside_choices_is_ignored() -> None:
    reply = read_reply(completion("Add oil.") | {"error": None}, "m")
    assert isinstance(reply, Reply)
    assert reply.outcome == "ok"


def test_thinking_in_the_text_is_noticed() -> None:
    assert has_thinking_in_text(completion("<think>hm</think>Add oil."))
    assert not has_thinking_in_text(completion("Add oil.", message={"reasoning": "hm"}))


def test_model_name_is_one_short_line() -> None:
    body = completion("x") | {"model": "\x1b]0;a\x07|\n# H " + "A" * 999}
    reply = read_reply(body, "m")
    assert isinstance(reply, Reply)
    assert reply.model.startswith("]0;a| # H A")
    assert len(reply.model) == 200
