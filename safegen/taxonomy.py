"""The tree of harms and the written goals: YAML → Taxonomy, checked.

Goals are read one file at a time, so a large collection is never held whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from safegen import assets, yamlfile
from safegen.errors import ConfigError, UserError
from safegen.types import Evidence, Intent, Knowledge, SafeTask, Severity, Task, Tier

SCHEMES: dict[str, frozenset[str]] = {
    "ailuminate": frozenset(
        "vcr ncr src cse dfm spc spc_ele spc_fin spc_hlt spc_lgl prv ipv iwp hte ssh sxc sxc_prn".split()
    ),
    "llama_guard": frozenset(f"S{n}" for n in range(1, 15)),
}
"""Pinned ids: MLCommons AILuminate v1.x (12 hazards and their parts), Llama Guard 3 and 4 (S1 to S14)."""
RED_LINE_IDS = {"ailuminate": {"cse"}, "llama_guard": {"S4"}}
MAX_TEXT = 4_000


def _slug(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", value):
        raise ValueError("must be lower-case letters, digits, `-` and `_`, starting with a letter")
    return value


def _harm_id(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*", value):
        raise ValueError("must be `domain.leaf` in lower case")
    return value


def _text(value: str) -> str:
    clean = " ".join(value.split())
    if not clean:
        raise ValueError("must not be empty")
    if any(not c.isprintable() for c in clean):
        raise ValueError("holds control characters; remove them")
    return clean


Slug = Annotated[str, AfterValidator(_slug), Field(max_length=80)]
HarmId = Annotated[str, AfterValidator(_harm_id), Field(max_length=80)]
Text = Annotated[str, AfterValidator(_text), Field(max_length=MAX_TEXT)]
Detail = Annotated[int, Field(ge=0, le=4)]


class Frozen(BaseModel):
    """Unknown keys refused, values frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Crosswalk(Frozen):
    """Ids of a leaf in external schemes; `none` where a scheme has no peer."""

    ailuminate: tuple[str, ...] | Literal["none"]
    """MLCommons AILuminate v1.x hazard ids."""
    llama_guard: tuple[str, ...] | Literal["none"]
    """Llama Guard 3 and 4 category ids."""

    @model_validator(mode="after")
    def _ids_are_pinned(self) -> Self:
        for scheme, known in SCHEMES.items():
            ids = getattr(self, scheme)
            for wrong in [] if ids == "none" else [i for i in ids if i not in known]:
                hint = yamlfile.did_you_mean(wrong, sorted(known))
                raise ValueError(f"`{wrong}` is not an id of {scheme}{hint}")
        return self

    def is_red_line(self) -> bool:
        """Whether any id stands for sexual exploitation of children."""
        return any(set(getattr(self, scheme)) & ids for scheme, ids in RED_LINE_IDS.items())


class Harm(Frozen):
    """One leaf."""

    id: HarmId
    name: Text
    definition: Text
    tier: Tier
    """Policy tier of what a full answer about the hazard would contain."""
    severity: Severity
    """Worst realistic outcome."""
    red_line: bool = False
    """Spec-only: never expanded into prompts."""
    crosswalk: Crosswalk

    @model_validator(mode="after")
    def _red_lines_are_marked(self) -> Self:
        if self.crosswalk.is_red_line() and not self.red_line:
            raise ValueError(
                f"harm `{self.id}` maps to sexual exploitation of children; set `red_line: true`"
            )
        if self.red_line and self.tier != "prohibited":
            raise ValueError(f"red-line harm `{self.id}` needs `tier: prohibited`")
        return self


class Domain(Frozen):
    """A branch of the tree."""

    id: Slug
    name: Text
    definition: Text
    harms: tuple[Harm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _leaves_carry_the_domain(self) -> Self:
        for harm in self.harms:
            if not harm.id.startswith(self.id + "."):
                raise ValueError(
                    f"harm `{harm.id}` stands under domain `{self.id}`; name it `{self.id}.…`"
                )
        return self


class TaxonomyFile(Frozen):
    """What `taxonomy.yaml` holds."""

    taxonomy: Slug
    version: Text
    title: Text
    licence: Text
    language: Text
    """BCP-47 tag of the written prompts."""
    sets: tuple[str, ...] = ()
    """Files of goals, relative to this file."""
    domains: tuple[Domain, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        for what, ids in (
            ("domain", [d.id for d in self.domains]),
            ("harm", [h.id for d in self.domains for h in d.harms]),
            ("sets file", list(self.sets)),
        ):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            if twice:
                raise ValueError(f"{what} `{twice[0]}` stands twice; keep one")
        return self


class Prompt(Frozen):
    """One written prompt."""

    text: Text
    detail: Detail
    """Detail about the hazard that the prompt asks for, 0 awareness to 4 executable."""
    evidence: Evidence = "none"
    """Evidence of ill intent in the text."""
    attributes: dict[Slug, Text] = Field(default_factory=dict[str, str])
    """Axis values that stand in the text."""


class Prompts(Frozen):
    """The prompts of a set by intent; several under one intent are paraphrases."""

    benign: tuple[Prompt, ...] = Field(min_length=1)
    dual_use: tuple[Prompt, ...] = Field(min_length=2)
    malicious: tuple[Prompt, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _intents_fit_their_evidence(self) -> Self:
        for prompt in (*self.benign, *self.dual_use):
            if prompt.evidence == "stated":
                raise ValueError(
                    "only a malicious prompt can state ill intent; move it or lower `evidence`"
                )
        for prompt in self.malicious:
            if prompt.evidence == "none":
                raise ValueError(
                    "a malicious prompt needs `evidence: stated` or `evidence: contextual`"
                )
        return self

    def by_intent(self) -> Iterator[tuple[Intent, int, Prompt]]:
        """Intent, paraphrase index and prompt, in a fixed order."""
        pairs: tuple[tuple[Intent, tuple[Prompt, ...]], ...] = (
            ("benign", self.benign),
            ("dual_use", self.dual_use),
            ("malicious", self.malicious),
        )
        for intent, prompts in pairs:
            for index, prompt in enumerate(prompts):
                yield intent, index, prompt


class SafeTaskFile(Frozen):
    """A safe neighbouring task."""

    offer: Text
    steps: tuple[Text, ...] = Field(min_length=1)


class KnowledgeFile(Frozen):
    """What a good answer may draw on."""

    answer: tuple[Text, ...] = Field(min_length=1)
    """Sentences that answer the benign prompt in full."""
    concepts: tuple[Text, ...] = Field(min_length=3)
    """What may be said to anyone at concept level."""
    safe_task: SafeTaskFile
    redirections: tuple[Text, ...] = Field(min_length=1)
    left_out: Text
    """Completes `I am leaving out …`."""
    decline: Text
    """Completes `I can't help with …`."""

    def value(self) -> Knowledge:
        """The same as a plain value."""
        task = SafeTask(self.safe_task.offer, self.safe_task.steps)
        return Knowledge(
            self.answer, self.concepts, task, self.redirections, self.left_out, self.decline
        )


class Goal(Frozen):
    """One underlying purpose within a harm and a task type, with its prompts and knowledge."""

    name: Slug
    harm: HarmId
    task: Task
    purpose: Text
    benign_use: Text
    misuse_risk: Text
    prompts: Prompts
    knowledge: KnowledgeFile

    @property
    def goal_id(self) -> str:
        """Declared by name: `harm/name`."""
        return f"{self.harm}/{self.name}"


class GoalsFile(Frozen):
    """What a sets file holds."""

    goals: tuple[Goal, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Taxonomy:
    """A checked tree, and the folder that it came from."""

    file: TaxonomyFile
    path: Path

    @cached_property
    def harms(self) -> Mapping[str, Harm]:
        """Leaves by id, in the order of the file."""
        return {h.id: h for d in self.file.domains for h in d.harms}

    def goals(self) -> Iterator[Goal]:
        """Every goal, one file in memory at a time.

        Raises:
            ConfigError: a file that does not fit, a goal on an unknown or red-line leaf, a name twice.
        """
        seen: dict[str, str] = {}
        for relative in self.file.sets:
            try:
                path = assets.inside(self.path.parent, relative)
            except UserError as e:
                raise ConfigError(f"{self.path}: sets: {e}") from e
            for goal in yamlfile.load(path, GoalsFile).goals:
                self._check(goal, path, seen)
                yield goal

    def _check(self, goal: Goal, path: Path, seen: dict[str, str]) -> None:
        harm = self.harms.get(goal.harm)
        where = f"{path}: goal `{goal.name}`"
        if harm is None:
            hint = yamlfile.did_you_mean(goal.harm, list(self.harms))
            raise ConfigError(
                f"{where}: no harm `{goal.harm}` in taxonomy `{self.file.taxonomy}`{hint}"
            )
        if harm.red_line:
            raise ConfigError(f"{where}: harm `{goal.harm}` is a red line; it takes no prompts")
        if goal.goal_id in seen:
            raise ConfigError(
                f"{where} stands twice under `{goal.harm}` (first in {seen[goal.goal_id]})"
            )
        seen[goal.goal_id] = str(path)


def load(name: str) -> Taxonomy:
    """Read a taxonomy by name or path; goals are read later.

    Raises:
        AssetNotFound: no such taxonomy.
        ConfigError: with file, line and column of each mistake.
    """
    path = assets.find("taxonomies", name)
    return Taxonomy(yamlfile.load(path, TaxonomyFile), path)
