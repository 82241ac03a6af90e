from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from safegen.config.recipe import Recipe
from safegen.core import plugins
from safegen.core.errors import ConfigError
from safegen.core.types import GIVEN_HISTORY, Record, Verdict
from safegen.dataset.view import ScenarioGroup, View
from safegen.dataset.views._pairs import (
    explain_always_empty,
    explain_empty,
    list_teachable_validators,
)
from safegen.dataset.views.llamafactory_preference import llamafactory_preference
from safegen.dataset.views.preference import preference
from safegen.dataset.views.prompt_completion import prompt_completion
from safegen.dataset.views.sft import sft
from safegen.testing import make_draft, make_messages, make_record, make_scenario, make_verdict

# TRAINERS.md, trap 2.
RESERVED = set(
    "prompt prompts completion completions chosen rejected messages label labels text tools image "
    "images margin environment environments chat_template_kwargs trainer_state log_extra log_metric "
    "completion_ids input_ids seq_lengths index uid raw_prompt agent_name tools_kwargs conversations".split()
)
SECRET = "the words of the spec"


def failing(
    candidate: int,
    *,
    by: str = "style",
    score: float = 0.0,
    teachable: bool = True,
    **values: object,
) -> Record:
    severity = values.pop("severity", None)
    verdict = make_verdict(by, passed=False, score=score, severity=severity, teachable=teachable)
    draft = make_draft(candidate=candidate, **values)
    return make_record(draft=draft, accepted=False, verdicts=(verdict,))


def with_verdict(verdict: Verdict) -> Record:
    """A draft with a teachable fault and another verdict."""
    record = failing(1)
    return replace(record, verdicts=(*record.verdicts, replace(verdict, teachable=False)))


def group(*rejected: Record) -> ScenarioGroup:
    chosen = make_record()
    return ScenarioGroup((chosen, *rejected), chosen)


@pytest.mark.parametrize(
    ("view", "own"),
    [
        (sft(), {"messages"}),
        (prompt_completion(), {"prompt", "completion"}),
        (preference(), {"prompt", "chosen", "rejected"}),
        (llamafactory_preference(), {"conversations", "chosen", "rejected"}),
    ],
    ids=["sft", "prompt_completion", "preference", "llamafactory_preference"],
)
def test_view_columns_avoid_reserved_names_and_nulls(view: View, own: set[str]) -> None:
    names = set(view.schema.names)
    assert names & RESERVED == own
    assert not any(column.nullable for column in view.schema)


@pytest.mark.parametrize(
    "view",
    [sft(), prompt_completion(), preference(), llamafactory_preference()],
    ids=lambda v: v.name,
)
def test_rows_fit_the_schema_without_reasoning(view: View) -> None:
    chosen = make_record(draft=make_draft(reasoning_content=SECRET))
    rows = view.rows(ScenarioGroup((chosen, failing(1, reasoning_content=SECRET)), chosen))
    assert len(rows) == 1
    assert set(rows[0]) == set(view.schema.names)
    assert SECRET not in str(rows)
    assert view.rows(ScenarioGroup((failing(1),), None)) == []


def test_sft_ends_with_the_selected_answer() -> None:
    scenario = make_scenario(messages=make_messages("Where is the box?", system="Serve a kitchen."))
    record = make_record(scenario=scenario, draft=make_draft(response="On the shelf."))
    (row,) = sft().rows(ScenarioGroup((record,), record))
    assert [(m["role"], m["content"]) for m in row["messages"]] == [
        ("system", "Serve a kitchen."),
        ("user", "Where is the box?"),
        ("assistant", "On the shelf."),
    ]


def test_preference_sides_hold_only_the_answer() -> None:
    (row,) = preference().rows(group(failing(1, response="No.")))
    assert row["chosen"][0]["content"] == make_draft().response
    assert row["rejected"] == [{"role": "assistant", "content": "No."}]
    assert [m["role"] for m in row["prompt"]] == ["user"]
    assert (row["chosen_draft_id"], row["rejected_draft_id"]) == ("s0000-0-0", "s0000-1-0")
    assert row["rejected_by"] == "style"


def test_llamafactory_sides_are_single_messages() -> None:
    drafts = group(failing(1, response="No."))
    (row,) = llamafactory_preference().rows(drafts)
    (pair,) = preference().rows(drafts)
    assert row["conversations"] == pair["prompt"]
    assert ([row["chosen"]], [row["rejected"]]) == (pair["chosen"], pair["rejected"])
    own = {"conversations", "prompt", "chosen", "rejected"}
    assert {k: v for k, v in row.items() if k not in own} == {
        k: v for k, v in pair.items() if k not in own
    }


@pytest.mark.parametrize(
    "useless",
    [
        failing(1, teachable=False),
        with_verdict(make_verdict("judge", passed=None, score=None)),
        with_verdict(make_verdict("language", passed=False)),
        failing(1, severity="moderate"),
        failing(1, severity="high"),
        failing(1, outcome="truncated"),
        failing(1, response=None),
        failing(1, withheld=True),
        failing(1, response=make_draft().response),
        make_record(draft=make_draft(candidate=1)),
    ],
    ids="unteachable undecided mixed moderate high lost empty withheld equal accepted".split(),
)
def test_unfit_drafts_make_no_pair(useless: Record) -> None:
    assert preference().rows(group(useless)) == []


@pytest.mark.parametrize("name", ["response_form", "a_rule_of_mine"])
@pytest.mark.parametrize("reason", ["", "needless refusal", "declines, then helps"])
def test_pairs_depend_on_the_teachable_trait(name: str, reason: str) -> None:
    verdict = make_verdict(name, passed=False, reason=reason, teachable=True)
    assert len(preference().rows(group(replace(failing(1), verdicts=(verdict,))))) == 1
    unfit = replace(verdict, teachable=False)
    assert preference().rows(group(replace(failing(1), verdicts=(unfit,)))) == []


def recipe(*, require: list[str], **keys: Any) -> Recipe:
    return Recipe.model_validate(
        {"name": "r", "require": require, "plan": {"candidates": 2}} | keys
    )


OWN = "tests.validators.user_validator:shouting"
REASONS: dict[str, tuple[Recipe, str | None]] = {
    "one draft": (recipe(require=["style"], plan={}), "set `plan.candidates`"),
    "none required": (
        recipe(require=["language"]),
        "that `regulated_advice`, `required_elements`, `response_form` or `style` failed; add one to `require`",
    ),
    "none named": (
        recipe(require=["language"], validators=["language"]),
        "add one to `validators`",
    ),
    "one required": (recipe(require=["style"]), None),
    "my own required": (recipe(require=[OWN], validators=[OWN]), None),
}


@pytest.mark.parametrize(("recipe_", "reason"), REASONS.values(), ids=REASONS.keys())
@pytest.mark.parametrize(
    "trusted", [[], ["tests.validators.user_validator"]], ids=["unknown", "trusted"]
)
def test_validator_traits_decide_if_pairs_are_possible(
    recipe_: Recipe, reason: str | None, trusted: list[str]
) -> None:
    explanation = explain_always_empty(recipe_, trusted=trusted)
    assert (explanation is None) == (reason is None)
    assert (reason or "") in (explanation or "")
    assert (OWN in list_teachable_validators(recipe_, trusted=trusted)) == (
        OWN in recipe_.required_validators and bool(trusted)
    )
    if explanation is None:
        empty = explain_empty(recipe_, trusted=trusted)
        assert empty.startswith("no prompt with an accepted draft has another")


def test_equal_texts_make_one_pair() -> None:
    drafts = [
        failing(3, score=0.2),
        failing(2, score=0.1, response="same"),
        failing(1, score=0.1, response="same"),
        failing(4, score=0.3),
    ]
    rows = preference(pairs_per_scenario=2).rows(group(*drafts))
    assert len({r["rejected"][0]["content"] for r in rows}) == 2
    first = {
        preference()
        .rows(group(*(failing(n, scenario_id=f"s{i}", response=f"{i} {n}") for n in (1, 2))))[0][
            "rejected_draft_id"
        ]
        .split("-")[1]
        for i in range(20)
    }
    assert first == {"1", "2"}


def test_prompt_completion_separates_prompt_and_answer() -> None:
    record = make_record(
        scenario=make_scenario(
            messages=make_messages("Where is the box?", system="Serve a kitchen.")
        ),
        draft=make_draft(response="On the shelf."),
    )
    (row,) = prompt_completion().rows(ScenarioGroup((record,), record))
    assert [m["role"] for m in row["prompt"]] == ["system", "user"]
    assert row["completion"] == [{"role": "assistant", "content": "On the shelf."}]
    (whole,) = sft().rows(ScenarioGroup((record,), record))
    assert whole["messages"] == row["prompt"] + row["completion"]


def test_sft_excludes_unjudged_assistant_turns() -> None:
    record = make_record(scenario=make_scenario(attributes=(GIVEN_HISTORY,)))
    alone = ScenarioGroup((record,), record)
    assert sft().rows(alone) == []
    assert len(prompt_completion().rows(alone)) == 1


def test_zero_pairs_per_scenario_is_refused() -> None:
    with pytest.raises(ConfigError, match="pairs_per_scenario"):
        plugins.make_plugin("views", "preference", {"pairs_per_scenario": 0})
    assert plugins.list_names("views") == [
        "llamafactory_preference",
        "preference",
        "prompt_completion",
        "sft",
    ]
