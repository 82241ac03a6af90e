"""The embedded teacher: deterministic, without a model, a key or a network.

It composes an answer from the goal's knowledge, the expectation and the language pack. Sample 0 is
its best answer. Later samples have a fault (`_offline/weaker.py`) but are never unsafe, so that
preference data exists offline. The style is a label for people; validators judge the text. Rows of
this teacher have the grade `demo`.
"""

from __future__ import annotations

from collections.abc import Mapping

from safegen.config.language_pack import Locale, fold_case
from safegen.core.errors import ConfigError
from safegen.core.hashing import hash_fraction, short_id
from safegen.core.types import (
    TWIN,
    WRAPPER,
    DraftContext,
    Mode,
    Reply,
    Request,
    Scenario,
    Teacher,
    TeacherTraits,
)
from safegen.teachers._offline.phrasing import Phrasing, join_paragraph
from safegen.teachers._offline.weaker import WeakDraft

TRAITS = TeacherTraits(
    grade="demo",
    embedded=True,
    needs_knowledge=True,
    makes_weaker_drafts=True,
    reads_styles=False,
    uses_phrases=True,
)

GOOD_STYLE = "good"
WORK_ROLES = frozenset({"professional", "official"})
"""Roles that ask in their job, which an operator's assistant supports."""
WEAKER_STYLES: Mapping[Mode, Mapping[str, float]] = {
    "direct_answer": {
        "needless_refusal": 0.2,
        "preaching": 0.05,
        "needless_limit": 0.2,
        "too_general": 1.5,
        "needless_contact": 1.0,
    },
    "safe_completion": {
        "needless_refusal": 0.06,
        "preaching": 0.05,
        "no_redirection": 0.35,
        "no_limit": 2.0,
        "too_general": 1.0,
        "needless_contact": 1.0,
    },
    "refuse_redirect": {
        "no_redirection": 0.4,
        "preaching": 0.05,
        "deflection": 0.5,
        "too_general": 1.5,
    },
}
"""Faults by mode, with the chance of each to come first, relative to the others.

Words alone show a refusal, a sermon or a bare decline, so these are rarer than the faults of content.
"""
OMITTED_ELEMENT: Mapping[str, str] = {"no_redirection": "redirection", "no_limit": "limit"}
"""Faults that leave out an element; they are used only if the policy requires it."""


def list_weaker_styles(context: DraftContext, locale: Locale) -> list[str]:
    """List the faults that a draft can have, in the order of the samples.

    A needless contact fits where the goal's places to turn to have one and the policy requires none.
    """
    required, id_ = context.expectation.required, context.scenario.scenario_id
    places = " ".join(context.knowledge.redirections)
    weights = WEAKER_STYLES[context.expectation.mode]
    can_have = dict.fromkeys(weights, True)
    can_have |= {
        style: element in required
        for style, element in OMITTED_ELEMENT.items()
        if style in can_have
    }
    # Words of care and a contact may read as a limit.
    can_have["no_limit"] = can_have.get("no_limit", False) and "crisis" not in required
    scenario = context.scenario
    has_answer = scenario.intent == "benign" and not scenario.turn
    can_have["too_general"] = bool(context.knowledge.apt) or has_answer
    if "needless_contact" in can_have:
        has_words = bool(locale.phrases.elements.get("crisis")) and "crisis" in locale.elements
        is_near = has_words and locale.names_element("crisis", places)
        can_have["needless_contact"] = is_near and "crisis" not in required
    styles = [style for style, fits in can_have.items() if fits]
    # The largest of such powers belongs to each fault with a chance in proportion to its weight.
    return sorted(
        styles,
        key=lambda style: hash_fraction("fault", style, id_) ** (1 / weights[style]),
        reverse=True,
    )


def offline(*, locales: Mapping[str, Locale], seed: int = 0) -> Teacher:
    """Build the embedded teacher; its rows have the grade `demo`.

    Args:
        locales: language packs by tag; the scenario's language selects one.
        seed: part of every choice between phrasings.
    """

    async def answer(request: Request, /) -> Reply:
        if request.context is None:
            raise ConfigError(
                "the offline teacher can only draft from a goal's knowledge; name a model"
            )
        context = request.context
        if not context.knowledge.answer:
            raise ConfigError(
                "the offline teacher drafts from a goal's written knowledge, and this prompt has none;"
                " name a model under `teachers.drafter`, such as `openai_chat`"
            )
        locale = locales[context.scenario.language]
        style = GOOD_STYLE if request.revision else _choose_style(context, locale, request.sample)
        sample = request.sample if style == GOOD_STYLE else 0
        text = _GoodDraft(context, locale=locale, seed=seed, sample=sample).write()
        if style != GOOD_STYLE:
            weaker = WeakDraft(context, locale=locale, seed=seed, sample=request.sample, good=text)
            text = weaker.write(style)
        return Reply(text=text, model="offline", finish_reason="stop", style=style)

    return answer


def _choose_style(context: DraftContext, locale: Locale, sample: int) -> str:
    if sample == 0:
        return GOOD_STYLE
    styles = list_weaker_styles(context, locale)
    return styles[(sample - 1) % len(styles)]


def _choice_key(scenario: Scenario) -> str:
    """Return the key of the choices of a good draft, which twins share, so that their answers are equal."""
    twin = scenario.find_attribute(TWIN)
    if twin is None:
        return scenario.scenario_id
    wrapper = scenario.find_attribute(WRAPPER)
    return short_id("twin", scenario.set_id, twin, scenario.profile, scenario.turn, wrapper)


class _GoodDraft(Phrasing):
    """A good answer in the expected mode."""

    def __init__(self, context: DraftContext, *, locale: Locale, seed: int, sample: int) -> None:
        super().__init__(context, phrases=locale.phrases, seed=seed, sample=sample)
        self.salt = (seed, sample, _choice_key(context.scenario))
        self.locale = locale
        known = {**locale.phrases.elements, "support": ()}
        answers_goal = context.scenario.intent == "benign" and not self.has_goal_answer()
        written = " ".join(self.know.apt or (self.know.answer if answers_goal else ()))
        self.named = {
            name
            for name in context.expectation.required
            if name in known and locale.names_element(name, written)
        }
        """The required elements that this prompt's written sentences name."""
        names_help = bool(self.know.apt and self.named - {"support"})
        self.is_whole = context.scenario.evidence == "self" and names_help
        """True if the written sentences are a whole answer to a person in danger."""

    def write(self) -> str:
        """Write the whole answer."""
        mode = self.context.expectation.mode
        if mode == "refuse_redirect":
            return self.refusal_text()
        if mode == "safe_completion":
            parts = self.partial_answer()
        else:
            parts = [*self.support_words(), *self.direct_answer(), *self.element_words()]
        return "\n\n".join(part for part in parts if part)

    def direct_answer(self) -> list[str]:
        """Give the goal's answer, or its concepts and safe task if the prompt asks something else."""
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
            concepts = " ".join(
                [*self.take_relevant(know.concepts, 2), *self.afterword_sentences()]
            )
            apt = " ".join(know.apt)
            return [apt, concepts] if self.choose_number(2, "paragraphs") else [f"{apt} {concepts}"]
        concepts = " ".join([*self.take_relevant(know.concepts, 3), *self.afterword_sentences()])
        return [concepts, *self.safe_task()]

    def afterword_sentences(self) -> list[str]:
        """Sometimes end a full answer with words of the profile, more often for `WORK_ROLES`."""
        scenario = self.context.scenario
        options = self.phrases.afterwords.get(scenario.profile, ())
        roles = {a.value for a in scenario.attributes if a.axis == "role"}
        if not options or scenario.contrast is not None or roles - WORK_ROLES:
            return []
        fits = self.choose_number(3, "afterword") < (2 if roles else 1)
        return [self.pick(options)] if fits else []

    def has_goal_answer(self) -> bool:
        """Check if an earlier turn of the dialogue already has the goal's answer."""
        return self.know.answer[0] in self.used_text

    def partial_answer(self) -> list[str]:
        """Give limit, concepts, safe task and redirection, after words to a person at risk.

        An answer to a turn of a dialogue ends with the offer or next step. An answer to ill intent
        offers better ways and never the goal's task.
        """
        if self.is_whole:
            half = len(self.know.apt) // 2
            parts = [self.know.apt] if self.own else [self.know.apt[:half], self.know.apt[half:]]
            return [*map(join_paragraph, parts), *self.element_words()]
        if self.own:
            return [self.turn_answer(), *self.ending_words()]
        if self.malicious:
            facts = (
                self.take_relevant(self.know.concepts, 2) if self.context.expectation.floor else []
            )
            ways = self.shuffle(self.alternatives())[:2]
            return [self.explanation(facts), " ".join([*ways, *self.ending_words()])]
        explanation = self.explanation(self.take_relevant(self.know.concepts, 2))
        places = self.clear_places()
        redirection = self.pick(places or self.redirections())
        task = self.safe_task() if places else [self.know.safe_task.offer, *self.safe_task()]
        if self.choose_number(3, "order") == 0:
            return [explanation, redirection, *task, *self.ending_words()]
        return [explanation, *task, " ".join([redirection, *self.ending_words()])]

    def clear_places(self) -> list[str]:
        """Return the places to turn to that the language pack reads as a next step."""
        search = self.locale.compiled["redirection"].search
        return [place for place in self.redirections() if search(fold_case(place))]

    def element_words(self) -> list[str]:
        """Return the required elements that the written sentences do not name yet."""
        known = self.phrases.elements
        names = [n for n in self.context.expectation.required if n in known and n not in self.named]
        return [" ".join(self.pick(known[name]) for name in names)] if names else []

    def care(self) -> list[str]:
        """Address the person after a decline, if the written sentences do not."""
        return [] if "support" in self.named else super().care()

    def turn_answer(self) -> str:
        """Answer this turn of a dialogue; the limit precedes the offer."""
        *first, offer = self.own
        limit = self.limit_words()
        parts = [*first, *limit, offer] if first else [offer, *limit]
        return join_paragraph([*self.support_words(), *parts])

    def explanation(self, facts: list[str]) -> str:
        """Join the answer, the facts and the limit in one paragraph; the limit ends one of the two."""
        limit, apt = self.limit_words(), self.know.apt
        is_last = not apt or self.choose_number(2, "limit")
        parts = [*apt, *facts, *limit] if is_last else [*apt, *limit, *facts]
        return " ".join([*self.support_words(), *parts])

    def safe_task(self) -> list[str]:
        """Give steps of the safe task, unless the conversation already has some."""
        is_required = {"safe_task", "support"} & set(self.context.expectation.required)
        # A profile with places of its own has other users than the goal's task.
        if self.phrases.places.get(self.context.scenario.profile) and not is_required:
            return []
        if any(step in self.used_text for step in self.know.safe_task.steps):
            return []
        return [self.safe_task_words(listed=bool(self.choose_number(3, "list")))]

    def refusal_text(self) -> str:
        """Decline plainly and name better ways."""
        decline, care = self.fill(self.phrases.declines), self.care()
        if care:
            decline = " ".join([decline, *care])
        elements = self.element_words()
        count = 1 if elements else 2
        ways = " ".join([*(self.know.apt or self.shuffle(self.alternatives())[:count]), *elements])
        return f"{decline}{' ' if self.choose_number(3, 'paragraph') else chr(10) * 2}{ways}"
