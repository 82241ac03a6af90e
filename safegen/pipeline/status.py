"""The state of a run folder as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safegen.core.errors import StoreDamaged
from safegen.core.types import DropReason, Outcome
from safegen.dataset.curate import count_rejections, read_effects
from safegen.dataset.dropped import count_losses
from safegen.dataset.effect_stats import EffectStats, effect_to_json
from safegen.dataset.judge_results import jury_to_json
from safegen.dataset.jury_stats import JuryStats, read_jury_stats
from safegen.dataset.run_stats import (
    REJECTION_AXES,
    count_prompts,
    count_rows,
    list_refusals,
    read_plan_rows,
)
from safegen.pipeline.api import Run, check_run_files, read_import_report, read_usage
from safegen.pipeline.recut import read_recut
from safegen.store import plan
from safegen.store.json_files import read_json
from safegen.store.run_folder import check_manifest_format


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Progress, losses and spending of a run."""

    recipe: str
    version: str
    output: str
    planned: bool
    rounds: int
    prompts: int
    """Distinct prompts; one that a top-up round drafts again counts once."""
    drafts: int
    """Drafts of all rounds, without revisions."""
    shards: int
    shards_done: int
    shards_drafted: int
    """Shards with drafts that are not validated yet."""
    failed_requests: Mapping[Outcome, int]
    failure_messages: Mapping[Outcome, str]
    """The most frequent message of the failed requests, by outcome."""
    dropped: Mapping[DropReason, int]
    accounting: Mapping[str, object]
    """Requests, tokens and seconds over all sessions."""
    dataset: bool
    """True if a dataset was built."""
    rejected_by: Mapping[str, Mapping[str, Mapping[str, int]]]
    """Drafts that were not accepted by axis (leaf, mode, language, teacher), reason and value."""
    refusals: list[dict[str, str | int]]
    """Drafts that a provider withheld: teacher, outcome, leaf and number."""
    jury: JuryStats | None = None
    """Answers of the panel so far; None without a panel."""
    judges: Mapping[str, object] | None = None
    """The same as JSON, with dropped jurors and drafts that wait for a person; None before the first."""
    effect: EffectStats | None = None
    """Policy effect by leaf so far; None if it is not measured."""
    imported: Mapping[str, object] = field(default_factory=dict[str, object])
    """Counts of a user's prompt file; empty without one, or before its rows are planned."""

    def to_json(self) -> dict[str, object]:
        """Convert to a JSON object."""
        payload: dict[str, object] = asdict(self)
        # Keys of its counts are tuples, which JSON has not.
        del payload["jury"], payload["effect"], payload["imported"]
        if self.imported:
            payload |= {"unlabelled": self.imported["unlabelled"], "imported": dict(self.imported)}
        payload["judges"] = self.judges
        payload["policy_effect"] = effect_to_json(self.effect) if self.effect else None
        return payload


def read_status(run: Run) -> RunStatus:
    """Read how far a run is; nothing is changed.

    Raises:
        FormatMismatch: the dataset has the format of another version.
        StoreDamaged: a file of the run cannot be read.
    """
    read_manifest(run.output)
    check_run_files(run)
    plans, losses = plan.Plans(run.folder.plans), count_losses(run.folder)
    plan_rows = read_plan_rows(plans)
    recut = read_recut(run.folder, run.recipe)
    recutter = recut.recutter if recut else None
    rejections = count_rejections(run.folder, recut=recutter)
    jury = read_jury_stats(run.folder) if run.recipe.judges.panel else None
    return RunStatus(
        recipe=run.recipe.name,
        version=run.recipe.version,
        output=str(run.output),
        planned=run.folder.plan(0).exists(),
        rounds=plans.rounds,
        prompts=count_prompts(plan_rows),
        drafts=count_rows(plan_rows) * run.recipe.plan.candidates,
        shards=plans.shards,
        # A re-plan can leave records of shards that the plan no longer has.
        shards_done=len([n for n in run.folder.finished_shards() if n < plans.shards]),
        shards_drafted=len([n for n in range(plans.shards) if run.folder.drafts(n).exists()]),
        failed_requests=dict(losses.failed_requests),
        failure_messages=dict(losses.messages),
        dropped=dict(losses.dropped),
        accounting=read_usage(run.folder),
        dataset=(run.output / "manifest.json").exists(),
        jury=jury,
        judges=jury_to_json(run.folder, jury) if jury else None,
        effect=read_effects(run.folder, recut=recutter) if run.recipe.policy_effect else None,
        imported=read_import_report(run),
        rejected_by={axis: rejections.count_rejections(axis) for axis in REJECTION_AXES},
        refusals=list_refusals(rejections.count_refusals()),
    )


# Any: users may edit the manifest.
def read_manifest(output: Path) -> dict[str, Any]:
    """Read a dataset's manifest; empty if there is none or it cannot be read.

    Raises:
        FormatMismatch: it has the format of another version.
    """
    path = output / "manifest.json"
    try:
        manifest = read_json(path)
    except StoreDamaged:
        return {}
    check_manifest_format(path, manifest)
    return manifest
