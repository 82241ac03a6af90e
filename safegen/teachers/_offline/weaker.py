"""The embedded teacher's weaker drafts: safe texts with one fault, for preference pairs.

A pair teaches the difference of its sides. So a weaker draft is not an edit of the good one. It is
made of the same matter (the goal's facts, steps and places), in phrases that good answers to other
prompts have, and has about the same length. It answers the same question and never accuses a user
of good faith.
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
LONG_DRAFT_CHARS = 450
"""Characters from which a sermon has two sentences; from twice as many it has three."""
MAX_OFFER_WORDS = 38
"""Words of facts and places with which a text still counts as a full refusal."""


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
        self.answers_in_full = context.expectation.mode == "direct_answer"
        self.length = round(len(good) * SHORTEST * SPAN ** hash_fraction(*self.salt, "length"))

    def write(self, style: str) -> str:
        """Write the whole answer in a weaker style."""
        styles: Mapping[str, Callable[[], list[str]]] = {
            "needless_refusal": self.needless_refusal,
            "needless_limit": self.needless_limit,
            "preaching": self.preaching,
            "no_redirection": self.no_redirection,
            "no_limit": self.no_limit,
            "deflection": self.deflection,
            "too_general": self.too_general,
            "needless_contact": self.needless_contact,
        }
        return self.paragraphs(styles[style]())

    def needless_refusal(self) -> list[str]:
        """Refuse the request, with a reason, some facts and places to turn to."""
        refusal, places = self.fill(self.phrases.refusals), self.pick_place()
        risk = [] if self.choose_number(3, "risk") else [self.context.scenario.misuse_risk]
        near = self.near_facts() if self.answers_in_full else []
        facts = [*near, *risk, *self.other_facts()]
        if not self.answers_in_full:
            # A refusal with more facts would count as an answer with a limit.
            return [refusal, *limit_words(MAX_OFFER_WORDS, [*places, *facts])]
        left = self.length - sum(map(len, [refusal, *places]))
        body = fit_length(left, facts)
        place = self.choose_number(2, "fact first") if body else 0
        return [*body[:place], refusal, *body[place:], *places]

    def needless_contact(self) -> list[str]:
        """Answer, and add a crisis contact that nothing in the prompt calls for."""
        contact = self.pick(self.phrases.elements["crisis"])
        return [*self.answer_in_part(spent=len(contact)), contact]

    def too_general(self) -> list[str]:
        """Answer with general facts and places, without anything that is about this prompt."""
        if self.refuses:
            head, ending = self.opening_sentences(), self.element_words()
            left = self.length - sum(map(len, [*head, *ending]))
            reason = self.shuffle(self.own_concepts())[:1]
            place, *places = self.order_unsaid_first((*self.alternatives(), *self.redirections()))
            return [*head, *fit_length(left, [*reason, place, *places], least=2), *ending]
        return self.answer_in_part(general=True)

    def answer_in_part(self, *, general: bool = False, spent: int = 0) -> list[str]:
        """Answer in the expected mode with other facts than the good draft; `general` drops those for this prompt."""
        head, limit = self.support_words(), self.limit_words()
        ending = [*self.pick_place(), *self.element_words()]
        near = [] if general else self.near_facts()
        facts = self.alternatives() if self.malicious else self.other_facts()
        written = self.asker_facts() if general else ()
        others = [f for f in facts if f not in written and f not in ending]
        spent += sum(map(len, [*head, *limit, *ending]))
        first, *body = fit_length(self.length - spent, [*near, *others], least=1) or [""]
        return [part for part in [*head, first, *limit, *body, *ending] if part]

    def needless_limit(self) -> list[str]:
        """Answer with facts, but keep back a part that could be given."""
        limits = self.phrases.general_limits
        limit = self.pick(limits) if limits else self.fill(self.phrases.refusals)
        ending = self.element_words() or self.pick_place()
        spent = sum(map(len, [limit, *ending, *self.support_words()]))
        facts = [*self.near_facts(), *self.other_facts()]
        body = fit_length(self.length - spent, facts, least=1)
        place = 1 + self.choose_number(len(body), "limit")
        return [*self.support_words(), *body[:place], limit, *body[place:], *ending]

    def preaching(self) -> list[str]:
        """Answer as expected, with moralising sentences between and around the facts."""
        head, ending = self.opening_sentences(), [] if self.refuses else self.ending_words()
        if self.answers_in_full:
            head, ending = self.support_words(), self.element_words()
        body = fit_length(
            self.length - sum(map(len, [*head, *ending])), self.usable_facts(), least=1
        )
        count = 1 + (self.length > LONG_DRAFT_CHARS) + (self.length > 2 * LONG_DRAFT_CHARS)
        return [*head, *self.moralise(body, count), *ending]

    def moralise(self, body: list[str], count: int) -> list[str]:
        """Turn some sentences into sermons, and insert sermons until there are `count`."""
        framed = count - (self.choose_number(4, "framed") == 0)
        frames = self.vary(self.phrases.frames)
        for place in self.shuffle(map(str, range(len(body)))):
            sentence = body[int(place)]
            clause = self.lower_first(sentence) if sentence in self.know.concepts else ""
            if framed and clause and frames:
                body[int(place)] = frames.pop().replace("{fact}", clause)
                framed, count = framed - 1, count - 1
        for sermon in self.pick_sermons(frames)[: max(count, 0)]:
            body.insert(self.choose_number(len(body) + 1, sermon), sermon)
        return body

    def pick_sermons(self, frames: Sequence[str]) -> list[str]:
        """Choose sermons in this draft's order."""
        risk = self.lower_first(self.context.scenario.misuse_risk) if self.malicious else ""
        if frames and risk and self.choose_number(2, "risk"):
            others = self.vary(self.phrases.sermons, used=["{risk}"])
            return [frames[0].replace("{fact}", risk), *others]
        return self.vary(self.phrases.sermons)

    def lower_first(self, sentence: str) -> str:
        """Return a sentence without its initial capital and full stop, or '' if it may begin with a name."""
        first, inner = sentence.split(maxsplit=1)[0], sentence.rstrip(".")
        source_text = " ".join([*self.know.answer, *self.know.concepts])
        if any(mark in inner for mark in '.!?:"\n') or (first != "A" and not first[1:].islower()):
            return ""
        is_word = first in ("A", "The", "Someone") or first.lower() in source_text.split()
        return inner[:1].lower() + inner[1:] if is_word else ""

    def no_redirection(self) -> list[str]:
        """Decline, or respect the limit, but name no next step."""
        if self.refuses:
            head = self.opening_sentences()
            reasons = [] if self.own else self.drop_matching("redirection", self.know.apt)[:1]
            facts = [
                *reasons,
                *self.shuffle(self.own_concepts()),
                self.context.scenario.misuse_risk,
            ]
            facts = self.drop_matching("redirection", dict.fromkeys(facts))
            return [*head, *fit_length(self.length - sum(map(len, head)), facts, least=1)]
        limits = [self.fill_template(limit) for limit in self.usable_templates(self.phrases.limits)]
        plain = self.drop_matching("redirection", limits) or limits
        limit = [self.pick(plain)] if self.limit_words() else []
        supports = self.drop_matching("redirection", self.phrases.supports) or self.phrases.supports
        head = [self.pick(supports)] if self.support_words() else []
        facts = self.drop_matching(
            "redirection",
            [*self.asker_facts()[:-1], *(self.background_concepts() or self.own_concepts())],
        )
        left = self.length - sum(map(len, [*head, *limit]))
        first, *others = fit_length(left, facts, least=2) or [""]
        return [part for part in [*head, first, *limit, *others] if part]

    def deflection(self) -> list[str]:
        """Name places to turn to, and neither decline nor answer."""
        places = [*self.shuffle(self.alternatives()), *self.shuffle(self.redirections())]
        unsaid = [p for p in dict.fromkeys(places) if p not in self.used_text]
        if not unsaid:
            return [places[0], *self.shuffle(self.own_concepts())[:1]]
        named = self.keep_places(unsaid)
        if named and not self.own and self.choose_number(2, "near"):
            named[1:1] = self.keep_places(self.know.apt[-1:])
        return fit_length(self.length, named or unsaid, least=1)

    def keep_places(self, facts: Iterable[str]) -> list[str]:
        """Keep the facts that name a place to turn to and decline nothing."""
        return self.keep_matching("redirection", self.drop_matching("decline", facts))

    def no_limit(self) -> list[str]:
        """Answer in part without naming the limit."""
        head, places = self.support_words(), self.redirections()
        ending = self.drop_matching("limit", [self.pick(places), *self.ending_words()])
        sentences = [
            *self.asker_facts()[: self.choose_number(2, "near")],
            *self.background_concepts(),
        ]
        sentences += (
            (*self.alternatives(), *self.own_concepts())
            if self.malicious
            else (*self.know.safe_task.steps, *places)
        )
        new = [fact for fact in sentences if fact not in self.used_text]
        facts = self.drop_matching("limit", dict.fromkeys([*sentences[:1], *new, *sentences]))
        facts = [fact for fact in facts if fact not in ending]
        spent = sum(map(len, [*head, *ending]))
        return [*head, *fit_length(self.length - spent, facts, least=2), *ending]

    def drop_matching(self, pattern: str, facts: Iterable[str]) -> list[str]:
        """Drop the facts with a sentence that a pattern of the language pack matches."""
        search = self.locale.compiled[pattern].search
        return [f for f in facts if not any(search(fold_case(s)) for s in SENTENCE.split(f))]

    def keep_matching(self, pattern: str, facts: Iterable[str]) -> list[str]:
        """Keep the facts of which a pattern of the language pack matches every sentence."""
        search = self.locale.compiled[pattern].search
        return [f for f in facts if all(search(fold_case(s)) for s in SENTENCE.split(f))]

    def opening_sentences(self) -> list[str]:
        """Return the decline of a refusal, or the support of a partial answer with its limit."""
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
            return [*self.answer_second_half(), *self.side_steps()]
        near = self.asker_facts()[:1] if self.choose_number(2, "near") else ()
        return [*near, *self.background_concepts(), *self.side_steps()]

    def other_facts(self) -> list[str]:
        """Return facts and steps that the good draft lacks: of the goal's answer, its safe task and its concepts."""
        answer = () if self.asker_facts() == self.know.answer else self.know.answer[1:]
        # Prompts of a set have the same facts, so each draft has them in its own order.
        groups = [answer, self.know.safe_task.steps, self.background_concepts()]
        groups = [self.shuffle(group) for group in groups]
        longest = max(map(len, groups))
        mixed = [group[n] for n in range(longest) for group in groups if n < len(group)]
        used = [fact for fact in mixed if fact in self.used_text]
        return [*(fact for fact in mixed if fact not in self.used_text), *used[1:]] or list(answer)

    def pick_place(self) -> list[str]:
        """Choose a place to turn to; half of the weaker drafts for a full answer name none."""
        # Good full answers rarely name one, so a place would reveal the rejected side.
        is_named = not self.answers_in_full or self.choose_number(2, "place")
        return [self.pick(self.redirections())] if is_named else []

    def near_facts(self) -> list[str]:
        """Return the first facts for this prompt: at least half of the good draft's, but never all of several."""
        facts = self.asker_facts()
        count = (len(facts) + self.choose_number(2, "near")) // 2 + 1
        return list(facts[: max(min(count, len(facts) - 1), 1)])

    def answer_second_half(self) -> tuple[str, ...]:
        """Return the second half of the goal's answer."""
        return self.know.answer[len(self.know.answer) // 2 :]

    def asker_facts(self) -> tuple[str, ...]:
        """Return the facts for this intent."""
        if self.own:  # The good draft of a turn already has them.
            return ()
        return self.know.answer if self.context.scenario.intent == "benign" else self.know.apt

    def side_steps(self) -> list[str]:
        """Return the steps of the safe task, and a place to turn to."""
        return [*self.know.safe_task.steps, self.pick(self.redirections())]

    def own_concepts(self) -> tuple[str, ...]:
        """Return the concepts, except those of a probe, which are about its unsafe twin."""
        return () if self.context.scenario.contrast is not None else self.know.concepts

    def background_concepts(self) -> list[str]:
        """Return the concepts in their order: new ones, then all used ones but the first."""
        if self.malicious:
            return []
        concepts = self.own_concepts()
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
