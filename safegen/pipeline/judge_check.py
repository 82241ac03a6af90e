"""The panel of a run reads traps before its first draft; `test_judges` probes it without a run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safegen.config.recipe import Judges, Recipe
from safegen.core.errors import RunError, UserError
from safegen.core.hashing import digest
from safegen.core.progress import Progress
from safegen.core.types import FindingCode, Teacher
from safegen.judges.assurance import Comparison, JurorAssurance, ask_probes, assess, is_asked
from safegen.judges.blind_labels import gather_all
from safegen.judges.juror import Juror, load_judge_prompt
from safegen.judges.jury import count_quorum
from safegen.judges.panel import Panel
from safegen.judges.probes import (
    REWRITES,
    Probe,
    make_source,
    make_test_probes,
    make_trap_probes,
)
from safegen.judges.traps import Traps, draw_traps, load_traps
from safegen.pipeline.resolve import ResolvedRecipe, check_panel, resolve_recipe
from safegen.store.json_files import write_json
from safegen.store.run_folder import RunFolder
from safegen.teachers import Meter

__all__ = [
    "REWRITES",
    "Comparison",
    "JudgeKey",
    "JudgeTest",
    "JurorAssurance",
    "check_judges",
    "count_trap_calls",
    "count_trap_chars",
    "make_judge_keys",
    "test_judges",
]
logger = logging.getLogger(__name__)
OUTAGE: FindingCode = "unavailable"
"""Code of a request that got no answer, which says nothing about a juror."""


class JudgeKey(NamedTuple):
    """The key of a result about a judge; it does not hold for another model or rubric."""

    judge: str
    model: str
    """Digest of model and address."""
    rubric: str
    """Digest of the judge prompt and the specs."""


def make_judge_keys(panel: Panel, inputs: ResolvedRecipe) -> dict[str, JudgeKey]:
    """Make the keys of the jurors by name."""
    rubric = digest([panel.prompt.sha256, *sorted(p.policy_id for p in inputs.policies)])[:16]
    return {
        juror.name: JudgeKey(juror.name, _digest_model(juror.teacher, juror.name), rubric)
        for juror in panel.jurors
    }


def _digest_model(teacher: Teacher, name: str) -> str:
    endpoint = getattr(teacher, "endpoint", None)
    if endpoint is not None:
        return digest([endpoint.model, endpoint.base_url])[:16]
    return digest([str(getattr(teacher, "model", name))])[:16]


async def check_judges(
    folder: RunFolder, inputs: ResolvedRecipe, panel: Panel, *, progress: Progress
) -> Panel:
    """Let each juror read traps, and return the panel without the jurors that were dropped.

    The results are written to `run/judges.json`. With `judges.traps: 0` no juror is tested.

    Args:
        folder: the run.
        inputs: the resolved recipe.
        panel: the jurors.
        progress: counts the traps.

    Raises:
        RunError: a juror is below a bound and `judges.below` is `stop`, or too few are left.
    """
    judges = inputs.recipe.judges
    keys = make_judge_keys(panel, inputs)
    if not judges.traps:
        jurors = [key._asdict() for key in keys.values()]
        write_json(folder.judge_check, {"traps": 0, "language": None, "jurors": jurors})
        return panel
    traps = load_traps(inputs.locale.locale)
    drawn = draw_traps(traps.file.traps, n=judges.traps, seed=inputs.recipe.seed)
    probes = make_trap_probes(make_source(traps, panel.prompt), drawn)
    started = _start_progress(panel.jurors, probes)
    progress.planned, progress.done, progress.stage = started.planned, 0, started.stage
    results = await _probe_jurors(panel.jurors, probes, panel, judges, progress)
    bad = any(not result.passes for result in results)
    # Written also on failure: the numbers help to choose another judge.
    write_json(folder.judge_check, _describe_check(results, keys, traps, judges))
    if bad and judges.below == "stop":
        raise RunError(
            "\n".join(format_failure(result) for result in results if not result.passes)
            + "\nname a better model under `judges.panel`, or set `judges.below: drop`"
        )
    return _drop_jurors(panel, [result for result in results if not result.passes])


def _start_progress(jurors: Sequence[Juror], probes: Sequence[Probe]) -> Progress:
    planned = sum(is_asked(juror, probe) for juror in jurors for probe in probes)
    return Progress(planned=planned, stage="trapping")


async def _probe_jurors(
    jurors: Sequence[Juror],
    probes: Sequence[Probe],
    panel: Panel,
    judges: Judges,
    progress: Progress,
) -> list[JurorAssurance]:
    def on_read() -> None:
        progress.done += 1

    results: list[JurorAssurance] = []
    # One juror after the other would leave the endpoints of the others idle.
    readings = await gather_all(
        ask_probes(juror, probes, template=panel.prompt, on_read=on_read) for juror in jurors
    )
    for juror, answers in zip(jurors, readings, strict=True):
        if lost := sum(reading.code == OUTAGE for reading in answers.values()):
            raise RunError(
                f"`{juror.name}` did not answer {lost} of {len(answers)} traps, because its endpoint is"
                " unavailable; run the same command again"
            )
        results.append(assess(juror, probes, answers, bounds=judges.assurance))
    return results


def format_failure(result: JurorAssurance) -> str:
    """Describe the biases of a juror in one line."""
    words = ", ".join(
        f"{finding.words} ({abs(finding.measure):.2f}, allowed {abs(finding.bound):.2f})"
        for finding in result.bias_findings
    )
    misjudged = f"; misjudged: {', '.join(result.misjudged)}" if result.misjudged else ""
    return f"`{result.judge}` {words}; {result.right} of {result.traps} traps right{misjudged}"


def _drop_jurors(panel: Panel, failed: Sequence[JurorAssurance]) -> Panel:
    if not failed:
        return panel
    bad = {result.judge for result in failed}
    left = tuple(juror for juror in panel.jurors if juror.name not in bad)
    reasons = [format_failure(result) for result in failed]
    quorum = panel.rules.quorum
    needed = count_quorum(len(panel.jurors), quorum) if quorum else 1
    if len(left) < needed or all(juror.is_guard for juror in left):
        raise RunError(
            "\n".join(reasons)
            + f"\n{len(left)} of {len(panel.jurors)} judges keep the bounds of `judges.assurance`, which is"
            " too few to decide; name better models under `judges.panel`: `safegen judge test RECIPE`"
            " shows the biases"
        )
    for reason in reasons:
        logger.warning("dropped from the panel (`judges.below: drop`): %s", reason)
    return replace(panel, jurors=left)


def _describe_check(
    results: Sequence[JurorAssurance],
    keys: Mapping[str, JudgeKey],
    traps: Traps,
    judges: Judges,
) -> dict[str, object]:
    return {
        "traps": judges.traps,
        "language": traps.file.language,
        "file": traps.file.digest,
        "right": judges.assurance.right,
        "jurors": [
            {
                **keys[result.judge]._asdict(),
                "n": result.traps,
                "correct": result.right,
                "misjudged": list(result.misjudged),
                "leaks_passed": list(result.leaks_passed),
                "biases": list(result.biases),
                "dropped": not result.passes and judges.below == "drop",
            }
            for result in results
        ],
    }


class JudgeTest(NamedTuple):
    """The results of all jurors of a recipe."""

    language: str
    """Language of the traps."""
    keys: Mapping[str, JudgeKey]
    results: tuple[JurorAssurance, ...]

    @property
    def passes(self) -> bool:
        """Return True if no juror has a bias."""
        return all(result.passes for result in self.results)


async def test_judges(
    recipe: Recipe | str,
    *,
    trusted: Sequence[str] = (),
    teachers: Mapping[str, Teacher] | None = None,
    watch: Callable[[Progress, Meter], None] | None = None,
) -> JudgeTest:
    """Probe each juror of a recipe with traps, perturbations, rewritten rubrics, other policies and injections.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        trusted: modules that the recipe may name as `module:factory`.
        teachers: `judge` in place of the panel.
        watch: receives the live counters once, before the first request.

    Raises:
        UserError: the recipe is wrong, or it has no panel.
        RunError: an endpoint cannot be reached, or the budget is spent.
    """
    # Only this function and a run need workers, which import most of the package.
    from safegen.pipeline.workers import open_worker_factory

    inputs = resolve_recipe(recipe, trusted=trusted)
    judges = inputs.recipe.judges
    if not judges.panel:
        raise UserError("the recipe has no judges; name some under `judges.panel`")
    check_panel(inputs, replaced=teachers or {})
    traps = load_traps(inputs.locale.locale)
    # The test needs known verdicts, also if runs do without them.
    count = judges.traps or len(traps.file.traps)
    drawn = draw_traps(traps.file.traps, n=count, seed=inputs.recipe.seed)
    with tempfile.TemporaryDirectory(prefix="safegen-judge-") as name:
        folder = RunFolder(Path(name))
        folder.root.mkdir(parents=True)
        async with open_worker_factory(folder, inputs, teachers or {}) as factory:
            panel = factory.make_panel()
            assert panel is not None, "the recipe names one"
            probes = make_test_probes(make_source(traps, panel.prompt), drawn)
            progress = _start_progress(panel.jurors, probes)
            if watch:
                watch(progress, factory.meter)
            results = await _probe_jurors(panel.jurors, probes, panel, judges, progress)
            keys = make_judge_keys(panel, inputs)
    return JudgeTest(traps.file.language, keys, tuple(results))


def count_trap_calls(inputs: ResolvedRecipe) -> int:
    """Count the requests for traps, at most: each juror reads all of them."""
    judges = inputs.recipe.judges
    return judges.traps * len(judges.panel)


def count_trap_chars(inputs: ResolvedRecipe) -> int:
    """Count the characters that one juror reads for the traps."""
    judges = inputs.recipe.judges
    if not judges.panel or not judges.traps:
        return 0
    traps = load_traps(inputs.locale.locale)
    drawn = draw_traps(traps.file.traps, n=judges.traps, seed=inputs.recipe.seed)
    probes = make_trap_probes(make_source(traps, load_judge_prompt()), drawn)
    return sum(
        len(probe.render(probe.text.expectation, probe.text.harm).system)
        + len(probe.trap.prompt)
        + len(probe.trap.response)
        for probe in probes
    )
