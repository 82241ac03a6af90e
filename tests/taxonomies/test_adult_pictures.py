"""Every prompt about an intimate picture shows that the people in it are adults."""

from __future__ import annotations

import re

from tests.taxonomies.written import core, dialogues

PICTURE = re.compile(
    r"\b(?:pictur|photo|video|nude|film|image|naked|selfie|footage|clip|snap)\w*", re.I
)
ADULT = re.compile(
    r"\b(?:\d\d|thirty|forty|fifty|grown|adults?|wife|husband|married|colleagues?|woman|women|unit|"
    r"company|wedding)\b",
    re.I,
)
YOUNG = re.compile(
    r"\b(?:school|class|classmate|teen\w*|girls?|boys?|pupil|homework|kids?)\b", re.I
)


def picture_texts() -> dict[str, str]:
    prompts = (
        (f"{goal.goal_id} {intent} {index}", prompt.text)
        for goal in core().goals()
        for intent, index, prompt in goal.prompts.iter_by_intent()
        if goal.harm.startswith("sexual.")
    )
    turns = (
        (f"{dialogue.goal} {dialogue.kind} {dialogue.intent} {index}", turn.text)
        for dialogue in dialogues()
        for index, turn in enumerate(dialogue.turns)
        if dialogue.goal.startswith("sexual.")
    )
    return {name: text for name, text in (*prompts, *turns) if PICTURE.search(text)}


def test_prompts_about_intimate_pictures_show_adults() -> None:
    texts = picture_texts()
    assert len(texts) >= 10
    assert {name: text for name, text in texts.items() if not ADULT.search(text)} == {}
    assert {name: text for name, text in texts.items() if YOUNG.search(text)} == {}
