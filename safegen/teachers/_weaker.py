"""The embedded teacher's weaker drafts: safe texts with one fault, for preference pairs.

A pair teaches what its sides differ in. So a weaker draft is written anew, out of facts that the good
one did not use and in other phrasings; it is about as long, now shorter and now longer, and names
what was asked. Whoever asked in good faith is accused of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from safegen.hashing import fraction
from safegen.locales import Phrases
from safegen.teachers._phrasing import Phrasing, joined
from safegen.types import DraftContext

SHORTEST, SPAN = 0.66, 2.4
"""A weaker draft aims at 0.66 to 1.58 times the length of the good one, spread evenly on a log scale."""
CURT = 0.9
"""A needless refusal is somewhat shorter than that."""
LONG = 450
"""Characters from which a sermon has two sentences."""


class Weaker(Phrasing):
    """A draft with a fault, beside the good one that it is measured by."""

    def __init__(
        self, context: DraftContext, *, phrases: Phrases, seed: int, sample: int, good: str
    ) -> None:
        super().__init__(context, phrases=phrases, seed=seed, sample=sample, said=good)
        self.good = good
        self.refuses = context.expectation.mode == "refuse_redirect"
        self.length = round(len(good) * SHORTEST * SPAN ** fraction(*self.salt, "length"))

    def write(self, style: str) -> str:
        """The whole answer in a weaker style."""
        styles: Mapping[str, Callable[[], list[str]]] = {
            "needless_refusal": self.needless_refusal,
            "preaching": self.preaching,
            "no_redirection": self.no_redirection,
        }
        return self.paragraphs(styles[style]())

    def needless_refusal(self) -> list[str]:
        """Refuses what was asked by name, gives excuses and sends the person away."""
        phrases = self.phrases
        refusal = self.fill(phrases.refusals)
        farewell = self.varied(phrases.farewells)[: self.choose(2, "farewell")]
        excuses = self.varied(phrases.excuses, used=["{purpose}"])
        referrals = self.varied(phrases.referrals, used=["{purpose}"])
        referrals.insert(self.choose(3, "referral"), self.pick(self.redirections()))
        threes = zip(excuses[::2], referrals, excuses[1::2], strict=False)
        left = round(CURT * self.length) - sum(map(len, [refusal, *farewell]))
        return [refusal, *upto(left, [text for three in threes for text in three]), *farewell]

    def preaching(self) -> list[str]:
        """Answers as expected, with moralising sentences between and around the facts."""
        head, ending = self.opening(), [] if self.refuses else self.ending()
        if self.context.expectation.mode == "direct_answer":
            head, ending = self.support(), self.elements()
        # The purpose is that of people who ask in good faith.
        beside = ["{purpose}"] if self.malicious else []
        sermons = self.varied(self.phrases.sermons, used=beside)[: 1 + (self.length > LONG)]
        spent = sum(map(len, [*head, *sermons, *ending]))
        body = upto(self.length - spent, self.facts(), least=1)
        for number, sermon in enumerate(sermons):
            body.insert(self.choose(len(body) + 1, f"place {number}"), sermon)
        return [*head, *body, *ending]

    def no_redirection(self) -> list[str]:
        """Declines, or leaves out what has to be left out, and names no way on."""
        head = self.opening()
        ends = self.varied(self.phrases.firm if self.refuses else self.phrases.ends)
        if self.refuses:
            return [*head, *upto(self.length - sum(map(len, head)), ends, least=1)]
        spent = sum(map(len, [*head, *ends[:1]]))
        known = self.unsaid_first([*self.know.apt[:-1], *self.know.concepts])
        facts = upto(self.length - spent, known, least=1)
        return [
            *head,
            *facts,
            *upto(self.length - sum(map(len, [*head, *facts])), ends, least=1)[:3],
        ]

    def opening(self) -> list[str]:
        """The decline of a refusal; support and limit of a partial answer."""
        return (
            [self.fill(self.phrases.declines)] if self.refuses else [*self.support(), *self.limit()]
        )

    def facts(self) -> list[str]:
        """What an answer to this prompt may draw on, as far as possible what the good one left."""
        know, scenario = self.know, self.context.scenario
        if self.malicious or self.refuses:
            return self.unsaid_first([*self.ways(), *self.redirections()])
        offered = know.safe_task.offer in self.said
        aside = [
            *([] if offered else [self.task(listed="\n- " in self.good)]),
            self.pick(self.redirections()),
        ]
        if scenario.intent != "benign":
            near = () if self.own else know.apt[1:]
            return [*near, *self.unsaid_first(know.concepts), *aside]
        if scenario.contrast is not None:
            # The concepts of a probe are about its unsafe twin.
            return [*know.answer[len(know.answer) // 2 :], *aside]
        concepts = self.unsaid_first(know.concepts)
        near, rest = know.answer[-2:], know.answer[1:-2]
        return [*concepts[:1], *near, *concepts[1:], *aside, *rest]

    def unsaid_first(self, facts: Iterable[str]) -> list[str]:
        """The facts that are new, in an order of this draft's own, then all but one of the others."""
        facts = list(dict.fromkeys(facts))
        used = [fact for fact in facts if fact in self.said]
        return [*self.shuffled(fact for fact in facts if fact not in self.said), *used[1:]]

    def paragraphs(self, sentences: Sequence[str]) -> str:
        """The sentences in about as many paragraphs as the good draft has."""
        count = self.good.count("\n\n") + 1 + self.choose(3, "paragraphs") - 1
        between = self.shuffled(map(str, range(1, len(sentences))))[: max(count, 1) - 1]
        places = [0, *sorted(map(int, between)), len(sentences)]
        return "\n\n".join(joined(sentences[a:b]) for a, b in pairwise(places))


def upto(length: int, sentences: Sequence[str], *, least: int = 0) -> list[str]:
    """So many of the sentences as come nearest to a length, in their order, and `least` in any case."""
    taken: list[str] = []
    for sentence in sentences:
        if len(taken) >= least and length < len(sentence) / 2:
            break
        taken.append(sentence)
        length -= len(sentence) + 1
    return taken
