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
        "Assistant: Add oil.",
        "assistant\nAdd oil.",
        "assistant: Add oil.",
        "Add oil.\nassistant\nAdd salt.",
        "Add oil.\n\nuser: And salt?",
        "model\n\nAdd oil.",
        "**Assistant:** Add oil.",
        "### Response:\nAdd oil.",
        "助手：Add oil.",
        "Add oil.\n\nHuman: And salt?",
        "Add oil.\n\n**User:** And salt?",
        "Add oil.\nUser: And salt?\n\nUser: And pepper?",
        "Add oil.\n\n### User:\nAnd salt",
        "Add oil.\n\n### Instruction:\nAdd salt.",
        "Add oil.\n用户：放盐吗？",
        "Add oil.\n\nNutzer: Und Salz?",
        "Add oil.\nuser\nAnd salt?\nmodel\nYes.",
        "Add oil.user\nAnd salt?\nmodel\nYes.",
        "Add oil.<role>HUMAN</role>And salt?<role>ASSISTANT</role>Yes.",
        "<role>ASSISTANT</role>Add oil.<|role_end|>",
        "Add oil.<im_end>\n<im_start>user\nAnd salt?",
        "Add oil.\n\n<human>: And salt?\n<bot>: Yes.",
        "Add oil.\n\n[User]\nAnd salt?\n[Assistant]\nYes.",
        "Add oil.\n\n---\n\nUser: And salt?\nAssistant: Yes.",
        "Add oil.\nGPT4 Correct User: And salt?\nGPT4 Correct Assistant: Yes.\n\nA pinch.",
        "Add oil. GPT4 User: And salt?",
        "GPT4 Correct Assistant: Add oil.",
        "Add oil.\n\nCode User: And salt?\nCode Assistant: Yes.",
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
        ('if cook:\n    role = "<|user|>"\nelse:\n    role = "<|assistant|>"', "<|user|>"),
        ("```text\n<|im_start|>user\nAnd salt?<|im_end|>\n```", "<|im_start|>"),
        ("<s> is the first token.", "<s>"),
        ("Each turn ends with </s>", "</s>"),
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


def test_role_glued_to_a_sentence_is_cut() -> None:
    content = "Add oil to the pan.assistant\n\nAnd salt"
    assert cut_control_tokens(content) == ("Add oil to the pan.", "")


@pytest.mark.parametrize(
    ("content", "start"),
    [
        ("Add oil.\n\nHuman: now the salt", "Human:"),
        ("Add oil.\n\n**User:** now the salt", "**User:**"),
        ("Add oil.\n用户：放盐", "用户："),
        ("Add oil to the pan.user\n\nAnd salt", "user"),
        ("Add oil.\n\nAssistant: Add salt", "Assistant:"),
        ("Add oil.\n\nQ: And salt?", "Q:"),
        ("Add oil.\n\nUser: cook\n\nIs it hot?", "User:"),
        ("Add oil.\n\nUser: And salt?\nAssistant: Yes.\n\nSee how short it is.", "User:"),
        ("Add oil.\n\nUser: is it hot?\n\nTaste it first.", "User:"),
        ("## Soup\n\nAdd oil.\n\n### Instruction:\nStir it.", "### Instruction:"),
        ("Two kinds exist.\nuser\nOne who eats.\nmodel\nOne who poses.\n\nBoth eat.", "user"),
        ("They differ.\n\nHuman: is an hour long?\nAI: a second.\n\nUse both.", "Human:"),
        ("A good helper declines.\n\nUser: Is it poisoned?\nAssistant: Ask a cook.", "User:"),
        ("The message looks kind.\n\nUser: is the soup free?", "User:"),
        ("Add oil.USER: And salt?", "USER:"),
        ("Add oil.\n\nInstruct: And salt?\nOutput: Yes.", "Instruct: And salt?\nOutput:"),
        ("Add oil.\n\n### Input:\nSalt.\n\n### Response:\nSoup.", "### Input:"),
        ("Add oil. USER: And salt? ASSISTANT: Yes.", "USER:"),
        ("Two roles exist.\nassistant\nhelps\nuser\nasks", "assistant"),
        ("Assistant: helps the cook.\nManager: leads the shop.", "Assistant:"),
        ("Ask the cook, the waiter etc. assistant\n\nThen eat.", "assistant"),
        ("Add oil.\n\nQ: And salt?\nA: Yes.", "Q:"),
        ("Add oil.\n\n<user>now the salt</user> please", "<user>"),
    ],
)
def test_turn_that_may_be_content_is_reported(content: str, start: str) -> None:
    assert cut_control_tokens(content) == (content, start)


@pytest.mark.parametrize(
    "content",
    [
        "Say this:\n\nUser: And salt?",
        "# A talk\n\nUser: And salt?",
        "Here is a short dialogue.\n\nUser: And salt?\n\nAssistant: Yes.",
        "```text\nUser: And salt?\n```",
        "User: And salt?\nCook: Yes.",
        "Kitchen basics\n\nQ: And salt?\nA: Yes.",
        "Here are common questions.\n\nQ: And salt?\nA: Yes.",
        "Q: And salt?\nA: Yes.",
        "### Goods:\nOil.\n\n### Instruction:\nStir.",
        "### Cook:\nStirs.\n\n### User:\nEats.",
        "Who cooks.\n\n**Guest:** one who comes.\n\n**User:** one who eats.",
        "Django keeps it in `request.user`\n\nRead it there.",
        "Three roles exist\nuser\nassistant\nsystem",
        "<list>\n<user>Ana</user>\n</list>",
        "Users: all of them.",
        "The model\nis small.",
        "Assistant professors teach.",
        "<cooks>\n<role>USER</role>\n</cooks>",
        "Who helps:\n\n- The cook\n- A **kitchen** assistant\n\nThank them.",
        'Who helps:\n\n- The cook\n- A "virtual" assistant\n\nThank them.',
        "What it needs:\n\n- An exhaust (EX) system\n\nClean it.",
        "Each part serves the (end) user",
    ],
)
def test_dialogue_that_belongs_to_the_answer_stays(content: str) -> None:
    assert cut_control_tokens(content) == (content, "")


def test_reasoning_loses_all_control_tokens() -> None:
    assert drop_control_tokens("a<|end|>b</s>") == "ab"
