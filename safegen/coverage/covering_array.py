"""Covering arrays with constraints: every possible combination of t values appears in a row.

Own code because no maintained library fits (measured 2026-11): covertable 3.2 has one strength, no required rows and
a time limit, and its arrays are larger than those of allpairspy 2.5; allpairspy has no strengths and loses pairs
under constraints; testflows has no constraints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite

from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest_names
from safegen.coverage._search import search_array
from safegen.coverage._space import FactorSpace, Reach, iter_set_bits

AxisRow = Mapping[str, str]
MAX_LISTED = 3
"""Maximum number of constraints in a message."""


@dataclass(frozen=True, slots=True)
class Void:
    """An excluded combination: one or more values for each factor that it names."""

    when: Mapping[str, Sequence[str]]
    reason: str = ""

    def __str__(self) -> str:
        parts = [f"{f} {'/'.join(values)}" for f, values in self.when.items()]
        return " with ".join(parts) + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class FactorGroup:
    """Factors with their own strength."""

    factors: tuple[str, ...]
    t: int


@dataclass(frozen=True, slots=True)
class CoverageModel:
    """Requirements of a covering array.

    `t` is the strength over all factors, `groups` adds higher ones. `seeds` are complete or partial
    rows that must be included. `weights` prefer values of a factor if coverage does not depend on
    the choice (default 1 each).
    """

    factors: Mapping[str, Sequence[str]]
    t: int = 2
    groups: Sequence[FactorGroup] = ()
    void: Sequence[Void] = ()
    seeds: Sequence[AxisRow] = ()
    weights: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )


class BitCode:
    """Conversion of a model and its rows to bit masks, and back."""

    def __init__(self, model: CoverageModel) -> None:
        _check_model(model)
        self.model = model
        self.names = list(model.factors)
        self.values = [(f, v) for f, values in model.factors.items() for v in values]
        self.bit = {pair: 1 << b for b, pair in enumerate(self.values)}
        sizes = [len(values) for values in model.factors.values()]
        self.space = FactorSpace(sizes, [m for void in model.void for m in self._void_masks(void)])
        # A model of one factor has no pairs.
        everything = FactorGroup(tuple(self.names), min(model.t, len(self.names)))
        self.reaches = [self._to_reach(g) for g in (everything, *model.groups)]

    def _void_masks(self, void: Void) -> Iterator[int]:
        choices = [[self.bit[f, v] for v in values] for f, values in void.when.items()]
        yield from (sum(choice) for choice in product(*choices))

    def _to_reach(self, group: FactorGroup) -> Reach:
        return Reach(tuple(sorted(self.names.index(f) for f in group.factors)), group.t)

    def to_mask(self, row: AxisRow) -> int:
        """Convert a row to a mask; missing factors and unknown values add nothing."""
        return sum(self.bit.get((f, row[f]), 0) for f in self.names if f in row)

    def to_row(self, mask: int) -> dict[str, str]:
        """Convert a mask to a row."""
        return dict(self.values[b] for b in iter_set_bits(mask))


def build_array(model: CoverageModel, *, seed: int = 0) -> list[dict[str, str]]:
    """Build rows that satisfy every constraint and cover every possible combination.

    The seeds of the model come first; partial ones are completed. The same model and `seed` give the
    same rows on every platform.

    Raises:
        ConfigError: an unknown name, constraints that exclude every row, or a seed that breaks one.
    """
    code = BitCode(model)
    if not code.space.is_possible(0):
        raise ConfigError(
            f"the constraints exclude every row: {_describe_clash(model, {})}; remove one"
        )
    musts = required_rows(code)
    weights = [float(model.weights.get(f, {}).get(v, 1)) for f, v in code.values]
    rows = search_array(code.space, code.reaches, weights=weights, musts=musts, seed=seed)
    return [code.to_row(mask) for mask in rows]


def required_rows(code: BitCode) -> list[int]:
    """Convert the model's seeds to masks.

    Raises:
        ConfigError: an unknown name, or a seed that breaks a constraint.
    """
    return [_required_mask(code, row) for row in code.model.seeds]


def _required_mask(code: BitCode, row: AxisRow) -> int:
    for factor, value in row.items():
        _require_known(factor, code.names, kind="row: no axis")
        _require_known(value, code.model.factors[factor], kind=f"row: `{factor}` has no value")
    mask = code.to_mask(row)
    if not code.space.is_possible(mask):
        text = ", ".join(f"{f}={v}" for f, v in row.items())
        raise ConfigError(
            f"the row {text} breaks a constraint: {_describe_clash(code.model, row)}; change or remove the row"
        )
    return mask


def _describe_clash(model: CoverageModel, row: AxisRow) -> str:
    # A minimal contradiction: drop each constraint without which the row is still impossible.
    core = list(model.void)
    for void in model.void:
        rest = [v for v in core if v is not void]
        code = BitCode(CoverageModel(model.factors, void=rest))
        if not code.space.is_possible(code.to_mask(row)):
            core = rest
    shown = "; ".join(str(void) for void in core[:MAX_LISTED])
    return shown + (f"; and {len(core) - MAX_LISTED} more" if len(core) > MAX_LISTED else "")


def _check_model(model: CoverageModel) -> None:
    if not model.factors:
        raise ConfigError("a covering model needs at least one axis")
    for name, values in model.factors.items():
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"axis `{name}` needs at least one value, each once")
    if model.t < 1:
        raise ConfigError(f"strength `{model.t}` is below 1")
    for group in model.groups:
        _check_group(group, list(model.factors))
    for void in model.void:
        if not void.when:
            raise ConfigError(
                "a constraint names no axis, which excludes every row; name two or more"
            )
        for name, values in void.when.items():
            _require_known(name, list(model.factors), kind="void: no axis")
            for value in values:
                _require_known(value, model.factors[name], kind=f"void: `{name}` has no value")
    _check_weights(model)


def _check_group(group: FactorGroup, names: Sequence[str]) -> None:
    for name in group.factors:
        _require_known(name, names, kind="groups: no axis")
    if not 1 <= group.t <= len(set(group.factors)) == len(group.factors):
        raise ConfigError(
            f"strength `{group.t}` of the group {', '.join(group.factors)} must be between 1"
            " and the number of its factors, each named once"
        )


def _check_weights(model: CoverageModel) -> None:
    for name, weights in model.weights.items():
        _require_known(name, list(model.factors), kind="weights: no axis")
        for value, weight in weights.items():
            _require_known(value, model.factors[name], kind=f"weights: `{name}` has no value")
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"weights: `{name}` `{value}` is {weight}; it must be 0 or more")


def _require_known(name: str, known: Sequence[str], *, kind: str) -> None:
    if name not in known:
        raise ConfigError(f"{kind} `{name[:60]}`{suggest_names(name, known)}")
