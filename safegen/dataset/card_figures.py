"""The card's sections on coverage, on the whole corpus, and on hedging."""

from __future__ import annotations

from collections.abc import Iterator

from safegen.dataset.coverage_report import compare_certificates
from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.artifacts import ArtifactResult, UnmeasuredArtifacts
from safegen.dataset.curation.corpus_checks import CHECKED_TARGET, MAX_AUC
from safegen.dataset.curation.hedging import HedgingMeasure
from safegen.dataset.figures import RunMeasures
from safegen.dataset.markdown import escape_cell, format_table

MAX_NAMED = 5
"""Missing combinations that the card names."""


def coverage_section(figures: RunMeasures) -> Iterator[str]:
    """What the plan and the rows cover, and how far the target is met."""
    yield "## Coverage"
    certificates = figures.certificates
    if certificates is None:
        yield "Not computed: there is no plan, or fewer than two axes vary in it."
    else:
        text = f"Pairs of {escape_cell(', '.join(certificates.axes))}"
        if certificates.triples:
            text += f"; triples of {escape_cell(', '.join(certificates.triples))}, on which the policy turns"
        yield (
            f"{text}. Only values that stand in a prompt or that a blind judge confirmed count. "
            "Planned is round 0 and all later rounds; here are the rows of this dataset."
        )
        yield format_table(
            ("combinations", "planned", "here"), list(compare_certificates(certificates))
        )
        missing = [
            ", ".join(f"{axis} {value}" for axis, value in row.items())
            for row in certificates.after.missing[:MAX_NAMED]
        ]
        if missing:
            yield (
                "Missing here, the first: " + "; ".join(escape_cell(text) for text in missing) + "."
            )
    if figures.target is not None:
        yield f"Target, counted over accepted prompts: {escape_cell(figures.target.line)}."


def corpus_section(figures: RunMeasures) -> Iterator[str]:
    """Near copies, words that tell, and hedging."""
    yield "## Near copies and telling words"
    yield _near(figures)
    yield (
        "How well single words tell what a prompt is, measured in unseen goals (AUC: 0.5 tells "
        "nothing, 1 tells all). Who states ill intent does so in words, so that a refusal may be told by them."
    )
    lines = [_measure(question, result) for question, result in figures.artifacts.items()]
    yield format_table(("question", "AUC", "95 % interval", "prompts", "most telling words"), lines)
    if figures.left.words:
        words = ", ".join(escape_cell(w.word) for w in figures.left.words)
        yield f"Authored sets were left out for these words, by the bound {MAX_AUC} on {escape_cell(CHECKED_TARGET)}: {words}."
    if figures.artifact_warning:
        yield f"**Words tell too much:** {escape_cell(figures.artifact_warning)}."
    yield "## Hedging"
    yield _hedging(figures.hedging)


def _near(figures: RunMeasures) -> str:
    left = figures.left
    if left.written_near_duplicates is None:
        return "All prompts are written by people; near copies were not looked for."
    return (
        f"{len(left.near_duplicates)} authored or imported prompts nearly repeat another one (similarity of word "
        f"triples {near_duplicates.THRESHOLD} or more) and were left out; {left.written_near_duplicates} written prompts do, and stay."
    )


def _measure(question: str, result: ArtifactResult) -> tuple[object, ...]:
    if isinstance(result, UnmeasuredArtifacts):
        return question, "unmeasured", result.reason, "", ""
    low, high = result.interval
    words = ", ".join(w.word for w in result.words) or "none"
    counts = f"{result.first} against {result.second}"
    return question, f"{result.auc:.2f}", f"{low:.2f} to {high:.2f}", counts, words


def _hedging(hedging: HedgingMeasure) -> str:
    if hedging.unmeasured_reason is not None:
        return f"Unmeasured: {escape_cell(hedging.unmeasured_reason)}."
    lines = [
        (name, d.answers, f"{d.per_100_words:.2f}")
        for name, d in (
            ("without the spec (allowed tier)", hedging.without_spec),
            ("with the spec", hedging.with_spec),
        )
    ]
    return (
        "Hedging words in direct answers, by whether the teacher read the policy spec:\n\n"
        + format_table(("drafted", "answers", "per 100 words"), lines)
    )
