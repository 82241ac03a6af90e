"""Build of a dataset from a curated run: views by split, policies, card and manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from safegen.config.contacts import Contacts
from safegen.config.recipe import Recipe
from safegen.core.errors import DatasetInvalid
from safegen.coverage.ledger import StageCounts
from safegen.dataset import layout
from safegen.dataset.card import NO_CONTACTS, render_card
from safegen.dataset.curate import CurationResult
from safegen.dataset.curation.split import SPLITS, split_of
from safegen.dataset.dataset_info import DATASET_INFO, describe_for_llama_factory
from safegen.dataset.effect_stats import EffectStats
from safegen.dataset.figures import MeasureInputs, RunMeasures
from safegen.dataset.judge_results import read_judge_results
from safegen.dataset.jury_stats import JuryStats
from safegen.dataset.layout import FileEntry, RowWriter
from safegen.dataset.manifest import (
    ViewRows,
    compose_manifest,
    format_taxonomy,
    is_same_manifest,
)
from safegen.dataset.pair_measures import PairMeasure
from safegen.dataset.run_stats import REJECTION_AXES, RunStats
from safegen.dataset.target import TargetReport
from safegen.dataset.view import View, make_views
from safegen.dataset.yields import YieldReport
from safegen.policy.spec import Policy, SpecSource
from safegen.store import parquet
from safegen.store.json_files import write_json
from safegen.store.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Counts of a built dataset. Prompts are scenarios: planned = prompts + excluded."""

    output: Path
    rows: Mapping[str, Mapping[str, int]]
    """Rows by view and split; an empty view has no splits."""
    planned: int
    """Scenarios of the plan."""
    answered: int
    """Scenarios with a draft that has an answer."""
    accepted: int
    """Scenarios with an accepted draft."""
    prompts: int
    """Scenarios in the dataset."""
    drafts: int
    drafts_accepted: int
    excluded: Mapping[str, int]
    """Scenarios that are not in the dataset, by reason."""
    by_domain_mode: Mapping[str, Mapping[str, int]]
    """Scenarios in the dataset by domain and expected mode."""
    by_domain: Mapping[str, StageCounts]
    by_mode: Mapping[str, StageCounts]
    rejected: Mapping[str, int]
    """Drafts that were not accepted, by reason."""
    by_grade: Mapping[str, int]
    """Scenarios in the dataset by grade."""
    target: TargetReport | None
    """State of the recipe's target; None without one."""
    artifact_warning: str | None
    """Warning about words that reveal the label of authored prompts and could not be excluded; for people."""
    changed: bool
    """True if any file of the dataset changed."""
    accepted_by: Mapping[str, int] = field(default_factory=dict[str, int])
    """Scenarios in the dataset by what accepted them."""
    jury: JuryStats = field(default_factory=JuryStats)
    effect: EffectStats = field(default_factory=EffectStats)
    """Answers of the panel."""
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    """The views by name."""
    empty: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason of each view without rows; an empty text if the view gives none."""
    rejected_by: Mapping[str, Mapping[str, Mapping[str, int]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, int]]]
    )
    """Drafts that were not accepted by axis (leaf, mode, language, teacher), reason and value."""
    refusals: Mapping[tuple[str, str, str], int] = field(
        default_factory=dict[tuple[str, str, str], int]
    )
    """Drafts that a provider withheld, by teacher, outcome and leaf."""
    yields: YieldReport = field(default_factory=YieldReport)
    """Accepted scenarios of those planned, by axis."""
    pairs: Mapping[str, PairMeasure] = field(default_factory=dict[str, PairMeasure])
    """Measures of each view of pairs that has rows."""

    @property
    def why_empty(self) -> str | None:
        """Reason why no view has rows; None if one has."""
        if any(self.rows.values()):
            return None
        if not self.prompts:
            return _explain_no_prompts(self)
        views = ", ".join(f"`{name}`{text and f': {text}'}" for name, text in self.empty.items())
        return f"each view is empty ({views})"


def _explain_no_prompts(counts: BuildReport | RunStats) -> str:
    if not counts.answered:
        return "no prompt has an answer"
    if not counts.accepted:
        return "no draft was accepted"
    reasons = ", ".join(f"{reason} {number}" for reason, number in counts.excluded.items())
    return f"curation excludes each accepted prompt ({reasons})"


def build_dataset(
    curated: CurationResult,
    recipe: Recipe,
    *,
    taxonomy_version: str,
    policies: Sequence[Policy],
    fingerprints: Mapping[str, Mapping[str, str]],
    trusted: Sequence[str] = (),
    inputs: MeasureInputs | None = None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    contacts: Contacts = NO_CONTACTS,
) -> BuildReport:
    """Build the dataset of a curated run in its output folder.

    Args:
        curated: the curated state of the run; only `.gitignore` is written to the run folder.
        recipe: gives views, split shares, name and version.
        taxonomy_version: the version, or `name@version`.
        policies: the specs of the records.
        fingerprints: SHA-256 of each file used, by kind and name.
        trusted: modules that views may be imported from.
        inputs: inputs of the measures.
        overrides: keys of acceptance that differ from the recipe of the run, by dotted key.
        contacts: the registries of contacts, for the card.

    Raises:
        ConfigError: a view cannot be made, or is named twice.
        DatasetInvalid: there is no finished shard, a policy is unknown, or rows would be replaced by none.
        StoreDamaged: a shard cannot be read.
        DiskFailed: the disk is full, read-only or gone.
    """
    run = curated.run
    if not run.finished_shards():
        raise DatasetInvalid(f"`{run.root}` has no finished shard; run `safegen generate` first")
    views = make_views(recipe, trusted=trusted)
    stats, figures = curated.stats, RunMeasures(inputs or MeasureInputs(), curated)
    with layout.staging(run.output) as staged:
        files, view_rows = _write_rows(curated, recipe, views=views, figures=figures, staged=staged)
        files |= _write_policies(staged, _used_policies(policies, stats))
        taxonomy = format_taxonomy(stats, recipe, taxonomy_version)
        judge_results = read_judge_results(run)
        card = render_card(
            stats,
            figures,
            recipe=recipe,
            taxonomy=taxonomy,
            view_rows=view_rows,
            views=views,
            trusted=trusted,
            overrides=overrides,
            judge_results=judge_results,
            contacts=contacts,
        )
        files |= _write_texts(staged, card, describe_for_llama_factory(views, view_rows))
        manifest = compose_manifest(
            stats,
            figures,
            run=run,
            recipe=recipe,
            taxonomy=taxonomy,
            fingerprints=fingerprints,
            views=views,
            view_rows=view_rows,
            files=files,
            overrides=overrides,
            judge_results=judge_results,
        )
        changed = _replace_if_changed(run, staged, files, manifest=manifest, stats=stats)
    layout.write_gitignore(run.root)
    empty = {
        name: view.why_empty(recipe, trusted)
        for name, view in views.items()
        if not view_rows.rows.get(name)
    }
    return _make_report(curated, figures, view_rows, views=views, empty=empty, changed=changed)


def _replace_if_changed(
    run: RunFolder,
    staged: Path,
    files: dict[str, FileEntry],
    *,
    manifest: Mapping[str, object],
    stats: RunStats,
) -> bool:
    """Replace the dataset by the staged one if a file differs; return True if one does."""
    # Git and cloud folders see no new files if nothing changed.
    if layout.has_files(run.output, files) and is_same_manifest(run.output, manifest):
        return False
    _check_has_rows(run, stats)
    write_json(staged / layout.MANIFEST, manifest)
    layout.replace_dataset(staged, run.output)
    return True


def _write_texts(
    staged: Path, card: str, dataset_info: dict[str, dict[str, object]]
) -> dict[str, FileEntry]:
    """Write the files that describe the rows, except the manifest, which lists these files, too."""
    parquet.write_text(staged / "README.md", card)
    parquet.write_text(staged / ".gitattributes", layout.GITATTRIBUTES)
    names = ["README.md", ".gitattributes"]
    if dataset_info:
        write_json(staged / DATASET_INFO, dataset_info)
        names.append(DATASET_INFO)
    return {name: layout.make_entry(staged / name) for name in names}


def _check_has_rows(run: RunFolder, stats: RunStats) -> None:
    # A failed rerun must not replace a dataset by an empty one.
    rows = (run.output / "data").rglob("*.parquet")
    if not stats.prompts and any(True for _ in rows):
        raise DatasetInvalid(
            f"{_explain_no_prompts(stats)}; the dataset in `{run.output}` is unchanged: see `safegen show` and"
            " `safegen status`, or choose another `--output`"
        )


class _WrittenRows(NamedTuple):
    files: dict[str, FileEntry]
    rows: ViewRows


def _write_rows(
    curated: CurationResult,
    recipe: Recipe,
    *,
    views: Mapping[str, View],
    figures: RunMeasures,
    staged: Path,
) -> _WrittenRows:
    """Write the files of all views in one pass, and measure each scenario."""
    writers = {
        (name, split): RowWriter(staged, view, split=split, version=recipe.version)
        for name, view in views.items()
        for split in SPLITS
    }
    without_row = Counter[str]()
    for group in curated.iter_groups():
        if group.selected is None:
            continue
        # Measured here, because a second pass would read every shard again.
        figures.add_kept(group.selected)
        split = split_of(group.selected.scenario.goal_id, test=recipe.split.test)
        for name, view in views.items():
            rows = view.rows(group)
            writers[name, split].add(rows)
            if view.unit == "pairs":
                figures.add_pairs(name, rows, group.records)
            without_row[name] += not rows
    files: dict[str, FileEntry] = {}
    counts: dict[str, dict[str, int]] = {name: {} for name in views}
    for (name, split), writer in writers.items():
        writer.flush()
        files |= writer.files
        if writer.rows:
            counts[name][split] = writer.rows
    return _WrittenRows(files, ViewRows(counts, without_row))


def _used_policies(policies: Sequence[Policy], stats: RunStats) -> list[Policy]:
    known = {policy.policy_id: policy for policy in policies}
    # Only specs of kept rows, so that the folder names no spec without effect.
    used = sorted(stats.count_kept("policy_id"))
    for name in used:
        if name not in known:
            raise DatasetInvalid(
                f"rows name policy `{name}`, and the run has"
                f" {', '.join(f'`{k}`' for k in sorted(known)) or 'none'};"
                " restore that spec, or generate again"
            )
    return [known[name] for name in used]


def _write_policies(staged: Path, policies: Sequence[Policy]) -> dict[str, FileEntry]:
    files: dict[str, FileEntry] = {}
    # Inherited specs, too: a spec alone does not load without them.
    for source in (source for policy in policies for source in policy.chain):
        name = f"policies/{source.spec.policy}.yaml"
        if name not in files:
            target = staged / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(
                source.path.read_bytes() if source.is_spec_file else _spec_bytes(source)
            )
            files[name] = layout.make_entry(target)
    return files


def _spec_bytes(source: SpecSource) -> bytes:
    # The file of the spec is missing; the snapshot has its content.
    import yaml

    spec = source.spec.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(spec, sort_keys=False, allow_unicode=True).encode()


def _make_report(
    curated: CurationResult,
    figures: RunMeasures,
    view_rows: ViewRows,
    *,
    views: Mapping[str, View],
    empty: Mapping[str, str],
    changed: bool,
) -> BuildReport:
    stats = curated.stats
    return BuildReport(
        output=curated.run.output,
        views=views,
        empty=empty,
        rows=view_rows.rows,
        planned=stats.planned,
        answered=stats.answered,
        accepted=stats.accepted,
        prompts=stats.prompts,
        drafts=stats.drafts.total,
        drafts_accepted=stats.drafts.accepted,
        excluded=stats.excluded,
        by_domain_mode=stats.count_domain_modes(),
        by_domain=stats.count_stages("domain"),
        by_mode=stats.count_stages("mode"),
        rejected=dict(sorted(stats.drafts.rejected.items())),
        rejected_by={axis: stats.drafts.count_rejections(axis) for axis in REJECTION_AXES},
        refusals=stats.drafts.count_refusals(),
        yields=figures.yields,
        pairs=figures.pairs,
        by_grade=stats.count_kept("grade"),
        accepted_by=stats.count_kept("accepted_by"),
        jury=stats.drafts.jury,
        effect=stats.drafts.effect,
        target=figures.target,
        artifact_warning=figures.artifact_warning,
        changed=changed,
    )
