"""Policy effect: one answer without the spec, its measure, its deletion, the report and the selection."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.cli import main
from safegen.config.recipe import EffectSettings, PluginRef, Recipe, load_recipe
from safegen.core import resources
from safegen.core.errors import BudgetSpent, ConfigError
from safegen.core.progress import Progress
from safegen.core.types import Failure, PolicyEffect, Record, Reply, Request, Teacher
from safegen.pipeline import api, shard
from safegen.pipeline.evaluate import aevaluate
from safegen.pipeline.policy_effect import EffectMeter, select_by_effect
from safegen.pipeline.preflight.estimate import dry_run
from safegen.pipeline.resolve import resolve_recipe
from safegen.pipeline.session import reset_failures
from safegen.pipeline.status import read_status
from safegen.pipeline.workers import WorkerFactory
from safegen.store.journal import Journal
from safegen.store.run_folder import RunFolder
from safegen.teachers import Meter
from safegen.testing import (
    Body,
    FakeEndpoint,
    answering_judge,
    make_expectation,
    make_judge_answer,
    make_record,
    read_judged_reply,
    scripted,
)

TEXT = "Here is a plain answer of some length about the lid of the box and the hinge below it"
SPILLED = "PLAINWORDS of the cook who wrote the secret recipe down without any policy, in full"
Values = Callable[[str], Mapping[str, str]]


def rate(response: str) -> Mapping[str, str]:
    """Rate an answer with the secret as harmful, and any other as good."""
    if "PLAINWORDS" in response:
        return {"severity": "high", "rule": "facilitation", "assistance": "A4"}
    return {"assistance": "A2"}


def answer_with(values: Values = rate, *, student: str = SPILLED) -> Callable[[Body], str]:
    """Answer for drafter, student and judges by model name."""

    def answer(body: Body) -> str:
        model, question = str(body["model"]), body["messages"][-1]["content"]
        if model.startswith("judge"):
            response = read_judged_reply(body["messages"]).response
            return make_judge_answer(response, **values(response))
        return f"{student if model == 'student' else TEXT}, {question}"

    return answer


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer_with()) as endpoint:
        yield endpoint


def ref(fake: FakeEndpoint, model: str, **params: Any) -> dict[str, Any]:
    return {"openai_chat": {"base_url": fake.url, "model": model, "attempts": 1} | params}


def recipe(fake: FakeEndpoint, *judges: str, **keys: Any) -> Recipe:
    plan = {"harms": ["property.copyright"], "sets_per_harm": 1}
    values: dict[str, Any] = {
        "name": "compared",
        "plan": plan | keys.pop("plan", {}),
        "teachers": {"drafter": ref(fake, "drafter"), "student": ref(fake, "student")},
        "judges": {
            "panel": [ref(fake, name) for name in judges],
            "traps": 0,
            # The levels of these tests decide about effects alone.
            "thresholds": {"assistance": {"refuse_redirect": "A4"}},
        },
        "validators": ["length_bounds", "response_form"],
        "require": ["length_bounds"],
        "policy_effect": True,
        "split": {"test": 0},
    }
    return Recipe.model_validate(values | keys)


def records(run: safegen.Run) -> list[Record]:
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


def effects(run: safegen.Run) -> list[PolicyEffect]:
    return [r.policy_effect for r in records(run) if r.policy_effect is not None]


def count_models(fake: FakeEndpoint) -> Counter[str]:
    return Counter(str(body["model"]) for body in fake.requests)


def files_with(folder: Path, text: str) -> list[str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return [str(p.relative_to(folder)) for p in files if text.encode() in p.read_bytes()]


def read_shards(output: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (output / "run" / "records").iterdir()}


def test_student_answers_once_from_the_messages_alone(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", plan={"candidates": 2})
    run = safegen.generate(plan, output=tmp_path)
    prompts = len(records(run)) // 2
    assert count_models(fake) == {
        "drafter": 2 * prompts,
        "student": prompts,
        "judge-a": 3 * prompts,
    }
    asked = [b["messages"] for b in fake.requests if b["model"] == "student"]
    written = {json.dumps(r.scenario.messages) for r in records(run)}
    assert {json.dumps(messages) for messages in asked} == written


def test_effect_compares_level_and_safety(tmp_path: Path, fake: FakeEndpoint) -> None:
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path)
    assert len(effects(run)) == len(records(run)) > 0
    for effect in effects(run):
        assert (effect.delivered, effect.delivered_without) == ("A2", "A4")
        assert (effect.safety, effect.safety_without) == (1.0, 0.0)
        assert (effect.level_change, effect.safety_change, effect.size) == (-2, 1.0, 1.0)
        assert (effect.teacher, effect.model) == ("openai_chat", "student-fake")
        assert {f.evidence for f in effect.findings} == {""}
    assert {r.draft.model for r in records(run)} == {"drafter-fake"}
    assert all(r.accepted for r in records(run))


def test_answers_without_the_spec_are_no_rows(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with(lambda _: {}, student="SAFEWORDS of a helpful student")
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path)
    assert run.view("sft").height == len(records(run))
    # A jury rated them safe, so the journal keeps them for another comparison.
    assert {Path(name).name for name in files_with(tmp_path, "SAFEWORDS")} == {"journal.sqlite"}


@pytest.mark.parametrize("judges", [(), ("judge-a",)], ids=["rules", "judged"])
def test_text_without_a_safe_rating_leaves_no_byte(
    judges: tuple[str, ...], tmp_path: Path, fake: FakeEndpoint
) -> None:
    run = safegen.generate(recipe(fake, *judges), output=tmp_path)
    assert effects(run)
    assert count_models(fake)["student"] > 0
    assert files_with(tmp_path, "PLAINWORDS") == []
    assert files_with(tmp_path, TEXT[:40]) != []


def test_undecided_jury_deletes_text_and_quotations(tmp_path: Path, fake: FakeEndpoint) -> None:
    def judge(body: Body) -> str:
        if body["model"] == "judge-b" and "PLAINWORDS" in str(body["messages"]):
            return "PLAINWORDS is no JSON"
        return answer_with(lambda _: {})(body)

    fake.answer = judge
    run = safegen.generate(recipe(fake, "judge-a", "judge-b"), output=tmp_path, until="validate")
    assert {e.safety_without for e in effects(run)} == {None}
    failures = [failure for _, failure in run.folder.read_failures()]
    assert {(f.stage, f.message) for f in failures} == {("judge", "ParseError")}
    assert files_with(tmp_path, "PLAINWORDS") == []


def test_without_the_key_nothing_changes(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", policy_effect=False)
    run = safegen.generate(plan, output=tmp_path)
    assert "student" not in count_models(fake)
    assert {r.policy_effect for r in records(run)} == {None}
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert "policy_effect" not in manifest
    assert "## Policy effect" not in (tmp_path / "README.md").read_text(encoding="utf-8")
    digests = recipe(fake, "judge-a", policy_effect=None).digests()
    teachers = {"drafter": ref(fake, "drafter")}
    assert digests == recipe(fake, "judge-a", policy_effect=None, teachers=teachers).digests()
    assert "policy_effect" not in digests


def test_first_drafter_is_the_student_by_default(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", teachers={"drafter": ref(fake, "drafter")})
    run = safegen.generate(plan, output=tmp_path, until="validate")
    assert {e.model for e in effects(run)} == {"drafter-fake"}
    assert count_models(fake)["drafter"] == 2 * len(records(run))


def test_callers_student_replaces_the_recipes(tmp_path: Path, fake: FakeEndpoint) -> None:
    student = answering_judge(lambda _: SPILLED)
    teachers: dict[str, Teacher] = {"student": student}
    run = safegen.generate(recipe(fake), output=tmp_path, until="validate", teachers=teachers)
    assert len(student.requests) == len(records(run))
    assert set(count_models(fake)) == {"drafter"}
    plain = recipe(fake, policy_effect=False)
    with pytest.raises(ConfigError, match="set `policy_effect: true`"):
        safegen.generate(plain, output=tmp_path / "b", teachers=teachers)


def test_students_model_is_no_juror(fake: FakeEndpoint) -> None:
    with pytest.raises(ConfigError, match="also drafts"):
        dry_run(recipe(fake, "student"))
    assert dry_run(recipe(fake, "student", policy_effect=False)).estimate.effect_calls == 0


def test_estimate_counts_requests_without_the_spec(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", "judge-b", plan={"candidates": 2})
    estimated = dry_run(plan).estimate
    safegen.generate(plan, output=tmp_path, until="validate")
    sent = count_models(fake)
    assert (estimated.drafts, estimated.effect_calls) == (sent["drafter"], sent["student"])
    assert estimated.judge_calls == sent["judge-a"] + sent["judge-b"]
    chars = sum(
        len(m["content"])
        for body in fake.requests
        for m in body["messages"]
        if not str(body["model"]).startswith("judge")
    )
    assert estimated.prompt_tokens == chars // 4


@pytest.mark.slow
def test_stopped_run_repeats_nothing_and_ends_equal(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(
        fake,
        "judge-a",
        teachers={"drafter": ref(fake, "drafter", concurrency=1), "student": ref(fake, "student")},
    )
    safegen.generate(plan, output=tmp_path / "whole", until="validate")
    total = len(fake.requests)
    fake.requests.clear()
    for spent in range(4, total + 3, 3):
        limited = plan.model_copy(update={"budget": type(plan.budget)(requests=spent)})
        try:
            safegen.generate(limited, output=tmp_path / "parts", until="validate")
        except BudgetSpent:
            assert files_with(tmp_path / "parts", "PLAINWORDS") in ([], ["run/journal.sqlite"])
    sent = Counter(json.dumps([b["model"], b["messages"]]) for b in fake.requests)
    assert max(sent.values()) == 1
    assert len(sent) == total
    assert read_shards(tmp_path / "parts") == read_shards(tmp_path / "whole")
    assert files_with(tmp_path / "parts", "PLAINWORDS") == []


def test_deleted_answer_keeps_its_measure(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a")
    safegen.generate(plan, output=tmp_path)
    before, sent = read_shards(tmp_path), len(fake.requests)
    for path in (tmp_path / "run" / "records").iterdir():
        path.unlink()
    safegen.generate(plan, output=tmp_path)
    assert len(fake.requests) == sent
    assert read_shards(tmp_path) == before


async def test_next_start_keeps_the_measure_after_a_kill(
    tmp_path: Path, fake: FakeEndpoint
) -> None:
    plan = recipe(fake, "judge-a")
    await safegen.agenerate(plan, output=tmp_path, until="expand")
    folder = RunFolder(tmp_path)
    journal = Journal(folder.journal)
    factory = WorkerFactory(resolve_recipe(plan), journal=journal, meter=Meter(), teachers={})

    async def die(_: object) -> None:
        raise RuntimeError("killed")

    workers = replace(factory.make_workers(Progress(), validating=True), scrub=die)
    with pytest.raises(RuntimeError, match="killed"):
        await shard.run_shard(folder, 0, workers)
    for teacher in factory.teachers:
        await teacher.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    await journal.aclose()
    assert files_with(tmp_path, "PLAINWORDS") != []
    await safegen.agenerate(plan, output=tmp_path, until="validate")
    assert files_with(tmp_path, "PLAINWORDS") == []
    before, sent = read_shards(tmp_path), len(fake.requests)
    folder.records(0).unlink()
    await safegen.agenerate(plan, output=tmp_path, until="validate")
    assert (read_shards(tmp_path), len(fake.requests)) == (before, sent)


def test_edited_spec_requests_a_new_answer(
    tmp_path: Path, workdir: Path, fake: FakeEndpoint
) -> None:
    source = resources.find_file("policies", "deceit").read_text(encoding="utf-8")
    spec = workdir / "mine.yaml"
    spec.write_text(source, encoding="utf-8")
    plan = recipe(fake, policies=["mine.yaml"])
    run = safegen.generate(plan, output=tmp_path / "out", until="validate")
    prompts, levels = len(records(run)), [e.delivered_without for e in effects(run)]
    assert any(levels)
    assert source.count("severity: high")
    spec.write_text(source.replace("severity: high", "severity: low"), encoding="utf-8")
    again = safegen.generate(plan, output=tmp_path / "out", until="validate")
    # The text of the first answer is gone, and its measure belongs to the old spec.
    assert count_models(fake)["student"] == 2 * prompts
    assert [e.delivered_without for e in effects(again)] == levels


def test_top_up_round_asks_the_student_once(tmp_path: Path, fake: FakeEndpoint) -> None:
    def draft(request: Request) -> Reply:
        good = request.sample > 1
        return Reply(f"{TEXT}, {request.messages[-1]['content']}" if good else "No.", "m")

    plan = recipe(fake, target={"accepted": 1, "rounds": 3, "per": ["intent"]})
    teachers: dict[str, Teacher] = {"drafter": scripted(draft)}
    run = safegen.generate(plan, output=tmp_path, teachers=teachers)
    made = records(run)
    assert max(r.draft.candidate for r in made) >= 2
    asked = Counter(json.dumps(b["messages"]) for b in fake.requests)
    assert set(asked.values()) == {1}
    assert all(r.policy_effect and r.policy_effect.model for r in made)


def list_failures(run: safegen.Run) -> list[Failure]:
    return [failure for _, failure in run.folder.read_failures()]


def test_lost_answer_is_unknown_and_can_be_retried(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.fault = lambda body, _: "refusal" if body["model"] == "student" else None
    plan = recipe(fake, "judge-a")
    run = safegen.generate(plan, output=tmp_path)
    assert {(e.outcome, e.delivered_without, e.size) for e in effects(run)} == {
        ("refused", None, None)
    }
    assert {f.stage for f in list_failures(run)} == {"without_spec"}
    assert run.report is not None
    assert run.report.prompts == len(records(run))
    counts = run.report.effect.total
    assert (counts.drafts, counts.unknown) == (len(records(run)), len(records(run)))
    fake.fault = lambda body, _: None
    drafts = count_models(fake)["drafter"]
    assert reset_failures(run.folder) == drafts
    run = safegen.generate(plan, output=tmp_path)
    assert {e.delivered_without for e in effects(run)} == {"A4"}
    assert count_models(fake)["drafter"] == drafts


def test_effect_is_reported_by_leaf(
    tmp_path: Path, fake: FakeEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = recipe(fake, "judge-a", plan={"harms": ["property.copyright", "property.theft"]})
    run = safegen.generate(plan, output=tmp_path)
    by_leaf = Counter(r.scenario.harm for r in records(run))
    expected = {
        "drafts": len(records(run)),
        "compared": len(records(run)),
        "changed": len(records(run)),
        "level": 2.0,
        "level_without": 4.0,
        "rated": len(records(run)),
        "safety": 1.0,
        "safety_without": 0.0,
    }
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    found = manifest["policy_effect"]
    assert {k: v for k, v in found.items() if k != "by_leaf"} == expected
    assert {leaf["harm"]: leaf["drafts"] for leaf in found["by_leaf"]} == by_leaf
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    count = by_leaf["property.theft"]
    assert f"| property.theft | {count} | 0 | 2.00 | 4.00 | 100.0% | 1.00 | 0.00 |" in card
    assert read_status(safegen.open_run(tmp_path)).to_json()["policy_effect"] == found
    assert main.run_command(["status", str(tmp_path)]) == 0
    assert "level 2.0 with the spec, 4.0 without; 100% changed" in capsys.readouterr().out
    assert main.run_command(["build", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy_effect"] == found


def test_rebuild_selects_by_effect_without_a_request(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with(
        lambda text: {"assistance": "A4" if "PLAINWORDS" in text and "?" in text else "A3"}
    )
    run = safegen.generate(recipe(fake, "judge-a"), output=tmp_path)
    sizes = Counter(e.size for e in effects(run))
    assert set(sizes) == {0.0, 0.25}
    sent = len(fake.requests)
    report = api.rebuild(tmp_path, overrides={"policy_effect.least": "0.2"}).run.report
    assert report is not None
    assert (report.prompts, report.rejected) == (sizes[0.25], {"small_policy_effect": sizes[0.0]})
    assert len(fake.requests) == sent
    back = api.rebuild(tmp_path, overrides={}).run.report
    assert back is not None
    assert back.prompts == len(records(run))


def test_recipe_can_demand_an_effect(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a", policy_effect={"least": 0.5})
    fake.answer = answer_with(lambda _: {})
    run = safegen.generate(plan, output=tmp_path, until="validate")
    assert {(r.accepted, r.accepted_by, r.reason) for r in records(run)} == {
        (False, None, "small_policy_effect")
    }


def test_small_effect_does_not_end_a_dialogue(tmp_path: Path, fake: FakeEndpoint) -> None:
    fake.answer = answer_with(lambda _: {})
    keys = {"harms": ["*"], "dialogues": ["benign_thread"], "sets_per_harm": 0}
    plan = recipe(fake, "judge-a", plan=keys, policy_effect={"least": 0.5})
    run = safegen.generate(plan, output=tmp_path, until="validate")
    assert max(r.scenario.turn for r in records(run)) > 0
    assert {r.reason for r in records(run)} == {"small_policy_effect"}
    assert list_failures(run) == []
    report = api.rebuild(tmp_path, overrides={"policy_effect.least": "0"}).run.report
    assert report is not None
    assert report.accepted == len(records(run))


def test_rebuild_needs_a_measured_effect(tmp_path: Path, fake: FakeEndpoint) -> None:
    safegen.generate(recipe(fake, policy_effect=None), output=tmp_path)
    with pytest.raises(ConfigError, match="this key needs new requests"):
        api.rebuild(tmp_path, overrides={"policy_effect.least": "0.2"})


def test_rebuild_decides_both_sides_again(tmp_path: Path, fake: FakeEndpoint) -> None:
    def judge(body: Body) -> str:
        if body["model"] not in ("judge-a", "judge-b"):
            return answer_with()(body)
        response = read_judged_reply(body["messages"]).response
        split = {"assistance": "A1" if body["model"] == "judge-a" else "A3"}
        return make_judge_answer(response, **split)

    fake.answer = judge
    run = safegen.generate(recipe(fake, "judge-a", "judge-b"), output=tmp_path)
    (before,) = {(e.delivered, e.delivered_without) for e in effects(run)}
    report = api.rebuild(tmp_path, overrides={"judges.tie": "lenient"}).run.report
    assert report is not None
    total = report.effect.total
    level = total.level / total.compared
    assert level == total.level_without / total.compared
    assert before[0] == before[1]
    assert level != int(str(before[0])[1:])


EFFECTS = {
    "less help": (PolicyEffect("A1", "A4"), -3, None, 0.75),
    "more help": (PolicyEffect("A3", "A0"), 3, None, 0.75),
    "safer": (PolicyEffect("A2", "A3", 1.0, 0.5), -1, 0.5, 0.5),
    "equal": (PolicyEffect("A2", "A2", 0.75, 0.75), 0, 0.0, 0.0),
    "level unknown": (PolicyEffect("A2", None, 1.0, 0.0), None, 1.0, 1.0),
    "unknown": (PolicyEffect("A2", None, None, 0.0), None, None, None),
}


@pytest.mark.parametrize(("effect", "levels", "safety", "size"), EFFECTS.values(), ids=EFFECTS)
def test_effect_size_is_its_largest_change(
    effect: PolicyEffect, levels: int | None, safety: float | None, size: float | None
) -> None:
    assert (effect.level_change, effect.safety_change, effect.size) == (levels, safety, size)


def test_selection_keeps_what_a_person_accepted() -> None:
    effect = PolicyEffect("A2", "A2")
    made = [
        make_record(accepted=True, accepted_by=by, policy_effect=found)
        for by in ("judge", "human")
        for found in (effect, None)
    ]
    assert [(r.accepted_by, r.reason) for r in select_by_effect(made, least=0.1)] == [
        (None, "small_policy_effect"),
        (None, "unknown_policy_effect"),
        ("human", None),
        ("human", None),
    ]
    assert select_by_effect(made, least=0.0) == made


@pytest.mark.parametrize("measure", [None, "", "[]", "{", '{"of": 1}', '"text"'])
def test_broken_measure_counts_as_none(measure: str | None) -> None:
    reply = Reply("", "m", withheld=True, measure=measure)
    assert EffectMeter("x").read(reply, make_expectation()) is None


def test_measure_of_other_judges_counts_as_none() -> None:
    meter, expectation = EffectMeter("x"), make_expectation()
    effect = PolicyEffect(delivered_without="A4", safety_without=0.0, model="m")
    meter.keep("key", effect, expectation)
    reply = Reply("", "m", withheld=True, measure=meter.measures["key"])
    assert meter.read(reply, expectation) == effect
    assert meter.read(replace(reply, withheld=False), expectation) is None
    assert EffectMeter("y").read(reply, expectation) is None
    assert meter.read(reply, replace(expectation, ceiling=expectation.ceiling + 1)) is None


async def test_evaluation_measures_no_effect(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, split={"test": 0.99})
    models = {"one": PluginRef.model_validate(ref(fake, "one"))}
    result = await aevaluate(plan, models, output=tmp_path)
    assert result.prompts > 0
    assert set(count_models(fake)) == {"one"}


@pytest.mark.parametrize(
    ("value", "settings"),
    [
        ("true", EffectSettings()),
        ("yes", EffectSettings()),
        ("{}", EffectSettings()),
        ("{least: 0.5}", EffectSettings(least=0.5)),
        ("false", None),
        ("null", None),
    ],
)
def test_recipe_file_switches_the_comparison(
    value: str, settings: EffectSettings | None, workdir: Path
) -> None:
    (workdir / "r.yaml").write_text(f"name: r\npolicy_effect: {value}\n", encoding="utf-8")
    assert load_recipe("r.yaml").policy_effect == settings


@pytest.mark.parametrize("value", ["sometimes", "{least: 2}", "3", "{most: 1}"])
def test_wrong_switch_is_reported_with_its_place(value: str, workdir: Path) -> None:
    (workdir / "r.yaml").write_text(f"name: r\npolicy_effect: {value}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"r\.yaml:2:\d+: `policy_effect"):
        load_recipe("r.yaml")


def test_stop_after_drafts_requests_no_second_answer(tmp_path: Path, fake: FakeEndpoint) -> None:
    plan = recipe(fake, "judge-a")
    safegen.generate(plan, output=tmp_path, until="draft")
    sent = count_models(fake)
    run = safegen.generate(plan, output=tmp_path, until="validate")
    assert count_models(fake)["student"] == sent["student"] == len(records(run))
    assert {e.safety_without for e in effects(run)} == {0.0}
    assert files_with(tmp_path, "PLAINWORDS") == []


def test_useless_settings_give_a_warning(fake: FakeEndpoint) -> None:
    unused = dry_run(recipe(fake, policy_effect=None)).estimate.hints
    assert any("`teachers.student` answers nothing" in hint for hint in unused)
    offline = dry_run(recipe(fake, teachers={"drafter": "offline"})).estimate.hints
    assert any("`policy_effect` measures nothing" in hint for hint in offline)
    assert not any("policy_effect" in hint for hint in dry_run(recipe(fake)).estimate.hints)
