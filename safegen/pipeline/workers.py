"""Who works on a run: teachers and judges by role, made from the recipe or given in their place."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain

from safegen.config import taxonomy
from safegen.config.recipe import PluginRef, Recipe
from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core import plugins
from safegen.core.errors import RunError
from safegen.core.progress import Progress
from safegen.core.types import Evidence, Expectation, Profile, Teacher, TeacherTraits
from safegen.coverage import axes
from safegen.coverage.axes import DEFAULT_AXES
from safegen.pipeline.process_set import Drafter, Workers
from safegen.pipeline.resolve import ResolvedRecipe, has_layers, make_teacher, make_validators
from safegen.policy import loader
from safegen.policy.decide import compute_expectation
from safegen.policy.spec import Policy, fitting_specs, policy_for
from safegen.scenarios.authoring.author import load_templates
from safegen.scenarios.authoring.expand import Writers
from safegen.scenarios.authoring.labeller_check import (
    ExpectKnown,
    KnownPrompt,
    check_labeller,
    draw_known_prompts,
)
from safegen.scenarios.authoring.plan_sets import list_axis_values
from safegen.store import usage
from safegen.store.journal import Journal
from safegen.store.run_folder import RunFolder, write_json
from safegen.teachers import CustomTeacher, Meter, RateLimiters


@asynccontextmanager
async def open_worker_factory(
    folder: RunFolder, inputs: ResolvedRecipe, teachers: Mapping[str, Teacher]
) -> AsyncGenerator[WorkerFactory]:
    """A staff over the run's journal and budget; at the end it is closed and its spending accounted for.

    Raises:
        StoreDamaged: the journal or the accounting cannot be read.
    """
    journal, began = Journal(folder.journal), time.monotonic()
    try:
        before = usage.prior_usage(folder.accounting, journal.usage())
        budget = inputs.recipe.budget
        meter = Meter(requests=budget.requests, tokens=budget.tokens, before=before)
        staff = WorkerFactory(inputs, journal=journal, meter=meter, teachers=teachers)
        try:
            yield staff
        finally:
            for teacher in staff.made:
                if close := getattr(teacher, "aclose", None):
                    await close()
            await journal.flush()
            kept, seconds = journal.usage(), time.monotonic() - began
            usage.write_accounting(
                folder.accounting, before=before, session=meter.usage(), kept=kept, seconds=seconds
            )
    finally:
        await journal.aclose()


class WorkerFactory:
    """Makes each teacher once; `made` are those to close."""

    def __init__(
        self,
        inputs: ResolvedRecipe,
        *,
        journal: Journal,
        meter: Meter,
        teachers: Mapping[str, Teacher],
    ) -> None:
        self.inputs = inputs
        self.made: list[Teacher] = []
        self._journal, self.meter, self._given = journal, meter, teachers
        self._limiters = RateLimiters()

    def make_workers(self, progress: Progress, *, validating: bool) -> Workers:
        """Everybody at their place.

        Raises:
            ConfigError: a teacher that cannot be made.
        """
        inputs, recipe = self.inputs, self.inputs.recipe
        drafters = self._make_drafters()
        reviser = recipe.teachers.reviser
        return Workers(
            drafters=drafters,
            reviser=self._make_drafter("reviser", reviser) if reviser else drafters[0],
            validators=make_validators(inputs),  # pyright: ignore[reportArgumentType]
            required=recipe.required_validators,
            policies={p.policy_id: p for p in inputs.policies},
            tiers={id_: harm.tier for id_, harm in inputs.tree.harms.items()},
            draft_prompt=inputs.draft_prompt,
            revise_prompt=inputs.revise_prompt,
            candidates=recipe.plan.candidates,
            revisions=recipe.revise,
            styles=recipe.plan.styles,
            reasoning=recipe.plan.reasoning,
            writers=self._make_writers() if recipe.plan.author_keys else None,
            validating=validating,
            scrub=self._journal.scrub,
            progress=progress,
        )

    def _make_drafters(self) -> tuple[Drafter, ...]:
        refs = self.inputs.recipe.teachers.drafter
        chosen = refs[:1] if "drafter" in self._given else refs
        return tuple(self._make_drafter("drafter", ref) for ref in chosen)

    def _make_drafter(self, role: str, ref: PluginRef) -> Drafter:
        teacher = self._make_teacher(role, ref)
        return Drafter(ref.use, teacher, self._traits(role, ref).grade)

    def _traits(self, role: str, ref: PluginRef) -> TeacherTraits:
        """Traits of a teacher; one that the caller gives may carry its own as `traits`."""
        if role in self._given:
            traits = getattr(self._given[role], "traits", None)
            return traits if isinstance(traits, TeacherTraits) else TeacherTraits()
        return plugins.teacher_traits(ref.use, trusted=self.inputs.trusted)

    def _make_writers(self) -> Writers:
        recipe, policies = self.inputs.recipe, self.inputs.policies
        harms = self.inputs.tree.harms
        author = recipe.teachers.author
        assert author is not None, "checked by the recipe"
        covering = {id_: policy_for(policies, harms[id_]) for id_ in self._list_leaves()}

        def expected(
            harm: str,
            evidence: Evidence,
            profile: Profile,
            detail: int,
            /,
            *,
            danger: bool = False,
        ) -> Expectation:
            return compute_expectation(
                covering[harm],
                harms[harm],
                evidence=evidence,
                profile=profile,
                detail=detail,
                danger=danger,
            )

        names = tuple(recipe.plan.axes) or DEFAULT_AXES
        return Writers(
            author=self._make_teacher("author", author),
            labellers=self.make_labellers(),
            files=load_templates(axes=list_axis_values(axes.load_axes(), names)),
            expect=expected,
            locale=self.inputs.locale,
        )

    def make_labellers(self) -> tuple[Teacher, ...]:
        """The panel that reads prompts blind; one that is given takes the place of all."""
        if "labeller" in self._given:
            return (self._custom(self._given["labeller"], "labeller"),)
        return tuple(
            self._make_teacher("labeller", ref) for ref in self.inputs.recipe.judges.labellers
        )

    def _list_leaves(self) -> list[str]:
        covered = self.inputs.policies
        return [h for h in self.inputs.tree.harms if any(p.covers(h) for p in covered)]

    def _make_teacher(self, role: str, ref: PluginRef) -> Teacher:
        if role in self._given:
            return self._custom(self._given[role], role)
        teacher = make_teacher(
            self.inputs, ref, journal=self._journal, meter=self.meter, limiters=self._limiters
        )
        if has_layers(ref, self.inputs) or self._traits(role, ref).embedded:
            self.made.append(teacher)
            return teacher
        return self._custom(teacher, ref.use)

    def _custom(self, given: Teacher, role: str) -> Teacher:
        """A teacher of the caller's with the run's journal, budget and limits; the caller's object is closed."""
        self.made.append(given)
        return CustomTeacher(
            given, name=role, journal=self._journal, meter=self.meter, limiters=self._limiters
        )


async def check_labellers(
    folder: RunFolder, inputs: ResolvedRecipe, writers: Writers | None
) -> None:
    """Have the labellers read prompts of known labels before they gate anything.

    What was measured is kept in `run/labellers.json`; the replies are in the journal.

    Raises:
        RunError: they are below the bar; the message holds the figures.
    """
    if writers is None:
        return
    judges, (known, expected) = inputs.recipe.judges, _draw_known_prompts(inputs)
    labels = writers.files.labels
    result = await check_labeller(known, labeller=writers.labellers, files=labels, expect=expected)
    summary = {f.field: {"n": f.n, "agree": f.hits, "kappa": f.kappa} for f in result.fields}
    write_json(folder.root / "labellers.json", {"bar": judges.bar, "fields": summary})
    if not result.passes(judges.bar):
        raise RunError(f"{result.summary(judges.bar)}\n{result.remedy(judges.bar)}")


def _draw_known_prompts(inputs: ResolvedRecipe) -> tuple[list[KnownPrompt], ExpectKnown]:
    """Prompts of known labels, the taxonomy's own first, and what is expected of each."""
    wanted = inputs.recipe.judges.known
    known: list[KnownPrompt] = []
    covering: dict[str, tuple[Harm, Policy]] = {}
    for tree, policies in chain([(inputs.tree, inputs.policies)], _iter_shipped_taxonomies(inputs)):
        if len(known) >= wanted:
            break
        own = {
            id_: (leaf, policy_for(policies, leaf))
            for id_, leaf in tree.harms.items()
            if id_ not in covering and not leaf.red_line and fitting_specs(policies, id_)
        }
        covering |= own
        goals = (g for g in tree.goals() if g.harm in own)
        known += draw_known_prompts(goals, n=wanted - len(known))

    def expected(harm: str, evidence: Evidence, detail: int) -> Expectation:
        leaf, policy = covering[harm]
        return compute_expectation(policy, leaf, evidence=evidence, profile="public", detail=detail)

    return known, expected


def _iter_shipped_taxonomies(inputs: ResolvedRecipe) -> Iterator[tuple[Taxonomy, Sequence[Policy]]]:
    """The written prompts that ship with safegen, where they are in the run's language: a small tree has too few to tell."""
    core = taxonomy.load_taxonomy("core")
    if core.file.language.split("-")[0] == inputs.locale.locale.split("-")[0]:
        yield core, [loader.load_policy(name) for name in Recipe(name="core").policies]
