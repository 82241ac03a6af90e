"""Pairs of a chosen and a rejected draft, for the views of preference data.

A rejected draft shows a fault of judgement or tone, never a technical one and never unsafe text. If
the severity of a side is known, it is `none` or `negligible`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from safegen.core import plugins
from safegen.core.hashing import hash_fraction
from safegen.core.types import Record, Severity, list_deciding_verdicts
from safegen.dataset import view
from safegen.dataset.view import ScenarioGroup, TrainingExample, View
from safegen.store.schema import ArrowRow

if TYPE_CHECKING:
    import pyarrow as pa

    from safegen.config.recipe import Recipe

SAFE_SEVERITIES: frozenset[Severity | None] = frozenset({None, "none", "negligible"})
"""Severities of both sides of a pair; None if nothing rated it."""
STRING_COLUMNS = (
    "set_id goal_id scenario_id policy_id harm domain intent mode language profile "
    "teacher model grade"
).split()
_PAIR_COLUMNS = ["source_id", "chosen_draft_id", "rejected_draft_id", "rejected_by"]
TEXT_COLUMNS = [*STRING_COLUMNS, *_PAIR_COLUMNS]
LEAVES_OUT = "no draft answered them worse in a way that a student can learn from"


class Pair(NamedTuple):
    """Two drafts of one scenario."""

    chosen: Record
    rejected: Record


def make_pair_view(
    name: str,
    columns: Callable[[], pa.Schema],
    to_row: Callable[[Pair], ArrowRow],
    *,
    pairs_per_scenario: int,
    examples: tuple[TrainingExample, ...],
    dataset_info: Mapping[str, object] = MappingProxyType({}),
) -> View:
    """Make a view of pairs.

    Args:
        name: the name of the view.
        columns: builds its schema.
        to_row: converts a pair.
        pairs_per_scenario: at most this many pairs of one scenario, at least 1.
        examples: settings of trainers.
        dataset_info: LLaMA-Factory's entry of the view.

    Raises:
        ValueError: fewer than one pair.
    """
    if pairs_per_scenario < 1:
        raise ValueError(f"`pairs_per_scenario` is `{pairs_per_scenario}`; allow at least 1")

    def rows(group: ScenarioGroup) -> list[ArrowRow]:
        return [to_row(pair) for pair in make_pairs(group, at_most=pairs_per_scenario)]

    return View(
        name,
        columns,
        rows,
        LEAVES_OUT,
        unit="pairs",
        dataset_info=dataset_info,
        examples=examples,
        why_empty=explain_empty,
        warnings=make_warnings(name),
    )


def make_pairs(group: ScenarioGroup, *, at_most: int) -> list[Pair]:
    """Pair the selected draft with instructive ones, chosen by digest so that all kinds of faults occur."""
    chosen = group.selected
    if chosen is None or chosen.severity not in SAFE_SEVERITIES:
        return []
    # Drafts of one model often repeat each other, and a pair of equal texts teaches nothing.
    seen = {chosen.draft.response}
    pairs: list[Pair] = []
    candidates = filter(_is_instructive, group.records)
    for rejected in sorted(candidates, key=lambda r: hash_fraction("pair", r.draft.draft_id)):
        if len(pairs) == at_most:
            break
        if rejected.draft.response not in seen:
            seen.add(rejected.draft.response)
            pairs.append(Pair(chosen, rejected))
    return pairs


def pair_columns(pair: Pair) -> ArrowRow:
    """Return the columns of a pair except the messages."""
    chosen, rejected = pair
    deciding = list_deciding_verdicts(rejected.verdicts)
    failed = [v.validator for v in deciding if v.passed is False]
    row: ArrowRow = {
        "source_id": view.read_source_id(chosen),
        "chosen_draft_id": chosen.draft.draft_id,
        "rejected_draft_id": rejected.draft.draft_id,
        "rejected_by": ",".join(dict.fromkeys(failed)),
    }
    return row | view.read_columns(chosen, STRING_COLUMNS)


def make_warnings(name: str) -> Callable[[Recipe, Sequence[View], Sequence[str]], Iterator[str]]:
    """Make the warnings of a view of this name: a recipe that can make no pair."""

    def warnings(recipe: Recipe, views: Sequence[View], trusted: Sequence[str]) -> Iterator[str]:
        reason = explain_always_empty(recipe, trusted=trusted)
        if reason is not None:
            yield f"`{name}` will be empty: {reason}"

    return warnings


def explain_empty(recipe: Recipe, trusted: Sequence[str] = ()) -> str:
    """Explain why a recipe's drafts made no pair, and what would change that."""
    if (reason := explain_always_empty(recipe, trusted=trusted)) is not None:
        return reason
    if recipe.judges.panel:
        return "no prompt with an accepted draft has another one that is safe and that the judges reject"
    named = _one_of(list_teachable_validators(recipe, trusted=trusted))
    return f"no prompt with an accepted draft has another draft that fails only {named}"


def explain_always_empty(recipe: Recipe, *, trusted: Sequence[str] = ()) -> str | None:
    """Explain why a recipe can make no pair, whatever is drafted; None if it can.

    Args:
        recipe: the recipe.
        trusted: modules that validators may be imported from. The traits of other modules are
            unknown; their validators may find teachable faults.
    """
    if recipe.has_single_draft:
        return "pairs need two drafts of a prompt: set `plan.candidates` to 2 or more"
    if recipe.judges.panel:
        return None
    finders = list_teachable_validators(recipe, trusted=trusted)
    known = {
        *finders,
        *(name for name in recipe.required_validators if not plugins.is_allowed(name, trusted)),
    }
    if known.isdisjoint(recipe.required_validators):
        is_listed = not known.isdisjoint(ref.use for ref in recipe.validators)
        key = "require" if is_listed else "validators"
        return f"pairs need a draft that {_one_of(finders)} failed; add one to `{key}`"
    return None


def list_teachable_validators(recipe: Recipe, *, trusted: Sequence[str] = ()) -> list[str]:
    """List the validators, built-in or a recipe's own, that find faults which a student can learn from."""
    # All built-in ones count, also those that the recipe lacks: the hint names them.
    names = (ref.use for ref in recipe.validators if plugins.is_external(ref.use))
    own = (name for name in names if plugins.is_allowed(name, trusted))
    return sorted(
        name
        for name in (*plugins.list_names("validators"), *own)
        if plugins.validator_traits(name, trusted=trusted).teachable
    )


def _one_of(names: Sequence[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def _is_instructive(record: Record) -> bool:
    draft = record.draft
    # A verdict that could not decide may hide an unsafe or a good text.
    faults = [v for v in list_deciding_verdicts(record.verdicts) if v.passed is not True]
    return (
        draft.outcome == "ok"
        and bool(draft.response)
        and not draft.withheld
        and record.severity in SAFE_SEVERITIES
        and not record.accepted
        and bool(faults)
        and all(v.teachable for v in faults)
    )
