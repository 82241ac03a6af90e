from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import safegen
from safegen.config.language_pack import load_locale
from safegen.core.types import INTENTS, MODES, Attribute, PlannedScenario, Record, Source, Tier
from safegen.dataset.coverage_report import AxisShapes, collect_planned_shapes
from safegen.dataset.curation import corpus_checks
from safegen.dataset.curation.hedging import MIN_ANSWERS
from safegen.dataset.figures import MeasureInputs
from safegen.dataset.target import TargetReport
from safegen.dataset.verify import verify_dataset
from safegen.store import plan
from safegen.testing import (
    make_draft,
    make_expectation,
    make_knowledge,
    make_messages,
    make_record,
    make_scenario,
)
from tests.dataset.curation.test_corpus_checks import TAG, matched, sets
from tests.dataset.test_build import built, bytes_of, make_run, manifest_of
from tests.e2e.test_authored_sets import World, recipe

TIERS: dict[str, Tier] = {"cyber.intrusion": "restricted", "fraud.scams": "sensitive"}


def record(prompt: corpus_checks.CorpusPrompt, *, accepted: bool = True) -> Record:
    scenario = make_scenario(
        scenario_id=prompt.scenario_id,
        set_id=prompt.set_id,
        goal_id=prompt.goal_id,
        source=prompt.source,
        intent=prompt.intent,
        messages=make_messages(prompt.text),
    )
    return make_record(
        scenario=scenario, expectation=make_expectation(mode=prompt.mode), accepted=accepted
    )


def copied(source: Source) -> list[Record]:
    """Two sets, the second with a paraphrase that repeats the first one's benign prompt."""
    one, two = matched("one", source=source), matched("two", source=source)
    two[3] = two[3]._replace(text=one[0].text + " truly")
    return [record(p) for p in [*one, *two]]


def test_authored_near_duplicate_is_excluded_and_listed(tmp_path: Path) -> None:
    report = built(make_run(tmp_path, copied("author")))
    assert report.excluded == {"near_duplicate": 1}
    section = manifest_of(tmp_path)["corpus"]["near_duplicates"]
    assert [c["scenario_id"] for c in section["excluded"]] == ["two-dual_use-1"]
    assert [c["of"] for c in section["excluded"]] == ["one-benign-0"]
    assert (
        "(similarity of word triples 0.6 or more) and were excluded: 1."
        in (tmp_path / "README.md").read_text()
    )
    assert verify_dataset(tmp_path) == []


def test_written_near_duplicates_are_not_searched(tmp_path: Path) -> None:
    report = built(make_run(tmp_path, copied("written")))
    assert report.excluded == {}
    assert manifest_of(tmp_path)["corpus"]["near_duplicates"]["written_kept"] is None


def test_copy_of_an_unanswered_prompt_stays(tmp_path: Path) -> None:
    records = copied("imported")
    records[0] = replace(records[0], accepted=False, accepted_by=None, reason="style")
    assert built(make_run(tmp_path, records)).excluded == {"style": 1}


def test_authored_sets_with_artifacts_are_excluded(tmp_path: Path) -> None:
    tagged = sets(45, tag=TAG)
    prompts = [*sets(35), *sets(20, tag="weakly"), *tagged]
    report = built(make_run(tmp_path, [record(p) for p in prompts]))
    assert report.excluded == {"lexical_artifact": len(tagged)}
    section = manifest_of(tmp_path)["corpus"]["lexical_artifact"]
    assert section["excluded_for"] == [TAG]
    assert section["questions"]["dual_use"]["auc"] < 0.75
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"(AUC bound 0.75 on dual_use): {TAG}." in text
    assert verify_dataset(tmp_path) == []


def test_artifact_in_every_authored_set_is_reported(tmp_path: Path) -> None:
    report = built(make_run(tmp_path, [record(p) for p in sets(40, tag=TAG)]))
    assert report.excluded == {}
    assert report.artifact_warning is not None
    assert f"`{TAG}`" in report.artifact_warning
    assert "in too many sets to exclude them" in report.artifact_warning
    assert (
        manifest_of(tmp_path)["corpus"]["lexical_artifact"]["artifact_warning"]
        == report.artifact_warning
    )
    assert "**Lexical artifacts remain:**" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_written_sets_with_artifacts_are_only_reported(tmp_path: Path) -> None:
    prompts = sets(30, source="written", tag=TAG)
    assert built(make_run(tmp_path, [record(p) for p in prompts])).excluded == {}
    section = manifest_of(tmp_path)["corpus"]["lexical_artifact"]["questions"]["dual_use"]
    assert section["low"] > 0.9
    assert section["words"][0] == TAG
    assert f"| {TAG}" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_few_rows_are_unmeasured(tmp_path: Path) -> None:
    built(make_run(tmp_path, copied("written")))
    manifest = manifest_of(tmp_path)
    assert all(
        "unmeasured" in q for q in manifest["corpus"]["lexical_artifact"]["questions"].values()
    )
    assert "unmeasured" in manifest["hedging"]
    assert "| dual_use | unmeasured |" in (tmp_path / "README.md").read_text(encoding="utf-8")


def world() -> list[PlannedScenario]:
    """Two leaves by three intents; the label of each prompt decides its evidence."""
    evidence = {"benign": "none", "dual_use": "none", "malicious": "stated"}
    return [
        PlannedScenario(
            make_scenario(
                scenario_id=f"{harm}-{intent}",
                harm=harm,
                domain=harm.split(".")[0],
                intent=intent,
                evidence=evidence[intent],
                messages=make_messages(f"{harm} {intent}?"),
            ),
            make_expectation(mode=MODES[INTENTS.index(intent)]),
            make_knowledge(),
        )
        for harm in TIERS
        for intent in INTENTS
    ]


def test_manifest_certifies_planned_and_kept_coverage(tmp_path: Path) -> None:
    planned = world()
    records = [
        make_record(scenario=p.scenario, expectation=p.expectation, accepted=p is not planned[-1])
        for p in planned
    ]
    run = make_run(tmp_path, records)
    plan.write_plan(run.plan(0), [planned])
    target = TargetReport(
        1, ("harm", "intent"), 6, {("fraud.scams", "malicious"): 1}, "stalled", "stalled"
    )
    built(run, inputs=MeasureInputs(tiers=TIERS, target=target))
    manifest = manifest_of(tmp_path)
    before, after = manifest["certificate"]["before"], manifest["certificate"]["after"]
    assert manifest["certificate"]["triples_of"] == ["tier", "evidence", "requested_detail"]
    assert (before["rows"], after["rows"]) == (6, 5)
    for counts in (before, after):
        assert counts["total"] == counts["void"] + counts["covered"] + counts["missing"]
    lost = {tuple(sorted(m.items())) for m in after["first_missing"]} - {
        tuple(sorted(m.items())) for m in before["first_missing"]
    }
    assert (("harm", "fraud.scams"), ("intent", "malicious")) in lost
    assert manifest["target"]["short"] == [
        {"cell": {"harm": "fraud.scams", "intent": "malicious"}, "missing": 1, "stalled": False}
    ]
    assert (manifest["target"]["stop_code"], manifest["target"]["stop_reason"]) == (
        "stalled",
        "stalled",
    )
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"| covered | {before['covered']} | {after['covered']} |" in text
    assert "1 missing in 1 cell: stalled" in text


def test_run_without_a_plan_has_no_certificate(tmp_path: Path) -> None:
    built(make_run(tmp_path, copied("written")))
    assert manifest_of(tmp_path)["certificate"] is None


async def test_requested_attributes_count_only_if_confirmed(
    tmp_path: Path,
) -> None:
    world = World()
    recipe_ = recipe(authored=6, axes=["tone"])
    done = await safegen.agenerate(recipe_, output=tmp_path, teachers=world.teachers())
    certificate = manifest_of(tmp_path)["certificate"]
    assert "tone" in certificate["pairs_of"]
    assert certificate["after"]["missing"] > certificate["before"]["missing"]
    before, tones = collect_planned_shapes(plan.Plans(done.folder.plans)), AxisShapes()
    for shard in done.folder.finished_shards():
        for r in done.folder.read_records(shard):
            read = (Attribute("tone", "curt", "confirmed"),)
            tones.add_kept(replace(r, scenario=replace(r.scenario, attributes=read)))
    assert len(before.values("tone")) > 1
    assert tones.values("tone") == ["curt"]


@pytest.mark.parametrize("source", ["written", "author"])
def test_equal_records_give_equal_manifests(tmp_path: Path, source: Source) -> None:
    for name in ("one", "two"):
        prompts = [*sets(12, source=source), *matched("x", source=source)]
        built(make_run(tmp_path / name, [record(p) for p in prompts]))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_hedging_is_split_by_spec_access(tmp_path: Path) -> None:
    records = []
    for harm, text in (("a.free", "The lid is open, box"), ("a.bound", "Perhaps a lid opens box")):
        for n in range(MIN_ANSWERS):
            name = f"{harm}{n}"
            scenario = make_scenario(scenario_id=name, harm=harm, goal_id=name)
            draft = make_draft(scenario_id=name, response=f"{text} {n}.")
            expectation = make_expectation(mode="direct_answer")
            records.append(make_record(scenario=scenario, draft=draft, expectation=expectation))
    hedges = {"en": load_locale("en").compiled["hedges"]}
    tiers: dict[str, Tier] = {"a.free": "allowed", "a.bound": "sensitive"}
    built(make_run(tmp_path, records), inputs=MeasureInputs(tiers=tiers, hedge_patterns=hedges))
    section = manifest_of(tmp_path)["hedging"]
    assert section["without_spec"]["per_100_words"] == 0
    assert section["with_spec"]["per_100_words"] == pytest.approx(100 / 6, abs=0.01)
    assert "| with the spec | 20 | 16.67 |" in (tmp_path / "README.md").read_text(encoding="utf-8")
