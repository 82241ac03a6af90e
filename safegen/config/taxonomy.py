"""The tree of harms and the written goals: YAML → Taxonomy, checked.

Goals are read one file at a time, so that memory does not grow with their number.
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
from safegen.core.suggestions import find_repeated, suggest_names
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
# A constant and no setting: no taxonomy may give prompts to these leaves.
RED_LINE_IDS = {"ailuminate": {"cse"}, "llama_guard": {"S4"}}


class Crosswalk(FrozenModel):
    """Ids of a leaf in external schemes; `none` if a scheme has no equivalent."""

    ailuminate: tuple[str, ...] | Literal["none"]
    """MLCommons AILuminate v1.x hazard ids."""
    llama_guard: tuple[str, ...] | Literal["none"]
    """Llama Guard 3 and 4 category ids."""

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        for scheme, known in SCHEMES.items():
            ids = getattr(self, scheme)
            for unknown in [] if ids == "none" else [i for i in ids if i not in known]:
                hint = suggest_names(unknown, sorted(known))
                raise ValueError(f"`{unknown}` is not an id of {scheme}{hint}")
        return self

    def is_red_line(self) -> bool:
        """Return True if any id means sexual exploitation of children."""
        return any(set(getattr(self, scheme)) & ids for scheme, ids in RED_LINE_IDS.items())


class Harm(FrozenModel):
    """One leaf."""

    id: HarmId
    name: Text
    definition: Text
    tier: Tier
    """Policy tier of a full answer about the hazard."""
    severity: Severity
    """Worst realistic outcome."""
    red_line: bool = False
    """True for a leaf that policy specs may name but that never gets prompts."""
    not_under: Annotated[tuple[Profile, ...], AfterValidator(require_no_repeats)] = ()
    """Deployment profiles under which the leaf gets no prompts."""
    crosswalk: Crosswalk

    @model_validator(mode="after")
    def _check_red_line(self) -> Self:
        if self.crosswalk.is_red_line() and not self.red_line:
            raise ValueError(
                f"harm `{self.id}` maps to sexual exploitation of children; set `red_line: true`"
            )
        # Specs decide by tier, so another tier would apply a looser rule to a red line.
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
            # Selections such as `cyber.*` find a domain by the start of the id.
            if not harm.id.startswith(self.id + "."):
                raise ValueError(
                    f"harm `{harm.id}` is listed under domain `{self.id}`; name it `{self.id}.…`"
                )
        return self


class TaxonomyFile(FrozenModel):
    """A taxonomy file, `taxonomy.yaml`."""

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
            if (repeated := find_repeated(ids)) is not None:
                raise ValueError(f"{kind} `{repeated}` appears twice; keep one")
        return self


@dataclass(frozen=True)
class Taxonomy:
    """A validated taxonomy and the path of its file."""

    file: TaxonomyFile
    path: Path

    @cached_property
    def harms(self) -> Mapping[str, Harm]:
        """Leaves by id, in the order of the file."""
        return {h.id: h for d in self.file.domains for h in d.harms}

    def goals(self) -> Iterator[Goal]:
        """Iterate over all goals, with one file in memory at a time.

        Raises:
            ConfigError: an invalid file, a goal on an unknown or red-line leaf, or a repeated name.
        """
        seen: dict[str, str] = {}
        for relative in self.file.sets:
            path = self._resolve_inside(relative, "sets")
            for goal in yaml_source.load(path, GoalsFile).goals:
                self._check_goal(goal, path, seen)
                yield goal

    def dialogues(self) -> Mapping[str, tuple[Dialogue, ...]]:
        """Load dialogues by goal, in the order of the files. The planner checks that the goals exist.

        Raises:
            ConfigError: an invalid file.
        """
        # All files at once, because any of them may hold a dialogue of a goal.
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
        """Check early that every file of the taxonomy exists.

        Raises:
            ConfigError: a file is missing, or outside the taxonomy's folder.
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
        prefix = f"{path}: goal `{goal.name}`"
        if harm is None:
            hint = suggest_names(goal.harm, list(self.harms))
            raise ConfigError(
                f"{prefix}: no harm `{goal.harm}` in taxonomy `{self.file.taxonomy}`{hint}"
            )
        if harm.red_line:
            raise ConfigError(f"{prefix}: harm `{goal.harm}` is a red line; it takes no prompts")
        if goal.goal_id in seen:
            raise ConfigError(
                f"{prefix} appears twice under `{goal.harm}` (first in {seen[goal.goal_id]})"
            )
        seen[goal.goal_id] = str(path)


def load_taxonomy(name: str) -> Taxonomy:
    """Load a taxonomy by name or path; its goals are read later.

    Raises:
        AssetNotFound: no such taxonomy.
        ConfigError: a mistake in the file; the message has file, line and column of each.
    """
    path = resources.find_file("taxonomies", name)
    tree = Taxonomy(yaml_source.load(path, TaxonomyFile), path)
    # Here, so that a missing file fails before the first request.
    tree.check_files()
    return tree
