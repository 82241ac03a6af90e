"""Labeller calibration: a labeller reads written prompts with known labels before it checks sets.

The requests look like every other label request, so the confusion on known prompts estimates how
many wrong labels would pass the checks of authored prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from safegen.config.goals import Goal, record_evidence
from safegen.core.errors import ItemError
from safegen.core.hashing import digest
from safegen.core.plural import format_plural
from safegen.core.statistics import Interval, cohen_kappa, wilson_interval
from safegen.core.types import INTENTS, Evidence, Expectation, Intent, Teacher
from safegen.judges.blind_labels import LabelFiles, PromptLabels, gather_all, read_labels
from safegen.policy.decide import expectation_key

DEFAULT_BAR = 0.9
"""Agreement from which a labeller may check sets, at the lower end of its 95 % interval."""
GATING_FIELDS = ("intent", "evidence", "expectation")
"""Fields whose disagreement is a fault of a set; the detail counts through the expectation."""


class KnownPrompt(NamedTuple):
    """A written prompt with its known labels."""

    harm: str
    text: str
    intent: Intent
    evidence: Evidence
    detail: int


ExpectKnown = Callable[[str, Evidence, int], Expectation]
"""The policy as a function of harm, evidence and requested detail."""


class Confusion(NamedTuple):
    """A known label that was read as another one."""

    known: str
    answered: str
    n: int
    share: float
    """Share of the known label's prompts, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of one field over all known prompts; a missing label counts as a disagreement."""

    field: str
    n: int
    hits: int
    wrong: int
    """Prompts read as another label; the other misses were not read or had no majority."""
    kappa: float | None
    miss_rate: float
    """Worst-case probability that labellers confirm a wrong label, 0 to 1."""
    worst: Confusion | None
    """The most frequent confusion."""

    @property
    def rate(self) -> float:
        """Share of known prompts that agree, 0 to 1."""
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> Interval:
        """Wilson 95 % interval of the rate."""
        return wilson_interval(self.hits, self.n)


@dataclass(frozen=True, slots=True)
class LabellerCheck:
    """The agreement of a labeller, or a panel of them, with known labels."""

    n: int
    unread: int
    """Prompts whose request failed; they count as misses."""
    unsure: int
    """Prompts without a majority for one of the labels; such authored prompts are dropped."""
    fields: tuple[Agreement, ...]

    def passes(self, bar: float = DEFAULT_BAR) -> bool:
        """Check that the interval of every gating field lies above the bar."""
        gating = [f for f in self.fields if f.field in GATING_FIELDS]
        return self.n > 0 and all(f.interval.low >= bar for f in gating)

    def estimate_wrong_labels(self, *, wrong: float) -> dict[str, float]:
        """Estimate the share of wrong labels among prompts that pass, by gating field.

        Args:
            wrong: share of prompts that the author writes with another label than planned, 0 to 1.
        """
        return {
            f.field: _estimate_passing(f, wrong) for f in self.fields if f.field in GATING_FIELDS
        }

    def suggest_fix(self, bar: float = DEFAULT_BAR) -> str:
        """Suggest a fix for a failed check."""
        # Not even a perfect score would pass.
        if not self.n or wilson_interval(self.n, self.n).low < bar:
            return (
                f"{format_plural(self.n, 'known prompt')} {'is' if self.n == 1 else 'are'} too few for any labeller: raise `judges.known`, write"
                " more sets for the harms that `policies` covers, or lower `judges.bar`"
            )
        # Misses of labels and of requests need different fixes.
        if 2 * self.unread >= self.n:
            return (
                "most requests failed or gave no readable answer: `safegen doctor` tests each model"
                " of `judges.labellers` with a JSON schema"
            )
        return (
            "name a better model under `judges.labellers`, or three models; `judges.known` is the"
            " number of prompts, and `judges.bar` the agreement that is required"
        )

    def format_summary(self, bar: float = DEFAULT_BAR, *, wrong: float = 0.2) -> str:
        """Format the result for a screen, one line per field."""
        head = "good enough" if self.passes(bar) else "NOT good enough"
        lines = [
            f"labeller: {head} to check authored sets: {format_plural(self.n, 'known prompt')},"
            f" bar {bar:.0%} at the lower end of the interval; {self.unread} unread,"
            f" {self.unsure} without a majority"
        ]
        lines += [_format_line(f, gating=f.field in GATING_FIELDS) for f in self.fields]
        if 2 * (self.unread + self.unsure) < self.n:  # otherwise too few passed for an estimate
            shares = ", ".join(
                f"{n} {v:.1%}" for n, v in self.estimate_wrong_labels(wrong=wrong).items()
            )
            lines.append(
                f"  if an author writes {wrong:.0%} wrong prompts, wrong among those that pass:"
                f" {shares}"
            )
        return "\n".join(lines)


def draw_known_prompts(goals: Iterable[Goal], *, n: int) -> tuple[KnownPrompt, ...]:
    """Draw written prompts by digest, as evenly over intents as the goals allow.

    The same goals give the same prompts in any order. They include over-refusal probes, which show
    if a labeller reacts to alarming words. With fewer than 35 prompts even a perfect labeller stays
    below the default bar: the Wilson interval of 34 of 34 begins at 0.898.
    """
    pools: dict[Intent, list[KnownPrompt]] = {intent: [] for intent in INTENTS}
    for goal in goals:
        for intent, _, p in goal.prompts.iter_by_intent():
            evidence = record_evidence(intent, p.evidence).evidence
            pools[intent].append(KnownPrompt(goal.harm, p.text, intent, evidence, p.detail))
    # Rounds over the intents, so that a small `n` is balanced, too.
    # By digest, so that the order of the files does not choose the prompts.
    ordered = [sorted(pool, key=digest) for pool in pools.values()]
    turns = max(map(len, ordered), default=0)
    drawn = [pool[turn] for turn in range(turns) for pool in ordered if turn < len(pool)]
    return tuple(drawn[:n])


async def check_labeller(
    known: Sequence[KnownPrompt],
    *,
    labeller: Teacher | tuple[Teacher, ...],
    files: LabelFiles,
    expect: ExpectKnown,
    ask: int = 0,
) -> LabellerCheck:
    """Label known prompts exactly like authored ones, and compare.

    A failed request is a miss, because it would drop an authored prompt.

    Raises:
        RunError: the run cannot continue.
    """
    panel = labeller if isinstance(labeller, tuple) else (labeller,)
    readings = await gather_all(_read_labels(prompt, panel, files, ask) for prompt in known)
    pairs = list(zip(known, readings, strict=True))
    return LabellerCheck(
        n=len(pairs),
        unread=sum(r is None for r in readings),
        unsure=sum(r is not None and None in r for r in readings),
        fields=(
            _measure_agreement("intent", [(t.intent, r.intent if r else None) for t, r in pairs]),
            _measure_agreement(
                "evidence", [(t.evidence, r.evidence if r else None) for t, r in pairs]
            ),
            _measure_agreement("detail", [(t.detail, r.detail if r else None) for t, r in pairs]),
            _measure_agreement("expectation", [_expectation_pair(t, r, expect) for t, r in pairs]),
        ),
    )


async def _read_labels(
    prompt: KnownPrompt, panel: tuple[Teacher, ...], files: LabelFiles, ask: int
) -> PromptLabels | None:
    try:
        return await read_labels(prompt.text, judges=panel, files=files, ask=ask)
    except ItemError:
        return None


def _expectation_pair(
    prompt: KnownPrompt, labels: PromptLabels | None, expect: ExpectKnown
) -> tuple[Hashable, Hashable | None]:
    known = expectation_key(expect(prompt.harm, prompt.evidence, prompt.detail))
    if labels is None or labels.evidence is None or labels.detail is None:
        return known, None
    return known, expectation_key(expect(prompt.harm, labels.evidence, labels.detail))


def _measure_agreement(field: str, pairs: Sequence[tuple[Hashable, Hashable | None]]) -> Agreement:
    hits = sum(known == read_label for known, read_label in pairs)
    worst = _find_confusions(pairs)
    return Agreement(
        field=field,
        n=len(pairs),
        hits=hits,
        wrong=sum(read_label is not None and known != read_label for known, read_label in pairs),
        kappa=cohen_kappa(pairs),
        miss_rate=sum(c.n for c in worst.values()) / len(pairs) if pairs else 0.0,
        worst=max(worst.values(), key=lambda c: c.share, default=None),
    )


def _find_confusions(
    pairs: Sequence[tuple[Hashable, Hashable | None]],
) -> dict[Hashable, Confusion]:
    """Map each confused label to its most frequent confusion."""
    worst: dict[Hashable, Confusion] = {}
    for label in dict.fromkeys(known for known, _ in pairs):
        read_label = [s for known, s in pairs if known == label]
        # A missing label drops a prompt and confirms nothing, so it is no confusion.
        others = Counter(s for s in read_label if s is not None and s != label)
        for other, n in others.most_common(1):
            worst[label] = Confusion(str(label), str(other), n, n / len(read_label))
    return worst


def _estimate_passing(field: Agreement, wrong: float) -> float:
    missed, kept = wrong * field.miss_rate, (1 - wrong) * field.rate
    return missed / (missed + kept) if missed + kept else 0.0


def _format_line(field: Agreement, *, gating: bool) -> str:
    low, high = field.interval
    line = f"  {field.field}: agrees {field.rate:.1%} ({low:.1%} to {high:.1%})"
    if field.field in ("intent", "evidence"):
        line += f", kappa {field.kappa:.2f}" if field.kappa is not None else ", kappa unmeasured"
    if field.worst is not None and field.field != "expectation":
        line += f", at worst {field.worst.known} read as {field.worst.answered} ({field.worst.share:.0%})"
    return line if gating else f"{line} (not decisive)"
