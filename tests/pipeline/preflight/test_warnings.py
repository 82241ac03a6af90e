from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.pipeline.preflight.estimate import estimate
from safegen.pipeline.preflight.warnings import list_overrides, list_warnings
from safegen.pipeline.resolve import check_drafters, check_teachers, resolve_recipe
from safegen.teachers.scripted import scripted

COLD = {"openai_chat": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "temperature": 0}}
WARM = {"openai_chat": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "temperature": 1}}
PLAIN = {"openai_chat": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}


def recipe(**keys: Any) -> Recipe:
    return Recipe.model_validate({"name": "t"} | keys)


def warning_text(**keys: Any) -> str:
    return " ".join(list_warnings(resolve_recipe(recipe(**keys)), today=date(2026, 1, 1)))


QUIET: dict[str, dict[str, Any]] = {
    "several drafts": {"plan": {"candidates": 2}},
    "a revision makes a second draft": {"revise": 1},
    "a temperature": {"plan": {"candidates": 2}, "teachers": {"drafter": WARM}},
    "styles differ": {
        "plan": {"candidates": 2, "styles": ["short", "long"]},
        "teachers": {"drafter": COLD},
    },
    "one draft without a temperature": {
        "teachers": {"drafter": PLAIN},
        "views": ["sft"],
    },
    "a drafter per candidate": {
        "plan": {"candidates": 2},
        "teachers": {"drafter": [PLAIN, COLD]},
    },
    "both views": {
        "plan": {"dialogues": "all"},
        "views": ["sft", "prompt_completion"],
    },
}
LOUD: dict[str, tuple[dict[str, Any], str]] = {
    "no validator": (
        {"plan": {"candidates": 2}, "validators": []},
        "`validators` is empty, so every",
    ),
    "no validator that decides": (
        {"plan": {"candidates": 2}, "require": []},
        "`require` is empty, so every response is accepted",
    ),
    "a spec that decides nothing": (
        {"policies": [*Recipe.model_fields["policies"].default, "base"], "plan": {"candidates": 2}},
        "`base` applies to no leaf of taxonomy `core`",
    ),
    "no second draft": ({}, "`preference` will be empty: pairs need two drafts"),
    "nothing that finds an instructive fault": (
        {"plan": {"candidates": 2}, "validators": ["length_bounds"]},
        "`regulated_advice`, `required_elements`, `response_form` or `style` failed; add one to",
    ),
    "nothing that decides finds an instructive fault": (
        {
            "plan": {"candidates": 2},
            "validators": ["length_bounds", "style"],
            "require": ["length_bounds"],
        },
        "failed; add one to `require`",
    ),
    "cold": (
        {"plan": {"candidates": 2}, "teachers": {"drafter": COLD}},
        "`temperature` is 0",
    ),
    "cold in further rounds": (
        {"target": {"accepted": 2}, "teachers": {"drafter": COLD}},
        "`temperature` is 0",
    ),
    "no temperature": (
        {"plan": {"candidates": 2}, "teachers": {"drafter": PLAIN}},
        "`temperature` is not set: if the endpoint's default is 0, all drafts",
    ),
    "a zero and no temperature": (
        {"plan": {"candidates": 3}, "teachers": {"drafter": [COLD, PLAIN]}},
        "all but 2 drafts of a prompt are identical",
    ),
    "a style without a candidate": (
        {"plan": {"styles": ["short", "long"]}, "teachers": {"drafter": WARM}},
        "`plan.styles` names 2",
    ),
    "a drafter without a candidate": (
        {"teachers": {"drafter": [WARM, COLD]}},
        "`teachers.drafter` names 2",
    ),
    "styles for the offline teacher": (
        {"plan": {"candidates": 2, "styles": ["short"]}},
        "no drafter reads `plan.styles`",
    ),
    "axes of no sets": ({"plan": {"axes": ["tone"]}}, "`plan.axes` varies authored sets"),
    "dialogues": (
        {"plan": {"dialogues": "all"}, "views": ["sft"]},
        "add the view `prompt_completion`",
    ),
}


@pytest.mark.parametrize("keys", QUIET.values(), ids=QUIET.keys())
def test_sound_recipe_gets_no_warning(keys: dict[str, Any]) -> None:
    assert warning_text(**keys) == ""


@pytest.mark.parametrize(("keys", "says"), LOUD.values(), ids=LOUD.keys())
def test_option_without_effect_is_a_warning(keys: dict[str, Any], says: str) -> None:
    assert says in warning_text(**keys)


def test_overriding_spec_is_reported(workdir: Path) -> None:
    (workdir / "mine.yaml").write_text(
        "policy: mine\nversion: 0.1.0\ntitle: Mine\ninherits: security\nharms: [cyber.intrusion]\n"
        "facilitation: What lets somebody in.\n"
    )
    names = [*Recipe(name="t").policies, "mine.yaml"]
    assert list_overrides(resolve_recipe(recipe(policies=names))) == (
        "cyber.intrusion: mine in place of security",
    )
    assert list_overrides(resolve_recipe(recipe())) == ()


def test_unused_own_spec_is_a_warning(workdir: Path) -> None:
    (workdir / "mine.yaml").write_text(
        "policy: mine\nversion: 0.1.0\ntitle: Mine\ninherits: base\nharms: [cyber.intrusion]\n"
        "facilitation: What lets somebody in.\n"
    )
    names = [*Recipe(name="t").policies, "mine.yaml"]
    elsewhere = warning_text(policies=names, plan={"harms": ["property.theft"], "candidates": 2})
    assert elsewhere == (
        "`policies`: `mine` applies to no leaf that `plan.harms` chooses; choose one of its leaves or remove it"
    )
    assert warning_text(policies=names, plan={"harms": ["cyber.intrusion"], "candidates": 2}) == ""


def test_author_and_labeller_calls_are_bounded() -> None:
    recipe_ = recipe(
        plan={"harms": ["property.theft"], "sets_per_harm": 0, "authored": 2},
        teachers={"drafter": WARM, "author": WARM},
        judges={"labellers": [WARM, WARM]},
    )
    estimated = estimate(resolve_recipe(recipe_))
    prompts = 2 * (1 + recipe_.plan.paraphrases + 1)
    assert estimated.author_calls == 2 * 3
    assert estimated.label_calls == 2 * (6 * prompts + recipe_.judges.known)
    assert estimate(resolve_recipe(recipe())).label_calls == 0


def test_prompts_excluded_by_profile_are_counted() -> None:
    estimated = estimate(resolve_recipe(recipe(plan={"profiles": ["public", "minors"]}))).size
    whole = estimate(resolve_recipe(recipe())).size
    assert whole.excluded == {}
    assert set(estimated.excluded) == {"minors"}
    assert estimated.prompts == 2 * whole.prompts - estimated.excluded["minors"]


def test_certificate_counts_planned_values() -> None:
    def count_total(axes: Any) -> int:
        plan = {"harms": ["property.theft"], "sets_per_harm": 0, "authored": 40, "axes": axes}
        recipe_ = recipe(
            plan=plan,
            teachers={"drafter": WARM, "author": WARM},
            judges={"labellers": [WARM]},
        )
        certificate = estimate(resolve_recipe(recipe_)).size.certificate
        assert certificate is not None
        return certificate.counts.total

    assert count_total({"tone": ["urgent", "playful"], "skill": None}) < count_total(
        ["tone", "skill"]
    )


def hinted(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return " | ".join(estimate(resolve_recipe(str(path))).hints)


DRAFTER = 'teachers: {{drafter: {{openai_chat: {{base_url: "http://127.0.0.1:1/v1", model: m, temperature: {}}}}}}}\n'


@pytest.mark.parametrize(("temperature", "warns"), [("0", True), ("0.0", True), ("0.7", False)])
def test_zero_temperature_is_a_warning(tmp_path: Path, temperature: str, warns: bool) -> None:
    text = "name: a\nplan: {harms: [property.theft], candidates: 3}\n" + DRAFTER.format(temperature)
    assert ("`temperature` is 0" in hinted(tmp_path, text)) is warns


def test_fewer_styles_than_candidates_is_a_warning(tmp_path: Path) -> None:
    text = "name: a\nplan: {{harms: [property.theft], candidates: 3, styles: {}}}\n"
    few = hinted(tmp_path, text.format("[short, long]") + DRAFTER.format(0))
    assert "all but 2 drafts of a prompt are likely identical" in few
    enough = hinted(tmp_path, text.format("[short, long, plain]") + DRAFTER.format(0))
    assert "temperature" not in enough


def test_unreachable_target_is_a_warning(tmp_path: Path) -> None:
    text = (
        "name: a\nplan: {{harms: [property.theft], sets_per_harm: 1}}\ntarget: {{accepted: {}}}\n"
    )
    far = hinted(tmp_path, text.format(500))
    assert "`target.accepted: 500` cannot be met in 3 cells of harm × intent" in far
    assert "let an author write sets" in far
    assert "cannot be met" not in hinted(tmp_path, text.format(2)), "further goals are there"


def test_profile_without_prompts_is_a_warning(tmp_path: Path) -> None:
    text = "name: a\nplan: {harms: [sexual.adult], profiles: [public, minors]}\n"
    assert "the chosen leaves have no prompt under `minors`" in hinted(tmp_path, text)


def test_embedded_teacher_without_knowledge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    author = "teachers: {author: scripted}\njudges: {labellers: [scripted]}\n"
    plan = "plan: {harms: [property.theft], contrast: [homonyms], authored_probes: 1}\n"
    path.write_text(f"name: a\n{plan}{author}", encoding="utf-8")
    inputs = resolve_recipe(str(path))
    with pytest.raises(ConfigError, match=r"r\.yaml:3:1: teachers\.drafter: the offline teacher"):
        check_drafters(inputs)
    with pytest.raises(ConfigError, match=r"teachers\.drafter"):
        check_teachers(inputs, teachers={"author": scripted(lambda _: "")})
    check_teachers(
        inputs,
        teachers={role: scripted(lambda _: "") for role in ("author", "labeller", "drafter")},
    )


SMALL = "name: r\npolicies: [security]\nplan: {harms: [cyber.intrusion], sets_per_harm: 1}\n"


@pytest.mark.parametrize(
    ("test", "split"),
    [(0.0, ""), (0.001, "`test`"), (0.99, "`train`")],
    ids=["none", "few", "most"],
)
def test_split_without_goals_is_warned_of(test: float, split: str, tmp_path: Path) -> None:
    hints = hinted(tmp_path, f"{SMALL}split: {{test: {test}}}\n")
    warning = f"no rows in {split}: no goal fell into it; plan more goals or change `split.test`"
    assert warning in hints if split else "no rows in" not in hints, hints
    target = "target: {accepted: 2, per: [harm]}\n"
    assert "no rows in" not in hinted(tmp_path, f"{SMALL}split: {{test: {test}}}\n{target}")
