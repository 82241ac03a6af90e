"""What only the whole corpus shows: authored and imported prompts that repeat others, and words that tell.

Written prompts are reported and never left out: people answer for them. Prompts are streamed, more
than once, and read in full only where there is something to leave out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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

SAMPLE_SIZE = 2_000
"""Prompts, about, that words are measured on: whole goals by their digests."""
MAX_AUC = 0.75
"""AUC up to which words may tell: people's own prompts, the core's, are at 0.72 (0.63 to 0.81)."""
SURE_AUC = 0.65
"""What the low end of the interval must be above, before a set is left out for its words."""
CHECKED_TARGET: ArtifactTarget = "dual_use"
"""The question that sets are left out for. The expected mode is only reported: who states ill
intent does so in words, so that words may tell a refusal (AUC 0.90 on the core's written prompts)."""
ExclusionReason = Literal["near_duplicate", "incomplete_set", "lexical_artifact"]


class CorpusPrompt(NamedTuple):
    """A prompt whose answer would be taken."""

    scenario_id: str
    set_id: str
    goal_id: str
    source: Source
    intent: Intent
    mode: Mode
    text: str

    @property
    def row(self) -> artifacts.ArtifactRow:
        """What the measure of words reads."""
        return artifacts.ArtifactRow(self.goal_id, self.set_id, self.text, self.intent, self.mode)


PromptReader = Callable[[], Iterable[CorpusPrompt]]
"""Reads all prompts of the corpus in canonical order, as often as it is called."""


def user_text(messages: Sequence[Message]) -> str:
    """What the person says, all turns together."""
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


@dataclass(slots=True)
class CorpusCheck:
    """What the corpus gates leave out, and what they saw of the rest."""

    scenarios: dict[str, ExclusionReason] = field(default_factory=dict[str, ExclusionReason])
    near_duplicates: tuple[near_duplicates.NearDuplicate, ...] = ()
    """Near copies among authored and imported prompts, left out."""
    written_near_duplicates: int | None = None
    """Near copies among written prompts, kept; None where nobody looked."""
    words: tuple[ArtifactWord, ...] = ()
    """Words for which authored sets were left out."""
    artifacts: artifacts.ArtifactMeasure | None = None
    """How well words tell authored prompts where it is too much, and too many sets hold them to leave these out."""


def check_corpus(prompts: PromptReader) -> CorpusCheck:
    """Choose what to leave out.

    Near copies are compared at `near_duplicates.THRESHOLD` (0.6): two changed words in a prompt of thirty leave
    0.65, and the closest of the core's written prompts are below 0.5. Written prompts stand
    first; else the first in canonical order stays. A set that would lose an intent goes as a whole.
    """
    if not any(p.source != "written" for p in prompts()):
        return CorpusCheck()
    left = CorpusCheck()
    _exclude_near_duplicates(prompts, left)
    _lexical_artifacts(prompts, left)
    return left


def _exclude_near_duplicates(prompts: PromptReader, left: CorpusCheck) -> None:
    foreign: dict[str, tuple[str, Intent]] = {
        p.scenario_id: (p.set_id, p.intent) for p in prompts() if p.source != "written"
    }
    whole = _intents_by_set(foreign.values())
    lost: dict[str, near_duplicates.NearDuplicate] = {}
    gone: set[str] = set()
    while True:
        duplicates = near_duplicates.find_near_duplicates(
            t for t in _to_corpus_texts(prompts) if t.group not in gone
        )
        copies = {c.id: c for c in duplicates if c.id in foreign}
        stays = _intents_by_set(pair for id_, pair in foreign.items() if id_ not in copies)
        broken = {set_ for set_, intents in whole.items() if stays.get(set_, set()) != intents}
        # What is a copy of a set that goes now may stay: it is looked at again without that set.
        waiting = {
            foreign[c.id][0]
            for c in copies.values()
            if foreign.get(c.original, ("", ""))[0] in broken
        }
        goes = broken - waiting or broken
        lost |= {id_: copy for id_, copy in copies.items() if foreign[id_][0] in goes}
        gone |= goes
        if not goes:
            break
    left.near_duplicates = tuple(sorted((lost | copies).values()))
    left.written_near_duplicates = len(duplicates) - len(copies)
    for id_, (set_, _) in foreign.items():
        if id_ in copies or id_ in lost:
            left.scenarios[id_] = "near_duplicate"
        elif set_ in gone:
            left.scenarios[id_] = "incomplete_set"


def _intents_by_set(pairs: Iterable[tuple[str, Intent]]) -> dict[str, set[Intent]]:
    """The intents of each set."""
    intents: dict[str, set[Intent]] = {}
    for set_, intent in pairs:
        intents.setdefault(set_, set()).add(intent)
    return intents


def _to_corpus_texts(prompts: PromptReader) -> Iterator[near_duplicates.CorpusText]:
    for written in (True, False):
        for p in prompts():
            if (p.source == "written") is written:
                yield near_duplicates.CorpusText(p.scenario_id, p.text, p.set_id)


def _lexical_artifacts(prompts: PromptReader, left: CorpusCheck) -> None:
    """Leave out authored sets that carry the most telling words, if words tell too much and that helps."""

    def authored() -> Iterator[CorpusPrompt]:
        return (
            p for p in prompts() if p.source == "author" and p.scenario_id not in left.scenarios
        )

    rows = [p.row for p in sample_prompts(authored(), sum(1 for _ in authored()))]
    found = artifacts.measure_target(rows, CHECKED_TARGET)
    if (
        isinstance(found, UnmeasuredArtifacts)
        or found.auc <= MAX_AUC
        or found.interval.low <= SURE_AUC
    ):
        return
    told: ArtifactReduction = artifacts.reduce_artifacts(rows, CHECKED_TARGET, bound=MAX_AUC)
    if not told.is_reached and isinstance(told.before, artifacts.ArtifactMeasure):
        left.artifacts = told.before
    left.words = tuple(dict.fromkeys(d.word for d in told.excluded))
    carriers = {p.set_id for p in authored() if any(_contains_word(p, w) for w in left.words)}
    for p in list(authored()) if carriers else ():
        if p.set_id in carriers:
            left.scenarios[p.scenario_id] = "lexical_artifact"


def _contains_word(prompt: CorpusPrompt, word: ArtifactWord) -> bool:
    """Whether a word stands in a prompt of the side that it speaks for."""
    kind = artifacts.target_label(prompt.row, CHECKED_TARGET)
    return kind is (word.z > 0) and word.word in text_forms.words(prompt.text)


def sample_prompts(prompts: Iterable[CorpusPrompt], total: int) -> Iterator[CorpusPrompt]:
    """About `SAMPLE_SIZE` of a total of prompts, whole goals, whatever the order."""
    share = SAMPLE_SIZE / max(total, 1)
    return (p for p in prompts if share >= 1 or hash_fraction("telltale", p.goal_id) < share)


@dataclass(slots=True)
class PromptSample:
    """Prompts that stayed, to measure words on: about `SAMPLE_SIZE` of the corpus, kept as they come."""

    total: int
    """Prompts of the corpus, an upper bound."""
    rows: list[artifacts.ArtifactRow] = field(default_factory=list[artifacts.ArtifactRow])
    seen: Counter[str] = field(default_factory=Counter[str])
    """Prompts by source."""

    def add(self, prompt: CorpusPrompt) -> None:
        """Take a prompt that stays, or pass it over."""
        self.seen[prompt.source] += 1
        self.rows += [p.row for p in sample_prompts([prompt], self.total)]

    def measure(self) -> dict[ArtifactTarget, ArtifactResult]:
        """How well words tell, by question."""
        return dict(artifacts.measure_artifacts(self.rows))


def result_to_json(result: ArtifactResult) -> dict[str, object]:
    """A measure for machines."""
    if isinstance(result, UnmeasuredArtifacts):
        return {"unmeasured": result.reason}
    return {
        "auc": round(result.auc, 4),
        "low": round(result.interval.low, 4),
        "high": round(result.interval.high, 4),
        "rows": [result.first, result.second],
        "words": [w.word for w in result.words],
    }
