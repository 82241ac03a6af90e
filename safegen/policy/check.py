"""`policy check`: a spec's own cases, its fit to a taxonomy and to other specs, and what only advises.

What keeps a spec from loading is in `safegen.policy.lint_policy`; a spec with findings of this file loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError
from safegen.core.templates import PromptTemplate
from safegen.core.types import DETAIL_LEVELS, EVIDENCE, PROFILES
from safegen.policy import compile as compiled
from safegen.policy.decide import compute_expectation
from safegen.policy.lint import find_case_mismatch, lint_policy
from safegen.policy.lint_over_refusal import find_over_refusals
from safegen.policy.loader import read_policy
from safegen.policy.source_map import SourcePlace, SpecFinding, SpecProblem, locate_problems
from safegen.policy.spec import Policy, fitting_specs

NEAR_DUPLICATE_SIMILARITY = 0.8
"""How alike a name and a leaf must be to be taken for a slip rather than for one of another taxonomy."""
MAX_CLASSIFIER = 800
"""Estimated tokens of a classifier prompt; 400 to 600 is the advice, and longer ones judge worse."""
MAX_INSTRUCTIONS = 1_500
"""Estimated tokens of a teacher's instructions, without the operator's turn."""


@dataclass(frozen=True, slots=True)
class SpecSizes:
    """What a spec amounts to: rules and those that its cases reach, and estimated tokens."""

    policy_id: str
    rules: int
    tested: int
    cases: int
    classifier: int
    instructions: int
    foreign: bool
    """None of its leaves is in the taxonomy, which then says nothing about it."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Sizes of the specs that load, and everything that was found."""

    sizes: list[SpecSizes] = field(default_factory=list[SpecSizes])
    findings: list[SpecFinding] = field(default_factory=list[SpecFinding])


def check_specs(names: Sequence[str], tree: Taxonomy) -> CheckReport:
    """Check specs by name or path against a taxonomy, and against one another.

    Args:
        names: the specs; none means every known one, and then each leaf needs exactly one.
        tree: the taxonomy whose leaves and tiers count.

    Raises:
        AssetNotFound: no such spec.
    """
    report = CheckReport()
    names_ = list(dict.fromkeys(names or resources.list_names("policies")))
    policies = [policy for policy in (_read_spec(name, report) for name in names_) if policy]
    words = compiled.load_instructions_prompt(), compiled.load_classifier_prompt()
    for policy in policies:
        blocking = lint_policy(policy)
        report.findings.extend(blocking)
        if not blocking:
            sizes = _measure_spec(policy, tree, *words)
            report.sizes.append(sizes)
            report.findings.extend(locate_problems(policy, list(_find_advice(policy, tree, sizes))))
        weighed = [*_check_foreign_names(policy, tree), *find_over_refusals(policy, tree)]
        report.findings.extend(locate_problems(policy, weighed, warning=True))
    # Of a spec that cannot be read nobody knows the leaves.
    every = not names and len(policies) == len(names_)
    report.findings.extend(_check_coverage(policies, tree, every=every))
    return report


def _read_spec(name: str, report: CheckReport) -> Policy | None:
    try:
        return read_policy(name)
    except yaml_source.PlacedError as e:
        for shown, mark, message in e.problems:
            place = SourcePlace(Path(shown), *mark) if mark else None
            report.findings.append(SpecFinding("invalid", message, name, place))
    except ConfigError as e:
        report.findings.append(SpecFinding("invalid", str(e), name, None))
    return None


def covered_leaves(policy: Policy, tree: Taxonomy) -> list[Harm]:
    """The leaves of a taxonomy that a spec names."""
    return [harm for harm in tree.harms.values() if policy.covers(harm.id)]


def _measure_spec(
    policy: Policy, tree: Taxonomy, template: PromptTemplate, classifying: PromptTemplate
) -> SpecSizes:
    harms = covered_leaves(policy, tree)
    tested = {
        policy.decide(case.situation_at(case.tier or tree.harms[case.harm or ""].tier)).id
        for case in policy.spec.cases
        if case.tier or case.harm in tree.harms
    }
    own = {rule.id for written in policy.spec.rules for rule in written.expand_profiles()}
    classifier = compiled.compile_classifier(policy, harms=harms)
    domains = {domain.id for domain in tree.file.domains}
    named = {name.split(".")[0] for name in policy.spec.harms}
    return SpecSizes(
        policy_id=policy.policy_id,
        rules=len(own),
        tested=len(own & tested),
        cases=len(policy.spec.cases),
        classifier=compiled.estimate_tokens(classifying.render("system", instructions=classifier)),
        instructions=_longest_instructions(policy, harms, template),
        foreign=bool(policy.spec.harms) and not domains & named,
    )


def _longest_instructions(policy: Policy, harms: Sequence[Harm], template: PromptTemplate) -> int:
    texts: dict[tuple[str, str], str] = {}
    for harm in harms:
        for evidence, profile, detail in product(EVIDENCE, PROFILES, DETAIL_LEVELS):
            at = compute_expectation(
                policy, harm, evidence=evidence, profile=profile, detail=detail
            )
            if (harm.id, at.rule_ids[0]) not in texts:
                values = compiled.compile_instructions(policy, at, harm=harm.id)
                text = template.render("system", instructions=values, operator="", style="")
                texts[harm.id, at.rule_ids[0]] = text
    return max((compiled.estimate_tokens(text) for text in texts.values()), default=0)


def _find_advice(policy: Policy, tree: Taxonomy, sizes: SpecSizes) -> Iterator[SpecProblem]:
    yield from _find_unused(policy)
    yield from _find_duplicates(policy)
    if not sizes.foreign:
        yield from _check_leaves(policy, tree)
        yield from _check_leaf_cases(policy, tree)
    for subject, size, bound in (
        ("classifier prompt", sizes.classifier, MAX_CLASSIFIER),
        ("teacher's instructions", sizes.instructions, MAX_INSTRUCTIONS),
    ):
        if size > bound:
            message = f"the {subject} come to about {size} tokens, more than {bound}; shorten clauses or split the spec"
            yield SpecProblem("over_long", ("policy",), message)


def _find_unused(policy: Policy) -> Iterator[SpecProblem]:
    used = {name for rule in policy.rules for name in rule.required}
    for name in policy.spec.elements:
        if name not in used:
            message = f"element `{name}` is required by no rule; require it or delete it"
            yield SpecProblem("unused_element", ("elements", name), message)


def _find_duplicates(policy: Policy) -> Iterator[SpecProblem]:
    """Two parts of one kind that say the same, or decide the same situation otherwise."""
    spec = policy.spec
    parts: dict[str, list[tuple[str, str]]] = {
        "rules": [(rule.id, f"{rule.says} {rule.when}") for rule in spec.rules],
        "precedents": [(p.id, f"{p.situation} {p.harm}") for p in spec.precedents],
    }
    for key in ("may", "must", "must_not", "redirections"):
        parts[key] = [(clause.id, clause.says) for clause in getattr(spec, key)]
    for key, pairs in parts.items():
        first: dict[str, str] = {}
        for index, (id_, text) in enumerate(pairs):
            plain = " ".join(text.casefold().rstrip(".").split())
            other = first.setdefault(plain, id_)
            if other != id_:
                message = f"`{id_}` and `{other}` under `{key}` say the same; keep one"
                yield SpecProblem("duplicate", (key, index), message)


def _check_leaves(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    """Leaves that the taxonomy does not hold, or the spec does not cover."""
    for index, name in enumerate(policy.spec.harms):
        if name not in _list_names(tree):
            yield _unknown_leaf_problem(
                tree, index, name, yaml_source.suggest_names(name, _list_names(tree), listed=False)
            )
    for loc, harm in _mentioned_harms(policy):
        if policy.spec.harms and not (harm in tree.harms and policy.covers(harm)):
            known = [h.id for h in covered_leaves(policy, tree)]
            hint = yaml_source.suggest_names(harm, known, listed=False)
            message = f"`{harm}` is no leaf that this spec covers{hint}"
            yield SpecProblem("unknown_harm", loc, message)


def _check_foreign_names(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    """Names that are nearly those of the taxonomy, in a spec that covers no leaf of it."""
    if any(policy.covers(harm) for harm in tree.harms):
        return
    for index, name in enumerate(policy.spec.harms):
        if (
            yaml_source.suggest(name, _list_names(tree), cutoff=NEAR_DUPLICATE_SIMILARITY)
            is not None
        ):
            hint = yaml_source.suggest_names(name, _list_names(tree), listed=False)
            yield _unknown_leaf_problem(tree, index, name, hint)


def _list_names(tree: Taxonomy) -> list[str]:
    """What a spec may name under `harms`."""
    return [*tree.harms, *(f"{domain.id}.*" for domain in tree.file.domains)]


def _unknown_leaf_problem(tree: Taxonomy, index: int, name: str, hint: str) -> SpecProblem:
    message = f"`{name}` is no leaf of taxonomy `{tree.file.taxonomy}`{hint}"
    return SpecProblem("unknown_harm", ("harms", index), message)


def _mentioned_harms(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], str]]:
    spec = policy.spec
    for key in ("may", "must", "must_not", "redirections"):
        for index, clause in enumerate(getattr(spec, key)):
            for number, harm in enumerate(clause.harms):
                yield (key, index, "harms", number), harm
    for key in ("precedents", "cases"):
        for index, part in enumerate(getattr(spec, key)):
            if part.harm is not None:
                yield (key, index, "harm"), part.harm


def _check_leaf_cases(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    for index, case in enumerate(policy.spec.cases):
        harm = tree.harms.get(case.harm or "")
        mismatch = harm and find_case_mismatch(case, policy.decide(case.situation_at(harm.tier)))
        if mismatch:
            yield SpecProblem("case", ("cases", index), mismatch)


def _check_coverage(
    policies: Sequence[Policy], tree: Taxonomy, *, every: bool
) -> Iterator[SpecFinding]:
    """Leaves that two specs name, and, where every spec is there, leaves that none does."""
    where: Callable[[str], SourcePlace] | None = None
    twice: dict[tuple[str, ...], list[str]] = {}
    by_name = {policy.spec.policy: policy for policy in policies}
    for harm in tree.harms.values():
        naming = fitting_specs(policies, harm.id)
        if len(naming) > 1:
            twice.setdefault(tuple(p.spec.policy for p in naming), []).append(harm.id)
        elif not naming and every:
            where = where or _find_leaf_places(tree)
            message = f"leaf `{harm.id}` is covered by no spec; name it under `harms` of one"
            yield SpecFinding("uncovered_leaf", message, "", where(harm.id))
    for names, harms in twice.items():
        leaves = ", ".join(f"`{harm}`" for harm in harms)
        shared_leaves = f"leaf {leaves} is" if len(harms) == 1 else f"leaves {leaves} are"
        message = f"{shared_leaves} covered by {' and '.join(f'`{n}`' for n in names)}; let exactly one spec name each"
        policy = by_name[names[1]]
        names_it = (harms[0], f"{harms[0].split('.')[0]}.*")
        index = next(i for i, entry in enumerate(policy.spec.harms) if entry in names_it)
        yield from locate_problems(
            policy, [SpecProblem("covered_twice", ("harms", index), message)]
        )


def _find_leaf_places(tree: Taxonomy) -> Callable[[str], SourcePlace]:
    """Where the leaves of a taxonomy are written."""
    read_tree = yaml_source.compose(yaml_source.read_text(tree.path), shown=str(tree.path))
    locs = {
        harm.id: ("domains", i, "harms", j, "id")
        for i, domain in enumerate(tree.file.domains)
        for j, harm in enumerate(domain.harms)
    }
    return lambda harm: SourcePlace(tree.path, *yaml_source.find_mark(read_tree, locs[harm]))
