"""A run with a panel, from the recipe to the record, on real loopback endpoints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config.recipe import Judges, Recipe
from safegen.core import resources
from safegen.core.errors import BudgetSpent, ConfigError, UserError
from safegen.core.types import Record, Reply, Request
from safegen.pipeline.preflight.estimate import dry_run
from safegen.pipeline.session import reset_failures
from safegen.pipeline.status import read_status
from safegen.testing import (
    BIASED_JUDGES,
    Body,
    FakeEndpoint,
    make_judge_answer,
    read_judged_reply,
    scripted,
)

TEXT = "Here is a plain answer of some length about the lid of the box and the hinge below it"
UNSAFE = "SENTINEL words of the secret recipe that a judge rates as harmful, in a long sentence."


def is_judge(body: Body) -> bool:
    return str(body["model"]).startswith("judge")


def answer_with(
    values: Mapping[str, Callable[[str], Mapping[str, str] | str]],
    draft: Callable[[Body], str] = lambda body: f"{TEXT}, {body['messages'][-1]['content']}",
) -> Callable[[Body], str]:
    """Answer for drafters, and for judges by model name."""

    def answer(body: Body) -> str:
        if not is_judge(body):
            return draft(body)
        response = read_judged_reply(body["messages"]).response
        made = values.get(body["model"], lambda _: {})(response)
        return made if isinstance(made, str) else make_judge_answer(response, **made)

    return answer


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer_with({})) as endpoint:
        yield endpoint


def ref(fake: FakeEndpoint, model: str, **params: Any) -> dict[str, Any]:
    return {"openai_chat": {"base_url": fake.url, "model": model, "attempts": 1} | params}


def recipe(fake: FakeEndpoint, *judges: str, **keys: Any) -> Recipe:
    plan = {"harms": ["property.copyright"], "sets_per_harm": 1}
    values: dict[str, Any] = {
        "name": "judged",
        "plan": plan | keys.pop("plan", {}),
        "teachers": {"drafter": ref(fake, "drafter")},
        "judges": {"panel": [ref(fake, name) for name in judges], "traps": 0}
        | keys.pop("judges", {}),
    }
    return Recipe.model_validate(values | keys)


def records(run: safegen.Run) -> list[Record]:
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


def test_judge_accepts_what_a_soft_rule_rejects(tmp_path: Path, fake: FakeEndpoint) -> None:
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path)
    made = records(run)
    soft = [r for r in made if any(v.passed is False and v.judge is None for v in r.verdicts)]
    assert soft
    assert all(r.accepted for r in made)
    assert {r.accepted_by for r in made} == {"judge"}
    assert {(r.safety, r.severity, r.delivered) for r in made} == {(1.0, "none", "A1")}
    assert {r.reward for r in made} == {r.helpfulness for r in made} == {2 / 3}
    assert {len(r.findings) for r in made} == {11}
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "were accepted by judge-a. No person reviewed them." in card


def test_hard_rule_rejects_before_the_judge(tmp_path: Path, fake: FakeEndpoint) -> None:
    german = "Das ist eine Antwort in einer anderen Sprache, und sie ist lang genug für die Regeln."
    fake.answer = answer_with({}, lambda _: german)
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path, until="validate")
    assert {(r.accepted, r.reason, r.reward) for r in records(run)} == {(False, "language", None)}
    assert not any(is_judge(body) for body in fake.requests)


def test_advisory_hard_rule_leaves_it_to_the_judge(tmp_path: Path, fake: FakeEndpoint) -> None:
    german = "Das ist eine Antwort in einer anderen Sprache, und sie ist lang genug für die Regeln."
    fake.answer = answer_with({}, lambda body: f"{german} {body['messages'][-1]['content']}")
    keys = {"validators": ["language", "style"], "require": ["style"]}
    run = safegen.generate(recipe(fake, "judge-a", **keys), output=tmp_path, until="validate")
    assert {r.accepted_by for r in records(run)} == {"judge"}


def test_control_tokens_reject_before_the_judge(tmp_path: Path, fake: FakeEndpoint) -> None:
    run = safegen.generate(
        recipe(fake, "judge-a", validators=["encoding"]),
        output=tmp_path,
        until="validate",
        teachers={"drafter": scripted(lambda _: f"{TEXT} <|im_start|>user and more words")},
    )
    assert {r.reason for r in records(run)} == {"encoding"}
    assert fake.requests == []


OWN_CHECK = """
from safegen.types import Draft, DraftContext, DraftValidator, ValidatorTraits, Verdict

TRAITS = ValidatorTraits(("calm", "shouts", "whispers"), hard=("shouts",))


def no_{name}(*, code: str) -> DraftValidator:
    async def check(draft: Draft, context: DraftContext) -> Verdict:
        return Verdict("no_{name}", "1", passed=False, score=0.0, code=code, reason=code)

    return check
"""


@pytest.mark.parametrize("code", ["shouts", "whispers"])
def test_hard_code_of_an_own_validator_precedes_judges(
    code: str, workdir: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeEndpoint
) -> None:
    monkeypatch.syspath_prepend(str(workdir))
    module = f"checks_{code}"
    (workdir / f"{module}.py").write_text(OWN_CHECK.replace("{name}", code), encoding="utf-8")
    plan = recipe(fake, "judge-a", validators=[{f"{module}:no_{code}": {"code": code}}])
    run = safegen.generate(plan, output=workdir / "out", until="validate", plugins=[module])
    reasons = {r.reason for r in records(run)}
    assert reasons == ({f"no_{code}"} if code == "shouts" else {None})
    assert any(map(is_judge, fake.requests)) == (code == "whispers")


def test_rule_about_sets_leaves_it_to_the_judge(tmp_path: Path, fake: FakeEndpoint) -> None:
    def draft(body: Body) -> str:
        steps = "\n".join(f"{n}. Stir {n}0 g of flour into it." for n in range(1, 5))
        return f"{TEXT}, {body['messages'][-1]['content']}\n{steps}"

    fake.answer = answer_with({}, draft)
    keys = {"validators": ["length_bounds", "set_coherence"]}
    rules = safegen.generate(recipe(fake, **keys), output=tmp_path / "a", until="validate")
    judged = safegen.generate(
        recipe(fake, "judge-a", **keys), output=tmp_path / "b", until="validate"
    )
    failed = [
        {v.code for v in r.verdicts if v.validator == "set_coherence" and v.passed is False}
        for r in records(judged)
    ]
    assert [bool(codes) for codes in failed] == [not r.accepted for r in records(rules)]
    assert all(r.accepted for r in records(judged))


def test_blank_answer_is_not_judged(tmp_path: Path, fake: FakeEndpoint) -> None:
    keys = {"validators": ["style"]}
    run = safegen.generate(
        recipe(fake, "judge-a", **keys),
        output=tmp_path,
        until="validate",
        teachers={"drafter": scripted(lambda _: "\u200b \n")},
    )
    assert {(r.accepted, r.reason) for r in records(run)} == {(False, "empty")}
    assert fake.requests == []


def test_unsafe_draft_and_its_quotations_leave_no_byte(tmp_path: Path, fake: FakeEndpoint) -> None:
    harm = {"severity": "high", "rule": "facilitation"}
    fake.answer = answer_with(
        {"judge-b": lambda response: harm if "SENTINEL" in response else {}},
        lambda body: UNSAFE if "?" in body["messages"][-1]["content"] else TEXT,
    )
    run = safegen.generate(recipe(fake, "judge-a", "judge-b"), output=tmp_path, until="validate")
    unsafe = [r for r in records(run) if r.draft.withheld]
    assert unsafe
    assert {(r.severity, r.reward, r.reason) for r in unsafe} == {("high", 0.0, "withheld")}
    assert {v.code for v in unsafe[0].verdicts if v.judge == "judge-b"} == {"unsafe"}
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p for p in files if b"SENTINEL" in p.read_bytes()] == []


def _find_sentinel(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and b"SENTINEL" in p.read_bytes()]


FOREIGN = (
    "Das ist eine Antwort in einer anderen Sprache, und SENTINEL ist lang genug für die Regeln."
)


@pytest.mark.parametrize(
    ("text", "judge", "fault", "reason"),
    [
        (FOREIGN, {}, None, "language"),
        (UNSAFE, "I would rather not rate this.", None, "unscored"),
        (UNSAFE, {"severity": "abstain"}, None, "unscored"),
        (UNSAFE, {}, "refusal", "unscored"),
    ],
)
def test_unrated_draft_leaves_no_byte(
    text: str,
    judge: Any,
    fault: Any,
    reason: str,
    tmp_path: Path,
    fake: FakeEndpoint,
) -> None:
    fake.answer = answer_with({"judge-a": lambda _: judge}, lambda _: text)
    fake.fault = lambda body, _: fault if is_judge(body) else None
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path, until="validate")
    made = records(run)
    assert {(r.draft.withheld, r.reason, r.severity) for r in made} == {(True, reason, None)}
    assert all(r.draft.response_sha256 and r.verdicts for r in made)
    assert _find_sentinel(tmp_path) == []


def test_cut_draft_leaves_no_byte_with_a_panel(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with({}, lambda _: UNSAFE)
    fake.fault = lambda *_: "length"
    safegen.generate(recipe(fake, "judge-a"), output=tmp_path / "judged", until="validate")
    assert _find_sentinel(tmp_path / "judged") == []
    ruled = recipe(fake).model_copy(update={"judges": Judges()})
    safegen.generate(ruled, output=tmp_path / "ruled", until="validate")
    assert _find_sentinel(tmp_path / "ruled") != []


def test_draft_of_an_unavailable_juror_keeps_its_text(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with({})
    judged: list[Body] = []

    def fail_first(body: Body, _: int) -> str | None:
        judged.extend([body] if is_judge(body) else [])
        return "reset" if judged and body == judged[0] else None

    fake.fault = fail_first
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path, until="validate")
    made = records(run)
    assert any(f.outcome == "unavailable" for _, f in run.folder.read_failures())
    assert {r.reason for r in made} >= {"unscored"}
    assert not any(r.draft.withheld for r in made)


def test_harm_deletes_text_also_without_a_quorum(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with(
        {
            "judge-a": lambda _: {"severity": "moderate", "rule": "facilitation"},
            "judge-b": lambda _: "no JSON",
            "judge-c": lambda _: "no JSON",
        },
        lambda body: f"{UNSAFE} {body['messages'][-1]['content']}",
    )
    names = ("judge-a", "judge-b", "judge-c")
    run = safegen.generate(recipe(fake, *names), output=tmp_path, until="validate")
    assert {(r.draft.withheld, r.accepted, r.safety) for r in records(run)} == {(True, False, None)}
    failures = [failure for _, failure in run.folder.read_failures()]
    assert {(f.stage, f.outcome, f.message) for f in failures} == {
        ("judge", "malformed", "ParseError")
    }
    assert not any(b"SENTINEL" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_silent_judges_are_null_and_counted_by_leaf(tmp_path: Path, fake: FakeEndpoint) -> None:
    fields = ("severity", "help_direct", "help_indirect")
    abstain: dict[str, str] = {name: "abstain" for name in fields}
    fake.answer = answer_with(
        {"judge-abstains": lambda _: abstain, "judge-broken": lambda _: "not JSON"}
    )
    fake.fault = lambda body, _: "refusal" if body["model"] == "judge-refuses" else None
    names = ("judge-abstains", "judge-broken", "judge-refuses")
    run = safegen.generate(recipe(fake, *names), output=tmp_path, until="validate")
    made = records(run)
    assert {(r.accepted, r.reason, r.reward) for r in made} == {(False, "unscored", None)}
    codes = {(v.judge, v.code) for r in made for v in r.verdicts if v.validator == "juror"}
    assert codes == {
        ("judge-abstains", "abstained"),
        ("judge-broken", "unparsable"),
        ("judge-refuses", "refused"),
    }
    status = read_status(safegen.open_run(tmp_path))
    assert status.jury is not None
    assert status.jury.count_results(by_leaf=True) == {
        ("judge-abstains", "property.copyright"): {"abstained": len(made)},
        ("judge-broken", "property.copyright"): {"failed": len(made)},
        ("judge-refuses", "property.copyright"): {"failed": len(made)},
    }
    assert status.failed_requests == {"malformed": len(made), "refused": len(made)}


def test_card_counts_answers_by_judge_and_leaf(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with(
        {
            "judge-b": lambda _: "not JSON",
            "judge-c": lambda _: {"over_refusal": "yes"},
        }
    )
    panel = [ref(fake, name) for name in ("judge-a", "judge-b", "judge-c")]
    plan = recipe(fake, judges={"panel": panel, "tie": "lenient"})
    run = safegen.generate(plan, output=tmp_path)
    count = len(records(run))
    assert {(r.accepted, r.disagreement) for r in records(run)} == {(True, 0.5)}
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"| judge-a | {count} | 0 | 0 | 0 |" in card
    assert f"| judge-b | property.copyright | 0 | 0 | {count} |" in card
    assert f"The judges disagree about 100.0 % of the {count} drafts" in card
    judges = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["judges"]
    assert judges["jurors"]["judge-b"] == {"failed": count}
    assert (judges["compared"], judges["split"]) == (count, count)


def test_edited_rubric_asks_judges_and_no_drafter(
    tmp_path: Path, workdir: Path, fake: FakeEndpoint
) -> None:
    source = resources.find_file("policies", "deceit").read_text(encoding="utf-8")
    spec = workdir / "mine.yaml"
    spec.write_text(source, encoding="utf-8")
    plan = recipe(fake, "judge-a", policies=["mine.yaml"])
    safegen.generate(plan, output=tmp_path / "out", until="validate")
    before = len(fake.requests)
    assert "severity: high" in source
    spec.write_text(source.replace("severity: high", "severity: low"), encoding="utf-8")
    run = safegen.generate(plan, output=tmp_path / "out", until="validate")
    asked = fake.requests[before:]
    assert len(asked) == len(records(run))
    assert all(is_judge(body) for body in asked)


def test_retry_repeats_failed_judge_requests_alone(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with({"judge-b": lambda _: "not JSON"})
    plan = recipe(fake, "judge-a", "judge-b")
    safegen.generate(plan, output=tmp_path, until="validate")
    drafts = sum(not is_judge(body) for body in fake.requests)
    fake.requests.clear()
    fake.answer = answer_with({})
    run = safegen.open_run(tmp_path)
    assert reset_failures(run.folder) == drafts
    run = safegen.generate(plan, output=tmp_path)
    assert Counter(body["model"] for body in fake.requests) == {"judge-b": drafts}
    assert all(r.accepted for r in records(run))


def test_resumed_run_asks_no_judge_again(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", "judge-b", budget={"requests": 7})
    with pytest.raises(BudgetSpent):
        safegen.generate(plan, output=tmp_path / "out")
    assert len(fake.requests) == 7
    free = plan.model_copy(update={"budget": type(plan.budget)()})
    run = safegen.generate(free, output=tmp_path / "out")
    sent = Counter(json.dumps([b["model"], b["messages"]]) for b in fake.requests)
    assert max(sent.values()) == 1
    assert len(sent) == 3 * len(records(run))


def test_estimate_counts_judge_calls(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", "judge-b", plan={"candidates": 2})
    estimated = dry_run(plan).estimate
    safegen.generate(plan, output=tmp_path, until="validate")
    asked = [body for body in fake.requests if is_judge(body)]
    drafts = len(fake.requests) - len(asked)
    assert (estimated.drafts, estimated.judge_calls) == (drafts, len(asked))
    read = sum(len(m["content"]) for body in asked for m in body["messages"]) // 4
    assert 0.5 * read < estimated.judge_tokens < read


def test_revision_follows_the_judges_reason(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with(
        {"judge-a": lambda text: {} if "better" in text else {"tone": "preaching"}},
        lambda body: "better: " * (len(body["messages"]) > 3) + TEXT,
    )
    run = safegen.generate(
        recipe(fake, "judge-a", revise=1, validators=["length_bounds"]), output=tmp_path
    )
    revised = [r for r in records(run) if r.draft.revision == 1]
    assert revised
    assert all(r.accepted for r in revised)
    asked = [b["messages"][-1]["content"] for b in fake.requests if len(b["messages"]) > 3]
    assert all("moralises" in text and "(jury," in text for text in asked if text)


def test_best_reward_is_chosen_and_a_safe_fault_makes_a_pair(
    tmp_path: Path, fake: FakeEndpoint
) -> None:
    def values(text: str) -> Mapping[str, str]:
        if "number 0" in text:
            return {"help_direct": "3"}
        return {"help_direct": "4"} if "number 1" in text else {"over_refusal": "yes"}

    def draft(request: Request) -> Reply:
        return Reply(f"{TEXT}, number {request.sample}, {request.messages[-1]['content']}", "m")

    fake.answer = answer_with({"judge-a": values})
    plan = recipe(fake, "judge-a", plan={"candidates": 3})
    run = safegen.generate(plan, output=tmp_path, teachers={"drafter": scripted(draft)})
    chosen = run.view("sft")["messages"].to_list()
    assert all("number 1" in turns[-1]["content"] for turns in chosen)
    pairs = run.view("preference")
    assert pairs.height == len(chosen)
    assert set(pairs["rejected_by"]) == {"jury"}


def test_jury_overlaps_with_drafting(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = {"harms": ["property.*"], "sets_per_harm": 1}
    most: dict[str, int] = {}
    for judges in ((), ("judge-a", "judge-b")):
        with (
            FakeEndpoint(answer_with({}), latency_s=0.08) as drafting,
            FakeEndpoint(answer_with({}), latency_s=0.08) as judging,
        ):
            values = recipe(drafting, plan=plan).model_dump(mode="json")
            values["teachers"]["drafter"] = [ref(drafting, "drafter", concurrency=3)]
            values["judges"]["panel"] = [ref(judging, name, concurrency=8) for name in judges]
            safegen.generate(
                Recipe.model_validate(values), output=tmp_path / str(len(judges)), until="validate"
            )
            most[f"drafts {len(judges)}"] = drafting.max_in_flight
            most[f"judges {len(judges)}"] = judging.max_in_flight
    assert most["drafts 0"] == most["drafts 2"] == 3
    assert most["judges 2"] >= 3


def test_judges_see_no_reasoning_and_no_teacher(tmp_path: Path, fake: FakeEndpoint) -> None:
    def draft(request: Request) -> Reply:
        text = f"{TEXT}, {request.messages[-1]['content']}"
        return Reply(text, "writer-model", reasoning_content="HIDDEN thoughts")

    plan = recipe(fake, "judge-a", plan={"reasoning": True})
    safegen.generate(plan, output=tmp_path, until="validate", teachers={"drafter": scripted(draft)})
    sent = json.dumps([body["messages"] for body in fake.requests])
    assert is_judge(fake.requests[0])
    for word in ("HIDDEN", "writer-model", "dual_use", "benign_use", "misuse"):
        assert word not in sent


def test_guard_endpoint_serves_as_a_juror(tmp_path: Path, fake: FakeEndpoint) -> None:
    def answer(body: Body) -> str:
        if body["model"] == "guard":
            return "Safety: Unsafe\nCategories: Violent\nRefusal: No"
        return answer_with({})(body)

    fake.answer = answer
    plan = recipe(fake, judges={"panel": [ref(fake, "judge-a"), ref(fake, "guard", guard=True)]})
    run = safegen.generate(plan, output=tmp_path, until="validate")
    assert {(r.severity, r.draft.withheld) for r in records(run)} == {("moderate", True)}
    asked = [body for body in fake.requests if body["model"] == "guard"]
    assert {body["messages"][-1]["role"] for body in asked} == {"assistant"}
    assert not any("response_format" in body for body in asked)


def test_caller_replaces_the_panel(tmp_path: Path, fake: FakeEndpoint) -> None:
    judge = BIASED_JUDGES["safe"]()
    plan = recipe(fake, "judge-a", "judge-b")
    run = safegen.generate(plan, output=tmp_path, until="validate", teachers={"judge": judge})
    made = records(run)
    assert len(judge.requests) == len(made)
    assert {r.accepted_by for r in made} == {"judge"}
    with pytest.raises(ConfigError, match=r"this one has no `judges\.panel`"):
        safegen.generate(recipe(fake), output=tmp_path / "b", teachers={"judge": judge})


RECIPE = """\
name: judged
plan: {{harms: [property.copyright], sets_per_harm: 1}}
teachers:
  drafter: {{openai_chat: {{base_url: "http://h.example/v1", model: writer}}}}
judges:
  panel:
    - {{openai_chat: {{base_url: "http://h.example/v1/", model: other}}}}
    - {juror}
{more}"""
FAULTS = {
    "own model": (
        "{openai_chat: {base_url: 'http://h.example/v1/', model: writer, temperature: 0}}",
        "",
        r":8:7: judges\.panel: `writer at http://h\.example:80/v1` also drafts",
    ),
    "other port and case": (
        "{openai_chat: {base_url: 'http://H.example:80/v1', model: writer}}",
        "",
        "also drafts",
    ),
    "offline": ("offline", "", r":8:7: judges\.panel: `offline` composes answers"),
    "unknown": ("nothing", "", r":8:7: judges\.panel: .*`nothing`"),
    "quorum": ("scripted", "  quorum: 3\n", r":9:3: .*`judges\.quorum` is 3"),
    "tie": ("scripted", "  tie: random\n", r":9:3: `judges\.tie` is `random`"),
    "threshold": (
        "scripted",
        "  thresholds: {helpfulness: {direct_answer: 2}}\n",
        r":9:30: `judges\.thresholds\.helpfulness\.direct_answer` is `2`",
    ),
}


@pytest.mark.parametrize(("juror", "more", "message"), FAULTS.values(), ids=FAULTS)
def test_wrong_panel_is_reported_with_its_place(
    juror: str, more: str, message: str, workdir: Path
) -> None:
    (workdir / "r.yaml").write_text(RECIPE.format(juror=juror, more=more), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        dry_run("r.yaml")


def test_recipe_can_allow_the_drafters_model(workdir: Path) -> None:
    juror = FAULTS["own model"][0]
    text = RECIPE.format(juror=juror, more="  allow_drafter: true\n")
    (workdir / "r.yaml").write_text(text, encoding="utf-8")
    assert dry_run("r.yaml").estimate.judge_calls > 0


def test_panel_of_guards_and_guard_as_drafter_are_refused(fake: FakeEndpoint) -> None:
    guard = ref(fake, "guard", guard=True)
    with pytest.raises(ConfigError, match="has only guards"):
        dry_run(recipe(fake, judges={"panel": [guard]}))
    with pytest.raises(ConfigError, match="is a guard"):
        dry_run(recipe(fake, teachers={"drafter": guard}))


def test_keys_of_a_panel_leave_old_runs_unchanged(fake: FakeEndpoint) -> None:
    plain, judged = recipe(fake), recipe(fake, "judge-a")
    tolerant = plain.model_copy(
        update={"judges": plain.judges.model_copy(update={"allow_drafter": True})}
    )
    assert plain.digests() == tolerant.digests()
    assert plain.digests()["judges"] != judged.digests()["judges"]


def test_prompt_of_the_judge_is_part_of_the_run(fake: FakeEndpoint) -> None:
    prints = [dry_run(r).inputs.fingerprints["prompt"] for r in (recipe(fake), recipe(fake, "j"))]
    assert ["judge" in names for names in prints] == [False, True]
