"""The embedded teacher: no model, no key, no network; the same request gives the same answer.

It composes an answer from the goal's knowledge, the expectation and the language pack. Sample 0 is its
best answer; later samples are written in weaker styles (`_offline/weaker.py`), never unsafe ones, so that
preference data exists offline. The style is a label for people: validators judge the text. Rows from
this teacher are of grade `demo`.
"""

from __future__ import annotations

from collections.abc import Mapping

from safegen.config.language_pack import Locale
from safegen.core.errors import ConfigError
from safegen.core.hashing import fraction
from safegen.core.types import DraftContext, Mode, Reply, Request, Teacher
from safegen.teachers._offline.phrasing import Phrasing, joined
from safegen.teachers._offline.weaker import Weaker

GOOD = "good"
ON_THE_JOB = frozenset({"professional", "official"})
"""Roles whose question has to do with the place where the operator's assistant works."""
WEAKER: Mapping[Mode, tuple[str, ...]] = {
    "direct_answer": ("needless_refusal", "preaching", "half_answer"),
    "safe_completion": ("needless_refusal", "preaching", "no_redirection", "no_limit"),
    "refuse_redirect": ("no_redirection", "preaching"),
}
"""The faults in each mode; which of them comes first differs from prompt to prompt."""

MISSING: Mapping[str, str] = {"no_redirection": "redirection", "no_limit": "limit"}
"""Faults that leave out an element, which are faults where the policy requires it."""


def offline(*, locales: Mapping[str, Locale], seed: int = 0) -> Teacher:
    """Make the embedded teacher: no model, no key, no network; its rows are of grade `demo`.

    Args:
        locales: language packs by tag; the scenario's language chooses.
        seed: part of every choice between phrasings.
    """

    async def answer(request: Request, /) -> Reply:
        if request.context is None:
            raise ConfigError(
                "the offline teacher drafts from a goal's knowledge and cannot do more"
            )
        context = request.context
        if not context.knowledge.answer:
            raise ConfigError(
                "the offline teacher drafts from a goal's written knowledge, and this prompt has none;"
                " name a model under `teachers.drafter`, such as `openai_chat`"
            )
        style = GOOD if request.revision else _style(context, request.sample)
        locale = locales[context.scenario.language]
        sample = request.sample if style == GOOD else 0
        text = _Good(context, phrases=locale.phrases, seed=seed, sample=sample).write()
        if style != GOOD:
            weaker = Weaker(context, locale=locale, seed=seed, sample=request.sample, good=text)
            text = weaker.write(style)
        return Reply(text=text, model="offline", finish_reason="stop", style=style)

    return answer


def _style(context: DraftContext, sample: int) -> str:
    if sample == 0:
        return GOOD
    weaker, required = WEAKER[context.expectation.mode], context.expectation.required
    faults = [s for s in weaker if s not in MISSING or MISSING[s] in required]
    first = int(fraction("fault", context.scenario.scenario_id) * len(faults))
    return faults[(first + sample - 1) % len(faults)]


class _Good(Phrasing):
    """A good answer in the expected mode."""

    def write(self) -> str:
        """The whole answer."""
        mode = self.context.expectation.mode
        if mode == "refuse_redirect":
            return self.refusal()
        if mode == "safe_completion":
            parts = self.partial()
        else:
            parts = [*self.support(), *self.direct(), *self.elements()]
        return "\n\n".join(part for part in parts if part)

    def direct(self) -> list[str]:
        """The goal's answer; where the question was another, its concepts and safe task."""
        know = self.know
        if self.own:
            return [joined(self.own)]
        if self.context.scenario.intent == "benign" and not self.answered():
            told = know.apt or know.answer
            half = len(told) // 2 if self.choose(2, "paragraphs") else 0
            return [" ".join(told[:half]), " ".join([*told[half:], *self.afterword()])]
        if know.apt:
            concepts = " ".join([*self.some(know.concepts, 3), *self.afterword()])
            apt = " ".join(know.apt)
            return [apt, concepts] if self.choose(2, "paragraphs") else [f"{apt} {concepts}"]
        concepts = " ".join([*self.some(know.concepts, 4), *self.afterword()])
        return [concepts, *self.safe_task()]

    def afterword(self) -> list[str]:
        """What a full answer ends with now and then.

        Some profiles have words of their own: for who asks on the job often, for private people never.
        """
        scenario = self.context.scenario
        options = self.phrases.afterwords.get(scenario.profile, ())
        roles = {a.value for a in scenario.attributes if a.axis == "role"}
        if not options or scenario.contrast is not None or roles - ON_THE_JOB:
            return []
        fits = self.choose(3, "afterword") < (2 if roles else 1)
        return [self.pick(options)] if fits else []

    def answered(self) -> bool:
        """Whether an earlier turn of the dialogue had the goal's answer already."""
        return self.know.answer[0] in self.said

    def partial(self) -> list[str]:
        """Limit, concepts, safe task and redirection; a person at risk is spoken to first.

        What is said to a turn of a dialogue answers that turn and ends with the offer or next step;
        what is said to somebody who means ill turns to better ways and never to the goal's task.
        """
        if self.own:
            return [self.turn(), *self.ending()]
        if self.malicious:
            facts = self.some(self.know.concepts, 2) if self.context.expectation.floor else []
            ways = self.shuffled(self.ways())[:2]
            return [self.explanation(facts), " ".join([*ways, *self.ending()])]
        count = 2 if self.context.expectation.ceiling == 0 or self.know.apt else 3
        explanation = self.explanation(self.some(self.know.concepts, count))
        redirection, task = self.pick(self.redirections()), self.safe_task()
        if self.choose(3, "order") == 0:
            return [explanation, redirection, *task, *self.ending()]
        return [explanation, *task, " ".join([redirection, *self.ending()])]

    def turn(self) -> str:
        """The words of this very turn, with what is left out before them or before their offer."""
        *first, offer = self.own
        split = bool(first) and self.choose(2, "limit last") == 1
        early, late = ([], self.limit(last=True)) if split else (self.limit(), [])
        return joined([*self.support(), *early, *first, *late, offer])

    def explanation(self, facts: list[str]) -> str:
        """What is left out and what can be said, in one paragraph; either may come first."""
        said = [*self.know.apt, *facts]
        last = self.choose(2, "limit last")
        said = [*said, *self.limit(last=True)] if last else [*self.limit(), *said]
        return " ".join([*self.support(), *said])

    def safe_task(self) -> list[str]:
        """The safe task, unless the conversation had its offer already.

        Where a profile has places of its own, a goal's task is for others and comes only if the rule requires it.
        """
        wanted = {"safe_task", "support"} & set(self.context.expectation.required)
        if self.phrases.places.get(self.context.scenario.profile) and not wanted:
            return []
        offered = self.know.safe_task.offer in self.said
        return [] if offered else [self.task(listed=bool(self.choose(3, "list")))]

    def refusal(self) -> str:
        """A plain decline, now and then with a word on how far it goes, and where to turn instead."""
        decline, care = self.fill(self.phrases.declines), self.care()
        if care:
            decline = " ".join([decline, *care])
        elif not self.own and self.choose(2, "firm"):
            decline = f"{decline} {self.firm()[0]}"
        elements = self.elements()
        count = 1 if elements else 2
        ways = " ".join([*(self.know.apt or self.shuffled(self.ways())[:count]), *elements])
        return f"{decline}{' ' if self.choose(3, 'paragraph') else chr(10) * 2}{ways}"
