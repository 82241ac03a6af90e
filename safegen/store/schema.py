"""The Arrow schema of plans and records, and conversion of rows in both directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from safegen.core.types import (
    Attribute,
    Draft,
    Expectation,
    Finding,
    PolicyEffect,
    Record,
    Scenario,
    Verdict,
)

if TYPE_CHECKING:
    import pyarrow as pa

ArrowRow = dict[str, Any]
"""One Arrow row. Any: the Arrow schema has the types."""
SCENARIO_STRINGS = (
    "scenario_id set_id goal_id taxonomy harm domain task intent evidence language profile "
    "benign_use misuse_risk source source_licence"
).split()
SCENARIO_INTEGERS = ["round", "requested_detail", "paraphrase", "turn"]
SCENARIO_NULLABLE = ["jurisdiction", "contrast"]
SCENARIO_LATER = ["base_prompt"]
"""Nullable columns of a scenario after its messages."""
VERDICT_STRINGS = ["validator", "version", "code", "reason", "evidence"]
VERDICT_FLAGS = ["passed", "teachable"]
VERDICT_NULLABLE = ["severity", "delivered", "judge", "prompt_digest"]
FINDING_STRINGS = ["judge", "field", "code", "evidence"]
FINDING_NULLABLE = ["value", "clause"]
SCORE_COLUMNS = ["safety", "help_direct", "help_indirect", "helpfulness", "correctness", "reward"]
EFFECT_LEVELS = ["delivered", "delivered_without"]
EFFECT_SCORES = ["safety", "safety_without"]
EFFECT_CHANGES = ["level_change", "safety_change", "size"]
EFFECT_STRINGS = ["teacher", "model", "outcome"]
LATER_COLUMNS = ("disagreement", "findings", "policy_effect", "base_prompt")
"""Nullable columns that plans and records of earlier versions lack; they are read as null."""


def scenario_fields() -> list[pa.Field[pa.DataType]]:
    """Make the columns of ids and scenario."""
    import pyarrow as pa

    text = pa.string()
    fields: list[pa.Field[pa.DataType]] = [
        pa.field(name, text, nullable=False) for name in SCENARIO_STRINGS
    ]
    fields += [pa.field(name, pa.int64(), nullable=False) for name in SCENARIO_INTEGERS]
    fields += [pa.field(name, text) for name in SCENARIO_NULLABLE]
    attribute = pa.struct([("axis", text), ("value", text), ("source", text)])
    fields.append(pa.field("attributes", pa.list_(attribute), nullable=False))
    fields.append(pa.field("messages", pa.list_(message_type()), nullable=False))
    fields += [pa.field(name, text) for name in SCENARIO_LATER]
    return fields


def message_type() -> pa.StructType:
    """Make the type of a message: `struct{role, content}`, as trainers expect it."""
    import pyarrow as pa

    return pa.struct([("role", pa.string()), ("content", pa.string())])


def expectation_fields() -> list[pa.Field[pa.DataType]]:
    """Make the columns of an expectation."""
    import pyarrow as pa

    return [
        pa.field("policy_id", pa.string(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("ceiling", pa.int64(), nullable=False),
        pa.field("floor", pa.int64(), nullable=False),
        pa.field("required", pa.list_(pa.string()), nullable=False),
        pa.field("rule_ids", pa.list_(pa.string()), nullable=False),
    ]


def plan_schema() -> pa.Schema:
    """Make the schema of a plan: scenario, expectation, and what the drafter needs."""
    import pyarrow as pa

    return pa.schema(
        [
            *scenario_fields(),
            *expectation_fields(),
            pa.field("knowledge", pa.string(), nullable=False),
            pa.field("brief", pa.string()),
            pa.field("first", pa.int64(), nullable=False),
        ]
    )


def record_schema() -> pa.Schema:
    """Make the schema of records: every draft with its expectation, verdicts and result."""
    import pyarrow as pa

    text, number, real, flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()
    verdict = pa.struct(
        [(name, text) for name in VERDICT_STRINGS]
        + [(name, flag) for name in VERDICT_FLAGS]
        + [("score", real), ("threshold", real)]
        + [(name, text) for name in VERDICT_NULLABLE]
    )
    draft = [
        pa.field("draft_id", text, nullable=False),
        pa.field("candidate", number, nullable=False),
        pa.field("revision", number, nullable=False),
        pa.field("parent_id", text),
        pa.field("response", text),
        pa.field("reasoning_content", text),
        pa.field("response_sha256", text),
        pa.field("withheld", flag, nullable=False),
        pa.field("style", text),
        pa.field("teacher", text, nullable=False),
        pa.field("model", text, nullable=False),
        pa.field("outcome", text, nullable=False),
        pa.field("finish_reason", text),
        pa.field("prompt_tokens", number),
        pa.field("completion_tokens", number),
        pa.field("verdicts", pa.list_(verdict), nullable=False),
    ]
    finding = pa.struct([(name, text) for name in FINDING_STRINGS + FINDING_NULLABLE])
    effect = pa.struct(
        [(name, text) for name in EFFECT_LEVELS]
        + [(name, real) for name in EFFECT_SCORES]
        + [("level_change", number), ("safety_change", real), ("size", real)]
        + [(name, text) for name in EFFECT_STRINGS]
        + [("findings", pa.list_(finding))]
    )
    # Null until judges fill them. They exist already, so that old and new files can be
    # concatenated.
    outcome = [pa.field(name, real) for name in [*SCORE_COLUMNS, "disagreement"]] + [
        pa.field("findings", pa.list_(finding)),
        pa.field("delivered", text),
        pa.field("severity", text),
        pa.field("accepted", flag, nullable=False),
        pa.field("accepted_by", text),
        pa.field("reason", text),
        pa.field("grade", text, nullable=False),
        pa.field("policy_effect", effect),
    ]
    return pa.schema([*scenario_fields(), *expectation_fields(), *draft, *outcome])


def _field_reader(type_: type[Any]) -> Callable[[ArrowRow], tuple[Any, ...]]:
    """Make a function that reads the fields of a dataclass from a row, in their order."""
    return itemgetter(*(field.name for field in fields(type_)))


_scenario_values = _field_reader(Scenario)
_expectation_values = _field_reader(Expectation)
_draft_values = _field_reader(Draft)
_verdict_values = _field_reader(Verdict)
_finding_values = _field_reader(Finding)
_effect_values = _field_reader(PolicyEffect)
# Most verdicts of a run are equal, and a new one takes six times as long.
_make_verdict = lru_cache(maxsize=1_000)(Verdict)


def scenario_row(scenario: Scenario) -> ArrowRow:
    """Convert a scenario to columns."""
    names = [*SCENARIO_STRINGS, *SCENARIO_INTEGERS, *SCENARIO_NULLABLE, *SCENARIO_LATER]
    row: ArrowRow = {name: getattr(scenario, name) for name in names}
    row["attributes"] = [{"axis": a, "value": v, "source": s} for a, v, s in scenario.attributes]
    row["messages"] = list(scenario.messages)
    return row


def scenario_from_row(row: ArrowRow) -> Scenario:
    """Convert a row to its scenario."""
    nested = {
        "attributes": tuple([Attribute(**a) for a in row["attributes"]]),
        "messages": tuple(row["messages"]),
    }
    return Scenario(*_scenario_values(row | nested))


EXPECTATION_COLUMNS = ["policy_id", "mode", "ceiling", "floor", "required", "rule_ids"]


def expectation_row(expectation: Expectation) -> ArrowRow:
    """Convert an expectation to columns."""
    row: ArrowRow = {name: getattr(expectation, name) for name in EXPECTATION_COLUMNS}
    return row | {"required": list(expectation.required), "rule_ids": list(expectation.rule_ids)}


def expectation_from_row(row: ArrowRow) -> Expectation:
    """Convert a row to its expectation."""
    nested = {"required": tuple(row["required"]), "rule_ids": tuple(row["rule_ids"])}
    return Expectation(*_expectation_values(row | nested))


DRAFT_COLUMNS = (
    "draft_id candidate revision parent_id response reasoning_content response_sha256 withheld "
    "style teacher model outcome finish_reason prompt_tokens completion_tokens"
).split()
VERDICT_COLUMNS = [*VERDICT_STRINGS, *VERDICT_FLAGS, "score", "threshold", *VERDICT_NULLABLE]
FINDING_COLUMNS = [*FINDING_STRINGS, *FINDING_NULLABLE]
RESULT_COLUMNS = [
    *("delivered", "severity", "accepted", "accepted_by", "reason", "grade"),
    *(*SCORE_COLUMNS, "disagreement"),
]


def record_row(record: Record) -> ArrowRow:
    """Convert a record to columns."""
    row = scenario_row(record.scenario) | expectation_row(record.expectation)
    row |= {name: getattr(record.draft, name) for name in DRAFT_COLUMNS}
    row["verdicts"] = [
        {name: getattr(v, name) for name in VERDICT_COLUMNS} for v in record.verdicts
    ]
    row["findings"] = _finding_rows(record.findings)
    row["policy_effect"] = _effect_row(record.policy_effect)
    return row | {name: getattr(record, name) for name in RESULT_COLUMNS}


def _finding_rows(findings: Sequence[Finding]) -> list[ArrowRow] | None:
    return [{name: getattr(f, name) for name in FINDING_COLUMNS} for f in findings] or None


def _effect_row(effect: PolicyEffect | None) -> ArrowRow | None:
    if effect is None:
        return None
    names = (*EFFECT_LEVELS, *EFFECT_SCORES, *EFFECT_CHANGES, *EFFECT_STRINGS)
    row = {name: getattr(effect, name) for name in names}
    return row | {"findings": _finding_rows(effect.findings)}


def record_from_row(row: ArrowRow) -> Record:
    """Convert a row to its record."""
    return Record(
        scenario=scenario_from_row(row),
        expectation=expectation_from_row(row),
        draft=Draft(*_draft_values(row)),
        verdicts=tuple([_make_verdict(*_verdict_values(v)) for v in row["verdicts"]]),
        findings=_make_findings(row["findings"]),
        policy_effect=_effect_from_row(row["policy_effect"]),
        **{name: row[name] for name in RESULT_COLUMNS},
    )


def _make_findings(rows: Sequence[ArrowRow] | None) -> tuple[Finding, ...]:
    return tuple([Finding(*_finding_values(f)) for f in rows or ()])


def _effect_from_row(row: ArrowRow | None) -> PolicyEffect | None:
    # The changes follow from the values.
    if row is None:
        return None
    return PolicyEffect(*_effect_values(row | {"findings": _make_findings(row["findings"])}))
