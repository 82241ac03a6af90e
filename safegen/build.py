"""From the records of a run to a dataset: dedup, select, split, views, card, manifest.

Records are read one shard at a time; for the corpus only counters and 64-bit digests are held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safegen import assets, plugins, yamlfile
from safegen.curation.dedup import Duplicates, Expectations, decided, exact
from safegen.curation.select import best, why_none
from safegen.curation.split import SPLITS, split_of
from safegen.dataset import layout
from safegen.dataset.card import card
from safegen.dataset.layout import FileEntry, RowWriter
from safegen.dataset.manifest import Facts, Yield, compose, same, taxonomy_names
from safegen.errors import ConfigError, DatasetInvalid
from safegen.policy.spec import Policy, Spec
from safegen.recipe import Recipe
from safegen.store import parquet, plan
from safegen.store.folder import RunFolder, write_json
from safegen.types import Record
from safegen.views._columns import ScenarioGroup, View


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made. Prompts are counted as scenarios: planned = prompts + lost."""

    output: Path
    rows: Mapping[str, Mapping[str, int]]
    """Rows by view and split; an empty view has no splits."""
    planned: int
    """Scenarios of the plan."""
    made: int
    """Scenarios with a draft that has an answer."""
    accepted: int
    """Scenarios with an accepted draft."""
    prompts: int
    """Scenarios in the dataset."""
    drafts: int
    drafts_accepted: int
    lost: Mapping[str, int]
    """Scenarios that are not in the dataset, by reason."""
    by_domain_mode: Mapping[str, Mapping[str, int]]
    """Scenarios in the dataset by domain and expected mode."""
    by_domain: Mapping[str, Yield]
    by_mode: Mapping[str, Yield]
    rejected: Mapping[str, int]
    """Drafts that were not accepted, by reason."""
    by_grade: Mapping[str, int]
    """Scenarios in the dataset by grade."""
    changed: bool
    """Whether any file differs from what was there before."""


def build(
    run: RunFolder,
    recipe: Recipe,
    *,
    taxonomy_version: str,
    policies: Sequence[Policy],
    fingerprints: Mapping[str, str],
    trusted: Sequence[str] = (),
) -> BuildReport:
    """Cut the dataset from the finished shards of a run and put it in the output folder.

    Args:
        run: the run folder; only `.gitignore` is written there.
        recipe: decides views, split shares, name and version.
        taxonomy_version: the version, or `name@version`.
        policies: the specs that the records were made under.
        fingerprints: SHA-256 of each asset used, by name, for the manifest.
        trusted: modules that views may be imported from.

    Raises:
        ConfigError: a view that cannot be made, or stands twice.
        DatasetInvalid: no finished shard, a prompt with two expectations, an unknown policy.
        StoreDamaged: a shard that cannot be read.
        DiskFailed: the disk is full, read-only or gone.
    """
    views = _views(recipe, trusted)
    if not run.finished():
        raise DatasetInvalid(f"`{run.root}` has no finished shard; run `safegen generate` first")
    facts = Facts()
    with layout.staging(run.output) as staged:
        files = _write_rows(run, recipe, views=views, facts=facts, staged=staged)
        files |= _write_policies(staged, _used(policies, facts))
        taxonomy = taxonomy_names(facts, recipe, taxonomy_version)
        parquet.write_text(staged / "README.md", card(facts, recipe=recipe, taxonomy=taxonomy))
        parquet.write_text(staged / ".gitattributes", layout.GITATTRIBUTES)
        files |= {name: layout.entry(staged / name) for name in ("README.md", ".gitattributes")}
        manifest = compose(
            facts,
            run=run,
            recipe=recipe,
            taxonomy=taxonomy,
            fingerprints=fingerprints,
            views=views,
            files=files,
        )
        changed = not (layout.holds(run.output, files) and same(run.output, manifest))
        if changed:
            write_json(staged / layout.MANIFEST, manifest)
            layout.swap(staged, run.output)
    layout.ignore_run(run.root)
    return _report(run, facts, changed=changed)


def _views(recipe: Recipe, trusted: Sequence[str]) -> dict[str, View]:
    views: dict[str, View] = {}
    for ref in recipe.views:
        view: View = plugins.make("views", ref.use, ref.params, trusted=trusted)
        if not assets.is_bare(view.name):
            raise ConfigError(f"view `{view.name}` cannot name a folder; use letters, digits, `_`")
        if view.name in views:
            raise ConfigError(f"view `{view.name}` stands twice; keep one")
        views[view.name] = view
    return views


def _write_rows(
    run: RunFolder, recipe: Recipe, *, views: Mapping[str, View], facts: Facts, staged: Path
) -> dict[str, FileEntry]:
    """Stream the shards through curation into the views' files."""
    writers = {
        (name, split): RowWriter(staged, view, split=split, version=recipe.version)
        for name, view in views.items()
        for split in SPLITS
    }
    for group in _curated(run, facts):
        if group.selected is not None:
            split = split_of(group.selected.scenario.goal_id, test=recipe.split.test)
            for name, view in views.items():
                writers[name, split].add(view.rows(group))
    files: dict[str, FileEntry] = {}
    for (name, split), writer in writers.items():
        writer.flush()
        files |= writer.files
        splits = facts.rows.setdefault(name, {})
        if writer.rows:
            splits[split] = writer.rows
    return files


def _curated(run: RunFolder, facts: Facts) -> Iterator[ScenarioGroup]:
    """Every scenario that stays, in canonical order, with its drafts; the others are counted."""
    expectations, duplicates = Expectations(), Duplicates()
    again = _again(run)
    seen = 0
    for shard in run.finished():
        groups = _grouped(run.read_records(shard))
        for failed in _failed(run, shard, groups.keys() | again.records.keys()):
            facts.lost[failed] += 1
            seen += 1
        for scenario, own in groups.items():
            if shard in again.shards and scenario in again.records:
                continue
            seen += 1
            records = [*own, *again.records.get(scenario, ())]
            head = records[0]
            if expectations.contradicts(head.scenario.messages, head.expectation):
                _fail_if_contradicted(run, head)
            reason, group = _choose(records, facts, duplicates)
            if group is None:
                facts.lost[reason] += 1
            else:
                yield group
    facts.planned = max(seen, _planned(run, facts))
    if facts.planned > seen:
        facts.lost["unfinished"] += facts.planned - seen


class _Again(NamedTuple):
    """Records of later rounds that asked for further candidates of earlier scenarios."""

    records: Mapping[str, list[Record]]
    shards: frozenset[int]
    """Shards of the rounds after the first."""


def _again(run: RunFolder) -> _Again:
    plans = plan.Plans(run.plans)
    later = frozenset(n for n in run.finished() if n < plans.shards and plans.round_of(n))
    found: dict[str, list[Record]] = {}
    for shard in sorted(later):
        asked = {p.scenario.scenario_id for p in plans.read(shard) if p.first}
        for record in run.read_records(shard):
            if record.scenario.scenario_id in asked:
                found.setdefault(record.scenario.scenario_id, []).append(record)
    return _Again(found, later)


def _planned(run: RunFolder, facts: Facts) -> int:
    """Count the plan's scenarios by domain and expected mode; all of them together."""
    plans = plan.Plans(run.plans)
    count = 0
    for path in plans.paths:
        for rows in parquet.batches(path, ["domain", "mode", "first"]):
            for row in rows:
                if not row["first"]:
                    count += 1
                    facts.steps["planned", row["domain"], row["mode"]] += 1
    return count


def _choose(
    records: Sequence[Record], facts: Facts, duplicates: Duplicates
) -> tuple[str, ScenarioGroup | None]:
    """Select the draft of a scenario, or name the reason why it has none."""
    for record in records:
        facts.draft(record)
    facts.step("seen", records[0])
    if any(r.draft.outcome == "ok" for r in records):
        facts.made += 1
        facts.step("made", records[0])
    chosen = best(records)
    if chosen is None:
        return why_none(records), None
    facts.accepted += 1
    facts.step("accepted", chosen)
    duplicate = duplicates.check(chosen.scenario.messages, chosen.draft.response or "")
    if duplicate is not None:
        return duplicate, None
    facts.keep(chosen)
    return "", ScenarioGroup(tuple(records), chosen)


def _grouped(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.scenario.scenario_id, []).append(record)
    return groups


def _failed(run: RunFolder, shard: int, made: Collection[str]) -> list[str]:
    """Why a shard's scenarios that have no record at all are lost, one reason a scenario."""
    outcomes: dict[str, str] = {}
    for failure in run.shard_failures(shard):
        outcomes.setdefault(failure.scenario_id, failure.reason or failure.outcome)
    return [outcome for scenario, outcome in outcomes.items() if scenario not in made]


def _fail_if_contradicted(run: RunFolder, record: Record) -> None:
    """Find the earlier scenario that a digest pointed at and name both.

    Raises:
        DatasetInvalid: there is one, so it was not two texts with one digest.
    """
    wanted = exact(record.scenario.messages)
    for shard in run.finished():
        for earlier in run.read_records(shard):
            equal = exact(earlier.scenario.messages) == wanted
            if equal and decided(earlier.expectation) != decided(record.expectation):
                raise DatasetInvalid(
                    f"scenarios `{earlier.scenario.scenario_id}` and"
                    f" `{record.scenario.scenario_id}` have equal messages and different"
                    " expectations; put what tells them apart into the messages"
                )


def _used(policies: Sequence[Policy], facts: Facts) -> list[Policy]:
    """The specs that the rows name.

    Raises:
        DatasetInvalid: a row was made under a spec that is not among them.
    """
    known = {policy.policy_id: policy for policy in policies}
    for name in sorted(facts.policies):
        if name not in known:
            raise DatasetInvalid(
                f"rows were made under policy `{name}`, and the specs at hand are"
                f" {', '.join(f'`{k}`' for k in sorted(known)) or 'none'};"
                " restore that spec, or generate anew"
            )
    return [known[name] for name in sorted(facts.policies)]


def _write_policies(staged: Path, policies: Sequence[Policy]) -> dict[str, FileEntry]:
    """Copy the spec files byte by byte, inherited ones too."""
    files: dict[str, FileEntry] = {}
    for policy in policies:
        path: Path | None = policy.path
        while path is not None:
            spec = yamlfile.load(path, Spec)
            name = f"policies/{spec.policy}.yaml"
            if name in files:
                break
            target = staged / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
            files[name] = layout.entry(target)
            path = assets.find("policies", spec.inherits) if spec.inherits else None
    return files


def _report(run: RunFolder, facts: Facts, *, changed: bool) -> BuildReport:
    return BuildReport(
        output=run.output,
        rows=facts.rows,
        planned=facts.planned,
        made=facts.made,
        accepted=facts.accepted,
        prompts=facts.prompts,
        drafts=facts.drafts,
        drafts_accepted=facts.drafts_accepted,
        lost=dict(sorted(facts.lost.items())),
        by_domain_mode=facts.by_domain_mode(),
        by_domain=facts.yields("domain"),
        by_mode=facts.yields("mode"),
        rejected=dict(sorted(facts.rejected.items())),
        by_grade=dict(sorted(facts.grades.items())),
        changed=changed,
    )
