"""Using safegen as a library: generate, open a run, cut a view."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from safegen import __version__, assets, locales, plugins, prompts, taxonomy
from safegen import recipe as recipes
from safegen.errors import AssetNotFound, RecipeMismatch, StoreDamaged, UserError
from safegen.hashing import digest, file_sha256
from safegen.journey import Crew
from safegen.policy import spec
from safegen.progress import Progress
from safegen.recipe import PluginRef, Recipe
from safegen.scenarios.sets import chosen_harms, plan_sets, shards
from safegen.store import accounting, plan
from safegen.store.folder import RunFolder
from safegen.store.journal import Journal, Lock
from safegen.teachers._layers import Meter
from safegen.types import Tally, Teacher, Usage

if TYPE_CHECKING:
    import polars as pl

    from safegen.build import BuildReport
    from safegen.locales import Locale
    from safegen.policy.spec import Policy
    from safegen.taxonomy import Taxonomy

Until = Literal["expand", "draft", "validate"]
Watch = Callable[[Progress, Meter], None]
"""Takes the live counters once, before work begins."""
load_recipe = recipes.load


@dataclass(frozen=True)
class Inputs:
    """Everything that a recipe names, read and checked."""

    recipe: Recipe
    tree: Taxonomy
    policies: tuple[Policy, ...]
    locale: Locale
    draft_prompt: prompts.PromptFile
    revise_prompt: prompts.PromptFile
    trusted: tuple[str, ...] = ()
    named: recipes.Named = field(default_factory=recipes.Named)

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each file that was found, by kind and name."""
        found = {
            f"taxonomy {self.tree.file.taxonomy}": file_sha256(self.tree.path),
            f"locale {self.locale.locale}": digest(self.locale.model_dump(mode="json")),
            "prompt draft": self.draft_prompt.sha256,
            "prompt revise": self.revise_prompt.sha256,
        }
        for name in self.tree.file.sets:
            found[f"sets {name}"] = file_sha256(assets.inside(self.tree.path.parent, name))
        return found | {f"policy {p.spec.policy}": p.policy_id for p in self.policies}


@dataclass(frozen=True)
class Run:
    """A recipe's execution on disk."""

    folder: RunFolder
    recipe: Recipe
    report: BuildReport | None = None
    usage: Usage = field(default_factory=Usage)
    asked: int = 0

    @property
    def output(self) -> Path:
        """The dataset folder; `run/` lies in it."""
        return self.folder.output

    def view(self, name: str, *, split: str | None = None) -> pl.DataFrame:
        """The rows of a view.

        Args:
            name: `sft`, `preference`, …
            split: `train` or `test`; default both.

        Raises:
            AssetNotFound: the dataset has no such view or split.
        """
        import polars as pl

        known = sorted(p.name for p in (self.output / "data").glob("*") if p.is_dir())
        assets.known_or_fail(name, known, what=f"view in `{self.output}` called")
        files = sorted((self.output / "data" / name).glob(f"{split or '*'}/*.parquet"))
        if not files:
            raise AssetNotFound(f"view `{name}` has no split `{split}`")
        return pl.concat([pl.read_parquet(path) for path in files])


def generate(recipe: Recipe | str = "starter", **options: object) -> Run:
    """Do the whole job: plan, draft, validate, build. The same call resumes.

    Takes the options of `agenerate`.

    Raises:
        UserError: the recipe or what it names is wrong, or an event loop is running here.
        RunError: the run cannot go on; what was paid for is kept.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(agenerate(recipe, **options))  # pyright: ignore[reportArgumentType]
    raise UserError("an event loop is running here; use `await safegen.agenerate(…)`")


async def agenerate(
    recipe: Recipe | str = "starter",
    *,
    output: str | Path | None = None,
    until: Until | None = None,
    replan: bool = False,
    plugins: Sequence[str] = (),
    teachers: Mapping[str, Teacher] | None = None,
    watch: Watch | None = None,
) -> Run:
    """Do the whole job inside a running loop; see `generate`.

    Args:
        recipe: a recipe, a path, or the name of a built-in one.
        output: folder of the run and the dataset; default the recipe's.
        until: stop after the plan, the drafts, or the verdicts.
        replan: plan anew from a changed recipe; replies that were paid for are kept.
        plugins: modules of yours that the recipe may name as `module:factory`.
        teachers: teachers by role in place of the recipe's, for tests.
        watch: called once with the live counters.
    """
    inputs = read_inputs(recipe, trusted=plugins)
    if until != "expand":
        check_teachers(inputs, given=teachers or {})
    folder = RunFolder(Path(output) if output else inputs.recipe.folder)
    lock = open_folder(folder)
    try:
        freeze(folder, inputs, replan=replan)
        write_plan(folder, inputs)
        run = Run(folder, inputs.recipe)
        if until == "expand":
            return run
        usage, asked = await _work(folder, inputs, until=until, teachers=teachers, watch=watch)
        report = None if until else build(folder, inputs)
        return Run(folder, inputs.recipe, report, usage, asked)
    finally:
        lock.release()


def read_inputs(recipe: Recipe | str, *, trusted: Sequence[str] = ()) -> Inputs:
    """Read and check everything that a recipe names; no model is called.

    Raises:
        UserError: with file, line and column.
    """
    loaded = recipes.load(recipe) if isinstance(recipe, str) else recipe
    named = recipes.Named(recipe if isinstance(recipe, str) else None)
    with named.at("taxonomy"):
        tree = taxonomy.load(loaded.taxonomy)
    with named.at("policies"):
        policies = tuple(spec.load(name) for name in loaded.policies)
    with named.at("locales"):
        locale = locales.load(loaded.locales[0])
    inputs = Inputs(
        recipe=loaded,
        tree=tree,
        policies=policies,
        locale=locale,
        draft_prompt=prompts.load("draft", blocks=["system"], fields=["told", "operator"]),
        revise_prompt=prompts.load("revise", blocks=["user"], fields=["findings"]),
        trusted=tuple(trusted),
        named=named,
    )
    with named.at("plan", "harms"):
        chosen_harms(loaded.plan, tree)
    with named.at("validators"):
        make_validators(inputs)
    with named.at("views"):
        for ref in views_of(loaded):
            plugins.make("views", ref.use, ref.params, trusted=trusted)
    return inputs


def check_teachers(inputs: Inputs, *, given: Mapping[str, Teacher]) -> None:
    """Make the recipe's teachers as a trial; none is asked anything.

    Args:
        inputs: what the recipe names.
        given: teachers by role that take the place of the recipe's.

    Raises:
        UserError: an unknown teacher, a parameter that does not fit, a key that is not set.
    """
    roles = {"drafter": inputs.recipe.teachers.drafter, "reviser": inputs.recipe.teachers.reviser}
    for role, ref in roles.items():
        if ref is not None and role not in given:
            with inputs.named.at("teachers", role):
                _make_teacher(inputs, ref)


# object: collaborators of whatever type a teacher takes.
def _make_teacher(inputs: Inputs, ref: PluginRef, **more: object) -> Teacher:
    given: dict[str, object] = {
        "locales": {inputs.locale.locale: inputs.locale},
        "journal": None,
        "meter": None,
        "seed": inputs.recipe.seed,
    }
    kept = {k: v for k, v in (given | more).items() if k not in ref.params}
    return plugins.make("teachers", ref.use, ref.params, trusted=inputs.trusted, **kept)


def views_of(recipe: Recipe) -> tuple[PluginRef, ...]:
    """The views that a recipe cuts."""
    return recipe.views


def make_validators(inputs: Inputs) -> dict[str, object]:
    """The recipe's validators by name."""
    given = {
        "locales": {inputs.locale.locale: inputs.locale},
        "policies": {p.policy_id: p for p in inputs.policies},
    }
    return {
        ref.use: plugins.make("validators", ref.use, ref.params, trusted=inputs.trusted, **given)
        for ref in inputs.recipe.validators
    }


def open_folder(folder: RunFolder) -> Lock:
    """Make the run folder and take it for this process."""
    from safegen.store.parquet import disk_failed

    try:
        folder.refuse_foreign()
        folder.root.mkdir(parents=True, exist_ok=True)
        (folder.root / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as e:
        raise disk_failed(folder.root, e) from e
    return Lock(folder.root / "lock")


def freeze(folder: RunFolder, inputs: Inputs, *, replan: bool) -> None:
    """Write the recipe as resolved, or compare with the one that began the run.

    Raises:
        RecipeMismatch: naming the keys and files that differ.
    """
    now = inputs.recipe.digests() | inputs.fingerprints
    if replan:
        for name in ("plan", "records", "drafts", "failures"):
            shutil.rmtree(folder.root / name, ignore_errors=True)
    elif folder.plan.exists():
        before = folder.frozen()["digests"]
        differing = [key for key in now if before.get(key) != now[key]]
        if differing:
            raise RecipeMismatch(
                f"`{folder.root}` was begun with another {', '.join(f'`{k}`' for k in differing)}; restore"
                " it, choose another `--output`, or plan anew with `--replan` (paid replies are kept)"
            )
    frozen = {
        "recipe": inputs.recipe.model_dump(mode="json"),
        "digests": now,
        "safegen": __version__,
    }
    folder.freeze(frozen)


def write_plan(folder: RunFolder, inputs: Inputs) -> None:
    """Plan round 0, unless it is planned."""
    if folder.plan.exists():
        return
    sets = plan_sets(inputs.recipe.plan, inputs.tree, inputs.policies, inputs.locale)
    plan.write(folder.plan, shards(sets, candidates=inputs.recipe.plan.candidates))
    if plan.size(folder.plan)[1] == 0:
        folder.plan.unlink()
        raise UserError("the plan is empty: no written set fits `plan`; widen `harms` or `intents`")


async def _work(
    folder: RunFolder,
    inputs: Inputs,
    *,
    until: Until | None,
    teachers: Mapping[str, Teacher] | None,
    watch: Watch | None,
) -> tuple[Usage, int]:
    from safegen.runtime import local

    todo, progress = await asyncio.to_thread(unfinished, folder, inputs.recipe, until)
    if not todo:
        if watch:
            watch(progress, Meter())
        return Usage(), 0
    journal = Journal(folder.journal)
    began = time.monotonic()
    made: list[Teacher] = []
    try:
        before = accounting.before(folder.accounting, journal.spent())
    except StoreDamaged:
        await journal.aclose()
        raise
    budget = inputs.recipe.budget
    meter = Meter(requests=budget.requests, tokens=budget.tokens, before=before)
    if watch:
        watch(progress, meter)
    try:
        crew, made = _crew(inputs, journal, meter, teachers, progress, validating=until != "draft")
        concurrency = max(int(getattr(t, "concurrency", 1)) for t in made)
        await local.run(folder, todo, crew, concurrency=concurrency)
    finally:
        for teacher in made:
            if close := getattr(teacher, "aclose", None):
                await close()
        await journal.settle()
        kept = journal.spent()
        await journal.aclose()
        seconds = time.monotonic() - began
        accounting.write(
            folder.accounting, before=before, session=meter.usage(), kept=kept, seconds=seconds
        )
    return meter.usage(), len(todo)


def unfinished(
    folder: RunFolder, recipe: Recipe, until: Until | None
) -> tuple[list[int], Progress]:
    """The shards to do, and the counters to begin with; shards that lost items to outages are done again."""
    count, scenarios = plan.size(folder.plan)
    for number in sorted({n for n, f in folder.read_failures() if f.outcome == "unavailable"}):
        folder.drop_shard(number)
    finished = {n for n in folder.finished() if n < count}
    if until == "draft":
        finished |= {n for n in range(count) if folder.drafts(n).exists()}
    todo = [n for n in range(count) if n not in finished]
    left = sum(len(plan.read(folder.plan, n)) for n in todo) if finished else scenarios
    return todo, Progress(planned=left * recipe.plan.candidates, shards_planned=len(todo))


def _crew(
    inputs: Inputs,
    journal: Journal,
    meter: Meter,
    teachers: Mapping[str, Teacher] | None,
    progress: Progress,
    *,
    validating: bool,
) -> tuple[Crew, list[Teacher]]:
    recipe = inputs.recipe

    def role(name: str, ref: PluginRef) -> Teacher:
        if teachers and name in teachers:
            return teachers[name]
        return _make_teacher(inputs, ref, journal=journal, meter=meter)

    drafter = role("drafter", recipe.teachers.drafter)
    reviser_ref = recipe.teachers.reviser or recipe.teachers.drafter
    reviser = role("reviser", reviser_ref) if recipe.teachers.reviser else drafter
    crew = Crew(
        drafter=drafter,
        reviser=reviser,
        drafter_name=recipe.teachers.drafter.use,
        reviser_name=reviser_ref.use,
        grade="demo" if recipe.teachers.drafter.use == "offline" else "generated",
        validators=make_validators(inputs),  # pyright: ignore[reportArgumentType]
        required=recipe.required,
        policies={p.policy_id: p for p in inputs.policies},
        draft_prompt=inputs.draft_prompt,
        revise_prompt=inputs.revise_prompt,
        candidates=recipe.plan.candidates,
        revisions=recipe.revise,
        validating=validating,
        scrub=journal.scrub,
        progress=progress,
    )
    return crew, [drafter] if reviser is drafter else [drafter, reviser]


def build(folder: RunFolder, inputs: Inputs) -> BuildReport:
    """Cut the views and write the dataset from the records on disk."""
    from safegen.build import build as cut

    return cut(
        folder,
        inputs.recipe,
        taxonomy_version=f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        policies=inputs.policies,
        fingerprints=inputs.fingerprints,
        trusted=inputs.trusted,
    )


def open_run(output: str | Path) -> Run:
    """Open what a run left on disk.

    Raises:
        AssetNotFound: no run there.
        StoreDamaged: its `recipe.json` cannot be read.
    """
    folder = RunFolder(Path(output))
    if not folder.recipe.exists() and not folder.plan.exists():
        raise AssetNotFound(f"no run in `{output}`; `safegen generate` makes one")
    return Run(folder, recipes.thawed(folder.frozen()["recipe"], shown=str(folder.recipe)))


def is_finished(folder: RunFolder) -> bool:
    """Whether every shard of the plan has its records; a `retry` that was killed leaves some without."""
    return folder.plan.exists() and len(folder.finished()) >= plan.size(folder.plan)[0]


def lost_items(folder: RunFolder) -> dict[str, int]:
    """Items that could not be had, by outcome."""
    return dict(Tally.of([f.outcome for _, f in folder.read_failures()]).counts)


def ask_anew(folder: RunFolder) -> int:
    """Raise the ask number of every lost item and let its shard be done again; how many there were."""
    lock = open_folder(folder)
    try:
        lost = list(folder.read_failures())
        journal = Journal(folder.journal)
        journal.raise_asks(f.key for _, f in lost if f.key and f.outcome != "unavailable")
        journal.close()
        for shard in sorted({number for number, _ in lost}):
            folder.drop_shard(shard)
        return len(lost)
    finally:
        lock.release()


def spent(folder: RunFolder) -> dict[str, object]:
    """Requests, tokens and seconds over all sessions of a run."""
    told = accounting.read(folder.accounting)
    return {name: count for name, count in told.items() if name != accounting.JOURNALLED}


def forecast(inputs: Inputs) -> dict[str, object]:
    """What a recipe would do: scenarios, sets, and calls at most."""
    recipe = inputs.recipe
    scenarios = sets = 0
    modes: list[str] = []
    for set_ in plan_sets(recipe.plan, inputs.tree, inputs.policies, inputs.locale):
        sets += 1
        scenarios += len(set_)
        modes += [p.expectation.mode for p in set_]
    drafts = scenarios * recipe.plan.candidates
    return {
        "recipe": f"{recipe.name} {recipe.version}",
        "taxonomy": f"{inputs.tree.file.taxonomy}@{inputs.tree.file.version}",
        "policies": ", ".join(p.policy_id for p in inputs.policies),
        "sets": sets,
        "scenarios": scenarios,
        "expected modes": ", ".join(f"{k} {v}" for k, v in Tally.of(modes).counts.items()),
        "drafts": drafts,
        "calls at most": drafts * (1 + recipe.revise),
        "drafter": recipe.teachers.drafter.use,
        "validators": ", ".join(v.use for v in recipe.validators),
        "output": str(recipe.folder),
    }


def summary(run: Run, lost: Mapping[str, int]) -> dict[str, object]:
    """A run's result for machines."""
    told: dict[str, object] = {
        "output": str(run.output),
        "lost": dict(lost),
        "shards_done": run.asked,
    }
    told |= {"requests": run.usage.requests, "cached": run.usage.cached}
    if run.report is not None:
        report = run.report
        told |= {
            "planned": report.planned,
            "made": report.made,
            "accepted": report.accepted,
            "rows": {name: dict(splits) for name, splits in report.rows.items()},
            "dropped": dict(report.lost),
            "changed": report.changed,
        }
    return told
