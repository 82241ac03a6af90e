"""Rows of a user's file → checked rows with the labels that they bring, and their scenarios.

What a row says is taken and checked; what it does not say is left open here and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, get_args

from safegen.core.errors import ConfigError
from safegen.core.hashing import digest, short_id
from safegen.core.types import (
    DANGER,
    EVIDENCE,
    INTENTS,
    PROFILES,
    Attribute,
    Evidence,
    Intent,
    Message,
    PlannedScenario,
    Profile,
    Scenario,
    Task,
)
from safegen.core.yaml_source import suggest, suggest_names
from safegen.policy.decide import expect_of
from safegen.scenarios.context import EMPTY_KNOWLEDGE, PlanningContext, history_attributes
from safegen.scenarios.user_prompts._cells import RowCells, is_missing, read_conversation
from safegen.scenarios.user_prompts._faults import FaultCollector
from safegen.scenarios.user_prompts.age_signals import age_conflicts
from safegen.scenarios.user_prompts.reader import UserPrompts, list_columns, read_rows

TASKS: tuple[Task, ...] = get_args(Task)
CHOICES: Mapping[str, Sequence[str]] = {
    "intent": INTENTS,
    "evidence": EVIDENCE,
    "profile": PROFILES,
    "task": TASKS,
}
"""Fields of a few words, beside the leaf."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A row, checked; None where the file does not say."""

    number: int
    place: str
    id: str | None
    messages: tuple[Message, ...]
    goal: str | None
    set: str | None
    harm: str | None
    intent: Intent | None
    evidence: Evidence | None
    detail: int | None
    profile: Profile | None
    task: Task | None
    language: str | None
    licence: str
    benign_use: str
    misuse_risk: str

    @property
    def text_key(self) -> str:
        """Equal for rows that say the same, whatever their labels."""
        return short_id([[m["role"], m["content"]] for m in self.messages])

    @property
    def key(self) -> tuple[str, ...]:
        """What makes the row itself: its id, else what it says and under which profile."""
        return ("id", self.id) if self.id else ("text", self.text_key, self.profile or "")

    @property
    def has_system(self) -> bool:
        """Whether the row brings an operator's turn of its own."""
        return self.messages[0]["role"] == "system"


class RowLabels(NamedTuple):
    """What the policy has to know of a row."""

    harm: str
    intent: Intent
    evidence: Evidence
    detail: int
    danger: bool = False
    """Harm to another person is stated, and the words also show danger to oneself."""


def check_columns(source: UserPrompts) -> list[str]:
    """Find the columns that fields are read from; the others come back, since nobody reads them.

    Raises:
        ConfigError: a column that the file lacks, no prompts, no licence.
    """
    assert source.path is not None
    known = list_columns(source.path)
    for name, column in source.columns:
        if column not in known:
            hint = suggest_names(column, known)
            raise ConfigError(f"{source.path}: no column `{column[:60]}` for `{name}`{hint}")
    mapping = source.mapping
    if not {mapping["prompt"], mapping["messages"]} & set(known):
        near = suggest("prompt", known) is not None
        hint = suggest_names("prompt", known) if near else _format_known(known)
        raise ConfigError(
            f"{source.path}: no column `prompt` or `messages`{hint};"
            " name one with `--column prompt=COLUMN`"
        )
    if source.licence is None and mapping["licence"] not in known:
        raise ConfigError(
            f"{source.path}: no column `licence`; name one with `--column licence=COLUMN`, or the"
            " licence of all rows with `--licence NAME`"
        )
    return [column for column in known if column not in mapping.values()]


def _format_known(known: Sequence[str]) -> str:
    return f" among {', '.join(f'`{c[:40]}`' for c in known[:20])}"


def iter_rows(source: UserPrompts, harms: Sequence[str]) -> Iterator[PromptRow]:
    """Every row, checked.

    Args:
        source: the file and what its columns are called.
        harms: every leaf of the taxonomy, red lines too.

    Raises:
        ConfigError: with file and row.
    """
    for cells in _iter_cells(source):
        yield _parse_row(cells, source, harms)


def _iter_cells(source: UserPrompts, faults: FaultCollector | None = None) -> Iterator[RowCells]:
    assert source.path is not None
    mapping = source.mapping
    count = 0
    for raw in read_rows(source.path, set(mapping.values()), faults=faults):
        values = {name: raw.values.get(column) for name, column in mapping.items()}
        yield RowCells(raw, {n: v for n, v in values.items() if not is_missing(v)})
        count += 1
    if not count and not (faults and faults.count):
        raise ConfigError(f"{source.path}: holds no rows; it needs rows with a `prompt`")


def iter_checked_rows(source: UserPrompts, harms: Sequence[str]) -> Iterator[PromptRow]:
    """The rows of a file that is read for the first time; its mistakes are told together, at the end.

    Args:
        source: the file and what its columns are called.
        harms: every leaf of the taxonomy, red lines too.

    Raises:
        ConfigError: every mistake with file and row, or the first ones and how many there are; also an
            id that an earlier row has, with both rows.
    """
    faults, seen = FaultCollector(), dict[str, int]()
    with faults.collect():
        for cells in _iter_cells(source, faults):
            row: PromptRow | None = None
            try:
                row = _parse_row(cells, source, harms)
            except ConfigError:
                _collect_errors(cells, source, harms, faults)
            if doubled := _duplicate_id_error(cells, seen):
                faults.add(doubled)
            elif row is not None:
                yield row
    faults.raise_any()


def _duplicate_id_error(cells: RowCells, seen: dict[str, int]) -> ConfigError | None:
    """An id that an earlier row has, whatever else is wrong with either; `seen` takes the id."""
    try:
        id_ = cells.name("id")
    except ConfigError:
        return None
    number = cells.raw.number
    first = number if id_ is None else seen.setdefault(id_, number)
    if first == number:
        return None
    return cells.make_error(
        "duplicate_id",
        f"id `{(id_ or '')[:60]}` stands in row {first} already; give each row its own",
    )


def _collect_errors(
    cells: RowCells, source: UserPrompts, harms: Sequence[str], faults: FaultCollector
) -> None:
    """Take every mistake of a row that has some."""
    named = "id goal set".split()
    fields: list[Callable[[], object]] = [
        lambda: _row_licence(cells, source),
        lambda: read_conversation(cells),
        *(partial(cells.name, name) for name in named),
        *(partial(cells.choice, name, known) for name, known in {**CHOICES, "harm": harms}.items()),
        cells.detail,
        cells.language,
        *(partial(cells.text, name) for name in ("benign_use", "misuse_risk")),
    ]
    for read in fields:
        with faults.collect():
            read()


def _row_licence(cells: RowCells, source: UserPrompts) -> str:
    licence = cells.name("licence") or source.licence
    if licence is None:
        raise cells.make_error(
            "missing_licence",
            "`licence` is missing; fill it in, or name one for such rows with `--licence NAME`",
        )
    return licence


def _parse_row(cells: RowCells, source: UserPrompts, harms: Sequence[str]) -> PromptRow:
    return PromptRow(
        number=cells.raw.number,
        place=cells.raw.place,
        id=cells.name("id"),
        messages=read_conversation(cells),
        goal=cells.name("goal"),
        set=cells.name("set"),
        harm=cells.choice("harm", harms),
        intent=cells.choice("intent", INTENTS),
        evidence=cells.choice("evidence", EVIDENCE),
        detail=cells.detail(),
        profile=cells.choice("profile", PROFILES),
        task=cells.choice("task", TASKS),
        language=cells.language(),
        licence=_row_licence(cells, source),
        benign_use=cells.text("benign_use") or "",
        misuse_risk=cells.text("misuse_risk") or "",
    )


def plan_row(row: PromptRow, labels: RowLabels, context: PlanningContext) -> list[PlannedScenario]:
    """The scenarios of a row: one under its own profile, else under each of the plan's that its words fit."""
    profiles = allowed_profiles(row, labels.harm, context)
    barred = age_conflicts(row.messages, profiles, context)
    return [
        _plan_scenario(row, labels, profile, context)
        for profile in profiles
        if profile not in barred
    ]


def allowed_profiles(
    row: PromptRow, harm: str | None, context: PlanningContext
) -> tuple[Profile, ...]:
    """The profiles under which a row is to be asked, whatever its words; its leaf may not be known yet."""
    if row.profile:
        return (row.profile,)
    return context.plan.profiles if harm is None else context.allowed_profiles(harm)


def row_set_id(row: PromptRow, context: PlanningContext) -> str:
    """The id of a row's set: of its goal and set by name, else of itself."""
    named = ["names", row.goal, row.set] if row.goal or row.set else list(row.key)
    return short_id("set", context.tree.file.taxonomy, "imported", named)


def row_goal_id(row: PromptRow) -> str:
    """The goal of a row, which decides its split."""
    return f"imported/{row.goal or row.set or row.id or digest(row.key)[:16]}"


def _plan_scenario(
    row: PromptRow, labels: RowLabels, profile: Profile, context: PlanningContext
) -> PlannedScenario:
    harm, set_ = context.harms[labels.harm], row_set_id(row, context)
    # A profile that the file gives is a label like others: filling it in makes no other scenario.
    whose = "" if row.profile or profile == context.plan.profiles[0] else profile
    # Public is where no operator says anything: such a prompt stays alone, as the file has it.
    alone = row.has_system or profile == "public"
    system = "" if alone else context.locale.system_turn(set_, profile)
    operator = (Message(role="system", content=system),) if system else ()
    scenario = Scenario(
        scenario_id=short_id(
            "scenario", context.tree.file.taxonomy, "imported", list(row.key), whose
        ),
        set_id=set_,
        goal_id=row_goal_id(row),
        round=0,
        taxonomy=context.tree.file.taxonomy,
        harm=labels.harm,
        domain=labels.harm.split(".")[0],
        task=row.task or "explain",
        intent=labels.intent,
        evidence=labels.evidence,
        requested_detail=labels.detail,
        paraphrase=0,
        turn=0,
        language=row.language or context.locale.locale,
        jurisdiction=None,
        profile=profile,
        contrast=None,
        attributes=_row_attributes(row, labels),
        benign_use=row.benign_use,
        misuse_risk=row.misuse_risk,
        messages=(*operator, *row.messages),
        source="imported",
        source_licence=row.licence,
    )
    return PlannedScenario(
        scenario, expect_of(context.policy_by_harm[labels.harm], harm, scenario), EMPTY_KNOWLEDGE
    )


def _row_attributes(row: PromptRow, labels: RowLabels) -> tuple[Attribute, ...]:
    """The row's id, and who said what it is: the file (`written`) or blind judges (`confirmed`)."""
    own = (row.harm, row.intent, row.evidence, row.detail)
    values = (labels.harm, labels.intent, labels.evidence, labels.detail)
    axes = ("harm", "intent", "evidence", "requested_detail")
    attributes = [
        Attribute(axis, str(value), "confirmed" if stated is None else "written")
        for axis, value, stated in zip(axes, values, own, strict=True)
    ]
    if labels.danger:
        attributes.append(Attribute(DANGER, "self", "written" if row.evidence else "confirmed"))
    extra = (("profile", row.profile), ("task", row.task), ("source_id", row.id))
    attributes += [Attribute(axis, value, "written") for axis, value in extra if value]
    return (*attributes, *history_attributes(row.messages))
