"""The manifest: sources and counts of a dataset, and the hash of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from safegen.config.recipe import Recipe
from safegen.core.errors import StoreDamaged
from safegen.core.hashing import digest
from safegen.core.version import __version__
from safegen.dataset.figures import RunMeasures
from safegen.dataset.judge_results import JudgeResults
from safegen.dataset.layout import MANIFEST, FileEntry
from safegen.dataset.run_stats import REJECTION_AXES, RunStats, list_refusals
from safegen.dataset.view import View
from safegen.store import usage
from safegen.store.import_counts import read_import_counts
from safegen.store.json_files import read_json
from safegen.store.run_folder import MANIFEST_FORMAT, RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

NO_JUDGES = JudgeResults()


@dataclass(frozen=True, slots=True)
class ViewRows:
    """Counts of rows by view."""

    rows: Mapping[str, Mapping[str, int]]
    """Rows by view and split; an empty view has no splits."""
    without_row: Mapping[str, int] = field(default_factory=dict[str, int])
    """Scenarios in the dataset that have no row, by view."""


def format_taxonomy(stats: RunStats, recipe: Recipe, version: str) -> str:
    """Name the taxonomy as `name@version`, from the rows if there are any."""
    if "@" in version:
        return version
    names = sorted(stats.count_kept("taxonomy")) or [recipe.taxonomy]
    return ", ".join(name if "@" in name else f"{name}@{version}" for name in names)


def compose_manifest(
    stats: RunStats,
    figures: RunMeasures,
    *,
    run: RunFolder,
    recipe: Recipe,
    taxonomy: str,
    fingerprints: Mapping[str, Mapping[str, str]],
    views: Mapping[str, View],
    view_rows: ViewRows,
    files: Mapping[str, FileEntry],
    overrides: Mapping[str, object],
    judge_results: JudgeResults = NO_JUDGES,
) -> dict[str, object]:
    """Compose the manifest without times, host names or paths.

    Raises:
        StoreDamaged: `accounting.json` or `prompts.json` exists but cannot be read.
    """
    import pyarrow as pa

    facts = compose_run_facts(
        stats, run=run, recipe=recipe, taxonomy=taxonomy, fingerprints=fingerprints, views=views
    )
    manifest: dict[str, object] = {
        "format": MANIFEST_FORMAT,
        "safegen": __version__,
        # Another version may encode equal rows in other bytes; `content_sha256` then still agrees.
        "writer": {"pyarrow": pa.__version__},
        "overrides": dict(overrides),
        **facts,
        "counts": count_stages(stats) | {"rows": view_rows.rows},
        **figures.to_json(),
        "files": {name: file_entry.to_json() for name, file_entry in sorted(files.items())},
    }
    if run.labeller_check.is_file():
        check = read_json(run.labeller_check)
        manifest["labellers"] = {key: check[key] for key in ("bar", "known", "fields")}
    manifest |= judge_results.to_json()
    if run.accounting.is_file():
        manifest["observed"] = usage.read_accounting(run.accounting)
    return manifest


def compose_run_facts(
    stats: RunStats,
    *,
    run: RunFolder,
    recipe: Recipe,
    taxonomy: str,
    fingerprints: Mapping[str, Mapping[str, str]],
    views: Mapping[str, View],
) -> dict[str, object]:
    """Compose the fields of a manifest that follow from recipe and records, without rows and measures.

    Raises:
        StoreDamaged: `prompts.json` exists but cannot be read.
    """
    effect = stats.drafts.effect
    facts: dict[str, object] = {
        "name": recipe.name,
        "version": recipe.version,
        "recipe": digest(recipe.digests()),
        "taxonomy": taxonomy,
        "policy_ids": sorted(stats.count_kept("policy_id")),
        "fingerprints": dict(fingerprints),
        "models": _models_json(stats),
        **({"judges": stats.drafts.jury.to_json()} if stats.drafts.jury.drafts else {}),
        **({"policy_effect": effect.to_json()} if effect.by_leaf else {}),
        "split": {"test": recipe.split.test},
        "views": {name: _view_json(view, recipe) for name, view in views.items()},
    }
    if run.import_report.is_file():
        facts["imported"] = read_import_counts(run.import_report).to_json()
    return facts


def _models_json(stats: RunStats) -> dict[str, list[dict[str, str | int]]]:
    models: dict[str, list[dict[str, str | int]]] = {}
    for (role, teacher, model), drafts in sorted(stats.drafts.by_model.items()):
        models.setdefault(role, []).append({"teacher": teacher, "model": model, "drafts": drafts})
    return models


def count_stages(stats: RunStats) -> dict[str, object]:
    """Count planned, answered, accepted and kept scenarios and drafts, as the manifest stores them."""
    return {
        "planned": stats.planned,
        "answered": stats.answered,
        "accepted": stats.accepted,
        "prompts": stats.prompts,
        "drafts": stats.drafts.total,
        "drafts_accepted": stats.drafts.accepted,
        "excluded": stats.excluded,
        "rejected": dict(sorted(stats.drafts.rejected.items())),
        "rejected_by": {axis: stats.drafts.count_rejections(axis) for axis in REJECTION_AXES},
        "refusals": list_refusals(stats.drafts.count_refusals()),
        "by_domain_mode": stats.count_domain_modes(),
        "by_intent": stats.count_kept("intent"),
        "by_grade": stats.count_kept("grade"),
        "accepted_by": stats.count_kept("accepted_by"),
        "by_validator": stats.count_verdicts(),
    }


def _view_json(view: View, recipe: Recipe) -> dict[str, object]:
    params = [ref.params for ref in recipe.views if ref.use.rpartition(":")[2] == view.name]
    return {"params": params[0] if params else {}, "columns": list_columns(view.schema)}


def list_columns(schema: pa.Schema) -> list[list[str]]:
    """List columns with Arrow type and nullability, in order.

    Parquet names the items of a list `element`, Arrow `item`; the result has `item`.
    """
    fields = cast("list[pa.Field[pa.DataType]]", list(schema))
    return [
        [
            f.name,
            str(f.type).replace("list<element: ", "list<item: "),
            "null" if f.nullable else "not null",
        ]
        for f in fields
    ]


def is_same_manifest(output: Path, manifest: Mapping[str, object]) -> bool:
    """Return True if a folder's manifest is equal except for `observed`."""
    try:
        current = read_json(output / MANIFEST)
    except StoreDamaged:
        return False
    # A rebuild changes counts of time and requests, and no row.
    current.pop("observed", None)
    return digest(current) == digest({k: v for k, v in manifest.items() if k != "observed"})
