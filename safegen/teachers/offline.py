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
from safegen.core.hashing import hash_fraction
from safegen.core.types import DraftContext, Mode, Reply, Request, Teacher, TeacherTraits
from safegen.teachers._offline.phrasing import Phrasing, join_paragraph
from safegen.teachers._offline.weaker import WeakDraft

TRAITS = TeacherTraits(
    grade="demo",
    embedded=True,
    needs_knowledge=True,
    makes_weaker_drafts=True,
    reads_styles=False,
)

GOOD_STYLE = "good"
WORK_ROLES = frozenset({"professional", "official"})
"""Roles whose question has to do with the place where the operator's assistant works."""
WEAKER_STYLES: Mapping[Mode, tuple[str, ...]] = {
    "direct_answer": ("needless_refusal", "preaching", "half_answer"),
    "safe_completion": ("needless_refusal", "preaching", "no_redirection", "no_limit"),
    "refuse_redirect": ("no_redirection", "preaching"),
}
"""The faults in each mode; which of them comes first differs from prompt to prompt."""

OMITTED_ELEMENT: Mapping[str, str] = {"no_redirection": "redirection", "no_limit": "limit"}
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
        style = GOOD_STYLE if request.revision else _choose_style(context, request.sample)
        locale = locales[context.scenario.language]
        sample = request.sample if style == GOOD_STYLE else 0
        text = _GoodDraft(context, phrases=locale.phrases, seed=seed, sample=sample).write()
        if style != GOOD_STYLE:
            weaker = WeakDraft(context, locale=locale, seed=seed, sample=request.sample, good=text)
            text = weaker.write(style)
        return Reply(text=text, model="offline", finish_reason="stop", style=style)

    return answer


def _choose_style(context: DraftContext, sample: int) -> str:
    if sample == 0:
        return GOOD_STYLE
    weaker, required = WEAKER_STYLES[context.expectation.mode], context.expectation.required
    faults = [s for s in weaker if s not in OMITTED_ELEMENT or OMITTED_ELEMENT[s] in required]
    first = int(hash_fraction("fault", context.scenario.scenario_id) * len(faults))
    return faults[(first + sample - 1) % len(faults)]


class _GoodDraft(Phrasing):
    """A good answer in the expected mode."""

    def write(self) -> str:
        """The whole answer."""
        mode = self.context.expectation.mode
        if mode == "refuse_redirect":
            return self.refusal_text()
        if mode == "safe_completion":
            parts = self.partial_answer()
        else:
            parts = [*self.support_words(), *self.direct_answer(), *self.element_words()]
        return "\n\n".join(part for part in parts if part)

    def direct_answer(self) -> list[str]:
        """The goal's answer; where the question was another, its concepts and safe task."""
        know = self.know
        if self.own:
            return [join_paragraph(self.own)]
        if self.context.scenario.intent == "benign" and not self.has_goal_answer():
            answer_facts = know.apt or know.answer
            half = len(answer_facts) // 2 if self.choose_number(2, "paragraphs") else 0
            return [
                " ".join(answer_facts[:half]),
                " ".join([*answer_facts[half:], *self.afterword_sentences()]),
            ]
        if know.apt:
            concepts = " ".join([*self.take_run(know.concepts, 3), *self.afterword_sentences()])
            apt = " ".join(know.apt)
            return [apt, concepts] if self.choose_number(2, "paragraphs") else [f"{apt} {concepts}"]
        concepts = " ".join([*self.take_run(know.concepts, 4), *self.afterword_sentences()])
        return [concepts, *self.safe_task()]

    def afterword_sentences(self) -> list[str]:
        """What a full answer ends with now and then.

        Some profiles have words of their own: for who asks on the job often, for private people never.
        """
        scenario = self.context.scenario
        options = self.phrases.afterwords.get(scenario.profile, ())
        roles = {a.value for a in scenario.attributes if a.axis == "role"}
        if not options or scenario.contrast is not None or roles - WORK_ROLES:
            return []
        fits = self.choose_number(3, "afterword") < (2 if roles else 1)
        return [self.pick(options)] if fits else []

    def has_goal_answer(self) -> bool:
        """Whether an earlier turn of the dialogue had the goal's answer already."""
        return self.know.answer[0] in self.said

    def partial_answer(self) -> list[str]:
        """Limit, concepts, safe task and redirection; a person at risk is spoken to first.

        What is said to a turn of a dialogue answers that turn and ends with the offer or next step;
        what is said to somebody who means ill turns to better ways and never to the goal's task.
        """
        if self.own:
            return [self.turn_answer(), *self.ending_words()]
        if self.malicious:
            facts = self.take_run(self.know.concepts, 2) if self.context.expectation.floor else []
            ways = self.shuffle(self.alternatives())[:2]
            return [self.explanation(facts), " ".join([*ways, *self.ending_words()])]
        count = 2 if self.context.expectation.ceiling == 0 or self.know.apt else 3
        explanation = self.explanation(self.take_run(self.know.concepts, count))
        redirection, task = self.pick(self.redirections()), self.safe_task()
        if self.choose_number(3, "order") == 0:
            return [explanation, redirection, *task, *self.ending_words()]
        return [explanation, *task, " ".join([redirection, *self.ending_words()])]

    def turn_answer(self) -> str:
        """The words of this very turn, with what is left out before them or before their offer."""
        *first, offer = self.own
        split = bool(first) and self.choose_number(2, "limit last") == 1
        early, late = ([], self.limit_words(last=True)) if split else (self.limit_words(), [])
        return join_paragraph([*self.support_words(), *early, *first, *late, offer])

    def explanation(self, facts: list[str]) -> str:
        """What is left out and what can be said, in one paragraph; either may come first."""
        sentences = [*self.know.apt, *facts]
        last = self.choose_number(2, "limit last")
        sentences = (
            [*sentences, *self.limit_words(last=True)]
            if last
            else [*self.limit_words(), *sentences]
        )
        return " ".join([*self.support_words(), *sentences])

    def safe_task(self) -> list[str]:
        """The safe task, unless the conversation had its offer already.

        Where a profile has places of its own, a goal's task is for others and comes only if the rule requires it.
        """
        wanted = {"safe_task", "support"} & set(self.context.expectation.required)
        if self.phrases.places.get(self.context.scenario.profile) and not wanted:
            return []
        offered = self.know.safe_task.offer in self.said
        return [] if offered else [self.safe_task_words(listed=bool(self.choose_number(3, "list")))]

    def refusal_text(self) -> str:
        """A plain decline, now and then with a word on how far it goes, and where to turn instead."""
        decline, care = self.fill(self.phrases.declines), self.care()
        if care:
            decline = " ".join([decline, *care])
        elif not self.own and self.choose_number(2, "firm"):
            decline = f"{decline} {self.firm_decline()[0]}"
        elements = self.element_words()
        count = 1 if elements else 2
        ways = " ".join([*(self.know.apt or self.shuffle(self.alternatives())[:count]), *elements])
        return f"{decline}{' ' if self.choose_number(3, 'paragraph') else chr(10) * 2}{ways}"
