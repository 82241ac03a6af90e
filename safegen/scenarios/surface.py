"""Noise and wrappers over planned prompts: late transforms by code that change no label and no expectation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from safegen.config.language_pack import NoiseWords
from safegen.config.plan import NoiseSettings, Plan, WrapperSettings
from safegen.core.errors import ConfigError
from safegen.core.hashing import hash_fraction, short_id
from safegen.core.types import (
    NOISE,
    WRAPPER,
    Attribute,
    Message,
    NoiseKind,
    PlannedScenario,
    Profile,
    Scenario,
)
from safegen.scenarios.dialogues import is_dialogue_turn
from safegen.scenarios.noise import add_noise
from safegen.scenarios.wrapper import Wrapper

OBFUSCATION = "obfuscation"


class Side(NamedTuple):
    """A wrapper and the side of the prompts that it is used on."""

    wrapper: str
    is_benign: bool


@dataclass(frozen=True)
class Surface:
    """The noise and the wrappers of a recipe."""

    noise: NoiseSettings | None = None
    words: NoiseWords | None = None
    settings: WrapperSettings | None = None
    wrappers: Mapping[str, Wrapper] = field(default_factory=dict[str, Wrapper])
    language: str = "en"
    """Language of the wordings."""
    seed: int = 0

    @staticmethod
    def create(
        plan: Plan,
        *,
        words: NoiseWords | None,
        wrappers: Mapping[str, Wrapper],
        language: str,
        seed: int,
    ) -> Surface:
        """Collect what a plan asks for.

        Raises:
            ConfigError: the language pack has no words for noise, or a wrapper no wording in its language.
        """
        if plan.noise is not None and words is None:
            raise ConfigError(
                f"the language pack `{language}` has no `noise`; add its words, or remove the key",
                key="plan.noise",
            )
        primary = language.partition("-")[0]
        for name, wrapper in wrappers.items():
            if not wrapper.wordings.get(primary):
                known = ", ".join(sorted(wrapper.wordings))
                raise ConfigError(
                    f"`{name}` has no wording in `{primary}` (it has {known or 'none'}); remove it",
                    key="plan.wrappers",
                )
        return Surface(plan.noise, words, plan.wrappers, wrappers, primary, seed)

    @property
    def is_empty(self) -> bool:
        """True if nothing is changed."""
        return self.noise is None and not self.wrappers

    def apply(
        self, sets: Iterable[list[PlannedScenario]], *, lone: Mapping[Side, int] | None = None
    ) -> Iterator[list[PlannedScenario]]:
        """Add wrapped copies to planned sets, and noise to their prompts.

        Prompts that an author has yet to write are copied; `finish` changes them when they are written.

        Args:
            sets: planned sets.
            lone: for prompts whose set has one side only: how many of them, from `count_lone`. As
                many of each side are wrapped as the rarer side has. Without it they are not wrapped.
        """
        if self.is_empty:
            yield from sets
            return
        quotas = _balance(lone or {})
        for set_ in sets:
            copies = [*self._copy_pairs(set_), *self._copy_lone(set_, quotas)]
            yield self.finish([*set_, *copies])

    def count_lone(self, sets: Iterable[Sequence[PlannedScenario]]) -> Counter[Side]:
        """Count the prompts that a wrapper could have and whose set has no prompt of the other side."""
        return Counter(side for set_ in sets for side, _ in self._iter_lone(set_))

    def finish(self, set_: Sequence[PlannedScenario]) -> list[PlannedScenario]:
        """Wrap the copies of a set, and add noise to its other prompts."""
        if self.is_empty:
            return list(set_)
        wrapped = [self._wrap(item) if _is_copy(item) else item for item in set_]
        return self._add_noise(wrapped)

    # --- wrappers

    def _copy_pairs(self, set_: Sequence[PlannedScenario]) -> Iterator[PlannedScenario]:
        for profile, benign, other in _split_sides(set_):
            if not benign or not other:
                continue
            for name in self._choose_wrappers(benign[0].scenario, profile):
                for side in (benign, other):
                    yield self._copy(self._choose(side, name), name)

    def _copy_lone(
        self, set_: Sequence[PlannedScenario], quotas: Counter[Side]
    ) -> Iterator[PlannedScenario]:
        if not quotas:
            return
        for side, item in self._iter_lone(set_):
            if quotas[side] > 0:
                quotas[side] -= 1
                yield self._copy(item, side.wrapper)

    def _iter_lone(self, set_: Sequence[PlannedScenario]) -> Iterator[tuple[Side, PlannedScenario]]:
        for profile, benign, other in _split_sides(set_):
            if bool(benign) == bool(other):
                continue
            one = benign or other
            for name in self._choose_wrappers(one[0].scenario, profile):
                yield Side(name, bool(benign)), self._choose(one, name)

    def _choose_wrappers(self, scenario: Scenario, profile: Profile) -> list[str]:
        if self.settings is None:
            return []
        key = (self.seed, scenario.set_id, profile)
        draws = {name: hash_fraction("wrapper", *key, name) for name in self.wrappers}
        chosen = [name for name, draw in draws.items() if draw < self.settings.share]
        if self.settings.number is None:
            return chosen
        first = sorted(chosen, key=draws.__getitem__)[: self.settings.number]
        return [name for name in chosen if name in first]

    def _choose(self, side: Sequence[PlannedScenario], name: str) -> PlannedScenario:
        first = side[0].scenario
        draw = hash_fraction("wrapped", self.seed, first.set_id, first.profile, name)
        return side[int(draw * len(side))]

    def _copy(self, item: PlannedScenario, name: str) -> PlannedScenario:
        marks = (
            Attribute(OBFUSCATION, self.wrappers[name].obfuscation, "written"),
            Attribute(WRAPPER, name, "written"),
        )
        scenario = item.scenario
        return replace(
            item,
            scenario=replace(
                scenario,
                scenario_id=short_id("wrapped", scenario.scenario_id, name),
                attributes=(*scenario.attributes, *marks),
            ),
        )

    def _wrap(self, item: PlannedScenario) -> PlannedScenario:
        scenario = item.scenario
        name = scenario.find_attribute(WRAPPER) or ""
        wrapper, text = self.wrappers[name], scenario.messages[-1]["content"]
        wordings = wrapper.wordings[self.language]
        # By set and profile, so that the wording does not reveal the intent.
        draw = hash_fraction("wording", self.seed, scenario.set_id, scenario.profile, name)
        turns = wordings[int(draw * len(wordings))](text)
        if wrapper.recover is not None and wrapper.recover(turns) != text:
            raise ConfigError(
                f"wrapper `{name}` does not restore the prompt that it hides; fix its `recover`"
            )
        return replace(
            item,
            scenario=replace(
                scenario, messages=(*scenario.messages[:-1], *turns), base_prompt=text
            ),
        )

    # --- noise

    def _add_noise(self, set_: Sequence[PlannedScenario]) -> list[PlannedScenario]:
        if self.noise is None:
            return list(set_)
        plain = [p for p in set_ if p.scenario.messages and not is_wrapped(p.scenario)]
        texts = list(dict.fromkeys(t for p in plain for t in _user_texts(p.scenario)))
        assert self.words is not None, "`create` checks it"
        # A kind that changes only some prompts would depend on their words, and so on the intent.
        kinds: list[NoiseKind] = [
            kind
            for kind in self.noise.kinds
            if all(add_noise(text, kind, words=self.words) != text for text in texts)
        ]
        ids = {p.scenario.scenario_id for p in plain} if kinds else set[str]()
        return [
            self._add_to_scenario(p, kinds) if p.scenario.scenario_id in ids else p for p in set_
        ]

    def _add_to_scenario(
        self, item: PlannedScenario, kinds: Sequence[NoiseKind]
    ) -> PlannedScenario:
        scenario = item.scenario
        messages: list[Message] = []
        kind: NoiseKind | None = None
        for message in scenario.messages:
            if message["role"] != "user":
                messages.append(message)
                continue
            # By turn, so that an earlier turn of a dialogue is the same in each later row.
            turn = sum(m["role"] == "user" for m in messages)
            kind, text = self._change(message["content"], scenario, turn, kinds)
            messages.append(Message(role="user", content=text))
        changed = replace(scenario, messages=tuple(messages))
        if kind is not None:
            changed = replace(
                changed,
                base_prompt=scenario.messages[-1]["content"],
                attributes=(*scenario.attributes, Attribute(NOISE, kind, "written")),
            )
        return replace(item, scenario=changed)

    def _change(
        self, text: str, scenario: Scenario, turn: int, kinds: Sequence[NoiseKind]
    ) -> _ChangedTurn:
        assert self.noise is not None and self.words is not None
        # Without the intent: the prompts of a set with one number share the draw.
        # Without the profile, which an operator may change within a dialogue.
        number: object = scenario.paraphrase
        if scenario.source == "imported":
            number = scenario.scenario_id
        key = (self.seed, scenario.set_id, number, scenario.language, turn)
        if hash_fraction("noise share", *key) >= self.noise.share:
            return _ChangedTurn(None, text)
        kind = min(kinds, key=lambda kind: hash_fraction("noise kind", *key, kind))
        return _ChangedTurn(kind, add_noise(text, kind, words=self.words, key=key))


class _ChangedTurn(NamedTuple):
    """A user turn with its kind of noise; None if it stays as it is."""

    kind: NoiseKind | None
    text: str


class _Sides(NamedTuple):
    """The single prompts of a set under a profile."""

    profile: Profile
    benign: list[PlannedScenario]
    other: list[PlannedScenario]


def _split_sides(set_: Sequence[PlannedScenario]) -> list[_Sides]:
    sides: dict[Profile, _Sides] = {}
    for item in set_:
        scenario = item.scenario
        if _is_single(scenario) and not item.first:
            profile = scenario.profile
            both = sides.setdefault(profile, _Sides(profile, [], []))
            (both.benign if scenario.intent == "benign" else both.other).append(item)
    return list(sides.values())


def _is_single(scenario: Scenario) -> bool:
    """Check that a prompt is no turn of a conversation, and not wrapped."""
    turns = sum(m["role"] != "system" for m in scenario.messages)
    return turns <= 1 and not is_dialogue_turn(scenario) and not is_wrapped(scenario)


def is_wrapped(scenario: Scenario) -> bool:
    """Check if a prompt is a wrapped copy of another one."""
    return scenario.find_attribute(WRAPPER) is not None


def wrapper_marks(scenario: Scenario) -> tuple[Attribute, ...]:
    """Return the attributes that mark a wrapped copy."""
    return tuple(a for a in scenario.attributes if a.axis in (OBFUSCATION, WRAPPER))


def _is_copy(item: PlannedScenario) -> bool:
    scenario = item.scenario
    return is_wrapped(scenario) and bool(scenario.messages) and scenario.base_prompt is None


def _user_texts(scenario: Scenario) -> list[str]:
    return [m["content"] for m in scenario.messages if m["role"] == "user"]


def _balance(counts: Mapping[Side, int]) -> Counter[Side]:
    """Give both sides of a wrapper the count of the rarer one."""
    return Counter(
        {
            side: min(count, counts.get(Side(side.wrapper, not side.is_benign), 0))
            for side, count in counts.items()
        }
    )
