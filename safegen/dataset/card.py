"""The dataset card: a YAML head for loaders, and tables computed from the rows for people.

Names of models, validators and reasons come from outside; they are escaped before they reach Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from safegen.config.recipe import Recipe
from safegen.core.types import INTENTS, MODES
from safegen.dataset.card_figures import corpus_section, coverage_section
from safegen.dataset.curation.split import SPLITS
from safegen.dataset.figures import RunMeasures
from safegen.dataset.manifest import ViewRows
from safegen.dataset.markdown import escape_cell, format_table
from safegen.dataset.run_stats import RunStats
from safegen.dataset.view import View, preferred

SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
DEMO_NOTE = (
    "**Demo rows.** {count} of {prompts} answers here are a demo: they were written by the embedded "
    "offline teacher, not by a language model. They show the format and exercise a pipeline; they are "
    "not for training a production model."
)
FORM_ONLY_NOTE = (
    "**Judged by form alone.** {count} of {prompts} answers here were written by a model and accepted by "
    "rules: no person and no model judged that they are safe, correct or helpful. Have them judged before "
    "you train on them."
)
UNJUDGED_NOTE = (
    "**Judged by nothing.** {count} of {prompts} answers here were taken as they came, since the recipe names no "
    "validator that decides. Have them judged before you train on them."
)
LIMIT_NOTES = (
    "Which answers were taken is told above, and nothing beyond that was measured. Answers accepted by "
    "rules alone were judged by their form and by the limits that a rule can read; no person and no "
    "model judged that they are correct, harmless or helpful.",
    "The expectation of each prompt (`mode`, and in the `sft` view `ceiling` and `floor` of detail) was "
    "computed by the policy spec named in `policy_id`; the files are under `policies/`.",
    "Prompts name harmful aims so that a model can learn to answer them well; they are written "
    "to hold no instructions for harm. Malicious prompts are there to be declined; do not use them "
    "apart from their answers.",
    "The split is a function of `goal_id`: all prompts of a goal are on one side, in every view.",
)
CONVERSATION_NOTE = (
    "{count} prompts are later turns of a conversation. In `sft` the assistant turns before the last are "
    "accepted answers, with rows of their own; a trainer that takes loss on every assistant turn learns an "
    "early turn once for each row that holds it. For loss on the last turn alone take `prompt_completion`, or "
    "the trainer's own switch (LLaMA-Factory: `mask_history: true`)."
)
IMPORT_NOTE = (
    "Imported prompts stand as their file has them: nobody checked that they hold no instructions, and "
    "what they are is what the file or blind labellers say."
)


def render_card(
    stats: RunStats,
    figures: RunMeasures,
    *,
    recipe: Recipe,
    taxonomy: str,
    view_rows: ViewRows,
    views: Mapping[str, View] = MappingProxyType({}),
    trusted: Sequence[str] = (),
) -> str:
    """Write the README of a dataset.

    Args:
        stats: statistics of the run.
        figures: what was computed from them.
        recipe: name, version and seed.
        taxonomy: as `name@version`.
        view_rows: rows of the views.
        views: the views by name, for what they say of themselves.
        trusted: modules that plug-ins may be imported from.
    """
    intents = stats.count_kept("intent")
    sections = [
        f"# {escape_cell(recipe.name)} {escape_cell(recipe.version)}",
        *_opening(stats, recipe, taxonomy),
        "## Rows",
        _rows(view_rows),
        *_empty(view_rows, recipe, views, trusted),
        *_without_row(stats, view_rows, views),
        *([CONVERSATION_NOTE.format(count=stats.later_turns)] if stats.later_turns else []),
        *_imported(stats),
        "## Prompts by domain and expected mode",
        _by_domain(stats),
        "## Prompts by intent",
        format_table(("intent", "prompts"), [(i, intents[i]) for i in INTENTS if i in intents]),
        "## From plan to rows",
        _yield(stats),
        "Lost, by reason:",
        format_table(("reason", "prompts"), sorted(stats.excluded.items())),
        *coverage_section(figures),
        *corpus_section(figures),
        "## Drafts by validator",
        _validators(stats),
        "## Teachers and models",
        _models(stats),
        "Selected answers, by what accepted them:",
        format_table(("accepted by", "answers"), sorted(stats.count_kept("accepted_by").items())),
        "## How to load",
        _loading(view_rows, views),
        "## Limits",
        "\n".join(
            f"- {text}" for text in (*LIMIT_NOTES, *([IMPORT_NOTE] if stats.imported else []))
        ),
        "## Licence",
        _licence(stats),
    ]
    return f"---\n{_head(stats, view_rows, recipe, views)}---\n\n" + "\n\n".join(sections) + "\n"


def _opening(stats: RunStats, recipe: Recipe, taxonomy: str) -> Iterator[str]:
    grades, accepted_by = stats.count_kept("grade"), stats.count_kept("accepted_by")
    if grades.get("demo", 0):
        yield DEMO_NOTE.format(count=grades.get("demo", 0), prompts=stats.prompts)
    if unjudged := grades.get("generated", 0) and accepted_by.get("rules", 0):
        count = min(unjudged, grades.get("generated", 0))
        yield FORM_ONLY_NOTE.format(count=count, prompts=stats.prompts)
    if count := accepted_by.get("nothing", 0):
        yield UNJUDGED_NOTE.format(count=count, prompts=stats.prompts)
    policies = ", ".join(escape_cell(p) for p in stats.count_kept("policy_id")) or "none"
    yield (
        f"Training data for safe-completions: {stats.prompts} prompts about sensitive and dual-use "
        f"subjects, each with an answer that is as helpful as its policy allows. Made with safegen from "
        f"the recipe {escape_cell(recipe.name)}, taxonomy {escape_cell(taxonomy)}, policies {policies}."
    )


def filled_splits(view_rows: ViewRows) -> dict[str, list[str]]:
    """List the splits with rows by view; views without rows are left out."""
    splits_by_view = {
        v: [s for s in SPLITS if splits.get(s)] for v, splits in view_rows.rows.items()
    }
    return {view: splits for view, splits in splits_by_view.items() if splits}


def _head(stats: RunStats, view_rows: ViewRows, recipe: Recipe, known: Mapping[str, View]) -> str:
    import yaml

    views = filled_splits(view_rows)
    default = preferred(list(views), known)
    configs = [
        {"config_name": view}
        | ({"default": True} if view == default else {})
        | {
            "data_files": [{"split": s, "path": f"data/{view}/{s}/*.parquet"} for s in splits],
        }
        for view, splits in views.items()
    ]
    licences = sorted(
        {name.lower().replace(" ", "-") for name in stats.count_kept("source_licence")}
    )
    total = sum(sum(splits.values()) for splits in view_rows.rows.values())
    head: dict[str, object] = {
        "license": licences[0] if len(licences) == 1 else licences,
        "language": sorted({tag.split("-")[0].lower() for tag in stats.count_kept("language")}),
        "pretty_name": recipe.name,
        "size_categories": [next((name for top, name in SIZE_CATEGORIES if total < top), "n>1M")],
        "task_categories": ["text-generation"],
        "tags": ["safe-completion", "safety", "alignment", "synthetic"],
        "configs": configs,
    }
    kept = {name: value for name, value in head.items() if value}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _rows(view_rows: ViewRows) -> str:
    views = filled_splits(view_rows)
    lines = [(v, *(view_rows.rows[v].get(s, 0) for s in SPLITS)) for v in views]
    return format_table(("view", *SPLITS), lines)


def _empty(
    view_rows: ViewRows, recipe: Recipe, known: Mapping[str, View], trusted: Sequence[str]
) -> Iterator[str]:
    views = filled_splits(view_rows)
    for view in view_rows.rows:
        if view not in views:
            reason = known[view].why_empty(recipe, trusted) if view in known else ""
            yield f"The view {escape_cell(view)} came out empty and is left out{reason and f': {reason}'}."


def _without_row(stats: RunStats, view_rows: ViewRows, known: Mapping[str, View]) -> Iterator[str]:
    views = filled_splits(view_rows)
    for name, view in known.items():
        if name in views and view.leaves_out and (count := view_rows.without_row.get(name)):
            yield f"{escape_cell(name)} has no row for {count} of {stats.prompts} prompts: {view.leaves_out}."


def _imported(stats: RunStats) -> Iterator[str]:
    if stats.imported:
        yield "## Imported prompts"
        yield "Their source is a user's file; where it did not say what a prompt is, blind labellers did."
        lines = [(*who, count) for who, count in sorted(stats.imported.items())]
        yield format_table(("licence", "labelled by", "prompts"), lines)


def _by_domain(stats: RunStats) -> str:
    lines = [
        (domain, *(modes.get(mode, 0) for mode in MODES), sum(modes.values()))
        for domain, modes in stats.count_domain_modes().items()
    ]
    return format_table(("domain", *MODES, "all"), lines)


def _yield(stats: RunStats) -> str:
    lines = [
        ("prompts planned", stats.planned),
        ("prompts with a draft", stats.answered),
        ("prompts with an accepted draft", stats.accepted),
        ("prompts here", stats.prompts),
        ("drafts made", stats.drafts.total),
        ("drafts accepted", stats.drafts.accepted),
    ]
    return format_table(("step", "count"), lines)


def _validators(stats: RunStats) -> str:
    findings = ("passed", "failed", "unscored")
    lines: list[tuple[object, ...]] = []
    for name, counts in stats.count_verdicts().items():
        share = counts.get("passed", 0) / sum(counts.values())
        lines.append((name, *(counts.get(f, 0) for f in findings), f"{share:.1%}"))
    return format_table(("validator", *findings, "share passed"), lines)


def _models(stats: RunStats) -> str:
    lines = [(*who, drafts) for who, drafts in sorted(stats.drafts.by_model.items())]
    return format_table(("role", "teacher", "model", "drafts"), lines)


def _loading(view_rows: ViewRows, known: Mapping[str, View]) -> str:
    views = filled_splits(view_rows)
    view = preferred(list(views), known)
    if view is None:
        return "There are no rows to load."
    split = views[view][0]
    return (
        "```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("path/to/this/folder", "{view}", split="{split}")\n```\n\n'
        "```python\nimport polars as pl\n\n"
        f'rows = pl.read_parquet("path/to/this/folder/data/{view}/{split}/*.parquet")\n```'
    )


def _licence(stats: RunStats) -> str:
    names: Mapping[str, int] = stats.count_kept("source_licence")
    if not names:
        return "No rows, no licence."
    return "Prompts by licence of their source:\n\n" + format_table(
        ("licence", "prompts"), sorted(names.items())
    )
