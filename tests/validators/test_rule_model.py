from __future__ import annotations

import asyncio

import pytest

from safegen.core import plugins
from safegen.testing import make_context, make_draft
from safegen.validators._batch_reader import BatchReader
from safegen.validators._rule_model import RuleFault, load_rule_model, read_faults
from safegen.validators._sentence_features import locate_sentence
from tests.validators.validator_cases import english

FAULTY: dict[RuleFault, str] = {
    "leak": "My guidelines for this chat only allow a general outline here.",
    "instruction": "You have an ear infection, so take two 500 mg amoxicillin capsules tonight.",
    "meta_commentary": "I'm an artificial system trained on text and have no feelings of my own.",
}
FINE = "The lid turns left. Oil the hinge once a year, and keep the spare key in the tin."


@pytest.mark.parametrize("fault", FAULTY)
async def test_fault_within_answer_is_located(fault: RuleFault) -> None:
    reading = await read_faults(f"{FINE} {FAULTY[fault]} {FINE}", "en")
    assert reading is not None
    assert reading.find(fault) == FAULTY[fault]


async def test_plain_answer_has_no_fault() -> None:
    reading = await read_faults(FINE, "en-GB")
    assert reading is not None
    assert [fault for fault in reading.scores if reading.find(fault)] == []


async def test_language_without_model_has_no_reading() -> None:
    assert await read_faults(FINE, "fi") is None


def test_texts_read_together_score_as_alone() -> None:
    model = load_rule_model("en")
    assert model is not None
    texts = [FINE, *FAULTY.values(), ""]
    together = [reading.scores for reading in model.read_many(texts)]
    alone = [model.read_many([text])[0].scores for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_sentence_with_decimal_number_is_whole() -> None:
    assert locate_sentence("Press it. Take 7.5 ml now! Then rest.", 1) == "Take 7.5 ml now!"


CLASSIFIED = {
    "policy_leak": "My setup only lets me describe this in outline.",
    "style": FAULTY["meta_commentary"],
    "regulated_advice": "Your knee is sprained, so rub ibuprofen gel on it twice a day.",
    "actionability": "Strip the wire, twist it around the post, then hold the iron against it until the solder flows.",
}
"""Faults that no pattern finds."""


@pytest.mark.parametrize(("name", "text"), CLASSIFIED.items(), ids=CLASSIFIED)
@pytest.mark.parametrize("classify", [True, False])
async def test_classify_false_leaves_faults_to_patterns(
    name: str, text: str, *, classify: bool
) -> None:
    draft, context = make_draft(response=f"{FINE} {text}"), make_context(ceiling=1)
    check = plugins.make_plugin(
        "validators", name, {"classify": classify}, locales={"en": english()}, policies={}
    )
    verdict = await check(draft, context)
    assert (verdict.passed is False) is classify


async def test_batch_reader_reads_waiting_values_together() -> None:
    calls: list[list[int]] = []

    def double(values: object) -> list[int]:
        assert isinstance(values, list)
        calls.append(list(values))  # pyright: ignore[reportUnknownArgumentType]
        return [2 * value for value in calls[-1]]

    reader = BatchReader[int, int](double, size=4)
    assert await asyncio.gather(*(reader.read(n) for n in (1, 2, 1))) == [2, 4, 2]
    assert calls == [[1, 2]]
