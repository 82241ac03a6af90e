from __future__ import annotations

import pytest

from safegen.teachers._thinking import ThinkingSplit, split_thinking

HARMONY = (
    "<|channel|>analysis<|message|>The pan is hot.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Add oil.<|return|>"
)
MUSED = "The user asks about pans."


@pytest.mark.parametrize(
    ("content", "thinking", "text"),
    [
        ("<think>hm</think>\n\nAdd oil.", "hm", "Add oil."),
        ("<THINKING time='3'>\nhm\n</THINKING>\nAdd oil.", "hm", "Add oil."),
        ("\n\nRight.\n<think>\nhm\n</think>\n\nAdd oil.", "hm", "Right.\n\nAdd oil."),
        ("Add oil.\n<think>hm</think>", "hm", "Add oil."),
        ("Add oil.\n\n<think>a</think>\n\nStir.\n<think>b</think>", "a\n\nb", "Add oil.\n\nStir."),
        ("hm</think>Add oil.", "hm", "Add oil."),
        ("</think>Add oil.", None, "Add oil."),
        ("<think>a<think>b</think>c</think>Add oil.", "abc", "Add oil."),
        ("<think>a</think>b</think>Add oil.", "a\n\nb", "Add oil."),
        ("&lt;think&gt;hm&lt;/think&gt;Add oil.", "hm", "Add oil."),
        ("[THINK]hm[/THINK]Add oil.", "hm", "Add oil."),
        ("◁think▷hm◁/think▷Add oil.", "hm", "Add oil."),
        ("<seed:think>hm</seed:think>Add oil.", "hm", "Add oil."),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Add oil.", "hm", "Add oil."),
        ("<|channel>thought\nhm<channel|>Add oil.", "hm", "Add oil."),
        ("<think>hm</think><answer>Add oil.</answer>", "hm", "Add oil."),
        ("<reasoning>hm</reasoning>\nAdd oil.", "hm", "Add oil."),
        (HARMONY, "The pan is hot.", "Add oil."),
        (
            "commentary to=functions.x<|message|>hm<|channel|>final<|message|>Add oil.",
            "hm",
            "Add oil.",
        ),
        ("analysisThe pan is hot.assistantfinaladd oil", "The pan is hot.", "add oil"),
        (
            "analysis\nThe pan is hot.\n\nassistantfinal\n\nAdd oil.",
            "The pan is hot.",
            "Add oil.",
        ),
        ("analysis The pan is hot. assistant final Add oil.", "The pan is hot.", "Add oil."),
        ("Ask the kitchen assistant final questions. Then stir.", None, None),
        ("Analysis done. Give the assistant\nfinal portions.", None, None),
        ("assistantfinalAdd oil.", None, "Add oil."),
        ("Here is my thought process: hm\n\nHere is my response: Add oil.", "hm", "Add oil."),
        ("Thinking...\nhm\n...done thinking.\n\nAdd oil.", "hm", "Add oil."),
        ('<details type="reasoning" done="true">hm</details>\nAdd oil.', "hm", "Add oil."),
        ("Analysis of a sauce: add oil.", None, "Analysis of a sauce: add oil."),
        ("I think <b>oil</b> is fine; the finalists agree.", None, None),
        ("Use <reasoning> as the tag's name.", None, None),
        ("<|think|>hm<|end|><|begin|>assistant<|content|>Add oil.", "hm", "Add oil."),
        ("<|begin|>assistant<|content|>Add oil.<|end|>", None, "Add oil."),
        ("analysis|>hm<|end|>assistant|>final|>Add oil.", "hm", "Add oil."),
        (
            "<|channel|>analysis|>hm<|end|><|start|>assistant<|channel|>final|>Add oil.",
            "hm",
            "Add oil.",
        ),
        ("Right.\n<reasoning>hm</reasoning>\nAdd oil.", "hm", "Right.\n\nAdd oil."),
        ('<reasoning kind="short">hm</reasoning>Add oil.', "hm", "Add oil."),
        ("hm</reasoning>Add oil.", "hm", "Add oil."),
        ("Add oil.\n<scratchpad>hm</scratchpad>", "hm", "Add oil."),
        *(
            (f"<{name}>hm</{name}>\nAdd oil.", "hm", "Add oil.")
            for name in (
                "thought_process inner_thoughts cot antThinking thinking-process"
                " internal_monologue chain_of_thought"
            ).split()
        ),
        ("< think >hm</ think >Add oil.", "hm", "Add oil."),
        ("<think>hm\n<plan>\noil</think>Add oil.", "hm\n<plan>\noil", "Add oil."),
        (
            "Thinking Process:\n\n1. hm\n</think>\n\nAdd oil.",
            "Thinking Process:\n\n1. hm",
            "Add oil.",
        ),
        ("<think>hm</think>Reasoning: hot.\nAnswer: oil.", "hm", "Reasoning: hot.\nAnswer: oil."),
        ("<|begin_of_thinking|>hm<|end_of_thinking|>Add oil.", "hm", "Add oil."),
        ("<|reasoning_start|>hm<|reasoning_end|>Add oil.", "hm", "Add oil."),
        ("<reasoning_content>hm</reasoning_content>Add oil.", "hm", "Add oil."),
        ("<longcat_think>hm</longcat_think>Add oil.", "hm", "Add oil."),
        ("hm\n[BEGIN FINAL RESPONSE]\nAdd oil.\n[END FINAL RESPONSE]", "hm", "Add oil."),
        ("*Thinking*\nhm\n\n*Answer*\nAdd oil.", "hm", "Add oil."),
        ("[Thinking]\nhm\n[Answer]\nAdd oil.", "hm", "Add oil."),
        ("**Thinking** hm **Answer** Add oil.", "hm", "Add oil."),
        ("<!-- thinking: hm -->\nAdd oil.", "hm", "Add oil."),
        ("<think>hm</think><answer kind='x'>Add oil.</answer>", "hm", "Add oil."),
        ("commentary by the assistant final draft", None, None),
        ("<think/>Add oil.", None, "Add oil."),
        ("analysis: hm\n\nfinal: Add oil.", "hm", "Add oil."),
        ("**Thinking**\nhm\n\n**Answer**\nAdd oil.", "hm", "Add oil."),
        *(
            (f"<{name}>{MUSED}</{name}>\nAdd oil.", MUSED, "Add oil.")
            for name in "internal planning Reflection analysis plan strategy brainstorm".split()
        ),
        ("<plan>hm</plan>\n<answer>Add oil.</answer>", "hm", "Add oil."),
        ("<think>a</think><plan>b</plan>\nAdd oil.", "a\n\nb", "Add oil."),
        (f"**Thoughts:** {MUSED}\n\n**Final answer:** Add oil.", MUSED, "Add oil."),
        (f"(Reasoning: {MUSED})\n\nAdd oil.", MUSED, "Add oil."),
        (f"*Thinking: {MUSED}*\n\nAdd oil.", MUSED, "Add oil."),
        ("## Thought process\nhm\n## Response\nAdd oil.", "hm", "Add oil."),
        ("```thinking\nhm\n```\nAdd oil.", "hm", "Add oil."),
        ("<details open type='reasoning'>hm</details>Add oil.", "hm", "Add oil."),
        ("<think>hm</think><solution>Add oil.</solution>", "hm", "Add oil."),
        ("<think>hm</think>\n<answer>\nAdd oil.\n</answer>\n", "hm", "Add oil."),
        ("<think>hm</think>\n\n---\n\nAdd oil.", "hm", "Add oil."),
        ("analysis: hm assistantfinal: Add oil.", ": hm", "Add oil."),
        ("<think>hm</think><reply>Add oil.</ reply >\t", "hm", "Add oil."),
        ("<think>hm</think>Add oil.\n</response>\n\n", "hm", "Add oil."),
        ("<think>hm</think>Close it with `</answer>`", "hm", "Close it with `</answer>`"),
        ("<think>hm</think>\n<final_answer>Add oil.", "hm", "Add oil."),
        ("<final_answer>Add oil.</final_answer>", None, "Add oil."),
        ("<|message|>hm<|end|><|start|>assistant<|message|>Add oil.<|return|>", "hm", "Add oil."),
        ("hm<|end|><|start|>assistant<|message|>Add oil.", "hm", "Add oil."),
        (
            "<|start|>assistant<|message|>Add oil.<|end|><|start|>user<|message|>Why?",
            None,
            "Add oil.",
        ),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|message|>Add oil.",
            "hm",
            "Add oil.",
        ),
        ("analysisthe pan is hot.assistantfinalAdd oil.", "the pan is hot.", "Add oil."),
        ("Add oil.assistantanalysisThe pan is hot.", "The pan is hot.", "Add oil."),
        ("analysisA.assistantfinalAdd oil.assistantanalysisB.", "A.\n\nB.", "Add oil."),
    ],
)
def test_thinking_is_split_from_the_text(
    content: str, thinking: str | None, text: str | None
) -> None:
    split = split_thinking(content)
    assert (split.thinking, split.problem, split.is_cut) == (thinking, "", False)
    assert split.text.partition("<|return|>")[0].removesuffix("<|end|>") == (
        content if text is None else text
    )


@pytest.mark.parametrize(
    "content",
    [
        "<think>and on and on",
        "Add oil.\n<think>and on",
        "<|channel|>analysis<|message|>The pan is hot.<|end|>",
        "analysisThe pan is hot and",
        "thought\nThe pan is hot.",
        "<reasoning>The pan is hot.",
        "<|think|>The pan is hot.<|end|>",
        "<details type='reasoning'>The pan is hot.",
        "```thinking\nThe pan is hot.",
        "analysisthe pan is hot. So we say: add oil.",
        "commentarywe start. Add oil.",
    ],
)
def test_thinking_without_an_answer_is_cut(content: str) -> None:
    assert split_thinking(content).is_cut


@pytest.mark.parametrize(
    "content",
    [
        "Write <think>x</think> around it.",
        "```\n<think>x</think>\n```\nis a block.",
        "Pans have no <think> lever.",
        "The mark </think> ends a block.",
        "The mark </reasoning> ends a block.",
        "```\n<think>\n```\nopens a block.",
        "Right.\n<reasoning>The pan is hot.",
        "An example of XML:\n<analysis>hot</analysis>\nEnd.",
        "Here is my thought process:\nThe pan is hot.\n\nAdd oil.",
        "Let me share my reasoning:\nThe pan is hot.\n\nAdd oil.",
        "**Internal reasoning**\nThe pan is hot.\n\nAdd oil.",
        "Thinking...\nThe pan is hot.\n\nAdd oil.",
        "## Analysis\nThe pan is hot.\n## Final answer\nAdd oil.",
        "<think>hm<answer>Add oil.</answer>",
        "<reasoning>hm\n<final_answer>Add oil.</final_answer>",
        "<think>hm</think>Sure.\n<answer>Add oil.</answer>",
        "<think>hm</think><answer>Add oil.</answer>\nDone.",
        "<|channel|>analysis The pan is hot.",
    ],
)
def test_thinking_that_is_not_certain_is_unusable(content: str) -> None:
    split = split_thinking(content)
    assert split.problem
    assert not split.is_cut


@pytest.mark.parametrize(
    "content",
    [
        "Close it with `</think>`, and open it with `<think>`.",
        "The <internal> tag is not HTML, and </internal> closes it.",
        "A file:\n\n```xml\n<analysis>\n<plan>boil</plan>\n</analysis>\n```\nSave it.",
        "<p>The reasoning of a cook.</p>\n<details><summary>More</summary>Salt.</details>",
        "The analysis shows that the final exam is hard.\nFinal: rest.",
        "Analysis: the soup is thin.\nAdd flour.",
        "## Analysis\nThe soup is thin.\n## Advice\nAdd flour.",
        "# Thinking in meals\n\nAnswer: plan the week.",
        "Planning: buy oil.\nCooking: heat it.",
        "<answer>Add oil.</answer>",
        "```text\nThinking takes time.\n```",
    ],
)
def test_text_about_thinking_stays_whole(content: str) -> None:
    assert split_thinking(content) == (None, content, "", False)


@pytest.mark.parametrize(
    "content",
    [
        "[REASONING]hm[/REASONING]\nAdd oil.",
        "[Thinking]hm[/Thinking] Add oil.",
        "{think}hm{/think}Add oil.",
        "<start_of_thought>hm<end_of_thought>Add oil.",
        "<思考>hm</思考>Add oil.",
        "‹思考>hm‹/思考>Add oil.",
        "«思考»hm«/思考»Add oil.",
        "<Überlegung>hm</Überlegung>Add oil.",
        "<denken>hm</denken>\nAdd oil.",
        "【思考】hm【/思考】Add oil.",
        "【思考】hm\n【回答】Add oil.",
        "思考过程：hm\n\n回答：Add oil.",
        "Gedankengang: hm\n\nAntwort: Add oil.",
        "&#60;think&#62;hm&#60;/think&#62;Add oil.",
        "&#x3C;think&#x3E;hm&#x3C;/think&#x3E;Add oil.",
        "&amp;lt;think&amp;gt;hm&amp;lt;/think&amp;gt;Add oil.",
        "\\u003cthink\\u003ehm\\u003c/think\\u003eAdd oil.",
        "\\<think\\>hm\\</think\\>Add oil.",
        "<\u200bthi\u2060nk>hm</\u200bthink>Add oil.",
        "<ponder>hm</ponder>Add oil.",
        "<draft>hm</draft>\n<final>Add oil.</final>",
        "<steps>hm</steps>\n<answer>Add oil.</answer>",
        "<intent_analysis>hm</intent_analysis>\n<answer>Add oil.</answer>",
        "<x:cot_reflect>hm</x:cot_reflect>Add oil.",
        "<details><summary>Thinking</summary>hm</details>\nAdd oil.",
        "<details>\n<summary>💭 Thought for 3 seconds</summary>\nhm\n</details>\nAdd oil.",
        "*Thinking process: hm*\n\nAdd oil.",
        "(Internal note: hm)\n\nAdd oil.",
        "💭 Thinking: hm\n\n💬 Answer: Add oil.",
        "think\nhm\nanswer\nAdd oil.",
        '{"reasoning": "hm", "answer": "Add oil."}',
        '```json\n{"Chain_of_thought": "hm", "final_answer": "Add oil."}\n```',
    ],
)
def test_thinking_in_other_forms_is_split(content: str) -> None:
    split = split_thinking(content)
    assert (split.thinking, split.text, split.problem) == ("hm", "Add oil.", "")


def test_thinking_in_a_quote_is_split() -> None:
    split = split_thinking("> **Reasoning**\n> The user asks about pans.\n\nAdd oil.")
    assert split.text == "Add oil."
    assert "The user asks about pans." in (split.thinking or "")


@pytest.mark.parametrize(
    "content",
    [
        "Sure. <reasoning>The pan is hot.</reasoning> Add oil.",
        "<musings>The pan is hot.</musings>\nAdd oil.",
        "[Inner voice]The pan is hot.[/Inner voice]\nAdd oil.",
        "<mode>auto</mode>Add oil.",
        "Add oil.\n<details><summary>Reasoning</summary>hm</details>",
        "_Thinking..._ The pan is hot.\n\n---\nAdd oil.",
        "思考过程：锅很热。",
        "**Thinking:** The pan is hot.\n\nAdd oil.",
        "(thinking) The pan is hot.\n\nAdd oil.",
        "# Thinking\nThe pan is hot.\n\n---\n\nAdd oil.",
        "Sure. <musing>The pan is hot.</musing> Add oil.",
        "Sure.\n<musing>The pan is hot.</musing>\nAdd oil.",
        "I need to see what the user wants. Hmm. A pan.\n\nAdd oil.",
        "think\nThe pan is hot.\n\nAdd oil.",
        "Okay, so the user is asking about pans. Wait, which pan?\n\nAdd oil.",
        "Hmm, the user wants oil.\n\nAdd oil.",
        "Alright. This person asking is new. The user seems tired.\nI should be brief.\nAdd oil.",
        "The user wants to cook. I should mention oil.\n\nAdd oil.",
        "We need to answer about pans. The policy says: be brief.\n\nAdd oil.",
        "Let me analyze this request.\nThe pan is hot.\n\n**Final answer:**\nAdd oil.",
        "嗯，用户问的是锅。\n\n加油。",
        "Okay, der Nutzer fragt nach Öl.\n\nNimm Öl.",
        '{"thinking": "hm", "answer": {"oil": 1}}',
    ],
)
def test_start_that_may_be_thinking_is_unusable(content: str) -> None:
    assert split_thinking(content).problem


@pytest.mark.parametrize(
    "content",
    [
        "**Thought:** I will burn it.\n\n**Response:** I have cooked it before.",
        "*Thought: I burn everything.*\n\nWrite it down and test it.",
        "*Thinking: I burn everything.*\n\nWrite it down and test it.",
        "**Thinking:** I burn everything.\n\n**Response:** Not the soup.",
        "**Reasoning:** oil conducts heat. **Answer:** Oil.\n\n**Reasoning:** it burns. **Answer:** Stir.",
        "Reasoning: oil conducts heat.\nAnswer: Oil.\n\nReasoning: it burns.\nAnswer: Stir.",
        "> Reasoning: the cook meant no harm.\n\nSo the jury said.",
        "> 💭 I burn everything\n\nThis is only a thought.",
        "<plan>\nBuy oil.\n</plan>\n\nPaste this plan.",
        "<details><summary>Reasoning</summary>Oil conducts heat.</details>\n\nAdd oil.",
        '{"thoughts": "it burns", "message": "Add oil."}',
        "```reasoning\nif hot: stop\n```\nPaste this block.",
        "<!-- thoughts: buy oil -->\n<p>Soup</p>",
        "思考：锅很热。\n\n回答：加油。",
        "Gedanken: Es brennt an.\n\nAntwort: Ich habe es geübt.",
    ],
)
def test_record_that_may_be_content_stays_whole(content: str) -> None:
    split = split_thinking(content)
    assert "part of the answer" in split.problem or "an object" in split.problem


@pytest.mark.parametrize(
    "content",
    [
        "**Reasoning:** oil conducts heat. **Answer:** Add oil.",
        "**Reasoning**\noil conducts heat.\n\n**Final answer**\nAdd oil.",
        "## Reasoning\n\noil conducts heat.\n\n## Answer\n\nAdd oil.",
        "Reasoning: oil conducts heat.\n\nAnswer: Add oil.",
        "My reasoning: oil conducts heat.\nMy final answer: Add oil.",
        "**Reasoning:** oil conducts heat.\n\n**Final response:** Add oil.",
        "Raisonnement : oil conducts heat.\n\nRéponse : Add oil.",
        "推理：oil conducts heat.\n\n答案：Add oil.",
        "推論：oil conducts heat.\n\n回答：Add oil.",
        "**Step-by-step reasoning:** oil conducts heat.\n\n**Answer to the user:** Add oil.",
        "**Reasoning (internal):** oil conducts heat.\n\n**Answer:** Add oil.",
        "1. **Reasoning:** oil conducts heat.\n2. **Answer:** Add oil.",
        "- Reasoning: oil conducts heat.\n- Answer: Add oil.",
        "**🧠 Reasoning:** oil conducts heat.\n\n**✅ Answer:** Add oil.",
    ],
)
def test_reasoning_before_an_answer_heading_is_kept(content: str) -> None:
    assert split_thinking(content) == ThinkingSplit("oil conducts heat.", "Add oil.")


def test_answer_in_draft_belongs_to_the_reasoning() -> None:
    split = split_thinking(
        "**Thinking process:** hot. **Answer:** Butter? No. **Final answer:** Add oil."
    )
    assert (split.text, "Butter" in str(split.thinking)) == ("Add oil.", True)


@pytest.mark.parametrize(
    "content",
    [
        "**Reasoning:** oil. **Answer:** Okay, the user wants oil. I should be brief.\n\nAdd oil.",
        "Reasoning: oil.\nAnswer: Add oil.\n\nThe user asked for more, so I should stop here.",
        "<think>hot</think>\n\nThe user asks about pans. I should be brief.\n\nAdd oil.",
        "推理：热。\n\n回答：嗯，用户问的是锅。\n\nAdd oil.",
    ],
)
def test_answer_part_that_thinks_is_unusable(content: str) -> None:
    assert split_thinking(content).problem


@pytest.mark.parametrize(
    "content",
    [
        "## Case study\n\nThe user asks for a refund. I should call her back.\n\nWhat went wrong?",
        "**A chat at the desk**\n\nThe user asks twice. I should have seen it.\n\nWhat went wrong?",
        "Read this log.\n\n## Log of an agent\n\nThe user asks for a refund. I should call her.",
        "A user writes to a shop.\n\nThe user asks for a refund. I should call her, says the clerk.",
        'Here is the log.\n\n"The user asks for a refund. I should call her."',
        "The clerk notes:\n\nThe user asks for a refund. I should call her.",
        '"The user asks for a refund. I should call her." So wrote the clerk.',
        "In this case study, the user asks for a refund and I should call her.\n\nDiscuss.",
        'The clerk wrote "The user asks for a refund. I should call her" in a note.',
    ],
)
def test_voice_inside_a_case_study_stays(content: str) -> None:
    assert split_thinking(content) == ThinkingSplit(None, content)


@pytest.mark.parametrize(
    "content",
    [
        "Add oil.\n\nThe user asks for oil. I should warn of the heat.",
        "## Steps\n\nAdd oil.\n\nThe user asks for oil. I should warn of the heat.",
        "A user may add oil.\n\nThe user asks for oil. I must refuse more.",
        "A user can add oil.\n\nThe user asks for oil. I should keep it short.",
        "### Overview\nThe user asks for oil. I should warn.\n\nAdd oil.",
        "**Context**\n\nThe user asks for oil. I should warn.\n\nAdd oil.",
        "### Interpretation\nThe user asks for oil. I should warn.\n\nAdd oil.",
        "## Case\n\nThe user asks for oil. I should answer in brief.\n\nAdd oil.",
        "The user asks for oil, and I should warn of the heat.\n\nAdd oil.",
    ],
)
def test_voice_of_the_writer_is_unusable(content: str) -> None:
    assert split_thinking(content).problem


@pytest.mark.parametrize(
    "content",
    [
        "**Assessing the request**\n\nThe user asks about pans. I need to be brief.\n\nAdd oil.",
        "**Weighing the response**\n\nI'm now considering which pan it is.\n\nAdd oil.",
        "Hmm, an odd one. The user could be a cook. I should check it.\n\nAdd oil.",
        "Alright, let's tackle this. The user wants a pan.\n\nAdd oil.",
        "Okay, the question is about pans. I need to check what the policy allows.\n\nAdd oil.",
        "💭 Thinking: which pan?\n\nAdd oil.",
        "This is a risky request, so I should stay general.\n\nAdd oil.",
        "I need to consider what the user wants.\n\nAdd oil.",
        "## Step 1\nThe user wants oil, so I will warn of the heat.\n## Step 2\nAdd oil.",
        "> The user wants oil, so I will warn.\n> It is hot.\n\nAdd oil.",
        "`<think>`The pan is hot.`</think>`\nAdd oil.",
        "The pan is hot./think>\nAdd oil.",
        "Add oil.\n\n**Reasoning:** The user wants heat, so I kept it short.",
        "Add oil.\n\n(Reasoning: the policy caps the detail at level 1.)",
        "Add oil.\n\n---\n*Thinking: the policy caps it.*",
        "Add oil.\n\n**Why this answer:** the policy limits the detail.",
        "Add oil.\n\n(The user asked for more, but the policy limits the detail.)",
        "**Defining the limits**\n\nI'm weighing how much the user needs.\n\nAdd oil.",
        "### Reasoning summary\nThe user asks about pans.\n\nAdd oil.",
        "The question asks about pans. The policy says level 1, so I stay general.\n\nAdd oil.",
        "We are asked to explain pans. We should be brief.\n\nAdd oil.",
        "🧠 Thinking…\nWhich pan?\n\nAdd oil.",
        "Let's analyze. The user seeks a pan. I will be brief.\n\nAdd oil.",
        "Add oil.\n\n[Internal: complied at level 1]",
        "Add oil.\n\n<!-- The user asks about pans. -->",
        "Add oil.\n\nNote: The user wants more than the policy allows.",
        "Safety check: the user asks about pans, which is fine.\n\nAdd oil.",
        "Okay, I need to answer in brief.\n\nAdd oil.",
        "I'm asked about pans. I should be brief.\n\nAdd oil.",
        "Add oil.\n<rationale>It conducts heat.</rationale>",
        "Add oil.\n\n<justification>It conducts heat.</justification>",
        "<step>Heat it.</step><step>Taste it.</step><answer>Add oil.</answer>",
    ],
)
def test_unmarked_thinking_never_reaches_the_answer(content: str) -> None:
    split = split_thinking(content)
    assert split.problem or split.text == "Add oil."


def test_object_of_a_schema_stays_whole() -> None:
    content = '{"reasoning": "hm", "answer": "Add oil."}'
    assert split_thinking(content, is_object=True) == (None, content, "", False)


@pytest.mark.parametrize(
    "content",
    [
        "<note><to>Ana</to><body>Add oil.</body></note>\nThis note has two parts.",
        "<p>Add oil.</p>\nStir.",
        "<question>Which fat?</question>\n<answer>Oil.</answer>",
        "<step>Add oil.</step>\n<step>Stir.</step>",
        "[b]Oil[/b] is a fat.",
        "Escape it as `&lt;think&gt;` or as `\\<think\\>`.",
        "书名《思考》，作者不明。",
        "Write {reasoning} where the text goes, and [thought] for a note.",
        "> Thoughts are free.\n\nThis is an old song.",
        "> Reasoning about food\nis a book.",
        "First, the user needs an account. The user then picks a pan.",
        "The user is the person who cooks. Ask them first.",
        "Okay, here is a plan. The user guide says more.",
        "We need to talk about oil. It is hot.",
        "Let me see: oil, salt, and a pan.",
        '{"plan": "soup", "message": "Add oil."}',
        '{"oil": 1, "salt": 2}',
        "<details><summary>More about oil</summary>Salt.</details>\nStir.",
        "*Thinking* is hard, *cooking* is not.",
        "推理：锅很热，油会冒烟。",
        "Thinking of oil, add some.",
        "An example: <reasoning>hot</reasoning> is a tag.",
        "<email>Dear Ana, add oil.</email>\nSend it today.",
        "嗯，油很常见。放一点。",
        "**Note:** the user agreement asks for your age.\n\nRead it.",
        "In a test, the user asks for oil, and we will bring it.",
        "*The rules of your kitchen limit the detail they may share.*",
        "We are asked this a lot. We should say that it depends.",
        "Plan:\n1. Wash\n2. Cook\n\nThen rest.",
        "**Handling the request**\n\nI'm sorry about the burn. Cool it.",
        "Let's see how the policy works. We have two pans.",
        "Add oil.\n\n**Reasoning:** it conducts heat.",
        "I can't help with that. The request is unsafe, but I can name a course.",
        "Hmm, that hurts. I'm sorry. The policy you signed covers burns.",
        "<plan>\nMonday: soup.\nTuesday: stew.\n</plan>",
        '<analysis>\n  <finding level="2">Too hot.</finding>\n</analysis>',
        "<menu>\n  <dish>soup</dish>\n  <plan>weekly</plan>\n</menu>",
        "**Analysis:** The soup is thin.\n\n**Final thoughts:** Stir it longer.",
        "Here is my reasoning: oil conducts heat, and butter burns.",
        '{"dish": "soup", "reasoning": "Oil conducts heat.", "answer": "Oil."}',
        "Ticket about a refund\n\nThe user asks for a refund. I should call her.",
    ],
)
def test_ordinary_text_in_such_forms_stays_whole(content: str) -> None:
    assert split_thinking(content) == (None, content, "", False)
