"""The dataset card: front matter for loaders, and tables computed from the rows for people.

`card.md.j2` holds the text. Names of models, validators and reasons come from outside, so that its
filters `cell` and `table` escape every value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from safegen.config.contacts import Contacts
from safegen.config.recipe import Recipe
from safegen.core.types import INTENTS, MODES
from safegen.dataset.coverage_report import compare_certificates
from safegen.dataset.curation import near_duplicates
from safegen.dataset.curation.artifacts import UnmeasuredArtifacts
from safegen.dataset.curation.corpus_checks import CHECKED_TARGET, MAX_AUC
from safegen.dataset.curation.split import SPLITS
from safegen.dataset.effect_stats import EffectCounts, EffectStats
from safegen.dataset.figures import RunMeasures
from safegen.dataset.hub_licences import choose_card_licence
from safegen.dataset.judge_results import JudgeResults
from safegen.dataset.jury_stats import JUROR_RESULTS, JuryStats
from safegen.dataset.manifest import NO_JUDGES, ViewRows
from safegen.dataset.markdown import escape_cell, format_table
from safegen.dataset.run_stats import REJECTION_AXES, RunStats
from safegen.dataset.view import TrainingExample, View, choose_preferred

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = Path(__file__).with_name("card.md.j2")
# No real path: equal runs write equal bytes, and a reader has the folder elsewhere.
FOLDER = "path/to/this/folder"
MAX_LISTED = 5
"""Missing combinations that the card lists."""
# The Hub accepts only these names.
SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
RESULTS = ("passed", "failed", "unscored")
NO_CONTACTS = Contacts()
LEAF = "harm"
"""Axis with too many values for the columns of a table."""

CardRow = tuple[object, ...]


class TrainingSection(NamedTuple):
    """The settings of one trainer for one view."""

    view: str
    example: TrainingExample
    code: str
    """The code of the example with folder and split filled in."""


class LoadingExample(NamedTuple):
    """The view and split of the loading examples."""

    view: str
    split: str


def render_card(
    stats: RunStats,
    figures: RunMeasures,
    *,
    recipe: Recipe,
    taxonomy: str,
    view_rows: ViewRows,
    views: Mapping[str, View] = MappingProxyType({}),
    trusted: Sequence[str] = (),
    overrides: Mapping[str, object] = MappingProxyType({}),
    judge_results: JudgeResults = NO_JUDGES,
    contacts: Contacts = NO_CONTACTS,
) -> str:
    """Render the README of a dataset.

    Args:
        stats: the statistics of the run.
        figures: the measures of the rows.
        recipe: gives name and version, and explains empty views.
        taxonomy: the taxonomy as `name@version`.
        view_rows: the rows of each view.
        views: the views by name.
        trusted: modules that plug-ins may be imported from.
        overrides: keys of acceptance that differ from the recipe of the run.
        judge_results: the results of the judges on traps and against people.
        contacts: the registries of contacts whose entries answers may quote.
    """
    filled = filled_splits(view_rows)
    preferred = choose_preferred(list(filled), views)
    values: dict[str, object] = {
        "front_matter": _front_matter(stats, view_rows, recipe, views),
        "stats": stats,
        # Counters, because the strict template also names grades that no row has.
        "grades": Counter(stats.count_kept("grade")),
        "accepted_by": Counter(stats.count_kept("accepted_by")),
        "figures": figures,
        "recipe": recipe,
        "overrides": overrides,
        "judge_results": judge_results,
        "taxonomy": taxonomy,
        "splits": SPLITS,
        "domain_heads": (*MODES, "all"),
        "view_table": [(v, *(view_rows.rows[v].get(s, 0) for s in SPLITS)) for v in filled],
        "empty_views": list(_list_empty_views(view_rows, recipe, views, trusted)),
        "partial_views": list(_list_partial_views(view_rows, views)),
        "contact_table": _contact_table(contacts),
        "contact_day": contacts.quoting_day,
        "unquoted": _count_unquoted(contacts),
        "domain_table": _domain_table(stats),
        "intent_table": _intent_table(stats),
        "surface_table": _surface_table(figures),
        "intents": INTENTS,
        "validator_table": _validator_table(stats),
        "example": None if preferred is None else LoadingExample(preferred, filled[preferred][0]),
        "folder": FOLDER,
        "training": _list_training_sections(filled, views, preferred),
    }
    return _load_template().render(
        values | _measure_values(figures) | _acceptance_values(stats, figures)
    )


def _acceptance_values(stats: RunStats, figures: RunMeasures) -> dict[str, object]:
    """Return the values of the sections on judges, yields, rejections and pairs."""
    jury = stats.drafts.jury
    return {
        "jury": jury,
        "juror_table": _juror_table(jury),
        "leaf_table": _juror_leaf_table(jury),
        "yield_tables": _yield_tables(figures),
        "low_yields": figures.yields.low,
        "rejection_tables": list(_iter_rejection_tables(stats)),
        "refusals": stats.drafts.count_refusals(),
        "pair_table": _pair_table(figures),
        "effect": stats.drafts.effect.total,
        "effect_table": _effect_table(stats.drafts.effect),
    }


# A top-up run builds after each round.
@cache
def _load_template() -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    filters = {"cell": escape_cell, "counts": _count_rows, "table": _table}
    environment.filters.update(filters)  # pyright: ignore[reportUnknownMemberType] (jinja2)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _measure_values(figures: RunMeasures) -> dict[str, object]:
    """Return the values of the sections on coverage, near-duplicates, artifacts and hedging."""
    certificates = figures.certificates
    missing = certificates.after.missing[:MAX_LISTED] if certificates else ()
    return {
        "certificates": certificates,
        "certificate_table": compare_certificates(certificates) if certificates else [],
        "missing": [", ".join(f"{axis} {value}" for axis, value in row.items()) for row in missing],
        "corpus": figures.corpus,
        "near_duplicate_threshold": near_duplicates.THRESHOLD,
        "max_auc": MAX_AUC,
        "checked_target": CHECKED_TARGET,
        "artifact_table": _artifact_table(figures),
        "hedging": figures.hedging,
        "hedging_table": _hedging_table(figures),
    }


def _list_training_sections(
    filled: Mapping[str, list[str]], views: Mapping[str, View], preferred: str | None
) -> list[TrainingSection]:
    """List the settings of the trainers, those of the preferred view first."""
    sections: list[TrainingSection] = []
    for name in sorted(filled, key=lambda name: name != preferred):
        for example in views[name].examples if name in views else ():
            # Not str.format: the code of an outside view may hold other braces.
            code = example.code.replace("{folder}", FOLDER).replace("{split}", filled[name][0])
            sections.append(TrainingSection(name, example, code))
    return sections


def filled_splits(view_rows: ViewRows) -> dict[str, list[str]]:
    """List the splits with rows by view; views without rows are left out."""
    splits_by_view = {v: [s for s in SPLITS if n.get(s)] for v, n in view_rows.rows.items()}
    return {view: splits for view, splits in splits_by_view.items() if splits}


def _front_matter(
    stats: RunStats, view_rows: ViewRows, recipe: Recipe, views: Mapping[str, View]
) -> str:
    import yaml

    filled = filled_splits(view_rows)
    default = choose_preferred(list(filled), views)
    configs = [
        {"config_name": view}
        | ({"default": True} if view == default else {})
        | {
            "data_files": [{"split": s, "path": f"data/{view}/{s}/*.parquet"} for s in splits],
        }
        for view, splits in filled.items()
    ]
    licence = choose_card_licence(map(str, stats.count_kept("source_licence")))
    total = sum(sum(splits.values()) for splits in view_rows.rows.values())
    head: dict[str, object] = {
        "license": licence.ids[0] if len(licence.ids) == 1 else list(licence.ids),
        "license_name": ", ".join(licence.other_names),
        "language": sorted({tag.split("-")[0].lower() for tag in stats.count_kept("language")}),
        "pretty_name": recipe.name,
        "size_categories": [next((name for top, name in SIZE_CATEGORIES if total < top), "n>1M")],
        "task_categories": ["text-generation"],
        "tags": ["safe-completion", "safety", "alignment", "synthetic"],
        "configs": configs,
    }
    # The Hub rejects a header with an empty value.
    kept = {name: value for name, value in head.items() if value}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _list_empty_views(
    view_rows: ViewRows, recipe: Recipe, views: Mapping[str, View], trusted: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for name, rows in view_rows.rows.items():
        if not any(rows.values()):
            yield name, views[name].why_empty(recipe, trusted) if name in views else ""


def _list_partial_views(
    view_rows: ViewRows, views: Mapping[str, View]
) -> Iterator[tuple[str, int, str]]:
    filled = filled_splits(view_rows)
    for name, view in views.items():
        if name in filled and view.leaves_out and (count := view_rows.without_row.get(name)):
            yield name, count, view.leaves_out


def _domain_table(stats: RunStats) -> list[CardRow]:
    return [
        (domain, *(modes.get(mode, 0) for mode in MODES), sum(modes.values()))
        for domain, modes in stats.count_domain_modes().items()
    ]


def _contact_table(contacts: Contacts) -> list[CardRow]:
    # The state of a day that the files give, so that the card is equal on every day.
    return [
        (
            registry.region,
            contact.name,
            contact.purpose,
            contact.reach.describe(),
            contact.status_on(contacts.quoting_day),
            contact.last_day or "",
        )
        for registry in contacts.chosen
        for contact in registry.contacts
    ]


def _count_unquoted(contacts: Contacts) -> int:
    quotable = sum(map(len, contacts.quotable.values()))
    return sum(len(registry.contacts) for registry in contacts.chosen) - quotable


def _intent_table(stats: RunStats) -> list[CardRow]:
    counts = stats.count_kept("intent")
    return [(intent, counts[intent]) for intent in INTENTS if intent in counts]


def _surface_table(figures: RunMeasures) -> list[CardRow]:
    names = sorted({(kind, name) for kind, name, _ in figures.surface})
    return [
        (kind, name, *(figures.surface[kind, name, intent] for intent in INTENTS))
        for kind, name in names
    ]


def _artifact_table(figures: RunMeasures) -> list[CardRow]:
    rows: list[CardRow] = []
    for target, result in figures.artifacts.items():
        if isinstance(result, UnmeasuredArtifacts):
            rows.append((target, "unmeasured", result.reason, "", ""))
            continue
        low, high = result.interval
        words = ", ".join(w.word for w in result.words) or "none"
        counts = f"{result.first} against {result.second}"
        rows.append((target, f"{result.auc:.2f}", f"{low:.2f} to {high:.2f}", counts, words))
    return rows


def _hedging_table(figures: RunMeasures) -> list[CardRow]:
    sides = (
        ("without the spec (allowed tier)", figures.hedging.without_spec),
        ("with the spec", figures.hedging.with_spec),
    )
    return [(name, side.answers, f"{side.per_100_words:.2f}") for name, side in sides]


def _validator_table(stats: RunStats) -> list[CardRow]:
    return [
        (
            name,
            *(counts.get(result, 0) for result in RESULTS),
            f"{counts.get('passed', 0) / sum(counts.values()):.1%}",
        )
        for name, counts in stats.count_verdicts().items()
    ]


def _juror_table(jury: JuryStats) -> list[CardRow]:
    return [
        (judge, *(counts.get(result, 0) for result in JUROR_RESULTS), jury.invented.get(judge, 0))
        for (judge,), counts in jury.count_results().items()
    ]


def _juror_leaf_table(jury: JuryStats) -> list[CardRow]:
    """List the leaves with a juror that did not answer, because such losses are not random."""
    return [
        (judge, harm, *(counts.get(result, 0) for result in JUROR_RESULTS))
        for (judge, harm), counts in jury.count_results(by_leaf=True).items()
        if set(counts) != {"answered"}
    ]


def _yield_tables(figures: RunMeasures) -> dict[str, list[CardRow]]:
    """List planned, accepted and yield by axis; leaves are in the manifest, because there are many."""
    return {
        axis: [(v.name, v.planned, v.accepted, v.kept, f"{v.share:.1%}") for v in values]
        for axis, values in figures.yields.by_axis.items()
        if axis != LEAF
    }


def _iter_rejection_tables(stats: RunStats) -> Iterator[tuple[str, list[str], list[CardRow]]]:
    """Yield axis, heads and rows of each table of rejected drafts by reason."""
    for axis in REJECTION_AXES:
        counts = stats.drafts.count_rejections(axis)
        if not counts:
            continue
        if axis == LEAF:
            leaves: list[CardRow] = [(name, _list_most(own)) for name, own in counts.items()]
            yield axis, ["reason", "leaves with most"], leaves
            continue
        names = sorted({name for own in counts.values() for name in own})
        rows: list[CardRow] = [
            (reason, *(own.get(name, 0) for name in names)) for reason, own in counts.items()
        ]
        yield axis, ["reason", *names], rows


def _list_most(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    more = f" and {len(ranked) - MAX_LISTED} more" if len(ranked) > MAX_LISTED else ""
    return ", ".join(f"{name} {counts[name]}" for name in ranked[:MAX_LISTED]) + more


def _pair_table(figures: RunMeasures) -> list[CardRow]:
    return [
        (
            view,
            m.pairs,
            m.rated,
            "unmeasured" if m.length_ratio is None else f"{m.length_ratio:.2f}",
            f"unmeasured: {m.unmeasured_reason}" if m.auc is None else f"{m.auc:.1%} of {m.ranked}",
        )
        for view, m in figures.pairs.items()
    ]


def _effect_table(stats: EffectStats) -> list[CardRow]:
    leaves = stats.by_leaf.items()
    rows = [_effect_row(leaf, counts) for leaf, counts in leaves]
    return [*rows, _effect_row("all", stats.total)] if len(leaves) > 1 else rows


def _effect_row(leaf: str, counts: EffectCounts) -> CardRow:
    return (
        leaf,
        counts.drafts,
        counts.unknown,
        *(_format_mean(total, counts.compared) for total in (counts.level, counts.level_without)),
        f"{counts.changed / counts.compared:.1%}" if counts.compared else "unmeasured",
        *(_format_mean(total, counts.rated) for total in (counts.safety, counts.safety_without)),
    )


def _format_mean(total: float, count: int) -> str:
    return f"{total / count:.2f}" if count else "unmeasured"


def _count_rows(counts: Mapping[str | tuple[str, ...], int]) -> list[CardRow]:
    """List counts as table rows, sorted by key."""
    keys = {key if isinstance(key, tuple) else (key,): count for key, count in counts.items()}
    return [(*key, count) for key, count in sorted(keys.items())]


def _table(rows: Iterable[Sequence[object]], *heads: str) -> str:
    """Draw a table; a filter of the template."""
    return format_table(heads, list(rows))
