"""Output of `safegen show`: records without texts, unless `--reveal` is given."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import get_args

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from safegen.cli import policy_explain
from safegen.cli.record_filter import DraftResult, RecordFilter, check_harm, draft_result
from safegen.cli.render.console import (
    DETAIL_NAMES,
    format_json_line,
    format_number,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
    sanitise,
)
from safegen.cli.render.errors import print_differences
from safegen.core import plugins
from safegen.core.errors import AssetNotFound, UserError
from safegen.core.suggestions import suggest_names
from safegen.core.types import (
    JUROR,
    JURY,
    NOISE,
    UNSAFE_SEVERITIES,
    WRAPPER,
    DropReason,
    Expectation,
    Failure,
    NotAccepted,
    Outcome,
    Record,
    Scenario,
    Verdict,
)
from safegen.dataset.curation.corpus_checks import ExclusionReason
from safegen.dataset.curation.exact_duplicates import DuplicateReason
from safegen.dataset.dropped import (
    DroppedScenario,
    hide_in_message,
    iter_dropped,
    quotes_prompt,
    read_failed_drafts,
)
from safegen.dataset.run_stats import REJECTION_AXES, UNFINISHED
from safegen.pipeline import api
from safegen.pipeline.policies import explain_record
from safegen.pipeline.records import (
    RecordLabels,
    dropped_to_json,
    find_excluded,
    iter_records,
    load_labels,
    record_element_coverage,
    record_to_json,
    verdict_reason,
)
from safegen.pipeline.recut import Recut, read_recut
from safegen.pipeline.snapshot import RunSnapshot
from safegen.pipeline.status import read_status

ASSISTANCE = {
    "A0": "bare refusal",
    "A1": "refusal with redirection",
    "A2": "conceptual help",
    "A3": "safe task with concrete help",
    "A4": "unconstrained",
}
MARKS = {True: ("passed", "green"), False: ("failed", "red"), None: ("unscored", "yellow")}
RESULT_STYLES: Mapping[DraftResult, str] = {
    "accepted": "green",
    "rejected": "red",
    "withheld": "red",
    "failed": "yellow",
}
HIDDEN_MESSAGE = "see the message with --reveal"
CURATION_REASONS = frozenset({*get_args(ExclusionReason), *get_args(DuplicateReason)})
"""Reasons for which curation excludes an accepted scenario; records do not hold them."""
RECORD_REASONS = tuple(
    reason
    for kind in (NotAccepted, Outcome, DropReason)
    for reason in get_args(kind)
    if reason != "ok"
)
"""Reasons of drafts and dropped prompts that name no validator."""


def show_records(
    folder: Path, record_filter: RecordFilter, *, limit: int, reveal: bool, why: bool, json: bool
) -> None:
    """Print the first records and dropped prompts that match; with `why`, also the deciding rule.

    Raises:
        AssetNotFound: no record has the id.
        UserError: the run has no finished shard, or a value of the filter is unknown.
    """
    run = api.open_run(folder)
    if not run.folder.finished_shards():
        raise UserError(f"no shard of `{folder}` is done yet; see `safegen status {folder}`")
    context = api.load_context(run)
    check_harm(record_filter.harm, context.tree)
    recut = read_recut(run.folder, run.recipe)
    _check_reason(record_filter.reason, run, recut)
    print_differences(context)
    record_filter = _select_excluded(run, record_filter, recut)
    failures = read_failed_drafts(run.folder)
    printer = _RecordPrinter(context, failures, reveal=reveal, why=why, json=json)
    shown = 0
    for item in _iter_matches(run, record_filter, recut):
        if shown == limit:
            line = f"more records match; raise -n above {limit}"
            print_out(make_console(sys.stderr), make_text(line, "dim"))
            return
        shown += 1
        if isinstance(item, Record):
            printer.print_record(item)
        else:
            printer.print_dropped(item)
    if not shown:
        _print_none(run, folder, record_filter, recut)


def show_rejections(folder: Path, record_filter: RecordFilter, *, by: str, json: bool) -> None:
    """Print the numbers of rejected drafts by reason and an axis.

    Raises:
        UserError: the axis is unknown, or the filter has another condition than `--rejected`.
    """
    if record_filter != RecordFilter(result="rejected"):
        raise UserError("`--by` needs `--rejected` and takes no other condition")
    if by not in REJECTION_AXES:
        raise UserError(f"--by: no axis `{by[:60]}`{suggest_names(by, REJECTION_AXES)}")
    counts = read_status(api.open_run(folder)).rejected_by[by]
    rows = [(reason, name, n) for reason, own in counts.items() for name, n in own.items()]
    if json:
        for reason, name, drafts in rows:
            sys.stdout.write(format_json_line({"reason": reason, by: name, "drafts": drafts}))
        return
    table = make_grid("reason", by, "drafts", right=(2,))
    for reason, name, drafts in rows:
        table.add_row("", make_text(reason), make_text(name), format_number(drafts))
    print_out(make_console(sys.stdout), table if rows else make_text("no draft was rejected"))


def _iter_matches(
    run: api.Run, record_filter: RecordFilter, recut: Recut | None
) -> Iterator[Record | DroppedScenario]:
    records = iter_records(run.folder, recut=recut)
    yield from (record for record in records if record_filter.matches(record))
    yield from (item for item in iter_dropped(run.folder) if record_filter.matches_dropped(item))


class _RecordPrinter:
    """Prints records as tables or as JSON lines."""

    def __init__(
        self,
        context: RunSnapshot,
        failures: Mapping[str, Failure],
        *,
        reveal: bool,
        why: bool,
        json: bool,
    ) -> None:
        self._failures = failures
        self._context = context
        self._labels = load_labels(context)
        self._out = make_console(sys.stdout)
        self._reveal, self._why, self._json = reveal, why, json
        self._explained_id = ""

    def print_record(self, record: Record) -> None:
        explanation = explain_record(self._context, record.scenario) if self._why else None
        if self._json:
            extra = {"why": explanation.to_json()} if explanation else {}
            payload = record_to_json(record, reveal=self._reveal) | extra
            message = self._shown_message(record)
            if message:
                payload["message"] = message
            sys.stdout.write(format_json_line(payload))
            return
        print_out(self._out, *render_prompt(record, self._labels))
        # The drafts of a scenario share one explanation.
        if explanation and record.scenario.scenario_id != self._explained_id:
            policy_explain.print_rule_reasons(explanation, self._out)
            print_out(self._out, "")
        self._explained_id = record.scenario.scenario_id
        message = self._shown_message(record)
        print_out(self._out, *render_draft(record, reveal=self._reveal, message=message), "")

    def _shown_message(self, record: Record) -> str:
        failure = self._failures.get(record.draft.draft_id)
        if failure is None:
            return ""
        message = hide_in_message(failure, record.scenario)
        if self._reveal:
            return failure.message
        return HIDDEN_MESSAGE if quotes_prompt(message, record.scenario) else message

    def print_dropped(self, dropped: DroppedScenario) -> None:
        if self._json:
            sys.stdout.write(format_json_line(dropped_to_json(dropped, reveal=self._reveal)))
        else:
            print_out(self._out, *render_dropped(dropped, self._labels, reveal=self._reveal), "")


def _check_reason(reason: str | None, run: api.Run, recut: Recut | None) -> None:
    validators = [ref.use.rpartition(":")[2] for ref in run.recipe.validators]
    judges = [JURY] if run.recipe.judges.panel else []
    known = [*validators, *judges, *RECORD_REASONS, *sorted(CURATION_REASONS), UNFINISHED]
    shipped = plugins.list_names("validators")
    codes = [c for name in shipped for c in plugins.validator_traits(name).codes]
    # A run can hold a reason of its own, for example of a validator that its recipe no longer names,
    # or a code of a user's validator.
    if reason is None or reason in [*known, *codes, *_list_reasons(run, recut)]:
        return
    if any(v.code == reason for record in iter_records(run.folder) for v in record.verdicts):
        return
    nearest = suggest_names(reason, [*known, *codes], listed=False)
    hint = nearest or f"{suggest_names(reason, known)}; also the codes of verdicts"
    raise UserError(f"--reason: no reason `{reason[:60]}`{hint}")


def _list_reasons(run: api.Run, recut: Recut | None) -> list[str]:
    dropped = {item.reason for item in iter_dropped(run.folder)}
    records = iter_records(run.folder, recut=recut)
    return sorted({r.reason for r in records if r.reason} | dropped)


def _print_none(
    run: api.Run, folder: Path, record_filter: RecordFilter, recut: Recut | None
) -> None:
    if record_filter.id is not None:
        raise AssetNotFound(
            f"no matching record in `{folder}` has an id that starts with `{record_filter.id}`"
        )
    message = "no record matches"
    if record_filter.reason is not None:
        message += f"; reasons in this run: {', '.join(_list_reasons(run, recut)) or 'none'}"
    print_out(make_console(sys.stderr), make_text(message))


def _select_excluded(
    run: api.Run, record_filter: RecordFilter, recut: Recut | None
) -> RecordFilter:
    if record_filter.reason is None or record_filter.reason not in CURATION_REASONS:
        return record_filter
    ids = find_excluded(run.folder, record_filter.reason, recut=recut)
    return replace(record_filter, reason=None, scenario_ids=ids)


def render_dropped(
    dropped: DroppedScenario, labels: RecordLabels, *, reveal: bool
) -> list[RenderableType]:
    """Render a prompt that was dropped before drafting."""
    scenario, failure = dropped.planned.scenario, dropped.failure
    head = Text.assemble(
        make_text(scenario.harm, "bold"),
        "  ",
        make_text(scenario.scenario_id),
        "  ",
        ("dropped", "red"),
    )
    shown = HIDDEN_MESSAGE if dropped.quotes_prompt else dropped.public_message
    message = failure.message if reveal else shown
    pairs = [
        *_scenario_pairs(scenario, dropped.planned.expectation, labels),
        ("reason", f"{dropped.reason}: {message}"),
    ]
    table = make_fact_table(
        [(name, make_text(t) if isinstance(t, str) else t) for name, t in pairs], width=9
    )
    if not reveal or failure.text is None:
        return [head, table]
    return [head, table, Text("user", "bold"), make_text(failure.text)]


def render_record(record: Record, labels: RecordLabels, *, reveal: bool) -> list[RenderableType]:
    """Render prompt, expectation, draft and verdicts."""
    return [*render_prompt(record, labels), *render_draft(record, reveal=reveal)]


def render_prompt(record: Record, labels: RecordLabels) -> list[RenderableType]:
    """Render the prompt's attributes, the expectation and its rules."""
    result = draft_result(record)
    head = Text.assemble(
        make_text(record.scenario.harm, "bold"),
        "  ",
        make_text(record.draft.draft_id),
        "  ",
        (result, RESULT_STYLES[result]),
    )
    return [head, render_situation(record, labels)]


def render_situation(record: Record, labels: RecordLabels) -> RenderableType:
    """Render what all drafts of a scenario share."""
    pairs = [*_scenario_pairs(record.scenario, record.expectation, labels)]
    if record.expectation.required:
        pairs += _required_pairs(record, labels)
    return make_fact_table(pairs, width=9)


def render_draft(record: Record, *, reveal: bool, message: str = "") -> list[RenderableType]:
    """Render a draft, the message of its failed request and its verdicts; with `reveal`, also the texts."""
    draft = record.draft
    source = (
        f"{draft.teacher}, model {draft.model}, candidate {draft.candidate},"
        f" revision {draft.revision}, {draft.outcome}"
        + (f", style {draft.style}" if draft.style else "")
    )
    pairs: list[tuple[str, RenderableType]] = [
        ("draft", source),
        ("delivered", _delivered_text(record)),
        *([("message", make_text(message))] if message else []),
    ]
    facts_table = make_fact_table(pairs, width=9)
    verdicts = [_verdict_table(record, reveal=reveal)] if record.verdicts else []
    return [facts_table, *verdicts, *(_render_texts(record) if reveal else ())]


def _scenario_pairs(
    scenario: Scenario, expected: Expectation, labels: RecordLabels
) -> Iterator[tuple[str, RenderableType]]:
    yield "goal", f"{scenario.goal_id} · {scenario.task}"
    yield "scenario", f"{scenario.scenario_id} · set {scenario.set_id}"
    yield (
        "prompt",
        f"{scenario.intent}, paraphrase {scenario.paraphrase}, evidence {scenario.evidence},"
        f" detail {_detail_text(scenario.requested_detail)}, profile {scenario.profile}",
    )
    changes = [
        f"{axis} {name}" for axis in (NOISE, WRAPPER) if (name := scenario.find_attribute(axis))
    ]
    if changes:
        yield "surface", ", ".join(changes)
    yield (
        "expected",
        f"{expected.mode}, ceiling {_detail_text(expected.ceiling)}, floor {_detail_text(expected.floor)}",
    )
    for rule in expected.rule_ids:
        sentence = labels.rules.get(
            (expected.policy_id, rule), "(text not available: the spec is missing)"
        )
        yield "", f"{rule} of {expected.policy_id}: {sentence}"


def _required_pairs(record: Record, labels: RecordLabels) -> Iterator[tuple[str, RenderableType]]:
    """Render each element that the answer has to contain, with its sentence and its check."""
    expected = record.expectation
    coverage = record_element_coverage(record, labels.locale) if record.verdicts else None
    for name, element in zip_longest(("required",), expected.required, fillvalue=""):
        sentence = labels.elements.get((expected.policy_id, element), "")
        text = f"{element}: {sentence}" if sentence else element
        yield name, make_text(f"{text} ({coverage.describe(element)})" if coverage else text)


def _delivered_text(record: Record) -> str:
    level = record.delivered
    text = f"{level} {ASSISTANCE.get(level, '')}".strip() if level else "not assessed"
    text += f"; severity {record.severity}" if record.severity else ""
    if record.helpfulness is not None and record.reward is not None:
        text += f"; helpfulness {record.helpfulness:.2f}, reward {record.reward:.2f}"
    result = f"accepted by {record.accepted_by}" if record.accepted else f"reason {record.reason}"
    return f"{text}; {result}; grade {record.grade}"


def _detail_text(level: int) -> str:
    return f"{level} {DETAIL_NAMES[level]}" if 0 <= level < len(DETAIL_NAMES) else str(level)


def _verdict_table(record: Record, *, reveal: bool) -> Table:
    heads = ("verdict", "", "score", "reason", *(("evidence",) if reveal else ()))
    table = make_grid(*heads, right=(2,))
    for verdict in record.verdicts:
        mark, style = MARKS[verdict.passed]
        score = "" if verdict.score is None else f"{verdict.score:.2f}"
        cells = [Text(mark, style), score]
        if reveal:
            hidden = record.draft.withheld
            cells += [
                make_text(verdict.reason),
                make_text("" if hidden else verdict.evidence, "dim"),
            ]
        else:
            cells.append(make_text(verdict_reason(verdict, record)))
        table.add_row("", make_text(_verdict_name(verdict)), *cells)
    return table


def _verdict_name(verdict: Verdict) -> str:
    return (
        f"{verdict.validator} {verdict.judge}" if verdict.validator == JUROR else verdict.validator
    )


def _render_texts(record: Record) -> Iterator[RenderableType]:
    yield from render_conversation(record)
    yield from render_answer(record)


def render_conversation(record: Record) -> Iterator[RenderableType]:
    """Render the messages that a draft answers, and the prompt before code changed it."""
    if record.scenario.base_prompt is not None:
        yield from _render_block("base prompt", record.scenario.base_prompt)
    for message in record.scenario.messages:
        yield from _render_block(message["role"], message["content"])


def _explain_withheld(record: Record) -> str:
    if record.severity in UNSAFE_SEVERITIES:
        return "rated unsafe"
    if record.severity is not None:
        return "replaced by a revision"
    # An unrated draft keeps the reason for which no juror rated it.
    is_scrubbed: NotAccepted = "withheld"
    return "deleted by an earlier run" if record.reason == is_scrubbed else "not rated by a judge"


def render_answer(record: Record) -> Iterator[RenderableType]:
    """Render the text of a draft, unless it was withheld as unsafe."""
    if record.draft.withheld:
        yield from _render_block("response", f"(withheld: {_explain_withheld(record)})")
        return
    if record.draft.reasoning_content:
        yield from _render_block("reasoning", record.draft.reasoning_content)
    yield from _render_block("response", record.draft.response or f"(none: {record.draft.outcome})")


def _render_block(name: str, text: str) -> Iterator[RenderableType]:
    yield ""
    yield Padding(Text(sanitise(name), style="cyan"), (0, 0, 0, 2))
    yield Padding(Text(sanitise(text)), (0, 0, 0, 4))
