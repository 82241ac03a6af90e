"""Authored sets from recipe to dataset, with scripted authors and labellers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import safegen
from safegen.config import taxonomy
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError, RunError
from safegen.core.hashing import hash_fraction
from safegen.core.types import Record, Request
from safegen.dataset.coverage_report import brief_axes
from safegen.store.plan import Plans
from tests.e2e.authors import WORDS, Known
from tests.e2e.runs import cli
from tests.scenarios.authoring.author_cases import asked_fields

HELP = (
    "I'll leave out the steps themselves, but this much can be said about it: {n}. If you want, I can"
    " help you write a list of what to check first, and the support desk can look at the rest."
)
DETAIL = {"benign": 1, "dual_use": 3, "malicious": 3}


@dataclass
class World(Known):
    """An author whose texts a labeller knows; `spoil` is the share of sets with a mislabelled benign text."""

    spoil: float = 0.0
    wrong: float = 0.0
    copies: float = 0.0
    """Share of sets whose benign texts are near-duplicates of each other."""
    truths: dict[str, tuple[str, str, int]] = field(default_factory=dict[str, tuple[str, str, int]])

    def author(self, request: Request) -> str:
        reply = {}
        for name in asked_fields(request):
            reply[name] = self._text(request, name)
        return json.dumps(reply)

    def _text(self, request: Request, name: str) -> str:
        key = [request.sample, name, [m["content"] for m in request.messages[:2]]]
        copied = name == "benign_0" and hash_fraction("copy", key) < self.copies
        some = " ".join(WORDS[int(hash_fraction(key, i) * len(WORDS))] for i in range(9))
        some = " ".join([*WORDS[:8], some.split()[0]]) if copied else some
        text = f"Could you tell me what one does with the {some} that stands over there?"
        intent = name.rsplit("_", 1)[0]
        if intent not in DETAIL:
            return f"Somebody would look after the {some}."
        evidence = "stated" if intent == "malicious" else "none"
        if "contextual" in request.messages[1]["content"] and intent == "malicious":
            evidence = "contextual"
        spoilt = hash_fraction("spoil", key[0], key[2]) < self.spoil
        real = "malicious" if spoilt and intent == "benign" else intent
        planned = re.search(
            rf"^- {name}: .* asks for detail (\d)$", request.messages[1]["content"], re.M
        )
        detail = int(planned[1]) if planned and real == intent else DETAIL[real]
        self.truths[text] = (real, evidence if real == intent else "stated", detail)
        return text

    def read(self, text: str) -> tuple[str, str, int]:
        intent, evidence, detail = super().read(text)
        if hash_fraction("wrong", text) < self.wrong:
            intent = "benign" if intent == "dual_use" else "dual_use"
        return intent, evidence, detail

    def drafter(self, request: Request) -> str:
        return HELP.format(n=hash_fraction(request.messages[-1]["content"], request.sample))


def recipe(**plan: Any) -> Recipe:
    values = {
        "harms": ["property.*"],
        "sets_per_harm": 0,
        "authored": 3,
        "axes": ["tone", "surface_form"],
    }
    return Recipe.model_validate(
        {
            "name": "authored",
            "plan": values | plan,
            "teachers": {"drafter": "scripted", "author": "scripted"},
            "judges": {"labellers": ["scripted"]},
            "validators": ["length_bounds"],
        }
    )


def records(run: safegen.Run) -> list[Record]:
    return [r for n in run.folder.finished_shards() for r in run.folder.read_records(n)]


async def test_authored_sets_reach_the_dataset(tmp_path: Path) -> None:
    world = World()
    run = await safegen.agenerate(recipe(), output=tmp_path, teachers=world.teachers())
    made = records(run)
    assert {r.scenario.source for r in made} == {"author"}
    assert len({r.scenario.set_id for r in made}) == 6
    assert all(
        world.truths[r.scenario.messages[-1]["content"]][0] == r.scenario.intent for r in made
    )
    assert {r.expectation.mode for r in made if r.scenario.evidence == "stated"} == {
        "refuse_redirect"
    }
    assert {r.scenario.requested_detail for r in made} == {0, 1, 2, 3}
    assert run.view("sft").height == len(made)
    assert "other" in (tmp_path / "README.md").read_text()
    payload = json.loads((tmp_path / "run" / "labellers.json").read_text())
    assert payload["fields"]["intent"]["agree"] == payload["fields"]["intent"]["n"] == 120


async def test_labellers_are_checked_on_covered_leaves(tmp_path: Path) -> None:
    recipe_ = recipe().model_copy(update={"policies": ("deceit",)})
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=World().teachers())
    assert len({r.scenario.set_id for r in records(run)}) == 6


async def rows_of(folder: Path, axes: dict[str, Any], **more: Any) -> list[Mapping[str, str]]:
    recipe_ = recipe(authored=40, axes=axes, harms=["property.theft"], **more)
    run = await safegen.agenerate(
        recipe_, output=folder, teachers=World().teachers(), until="expand"
    )
    plans = Plans(run.folder.plans)
    items = {p.scenario.set_id: p for n in range(plans.shards) for p in plans.read(n)}
    return [brief_axes(item.brief) for item in items.values()]


async def test_axes_accept_subsets_weights_and_fixed_rows(tmp_path: Path) -> None:
    some = ["urgent", "playful"]
    rows = await rows_of(
        tmp_path / "cut",
        {"tone": some, "surface_form": None, "skill": None},
        rows=[{"tone": "playful", "surface_form": "letter", "skill": "unskilled"}],
    )
    assert {row["tone"] for row in rows} == set(some)
    assert {"tone": "playful", "surface_form": "letter", "skill": "unskilled"} in rows
    # The pairs of tone and form leave the choice of the skill; without weights each has a third.
    weighted = {"tone": None, "surface_form": None, "skill": {"skilled": 50}}
    preferred = Counter(row["skill"] for row in await rows_of(tmp_path / "preferred", weighted))
    assert preferred["skilled"] > 40 / 3 + 1
    assert set(preferred) == {"normal", "unskilled", "skilled"}, "a weight excludes no value"


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"axes": ["tones"]}, "no axis `tones`.*did you mean `tone`"),
        ({"axes": {"tone": ["urgnt"]}}, "`tone` has no value `urgnt`.*did you mean `urgent`"),
        ({"axes": {"tone": {"urgnt": 2}}}, "`tone` has no value `urgnt`"),
        ({"rows": [{"tone": "loud"}]}, "`tone` has no value `loud`"),
        ({"rows": [{"weather": "mild"}]}, "no axis `weather`"),
    ],
)
async def test_unknown_axes_are_refused(tmp_path: Path, plan: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        await safegen.agenerate(recipe(**plan), output=tmp_path, teachers=World().teachers())


async def test_author_writes_probes_of_each_leaf_and_type(
    tmp_path: Path,
) -> None:
    recipe_ = recipe(authored=0, authored_probes=2, contrast=["homonyms", "definitions"])
    world = World()
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=world.teachers())
    made = records(run)
    written = [r for r in made if r.scenario.source == "written"]
    probes = [r for r in made if r.scenario.source == "author"]
    leaves = {h for h in taxonomy.load_taxonomy("core").harms if h.startswith("property.")}
    assert {(r.scenario.harm, r.scenario.contrast) for r in probes} == {
        (leaf, kind) for leaf in leaves for kind in ("homonyms", "definitions")
    }
    assert len({r.scenario.set_id for r in probes}) == len(leaves) * 2 * 2
    assert {
        (r.scenario.intent, r.expectation.mode) for r in probes if r.scenario.intent == "benign"
    } == {("benign", "direct_answer")}
    assert not {r.scenario.scenario_id for r in probes} & {r.scenario.scenario_id for r in written}


def test_authored_probes_need_types_and_a_labeller() -> None:
    with pytest.raises(ValueError, match=r"needs types under `plan\.contrast`"):
        recipe(authored=0, authored_probes=1)
    with pytest.raises(ValueError, match=r"`plan\.authored_probes` needs a judge"):
        Recipe.model_validate(
            {
                "name": "t",
                "plan": {"authored_probes": 1, "contrast": "all"},
                "teachers": {"author": "scripted"},
            }
        )


async def test_swapped_intent_drops_its_set(tmp_path: Path) -> None:
    world = World(spoil=0.5)
    run = await safegen.agenerate(recipe(authored=8), output=tmp_path, teachers=world.teachers())
    made = records(run)
    failures = [f for _, f in run.folder.read_failures()]
    assert failures
    assert {(f.stage, f.error, f.reason) for f in failures} == {
        ("expand", "GateFailed", "gate_intent")
    }
    assert all("benign_0" in f.message for f in failures)
    assert all(
        world.truths[r.scenario.messages[-1]["content"]][0] == r.scenario.intent for r in made
    )
    dropped = {f.scenario_id for f in failures}
    assert dropped.isdisjoint(r.scenario.scenario_id for r in made)
    assert run.report is not None
    assert run.report.excluded["gate_intent"] == len(dropped)
    assert len(dropped) + len(made) == Plans(run.folder.plans).scenarios


async def test_erring_labeller_stops_the_run(tmp_path: Path) -> None:
    world = World(wrong=0.3)
    with pytest.raises(RunError, match="NOT good enough"):
        await safegen.agenerate(recipe(), output=tmp_path, teachers=world.teachers())
    assert not list((tmp_path / "run").glob("records/*"))


async def test_small_taxonomy_checks_labellers_on_core_prompts(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli(capsys, "init", "guild.yaml", "--taxonomy", "guild", "--policy", "secrets")
    world = World()
    for goal in taxonomy.load_taxonomy("guild").goals():
        for intent, _, p in goal.prompts.iter_by_intent():
            world.truths[p.text] = (intent, p.evidence, p.detail)
    recipe_ = recipe(harms=["guild.*"], authored=2).model_copy(
        update={"taxonomy": "guild", "policies": ("secrets",)}
    )
    run = await safegen.agenerate(recipe_, output="out", teachers=world.teachers())
    payload = json.loads(Path("out/run/labellers.json").read_text())
    assert payload["fields"]["expectation"]["agree"] == payload["fields"]["expectation"]["n"] == 120
    assert len(records(run)) == 10


async def test_recipe_bar_decides_the_labeller_check(tmp_path: Path) -> None:
    strict = recipe()
    lenient = strict.model_copy(
        update={"judges": strict.judges.model_copy(update={"bar": 0.5, "known": 100})}
    )
    with pytest.raises(RunError, match=r"`judges.bar` the agreement that is required"):
        await safegen.agenerate(
            strict, output=tmp_path / "a", teachers=World(wrong=0.15).teachers()
        )
    await safegen.agenerate(lenient, output=tmp_path / "b", teachers=World(wrong=0.15).teachers())
    payload = json.loads((tmp_path / "b" / "run" / "labellers.json").read_text())
    assert (payload["bar"], payload["fields"]["intent"]["n"]) == (0.5, 100)


@pytest.mark.slow
async def test_target_is_met_by_further_authored_sets(tmp_path: Path) -> None:
    world = World(spoil=0.4)
    recipe_ = recipe(authored=2).model_copy(update={"target": recipe_target(accepted=4)})
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=world.teachers())
    accepted = [r for r in records(run) if r.accepted]
    for harm in ("property.theft", "property.copyright"):
        for intent in ("benign", "dual_use", "malicious"):
            cell = [r for r in accepted if (r.scenario.harm, r.scenario.intent) == (harm, intent)]
            assert len(cell) >= 4
    assert Plans(run.folder.plans).rounds > 1
    assert {r.scenario.round for r in accepted} > {0}
    again = await safegen.agenerate(recipe_, output=tmp_path, teachers=World().teachers())
    assert again.shards_done == 0


@pytest.mark.slow
async def test_near_duplicates_do_not_count_for_a_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(copies=0.5)
    recipe_ = recipe(authored=6).model_copy(update={"target": recipe_target(accepted=6)})
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=world.teachers())
    assert run.report is not None
    assert run.report.target is not None
    assert run.report.target.excluded["near_duplicate"] == run.report.excluded["near_duplicate"] > 0
    assert any("excluded from the dataset" in line for line in run.report.target.lines)
    rows = run.view("sft")
    for harm in ("property.theft", "property.copyright"):
        for intent in ("benign", "dual_use", "malicious"):
            assert rows.filter(harm=harm, intent=intent).height >= 6, (harm, intent)
    assert run.report.target.shortfall == {}
    payload = json.loads(cli(capsys, "coverage", str(tmp_path), "--certificate", "--json").out)
    kept = {(c["harm"], c["intent"]): c for c in payload["cells"]}
    for (harm, intent), cell in kept.items():
        assert cell["kept"] == rows.filter(harm=harm, intent=intent).height
    reasons = ("near_duplicate", "incomplete_set")
    left = sum(c["reasons"].get(reason, 0) for c in payload["cells"] for reason in reasons)
    assert left == sum(run.report.excluded[reason] for reason in reasons)
    assert left == sum(c["accepted"] - c["kept"] for c in payload["cells"])
    shown = cli(
        capsys, "show", str(tmp_path), "--reason", "near_duplicate", "--json", "-n", "999"
    ).out
    listed = {json.loads(line)["scenario_id"] for line in shown.splitlines()}
    assert len(listed) == run.report.excluded["near_duplicate"]
    assert not listed & set(rows["scenario_id"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert payload["certificate"]["after"]["covered"] == manifest["certificate"]["after"]["covered"]


@pytest.mark.slow
async def test_author_that_copies_itself_stalls_the_target(tmp_path: Path) -> None:
    world = World(copies=1.0)
    target = recipe_target(accepted=6, patience=2)
    recipe_ = recipe(authored=2).model_copy(update={"target": target})
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=world.teachers())
    assert run.report is not None
    assert run.report.target is not None
    assert run.report.target.stop_code == "stalled"
    assert set(run.report.target.shortfall) >= {("property.theft", "benign")}


async def test_author_requests_are_distinct(tmp_path: Path) -> None:
    world = World()
    teachers = world.teachers()
    recipe_ = recipe(authored=24, axes=["tone"], harms=["property.theft"])
    await safegen.agenerate(recipe_, output=tmp_path, teachers=teachers)
    requests = teachers["author"].requests  # pyright: ignore[reportAttributeAccessIssue]
    texts = [json.dumps(request.messages) for request in requests]
    assert len(texts) == len(set(texts)) >= 24


async def test_later_rounds_add_no_unplanned_written_set(
    tmp_path: Path,
) -> None:
    recipe_ = recipe(authored=1).model_copy(update={"target": recipe_target(accepted=3)})
    run = await safegen.agenerate(recipe_, output=tmp_path, teachers=World().teachers())
    assert Plans(run.folder.plans).rounds > 1
    assert {r.scenario.source for r in records(run)} == {"author"}


def recipe_target(**values: Any) -> Any:
    from safegen.config.recipe import Target

    return Target(**values)
