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
from safegen.core.hashing import fraction
from safegen.core.types import Intent, Message, Mode, Source
from safegen.dataset.curation import artifacts, near_duplicates
from safegen.dataset.curation.artifacts import Question, Result, Telling, Unmeasured, Word

SAMPLE = 2_000
"""Prompts, about, that words are measured on: whole goals by their digests."""
BOUND = 0.75
"""AUC up to which words may tell: people's own prompts, the core's, are at 0.72 (0.63 to 0.81)."""
SURE = 0.65
"""What the low end of the interval must be above, before a set is left out for its words."""
GATED: Question = "dual_use"
"""The question that sets are left out for. The expected mode is only reported: who states ill
intent does so in words, so that words may tell a refusal (AUC 0.90 on the core's written prompts)."""
Reason = Literal["near_duplicate", "incomplete_set", "lexical_artifact"]


class Prompt(NamedTuple):
    """A prompt whose answer would be taken."""

    scenario_id: str
    set_id: str
    goal_id: str
    source: Source
    intent: Intent
    mode: Mode
    text: str

    @property
    def row(self) -> artifacts.Row:
        """What the measure of words reads."""
        return artifacts.Row(self.goal_id, self.set_id, self.text, self.intent, self.mode)


Prompts = Callable[[], Iterable[Prompt]]
"""Reads all prompts of the corpus in canonical order, as often as it is called."""


def prompt_text(messages: Sequence[Message]) -> str:
    """What the person says, all turns together."""
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


@dataclass(slots=True)
class Left:
    """What the corpus gates leave out, and what they saw of the rest."""

    scenarios: dict[str, Reason] = field(default_factory=dict[str, Reason])
    near: tuple[near_duplicates.NearCopy, ...] = ()
    """Near copies among authored and imported prompts, left out."""
    near_written: int | None = None
    """Near copies among written prompts, kept; None where nobody looked."""
    words: tuple[Word, ...] = ()
    """Words for which authored sets were left out."""
    telling: artifacts.Measured | None = None
    """How well words tell authored prompts where it is too much, and too many sets hold them to leave these out."""


def gate(prompts: Prompts) -> Left:
    """Choose what to leave out.

    Near copies are compared at `near_duplicates.THRESHOLD` (0.6): two changed words in a prompt of thirty leave
    0.65, and the closest of the core's written prompts are below 0.5. Written prompts stand
    first; else the first in canonical order stays. A set that would lose an intent goes as a whole.
    """
    if not any(p.source != "written" for p in prompts()):
        return Left()
    left = Left()
    _near_copies(prompts, left)
    _lexical_artifacts(prompts, left)
    return left


def _near_copies(prompts: Prompts, left: Left) -> None:
    foreign: dict[str, tuple[str, Intent]] = {
        p.scenario_id: (p.set_id, p.intent) for p in prompts() if p.source != "written"
    }
    whole = _intents(foreign.values())
    lost: dict[str, near_duplicates.NearCopy] = {}
    gone: set[str] = set()
    while True:
        found = near_duplicates.near_copies(t for t in _texts(prompts) if t.group not in gone)
        copies = {c.id: c for c in found if c.id in foreign}
        stays = _intents(told for id_, told in foreign.items() if id_ not in copies)
        broken = {set_ for set_, intents in whole.items() if stays.get(set_, set()) != intents}
        # What is a copy of a set that goes now may stay: it is looked at again without that set.
        waiting = {
            foreign[c.id][0] for c in copies.values() if foreign.get(c.of, ("", ""))[0] in broken
        }
        goes = broken - waiting or broken
        lost |= {id_: copy for id_, copy in copies.items() if foreign[id_][0] in goes}
        gone |= goes
        if not goes:
            break
    left.near = tuple(sorted((lost | copies).values()))
    left.near_written = len(found) - len(copies)
    for id_, (set_, _) in foreign.items():
        if id_ in copies or id_ in lost:
            left.scenarios[id_] = "near_duplicate"
        elif set_ in gone:
            left.scenarios[id_] = "incomplete_set"


def _intents(told: Iterable[tuple[str, Intent]]) -> dict[str, set[Intent]]:
    """The intents of each set."""
    found: dict[str, set[Intent]] = {}
    for set_, intent in told:
        found.setdefault(set_, set()).add(intent)
    return found


def _texts(prompts: Prompts) -> Iterator[near_duplicates.Text]:
    for written in (True, False):
        for p in prompts():
            if (p.source == "written") is written:
                yield near_duplicates.Text(p.scenario_id, p.text, p.set_id)


def _lexical_artifacts(prompts: Prompts, left: Left) -> None:
    """Leave out authored sets that carry the most telling words, if words tell too much and that helps."""

    def authored() -> Iterator[Prompt]:
        return (
            p for p in prompts() if p.source == "author" and p.scenario_id not in left.scenarios
        )

    rows = [p.row for p in sampled(authored(), sum(1 for _ in authored()))]
    found = artifacts.measure(rows, GATED)
    if isinstance(found, Unmeasured) or found.auc <= BOUND or found.interval.low <= SURE:
        return
    told: Telling = artifacts.telling_sets(rows, GATED, bound=BOUND)
    if not told.reached and isinstance(told.before, artifacts.Measured):
        left.telling = told.before
    left.words = tuple(dict.fromkeys(d.word for d in told.dropped))
    carriers = {p.set_id for p in authored() if any(_carries(p, w) for w in left.words)}
    for p in list(authored()) if carriers else ():
        if p.set_id in carriers:
            left.scenarios[p.scenario_id] = "lexical_artifact"


def _carries(prompt: Prompt, word: Word) -> bool:
    """Whether a word stands in a prompt of the side that it speaks for."""
    kind = artifacts.kind_of(prompt.row, GATED)
    return kind is (word.z > 0) and word.word in text_forms.words(prompt.text)


def sampled(prompts: Iterable[Prompt], total: int) -> Iterator[Prompt]:
    """About `SAMPLE` of a total of prompts, whole goals, whatever the order."""
    share = SAMPLE / max(total, 1)
    return (p for p in prompts if share >= 1 or fraction("telltale", p.goal_id) < share)


@dataclass(slots=True)
class Sample:
    """Prompts that stayed, to measure words on: about `SAMPLE` of the corpus, kept as they come."""

    total: int
    """Prompts of the corpus, an upper bound."""
    rows: list[artifacts.Row] = field(default_factory=list[artifacts.Row])
    seen: Counter[str] = field(default_factory=Counter[str])
    """Prompts by source."""

    def add(self, prompt: Prompt) -> None:
        """Take a prompt that stays, or pass it over."""
        self.seen[prompt.source] += 1
        self.rows += [p.row for p in sampled([prompt], self.total)]

    def measured(self) -> dict[Question, Result]:
        """How well words tell, by question."""
        return dict(artifacts.telltale(self.rows))


def result_json(result: Result) -> dict[str, object]:
    """A measure for machines."""
    if isinstance(result, Unmeasured):
        return {"unmeasured": result.reason}
    return {
        "auc": round(result.auc, 4),
        "low": round(result.interval.low, 4),
        "high": round(result.interval.high, 4),
        "rows": [result.first, result.second],
        "words": [w.word for w in result.words],
    }
