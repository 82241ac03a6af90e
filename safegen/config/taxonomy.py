"""The tree of harms and the written goals: YAML → Taxonomy, checked.

Goals are read one file at a time, so a large collection is never held whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from safegen.config.fields import Detail, FrozenModel, HarmId, Slug, Text, require_no_repeats
from safegen.config.goals import Dialogue, DialoguesFile, Goal, GoalsFile, Prompt
from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError, UserError
from safegen.core.types import Profile, Severity, Tier

__all__ = [
    "Detail",
    "Dialogue",
    "Domain",
    "FrozenModel",
    "Goal",
    "Harm",
    "Prompt",
    "Slug",
    "Taxonomy",
    "Text",
    "load_taxonomy",
]

SCHEMES: dict[str, frozenset[str]] = {
    "ailuminate": frozenset(
        "vcr ncr src cse dfm spc spc_ele spc_fin spc_hlt spc_lgl prv ipv iwp hte ssh sxc sxc_prn".split()
    ),
    "llama_guard": frozenset(f"S{n}" for n in range(1, 15)),
}
"""Pinned ids: MLCommons AILuminate v1.x (12 hazards and their parts), Llama Guard 3 and 4 (S1 to S14)."""
RED_LINE_IDS = {"ailuminate": {"cse"}, "llama_guard": {"S4"}}


class Crosswalk(FrozenModel):
    """Ids of a leaf in external schemes; `none` where a scheme has no peer."""

    ailuminate: tuple[str, ...] | Literal["none"]
    """MLCommons AILuminate v1.x hazard ids."""
    llama_guard: tuple[str, ...] | Literal["none"]
    """Llama Guard 3 and 4 category ids."""

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        for scheme, known in SCHEMES.items():
            ids = getattr(self, scheme)
            for wrong in [] if ids == "none" else [i for i in ids if i not in known]:
                hint = yaml_source.suggest_names(wrong, sorted(known))
                raise ValueError(f"`{wrong}` is not an id of {scheme}{hint}")
        return self

    def is_red_line(self) -> bool:
        """Whether any id stands for sexual exploitation of children."""
        return any(set(getattr(self, scheme)) & ids for scheme, ids in RED_LINE_IDS.items())


class Harm(FrozenModel):
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
    not_under: Annotated[tuple[Profile, ...], AfterValidator(require_no_repeats)] = ()
    """Deployment profiles under which nothing of the leaf is ever asked."""
    crosswalk: Crosswalk

    @model_validator(mode="after")
    def _check_red_line(self) -> Self:
        if self.crosswalk.is_red_line() and not self.red_line:
            raise ValueError(
                f"harm `{self.id}` maps to sexual exploitation of children; set `red_line: true`"
            )
        if self.red_line and self.tier != "prohibited":
            raise ValueError(f"red-line harm `{self.id}` needs `tier: prohibited`")
        return self


class Domain(FrozenModel):
    """A branch of the tree."""

    id: Slug
    name: Text
    definition: Text
    harms: tuple[Harm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_leaf_domains(self) -> Self:
        for harm in self.harms:
            if not harm.id.startswith(self.id + "."):
                raise ValueError(
                    f"harm `{harm.id}` stands under domain `{self.id}`; name it `{self.id}.…`"
                )
        return self


class TaxonomyFile(FrozenModel):
    """What `taxonomy.yaml` holds."""

    taxonomy: Slug
    version: Text
    title: Text
    licence: Text
    language: Text
    """BCP-47 tag of the written prompts."""
    sets: tuple[str, ...] = ()
    """Files of goals, relative to this file."""
    dialogues: tuple[str, ...] = ()
    """Files of dialogues about these goals, relative to this file."""
    domains: tuple[Domain, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique_ids(self) -> Self:
        for kind, ids in (
            ("domain", [d.id for d in self.domains]),
            ("harm", [h.id for d in self.domains for h in d.harms]),
            ("sets file", list(self.sets)),
        ):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            if twice:
                raise ValueError(f"{kind} `{twice[0]}` stands twice; keep one")
        return self


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
            path = self._resolve_inside(relative, "sets")
            for goal in yaml_source.load(path, GoalsFile).goals:
                self._check_goal(goal, path, seen)
                yield goal

    def dialogues(self) -> Mapping[str, tuple[Dialogue, ...]]:
        """Dialogues by goal, in the order of the files; whether the goal exists is checked by who plans.

        Raises:
            ConfigError: a file that does not fit.
        """
        dialogues_by_goal: dict[str, tuple[Dialogue, ...]] = {}
        for relative in self.file.dialogues:
            path = self._resolve_inside(relative, "dialogues")
            for dialogue in yaml_source.load(path, DialoguesFile).dialogues:
                dialogues_by_goal[dialogue.goal] = (
                    *dialogues_by_goal.get(dialogue.goal, ()),
                    dialogue,
                )
        return dialogues_by_goal

    def check_files(self) -> None:
        """Find every file that the taxonomy names, before anything is made from it.

        Raises:
            ConfigError: one is missing, or outside of the taxonomy's folder.
        """
        for key, names in (("sets", self.file.sets), ("dialogues", self.file.dialogues)):
            for relative in names:
                self._resolve_inside(relative, key)

    def _resolve_inside(self, relative: str, key: str) -> Path:
        try:
            return resources.resolve_inside(self.path.parent, relative)
        except UserError as e:
            raise ConfigError(f"{self.path}: {key}: {e}") from e

    def _check_goal(self, goal: Goal, path: Path, seen: dict[str, str]) -> None:
        harm = self.harms.get(goal.harm)
        where = f"{path}: goal `{goal.name}`"
        if harm is None:
            hint = yaml_source.suggest_names(goal.harm, list(self.harms))
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


def load_taxonomy(name: str) -> Taxonomy:
    """Read a taxonomy by name or path; goals are read later.

    Raises:
        AssetNotFound: no such taxonomy.
        ConfigError: with file, line and column of each mistake.
    """
    path = resources.find_file("taxonomies", name)
    tree = Taxonomy(yaml_source.load(path, TaxonomyFile), path)
    tree.check_files()
    return tree
