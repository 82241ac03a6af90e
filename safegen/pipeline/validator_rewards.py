"""Rule validators as rewards: a draft and its context from the columns of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast, get_args

from safegen.config.contacts import ContactSettings, load_contacts, region_of_tag
from safegen.config.language_pack import load_locale
from safegen.core import plugins, resources
from safegen.core.arguments import describe_argument
from safegen.core.errors import UserError
from safegen.core.hashing import short_id
from safegen.core.types import (
    DETAIL_LEVELS,
    MODES,
    PROFILES,
    Draft,
    DraftContext,
    DraftValidator,
    Evidence,
    Expectation,
    Knowledge,
    Mode,
    Profile,
    SafeTask,
    Scenario,
    ValidatorTraits,
    Verdict,
)
from safegen.dataset.view import NO_REGION
from safegen.pipeline.reward_engine import PartsFunction, RewardParts, finish
from safegen.pipeline.reward_inputs import RewardItem, to_plain
from safegen.policy.loader import load_policy

LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,4}")
NO_KNOWLEDGE = Knowledge((), (), SafeTask("", ()), (), "", "")
"""Teachers read knowledge; validators do not."""


class ValidatorParts(NamedTuple):
    """A validator's name and its reward."""

    name: str
    score: PartsFunction


def make_validator_parts(validator: str | DraftValidator, *, language: str) -> ValidatorParts:
    """Make the reward of a validator: its score.

    Args:
        validator: a built-in name, or a validator.
        language: language pack of a built-in one.

    Raises:
        AssetNotFound: there is no validator or language pack of that name.
        UserError: the argument is neither a name nor a function, or judges sets.
    """
    if not isinstance(validator, str):
        if not callable(validator):
            raise UserError("`validator` is neither a name nor a function")
        name = getattr(validator, "__name__", "validator")
        return ValidatorParts(str(name), _make_parts(validator, ValidatorTraits(labels=())))
    traits = plugins.validator_traits(validator)
    if traits.unit != "draft":
        raise UserError(f"`{validator}` judges sets, and a reward is for one response")
    locale = load_locale(language)
    policies = [load_policy(name) for name in resources.list_names("policies")]
    built = plugins.make_plugin(
        "validators",
        validator,
        {},
        locales={locale.locale: locale},
        policies={policy.policy_id: policy for policy in policies},
        # A row has its own region, and none quotes a contact of another.
        contacts=load_contacts(ContactSettings(regions=tuple(resources.list_names("contacts")))),
    )
    return ValidatorParts(validator, _make_parts(built, traits))


def _make_parts(validator: DraftValidator, traits: ValidatorTraits[str]) -> PartsFunction:
    async def score(item: RewardItem) -> RewardParts:
        context = make_draft_context(item, traits)
        verdict = cast("object", await finish(validator(make_draft(item), context)))
        if not isinstance(verdict, Verdict):
            raise UserError(describe_argument("result of the validator", verdict, "a `Verdict`"))
        return RewardParts(verdict.score, problem=verdict.code)

    return score


def make_draft_context(item: RewardItem, traits: ValidatorTraits[str]) -> DraftContext:
    """Make the context of a validator from the columns of a row.

    Raises:
        UserError: a column that the validator reads for the row's mode is missing or wrong.
    """
    columns = cast("Mapping[str, object]", to_plain(item.columns))
    mode = cast("Mode", _choose(columns, "mode", MODES))
    is_needed = "required" in traits.needed_labels(mode)
    evidence = _choose(columns, "evidence", get_args(Evidence), default="none")
    scenario = Scenario(
        scenario_id=str(columns.get("scenario_id") or short_id(item.messages)),
        set_id="",
        goal_id="",
        round=0,
        taxonomy=str(columns.get("taxonomy") or ""),
        harm=str(columns.get("harm") or ""),
        domain=str(columns.get("domain") or ""),
        task="explain",
        intent="benign",
        evidence=cast("Evidence", evidence),
        requested_detail=_level(columns, "requested_detail", default=0),
        paraphrase=0,
        turn=0,
        language=_require_text(columns, "language"),
        jurisdiction=_find_region(columns),
        profile=cast("Profile", _choose(columns, "profile", PROFILES, default="public")),
        contrast=None,
        attributes=(),
        benign_use="",
        misuse_risk="",
        messages=item.messages,
        source="imported",
        source_licence="",
    )
    expectation = Expectation(
        policy_id=str(columns.get("policy_id") or ""),
        mode=mode,
        ceiling=_level(columns, "ceiling", default=DETAIL_LEVELS[-1]),
        floor=_level(columns, "floor", default=0),
        required=_read_required(columns, is_needed=is_needed),
        rule_ids=(),
    )
    return DraftContext(scenario, expectation, NO_KNOWLEDGE)


def _read_required(columns: Mapping[str, object], *, is_needed: bool) -> tuple[str, ...]:
    value = columns.get("required")
    names = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = tuple(name for name in names if isinstance(name, str))
    if len(texts) == len(names):
        return texts
    if is_needed:
        raise UserError("the validator reads the column `required`, a list of elements; add it")
    # The dataset may have a column of this name for something else.
    return ()


def _find_region(columns: Mapping[str, object]) -> str | None:
    region = columns.get("jurisdiction")
    if region == NO_REGION:
        return None
    return str(region) if region else region_of_tag(_require_text(columns, "language"))


def make_draft(item: RewardItem) -> Draft:
    """Make the draft of a response."""
    return Draft(
        draft_id="",
        scenario_id="",
        candidate=0,
        revision=0,
        parent_id=None,
        response=item.response,
        reasoning_content=None,
        response_sha256=None,
        withheld=False,
        style=None,
        teacher="student",
        model="student",
        outcome="ok",
        finish_reason=None,
        prompt_tokens=None,
        completion_tokens=None,
    )


def _choose(
    columns: Mapping[str, object], name: str, known: Sequence[str], *, default: str | None = None
) -> str:
    value = columns.get(name, default)
    if value not in known:
        shown = "is missing" if value is None else f"is `{str(value)[:60]}`"
        raise UserError(f"column `{name}` {shown}; validators read it: {', '.join(known)}")
    return str(value)


def _level(columns: Mapping[str, object], name: str, *, default: int) -> int:
    value = columns.get(name, default)
    # pandas makes floats of a column with missing values.
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in DETAIL_LEVELS:
        raise UserError(f"column `{name}` is `{str(value)[:60]}`; use a whole number from 0 to 4")
    return int(value)


def _require_text(columns: Mapping[str, object], name: str) -> str:
    value = columns.get(name)
    if not isinstance(value, str) or not value:
        raise UserError(f"column `{name}` is missing; validators read it, such as `en`")
    if not LANGUAGE_TAG.fullmatch(value):
        raise UserError(f"column `{name}` is `{value[:60]}`; use a language tag such as `en`")
    return value
