"""Implementation of `safegen evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from safegen.cli.options import INTERRUPTED
from safegen.cli.render.console import (
    format_counts,
    format_json_line,
    make_console,
    make_text,
    print_out,
)
from safegen.cli.render.progress import print_line, show_progress
from safegen.cli.render.tables import print_table
from safegen.cli.score import (
    DASH,
    HEADS,
    LEVELS,
    format_unjudged,
    iter_dropped,
    list_levels,
    list_rates,
)
from safegen.config.recipe import PluginRef
from safegen.core import event_loop, plugins as plugin_lookup
from safegen.core.errors import UserError
from safegen.core.plural import format_plural
from safegen.pipeline.evaluate import EvaluatedModel, Evaluation, aevaluate
from safegen.pipeline.evaluation_report import PairedDifference
from safegen.pipeline.score_report import GroupScores


def run_evaluate(
    source: str,
    *,
    models: Sequence[str],
    endpoints: Sequence[str],
    key_names: Sequence[str],
    output: Path | None,
    plugins: Sequence[str],
    json: bool,
) -> int:
    """Evaluate models, print the comparison, and return the exit code.

    It is 1 if a model has no answer, or if the panel decided about none of its answers.
    """
    refs = make_models(models, endpoints=endpoints, key_names=key_names)
    try:
        with show_progress(sys.stderr) as (watch, _):
            evaluation = event_loop.run(
                aevaluate(source, refs, output=output, plugins=plugins, watch=watch)
            )
    except KeyboardInterrupt:
        print_line(sys.stderr, "interrupted; the same command resumes")
        return INTERRUPTED
    if json:
        sys.stdout.write(format_json_line(evaluation.to_json()))
    else:
        _print_evaluation(evaluation)
    totals = [(model.name, model.report.total) for model in evaluation.models]
    for name, total in totals:
        if total.unjudged:
            print_line(sys.stderr, f"warning: {name}: {format_unjudged(total)}")
    return 0 if all(total.n and not total.lacks_judgement for _, total in totals) else 1


def make_models(
    names: Sequence[str], *, endpoints: Sequence[str], key_names: Sequence[str]
) -> dict[str, PluginRef]:
    """Make a teacher for each named model; one endpoint or key serves all of them.

    Raises:
        UserError: the numbers do not fit, a model appears twice, or an address is wrong.
    """
    for option, values in (("--base-url", endpoints), ("--key-env", key_names)):
        if len(values) > 1 and len(values) != len(names):
            raise UserError(
                f"`{option}` is given {len(values)} times for {format_plural(len(names), 'model')}; give"
                " it once, or once for each `--model`"
            )
    refs: dict[str, PluginRef] = {}
    for n, name in enumerate(names):
        params = {"base_url": _pick(endpoints, n), "model": name}
        if key := _pick(key_names, n):
            params["api_key_env"] = key
        ref = PluginRef(use="openai_chat", params=params)
        plugin_lookup.make_plugin(
            "teachers", ref.use, {k: params[k] for k in ("base_url", "model")}
        )
        shown = name if name not in refs else f"{name} at {params['base_url']}"
        if shown in refs:
            raise UserError(f"`--model {name}` is named twice for one address; keep one")
        refs[shown] = ref
    return refs


def _pick(values: Sequence[str], number: int) -> str:
    return values[number] if len(values) > 1 else (values[0] if values else "")


def _print_evaluation(evaluation: Evaluation) -> None:
    out = make_console(sys.stdout)
    counts = (
        f"{format_plural(evaluation.prompts, 'prompt')} of {format_plural(evaluation.sets, 'set')}"
    )
    print_out(out, make_text(f"{counts} in the test split, answered without the spec", "bold"), "")
    rows = [(m.name, *list_rates(m.report.total)) for m in evaluation.models]
    print_table(out, ("model", *HEADS), rows)
    print_out(out, "")
    levels = [(m.name, *list_levels(m.report.total)) for m in evaluation.models]
    print_table(out, ("model", "level known", *LEVELS), levels)
    for pair in evaluation.comparisons:
        if not pair.differences:
            continue
        print_out(out, "", make_text(f"{pair.other} minus {pair.baseline}", "bold"))
        print_table(
            out,
            ("group", "", "measure", "pairs", pair.baseline, pair.other, "difference"),
            [_list_difference(difference) for difference in pair.differences],
        )
    print_out(out, "", *(make_text(note) for note in _iter_notes(evaluation)))


def _list_difference(difference: PairedDifference) -> tuple[str, ...]:
    points = f"{100 * difference.difference:+.0f}"
    if difference.interval is not None:
        low, high = difference.interval
        points += f" [{100 * low:+.0f}, {100 * high:+.0f}]"
    return (
        difference.grouping,
        difference.group or DASH,
        difference.measure.replace("_", " "),
        f"{difference.pairs:,}",
        f"{100 * difference.baseline:.0f}%",
        f"{100 * difference.other:.0f}%",
        points,
    )


def _iter_notes(evaluation: Evaluation) -> Iterator[str]:
    yield "brackets: 95 % intervals; those of differences, in percentage points, resample sets"
    if evaluation.left_out:
        yield (
            "prompts that an author writes are left out; evaluate the folder of a run to include them"
        )
    for model in evaluation.models:
        yield f"{model.name}: {_describe_model(model)}"
    # All models have the same panel.
    yield from dict.fromkeys(line for m in evaluation.models for line in iter_dropped(m.report))
    yield f"report: {evaluation.output / 'evaluation.json'}"


def _describe_model(model: EvaluatedModel) -> str:
    total: GroupScores = model.report.total
    parts = [f"{model.usage.requests:,} requests, {model.usage.cached:,} cached"]
    parts += [f"without a text: {format_counts(total.unanswered)}"] if total.unanswered else []
    parts += [f"{format_plural(model.failed, 'prompt')} not reached"] if model.failed else []
    return "; ".join(parts)
