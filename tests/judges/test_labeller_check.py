from __future__ import annotations

import json

import pytest

from safegen.config import taxonomy
from safegen.config.goals import Prompt
from safegen.config.recipe import Recipe
from safegen.core.errors import BudgetSpent, Truncated
from safegen.core.hashing import hash_fraction
from safegen.core.statistics import wilson_interval
from safegen.core.types import INTENTS, Evidence, Expectation, Intent, Request, Teacher
from safegen.judges.blind_labels import OnError, make_label_request
from safegen.judges.labeller_check import (
    DEFAULT_BAR,
    KnownPrompt,
    LabellerCheck,
    check_labeller,
    count_allowed_errors,
    draw_known_prompts,
    is_doubtful,
)
from safegen.policy import loader, spec
from safegen.policy.decide import compute_expectation
from safegen.scenarios.authoring.author import load_templates
from safegen.teachers.scripted import scripted
from tests.scenarios.authoring.author_cases import Judge, Truth, asked_text, expect as cake_expect

TREE = taxonomy.load_taxonomy("core")
POLICIES = [loader.load_policy(name) for name in Recipe(name="t").policies]
KNOWN = draw_known_prompts(TREE.goals(), n=240)
TRUTHS = {t.text: Truth(t.intent, t.evidence, t.detail) for t in KNOWN}
LABELS = load_templates().labels


@pytest.mark.parametrize(
    ("intent", "prompt", "doubtful"),
    [
        ("dual_use", Prompt(text="why do cakes fall", detail=1), True),
        ("dual_use", Prompt(text="which cakes fall", detail=2), False),
        ("dual_use", Prompt(text="cakes", detail=1, evidence="contextual"), False),
        ("benign", Prompt(text="which cakes fall", detail=2), True),
        ("benign", Prompt(text="why do cakes fall", detail=1), False),
        ("malicious", Prompt(text="ruin the cake", detail=1, evidence="stated"), False),
        ("malicious", Prompt(text="x", detail=3, evidence="stated", disputed=True), True),
    ],
)
def test_prompt_between_two_intents_is_doubtful(
    intent: Intent, prompt: Prompt, doubtful: bool
) -> None:
    assert is_doubtful(intent, prompt) == doubtful


def test_known_prompts_hold_no_doubtful_label() -> None:
    goals = TREE.goals()
    doubtful = {
        p.text
        for g in goals
        for intent, _, p in g.prompts.iter_by_intent()
        if is_doubtful(intent, p)
    }
    assert doubtful and not doubtful & {known.text for known in KNOWN}


def core_expect(harm: str, evidence: Evidence, detail: int) -> Expectation:
    leaf = TREE.harms[harm]
    policy = spec.policy_for(POLICIES, leaf)
    return compute_expectation(policy, leaf, evidence=evidence, profile="public", detail=detail)


async def checked(*judges: Teacher, known: tuple[KnownPrompt, ...] = KNOWN) -> LabellerCheck:
    return await check_labeller(known, labeller=judges, files=LABELS, expect=core_expect)


def judge(error: float, seed: int = 0) -> Teacher:
    return Judge(TRUTHS, error, seed).teacher()


def test_known_prompts_do_not_depend_on_order() -> None:
    goals = list(TREE.goals())
    assert draw_known_prompts(reversed(goals), n=60) == draw_known_prompts(goals, n=60)
    intents = [t.intent for t in draw_known_prompts(goals, n=60)]
    assert [intents.count(i) for i in INTENTS] == [20, 20, 20]
    assert draw_known_prompts(goals, n=60) == draw_known_prompts(goals, n=240)[:60]


async def test_faultless_labeller_passes_without_slips() -> None:
    check = await checked(judge(0.0))
    assert check.passes() and (check.unread, check.unsure) == (0, 0)
    assert [(f.rate, f.miss_rate, f.worst) for f in check.fields] == [(1.0, 0.0, None)] * 4
    assert [f.kappa for f in check.fields] == [pytest.approx(1.0)] * 4
    assert set(check.estimate_wrong_labels(wrong=0.2).values()) == {0.0}
    assert check.format_summary().startswith("labeller: good enough")


@pytest.mark.parametrize("error", [0.1, 0.3])
async def test_erring_labeller_fails_within_its_interval(error: float) -> None:
    inside: list[bool] = []
    for seed in range(8):
        check = await checked(judge(error, seed))
        for field in check.fields[:3]:
            low, high = field.interval
            inside.append(low <= 1 - error <= high)
            assert field.wrong == field.n - field.hits > 0
        assert not check.passes(0.9)
        assert "NOT good enough" in check.format_summary(0.9)
    # 95 % of the intervals hold the rate: fewer than 19 of 24 do by a chance of one in a thousand.
    assert sum(inside) >= 19


async def test_constant_labeller_has_zero_kappa_and_fails() -> None:
    always = json.dumps({"intent": "benign", "evidence": "none", "detail": 1})
    check = await checked(scripted(lambda _: always))
    intent, evidence = check.fields[:2]
    assert (intent.kappa, evidence.kappa) == (pytest.approx(0.0), pytest.approx(0.0))
    assert intent.worst is not None and (intent.worst.answered, intent.worst.share) == (
        "benign",
        1.0,
    )
    assert intent.rate < 0.5 and not check.passes(0.5)
    assert check.estimate_wrong_labels(wrong=0.2)["intent"] > 0.2


async def test_unanswered_known_prompts_count_as_misses() -> None:
    honest = Judge(TRUTHS)

    def answer(request: Request) -> str | Truncated:
        broken = hash_fraction("break", asked_text(request))
        if broken < 0.1:
            return Truncated("cut")
        return "no object" if broken < 0.2 else honest._answer(request)

    check = await checked(scripted(answer))
    low, high = check.fields[0].interval
    assert low <= 0.8 <= high
    assert check.unread == check.n - check.fields[0].hits > 0
    assert [f.wrong for f in check.fields] == [0, 0, 0, 0]
    assert not check.passes()


async def test_three_labellers_pass_if_one_fails() -> None:
    one = await checked(judge(0.13))
    three = await checked(judge(0.13, 1), judge(0.13, 2), judge(0.13, 3))
    assert not one.passes() and three.passes()
    for field in ("intent", "evidence", "expectation"):
        assert (
            three.estimate_wrong_labels(wrong=0.2)[field]
            < one.estimate_wrong_labels(wrong=0.2)[field] / 2
        )


@pytest.mark.parametrize("seed", range(4))
async def test_slip_estimate_is_near_the_true_rate(seed: int) -> None:
    known = tuple(
        KnownPrompt("cakes", f"cake question {i}", INTENTS[i % 3], "none", 1) for i in range(3000)
    )
    truths = {t.text: Truth(t.intent, t.evidence, t.detail) for t in known}
    erring = Judge(truths, 0.3, seed)
    check = await check_labeller(
        known[:1500],
        labeller=erring.teacher(),
        files=LABELS,
        expect=lambda _, evidence, detail: cake_expect(evidence, detail),
    )
    passed = wrong = 0
    for i, trap in enumerate(known[1500:]):
        # every fifth prompt has another intent than requested
        slot = INTENTS[(i + 1 + i // 5 % 2) % 3] if i % 5 == 0 else trap.intent
        payload = json.loads(erring._answer(make_label_request(trap.text, LABELS)))["intent"]
        passed += payload == slot
        wrong += payload == slot != trap.intent
    assert check.estimate_wrong_labels(wrong=0.2)["intent"] == pytest.approx(
        wrong / passed, abs=0.02
    )


async def test_run_error_stops_the_check() -> None:
    with pytest.raises(BudgetSpent):
        await checked(scripted(lambda _: BudgetSpent("spent")))


async def test_summary_names_figures_and_likeliest_confusion() -> None:
    text = (await checked(judge(0.3))).format_summary(wrong=0.2)
    lines = text.splitlines()
    assert lines[0].startswith("labeller: NOT good enough: ")
    assert "at most 25 errors a field" in lines[0] and "stopped early" in lines[1]
    lines = lines[1:]
    assert [line.split(":")[0].strip() for line in lines[1:5]] == [
        "intent",
        "evidence",
        "detail",
        "expectation",
    ]
    assert "kappa 0." in lines[1] and "read as" in lines[1] and "not decisive" in lines[3]
    assert "writes 20% wrong prompts" in lines[-1]


async def test_check_without_known_prompts_fails() -> None:
    assert not (await checked(judge(0.0), known=())).passes()
    assert not (await checked(judge(0.0), known=KNOWN[:20])).passes()


async def test_mute_labeller_gets_no_estimate() -> None:
    mute = await checked(scripted(lambda _: "no JSON at all"))
    assert mute.unread == mute.n
    assert "wrong among those that pass" not in mute.format_summary()
    assert "`safegen doctor` tests each model" in mute.suggest_fix()


async def test_panel_without_majorities_gets_no_estimate() -> None:
    panel = await checked(*(judge(0.9, seed) for seed in range(2)))
    assert panel.unread == 0 and 2 * panel.unsure >= panel.n
    assert "wrong among those that pass" not in panel.format_summary()
    assert "a better model" in panel.suggest_fix()


async def test_too_few_known_prompts_are_the_remedy() -> None:
    assert (
        "20 known prompts are too few"
        in (await checked(judge(0.0), known=KNOWN[:20])).suggest_fix()
    )
    assert "too few" not in (await checked(judge(0.9), known=KNOWN[:35])).suggest_fix()


async def test_check_stops_when_it_cannot_pass() -> None:
    asked: list[str] = []
    honest = Judge(TRUTHS, error=0.5)

    def answer(request: Request) -> str:
        asked.append(asked_text(request))
        return honest._answer(request)

    check = await checked(scripted(answer))
    assert check.is_stopped and not check.passes()
    assert check.n == len(asked) < len(KNOWN)
    assert f"{check.n} of {len(KNOWN)} known prompts" in check.format_summary()


async def test_misread_prompts_are_named_without_their_text() -> None:
    wrong = KNOWN[0]
    truths = TRUTHS | {wrong.text: TRUTHS[wrong.text]._replace(intent="malicious")}
    check = await checked(Judge(truths).teacher())
    assert check.passes()
    assert [(m.prompt_id, m.field, m.answered) for m in check.misread] == [
        (wrong.prompt_id, "intent", "malicious")
    ]
    summary = check.format_summary()
    assert f"misread: {wrong.prompt_id}: intent {wrong.intent} read as malicious" in summary
    assert wrong.text not in summary


@pytest.mark.parametrize("n", [35, 60, 120, 240])
def test_allowed_errors_are_the_most_that_pass(n: int) -> None:
    allowed = count_allowed_errors(n, DEFAULT_BAR)
    assert wilson_interval(n - allowed, n).low >= DEFAULT_BAR
    assert wilson_interval(n - allowed - 1, n).low < DEFAULT_BAR


async def test_labeller_that_repeats_the_commonest_label_fails() -> None:
    # Of 60 prompts 57 are benign, so the rate alone would pass at this bar.
    known = tuple(
        KnownPrompt("cakes", f"cake {i}", "benign" if i < 57 else "malicious", "none", 1, str(i))
        for i in range(60)
    )
    always = json.dumps({"intent": "benign", "evidence": "none", "detail": 1})
    check = await check_labeller(
        known,
        labeller=scripted(lambda _: always),
        files=LABELS,
        expect=lambda _, evidence, detail: cake_expect(evidence, detail),
        bar=0.8,
    )
    assert check.fields[0].interval.low >= 0.8
    assert not check.passes(0.8)
    assert "kappa below 0.6" in check.format_summary(0.8)


async def test_labeller_that_reads_a_random_leaf_fails() -> None:
    leaves = sorted({t.harm for t in KNOWN})

    async def read_harm(text: str, on_error: OnError | None) -> str | None:
        return leaves[int(hash_fraction("leaf", text) * len(leaves))]

    check = await check_labeller(
        KNOWN, labeller=judge(0.0), files=LABELS, expect=core_expect, read_harm=read_harm
    )
    assert [f.field for f in check.fields if not f.passes(DEFAULT_BAR)] == ["harm"]
    assert not check.passes()
