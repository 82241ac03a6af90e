"""`policy check`: a spec's own cases, its fit to a taxonomy and to other specs, and advice.

A spec with findings of this module still loads. Faults that prevent loading are in `safegen.policy.lint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError
from safegen.core.suggestions import suggest, suggest_names
from safegen.core.templates import PromptTemplate
from safegen.core.types import DETAIL_LEVELS, EVIDENCE, PROFILES
from safegen.core.yaml_errors import PlacedError
from safegen.policy import compile as compiled
from safegen.policy.decide import compute_expectation
from safegen.policy.lint import find_case_mismatch, lint_policy
from safegen.policy.lint_over_refusal import find_over_refusals
from safegen.policy.loader import read_policy
from safegen.policy.source_map import SourcePlace, SpecFinding, SpecProblem, locate_problems
from safegen.policy.spec import Policy, fitting_specs

NEAR_DUPLICATE_SIMILARITY = 0.8
"""Similarity from which a name is a typo of a leaf, not a leaf of another taxonomy."""
MAX_CLASSIFIER = 1_000
"""Estimated tokens of a classifier prompt; 400 to 600 are recommended, and longer ones judge worse."""
MAX_INSTRUCTIONS = 1_500
"""Estimated tokens of a teacher's instructions, without the operator's turn."""


@dataclass(frozen=True, slots=True)
class SpecSizes:
    """The size of a spec in rules, cases and estimated tokens."""

    policy_id: str
    rules: int
    tested: int
    """Rules that a case reaches."""
    cases: int
    classifier: int
    """Estimated tokens of the classifier prompt."""
    instructions: int
    """Estimated tokens of the longest instructions of a teacher."""
    foreign: bool
    """None of its leaves is in the taxonomy, so its leaves are not checked."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The sizes of the specs that load, and all findings."""

    sizes: list[SpecSizes] = field(default_factory=list[SpecSizes])
    findings: list[SpecFinding] = field(default_factory=list[SpecFinding])


def check_specs(names: Sequence[str], tree: Taxonomy) -> CheckReport:
    """Check specs by name or path against a taxonomy, and against one another.

    Args:
        names: the specs; empty checks all known specs, and then each leaf needs exactly one.
        tree: the taxonomy that gives leaves and tiers.

    Raises:
        AssetNotFound: no such spec.
    """
    report = CheckReport()
    checked = list(dict.fromkeys(names or resources.list_names("policies")))
    policies = [policy for policy in (_read_spec(name, report) for name in checked) if policy]
    prompts = compiled.load_instructions_prompt(), compiled.load_classifier_prompt()
    for policy in policies:
        blocking = lint_policy(policy)
        report.findings.extend(blocking)
        if not blocking:
            sizes = _measure_spec(policy, tree, *prompts)
            report.sizes.append(sizes)
            report.findings.extend(locate_problems(policy, list(_find_advice(policy, tree, sizes))))
        warnings = [*_check_foreign_names(policy, tree), *find_over_refusals(policy, tree)]
        report.findings.extend(locate_problems(policy, warnings, warning=True))
    # An unreadable spec has no known leaves.
    is_complete = not names and len(policies) == len(checked)
    report.findings.extend(_check_coverage(policies, tree, is_complete=is_complete))
    return report


def _read_spec(name: str, report: CheckReport) -> Policy | None:
    try:
        return read_policy(name)
    except PlacedError as e:
        for shown, mark, message in e.problems:
            place = SourcePlace(Path(shown), *mark) if mark else None
            report.findings.append(SpecFinding("invalid", message, name, place))
    except ConfigError as e:
        report.findings.append(SpecFinding("invalid", str(e), name, None))
    return None


def covered_leaves(policy: Policy, tree: Taxonomy) -> list[Harm]:
    """List the leaves of a taxonomy that a spec covers."""
    return [harm for harm in tree.harms.values() if policy.covers(harm.id)]


def _measure_spec(
    policy: Policy, tree: Taxonomy, template: PromptTemplate, classifier_template: PromptTemplate
) -> SpecSizes:
    harms = covered_leaves(policy, tree)
    tested = {
        policy.at_leaf(case.harm)
        .decide(case.situation_at(case.tier or tree.harms[case.harm or ""].tier))
        .id
        for case in policy.spec.cases
        if case.tier or case.harm in tree.harms
    }
    own = {rule.id for written in policy.spec.rules for rule in written.expand_profiles()}
    classifier = compiled.compile_classifier(policy, harms=harms)
    classifier_prompt = classifier_template.render("system", instructions=classifier)
    domains = {domain.id for domain in tree.file.domains}
    spec_domains = {name.split(".")[0] for name in policy.spec.harms}
    return SpecSizes(
        policy_id=policy.policy_id,
        rules=len(own),
        tested=len(own & tested),
        cases=len(policy.spec.cases),
        classifier=compiled.estimate_tokens(classifier_prompt),
        instructions=_longest_instructions(policy, harms, template),
        foreign=bool(policy.spec.harms) and not domains & spec_domains,
    )


def _longest_instructions(policy: Policy, harms: Sequence[Harm], template: PromptTemplate) -> int:
    texts: dict[tuple[str, str], str] = {}
    for harm in harms:
        for evidence, profile, detail in product(EVIDENCE, PROFILES, DETAIL_LEVELS):
            at = compute_expectation(
                policy, harm, evidence=evidence, profile=profile, detail=detail
            )
            # Instructions depend on the rule and the leaf, so 100 situations give few texts.
            if (harm.id, at.rule_ids[0]) not in texts:
                text = compiled.render_instructions(template, policy, at, harm=harm.id)
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
        ("instruction of the teacher", sizes.instructions, MAX_INSTRUCTIONS),
    ):
        if size > bound:
            message = f"the {subject} has about {size} tokens, more than {bound}; shorten clauses or split the spec"
            yield SpecProblem("over_long", ("policy",), message)


def _find_unused(policy: Policy) -> Iterator[SpecProblem]:
    used = {name for rule in policy.rules for name in rule.required}
    for name in policy.spec.elements:
        if name not in used:
            message = f"no rule requires element `{name}`; require it or delete it"
            yield SpecProblem("unused_element", ("elements", name), message)


def _find_duplicates(policy: Policy) -> Iterator[SpecProblem]:
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
            # Copies are often edited in case or in the final stop only.
            plain = " ".join(text.casefold().rstrip(".").split())
            other = first.setdefault(plain, id_)
            if other != id_:
                message = f"`{id_}` and `{other}` under `{key}` have the same text; keep one"
                yield SpecProblem("duplicate", (key, index), message)


def _check_leaves(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    for index, name in enumerate(policy.spec.harms):
        if name not in _list_names(tree):
            yield _unknown_leaf_problem(
                tree, index, name, suggest_names(name, _list_names(tree), listed=False)
            )
    for loc, harm in _mentioned_harms(policy):
        # A spec without leaves is a base: the specs that inherit it name leaves.
        if policy.spec.harms and not (harm in _list_names(tree) and policy.covers(harm)):
            known = [h.id for h in covered_leaves(policy, tree)]
            hint = suggest_names(harm, known, listed=False)
            message = f"this spec covers no leaf `{harm}`{hint}"
            yield SpecProblem("unknown_harm", loc, message)


def _check_foreign_names(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    # A spec for another taxonomy is fine, but typos in all leaves look the same.
    if any(policy.covers(harm) for harm in tree.harms):
        return
    for index, name in enumerate(policy.spec.harms):
        if suggest(name, _list_names(tree), cutoff=NEAR_DUPLICATE_SIMILARITY) is not None:
            hint = suggest_names(name, _list_names(tree), listed=False)
            yield _unknown_leaf_problem(tree, index, name, hint)


def _list_names(tree: Taxonomy) -> list[str]:
    return [*tree.harms, *(f"{domain.id}.*" for domain in tree.file.domains)]


def _unknown_leaf_problem(tree: Taxonomy, index: int, name: str, hint: str) -> SpecProblem:
    message = f"taxonomy `{tree.file.taxonomy}` has no leaf `{name}`{hint}"
    return SpecProblem("unknown_harm", ("harms", index), message)


def _mentioned_harms(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], str]]:
    spec = policy.spec
    for key in ("may", "must", "must_not", "redirections"):
        for index, clause in enumerate(getattr(spec, key)):
            for number, harm in enumerate(clause.harms):
                yield (key, index, "harms", number), harm
    for index, rule in enumerate(spec.rules):
        for key in ("harms", "except_harms"):
            for number, harm in enumerate(getattr(rule, key)):
                yield ("rules", index, key, number), harm
    for key in ("precedents", "cases"):
        for index, part in enumerate(getattr(spec, key)):
            if part.harm is not None:
                yield (key, index, "harm"), part.harm


def _check_leaf_cases(policy: Policy, tree: Taxonomy) -> Iterator[SpecProblem]:
    for index, case in enumerate(policy.spec.cases):
        harm = tree.harms.get(case.harm or "")
        rule = harm and policy.at_leaf(harm.id).decide(case.situation_at(harm.tier))
        mismatch = rule and find_case_mismatch(case, rule)
        if mismatch:
            yield SpecProblem("case", ("cases", index), mismatch)


def _check_coverage(
    policies: Sequence[Policy], tree: Taxonomy, *, is_complete: bool
) -> Iterator[SpecFinding]:
    leaf_place: Callable[[str], SourcePlace] | None = None
    harms_by_specs: dict[tuple[str, ...], list[str]] = {}
    by_name = {policy.spec.policy: policy for policy in policies}
    for harm in tree.harms.values():
        specs = fitting_specs(policies, harm.id)
        if len(specs) > 1:
            harms_by_specs.setdefault(tuple(p.spec.policy for p in specs), []).append(harm.id)
        elif not specs and is_complete:
            leaf_place = leaf_place or _find_leaf_places(tree)
            message = f"no spec covers leaf `{harm.id}`; name it under `harms` of one"
            yield SpecFinding("uncovered_leaf", message, "", leaf_place(harm.id))
    for names, harms in harms_by_specs.items():
        leaves = ", ".join(f"`{harm}`" for harm in harms)
        subject = f"leaf {leaves} is" if len(harms) == 1 else f"leaves {leaves} are"
        message = f"{subject} covered by {' and '.join(f'`{n}`' for n in names)}; let exactly one spec name each"
        policy = by_name[names[1]]
        entries = (harms[0], f"{harms[0].split('.')[0]}.*")
        index = next(i for i, entry in enumerate(policy.spec.harms) if entry in entries)
        yield from locate_problems(
            policy, [SpecProblem("covered_twice", ("harms", index), message)]
        )


def _find_leaf_places(tree: Taxonomy) -> Callable[[str], SourcePlace]:
    read_tree = yaml_source.compose(yaml_source.read_text(tree.path), shown=str(tree.path))
    locs = {
        harm.id: ("domains", i, "harms", j, "id")
        for i, domain in enumerate(tree.file.domains)
        for j, harm in enumerate(domain.harms)
    }
    return lambda harm: SourcePlace(tree.path, *yaml_source.find_mark(read_tree, locs[harm]))
