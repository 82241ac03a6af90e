"""After an edited policy spec: which rows of a run are drafted again, and the plan as the new spec has it.

Nothing is asked here. The plan gets the new expectations and the shards that hold rows of the edited
spec are done again; the journal answers for every request that is still the same, so that only rows
whose instructions or expectation changed cost anything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from safegen.core.types import PlannedScenario
from safegen.pipeline.resolve import POLICY, ResolvedRecipe, SnapshotKey
from safegen.pipeline.snapshot import read_policies
from safegen.policy.decide import expect_of
from safegen.policy.diff import AffectedRows, find_affected
from safegen.policy.spec import policy_for
from safegen.store import plan
from safegen.store.run_folder import RunFolder

logger = logging.getLogger("safegen")


def adopt_policies(folder: RunFolder, inputs: ResolvedRecipe) -> AffectedRows:
    """Bring a run under its edited specs: expectations anew, and shards that hold their rows to be done again.

    Shards go first and the plan is rewritten after them, so that a kill in between loses nothing.

    Raises:
        ConfigError: a planned leaf that no spec covers any more.
    """
    plans = plan.Plans(folder.plans)
    old, harms = read_policies(folder), inputs.tree.harms
    everything = (item for path in plans.paths for item in plan.iter_scenarios(path))
    rows = find_affected(everything, old=old, new=inputs.policies, harms=harms)
    touched = {row.scenario_id for row in rows.rows} | set(rows.orphans)
    for shard in range(plans.shards):
        if any(item.scenario.scenario_id in touched for item in plans.read(shard)):
            folder.reset_shard(shard)
    for path in plans.paths:
        groups = range(plan.plan_size(path)[0])
        plan.write_plan(
            path,
            (
                list(_recompute_expectations(plan.read_shard(path, group), inputs))
                for group in groups
            ),
        )
    logger.warning(
        "a policy was edited: %d prompts to draft again, %d to judge again, %d as they were",
        len(rows.to_draft),
        len(rows.to_judge),
        len(rows.to_relabel),
    )
    return rows


def _recompute_expectations(
    planned: Iterable[PlannedScenario], inputs: ResolvedRecipe
) -> Iterable[PlannedScenario]:
    for item in planned:
        scenario = item.scenario
        harm = inputs.tree.harms[scenario.harm]
        expectation = expect_of(policy_for(inputs.policies, harm), harm, scenario)
        yield replace(item, expectation=expectation)


def is_policy_only(differing: Sequence[SnapshotKey]) -> bool:
    """Whether nothing but policy specs differs from what began a run."""
    return bool(differing) and all(key.kind == POLICY for key in differing)
