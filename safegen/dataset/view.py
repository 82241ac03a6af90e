"""The interface of views, and the columns that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

from safegen.config.recipe import PluginRef, Recipe
from safegen.core import plugins, resources
from safegen.core.arguments import check_callable, check_choice, check_flag, check_text
from safegen.core.errors import ConfigError, RunError
from safegen.core.plugin_checks import (
    PluginGuard,
    PluginSource,
    describe_error,
    escape_line,
    locate_plugin,
    reject_value,
)
from safegen.core.types import GIVEN_HISTORY, Draft, Expectation, Message, Record, Scenario
from safegen.store.schema import ArrowRow, message_type

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER_STRINGS = (
    "scenario_id draft_id set_id goal_id policy_id taxonomy harm domain task intent evidence mode "
    "language profile teacher model accepted_by grade source_licence"
).split()
NO_REGION = "none"
"""Value of the column `jurisdiction` of a row without a region."""
ANSWER_DERIVED = ["source_id", "jurisdiction", "contrast", "turn_style", "dialogue_intent", "rule"]
ANSWER_INTEGER = ["requested_detail", "ceiling", "floor", "paraphrase", "turn"]


@dataclass(frozen=True, slots=True)
class ScenarioGroup:
    """All drafts of one scenario, and the selected one."""

    records: tuple[Record, ...]
    selected: Record | None


def _no_reason(recipe: Recipe, trusted: Sequence[str]) -> str:
    return ""


def _no_warnings(recipe: Recipe, views: Sequence[View], trusted: Sequence[str]) -> tuple[str, ...]:
    return ()


class TrainingExample(NamedTuple):
    """Settings with which a trainer reads a view; `{folder}` and `{split}` are filled in by the card."""

    trainer: str
    language: str
    """Language of the code block."""
    code: str
    note: str = ""


ViewUnit = Literal["rows", "pairs"]
"""Name of the rows of a view in counts."""


@dataclass(frozen=True, slots=True)
class View:
    """A trainer format: name, columns, and a function from a scenario to rows."""

    name: str
    columns: Callable[[], pa.Schema]
    to_rows: Callable[[ScenarioGroup], list[ArrowRow]]
    leaves_out: str = ""
    """Reason why some prompts have no row, as a clause for the card."""
    unit: ViewUnit = "rows"
    """Name of the rows in counts."""
    preferred: bool = False
    """The card and the closing screen load this view in their examples."""
    one_row_per_scenario: bool = False
    """`verify` fails if two rows have one scenario."""
    last_answer_only: bool = False
    """A trainer takes loss only on the last answer of a row."""
    dataset_info: Mapping[str, object] = field(default_factory=dict[str, object])
    """LLaMA-Factory's entry of the view: `columns` and more; empty if it cannot read the view."""
    examples: tuple[TrainingExample, ...] = ()
    """Settings of trainers, for the card."""
    why_empty: Callable[[Recipe, Sequence[str]], str] = _no_reason
    """Function that explains why a recipe made no row; called with the recipe and the trusted modules."""
    warnings: Callable[[Recipe, Sequence[View], Sequence[str]], Iterable[str]] = _no_warnings
    """Function that yields warnings about keys without effect; called with recipe, views and trusted modules."""

    def __post_init__(self) -> None:
        check_text("name", self.name)
        for name in ("columns", "to_rows", "why_empty", "warnings"):
            check_callable(name, getattr(self, name))
        check_choice("unit", self.unit, get_args(ViewUnit))
        for name in ("preferred", "one_row_per_scenario", "last_answer_only"):
            check_flag(name, getattr(self, name))

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema; pyarrow is loaded here."""
        return self.columns()

    def rows(self, group: ScenarioGroup) -> list[ArrowRow]:
        """Convert one scenario to rows; none if the format does not use it."""
        return self.to_rows(group)


def make_view(ref: PluginRef, *, trusted: Sequence[str] = ()) -> View:
    """Make a view of a recipe; the errors and rows of a user's view are checked.

    Raises:
        ConfigError: the view cannot be made.
    """
    view: object = plugins.make_plugin("views", ref.use, ref.params, trusted=trusted)
    if not plugins.is_external(ref.use) and isinstance(view, View):
        return view
    source = locate_plugin(ref.use, plugins.find_factory("views", ref.use, trusted=trusted))
    if not isinstance(view, View):
        reject_value(source, view, "a `View`", error=ConfigError)
    return _guard_view(view, source)


def _guard_view(view: View, source: PluginSource) -> View:
    guard = PluginGuard(source, "made rows", error=RunError)

    @cache
    def load_columns() -> pa.Schema:
        import pyarrow as pa

        with guard:
            schema = view.columns()
        if not isinstance(schema, pa.Schema):  # pyright: ignore[reportUnnecessaryIsInstance] (a user's value)
            reject_value(source, schema, "a `pyarrow.Schema` as columns", error=RunError)
        return schema

    def make_rows(group: ScenarioGroup) -> list[ArrowRow]:
        with guard:
            rows = view.to_rows(group)
        _check_rows(rows, load_columns(), source)
        return rows

    def explain_empty(recipe: Recipe, trusted: Sequence[str]) -> str:
        with guard:
            return str(view.why_empty(recipe, trusted))

    def list_warnings(recipe: Recipe, views: Sequence[View], trusted: Sequence[str]) -> list[str]:
        with guard:
            return [str(warning) for warning in view.warnings(recipe, views, trusted)]

    return replace(
        view,
        columns=load_columns,
        to_rows=make_rows,
        why_empty=explain_empty,
        warnings=list_warnings,
    )


def _check_rows(rows: object, schema: pa.Schema, source: PluginSource) -> None:
    """Check that rows are dicts that fit the schema."""
    import pyarrow as pa

    if not isinstance(rows, list):
        reject_value(source, rows, "a list of dicts", error=RunError)
    for row in cast("list[object]", rows):
        if not isinstance(row, dict):
            reject_value(source, row, "a dict", error=RunError, subject="made a row of type")
        # Before the conversion, because Arrow fills a missing column with nulls and drops an
        # unknown one.
        _check_row(cast("dict[object, object]", row), schema, source)
    try:
        pa.RecordBatch.from_pylist(cast("list[dict[str, object]]", rows), schema=schema)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as e:
        text = f"made rows that do not fit its columns ({describe_error(e)})"
        raise RunError(
            f"{source.format_problem(text)}; convert the values or edit the schema"
        ) from e


def _check_row(row: Mapping[object, object], schema: pa.Schema, source: PluginSource) -> None:
    required = {name for name in schema.names if not schema.field(name).nullable}  # pyright: ignore[reportUnknownMemberType] (pyarrow)
    null = sorted(name for name in required if row.get(name) is None)
    extra = sorted(str(name) for name in row if name not in schema.names)
    if null or extra:
        name = escape_line((null or extra)[0])
        problem = "without a value of column" if null else "with an unknown column"
        text = f"made a row {problem} `{name}`"
        raise RunError(f"{source.format_problem(text)}; return exactly the columns of its schema")


def make_views(recipe: Recipe, *, trusted: Sequence[str] = ()) -> dict[str, View]:
    """Make the views of a recipe, by name.

    Raises:
        ConfigError: a view that cannot be made, or is named twice.
    """
    views: dict[str, View] = {}
    for ref in recipe.views:
        view = make_view(ref, trusted=trusted)
        # A user's view names its own folder, which must not lead out of `data/`.
        if not resources.is_bare_name(view.name):
            raise ConfigError(f"view `{view.name}` cannot name a folder; use letters, digits, `_`")
        if view.name in views:
            raise ConfigError(f"view `{view.name}` is listed twice; keep one")
        views[view.name] = view
    return views


def choose_preferred(names: Sequence[str], views: Mapping[str, View]) -> str | None:
    """Return the view that examples load: the first preferred one, else the first; None without any."""
    chosen = (name for name in names if name in views and views[name].preferred)
    return next(chosen, next(iter(names), None))


def build_schema(
    *,
    messages: Sequence[str],
    message: Sequence[str] = (),
    text: Sequence[str],
    integer: Sequence[str] = (),
) -> pa.Schema:
    """Build a schema of non-null columns: lists of messages, single messages, text, whole numbers."""
    import pyarrow as pa

    fields = [pa.field(name, pa.list_(message_type()), nullable=False) for name in messages]
    fields += [pa.field(name, message_type(), nullable=False) for name in message]
    fields += [pa.field(name, pa.string(), nullable=False) for name in text]
    fields += [pa.field(name, pa.int64(), nullable=False) for name in integer]
    return pa.schema(fields)


def message_rows(messages: Sequence[Message]) -> list[ArrowRow]:
    """Convert messages to rows with role and content only."""
    return [{"role": m["role"], "content": m["content"]} for m in messages]


def assistant_turn(response: str | None) -> list[ArrowRow]:
    """Convert a response to an assistant turn."""
    return [{"role": "assistant", "content": response or ""}]


def build_answer_schema(messages: Sequence[str]) -> pa.Schema:
    """Build the schema of a view with one answer per row: messages and the columns of `answer_columns`."""
    return build_schema(
        messages=messages, text=[*ANSWER_STRINGS, *ANSWER_DERIVED], integer=ANSWER_INTEGER
    )


def answer_columns(record: Record) -> ArrowRow:
    """Return the columns of `build_answer_schema` except the messages."""
    row = read_columns(record, [*ANSWER_STRINGS, *ANSWER_INTEGER])
    row["accepted_by"] = row["accepted_by"] or "unknown"
    row["source_id"] = read_source_id(record)
    row["jurisdiction"] = record.scenario.jurisdiction or NO_REGION
    row["contrast"] = record.scenario.contrast or "none"
    row["turn_style"] = _attribute_value(record, "turn_style", "single")
    row["dialogue_intent"] = _attribute_value(record, "dialogue_intent", "none")
    row["rule"] = ",".join(record.expectation.rule_ids)
    return row


def read_source_id(record: Record) -> str:
    """Return the id of a prompt in the user's file; empty without one."""
    return _attribute_value(record, "source_id", "")


def has_given_turn(record: Record) -> bool:
    """Return True if the messages contain a given, unjudged assistant turn."""
    return GIVEN_HISTORY in record.scenario.attributes


def _attribute_value(record: Record, axis: str, default: str) -> str:
    return next((a.value for a in record.scenario.attributes if a.axis == axis), default)


def read_columns(record: Record, names: Sequence[str]) -> ArrowRow:
    """Read columns by name from a record's scenario, expectation, draft or the record itself."""
    return {name: _column_reader(name)(record) for name in names}


@cache
def _column_reader(name: str) -> Callable[[Record], object]:
    parts = {"scenario": Scenario, "expectation": Expectation, "draft": Draft}
    part = next((p for p, type_ in parts.items() if name in type_.__slots__), None)
    return attrgetter(name if part is None else f"{part}.{name}")
