from __future__ import annotations

import pytest

from safegen.core.control_tokens import cut_control_tokens, drop_control_tokens


@pytest.mark.parametrize(
    "content",
    [
        "Add oil.<|eot_id|>",
        "Add oil. </s><s>",
        "Add oil.<|im_end",
        "Add oil.\n<|im_start|",
        "Add oil.<|im_end|>\n<|im_st",
        "Add oil.<|eot",
        "Add oil.<|",
        "Add oil.<｜end▁of",
        "Add oil.</s",
        "Add oil.<end_of_tu",
        "Add oil.<seed:eos>",
        "[gMASK]<sop>Add oil.",
        "Add oil.<eoa>",
        "Add oil. [EOT]",
        "Add oil.[e~[",
        "Add oil.[e~[\n]~b]user\nAnd salt?",
        "]~b]ai\nAdd oil.[e~[",
        "Add oil.<mask:0>",
        "<s>Add oil.</s>",
        "Add oil.<｜end▁of▁sentence｜>",
        "Add oil.<|END_OF_TURN_TOKEN|>\n",
        "Add oil.[|endofturn|]",
        "Add oil.<end_of_turn>\n<start_of_turn>user\nAnd salt?",
        "Add oil.<|im_end|>\n<|im_start|>user\nAnd salt?<|im_end|>\n<|im_start|>assistant\nYes.",
        "Add oil.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd salt?",
        "Add oil.<|eot_id|>assistant\n\nAdd salt.",
        "Add oil.<|user|>\nAnd salt?",
        "Add oil. [INST] And salt? [/INST] Yes.",
        "Add oil.<|endoftext|>Human: And salt?",
        "<|im_start|>assistant\nAdd oil.",
        "<|start_header_id|>assistant<|end_header_id|>\n\nAdd oil.<|eot_id|>",
        "Add oil.\n\nHuman: And salt?\n\nAssistant: Yes.",
        "Add oil.\n### Instruction:\nAdd salt.\n\n### Response:\nDone.",
        "Add oil.\nHuman: And salt?\nAI: Yes.",
        "Add oil.\n\n## User\nAnd salt?\n\n## Assistant\nYes.",
        "Add oil.\n\n**Human:** And salt?\n\n**Assistant:** Yes.",
        "Add oil.\nUser: And salt?\nAssistant: Yes.",
    ],
)
def test_tokens_and_turns_at_the_ends_are_cut(content: str) -> None:
    assert cut_control_tokens(content) == ("Add oil.", "")


@pytest.mark.parametrize(
    ("content", "token"),
    [
        ("Add <|im_end|> oil.", "<|im_end|>"),
        ("Add oil.<|end|> Then stir.<|end|>", "<|end|>"),
        ("Add <pad> oil.", "<pad>"),
        ("Add [EOT] oil.", "[EOT]"),
        ('<tool_call>{"name": "heat"}</tool_call>', "<tool_call>"),
        ("Add oil.\n<function_calls>heat</function_calls>", "<function_calls>"),
        ("<function=heat>{}</function>", "<function=heat>"),
        ('[TOOL_CALLS][{"name": "heat"}]', "[TOOL_CALLS]"),
        ("<|python_tag|>heat()<|eom_id|>", "<|python_tag|>"),
        ("<｜tool▁calls▁begin｜>heat", "<｜tool▁calls▁begin｜>"),
        ("Add <｜fim▁hole｜> oil.", "<｜fim▁hole｜>"),
        ("Add <unused94> oil.", "<unused94>"),
    ],
)
def test_tokens_inside_of_the_text_are_reported(content: str, token: str) -> None:
    assert cut_control_tokens(content).token == token


@pytest.mark.parametrize(
    "content",
    [
        "Compare a < b | c > d and [x] in <b>bold</b>.",
        "A sample talk:\nUser: And salt?\nAssistant: Yes.",
        "Add oil.\n\n## User\n\nThe person who cooks.",
        "Add oil.\n### Instruction\nStir for a minute.",
        "Three causes of burnt food:\n\nPan: too thin.\n\nHuman: people forget the time.",
        "Add oil.\n\nUser: one who eats.\nGuest: one who comes.",
        "Write `f <| x` in F#, and close it with </b",
        "BERT fills the word [MASK] in; [e] is a note.",
        "Sum it up.\n\nInput: 5\n\nAnswer: 25",
        "### Body\n\n### Input\n\nA pan.\n\n### Response\n\nA meal.",
        "Roles\nUser\nAssistant\nCook",
        "## A sample talk\n\nUser: And salt?\nAssistant: Yes.",
        "A prompt\n\n```text\nUser: And salt?\nAssistant: Yes.\n```",
        "Cooks compared.\n\nHuman: slow.\nAI: fast.",
        "The user: a person who cooks.",
        "Type `ls | wc` and press <Enter>.",
    ],
)
def test_ordinary_text_is_unchanged(content: str) -> None:
    assert cut_control_tokens(content) == (content, "")


def test_reasoning_loses_all_control_tokens() -> None:
    assert drop_control_tokens("a<|end|>b</s>") == "ab"
