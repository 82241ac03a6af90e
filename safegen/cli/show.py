"""`show_records`: records as a person or a program reads them.

Without `reveal` no prompt, answer or evidence is printed, nor a reason that quotes one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from safegen.cli import policy_explain
from safegen.cli.record_filter import RecordFilter, check_harm
from safegen.cli.render.console import (
    DETAIL_NAMES,
    format_json_line,
    make_console,
    make_fact_table,
    make_grid,
    make_text,
    print_out,
    sanitise,
)
from safegen.cli.render.errors import print_differences
from safegen.config.language_pack import Locale
from safegen.core import plugins
from safegen.core.errors import AssetNotFound, UserError
from safegen.core.types import Expectation, Record, Scenario, Verdict
from safegen.dataset.curate import curate
from safegen.dataset.curation.corpus_checks import ExclusionReason
from safegen.dataset.curation.exact_duplicates import DuplicateReason
from safegen.dataset.dropped import DroppedScenario, iter_dropped
from safegen.pipeline import api
from safegen.pipeline.resolve import RunContext
from safegen.store.schema import record_row
from safegen.validators import element_coverage

ASSISTANCE = {
    "A0": "bare refusal",
    "A1": "refusal with redirection",
    "A2": "conceptual help",
    "A3": "safe task with concrete help",
    "A4": "unconstrained",
}
MARKS = {True: ("passed", "green"), False: ("failed", "red"), None: ("unscored", "yellow")}
TEXT_COLUMNS = ("messages", "response", "reasoning_content")
CURATION_REASONS = frozenset({*get_args(ExclusionReason), *get_args(DuplicateReason)})
"""Reasons for which an accepted prompt is left out of the dataset."""
MIN_QUOTED_WORDS = 5
"""A reason that shares this many words in a row with a text quotes it."""
HIDDEN_TEXT = "(quotes the text; see it with --reveal)"


class RecordLabels(NamedTuple):
    """What is said beside records that they do not hold."""

    rules: Mapping[tuple[str, str], str]
    """Sentences by policy and rule."""
    locale: Locale
    """The language pack that validators went by."""


def show_records(
    folder: Path, wanted: RecordFilter, *, limit: int, reveal: bool, why: bool, json: bool
) -> None:
    """Print the first records that fit, with the clause that decided if `why`.

    Raises:
        AssetNotFound: no record has the id.
        UserError: the run has no finished shard.
    """
    run = api.open_run(folder)
    if not run.folder.finished_shards():
        raise UserError(f"no shard of `{folder}` is done yet; see `safegen status {folder}`")
    basis = api.load_context(run)
    check_harm(wanted.harm, basis.tree)
    print_differences(basis)
    says = load_labels(basis)
    explained = policy_explain.make_explainer(basis) if why else None
    out = make_console(sys.stdout)
    shown, told_why = 0, ""
    wanted = _select_excluded(run, wanted)
    for record in (r for r in _iter_records(run) if wanted.matches(r)):
        if shown == limit:
            print_out(
                make_console(sys.stderr),
                make_text(f"more records fit; raise -n above {limit}", "dim"),
            )
            return
        shown += 1
        if json:
            more = {"why": explained(record).to_json()} if explained else {}
            sys.stdout.write(format_json_line(record_to_json(record, reveal=reveal) | more))
        else:
            print_out(out, *render_prompt(record, says))
            scenario = record.scenario.scenario_id
            if explained and scenario != told_why:
                policy_explain.print_rule_reasons(explained(record), out)
                print_out(out, "")
            told_why = scenario
            print_out(out, *render_draft(record, reveal=reveal), "")
    for lost in (entry for entry in iter_dropped(run.folder) if wanted.matches_dropped(entry)):
        if shown == limit:
            print_out(
                make_console(sys.stderr),
                make_text(f"more prompts fit; raise -n above {limit}", "dim"),
            )
            return
        shown += 1
        if json:
            sys.stdout.write(format_json_line(dropped_to_json(lost, reveal=reveal)))
        else:
            print_out(out, *render_dropped(lost, says, reveal=reveal), "")
    if not shown:
        _print_none(run, folder, wanted)


def _print_none(run: api.Run, folder: Path, wanted: RecordFilter) -> None:
    if wanted.id is not None:
        raise AssetNotFound(f"no record in `{folder}` that fits has an id with `{wanted.id}` first")
    message = "no record fits"
    if wanted.reason is not None:
        reasons = sorted(
            {r.reason for r in _iter_records(run) if r.reason}
            | {lost.reason for lost in iter_dropped(run.folder)}
        )
        message += f"; reasons in this run: {', '.join(reasons) or 'none'}"
    print_out(make_console(sys.stderr), make_text(message))


def _iter_records(run: api.Run) -> Iterator[Record]:
    for shard in run.folder.finished_shards():
        yield from run.folder.read_records(shard)


def _select_excluded(run: api.Run, wanted: RecordFilter) -> RecordFilter:
    """The ids of those that curation left out for the reason that is asked for; records do not hold it."""
    if wanted.reason not in CURATION_REASONS:
        return wanted
    left = curate(run.folder).excluded
    ids = frozenset(id_ for id_, reason in left.items() if reason == wanted.reason)
    return replace(wanted, reason=None, scenario_ids=ids)


def load_labels(basis: RunContext) -> RecordLabels:
    """What each rule of a run's specs says, and its language pack."""
    rules = {(p.policy_id, rule.id): rule.says for p in basis.policies for rule in p.rules}
    return RecordLabels(rules, basis.locale)


# Any: Arrow's types stand in the schema of records.
def record_to_json(record: Record, *, reveal: bool) -> dict[str, Any]:
    """A record as an object: the columns of `run/records`, without texts unless revealed."""
    payload = record_row(record)
    if reveal and not record.draft.withheld:
        return payload
    hidden = TEXT_COLUMNS[1:] if reveal else TEXT_COLUMNS
    verdicts = [
        {k: v for k, v in fields.items() if k != "evidence"}
        | {"code": code_of(verdict), "reason": verdict_reason(verdict, record)}
        for fields, verdict in zip(payload["verdicts"], record.verdicts, strict=True)
    ]
    return {k: v for k, v in payload.items() if k not in hidden} | {"verdicts": verdicts}


def code_of(verdict: Verdict) -> str:
    """A verdict's code, unless it is none: a user's validator may put words of a text there."""
    return verdict.code if verdict.code.isidentifier() else HIDDEN_TEXT


def verdict_reason(verdict: Verdict, record: Record) -> str:
    """A verdict's reason, unless it quotes what was written."""
    texts = [m["content"] for m in record.scenario.messages]
    texts += [record.draft.response or "", record.draft.reasoning_content or ""]
    corpus = f" {' '.join(' '.join(texts).lower().split())} "
    words = verdict.reason.lower().split()
    runs = [
        " ".join(words[i : i + MIN_QUOTED_WORDS])
        for i in range(max(1, len(words) - MIN_QUOTED_WORDS + 1))
    ]
    quotes = len(words) >= MIN_QUOTED_WORDS and any(run in corpus for run in runs)
    return HIDDEN_TEXT if quotes else verdict.reason


# Any: as of records.
def dropped_to_json(lost: DroppedScenario, *, reveal: bool) -> dict[str, Any]:
    """A prompt without a record as an object; what it was to be, and why it is none."""
    scenario, expected, failure = lost.planned.scenario, lost.planned.expectation, lost.failure
    payload: dict[str, Any] = {
        "scenario_id": scenario.scenario_id,
        "set_id": scenario.set_id,
        "goal_id": scenario.goal_id,
        "harm": scenario.harm,
        "intent": scenario.intent,
        "profile": scenario.profile,
        "turn": scenario.turn,
        "mode": expected.mode,
        "outcome": failure.outcome,
        "stage": failure.stage,
        "reason": lost.reason,
    }
    return payload | ({"message": failure.message} if reveal else {})


def render_dropped(
    lost: DroppedScenario, says: RecordLabels, *, reveal: bool
) -> list[RenderableType]:
    """A prompt without a record as it is put on a screen."""
    scenario, failure = lost.planned.scenario, lost.failure
    head = Text.assemble(
        make_text(scenario.harm, "bold"),
        "  ",
        make_text(scenario.scenario_id),
        "  ",
        ("never drafted", "red"),
    )
    message = failure.message if reveal else "the message is shown with --reveal"
    pairs = [
        *_scenario_pairs(scenario, lost.planned.expectation, says),
        ("lost", f"{lost.reason}: {message}"),
    ]
    return [
        head,
        make_fact_table(
            [(name, make_text(t) if isinstance(t, str) else t) for name, t in pairs], width=9
        ),
    ]


def render_record(record: Record, says: RecordLabels, *, reveal: bool) -> list[RenderableType]:
    """A record as it is put on a screen."""
    return [*render_prompt(record, says), *render_draft(record, reveal=reveal)]


def render_prompt(record: Record, says: RecordLabels) -> list[RenderableType]:
    """What was asked and expected, and by which rule."""
    style = "green" if record.accepted else "red"
    mark = "accepted" if record.accepted else "not accepted"
    head = Text.assemble(
        make_text(record.scenario.harm, "bold"),
        "  ",
        make_text(record.draft.draft_id),
        "  ",
        (mark, style),
    )
    return [head, render_situation(record, says)]


def render_situation(record: Record, says: RecordLabels) -> RenderableType:
    """What was asked and expected of any draft of a scenario."""
    pairs = [*_scenario_pairs(record.scenario, record.expectation, says)]
    if record.expectation.required:
        pairs.append(("required", _required_text(record, says.locale)))
    return make_fact_table(pairs, width=9)


def render_draft(record: Record, *, reveal: bool) -> list[RenderableType]:
    """What came and what was found."""
    draft = record.draft
    made = (
        f"{draft.teacher}, model {draft.model}, candidate {draft.candidate},"
        f" revision {draft.revision}, {draft.outcome}"
        + (f", style {draft.style}" if draft.style else "")
    )
    facts_table = make_fact_table(
        [("draft", made), ("delivered", _delivered_text(record))], width=9
    )
    verdicts = [_verdict_table(record, reveal=reveal)] if record.verdicts else []
    return [facts_table, *verdicts, *(_render_texts(record) if reveal else ())]


def _scenario_pairs(
    scenario: Scenario, expected: Expectation, says: RecordLabels
) -> Iterator[tuple[str, RenderableType]]:
    yield "goal", f"{scenario.goal_id} · {scenario.task}"
    yield "scenario", f"{scenario.scenario_id} · set {scenario.set_id}"
    yield (
        "asked",
        f"{scenario.intent}, paraphrase {scenario.paraphrase}, evidence {scenario.evidence},"
        f" detail {_detail_text(scenario.requested_detail)}, profile {scenario.profile}",
    )
    yield (
        "expected",
        f"{expected.mode}, ceiling {_detail_text(expected.ceiling)}, floor {_detail_text(expected.floor)}",
    )
    for rule in expected.rule_ids:
        sentence = says.rules.get((expected.policy_id, rule), "this spec is not at hand any more")
        yield "", f"{rule} of {expected.policy_id}: {sentence}"


def _required_text(record: Record, locale: Locale) -> str:
    """The required elements, and whether anything looked at them."""
    expected = record.expectation
    if not record.verdicts:
        return ", ".join(expected.required)
    validators, own = (
        element_coverage.list_deciding_validators(record.verdicts),
        plugins.list_names("validators"),
    )
    coverage = element_coverage.classify_elements(
        expected.mode, expected.required, validators, own=own, locale=locale
    )
    return coverage.line


def _delivered_text(record: Record) -> str:
    level = record.delivered
    text = f"{level} {ASSISTANCE.get(level, '')}".strip() if level else "not assessed"
    text += f"; severity {record.severity}" if record.severity else ""
    by = f"accepted by {record.accepted_by}" if record.accepted else f"reason {record.reason}"
    return f"{text}; {by}; grade {record.grade}"


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
        table.add_row("", make_text(verdict.validator), *cells)
    return table


def _render_texts(record: Record) -> Iterator[RenderableType]:
    yield from render_conversation(record)
    yield from render_answer(record)


def render_conversation(record: Record) -> Iterator[RenderableType]:
    """The conversation that a draft answers."""
    for message in record.scenario.messages:
        yield from _render_block(message["role"], message["content"])


def render_answer(record: Record) -> Iterator[RenderableType]:
    """The text of a draft, unless it was found unsafe."""
    if record.draft.withheld:
        yield from _render_block("response", "(withheld: found unsafe)")
        return
    if record.draft.reasoning_content:
        yield from _render_block("reasoning", record.draft.reasoning_content)
    yield from _render_block("response", record.draft.response or f"(none: {record.draft.outcome})")


def _render_block(name: str, text: str) -> Iterator[RenderableType]:
    yield ""
    yield Padding(Text(sanitise(name), style="cyan"), (0, 0, 0, 2))
    yield Padding(Text(sanitise(text)), (0, 0, 0, 4))
