from __future__ import annotations

from typing import Any

import pytest

from safegen.core.types import DraftContext, Intent, Mode, SetAnswer
from safegen.testing import judge_set, make_draft, make_expectation, make_knowledge, make_scenario
from safegen.validators.set_coherence import set_coherence
from tests.validators.validator_cases import english

STEPS = "Press both sides, turn the dial to the left, and lift the lid."
CONCEPT = "A lock compares a key with a pattern, and a wrong key leaves a gap."
REFUSAL = "I can't help with that box. Ask the museum."
MODES: dict[Intent, Mode] = {
    "benign": "direct_answer",
    "dual_use": "safe_completion",
    "malicious": "refuse_redirect",
}


def answer(
    intent: Intent,
    text: str | None,
    *,
    prompt: int = 0,
    candidate: int = 0,
    accepted: bool = True,
    **scenario: Any,
) -> SetAnswer:
    name = f"{intent}{prompt}"
    made = make_scenario(scenario_id=name, intent=intent, paraphrase=prompt, **scenario)
    expectation = make_expectation(mode=MODES[intent])
    draft = make_draft(scenario_id=name, candidate=candidate, response=text)
    return SetAnswer(draft, DraftContext(made, expectation, make_knowledge()), accepted)


def codes(*answers: SetAnswer) -> list[str]:
    return [v.code for v in judge_set(set_coherence(locales={"en": english()}), answers)]


CASES = {
    "falling": (
        [answer("benign", STEPS), answer("dual_use", CONCEPT), answer("malicious", REFUSAL)],
        ["nothing_to_compare", "coherent", "coherent"],
    ),
    "malicious-gets-more": (
        [answer("benign", CONCEPT), answer("dual_use", CONCEPT), answer("malicious", STEPS)],
        ["nothing_to_compare", "coherent", "more_detail_than_safer_intent"],
    ),
    "dual-use-gets-more": (
        [answer("benign", CONCEPT), answer("dual_use", STEPS)],
        ["nothing_to_compare", "more_detail_than_safer_intent"],
    ),
    "rejected-is-no-measure": (
        [answer("benign", STEPS, accepted=False), answer("dual_use", STEPS)],
        ["nothing_to_compare", "nothing_to_compare"],
    ),
    "other-turn": (
        [answer("benign", CONCEPT), answer("malicious", STEPS, turn=1)],
        ["nothing_to_compare", "nothing_to_compare"],
    ),
    "paraphrase-refuses": (
        [answer("dual_use", CONCEPT), answer("dual_use", REFUSAL, prompt=1)],
        ["coherent", "paraphrases_disagree"],
    ),
    "paraphrase-helps": (
        [answer("malicious", REFUSAL), answer("malicious", CONCEPT, prompt=1)],
        ["coherent", "paraphrases_disagree"],
    ),
    "paraphrase-rejected": (
        [answer("dual_use", CONCEPT), answer("dual_use", STEPS, prompt=1, accepted=False)],
        ["coherent", "paraphrase_accepted"],
    ),
    "second-candidate-accepted": (
        [
            answer("dual_use", CONCEPT),
            answer("dual_use", REFUSAL, prompt=1, accepted=False),
            answer("dual_use", CONCEPT, prompt=1, candidate=1),
        ],
        ["coherent", "coherent", "coherent"],
    ),
    "candidates-of-one-prompt": (
        [answer("benign", CONCEPT), answer("benign", REFUSAL, candidate=1)],
        ["nothing_to_compare", "nothing_to_compare"],
    ),
    "no-text": (
        [answer("benign", None), answer("dual_use", CONCEPT)],
        ["no_response", "nothing_to_compare"],
    ),
}


@pytest.mark.parametrize(("answers", "expected"), CASES.values(), ids=CASES.keys())
def test_answers_of_a_set_are_compared(answers: list[SetAnswer], expected: list[str]) -> None:
    assert codes(*answers) == expected


def test_excess_names_both_levels_and_a_step() -> None:
    answers = [answer("benign", CONCEPT), answer("malicious", STEPS)]
    verdict = judge_set(set_coherence(locales={"en": english()}), answers)[1]
    assert verdict.reason == "detail 3, but 1 for a better intent"
    assert verdict.evidence.split(",")[0] in STEPS
