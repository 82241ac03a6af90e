"""Where the parts of a spec stand in its files, and findings that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safegen.core import yaml_source
from safegen.core.yaml_source import Loc
from safegen.policy.schema import Spec
from safegen.policy.spec import Policy


class Place(NamedTuple):
    """A place in a file; line and column from 1."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """What is wrong, at a key of one file of the chain of inheritance."""

    kind: str
    loc: Loc
    message: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a spec, by kind and place."""

    kind: str
    message: str
    policy: str
    place: Place | None
    warning: bool = False
    """It advises, and `policy check` does not fail for it."""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def placed(policy: Policy, problems: list[Problem], *, warning: bool = False) -> list[Finding]:
    """The problems of a policy with their places; each file is read once."""
    trees = {depth: _tree(policy, depth) for depth in {p.depth for p in problems}}
    found: list[Finding] = []
    for kind, loc, message, depth in problems:
        line, column = yaml_source.mark_at(trees[depth], loc)
        place = Place(policy.chain[depth].path, line, column)
        found.append(Finding(kind, message, policy.spec.policy, place, warning))
    return sorted(found, key=lambda f: f.place or Place(Path(), 0, 0))


def place_of(policy: Policy, id_: str) -> Place | None:
    """Where a rule, clause or precedent is written; None where its file is not at hand."""
    home = home_of(policy, id_)
    if home is None:
        return None
    depth, loc = home
    if not policy.chain[depth].at_hand:
        return None
    mark = yaml_source.mark_at(_tree(policy, depth), loc)
    return Place(policy.chain[depth].path, *mark)


def home_of(policy: Policy, id_: str) -> tuple[int, Loc] | None:
    """The file of the chain and the key at which an id is given."""
    for depth, source in enumerate(policy.chain):
        for found, loc in _named(source.spec):
            if found == id_:
                return depth, loc
    return None


def _named(spec: Spec) -> Iterator[tuple[str, Loc]]:
    for index, rule in enumerate(spec.rules):
        for profile, part in zip((*rule.profiles, None), rule.expanded(), strict=True):
            loc: Loc = ("rules", index, "id")
            yield part.id, loc if profile is None else ("rules", index, "profiles", profile)
    for key in ("may", "must", "must_not", "redirections", "precedents"):
        for index, clause in enumerate(getattr(spec, key)):
            yield clause.id, (key, index, "id")


def _tree(policy: Policy, depth: int) -> yaml_source.Tree:
    path = policy.chain[depth].path
    return yaml_source.compose(yaml_source.read_text(path), shown=str(path))
