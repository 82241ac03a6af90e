"""How the embedded teacher chooses among facts and phrasings: by digest, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import gcd

from safegen.config.language_pack import Phrases
from safegen.core.hashing import hash_fraction
from safegen.core.types import DraftContext, Knowledge
from safegen.teachers._offline.question import question_clause

PLACEHOLDER = re.compile(r"\{\w+\}")


class Phrasing:
    """One draft being composed; every choice is a digest of the scenario, the sample and the seed."""

    def __init__(
        self,
        context: DraftContext,
        *,
        phrases: Phrases,
        seed: int,
        sample: int,
        previous_text: str = "",
    ) -> None:
        scenario = context.scenario
        self.context = context
        self.know: Knowledge = context.knowledge
        self.phrases = phrases
        self.seed = seed
        self.salt = (seed, sample, scenario.scenario_id)
        self.malicious = scenario.intent == "malicious"
        self.variant = 3 if self.malicious else scenario.paraphrase
        answers = [m["content"] for m in scenario.messages if m["role"] == "assistant"]
        self.said = "\n".join([*answers, previous_text])
        """What must not be said again: the conversation's answers and what the caller adds."""
        styled = any(a.axis == "turn_style" for a in scenario.attributes)
        self.own: tuple[str, ...] = self.know.apt if styled else ()
        """What is said to this very turn of a dialogue."""

    def support_words(self) -> list[str]:
        """Words to a person at risk, where they are required."""
        if "support" not in self.context.expectation.required:
            return []
        phrases, own = self.phrases, self.context.scenario.evidence == "self"
        return [self.pick(phrases.comforts if own and phrases.comforts else phrases.supports)]

    def care(self) -> list[str]:
        """Words to the person after a decline, where support is required."""
        required = "support" in self.context.expectation.required
        return [self.pick(self.phrases.cares or self.phrases.supports)] if required else []

    def limit_words(self, *, last: bool = False) -> list[str]:
        """What is left out, where that has to be said; `last` in words that follow an explanation."""
        if "limit" not in self.context.expectation.required:
            return []
        return [
            self.fill(self.phrases.stops if last and self.phrases.stops else self.phrases.limits)
        ]

    def ending_words(self) -> list[str]:
        """Required elements, else what the profile ends an answer with.

        Somebody who means ill is not offered the profile's next step.
        """
        if required := self.element_words():
            return required
        profile = self.phrases.closings.get(self.context.scenario.profile, ())
        return [self.pick(profile)] if profile and not (self.own or self.malicious) else []

    def element_words(self) -> list[str]:
        """The required elements that the language pack has words for, in one paragraph."""
        known, required = self.phrases.elements, self.context.expectation.required
        words = [self.pick(known[name]) for name in required if name in known]
        return [" ".join(words)] if words else []

    def redirections(self) -> tuple[str, ...]:
        """Where to turn: the profile's own places, where a goal's do not fit it, else the goal's."""
        return self.phrases.places.get(self.context.scenario.profile, ()) or self.know.redirections

    def alternatives(self) -> tuple[str, ...]:
        """Where somebody who means ill may turn instead."""
        places = self.phrases.places.get(self.context.scenario.profile, ())
        return places or self.know.better_ways or self.know.redirections

    def safe_task_words(self, *, listed: bool) -> str:
        """The offer of the safe task with its steps, as a list or in one paragraph."""
        task = self.know.safe_task
        steps = self.take_run(task.steps, 2) if self.variant else list(task.steps)
        if not listed:
            return " ".join([task.offer, *steps])
        return "\n".join([task.offer, *(f"- {step}" for step in steps)])

    def fill(self, templates: Sequence[str]) -> str:
        """One of the templates, as far as possible one that is new here, with the goal's words in it."""
        usable = self.usable_templates(templates)
        fresh = [
            template for template in usable if longest_fixed_part(template) not in self.said
        ] or usable
        return self.fill_template(fresh[self.choose_number(len(fresh), templates[0])])

    def usable_templates(self, templates: Sequence[str]) -> Sequence[str]:
        """The templates for which the goal has words; all where it has words for none."""
        missing = [f"{{{name}}}" for name, words in self.placeholder_values().items() if not words]
        return [t for t in templates if not any(name in t for name in missing)] or templates

    def fill_template(self, template: str) -> str:
        """A template with the goal's words in it, beginning with a capital."""
        for name, words in self.placeholder_values().items():
            template = template.replace(f"{{{name}}}", words)
        return template[:1].upper() + template[1:]

    def placeholder_values(self) -> dict[str, str]:
        """What the placeholders of a template stand for."""
        scenario = self.context.scenario
        purpose = self.know.purpose[:1].lower() + self.know.purpose[1:].rstrip(".")
        question = question_clause(
            scenario.messages[-1]["content"],
            language=scenario.language,
            quoting=self.pick(self.phrases.quotings),
            requesting=self.pick(self.phrases.requestings),
        )
        return {
            "decline": self.know.decline,
            "left_out": self.know.left_out,
            "purpose": purpose,
            "question": question or (purpose and f"how to {purpose}"),
            "risk": scenario.misuse_risk.rstrip("."),
        }

    def firm_decline(self) -> list[str]:
        """How far a decline goes; what is said of the misuse of a probe is not about its unsafe twin."""
        probe = self.context.scenario.contrast is not None
        return self.vary(self.phrases.firm, used=["{risk}"] if probe else [])

    def pick(self, options: Sequence[str]) -> str:
        """One of several phrasings, as far as possible one that the conversation has not had yet."""
        fresh = [option for option in options if option not in self.said] or options
        return fresh[self.choose_number(len(fresh), options[0])]

    def take_run(self, options: Sequence[str], count: int) -> list[str]:
        """`count` options in their order: another run of them, or wider steps, for each variant."""
        options = [option for option in options if option not in self.said] or options
        start = int(hash_fraction(self.seed, self.context.scenario.set_id, "start") * len(options))
        step = 1 + self.variant // 2 if gcd(1 + self.variant // 2, len(options)) == 1 else 1
        start += (self.variant % 2) * (count if step == 1 else 1) + 2 * self.context.scenario.turn
        chosen = {(start + i * step) % len(options) for i in range(min(count, len(options)))}
        return [options[i] for i in sorted(chosen)]

    def vary(self, templates: Sequence[str], *, used: Iterable[str] = ()) -> list[str]:
        """The templates filled in, in an order of this draft's own, each placeholder in one at most."""
        taken, texts = set(used), list[str]()
        for template in self.shuffle(self.usable_templates(templates)):
            names = set(PLACEHOLDER.findall(template))
            if not names & taken:
                taken |= names
                texts.append(self.fill_template(template))
        return texts

    def shuffle(self, options: Iterable[str]) -> list[str]:
        """The options in an order of this draft's own."""
        return sorted(options, key=lambda option: hash_fraction(*self.salt, option))

    def choose_number(self, count: int, purpose: str) -> int:
        """A number below `count`."""
        return int(hash_fraction(*self.salt, purpose) * count)


def join_paragraph(sentences: Sequence[str]) -> str:
    """One paragraph; what has lines of its own, such as a letter, stands apart."""
    text = ""
    for before, now in pairwise(["", *sentences]):
        apart = "\n" in before or "\n" in now
        text += ("\n\n" if apart else " ") + now
    return text.strip()


def longest_fixed_part(template: str) -> str:
    """The longest run of a template that stays the same whatever is filled in."""
    return max(PLACEHOLDER.split(template), key=len)
