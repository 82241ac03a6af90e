"""`show`: records as a person or a program reads them.

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
from safegen.cli.record_filter import Wanted, check_harm
from safegen.cli.render.console import DETAIL, clean, console, facts, grid, json_line, put, word
from safegen.cli.render.errors import say_what_differs
from safegen.config.language_pack import Locale
from safegen.core import plugins
from safegen.core.errors import AssetNotFound, UserError
from safegen.core.types import Expectation, Record, Scenario, Verdict
from safegen.dataset.curate import staying
from safegen.dataset.curation.corpus_checks import Reason
from safegen.dataset.curation.exact_duplicates import Duplicate
from safegen.dataset.dropped import Lost, lost_prompts
from safegen.pipeline import api
from safegen.pipeline.resolve import Basis
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
TEXTS = ("messages", "response", "reasoning_content")
CURATED = frozenset({*get_args(Reason), *get_args(Duplicate)})
"""Reasons for which an accepted prompt is left out of the dataset."""
RUN = 5
"""A reason that shares this many words in a row with a text quotes it."""
WITHOUT = "(quotes the text; see it with --reveal)"


class Says(NamedTuple):
    """What is said beside records that they do not hold."""

    rules: Mapping[tuple[str, str], str]
    """Sentences by policy and rule."""
    locale: Locale
    """The language pack that validators went by."""


def show(folder: Path, wanted: Wanted, *, limit: int, reveal: bool, why: bool, json: bool) -> None:
    """Print the first records that fit, with the clause that decided if `why`.

    Raises:
        AssetNotFound: no record has the id.
        UserError: the run has no finished shard.
    """
    run = api.open_run(folder)
    if not run.folder.finished():
        raise UserError(f"no shard of `{folder}` is done yet; see `safegen status {folder}`")
    basis = api.basis(run)
    check_harm(wanted.harm, basis.tree)
    say_what_differs(basis)
    says = sentences(basis)
    explained = policy_explain.why(basis) if why else None
    out = console(sys.stdout)
    shown, told_why = 0, ""
    wanted = _left_out(run, wanted)
    for record in (r for r in _records(run) if wanted.takes(r)):
        if shown == limit:
            put(console(sys.stderr), word(f"more records fit; raise -n above {limit}", "dim"))
            return
        shown += 1
        if json:
            more = {"why": explained(record).told()} if explained else {}
            sys.stdout.write(json_line(row(record, reveal=reveal) | more))
        else:
            put(out, *asked(record, says))
            scenario = record.scenario.scenario_id
            if explained and scenario != told_why:
                policy_explain.because(explained(record), out)
                put(out, "")
            told_why = scenario
            put(out, *delivered(record, reveal=reveal), "")
    for lost in (found for found in lost_prompts(run.folder) if wanted.takes_lost(found)):
        if shown == limit:
            put(console(sys.stderr), word(f"more prompts fit; raise -n above {limit}", "dim"))
            return
        shown += 1
        if json:
            sys.stdout.write(json_line(lost_row(lost, reveal=reveal)))
        else:
            put(out, *never_drafted(lost, says, reveal=reveal), "")
    if not shown:
        _none(run, folder, wanted)


def _none(run: api.Run, folder: Path, wanted: Wanted) -> None:
    if wanted.id is not None:
        raise AssetNotFound(f"no record in `{folder}` that fits has an id with `{wanted.id}` first")
    told = "no record fits"
    if wanted.reason is not None:
        reasons = sorted(
            {r.reason for r in _records(run) if r.reason}
            | {lost.reason for lost in lost_prompts(run.folder)}
        )
        told += f"; reasons in this run: {', '.join(reasons) or 'none'}"
    put(console(sys.stderr), word(told))


def _records(run: api.Run) -> Iterator[Record]:
    for shard in run.folder.finished():
        yield from run.folder.read_records(shard)


def _left_out(run: api.Run, wanted: Wanted) -> Wanted:
    """The ids of those that curation left out for the reason that is asked for; records do not hold it."""
    if wanted.reason not in CURATED:
        return wanted
    left = staying(run.folder).left_out
    ids = frozenset(id_ for id_, reason in left.items() if reason == wanted.reason)
    return replace(wanted, reason=None, among=ids)


def sentences(basis: Basis) -> Says:
    """What each rule of a run's specs says, and its language pack."""
    rules = {(p.policy_id, rule.id): rule.says for p in basis.policies for rule in p.rules}
    return Says(rules, basis.locale)


# Any: Arrow's types stand in the schema of records.
def row(record: Record, *, reveal: bool) -> dict[str, Any]:
    """A record as an object: the columns of `run/records`, without texts unless revealed."""
    told = record_row(record)
    if reveal and not record.draft.withheld:
        return told
    hidden = TEXTS[1:] if reveal else TEXTS
    verdicts = [
        {k: v for k, v in found.items() if k != "evidence"}
        | {"code": code_of(verdict), "reason": reason_of(verdict, record)}
        for found, verdict in zip(told["verdicts"], record.verdicts, strict=True)
    ]
    return {k: v for k, v in told.items() if k not in hidden} | {"verdicts": verdicts}


def code_of(verdict: Verdict) -> str:
    """A verdict's code, unless it is none: a user's validator may put words of a text there."""
    return verdict.code if verdict.code.isidentifier() else WITHOUT


def reason_of(verdict: Verdict, record: Record) -> str:
    """A verdict's reason, unless it quotes what was written."""
    texts = [m["content"] for m in record.scenario.messages]
    texts += [record.draft.response or "", record.draft.reasoning_content or ""]
    corpus = f" {' '.join(' '.join(texts).lower().split())} "
    words = verdict.reason.lower().split()
    runs = [" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))]
    quotes = len(words) >= RUN and any(run in corpus for run in runs)
    return WITHOUT if quotes else verdict.reason


# Any: as of records.
def lost_row(lost: Lost, *, reveal: bool) -> dict[str, Any]:
    """A prompt without a record as an object; what it was to be, and why it is none."""
    scenario, expected, failure = lost.planned.scenario, lost.planned.expectation, lost.failure
    told: dict[str, Any] = {
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
    return told | ({"message": failure.message} if reveal else {})


def never_drafted(lost: Lost, says: Says, *, reveal: bool) -> list[RenderableType]:
    """A prompt without a record as it is put on a screen."""
    scenario, failure = lost.planned.scenario, lost.failure
    head = Text.assemble(
        word(scenario.harm, "bold"),
        "  ",
        word(scenario.scenario_id),
        "  ",
        ("never drafted", "red"),
    )
    why = failure.message if reveal else "the message is shown with --reveal"
    told = [*_told(scenario, lost.planned.expectation, says), ("lost", f"{lost.reason}: {why}")]
    return [
        head,
        facts([(name, word(t) if isinstance(t, str) else t) for name, t in told], width=9),
    ]


def layout(record: Record, says: Says, *, reveal: bool) -> list[RenderableType]:
    """A record as it is put on a screen."""
    return [*asked(record, says), *delivered(record, reveal=reveal)]


def asked(record: Record, says: Says) -> list[RenderableType]:
    """What was asked and expected, and by which rule."""
    style = "green" if record.accepted else "red"
    mark = "accepted" if record.accepted else "not accepted"
    head = Text.assemble(
        word(record.scenario.harm, "bold"), "  ", word(record.draft.draft_id), "  ", (mark, style)
    )
    return [head, situation(record, says)]


def situation(record: Record, says: Says) -> RenderableType:
    """What was asked and expected of any draft of a scenario."""
    told = [*_told(record.scenario, record.expectation, says)]
    if record.expectation.required:
        told.append(("required", _required(record, says.locale)))
    return facts(told, width=9)


def delivered(record: Record, *, reveal: bool) -> list[RenderableType]:
    """What came and what was found."""
    draft = record.draft
    made = (
        f"{draft.teacher}, model {draft.model}, candidate {draft.candidate},"
        f" revision {draft.revision}, {draft.outcome}"
        + (f", style {draft.style}" if draft.style else "")
    )
    told = facts([("draft", made), ("delivered", _delivered(record))], width=9)
    verdicts = [_verdicts(record, reveal=reveal)] if record.verdicts else []
    return [told, *verdicts, *(_texts(record) if reveal else ())]


def _told(
    scenario: Scenario, expected: Expectation, says: Says
) -> Iterator[tuple[str, RenderableType]]:
    yield "goal", f"{scenario.goal_id} · {scenario.task}"
    yield "scenario", f"{scenario.scenario_id} · set {scenario.set_id}"
    yield (
        "asked",
        f"{scenario.intent}, paraphrase {scenario.paraphrase}, evidence {scenario.evidence},"
        f" detail {_detail(scenario.requested_detail)}, profile {scenario.profile}",
    )
    yield (
        "expected",
        f"{expected.mode}, ceiling {_detail(expected.ceiling)}, floor {_detail(expected.floor)}",
    )
    for rule in expected.rule_ids:
        sentence = says.rules.get((expected.policy_id, rule), "this spec is not at hand any more")
        yield "", f"{rule} of {expected.policy_id}: {sentence}"


def _required(record: Record, locale: Locale) -> str:
    """The required elements, and whether anything looked at them."""
    expected = record.expectation
    if not record.verdicts:
        return ", ".join(expected.required)
    validators, own = element_coverage.told(record.verdicts), plugins.names("validators")
    found = element_coverage.read(
        expected.mode, expected.required, validators, own=own, locale=locale
    )
    return found.line


def _delivered(record: Record) -> str:
    level = record.delivered
    told = f"{level} {ASSISTANCE.get(level, '')}".strip() if level else "not assessed"
    told += f"; severity {record.severity}" if record.severity else ""
    by = f"accepted by {record.accepted_by}" if record.accepted else f"reason {record.reason}"
    return f"{told}; {by}; grade {record.grade}"


def _detail(level: int) -> str:
    return f"{level} {DETAIL[level]}" if 0 <= level < len(DETAIL) else str(level)


def _verdicts(record: Record, *, reveal: bool) -> Table:
    heads = ("verdict", "", "score", "reason", *(("evidence",) if reveal else ()))
    table = grid(*heads, right=(2,))
    for verdict in record.verdicts:
        told, style = MARKS[verdict.passed]
        score = "" if verdict.score is None else f"{verdict.score:.2f}"
        cells = [Text(told, style), score]
        if reveal:
            hidden = record.draft.withheld
            cells += [word(verdict.reason), word("" if hidden else verdict.evidence, "dim")]
        else:
            cells.append(word(reason_of(verdict, record)))
        table.add_row("", word(verdict.validator), *cells)
    return table


def _texts(record: Record) -> Iterator[RenderableType]:
    yield from prompt_of(record)
    yield from answer_of(record)


def prompt_of(record: Record) -> Iterator[RenderableType]:
    """The conversation that a draft answers."""
    for message in record.scenario.messages:
        yield from _block(message["role"], message["content"])


def answer_of(record: Record) -> Iterator[RenderableType]:
    """The text of a draft, unless it was found unsafe."""
    if record.draft.withheld:
        yield from _block("response", "(withheld: found unsafe)")
        return
    if record.draft.reasoning_content:
        yield from _block("reasoning", record.draft.reasoning_content)
    yield from _block("response", record.draft.response or f"(none: {record.draft.outcome})")


def _block(name: str, text: str) -> Iterator[RenderableType]:
    yield ""
    yield Padding(Text(clean(name), style="cyan"), (0, 0, 0, 2))
    yield Padding(Text(clean(text)), (0, 0, 0, 4))
