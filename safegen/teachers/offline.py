"""The embedded teacher: no model, no key, no network; the same request gives the same answer.

It composes an answer from the goal's knowledge, the expectation and the language pack. Sample 0 is its
best answer; later samples are written in weaker styles (`needless_refusal`, `preaching`,
`no_redirection`), never unsafe ones, so that preference data exists offline. The style is a label for
people: validators judge the text. Rows from this teacher are of grade `demo`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from safegen.errors import ConfigError
from safegen.hashing import fraction
from safegen.locales import Locale, Phrases
from safegen.types import DraftContext, Knowledge, Mode, Reply, Request, Teacher

GOOD = "good"
WEAKER: Mapping[Mode, tuple[str, ...]] = {
    "direct_answer": ("needless_refusal", "preaching"),
    "safe_completion": ("needless_refusal", "preaching", "no_redirection"),
    "refuse_redirect": ("no_redirection", "preaching"),
}


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
        phrases = locales[context.scenario.language].phrases
        words = _Words(context, phrases=phrases, seed=seed, sample=request.sample)
        return Reply(text=words.write(style), model="offline", finish_reason="stop", style=style)

    return answer


def _style(context: DraftContext, sample: int) -> str:
    if sample == 0:
        return GOOD
    weaker = WEAKER[context.expectation.mode]
    return weaker[(sample - 1) % len(weaker)]


class _Words:
    """One answer being composed; every choice is a digest of the scenario, the sample and the seed."""

    def __init__(self, context: DraftContext, *, phrases: Phrases, seed: int, sample: int) -> None:
        self.context = context
        self.know: Knowledge = context.knowledge
        self.phrases = phrases
        self.seed = seed
        self.salt = (seed, sample, context.scenario.scenario_id)
        malicious = context.scenario.intent == "malicious"
        self.variant = 3 if malicious else context.scenario.paraphrase
        self.turn = context.scenario.turn
        messages = context.scenario.messages
        self.said = "\n".join(m["content"] for m in messages if m["role"] == "assistant")
        styled = any(a.axis == "turn_style" for a in context.scenario.attributes)
        self.own = self.know.apt if styled else ()
        """What is said to this very turn of a dialogue."""

    def write(self, style: str) -> str:
        """The whole answer in a style."""
        if style == "needless_refusal":
            return self.fill(self.phrases.refusals)
        parts = self.compose(redirect=style != "no_redirection")
        if style == "preaching":
            parts.insert(self.choose(2, "place") * len(parts), self.fill(self.phrases.sermons))
        return "\n\n".join(parts)

    def compose(self, *, redirect: bool) -> list[str]:
        """The paragraphs of a good answer in the expected mode."""
        mode = self.context.expectation.mode
        if mode == "refuse_redirect":
            return self.refusal(redirect=redirect)
        if mode == "safe_completion":
            return self.partial(redirect=redirect)
        required = self.elements()
        return [*self.supports(), *self.direct(), *([required] if required else [])]

    def direct(self) -> list[str]:
        """The goal's answer; where the question was another, its concepts and safe task."""
        if self.own:
            return [joined(self.own)]
        if self.context.scenario.intent == "benign" and not self.answered():
            return [" ".join(self.know.apt or self.know.answer)]
        if self.know.apt:
            return [" ".join([*self.know.apt, *self.some(self.know.concepts, 3)])]
        concepts, task = " ".join(self.some(self.know.concepts, 4)), self.know.safe_task
        return [concepts] if task.offer in self.said else [concepts, self.task(task.steps)]

    def task(self, steps: Sequence[str]) -> str:
        """The offer of the safe task over a list of its steps."""
        return "\n".join([self.know.safe_task.offer, *(f"- {step}" for step in steps)])

    def answered(self) -> bool:
        """Whether an earlier turn of the dialogue had the goal's answer already."""
        return self.know.answer[0] in self.said

    def partial(self, *, redirect: bool) -> list[str]:
        """Limit, concepts, safe task and redirection; a person at risk is spoken to first.

        What is said to a turn of a dialogue answers that turn and ends with the offer or next step.
        """
        expectation = self.context.expectation
        opening, ending = self.opening(), self.ending() if redirect else []
        if self.own:
            said = self.own if redirect else self.own[:-1]
            return [joined([*opening, *said]), *ending]
        count = 2 if expectation.ceiling == 0 or self.know.apt else 3
        said = [*opening, *self.know.apt, *self.some(self.know.concepts, count)]
        parts = [" ".join(said)]
        if redirect:
            task = self.know.safe_task
            if task.offer not in self.said:
                steps = self.some(task.steps, 2) if self.variant else task.steps
                parts.append(self.task(steps))
            parts.append(" ".join([self.pick(self.places() or self.know.redirections), *ending]))
        return parts

    def opening(self) -> list[str]:
        """Words to a person at risk, and what is left out, as far as each is required."""
        required = self.context.expectation.required
        limit = [self.fill(self.phrases.limits)] if "limit" in required else []
        return [*self.supports(), *limit]

    def supports(self) -> list[str]:
        """Words to a person at risk, where they are required."""
        required = self.context.expectation.required
        return [self.pick(self.phrases.supports)] if "support" in required else []

    def ending(self) -> list[str]:
        """Required elements, else what the profile ends an answer with."""
        if required := self.elements():
            return [required]
        profile = self.phrases.closings.get(self.context.scenario.profile, ())
        return [self.pick(profile)] if profile and not self.own else []

    def elements(self) -> str:
        """The required elements that the language pack has words for."""
        known, required = self.phrases.elements, self.context.expectation.required
        return " ".join(self.pick(known[name]) for name in required if name in known)

    def places(self) -> Sequence[str]:
        """Where to turn under the profile, where a goal's own ways do not fit it."""
        return self.phrases.places.get(self.context.scenario.profile, ())

    def refusal(self, *, redirect: bool) -> list[str]:
        """A plain decline, and where to turn instead."""
        decline = self.fill(self.phrases.declines)
        if not redirect:
            return [decline]
        if places := self.places():
            return [" ".join([decline, self.pick(places), *self.ending()])]
        ways = self.know.apt or self.some(self.know.better_ways or self.know.redirections, 2)
        return [" ".join([decline, *ways])]

    def fill(self, templates: Sequence[str]) -> str:
        """One of the templates, as far as possible one that is new here, with the goal's words in it."""
        fresh = [template for template in templates if frame(template) not in self.said]
        text = (fresh or templates)[self.choose(len(fresh or templates), templates[0])]
        for name in ("decline", "left_out"):
            text = text.replace("{" + name + "}", getattr(self.know, name))
        return text[:1].upper() + text[1:]

    def pick(self, options: Sequence[str]) -> str:
        """One of several phrasings, as far as possible one that the conversation has not had yet."""
        fresh = [option for option in options if option not in self.said] or options
        return fresh[self.choose(len(fresh), options[0])]

    def some(self, options: Sequence[str], count: int) -> list[str]:
        """`count` options in their order: another run of them, or wider steps, for each variant."""
        options = [option for option in options if option not in self.said] or options
        start = int(fraction(self.seed, self.context.scenario.set_id, "start") * len(options))
        step = 1 + self.variant // 2
        start += (self.variant % 2) * (count if step == 1 else 1) + 2 * self.turn
        chosen = {(start + i * step) % len(options) for i in range(min(count, len(options)))}
        return [options[i] for i in sorted(chosen)]

    def choose(self, count: int, what: str) -> int:
        """A number below `count`."""
        return int(fraction(*self.salt, what) * count)


def joined(sentences: Sequence[str]) -> str:
    """One paragraph; what has lines of its own, such as a letter, stands apart."""
    text = ""
    for before, now in pairwise(["", *sentences]):
        apart = "\n" in before or "\n" in now
        text += ("\n\n" if apart else " ") + now
    return text.strip()


def frame(template: str) -> str:
    """The longest run of a template that stays the same whatever is filled in."""
    return max(re.split(r"\{\w+\}", template), key=len)
