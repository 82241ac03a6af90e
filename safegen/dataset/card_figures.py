"""The card's sections on coverage, on the whole corpus, and on hedging."""

from __future__ import annotations

from collections.abc import Iterator

from safegen.dataset.coverage_report import compared
from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.artifacts import Result, Unmeasured
from safegen.dataset.curation.corpus_checks import BOUND, GATED
from safegen.dataset.curation.hedging import Hedging
from safegen.dataset.figures import Figures
from safegen.dataset.markdown import cell, table

NAMED = 5
"""Missing combinations that the card names."""


def coverage_section(figures: Figures) -> Iterator[str]:
    """What the plan and the rows cover, and how far the target is met."""
    yield "## Coverage"
    found = figures.certificates
    if found is None:
        yield "Not computed: there is no plan, or fewer than two axes vary in it."
    else:
        told = f"Pairs of {cell(', '.join(found.axes))}"
        if found.triples:
            told += f"; triples of {cell(', '.join(found.triples))}, on which the policy turns"
        yield (
            f"{told}. Only values that stand in a prompt or that a blind judge confirmed count. "
            "Planned is round 0 and all later rounds; here are the rows of this dataset."
        )
        yield table(("combinations", "planned", "here"), list(compared(found)))
        missing = [
            ", ".join(f"{axis} {value}" for axis, value in row.items())
            for row in found.after.missing[:NAMED]
        ]
        if missing:
            yield "Missing here, the first: " + "; ".join(cell(text) for text in missing) + "."
    if figures.target is not None:
        yield f"Target, counted over accepted prompts: {cell(figures.target.line)}."


def corpus_section(figures: Figures) -> Iterator[str]:
    """Near copies, words that tell, and hedging."""
    yield "## Near copies and telling words"
    yield _near(figures)
    yield (
        "How well single words tell what a prompt is, measured in unseen goals (AUC: 0.5 tells "
        "nothing, 1 tells all). Who states ill intent does so in words, so that a refusal may be told by them."
    )
    lines = [_measure(question, result) for question, result in figures.telltale.items()]
    yield table(("question", "AUC", "95 % interval", "prompts", "most telling words"), lines)
    if figures.left.words:
        words = ", ".join(cell(w.word) for w in figures.left.words)
        yield f"Authored sets were left out for these words, by the bound {BOUND} on {cell(GATED)}: {words}."
    if figures.telling:
        yield f"**Words tell too much:** {cell(figures.telling)}."
    yield "## Hedging"
    yield _hedging(figures.hedging)


def _near(figures: Figures) -> str:
    left = figures.left
    if left.near_written is None:
        return "All prompts are written by people; near copies were not looked for."
    return (
        f"{len(left.near)} authored or imported prompts nearly repeat another one (similarity of word "
        f"triples {near_duplicates.THRESHOLD} or more) and were left out; {left.near_written} written prompts do, and stay."
    )


def _measure(question: str, result: Result) -> tuple[object, ...]:
    if isinstance(result, Unmeasured):
        return question, "unmeasured", result.reason, "", ""
    low, high = result.interval
    words = ", ".join(w.word for w in result.words) or "none"
    counts = f"{result.first} against {result.second}"
    return question, f"{result.auc:.2f}", f"{low:.2f} to {high:.2f}", counts, words


def _hedging(hedging: Hedging) -> str:
    if hedging.unmeasured is not None:
        return f"Unmeasured: {cell(hedging.unmeasured)}."
    lines = [
        (name, d.answers, f"{d.per_100_words:.2f}")
        for name, d in (
            ("without the spec (allowed tier)", hedging.without_spec),
            ("with the spec", hedging.with_spec),
        )
    ]
    return (
        "Hedging words in direct answers, by whether the teacher read the policy spec:\n\n"
        + table(("drafted", "answers", "per 100 words"), lines)
    )
