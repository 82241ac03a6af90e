"""Maps parts of a spec to lines and columns of its files, for findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safegen.core import yaml_source
from safegen.core.yaml_errors import KeyPath
from safegen.policy.schema import Spec
from safegen.policy.spec import Policy


class SourcePlace(NamedTuple):
    """A place in a file; line and column from 1."""

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class SpecPlace(NamedTuple):
    """A key of a spec or of one that it inherits."""

    depth: int
    """Index of the file in the chain of inheritance."""
    loc: KeyPath


NO_PLACE = SpecPlace(0, ())
"""The file of the spec itself."""


class SpecProblem(NamedTuple):
    """A fault at a key of one file; `depth` is its index in the chain of inheritance."""

    kind: str
    loc: KeyPath
    message: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class SpecFinding:
    """A fault of a spec with its kind and place."""

    kind: str
    message: str
    policy: str
    place: SourcePlace | None
    warning: bool = False
    """Advice; `policy check` does not fail because of it."""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def locate_problems(
    policy: Policy, problems: list[SpecProblem], *, warning: bool = False
) -> list[SpecFinding]:
    """Add the places to the problems of a policy; each file is read once."""
    trees = {depth: _load_tree(policy, depth) for depth in {p.depth for p in problems}}
    findings: list[SpecFinding] = []
    for kind, loc, message, depth in problems:
        line, column = yaml_source.find_mark(trees[depth], loc)
        place = SourcePlace(policy.chain[depth].path, line, column)
        findings.append(SpecFinding(kind, message, policy.spec.policy, place, warning))
    # In the order of the file, as an editor shows them.
    return sorted(findings, key=lambda f: f.place or SourcePlace(Path(), 0, 0))


def find_place(policy: Policy, id_: str) -> SourcePlace | None:
    """Find the place of a rule, clause or precedent; None if its file is not available."""
    home = find_home(policy, id_)
    if home is None:
        return None
    source = policy.chain[home.depth]
    if not source.is_spec_file:
        return None
    mark = yaml_source.find_mark(_load_tree(policy, home.depth), home.loc)
    return SourcePlace(source.path, *mark)


def find_home(policy: Policy, id_: str) -> SpecPlace | None:
    """Find the index in the chain of inheritance and the key of an id."""
    for depth, source in enumerate(policy.chain):
        for part_id, loc in _iter_named_parts(source.spec):
            if part_id == id_:
                return SpecPlace(depth, loc)
    return None


class _NamedPart(NamedTuple):
    id: str
    loc: KeyPath


def _iter_named_parts(spec: Spec) -> Iterator[_NamedPart]:
    for index, rule in enumerate(spec.rules):
        for profile, part in zip((*rule.profiles, None), rule.expand_profiles(), strict=True):
            loc: KeyPath = ("rules", index, "id")
            if profile is not None:
                loc = ("rules", index, "profiles", profile)
            yield _NamedPart(part.id, loc)
    for key in ("may", "must", "must_not", "redirections", "precedents"):
        for index, clause in enumerate(getattr(spec, key)):
            yield _NamedPart(clause.id, (key, index, "id"))


def _load_tree(policy: Policy, depth: int) -> yaml_source.YamlTree:
    path = policy.chain[depth].path
    return yaml_source.compose(yaml_source.read_text(path), shown=str(path))
