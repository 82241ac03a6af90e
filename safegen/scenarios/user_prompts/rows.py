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
    Planned,
    Profile,
    Scenario,
    Task,
)
from safegen.core.yaml_source import did_you_mean, suggest
from safegen.policy.decide import expect_of
from safegen.scenarios.context import NO_KNOWLEDGE, World, history
from safegen.scenarios.user_prompts._cells import Cells, conversation, missing
from safegen.scenarios.user_prompts._faults import Faults
from safegen.scenarios.user_prompts.age_signals import clashes
from safegen.scenarios.user_prompts.reader import OwnPrompts, columns, rows

TASKS: tuple[Task, ...] = get_args(Task)
CHOICES: Mapping[str, Sequence[str]] = {
    "intent": INTENTS,
    "evidence": EVIDENCE,
    "profile": PROFILES,
    "task": TASKS,
}
"""Fields of a few words, beside the leaf."""


@dataclass(frozen=True, slots=True)
class Row:
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


class Labels(NamedTuple):
    """What the policy has to know of a row."""

    harm: str
    intent: Intent
    evidence: Evidence
    detail: int
    danger: bool = False
    """Harm to another person is stated, and the words also show danger to oneself."""


def checked_columns(source: OwnPrompts) -> list[str]:
    """Find the columns that fields are read from; the others come back, since nobody reads them.

    Raises:
        ConfigError: a column that the file lacks, no prompts, no licence.
    """
    assert source.path is not None
    known = columns(source.path)
    for name, column in source.columns:
        if column not in known:
            hint = did_you_mean(column, known)
            raise ConfigError(f"{source.path}: no column `{column[:60]}` for `{name}`{hint}")
    mapping = source.mapping
    if not {mapping["prompt"], mapping["messages"]} & set(known):
        near = suggest("prompt", known) is not None
        hint = did_you_mean("prompt", known) if near else _listed(known)
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


def _listed(known: Sequence[str]) -> str:
    return f" among {', '.join(f'`{c[:40]}`' for c in known[:20])}"


def read_rows(source: OwnPrompts, harms: Sequence[str]) -> Iterator[Row]:
    """Every row, checked.

    Args:
        source: the file and what its columns are called.
        harms: every leaf of the taxonomy, red lines too.

    Raises:
        ConfigError: with file and row.
    """
    for cells in _cells(source):
        yield _row(cells, source, harms)


def _cells(source: OwnPrompts, faults: Faults | None = None) -> Iterator[Cells]:
    assert source.path is not None
    mapping = source.mapping
    count = 0
    for raw in rows(source.path, set(mapping.values()), faults=faults):
        values = {name: raw.values.get(column) for name, column in mapping.items()}
        yield Cells(raw, {n: v for n, v in values.items() if not missing(v)})
        count += 1
    if not count and not (faults and faults.count):
        raise ConfigError(f"{source.path}: holds no rows; it needs rows with a `prompt`")


def checked_rows(source: OwnPrompts, harms: Sequence[str]) -> Iterator[Row]:
    """The rows of a file that is read for the first time; its mistakes are told together, at the end.

    Args:
        source: the file and what its columns are called.
        harms: every leaf of the taxonomy, red lines too.

    Raises:
        ConfigError: every mistake with file and row, or the first ones and how many there are; also an
            id that an earlier row has, with both rows.
    """
    faults, seen = Faults(), dict[str, int]()
    with faults.held():
        for cells in _cells(source, faults):
            row: Row | None = None
            try:
                row = _row(cells, source, harms)
            except ConfigError:
                _all_wrong(cells, source, harms, faults)
            if doubled := _doubled(cells, seen):
                faults.add(doubled)
            elif row is not None:
                yield row
    faults.raise_any()


def _doubled(cells: Cells, seen: dict[str, int]) -> ConfigError | None:
    """An id that an earlier row has, whatever else is wrong with either; `seen` takes the id."""
    try:
        id_ = cells.name("id")
    except ConfigError:
        return None
    number = cells.raw.number
    first = number if id_ is None else seen.setdefault(id_, number)
    if first == number:
        return None
    return cells.wrong(
        "duplicate_id",
        f"id `{(id_ or '')[:60]}` stands in row {first} already; give each row its own",
    )


def _all_wrong(cells: Cells, source: OwnPrompts, harms: Sequence[str], faults: Faults) -> None:
    """Take every mistake of a row that has some."""
    named = "id goal set".split()
    fields: list[Callable[[], object]] = [
        lambda: _licence(cells, source),
        lambda: conversation(cells),
        *(partial(cells.name, name) for name in named),
        *(partial(cells.choice, name, known) for name, known in {**CHOICES, "harm": harms}.items()),
        cells.detail,
        cells.language,
        *(partial(cells.text, name) for name in ("benign_use", "misuse_risk")),
    ]
    for read in fields:
        with faults.held():
            read()


def _licence(cells: Cells, source: OwnPrompts) -> str:
    licence = cells.name("licence") or source.licence
    if licence is None:
        raise cells.wrong(
            "missing_licence",
            "`licence` is missing; fill it in, or name one for such rows with `--licence NAME`",
        )
    return licence


def _row(cells: Cells, source: OwnPrompts, harms: Sequence[str]) -> Row:
    return Row(
        number=cells.raw.number,
        place=cells.raw.place,
        id=cells.name("id"),
        messages=conversation(cells),
        goal=cells.name("goal"),
        set=cells.name("set"),
        harm=cells.choice("harm", harms),
        intent=cells.choice("intent", INTENTS),
        evidence=cells.choice("evidence", EVIDENCE),
        detail=cells.detail(),
        profile=cells.choice("profile", PROFILES),
        task=cells.choice("task", TASKS),
        language=cells.language(),
        licence=_licence(cells, source),
        benign_use=cells.text("benign_use") or "",
        misuse_risk=cells.text("misuse_risk") or "",
    )


def scenarios(row: Row, labels: Labels, world: World) -> list[Planned]:
    """The scenarios of a row: one under its own profile, else under each of the plan's that its words fit."""
    profiles = profiles_of(row, labels.harm, world)
    barred = clashes(row.messages, profiles, world)
    return [_planned(row, labels, profile, world) for profile in profiles if profile not in barred]


def profiles_of(row: Row, harm: str | None, world: World) -> tuple[Profile, ...]:
    """The profiles under which a row is to be asked, whatever its words; its leaf may not be known yet."""
    if row.profile:
        return (row.profile,)
    return world.plan.profiles if harm is None else world.profiles(harm)


def set_of(row: Row, world: World) -> str:
    """The id of a row's set: of its goal and set by name, else of itself."""
    named = ["names", row.goal, row.set] if row.goal or row.set else list(row.key)
    return short_id("set", world.tree.file.taxonomy, "imported", named)


def goal_of(row: Row) -> str:
    """The goal of a row, which decides its split."""
    return f"imported/{row.goal or row.set or row.id or digest(row.key)[:16]}"


def _planned(row: Row, labels: Labels, profile: Profile, world: World) -> Planned:
    harm, set_ = world.harms[labels.harm], set_of(row, world)
    # A profile that the file gives is a label like others: filling it in makes no other scenario.
    whose = "" if row.profile or profile == world.plan.profiles[0] else profile
    # Public is where no operator says anything: such a prompt stays alone, as the file has it.
    alone = row.has_system or profile == "public"
    system = "" if alone else world.locale.system_turn(set_, profile)
    operator = (Message(role="system", content=system),) if system else ()
    scenario = Scenario(
        scenario_id=short_id(
            "scenario", world.tree.file.taxonomy, "imported", list(row.key), whose
        ),
        set_id=set_,
        goal_id=goal_of(row),
        round=0,
        taxonomy=world.tree.file.taxonomy,
        harm=labels.harm,
        domain=labels.harm.split(".")[0],
        task=row.task or "explain",
        intent=labels.intent,
        evidence=labels.evidence,
        requested_detail=labels.detail,
        paraphrase=0,
        turn=0,
        language=row.language or world.locale.locale,
        jurisdiction=None,
        profile=profile,
        contrast=None,
        attributes=_attributes(row, labels),
        benign_use=row.benign_use,
        misuse_risk=row.misuse_risk,
        messages=(*operator, *row.messages),
        source="imported",
        source_licence=row.licence,
    )
    return Planned(scenario, expect_of(world.covering[labels.harm], harm, scenario), NO_KNOWLEDGE)


def _attributes(row: Row, labels: Labels) -> tuple[Attribute, ...]:
    """The row's id, and who said what it is: the file (`written`) or blind judges (`confirmed`)."""
    own = (row.harm, row.intent, row.evidence, row.detail)
    values = (labels.harm, labels.intent, labels.evidence, labels.detail)
    axes = ("harm", "intent", "evidence", "requested_detail")
    found = [
        Attribute(axis, str(value), "confirmed" if said is None else "written")
        for axis, value, said in zip(axes, values, own, strict=True)
    ]
    if labels.danger:
        found.append(Attribute(DANGER, "self", "written" if row.evidence else "confirmed"))
    extra = (("profile", row.profile), ("task", row.task), ("source_id", row.id))
    found += [Attribute(axis, value, "written") for axis, value in extra if value]
    return (*found, *history(row.messages))
