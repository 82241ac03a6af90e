"""Choices of the embedded teacher among facts and phrasings: by digest, without repetition."""

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
MIN_STEM_CHARS, STEM_CHARS = 5, 6
"""Letters of a word that may carry a subject, and those that count."""


class Phrasing:
    """A draft under composition; each choice is a digest of scenario, sample and seed."""

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
        self.used_text = "\n".join([*answers, previous_text])
        """Texts that must not be repeated: the conversation's answers and the caller's text."""
        is_turn = any(a.axis == "turn_style" for a in scenario.attributes)
        self.own: tuple[str, ...] = self.know.apt if is_turn else ()
        """Facts for this turn of a dialogue."""

    def support_words(self) -> list[str]:
        """Address a person at risk, if required."""
        if "support" not in self.context.expectation.required:
            return []
        phrases, own = self.phrases, self.context.scenario.evidence == "self"
        return [self.pick(phrases.comforts if own and phrases.comforts else phrases.supports)]

    def care(self) -> list[str]:
        """Address the person after a decline, if support is required."""
        required = "support" in self.context.expectation.required
        return [self.pick(self.phrases.cares or self.phrases.supports)] if required else []

    def limit_words(self) -> list[str]:
        """Name the limit, if required."""
        if "limit" not in self.context.expectation.required:
            return []
        if not self.know.left_out and self.phrases.general_limits:
            return [self.pick(self.phrases.general_limits)]
        return [self.fill(self.phrases.limits)]

    def ending_words(self) -> list[str]:
        """Return the required elements, else the profile's closing words."""
        if required := self.element_words():
            return required
        closings = self.phrases.closings.get(self.context.scenario.profile, ())
        # Ill intent gets no offer of the profile's next step.
        return [self.pick(closings)] if closings and not (self.own or self.malicious) else []

    def element_words(self) -> list[str]:
        """Return the required elements for which the language pack has words, in one paragraph."""
        known, required = self.phrases.elements, self.context.expectation.required
        words = [self.pick(known[name]) for name in required if name in known]
        return [" ".join(words)] if words else []

    def redirections(self) -> tuple[str, ...]:
        """Return the profile's places to turn to if it has some, else the goal's."""
        return self.phrases.places.get(self.context.scenario.profile, ()) or self.know.redirections

    def alternatives(self) -> tuple[str, ...]:
        """Return better ways for a prompt with ill intent."""
        places = self.phrases.places.get(self.context.scenario.profile, ())
        return places or self.know.better_ways or self.know.redirections

    def safe_task_words(self, *, listed: bool) -> str:
        """Return steps of the safe task, as a list or in one paragraph; they help and are not announced."""
        steps = self.know.safe_task.steps
        steps = self.take_run(steps, 2) if self.variant else list(steps)
        return "\n".join(f"- {step}" for step in steps) if listed else " ".join(steps)

    def fill(self, templates: Sequence[str]) -> str:
        """Fill one of the templates with the goal's words; prefer one that was not used yet."""
        usable = self.usable_templates(templates)
        fresh = [
            template for template in usable if longest_fixed_part(template) not in self.used_text
        ] or usable
        return self.fill_template(fresh[self.choose_number(len(fresh), templates[0])])

    def usable_templates(self, templates: Sequence[str]) -> Sequence[str]:
        """Return the templates for which the goal has words, or all if there are none."""
        missing = [f"{{{name}}}" for name, words in self.placeholder_values().items() if not words]
        return [t for t in templates if not any(name in t for name in missing)] or templates

    def fill_template(self, template: str) -> str:
        """Fill a template with the goal's words and capitalise it."""
        if "{left_out}" in template and self.know.left_out and self.phrases.limit_reasons:
            template = f"{template.rstrip('.')}, {self.pick(self.phrases.limit_reasons)}."
        for name, words in self.placeholder_values().items():
            template = template.replace(f"{{{name}}}", words)
        return template[:1].upper() + template[1:]

    def placeholder_values(self) -> dict[str, str]:
        """Map the placeholders of a template to their values."""
        scenario = self.context.scenario
        purpose = self.know.purpose[:1].lower() + self.know.purpose[1:].rstrip(".")
        return {
            "decline": self.know.decline,
            "left_out": self.know.left_out,
            "purpose": purpose,
            "question": question_clause(scenario.plain_request, language=scenario.language),
            "risk": scenario.misuse_risk.rstrip("."),
        }

    def pick(self, options: Sequence[str]) -> str:
        """Choose one of several phrasings; prefer one that the conversation lacks."""
        fresh = [option for option in options if option not in self.used_text] or options
        return fresh[self.choose_number(len(fresh), options[0])]

    def take_run(self, options: Sequence[str], count: int) -> list[str]:
        """Choose `count` options in their order; each variant has another start or step."""
        chosen = self.rotate_fresh(options)[:count]
        return [option for option in options if option in chosen]

    def take_relevant(self, options: Sequence[str], count: int) -> list[str]:
        """Choose the `count` options that share most words with the prompt, the closest one first."""
        asked = word_stems(self.context.scenario.plain_request)
        rotated = self.rotate_fresh(options)
        return sorted(rotated, key=lambda option: -len(word_stems(option) & asked))[:count]

    def rotate_fresh(self, options: Sequence[str]) -> list[str]:
        """Return the options that were not used yet; each variant has another start or step."""
        options = [option for option in options if option not in self.used_text] or options
        if not options:
            return []
        start = int(hash_fraction(self.seed, self.context.scenario.set_id, "start") * len(options))
        step = 1 + self.variant // 2 if gcd(1 + self.variant // 2, len(options)) == 1 else 1
        start += (self.variant % 2) * (2 if step == 1 else 1) + 2 * self.context.scenario.turn
        return [options[(start + i * step) % len(options)] for i in range(len(options))]

    def vary(self, templates: Sequence[str], *, used: Iterable[str] = ()) -> list[str]:
        """Fill the templates in this draft's order, each placeholder in at most one of them."""
        filled, texts = set(used), list[str]()
        for template in self.shuffle(self.usable_templates(templates)):
            names = set(PLACEHOLDER.findall(template))
            if not names & filled:
                filled |= names
                texts.append(self.fill_template(template))
        return texts

    def shuffle(self, options: Iterable[str]) -> list[str]:
        """Return the options in this draft's order."""
        return sorted(options, key=lambda option: hash_fraction(*self.salt, option))

    def choose_number(self, count: int, purpose: str) -> int:
        """Choose a number from 0 to `count` - 1."""
        return int(hash_fraction(*self.salt, purpose) * count)


def join_paragraph(sentences: Sequence[str]) -> str:
    """Join sentences to one paragraph; a sentence with line breaks, such as a letter, is set apart."""
    text = ""
    for previous, sentence in pairwise(["", *sentences]):
        is_apart = "\n" in previous or "\n" in sentence
        text += ("\n\n" if is_apart else " ") + sentence
    return text.strip()


def word_stems(text: str) -> frozenset[str]:
    """Return the first letters of a text's longer words, which forms of one word share."""
    words = (word.strip(".,;:!?\"'()").casefold() for word in text.split())
    return frozenset(word[:STEM_CHARS] for word in words if len(word) >= MIN_STEM_CHARS)


def longest_fixed_part(template: str) -> str:
    """Return the longest part of a template without a placeholder."""
    return max(PLACEHOLDER.split(template), key=len)
