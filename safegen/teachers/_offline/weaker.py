"""The embedded teacher's weaker drafts: safe texts with one fault, for preference pairs.

A pair teaches the difference of its sides. So a weaker draft is not an edit of the good one. It
mostly has facts that the good draft lacks, in their written order, and about the same length. It
answers the same question and never accuses a user of good faith.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from safegen.config.language_pack import Locale, fold_case
from safegen.core.hashing import hash_fraction
from safegen.core.types import DraftContext
from safegen.teachers._offline.phrasing import Phrasing, join_paragraph
from safegen.teachers._offline.question import SENTENCE

SHORTEST, SPAN = 0.66, 2.4
"""A weaker draft has 0.66 to 1.58 times the length of the good one, evenly spread on a log scale."""
SHORT_DRAFT_SHARE = 0.95
"""Length of a needless refusal relative to that target."""
LONG_DRAFT_CHARS = 450
"""Characters from which a sermon has two sentences; from twice as many it has three."""
MAX_PARAGRAPH_CUTS = 2
"""Facts of a needless refusal that end in its own words."""
MAX_OFFER_WORDS = 38
"""Words of offers with which a text still counts as a full refusal."""


class WeakDraft(Phrasing):
    """A draft with a fault, derived from the length and facts of the good draft."""

    def __init__(
        self, context: DraftContext, *, locale: Locale, seed: int, sample: int, good: str
    ) -> None:
        super().__init__(
            context, phrases=locale.phrases, seed=seed, sample=sample, previous_text=good
        )
        self.locale = locale
        self.good = good
        self.refuses = context.expectation.mode == "refuse_redirect"
        self.length = round(len(good) * SHORTEST * SPAN ** hash_fraction(*self.salt, "length"))

    def write(self, style: str) -> str:
        """Write the whole answer in a weaker style."""
        styles: Mapping[str, Callable[[], list[str]]] = {
            "needless_refusal": self.needless_refusal,
            "half_answer": self.half_answer,
            "preaching": self.preaching,
            "no_redirection": self.no_redirection,
            "no_limit": self.no_limit,
        }
        return self.paragraphs(styles[style]())

    def needless_refusal(self) -> list[str]:
        """Refuse the request in its own words, around facts that do not answer it."""
        phrases, background = self.phrases, self.background_concepts()
        refusal = self.fill(phrases.refusals)
        offers = limit_words(MAX_OFFER_WORDS, [self.pick(self.redirections()), *background])
        cut = [fact for fact in background if fact not in offers and fact.endswith(".")]
        tails = self.shuffle(phrases.tails)[:MAX_PARAGRAPH_CUTS]
        ended = [fact[:-1] + tail for fact, tail in zip(cut, tails, strict=False)]
        excuses = self.vary(phrases.excuses)[: 1 + self.choose_number(2, "excuses")]
        referrals = self.vary(phrases.referrals)[: self.choose_number(3, "referrals")]
        farewell = self.vary(phrases.farewells)[: self.choose_number(2, "farewell")]
        sentences = [*excuses[:1], *offers[1:], *ended, *offers[:1], *excuses[1:], *referrals]
        if self.choose_number(2, "fact first"):
            sentences = [*offers[1:], *excuses, *ended, *offers[:1], *referrals]
        left = round(SHORT_DRAFT_SHARE * self.length) - sum(map(len, [refusal, *farewell]))
        return [refusal, *fit_length(left, sentences, least=1), *farewell]

    def half_answer(self) -> list[str]:
        """Give background facts and decline the request."""
        half, aside = self.fill(self.phrases.halves), self.side_offer()
        spent = sum(map(len, [half, *aside[-2:]]))
        body = fit_length(
            self.length - spent, self.background_concepts() or self.answer_second_half(), least=1
        )
        last = fit_length(self.length - sum(map(len, [half, *body])), aside)
        sentences = [[half, *body], [*body, half]][self.choose_number(2, "half")]
        return [*self.support_words(), *sentences, *last]

    def preaching(self) -> list[str]:
        """Answer as expected, with moralising sentences between and around the facts."""
        head, ending = self.opening_sentences(), [] if self.refuses else self.ending_words()
        if self.context.expectation.mode == "direct_answer":
            head, ending = self.support_words(), self.element_words()
        body = fit_length(
            self.length - sum(map(len, [*head, *ending])), self.usable_facts(), least=1
        )
        count = 1 + (self.length > LONG_DRAFT_CHARS) + (self.length > 2 * LONG_DRAFT_CHARS)
        return [*head, *self.moralise(body, count), *ending]

    def moralise(self, body: list[str], count: int) -> list[str]:
        """Turn some sentences into sermons, and insert sermons until there are `count`."""
        framed = count - (self.choose_number(4, "framed") == 0)
        frames, urgings = self.vary(self.phrases.frames), self.vary(self.phrases.urgings)
        for place in self.shuffle(map(str, range(len(body)))):
            sentence = body[int(place)]
            is_step = sentence in self.know.safe_task.steps
            templates, name = (urgings, "{step}") if is_step else (frames, "{fact}")
            is_usable = is_step or sentence in self.know.concepts
            clause = self.lower_first(sentence, always=is_step) if is_usable else ""
            if framed and clause and templates:
                body[int(place)] = templates.pop().replace(name, clause)
                framed, count = framed - 1, count - 1
        for sermon in self.pick_sermons(frames)[: max(count, 0)]:
            body.insert(self.choose_number(len(body) + 1, sermon), sermon)
        return body

    def pick_sermons(self, frames: Sequence[str]) -> list[str]:
        """Choose sermons in this draft's order; those about the purpose need good faith."""
        if not self.malicious:
            return self.vary(self.phrases.sermons)
        risk = self.lower_first(self.context.scenario.misuse_risk)
        if frames and risk and self.choose_number(2, "risk"):
            others = self.vary(self.phrases.sermons, used=["{purpose}", "{risk}"])
            return [frames[0].replace("{fact}", risk), *others]
        return self.vary(self.phrases.sermons, used=["{purpose}"])

    def lower_first(self, sentence: str, *, always: bool = False) -> str:
        """Return a sentence without its initial capital and full stop, or '' if it may begin with a name."""
        know, phrases = self.know, self.phrases
        first, inner = sentence.split(maxsplit=1)[0], sentence.rstrip(".")
        source_text = " ".join([*know.answer, *know.concepts, *phrases.firm])
        if any(mark in inner for mark in '.!?:"\n') or (first != "A" and not first[1:].islower()):
            return ""
        is_word = always or first.lower() in source_text.split()
        return inner[:1].lower() + inner[1:] if is_word else ""

    def no_redirection(self) -> list[str]:
        """Decline, or respect the limit, but name no next step."""
        if self.refuses:
            head, firm = (
                self.opening_sentences(),
                self.drop_matching("redirection", self.firm_decline()),
            )
            return [*head, *fit_length(self.length - sum(map(len, head)), firm, least=2)]
        limits = [self.fill_template(limit) for limit in self.usable_templates(self.phrases.limits)]
        plain = self.drop_matching("redirection", limits) or limits
        limit = [self.pick(plain)] if self.limit_words() else []
        supports = self.drop_matching("redirection", self.phrases.supports) or self.phrases.supports
        head = [self.pick(supports), *limit] if self.support_words() else limit
        ends = self.vary(self.phrases.ends)[: self.choose_number(2, "end")]
        facts = self.drop_matching(
            "redirection", [*self.asker_facts()[:-1], *self.background_concepts()]
        )
        return [
            *head,
            *fit_length(self.length - sum(map(len, [*head, *ends])), facts, least=1),
            *ends,
        ]

    def no_limit(self) -> list[str]:
        """Answer in part without naming the limit."""
        head, places = self.support_words(), self.redirections()
        ending = self.drop_matching("limit", [self.pick(places), *self.ending_words()])
        sentences = [
            *self.asker_facts()[: self.choose_number(2, "near")],
            *self.background_concepts(),
        ]
        sentences += (
            self.alternatives() if self.malicious else (*self.know.safe_task.steps, *places)
        )
        new = [fact for fact in sentences if fact not in self.used_text]
        facts = self.drop_matching("limit", dict.fromkeys([*sentences[:1], *new, *sentences]))
        facts = [fact for fact in facts if fact not in ending]
        spent = sum(map(len, [*head, *ending]))
        return [*head, *fit_length(self.length - spent, facts, least=1), *ending]

    def drop_matching(self, pattern: str, facts: Iterable[str]) -> list[str]:
        """Drop the facts with a sentence that a pattern of the language pack matches."""
        search = self.locale.compiled[pattern].search
        return [f for f in facts if not any(search(fold_case(s)) for s in SENTENCE.split(f))]

    def opening_sentences(self) -> list[str]:
        """Return the decline of a refusal, or support and limit of a partial answer."""
        return (
            [self.fill(self.phrases.declines)]
            if self.refuses
            else [*self.support_words(), *self.limit_words()]
        )

    def usable_facts(self) -> list[str]:
        """Return the facts for an answer to this prompt; prefers those that the good draft lacks."""
        if self.malicious or self.refuses:
            return self.order_unsaid_first(self.alternatives())
        if self.context.scenario.contrast is not None:
            # The concepts of a probe are about its unsafe twin.
            return [*self.answer_second_half(), *self.side_offer()]
        near = self.asker_facts()[:1] if self.choose_number(2, "near") else ()
        return [*near, *self.background_concepts(), *self.side_offer()]

    def answer_second_half(self) -> tuple[str, ...]:
        """Return the second half of the goal's answer."""
        return self.know.answer[len(self.know.answer) // 2 :]

    def asker_facts(self) -> tuple[str, ...]:
        """Return the facts for this intent."""
        if self.own:  # The good draft of a turn already has them.
            return ()
        return self.know.answer if self.context.scenario.intent == "benign" else self.know.apt

    def side_offer(self) -> list[str]:
        """Offer the safe task, unless it was offered before, and a place to turn to."""
        task = self.know.safe_task
        offer = [] if task.offer in self.used_text else [task.offer, *task.steps]
        return [*offer, self.pick(self.redirections())]

    def background_concepts(self) -> list[str]:
        """Return the concepts in their order: new ones, then all used ones but the first."""
        if self.malicious or self.context.scenario.contrast is not None:
            return []
        concepts = self.know.concepts
        used = [fact for fact in concepts if fact in self.used_text]
        return [*(fact for fact in concepts if fact not in self.used_text), *used[1:]]

    def order_unsaid_first(self, facts: Iterable[str]) -> list[str]:
        """Return the new facts in this draft's order, then all used ones but the first."""
        facts = list(dict.fromkeys(facts))
        used = [fact for fact in facts if fact in self.used_text]
        return [*self.shuffle(fact for fact in facts if fact not in self.used_text), *used[1:]]

    def paragraphs(self, sentences: Sequence[str]) -> str:
        """Split the sentences into about as many paragraphs as the good draft has."""
        count = self.good.count("\n\n") + 1 + self.choose_number(3, "paragraphs") - 1
        between = self.shuffle(map(str, range(1, len(sentences))))[: max(count, 1) - 1]
        places = [0, *sorted(map(int, between)), len(sentences)]
        return "\n\n".join(join_paragraph(sentences[a:b]) for a, b in pairwise(places))


def limit_words(words: int, sentences: Iterable[str]) -> list[str]:
    """Select sentences in their order with at most `words` words in total."""
    selected: list[str] = []
    for sentence in sentences:
        if (size := len(sentence.split())) <= words:
            selected.append(sentence)
            words -= size
    return selected


def fit_length(length: int, sentences: Sequence[str], *, least: int = 0) -> list[str]:
    """Select leading sentences with a total nearest to `length` characters, at least `least`."""
    selected: list[str] = []
    for sentence in sentences:
        if len(selected) >= least and length < len(sentence) / 2:
            break
        selected.append(sentence)
        length -= len(sentence) + 1
    return selected
