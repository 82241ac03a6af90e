"""Build the workers of a run: teachers, validators and labellers from the recipe or the caller."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from safegen.config import taxonomy
from safegen.config.recipe import PluginRef, Recipe
from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core.errors import ItemError, RunError
from safegen.core.hashing import digest
from safegen.core.plural import format_plural
from safegen.core.progress import Progress
from safegen.core.types import Evidence, Expectation, Profile, Record, Teacher, TeacherTraits
from safegen.coverage import axes
from safegen.coverage.axes import DEFAULT_AXES
from safegen.judges.blind_labels import LabelFiles
from safegen.judges.juror import Juror, load_judge_prompt, make_rubric_renderer
from safegen.judges.labeller_check import (
    ExpectKnown,
    KnownPrompt,
    LabellerCheck,
    ReadHarm,
    check_labeller,
    draw_known_prompts,
)
from safegen.judges.panel import Panel
from safegen.judges.user_prompt_labels import make_label_failure
from safegen.pipeline.acceptance import make_rules
from safegen.pipeline.policy_effect import EffectMeter
from safegen.pipeline.process_set import Drafter, Workers, keep_nothing
from safegen.pipeline.resolve import (
    ResolvedRecipe,
    has_layers,
    is_guard,
    make_set_validators,
    make_teacher,
    make_validators,
    teacher_traits,
)
from safegen.policy import loader
from safegen.policy.decide import compute_expectation
from safegen.policy.spec import Policy, fitting_specs, policy_for
from safegen.scenarios.authoring.author import load_templates
from safegen.scenarios.authoring.expand import Writers
from safegen.scenarios.authoring.plan_sets import list_axis_values
from safegen.store import usage
from safegen.store.journal import Journal
from safegen.store.json_files import write_json
from safegen.store.quarantine import Quarantine
from safegen.store.run_folder import RunFolder
from safegen.teachers import CustomTeacher, Meter, RateLimiters

KNOWN = "known"
"""Key of the known prompts in the failures of labellers."""
MEASURING_KEYS = ("locales", "contacts", "validators", "require", "judges")
"""Keys of a recipe that decide what is measured about an answer without the spec."""
MEASURING_FILES = ("locale", "contacts", "plugin", "policy", "prompt")
"""Kinds of files that decide it."""


@asynccontextmanager
async def open_worker_factory(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    teachers: Mapping[str, Teacher],
    *,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[WorkerFactory]:
    """Open a worker factory on the run's journal and budget.

    On exit its teachers are closed and its usage is written.

    Raises:
        StoreDamaged: the journal or the accounting cannot be read.
    """
    journal = Journal(folder.journal, keeps_reasoning=inputs.recipe.plan.reasoning)
    start = time.monotonic()
    counters = ExitStack()
    try:
        counter = counters.enter_context(usage.open_request_counter(folder.request_count))
        # A killed session wrote no accounting; the journal and the counter know what it spent.
        before = usage.prior_usage(folder.accounting, journal.usage(), sent=counter.read())
        budget = inputs.recipe.budget
        meter = Meter(
            requests=budget.requests,
            tokens=budget.tokens,
            before=before,
            on_request=counter.write,
        )
        factory = WorkerFactory(
            inputs,
            journal=journal,
            meter=meter,
            teachers=teachers,
            quarantine=_make_quarantine(folder, inputs.recipe, clock),
        )
        try:
            yield factory
        finally:
            # Closed before the flush, so that the journal counts every reply.
            for teacher in factory.teachers:
                if close := getattr(teacher, "aclose", None):
                    await close()
            await journal.flush()
            kept, seconds = journal.usage(), time.monotonic() - start
            # Also after an error, because the requests are paid for.
            usage.write_accounting(
                folder.accounting, before=before, session=meter.usage(), kept=kept, seconds=seconds
            )
    finally:
        counters.close()
        await journal.aclose()


def _make_quarantine(
    folder: RunFolder, recipe: Recipe, clock: Callable[[], float]
) -> Callable[[Record], Awaitable[None]]:
    """Make the function that encrypts a disputed draft; without a key it does nothing."""
    settings = recipe.judges.quarantine
    key = os.environ.get(settings.key_env) if settings else None
    if settings is None or not key:
        return keep_nothing
    opened = Quarantine(folder, key, days=settings.days)

    async def put(record: Record) -> None:
        # In a thread, because fsync takes longest.
        await asyncio.to_thread(opened.put, record, now=clock())

    return put


class WorkerFactory:
    """A builder of workers that share a journal, a meter and rate limits."""

    def __init__(
        self,
        inputs: ResolvedRecipe,
        *,
        journal: Journal,
        meter: Meter,
        teachers: Mapping[str, Teacher],
        quarantine: Callable[[Record], Awaitable[None]] = keep_nothing,
    ) -> None:
        self.inputs = inputs
        self._quarantine = quarantine
        self.meter = meter
        self._effects = _make_effect_meter(inputs)
        self.teachers: list[Teacher] = []
        """The teachers built so far; the owner closes them."""
        self.jurors: tuple[Teacher, ...] = ()
        """Those of the panel."""
        self._journal, self._replacements = journal, teachers
        self._limiters = RateLimiters()
        meter.read_wait = self._limiters.longest_wait

    def make_workers(self, progress: Progress, *, validating: bool) -> Workers:
        """Build the workers.

        Args:
            progress: counters that the workers update.
            validating: run the validators; False keeps drafts without verdicts.

        Raises:
            ConfigError: a teacher cannot be built.
        """
        inputs, recipe = self.inputs, self.inputs.recipe
        rules = make_rules(recipe, trusted=inputs.trusted)
        drafters = self._make_drafters()
        reviser = recipe.teachers.reviser
        return Workers(
            drafters=drafters,
            reviser=self._make_drafter("reviser", reviser) if reviser else drafters[0],
            validators=make_validators(inputs, phrasers=self._list_phrasers()),
            set_validators=make_set_validators(inputs),
            required=rules.required,
            policies={p.policy_id: p for p in inputs.policies},
            tiers=inputs.tiers,
            contacts=inputs.contacts,
            draft_prompt=inputs.draft_prompt,
            revise_prompt=inputs.revise_prompt,
            candidates=recipe.plan.candidates,
            revisions=recipe.revise,
            wrappers=inputs.make_wrappers(),
            styles=recipe.plan.styles,
            reasoning=recipe.plan.reasoning,
            with_spec=not inputs.without_spec,
            writers=self._make_writers() if recipe.plan.author_keys else None,
            validating=validating,
            panel=self.make_panel() if validating else None,
            hard_codes=rules.hard_codes,
            scrub=self.scrub,
            # A student's answers never enter the dataset, so nothing is to be reviewed.
            quarantine=keep_nothing if inputs.without_spec else self._quarantine,
            student=self._make_student(drafters[0]),
            effects=self._effects,
            least_effect=rules.least_effect,
            progress=progress,
        )

    def _make_student(self, drafter: Drafter) -> Drafter | None:
        """Build the teacher that answers without the spec; None if no policy effect is measured."""
        recipe = self.inputs.recipe
        if recipe.policy_effect is None:
            return None
        if (ref := recipe.teachers.student) is not None:
            return self._make_drafter("student", ref)
        if "student" in self._replacements:
            return self._make_drafter("student", recipe.teachers.drafter[0])
        return drafter

    def _make_drafters(self) -> tuple[Drafter, ...]:
        refs = self.inputs.recipe.teachers.drafter
        # One replacement takes the place of all drafters of the recipe.
        chosen = refs[:1] if "drafter" in self._replacements else refs
        return tuple(self._make_drafter("drafter", ref) for ref in chosen)

    def _make_drafter(self, role: str, ref: PluginRef) -> Drafter:
        teacher = self._make_teacher(role, ref)
        return Drafter(ref.use, teacher, self._traits(role, ref).grade)

    def _list_phrasers(self) -> frozenset[str]:
        teachers = self.inputs.recipe.teachers
        refs = [("drafter", ref) for ref in teachers.drafter]
        refs += [("reviser", teachers.reviser)] if teachers.reviser else []
        refs += [("student", teachers.student)] if teachers.student else []
        return frozenset(ref.use for role, ref in refs if self._traits(role, ref).uses_phrases)

    def _traits(self, role: str, ref: PluginRef) -> TeacherTraits:
        """Return the traits of a teacher; a caller's teacher may state its own as `traits`."""
        if role in self._replacements:
            return getattr(self._replacements[role], "traits", None) or TeacherTraits()
        return teacher_traits(self.inputs, ref)

    def _make_writers(self) -> Writers:
        recipe, policies = self.inputs.recipe, self.inputs.policies
        harms = self.inputs.tree.harms
        author = recipe.teachers.author
        assert author is not None, "the recipe checks it"
        policy_of = {id_: policy_for(policies, harms[id_]) for id_ in self._list_leaves()}

        def expect(
            harm: str,
            evidence: Evidence,
            profile: Profile,
            detail: int,
            /,
            *,
            danger: bool = False,
        ) -> Expectation:
            return compute_expectation(
                policy_of[harm],
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
            expect=expect,
            locale=self.inputs.locale,
            surface=self.inputs.make_surface(),
        )

    async def scrub(
        self, keys: Sequence[str], measures: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Delete the text of replies from the cache; their keys and measures stay."""
        await self._journal.scrub(keys, measures={**self._effects.measures, **measures})
        for key in keys:
            self._effects.measures.pop(key, None)

    def make_labellers(self) -> tuple[Teacher, ...]:
        """Build the panel of blind labellers; a caller's labeller replaces all of them."""
        if "labeller" in self._replacements:
            return (self._wrap_custom(self._replacements["labeller"], "labeller"),)
        return tuple(
            self._make_teacher("labeller", ref) for ref in self.inputs.recipe.judges.labellers
        )

    def make_panel(self) -> Panel | None:
        """Build the panel of judges; a caller's judge replaces all of them."""
        inputs, refs = self.inputs, self.inputs.recipe.judges.panel
        if not refs:
            return None
        if "judge" in self._replacements:
            refs = refs[:1]
        before = len(self.teachers)
        teachers = [self._make_teacher("judge", ref) for ref in refs]
        self.jurors = tuple(self.teachers[before:])
        # Independent answers of one model need different samples; a reordered panel keeps its cache.
        samples = [refs[:i].count(ref) for i, ref in enumerate(refs)]
        jurors = [
            Juror(
                name, teacher, is_guard=is_guard(teacher, self._traits("judge", ref)), sample=sample
            )
            for name, teacher, ref, sample in zip(
                _name_jurors(refs, teachers), teachers, refs, samples, strict=True
            )
        ]
        policies = {p.policy_id: p for p in inputs.policies}
        prompt = load_judge_prompt()
        return Panel(
            tuple(jurors), inputs.recipe.judges, prompt, make_rubric_renderer(prompt, policies)
        )

    @property
    def concurrency(self) -> int:
        """Drafts that keep all endpoints busy: while jurors read some, others are drafted."""
        writers = [t for t in self.teachers if all(t is not juror for juror in self.jurors)]
        return sum(
            max((int(getattr(t, "concurrency", 1)) for t in group), default=0)
            for group in (writers, self.jurors)
        )

    def _list_leaves(self) -> list[str]:
        policies = self.inputs.policies
        return [h for h in self.inputs.tree.harms if any(p.covers(h) for p in policies)]

    def _make_teacher(self, role: str, ref: PluginRef) -> Teacher:
        if role in self._replacements:
            return self._wrap_custom(self._replacements[role], role)
        teacher = make_teacher(
            self.inputs, ref, journal=self._journal, meter=self.meter, limiters=self._limiters
        )
        # Embedded teachers cost nothing, so they need neither cache nor limits.
        if has_layers(ref, self.inputs) or self._traits(role, ref).embedded:
            self.teachers.append(teacher)
            return teacher
        return self._wrap_custom(teacher, ref.use)

    def _wrap_custom(self, teacher: Teacher, name: str) -> Teacher:
        """Give a user's teacher the run's journal, budget and limits."""
        self.teachers.append(teacher)
        return CustomTeacher(
            teacher, name=name, journal=self._journal, meter=self.meter, limiters=self._limiters
        )


def _make_effect_meter(inputs: ResolvedRecipe) -> EffectMeter:
    """Make the meter of answers without the spec; its identity holds all that decides a measure."""
    digests, files = inputs.recipe.digests(), inputs.fingerprints
    keys = {key: digests.get(key) for key in MEASURING_KEYS}
    return EffectMeter(digest([keys, {kind: files.get(kind) for kind in MEASURING_FILES}]))


def _name_jurors(refs: Sequence[PluginRef], teachers: Sequence[Teacher]) -> list[str]:
    """Name jurors by their models; equal ones have a number."""
    names = [
        str(getattr(teacher, "model", ref.use)) for ref, teacher in zip(refs, teachers, strict=True)
    ]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [
        f"{name}#{count}" if count > 1 else name for name, count in zip(names, counts, strict=True)
    ]


async def check_labellers(
    folder: RunFolder,
    inputs: ResolvedRecipe,
    labellers: tuple[Teacher, ...],
    files: LabelFiles,
    *,
    progress: Progress,
    read_harm: ReadHarm | None = None,
) -> None:
    """Check the labellers on prompts with known labels before they decide anything.

    The agreement is written to `run/labellers.json`. With `judges.known: 0` nothing is checked.

    Args:
        folder: the run.
        inputs: the resolved recipe.
        labellers: the panel.
        files: the questions.
        progress: counts the known prompts.
        read_harm: also checks the leaf that the labellers read in a text.

    Raises:
        RunError: the agreement is below `judges.bar`; the message holds the numbers.
    """
    judges = inputs.recipe.judges
    if not judges.known:
        write_json(folder.labeller_check, {"bar": judges.bar, "known": 0, "fields": {}})
        return
    known = _draw_known_prompts(inputs)
    errors: list[ItemError] = []
    progress.planned, progress.done, progress.stage = len(known.prompts), 0, "checking"

    def on_read() -> None:
        progress.done += 1

    result = await check_labeller(
        known.prompts,
        labeller=labellers,
        # Axes of style decide nothing about known prompts, so the check does not ask for them.
        files=replace(files, axes=()),
        expect=known.expect,
        read_harm=read_harm,
        bar=judges.bar,
        on_read=on_read,
        on_error=errors.append,
    )
    # Written also on failure: the numbers help to choose another labeller.
    write_json(folder.labeller_check, _describe_check(result, judges.bar))
    if not result.passes(judges.bar):
        message = f"{result.format_summary(judges.bar)}\n{result.suggest_fix(judges.bar)}"
        if errors:
            _list_failed_check(folder, errors)
            message += (
                f"\n{format_plural(len(errors), 'request')} failed: {make_retry_hint(folder)}"
            )
        raise RunError(message)


def make_retry_hint(folder: RunFolder) -> str:
    """Make the hint for failed requests of labellers."""
    return f"`safegen retry {shlex.quote(str(folder.output))}` repeats them"


def _list_failed_check(folder: RunFolder, errors: Sequence[ItemError]) -> None:
    """List failed requests for known prompts, so that `retry` repeats them."""
    failures = [make_label_failure(KNOWN, error) for error in errors]
    others = [f for f in folder.read_label_failures() if f.scenario_id != KNOWN]
    # The order of arrival differs between sessions.
    ordered = sorted(failures, key=lambda f: (f.key or "", f.message))
    folder.write_label_failures([*others, *ordered])


def _describe_check(result: LabellerCheck, bar: float) -> dict[str, object]:
    fields = {
        f.field: {"n": f.n, "agree": f.hits, "kappa": f.kappa, "interval": list(f.interval)}
        for f in result.fields
    }
    misread = [misread._asdict() for misread in result.misread]
    return {"bar": bar, "known": result.planned, "fields": fields, "misread": misread}


class _KnownPrompts(NamedTuple):
    prompts: list[KnownPrompt]
    expect: ExpectKnown


def _draw_known_prompts(inputs: ResolvedRecipe) -> _KnownPrompts:
    """Draw prompts with known labels, from the run's taxonomy first, and a function for their expectations."""
    count = inputs.recipe.judges.known
    known: list[KnownPrompt] = []
    leaves: dict[str, tuple[Harm, Policy]] = {}
    # The first taxonomy that has a leaf decides its prompts and specs.
    for tree, policies in chain([(inputs.tree, inputs.policies)], _iter_shipped_taxonomies(inputs)):
        if len(known) >= count:
            break
        new_leaves = {
            id_: (leaf, policy_for(policies, leaf))
            for id_, leaf in tree.harms.items()
            if id_ not in leaves and not leaf.red_line and fitting_specs(policies, id_)
        }
        leaves |= new_leaves
        goals = (g for g in tree.goals() if g.harm in new_leaves)
        known += draw_known_prompts(goals, n=count - len(known))

    def expect(harm: str, evidence: Evidence, detail: int) -> Expectation:
        leaf, policy = leaves[harm]
        return compute_expectation(policy, leaf, evidence=evidence, profile="public", detail=detail)

    return _KnownPrompts(known, expect)


def _iter_shipped_taxonomies(inputs: ResolvedRecipe) -> Iterator[tuple[Taxonomy, Sequence[Policy]]]:
    # A small taxonomy has too few prompts for a check, so the shipped ones of its language help.
    core = taxonomy.load_taxonomy("core")
    if core.file.language.split("-")[0] == inputs.locale.locale.split("-")[0]:
        yield core, [loader.load_policy(name) for name in Recipe(name="core").policies]
