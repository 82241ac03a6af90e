"""Covering arrays with constraints: every possible combination of t values stands in some row.

Written here, since no kept library will do (measured 2026-11): covertable 3.2 anneals by the clock, for one strength
and without its preset rows, and is larger than allpairspy 2.5, which knows no strengths and loses pairs under
constraints; testflows has no constraints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from math import isfinite

from safegen.core.errors import ConfigError
from safegen.core.yaml_source import did_you_mean
from safegen.coverage._search import search
from safegen.coverage._space import Reach, Space, bits_of

Row = Mapping[str, str]
LISTED = 3
"""Constraints that a message names."""


@dataclass(frozen=True, slots=True)
class Void:
    """A combination that makes no sense: one value, or several, for each factor it names."""

    when: Mapping[str, Sequence[str]]
    why: str = ""

    def __str__(self) -> str:
        parts = [f"{f} {'/'.join(values)}" for f, values in self.when.items()]
        return " with ".join(parts) + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, slots=True)
class Group:
    """Factors that are to be covered at a strength of their own."""

    factors: tuple[str, ...]
    t: int


@dataclass(frozen=True, slots=True)
class Model:
    """What an array is to cover.

    `t` is the strength over all factors, `groups` adds higher ones. `seeds` are rows that must be
    there, whole or in part. `weights` say which values of a factor are preferred where nothing
    depends on it (default 1 each).
    """

    factors: Mapping[str, Sequence[str]]
    t: int = 2
    groups: Sequence[Group] = ()
    void: Sequence[Void] = ()
    seeds: Sequence[Row] = ()
    weights: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )


class Code:
    """A model in bits, and back."""

    def __init__(self, model: Model) -> None:
        _check(model)
        self.model = model
        self.names = list(model.factors)
        self.values = [(f, v) for f, values in model.factors.items() for v in values]
        self.bit = {pair: 1 << b for b, pair in enumerate(self.values)}
        sizes = [len(values) for values in model.factors.values()]
        self.space = Space(sizes, [m for void in model.void for m in self._masks(void)])
        everything = Group(tuple(self.names), min(model.t, len(self.names)))
        self.reaches = [self._reach(g) for g in (everything, *model.groups)]

    def _masks(self, void: Void) -> Iterator[int]:
        """One mask for each combination that a constraint stands for."""
        choices = [[self.bit[f, v] for v in values] for f, values in void.when.items()]
        yield from (sum(choice) for choice in product(*choices))

    def _reach(self, group: Group) -> Reach:
        return Reach(tuple(sorted(self.names.index(f) for f in group.factors)), group.t)

    def mask(self, row: Row) -> int:
        """What the model knows of a row; an absent factor or another value adds nothing."""
        return sum(self.bit.get((f, row[f]), 0) for f in self.names if f in row)

    def row(self, mask: int) -> dict[str, str]:
        """The names of a mask's values."""
        return dict(self.values[b] for b in bits_of(mask))


def array(model: Model, *, seed: int = 0) -> list[dict[str, str]]:
    """Rows that satisfy every constraint and cover every combination that some full row contains.

    The seeds of the model come first, completed where they are partial. The same model and number
    give the same rows on every platform.

    Raises:
        ConfigError: an unknown name, constraints that leave no row, or a seed that breaks one.
    """
    code = Code(model)
    if not code.space.possible(0):
        raise ConfigError(f"the constraints leave no row at all: {_clash(model, {})}; drop one")
    musts = musts_of(code)
    weights = [float(model.weights.get(f, {}).get(v, 1)) for f, v in code.values]
    rows = search(code.space, code.reaches, weights=weights, musts=musts, seed=seed)
    return [code.row(mask) for mask in rows]


def musts_of(code: Code) -> list[int]:
    """The model's seeds as masks.

    Raises:
        ConfigError: an unknown name, or a seed that breaks a constraint.
    """
    return [_must(code, row) for row in code.model.seeds]


def lower_bound(model: Model) -> int:
    """No array has fewer rows.

    Without constraints it is the product of the t largest arities, taken over all groups. With them,
    rows are told apart by the value of one factor: those of a value hold at least the combinations
    of some t factors that are possible with no other value; the best factor counts.
    """
    code = Code(model)
    space = code.space
    plain = space.bound_on_rows(code.reaches)
    return max(
        [plain, *(_split_bound(code, f) for f, own in enumerate(space.own) if own & space.bound)]
    )


def _split_bound(code: Code, factor: int) -> int:
    """Rows that are needed if the values of one factor are looked at apart."""
    space = code.space
    values = [1 << b for b in bits_of(space.own[factor])]
    most = dict.fromkeys(values, 0)
    for reach in code.reaches:
        for part in combinations(reach.factors, reach.t):
            forced = dict.fromkeys(values, 0)
            for mask in space.tuples(Reach(part, reach.t)):
                with_ = [v for v in values if mask & v or not mask & space.own[factor]]
                able = [v for v in with_ if space.possible(mask | v)]
                if len(able) == 1:
                    forced[able[0]] += 1
            most = {v: max(most[v], forced[v]) for v in values}
    return sum(most.values())


def _must(code: Code, row: Row) -> int:
    for factor, value in row.items():
        _known(factor, code.names, what="row: no axis")
        _known(value, code.model.factors[factor], what=f"row: `{factor}` has no value")
    mask = code.mask(row)
    if not code.space.possible(mask):
        told = ", ".join(f"{f}={v}" for f, v in row.items())
        raise ConfigError(
            f"the row {told} breaks a constraint: {_clash(code.model, row)}; change the row or drop it"
        )
    return mask


def _clash(model: Model, row: Row) -> str:
    """Constraints none of which can be left out of the contradiction, as a message names them."""
    core = list(model.void)
    for void in model.void:
        rest = [v for v in core if v is not void]
        code = Code(Model(model.factors, void=rest))
        if not code.space.possible(code.mask(row)):
            core = rest
    shown = "; ".join(str(void) for void in core[:LISTED])
    return shown + (f"; and {len(core) - LISTED} more" if len(core) > LISTED else "")


def _check(model: Model) -> None:
    """Names that exist, numbers in bounds."""
    if not model.factors:
        raise ConfigError("a covering model needs one axis at least")
    for name, values in model.factors.items():
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"axis `{name}` needs one value at least, and none twice")
    if model.t < 1:
        raise ConfigError(f"strength `{model.t}` is below 1")
    for group in model.groups:
        _check_group(group, list(model.factors))
    for void in model.void:
        if not void.when:
            raise ConfigError("a constraint names no axis; it would forbid everything")
        for name, values in void.when.items():
            _known(name, list(model.factors), what="void: no axis")
            for value in values:
                _known(value, model.factors[name], what=f"void: `{name}` has no value")
    _check_weights(model)


def _check_group(group: Group, names: Sequence[str]) -> None:
    for name in group.factors:
        _known(name, names, what="groups: no axis")
    if not 1 <= group.t <= len(set(group.factors)) == len(group.factors):
        raise ConfigError(
            f"strength `{group.t}` of the group {', '.join(group.factors)} must be between 1"
            " and the number of its factors, each named once"
        )


def _check_weights(model: Model) -> None:
    for name, weights in model.weights.items():
        _known(name, list(model.factors), what="weights: no axis")
        for value, weight in weights.items():
            _known(value, model.factors[name], what=f"weights: `{name}` has no value")
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"weights: `{name}` `{value}` is {weight}; it must be 0 or more")


def _known(name: str, known: Sequence[str], *, what: str) -> None:
    if name not in known:
        raise ConfigError(f"{what} `{name[:60]}`{did_you_mean(name, known)}")
