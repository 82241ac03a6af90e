"""Adopt an edited policy spec: recompute expectations and find the shards to run again.

No model is called. The cache answers every request that is still the same, so only rows with other
instructions or another expectation cost calls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from safegen.core.types import PlannedScenario
from safegen.pipeline.resolve import POLICY, ResolvedRecipe, SnapshotKey
from safegen.pipeline.snapshot import read_policies
from safegen.policy.decide import compute_scenario_expectation
from safegen.policy.diff import AffectedRows, find_affected
from safegen.policy.spec import policy_for
from safegen.store import plan
from safegen.store.run_folder import RunFolder

logger = logging.getLogger(__name__)


def adopt_policies(folder: RunFolder, inputs: ResolvedRecipe) -> AffectedRows:
    """Recompute the expectations of a run's plan and reset the shards with affected rows.

    Raises:
        ConfigError: no spec covers a planned leaf any more.
    """
    plans = plan.Plans(folder.plans)
    old, harms = read_policies(folder), inputs.tree.harms
    scenarios = (item for path in plans.paths for item in plan.iter_scenarios(path))
    rows = find_affected(scenarios, old=old, new=inputs.policies, harms=harms)
    affected = {row.scenario_id for row in rows.rows} | set(rows.orphans)
    # Shards before the plan: after a kill in between, the same command adopts the edit again.
    for shard in range(plans.shards):
        if any(item.scenario.scenario_id in affected for item in plans.read(shard)):
            folder.reset_shard(shard)
    # Rewritten even if no row is affected: expectations carry the version of their spec.
    for path in plans.paths:
        groups = range(plan.read_plan_size(path).shards)
        plan.write_plan(
            path,
            (
                list(_recompute_expectations(plan.read_shard(path, group), inputs))
                for group in groups
            ),
        )
    logger.warning(
        "a policy was edited: %d prompts to draft again, %d to judge again, %d unchanged",
        len(rows.to_draft),
        len(rows.to_judge),
        len(rows.to_relabel),
    )
    return rows


def _recompute_expectations(
    planned: Iterable[PlannedScenario], inputs: ResolvedRecipe
) -> Iterator[PlannedScenario]:
    for item in planned:
        scenario = item.scenario
        harm = inputs.tree.harms[scenario.harm]
        expectation = compute_scenario_expectation(
            policy_for(inputs.policies, harm), harm, scenario
        )
        yield replace(item, expectation=expectation)


def is_policy_only(differing: Sequence[SnapshotKey]) -> bool:
    """Return True if something differs from the snapshot and all of it is policy specs."""
    return bool(differing) and all(key.kind == POLICY for key in differing)
