"""Checks over the whole corpus: near-duplicates and lexical artifacts of authored and imported prompts.

Written prompts are reported and never excluded, because people are responsible for them. Prompts are
streamed, more than once, and read in full only if something is to be excluded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from safegen.core import text_forms
from safegen.core.hashing import hash_fraction
from safegen.core.types import Intent, Message, Mode, Source
from safegen.dataset.curation import artifacts, near_duplicates
from safegen.dataset.curation.artifacts import (
    ArtifactReduction,
    ArtifactResult,
    ArtifactTarget,
    ArtifactWord,
    UnmeasuredArtifacts,
)

# The classifier is trained 201 times; 2,000 prompts take about 1 s.
SAMPLE_SIZE = 2_000
"""Approximate number of prompts in the sample for artifacts: whole goals by their digests."""
MAX_AUC = 0.75
"""Highest accepted AUC; the hand-written prompts of the core have 0.72 (0.63 to 0.81)."""
SURE_AUC = 0.65
"""Low end of the interval above which sets are excluded for their words."""
CHECKED_TARGET: ArtifactTarget = "dual_use"
"""The target that sets are excluded for. The expected mode is only reported: stated ill intent is
visible in words, so words predict a refusal (AUC 0.90 on the core's written prompts)."""
ExclusionReason = Literal["near_duplicate", "incomplete_set", "lexical_artifact"]


class CorpusPrompt(NamedTuple):
    """A prompt with an accepted answer."""

    scenario_id: str
    set_id: str
    goal_id: str
    source: Source
    intent: Intent
    mode: Mode
    text: str

    @property
    def row(self) -> artifacts.ArtifactRow:
        """The row for the artifact measure."""
        return artifacts.ArtifactRow(self.goal_id, self.set_id, self.text, self.intent, self.mode)


PromptReader = Callable[[], Iterable[CorpusPrompt]]
"""Reads all prompts of the corpus in canonical order, as often as it is called."""


def user_text(messages: Sequence[Message], base_prompt: str | None = None) -> str:
    """Join the user turns; the last one without the noise or the wrapper that code added."""
    turns = [m["content"] for m in messages if m["role"] == "user"]
    return "\n".join(turns if base_prompt is None else [*turns[:-1], base_prompt])


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """Exclusions by the corpus checks, and counts of the rest."""

    scenarios: dict[str, ExclusionReason] = field(default_factory=dict[str, ExclusionReason])
    near_duplicates: tuple[near_duplicates.NearDuplicate, ...] = ()
    """Excluded near-duplicates among authored and imported prompts."""
    written_near_duplicates: int | None = None
    """Near-duplicates among written prompts, kept; None if they were not searched."""
    words: tuple[ArtifactWord, ...] = ()
    """Words for which authored sets were excluded."""
    artifacts: artifacts.ArtifactMeasure | None = None
    """The measure, if words reveal too much but too many sets contain them to exclude the sets."""


def check_corpus(prompts: PromptReader) -> CorpusCheck:
    """Choose the prompts to exclude.

    Written prompts are kept first, then the first in canonical order. A set that would lose an intent
    is excluded as a whole. The threshold of near-duplicates is 0.6: two changed words in a prompt of
    thirty give 0.65, and the closest of the core's written prompts are below 0.5.
    """
    if not any(p.source != "written" for p in prompts()):
        return CorpusCheck()
    return _exclude_lexical_artifacts(prompts, _exclude_near_duplicates(prompts))


def _exclude_near_duplicates(prompts: PromptReader) -> CorpusCheck:
    def foreign() -> Iterator[CorpusPrompt]:
        return (p for p in prompts() if p.source != "written")

    excluded_copies: dict[str, near_duplicates.NearDuplicate] = {}
    excluded_sets: set[str] = set()
    while True:
        duplicates = near_duplicates.find_near_duplicates(
            t for t in _to_corpus_texts(prompts) if t.group not in excluded_sets
        )
        # Ids of the whole corpus would take most of the memory, so each round reads the prompts again.
        matched = {id_ for c in duplicates for id_ in (c.id, c.original)}
        sets = {p.scenario_id: p.set_id for p in foreign() if p.scenario_id in matched}
        copies = {c.id: c for c in duplicates if c.id in sets}
        broken = _find_broken_sets(foreign(), copies, {sets[id_] for id_ in copies})
        # A copy of a set that is excluded now may stay: compare it again without that set.
        sets_to_recheck = {
            sets[c.id] for c in copies.values() if sets.get(c.original, "") in broken
        }
        # If each broken set waits for another one, all are excluded, so that the loop ends.
        newly_excluded = broken - sets_to_recheck or broken
        excluded_copies |= {
            id_: copy for id_, copy in copies.items() if sets[id_] in newly_excluded
        }
        excluded_sets |= newly_excluded
        if not newly_excluded:
            break
    excluded_copies |= copies
    scenarios = _name_reasons(foreign(), excluded_copies, excluded_sets) if excluded_copies else {}
    return CorpusCheck(
        scenarios,
        near_duplicates=tuple(sorted(excluded_copies.values())),
        written_near_duplicates=len(duplicates) - len(copies),
    )


def _name_reasons(
    prompts: Iterable[CorpusPrompt], copies: Container[str], sets: Container[str]
) -> dict[str, ExclusionReason]:
    reasons: dict[str, ExclusionReason] = {}
    for p in prompts:
        # A copy in an excluded set is named as a copy, because it is the cause.
        if p.scenario_id in copies:
            reasons[p.scenario_id] = "near_duplicate"
        elif p.set_id in sets:
            reasons[p.scenario_id] = "incomplete_set"
    return reasons


def _find_broken_sets(
    prompts: Iterable[CorpusPrompt], copies: Container[str], sets: Container[str]
) -> set[str]:
    """Find the sets, among `sets`, that have a prompt of some intent only among the copies."""
    before = dict[str, set[Intent]]()
    after = dict[str, set[Intent]]()
    for p in prompts:
        if p.set_id in sets:
            before.setdefault(p.set_id, set()).add(p.intent)
            if p.scenario_id not in copies:
                after.setdefault(p.set_id, set()).add(p.intent)
    return {set_ for set_, intents in before.items() if after.get(set_, set()) != intents}


def _to_corpus_texts(prompts: PromptReader) -> Iterator[near_duplicates.CorpusText]:
    for written in (True, False):
        for p in prompts():
            if (p.source == "written") is written:
                yield near_duplicates.CorpusText(p.scenario_id, p.text, p.set_id)


def _exclude_lexical_artifacts(prompts: PromptReader, excluded: CorpusCheck) -> CorpusCheck:
    """Exclude authored sets with the strongest artifacts, if the AUC is too high and this lowers it."""

    def authored() -> Iterator[CorpusPrompt]:
        return (
            p for p in prompts() if p.source == "author" and p.scenario_id not in excluded.scenarios
        )

    rows = [p.row for p in sample_prompts(authored(), sum(1 for _ in authored()))]
    result = artifacts.measure_target(rows, CHECKED_TARGET)
    if (
        isinstance(result, UnmeasuredArtifacts)
        or result.auc <= MAX_AUC
        # A small sample can exceed the bound by chance.
        or result.interval.low <= SURE_AUC
    ):
        return excluded
    reduction: ArtifactReduction = artifacts.reduce_artifacts(rows, CHECKED_TARGET, bound=MAX_AUC)
    before = reduction.before if isinstance(reduction.before, artifacts.ArtifactMeasure) else None
    words = tuple(dict.fromkeys(d.word for d in reduction.excluded))
    carriers = {p.set_id for p in authored() if any(_contains_word(p, w) for w in words)}
    scenarios: dict[str, ExclusionReason] = {
        p.scenario_id: "lexical_artifact"
        for p in (authored() if carriers else ())
        if p.set_id in carriers
    }
    return replace(
        excluded,
        scenarios=excluded.scenarios | scenarios,
        words=words,
        artifacts=None if reduction.is_reached else before,
    )


def _contains_word(prompt: CorpusPrompt, word: ArtifactWord) -> bool:
    """Return True if a prompt contains the word on the side that it indicates."""
    kind = artifacts.target_label(prompt.row, CHECKED_TARGET)
    return kind is (word.z > 0) and word.word in text_forms.words(prompt.text)


def sample_prompts(prompts: Iterable[CorpusPrompt], total: int) -> Iterator[CorpusPrompt]:
    """Sample about `SAMPLE_SIZE` of `total` prompts: whole goals, in any order."""
    # Whole goals: prompts of one goal share words, and folds must not share goals.
    share = SAMPLE_SIZE / max(total, 1)
    return (p for p in prompts if share >= 1 or hash_fraction("telltale", p.goal_id) < share)


@dataclass(slots=True)
class PromptSample:
    """A sample of about `SAMPLE_SIZE` kept prompts for the artifact measure."""

    total: int
    """Prompts of the corpus, an upper bound."""
    rows: list[artifacts.ArtifactRow] = field(default_factory=list[artifacts.ArtifactRow])
    seen: Counter[str] = field(default_factory=Counter[str])
    """Prompts by source."""

    def add(self, prompt: CorpusPrompt) -> None:
        """Count a kept prompt, and sample it."""
        self.seen[prompt.source] += 1
        self.rows += [p.row for p in sample_prompts([prompt], self.total)]

    def measure(self) -> dict[ArtifactTarget, ArtifactResult]:
        """Measure artifacts by target."""
        return dict(artifacts.measure_artifacts(self.rows))


def result_to_json(result: ArtifactResult) -> dict[str, object]:
    """Convert a measure to JSON."""
    if isinstance(result, UnmeasuredArtifacts):
        return {"unmeasured": result.reason}
    return {
        "auc": round(result.auc, 4),
        "low": round(result.interval.low, 4),
        "high": round(result.interval.high, 4),
        "rows": [result.first, result.second],
        "words": [w.word for w in result.words],
    }
