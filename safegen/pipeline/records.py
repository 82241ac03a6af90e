"""Records of a run for people and programs, without their texts unless these are revealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from safegen.config.language_pack import Locale
from safegen.core import plugins, text_forms
from safegen.core.types import MODES, Mode, Record, Verdict
from safegen.dataset.curate import curate
from safegen.dataset.dropped import DroppedScenario
from safegen.pipeline.recut import Recut
from safegen.pipeline.resolve import RunContext
from safegen.store import plan
from safegen.store.run_folder import RunFolder
from safegen.store.schema import record_row
from safegen.validators import ElementCoverage, element_coverage

TEXT_COLUMNS = ("messages", "response", "reasoning_content")
HIDDEN_TEXT = "(quotes the text; see it with --reveal)"


class RecordLabels(NamedTuple):
    """Sentences and terms that explain records and are not stored in them."""

    rules: Mapping[tuple[str, str], str]
    """The sentence of each rule, by policy id and rule id."""
    elements: Mapping[tuple[str, str], str]
    """The sentence of each element that a rule may require, by policy id and name."""
    locale: Locale
    """The language pack of the validators."""


def load_labels(context: RunContext) -> RecordLabels:
    """Collect the sentences of rules and elements, and the language pack of a run."""
    rules = {(p.policy_id, rule.id): rule.says for p in context.policies for rule in p.rules}
    elements = {
        (p.policy_id, name): says for p in context.policies for name, says in p.elements.items()
    }
    return RecordLabels(rules, elements, context.locale)


def iter_records(folder: RunFolder, *, recut: Recut | None = None) -> Iterator[Record]:
    """Read the records of all finished shards, in plan order."""
    for shard in folder.finished_shards():
        records = folder.read_records(shard)
        yield from records if recut is None else recut.recutter(records)


def find_excluded(folder: RunFolder, reason: str, *, recut: Recut | None = None) -> frozenset[str]:
    """Find the accepted scenarios that curation keeps out of the dataset for a reason.

    Args:
        folder: the run.
        reason: the reason.
        recut: other keys of acceptance than those of the recipe.

    Raises:
        DatasetInvalid: two scenarios have equal messages and different expectations.
        StoreDamaged: a plan or shard cannot be read.
    """
    excluded = curate(folder, recut=recut.recutter if recut else None).excluded
    return frozenset(id_ for id_, cause in excluded.items() if cause == reason)


# Any: values are columns of the Arrow schema.
def record_to_json(record: Record, *, reveal: bool = False) -> dict[str, Any]:
    """Convert a record to the columns of `run/records`.

    Without `reveal`, prompts, responses, evidence and reasons that quote them are left out.
    Texts of a withheld draft are never shown.
    """
    payload = record_row(record)
    if reveal and not record.draft.withheld:
        return payload
    # The prompt of a withheld draft is harmless by construction; its response is not.
    hidden = TEXT_COLUMNS[1:] if reveal else TEXT_COLUMNS
    verdicts = [
        {k: v for k, v in fields.items() if k != "evidence"}
        | {"code": verdict_code(verdict), "reason": verdict_reason(verdict, record)}
        for fields, verdict in zip(payload["verdicts"], record.verdicts, strict=True)
    ]
    findings = [
        {k: v for k, v in fields.items() if k != "evidence"} for fields in payload["findings"] or ()
    ]
    shown = {k: v for k, v in payload.items() if k not in hidden}
    return shown | {"verdicts": verdicts, "findings": findings or None}


def verdict_code(verdict: Verdict) -> str:
    """Return a verdict's code, or a placeholder if it is not an identifier."""
    # A user's validator may put words of the text there.
    return verdict.code if verdict.code.isidentifier() else HIDDEN_TEXT


def verdict_reason(verdict: Verdict, record: Record) -> str:
    """Return a verdict's reason, or a placeholder if it quotes the record's texts."""
    texts = [m["content"] for m in record.scenario.messages]
    texts += [record.draft.response or "", record.draft.reasoning_content or ""]
    # A short reason, such as a single word, is the validator's own even if a text contains it.
    is_short = len(verdict.reason.split()) < text_forms.MIN_QUOTED_WORDS
    if is_short or not text_forms.has_quotation(verdict.reason, " ".join(texts)):
        return verdict.reason
    return HIDDEN_TEXT


# Any: see record_to_json.
def dropped_to_json(dropped: DroppedScenario, *, reveal: bool = False) -> dict[str, Any]:
    """Convert a scenario without a draft to its attributes and the reason for the drop."""
    scenario, failure = dropped.planned.scenario, dropped.failure
    payload: dict[str, Any] = {
        "scenario_id": scenario.scenario_id,
        "set_id": scenario.set_id,
        "goal_id": scenario.goal_id,
        "harm": scenario.harm,
        "intent": scenario.intent,
        "profile": scenario.profile,
        "turn": scenario.turn,
        "mode": dropped.planned.expectation.mode,
        "outcome": failure.outcome,
        "stage": failure.stage,
        "reason": dropped.reason,
    }
    if reveal:
        text = {} if failure.text is None else {"text": failure.text}
        return payload | {"message": failure.message} | text
    return payload | ({} if dropped.quotes_prompt else {"message": dropped.public_message})


def record_element_coverage(record: Record, locale: Locale) -> ElementCoverage:
    """Group a record's required elements by how its validators checked them."""
    expectation = record.expectation
    return element_coverage.classify_elements(
        expectation.mode,
        expectation.required,
        element_coverage.list_deciding_validators(record.verdicts),
        own=plugins.list_names("validators"),
        locale=locale,
    )


def run_element_coverage(folder: RunFolder, context: RunContext) -> ElementCoverage | None:
    """Group the required elements of a run's plan by how its validators check them; None if there are none."""
    from safegen.dataset.coverage_report import iter_planned_rows

    validators = [ref.use for ref in context.recipe.validators]
    shipped = plugins.list_names("validators")
    elements: dict[Mode, dict[str, None]] = {}
    for row in iter_planned_rows(plan.Plans(folder.plans), ("mode", "required")):
        elements.setdefault(row["mode"], {}).update(dict.fromkeys(row["required"]))
    by_mode: dict[Mode, ElementCoverage] = {
        mode: element_coverage.classify_elements(
            mode, elements[mode], validators, own=shipped, locale=context.locale
        )
        for mode in MODES
        if elements.get(mode)
    }
    return element_coverage.merge_coverage(by_mode) if by_mode else None
