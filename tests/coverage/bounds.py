"""Lower bound on the rows of a covering array, an oracle for its size."""

from __future__ import annotations

from itertools import combinations

from safegen.coverage._space import FactorSpace, Reach, iter_set_bits
from safegen.coverage.covering_array import BitCode, CoverageModel


def lower_bound(model: CoverageModel) -> int:
    """Compute a lower bound on the number of rows.

    Without constraints it is the product of the t largest arities, over all groups. With constraints,
    rows are grouped by the value of one factor: the rows of a value contain at least the combinations
    of some t factors that are possible with no other value. The best factor counts.
    """
    code = BitCode(model)
    space = code.space
    constrained = [f for f, own in enumerate(space.own) if own & space.bound]
    return max([_plain_bound(code), *(_split_bound(code, factor) for factor in constrained)])


def _plain_bound(code: BitCode) -> int:
    return max(
        sum(map(code.space.is_possible, _tuples(code.space, part)))
        for reach in code.reaches
        for part in combinations(reach.factors, reach.t)
    )


def _tuples(space: FactorSpace, part: tuple[int, ...]) -> list[int]:
    return list(space.iter_tuples(Reach(part, len(part))))


def _split_bound(code: BitCode, factor: int) -> int:
    space = code.space
    values = [1 << b for b in iter_set_bits(space.own[factor])]
    most = dict.fromkeys(values, 0)
    for reach in code.reaches:
        for part in combinations(reach.factors, reach.t):
            forced = dict.fromkeys(values, 0)
            for mask in _tuples(space, part):
                compatible = [v for v in values if mask & v or not mask & space.own[factor]]
                possible = [v for v in compatible if space.is_possible(mask | v)]
                if len(possible) == 1:
                    forced[possible[0]] += 1
            most = {v: max(most[v], forced[v]) for v in values}
    return sum(most.values())
