from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest

from safegen.config.recipe import Recipe, load_recipe
from safegen.core.errors import ConfigError
from safegen.core.hashing import digest
from safegen.core.types import NOISE, NOISE_KINDS, WRAPPER, PlannedScenario
from safegen.dataset.curation.split import split_of
from safegen.pipeline.resolve import resolve_recipe
from safegen.pipeline.session import plan_first_round
from safegen.scenarios.dialogues import split_conversations
from safegen.scenarios.surface import Side, Surface, is_wrapped

# A third of the leaves; a plan of all takes three times as long.
HARMS = ["advice.*", "cyber.*", "fraud.*", "hate.*"]
WHOLE = {"plan.harms": HARMS, "plan.contrast": "all", "plan.dialogues": "all"}
CHANGED = {"plan.noise": True, "plan.wrappers": "all"}


def recipe(**keys: object) -> Recipe:
    return load_recipe("starter", overrides=WHOLE | keys)


@cache
def plain() -> tuple[PlannedScenario, ...]:
    return tuple(plan(recipe()))


@cache
def changed() -> tuple[PlannedScenario, ...]:
    return tuple(plan(recipe(**CHANGED)))


def plan(recipe: Recipe) -> list[PlannedScenario]:
    return [p for set_ in plan_first_round(resolve_recipe(recipe)) for p in set_]


def surface(**keys: object) -> Surface:
    return resolve_recipe(recipe(**keys)).make_surface()


def base_texts() -> dict[str, str]:
    """Last user turn by scenario, without noise and wrappers."""
    return {p.scenario.scenario_id: p.scenario.messages[-1]["content"] for p in plain()}


def test_changes_are_off_by_default() -> None:
    assert all(p.scenario.base_prompt is None for p in plain())
    off = recipe(**{"plan.noise": False})
    assert off.digests() == recipe().digests()
    assert plan(off) == list(plain())


def test_noise_keeps_everything_but_the_words() -> None:
    before = {p.scenario.scenario_id: p for p in plain()}
    for item in changed():
        if is_wrapped(item.scenario):
            continue
        old = before[item.scenario.scenario_id]
        attributes = tuple(a for a in item.scenario.attributes if a.axis != NOISE)
        same = replace(
            item.scenario,
            attributes=attributes,
            messages=old.scenario.messages,
            base_prompt=None,
        )
        assert replace(item, scenario=same) == old


def test_noise_keeps_the_original_in_a_column() -> None:
    texts = base_texts()
    noisy = [p.scenario for p in changed() if p.scenario.find_attribute(NOISE)]
    assert 0.4 <= len(noisy) / len(texts) <= 0.6
    for scenario in noisy:
        assert scenario.base_prompt == texts[scenario.scenario_id]
        assert scenario.base_prompt != scenario.messages[-1]["content"]
        assert scenario.plain_request == scenario.base_prompt


def test_wrapped_rows_keep_labels_goal_and_split() -> None:
    before = {p.scenario.scenario_id: p for p in plain()}
    by_text = {(p.scenario.set_id, p.scenario.messages[-1]["content"]): p for p in before.values()}
    wrapped = [p for p in changed() if is_wrapped(p.scenario)]
    assert len(wrapped) > 1_000
    for item in wrapped:
        scenario = item.scenario
        base = by_text[scenario.set_id, scenario.base_prompt or ""]
        same = replace(
            scenario,
            scenario_id=base.scenario.scenario_id,
            attributes=base.scenario.attributes,
            messages=base.scenario.messages,
            base_prompt=None,
        )
        assert replace(item, scenario=same) == base
        assert split_of(scenario.goal_id, test=0.1) == split_of(base.scenario.goal_id, test=0.1)
    ids = [p.scenario.scenario_id for p in changed()]
    assert len(set(ids)) == len(ids)


def test_wrapped_rows_are_as_often_benign() -> None:
    counts = Counter(
        Side(name, p.scenario.intent == "benign")
        for p in changed()
        if (name := p.scenario.find_attribute(WRAPPER))
    )
    for side, count in counts.items():
        assert count == counts[Side(side.wrapper, not side.is_benign)] > 0


def test_twins_of_a_set_share_the_wording() -> None:
    twins: dict[tuple[str, str], list[PlannedScenario]] = {}
    for item in changed():
        if name := item.scenario.find_attribute(WRAPPER):
            twins.setdefault((item.scenario.set_id, name), []).append(item)
    for pair in twins.values():
        frames = {
            p.scenario.messages[-1]["content"].replace(p.scenario.base_prompt or "", "")
            for p in pair
            if not p.scenario.has_hidden_words
        }
        assert len(frames) <= 1


def test_hidden_words_are_readable_for_judges() -> None:
    hidden = [p.scenario for p in changed() if p.scenario.has_hidden_words]
    assert {"base64", "payload_split"} <= {s.find_attribute(WRAPPER) for s in hidden}
    for scenario in hidden:
        *operator, request = scenario.readable_messages
        assert request == {"role": "user", "content": scenario.base_prompt}
        assert all(m["role"] == "system" for m in operator)
    shown = next(p.scenario for p in changed() if p.scenario.find_attribute(WRAPPER) == "fiction")
    assert shown.readable_messages == shown.messages


def test_draws_do_not_depend_on_the_process() -> None:
    code = (
        "from tests.scenarios.test_surface import digest_of, plan_few; print(digest_of(plan_few()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": "."},
    )
    assert run.stdout.strip() == digest_of(plan_few())


def plan_few() -> list[PlannedScenario]:
    return plan(recipe(**CHANGED | {"plan.harms": ["cyber.malware"]}))


def digest_of(items: Iterable[PlannedScenario]) -> str:
    return digest([[p.scenario.scenario_id, *p.scenario.messages] for p in items])


def test_another_seed_draws_other_changes() -> None:
    kinds = {p.scenario.scenario_id: p.scenario.find_attribute(NOISE) for p in changed()}
    other = plan(recipe(**CHANGED, seed=5))
    pairs = [(kinds.get(p.scenario.scenario_id), p.scenario.find_attribute(NOISE)) for p in other]
    assert sum(a != b for a, b in pairs) > 30


def test_number_and_share_limit_the_wrappers() -> None:
    one = plan(recipe(**{"plan.wrappers": {"kinds": ["fiction", "base64"], "number": 1}}))
    sets = Counter(p.scenario.set_id for p in one if is_wrapped(p.scenario))
    assert set(sets.values()) == {2}
    few = plan(recipe(**{"plan.wrappers": {"kinds": ["fiction"], "share": 0.25}}))
    wrapped = sum(is_wrapped(p.scenario) for p in few)
    assert 0.15 < wrapped / sum(sets.values()) < 0.35


def test_lone_prompts_are_balanced_over_sets() -> None:
    chosen = surface(**{"plan.wrappers": ["fiction"]})
    singles = [
        [replace(p, scenario=replace(p.scenario, set_id=p.scenario.scenario_id))]
        for p in plain()
        if not p.scenario.find_attribute("turn_style")
    ]
    lone = chosen.count_lone(singles)
    rows = [p for set_ in chosen.apply(singles, lone=lone) for p in set_ if is_wrapped(p.scenario)]
    counts = Counter(p.scenario.intent == "benign" for p in rows)
    assert counts[True] == counts[False] == min(lone.values()) > 15
    assert not [p for s in chosen.apply(singles) for p in s if is_wrapped(p.scenario)]


def test_dialogue_turns_stay_one_conversation() -> None:
    def lengths(keys: dict[str, object]) -> list[list[int]]:
        sets = plan_first_round(resolve_recipe(recipe(**keys)))
        dialogues = [s for s in sets if s[0].scenario.find_attribute("turn_style")]
        return [[len(c) for c in split_conversations(set_)] for set_ in dialogues]

    assert lengths(CHANGED) == lengths({})
    assert max(max(sizes) for sizes in lengths({})) > 1
    turns = [p.scenario for p in changed() if p.scenario.find_attribute("turn_style")]
    assert any(s.turn and s.find_attribute(NOISE) for s in turns)
    assert not any(is_wrapped(s) for s in turns)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"plan.wrappers": ["fictoin"]}, "did you mean `fiction`"),
        ({"plan.wrappers": {"kinds": []}}, "is empty"),
        ({"plan.noise": {"kinds": ["typo"]}}, "typos"),
        ({"plan.noise": {"share": 0}}, "greater than 0"),
        ({"plan.wrappers": {"share": 2}}, "less than or equal to 1"),
    ],
    ids=["unknown wrapper", "no wrapper", "unknown kind", "no share", "share above one"],
)
def test_wrong_settings_name_the_fault(keys: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message):
        resolve_recipe(recipe(**keys))


def test_language_without_words_is_rejected() -> None:
    with pytest.raises(ConfigError, match="has no `noise`"):
        Surface.create(
            recipe(**{"plan.noise": True}).plan, words=None, wrappers={}, language="fr", seed=0
        )
    wrappers = resolve_recipe(recipe(**{"plan.wrappers": "all"})).make_wrappers()
    with pytest.raises(ConfigError, match="has no wording in `fr`"):
        Surface.create(recipe().plan, words=None, wrappers=wrappers, language="fr-FR", seed=0)


def auc(scores: list[tuple[float, bool]]) -> float:
    """Compute the area under the ROC curve by pairs; ties count half."""
    first = [s for s, is_first in scores if is_first]
    second = [s for s, is_first in scores if not is_first]
    wins = sum((a > b) + (a == b) / 2 for a in first for b in second)
    return wins / (len(first) * len(second))


@pytest.mark.parametrize("kind", [*NOISE_KINDS, None])
@pytest.mark.parametrize("pair", list(combinations(["benign", "dual_use", "malicious"], 2)))
def test_noise_kind_does_not_reveal_the_intent(kind: str | None, pair: tuple[str, str]) -> None:
    rows = [p.scenario for p in changed() if not is_wrapped(p.scenario)]
    has_kind = [
        (float(s.find_attribute(NOISE) == kind), s.intent == pair[0])
        for s in rows
        if s.intent in pair and not s.find_attribute("turn_style")
    ]
    assert 0.45 <= auc(has_kind) <= 0.55
