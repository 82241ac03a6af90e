"""The manifest: what made a dataset, counted from its rows, and the hash of each file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from safegen.config.recipe import Recipe
from safegen.core.errors import StoreDamaged
from safegen.core.hashing import digest
from safegen.core.types import Record
from safegen.core.version import __version__
from safegen.dataset.figures import RunMeasures
from safegen.dataset.layout import MANIFEST, FileEntry
from safegen.dataset.view import View
from safegen.store import usage
from safegen.store.run_folder import RunFolder, read_json

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1


def _pair_counter() -> Counter[tuple[str, str]]:
    return Counter()


def _triple_counter() -> Counter[tuple[str, str, str]]:
    return Counter()


def _name_counter() -> Counter[str]:
    return Counter()


class StageCounts(NamedTuple):
    """How many scenarios came how far."""

    planned: int
    answered: int
    accepted: int
    kept: int
    """In the dataset."""

    @property
    def excluded(self) -> int:
        """Planned and not in the dataset."""
        return self.planned - self.kept


@dataclass(slots=True)
class RunCounts:
    """Counters over a run's records; prompts are the scenarios that stayed."""

    planned: int = 0
    answered: int = 0
    accepted: int = 0
    prompts: int = 0
    drafts: int = 0
    drafts_accepted: int = 0
    excluded: Counter[str] = field(default_factory=_name_counter)
    """Scenarios that are not in the dataset, by reason."""
    exclusions: dict[str, str] = field(default_factory=dict[str, str])
    """Why an accepted scenario does not stay, by id; part of `excluded`."""
    domain_mode: Counter[tuple[str, str]] = field(default_factory=_pair_counter)
    intents: Counter[str] = field(default_factory=_name_counter)
    accepted_by: Counter[str] = field(default_factory=_name_counter)
    grades: Counter[str] = field(default_factory=_name_counter)
    languages: Counter[str] = field(default_factory=_name_counter)
    licences: Counter[str] = field(default_factory=_name_counter)
    imported: Counter[tuple[str, str]] = field(default_factory=_pair_counter)
    """Prompts of a user's file by licence, and by who said what they are."""
    taxonomies: Counter[str] = field(default_factory=_name_counter)
    policies: Counter[str] = field(default_factory=_name_counter)
    models: Counter[tuple[str, str, str]] = field(default_factory=_triple_counter)
    """Drafts by role, teacher and model."""
    verdicts: Counter[tuple[str, str]] = field(default_factory=_pair_counter)
    """Drafts by validator and `passed`, `failed` or `unscored`."""
    steps: Counter[tuple[str, str, str]] = field(default_factory=_triple_counter)
    """Scenarios by step (a field of `StageCounts`), domain and expected mode."""
    rejected: Counter[str] = field(default_factory=_name_counter)
    """Drafts that were not accepted, by reason."""
    rows: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Rows by view and split; an empty view has no splits."""
    without_row: Counter[str] = field(default_factory=_name_counter)
    """Prompts here that have no row, by view."""
    later_turns: int = 0
    """Prompts here with an assistant turn before the last user turn."""

    def add_draft(self, record: Record) -> None:
        """Count one draft."""
        self.drafts += 1
        self.drafts_accepted += record.accepted
        if not record.accepted:
            self.rejected[record.reason or "not_accepted"] += 1
        role = "drafter" if record.draft.revision == 0 else "reviser"
        self.models[role, record.draft.teacher, record.draft.model] += 1
        for verdict in record.verdicts:
            result = {True: "passed", False: "failed", None: "unscored"}[verdict.passed]
            self.verdicts[verdict.validator, result] += 1

    def add_kept(self, record: Record) -> None:
        """Count one scenario that stays, by its selected draft."""
        scenario = record.scenario
        self.prompts += 1
        self.add_step("kept", record)
        self.domain_mode[scenario.domain, record.expectation.mode] += 1
        self.intents[scenario.intent] += 1
        self.accepted_by[record.accepted_by or "unknown"] += 1
        self.grades[record.grade] += 1
        self.languages[scenario.language] += 1
        self.licences[scenario.source_licence] += 1
        self.taxonomies[scenario.taxonomy] += 1
        if scenario.source == "imported":
            read = any(a.source == "confirmed" for a in scenario.attributes)
            label_source = "blind labellers, in part or whole" if read else "the file"
            self.imported[scenario.source_licence, label_source] += 1
        self.policies[record.expectation.policy_id] += 1
        self.later_turns += any(m["role"] == "assistant" for m in scenario.messages)

    def add_step(self, name: str, record: Record) -> None:
        """Count a scenario as come this far."""
        self.steps[name, record.scenario.domain, record.expectation.mode] += 1

    def count_stages(self, axis: Literal["domain", "mode"]) -> dict[str, StageCounts]:
        """Count the scenarios of each domain, or of each expected mode, by how far they came."""
        counts: dict[str, Counter[str]] = {}
        for (step, domain, mode), count in sorted(self.steps.items()):
            counts.setdefault(domain if axis == "domain" else mode, Counter())[step] += count
        return {
            name: StageCounts(
                max(steps["planned"], steps["seen"]),
                steps["answered"],
                steps["accepted"],
                steps["kept"],
            )
            for name, steps in counts.items()
        }

    def nest_domain_mode(self) -> dict[str, dict[str, int]]:
        """Nest the counts of prompts by domain and mode, sorted."""
        return _nest(self.domain_mode)

    def nest_validators(self) -> dict[str, dict[str, int]]:
        """Nest the counts of drafts by validator and finding, sorted."""
        return _nest(self.verdicts)


def _nest(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(counts.items()):
        nested.setdefault(outer, {})[inner] = count
    return nested


def read_version() -> str:
    """Return safegen's version."""
    return __version__


def format_taxonomy(facts: RunCounts, recipe: Recipe, version: str) -> str:
    """Name the taxonomy as `name@version`, by what the rows say where there are any."""
    if "@" in version:
        return version
    names = sorted(facts.taxonomies) or [recipe.taxonomy]
    return ", ".join(name if "@" in name else f"{name}@{version}" for name in names)


def compose_manifest(
    facts: RunCounts,
    figures: RunMeasures,
    *,
    run: RunFolder,
    recipe: Recipe,
    taxonomy: str,
    fingerprints: Mapping[str, Mapping[str, str]],
    views: Mapping[str, View],
    files: Mapping[str, FileEntry],
) -> dict[str, object]:
    """Make the manifest's JSON; no time of writing, host name or path is in it.

    Raises:
        StoreDamaged: `accounting.json` is there and cannot be read.
    """
    import pyarrow as pa

    manifest: dict[str, object] = {
        "format": FORMAT,
        "safegen": read_version(),
        "writer": {"pyarrow": pa.__version__},
        "name": recipe.name,
        "version": recipe.version,
        "recipe": digest(recipe.digests()),
        "taxonomy": taxonomy,
        "policy_ids": sorted(facts.policies),
        "fingerprints": dict(fingerprints),
        "models": _models_json(facts),
        "counts": _counts_json(facts),
        **figures.to_json(),
        "split": {"test": recipe.split.test},
        "views": {name: _view_json(view, recipe) for name, view in views.items()},
        "files": {name: file_entry.to_json() for name, file_entry in sorted(files.items())},
    }
    if run.import_report.is_file():
        manifest["imported"] = read_json(run.import_report)
    if run.accounting.is_file():
        manifest["observed"] = usage.read_accounting(run.accounting)
    return manifest


def _models_json(facts: RunCounts) -> dict[str, list[dict[str, str | int]]]:
    models: dict[str, list[dict[str, str | int]]] = {}
    for (role, teacher, model), drafts in sorted(facts.models.items()):
        models.setdefault(role, []).append({"teacher": teacher, "model": model, "drafts": drafts})
    return models


def _counts_json(facts: RunCounts) -> dict[str, object]:
    return {
        "planned": facts.planned,
        "answered": facts.answered,
        "accepted": facts.accepted,
        "prompts": facts.prompts,
        "drafts": facts.drafts,
        "drafts_accepted": facts.drafts_accepted,
        "excluded": dict(facts.excluded),
        "rows": facts.rows,
        "by_domain_mode": facts.nest_domain_mode(),
        "by_intent": dict(facts.intents),
        "by_grade": dict(facts.grades),
        "by_validator": facts.nest_validators(),
    }


def _view_json(view: View, recipe: Recipe) -> dict[str, object]:
    params = [ref.params for ref in recipe.views if ref.use.rpartition(":")[2] == view.name]
    return {"params": params[0] if params else {}, "columns": list_columns(view.schema)}


def list_columns(schema: pa.Schema) -> list[list[str]]:
    """List columns with their Arrow types and whether they may be null, in order.

    Parquet names the items of a list `element` where Arrow says `item`; both read `item` here.
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
    """Tell whether a folder's manifest says the same, apart from what was `observed`."""
    try:
        current = read_json(output / MANIFEST)
    except StoreDamaged:
        return False
    current.pop("observed", None)
    return digest(current) == digest({k: v for k, v in manifest.items() if k != "observed"})
