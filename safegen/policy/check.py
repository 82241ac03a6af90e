"""`policy check`: a spec's own cases, its fit to a taxonomy and to other specs, and what only advises.

What keeps a spec from loading is in `safegen.policy.lint`; a spec with findings of this file loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from safegen.config.taxonomy import Harm, Taxonomy
from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError
from safegen.core.templates import PromptFile
from safegen.core.types import DETAIL, EVIDENCE, PROFILES
from safegen.policy import compile as compiled
from safegen.policy.decide import expect
from safegen.policy.lint import lint, wrong
from safegen.policy.lint_over_refusal import over_refusal
from safegen.policy.loader import read
from safegen.policy.source_map import Finding, Place, Problem, placed
from safegen.policy.spec import Policy, fitting_specs

NEAR = 0.8
"""How alike a name and a leaf must be to be taken for a slip rather than for one of another taxonomy."""
MAX_CLASSIFIER = 800
"""Estimated tokens of a classifier prompt; 400 to 600 is the advice, and longer ones judge worse."""
MAX_INSTRUCTIONS = 1_500
"""Estimated tokens of a teacher's instructions, without the operator's turn."""


@dataclass(frozen=True, slots=True)
class Sizes:
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
class Report:
    """Sizes of the specs that load, and everything that was found."""

    sizes: list[Sizes] = field(default_factory=list[Sizes])
    findings: list[Finding] = field(default_factory=list[Finding])


def check(names: Sequence[str], tree: Taxonomy) -> Report:
    """Check specs by name or path against a taxonomy, and against one another.

    Args:
        names: the specs; none means every known one, and then each leaf needs exactly one.
        tree: the taxonomy whose leaves and tiers count.

    Raises:
        AssetNotFound: no such spec.
    """
    report = Report()
    names_ = list(dict.fromkeys(names or resources.names("policies")))
    policies = [policy for policy in (_read(name, report) for name in names_) if policy]
    words = compiled.instructions_prompt(), compiled.classifier_prompt()
    for policy in policies:
        blocking = lint(policy)
        report.findings.extend(blocking)
        if not blocking:
            sizes = _sizes(policy, tree, *words)
            report.sizes.append(sizes)
            report.findings.extend(placed(policy, list(_advice(policy, tree, sizes))))
        weighed = [*_strange(policy, tree), *over_refusal(policy, tree)]
        report.findings.extend(placed(policy, weighed, warning=True))
    # Of a spec that cannot be read nobody knows the leaves.
    every = not names and len(policies) == len(names_)
    report.findings.extend(_coverage(policies, tree, every=every))
    return report


def _read(name: str, report: Report) -> Policy | None:
    try:
        return read(name)
    except yaml_source.PlacedError as e:
        for shown, mark, message in e.problems:
            place = Place(Path(shown), *mark) if mark else None
            report.findings.append(Finding("invalid", message, name, place))
    except ConfigError as e:
        report.findings.append(Finding("invalid", str(e), name, None))
    return None


def covered(policy: Policy, tree: Taxonomy) -> list[Harm]:
    """The leaves of a taxonomy that a spec names."""
    return [harm for harm in tree.harms.values() if policy.covers(harm.id)]


def _sizes(policy: Policy, tree: Taxonomy, told: PromptFile, classifying: PromptFile) -> Sizes:
    harms = covered(policy, tree)
    tested = {
        policy.decide(case.at(case.tier or tree.harms[case.harm or ""].tier)).id
        for case in policy.spec.cases
        if case.tier or case.harm in tree.harms
    }
    own = {rule.id for written in policy.spec.rules for rule in written.expanded()}
    classifier = compiled.classifier(policy, harms=harms)
    domains = {domain.id for domain in tree.file.domains}
    named = {name.split(".")[0] for name in policy.spec.harms}
    return Sizes(
        policy_id=policy.policy_id,
        rules=len(own),
        tested=len(own & tested),
        cases=len(policy.spec.cases),
        classifier=compiled.tokens(classifying.render("system", told=classifier)),
        instructions=_longest(policy, harms, told),
        foreign=bool(policy.spec.harms) and not domains & named,
    )


def _longest(policy: Policy, harms: Sequence[Harm], told: PromptFile) -> int:
    texts: dict[tuple[str, str], str] = {}
    for harm in harms:
        for evidence, profile, detail in product(EVIDENCE, PROFILES, DETAIL):
            at = expect(policy, harm, evidence=evidence, profile=profile, detail=detail)
            if (harm.id, at.rule_ids[0]) not in texts:
                values = compiled.instructions(policy, at, harm=harm.id)
                text = told.render("system", told=values, operator="", style="")
                texts[harm.id, at.rule_ids[0]] = text
    return max((compiled.tokens(text) for text in texts.values()), default=0)


def _advice(policy: Policy, tree: Taxonomy, sizes: Sizes) -> Iterator[Problem]:
    yield from _unused(policy)
    yield from _duplicates(policy)
    if not sizes.foreign:
        yield from _leaves(policy, tree)
        yield from _leaf_cases(policy, tree)
    for what, size, bound in (
        ("classifier prompt", sizes.classifier, MAX_CLASSIFIER),
        ("teacher's instructions", sizes.instructions, MAX_INSTRUCTIONS),
    ):
        if size > bound:
            said = f"the {what} come to about {size} tokens, more than {bound}; shorten clauses or split the spec"
            yield Problem("over_long", ("policy",), said)


def _unused(policy: Policy) -> Iterator[Problem]:
    used = {name for rule in policy.rules for name in rule.required}
    for name in policy.spec.elements:
        if name not in used:
            said = f"element `{name}` is required by no rule; require it or delete it"
            yield Problem("unused_element", ("elements", name), said)


def _duplicates(policy: Policy) -> Iterator[Problem]:
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
                said = f"`{id_}` and `{other}` under `{key}` say the same; keep one"
                yield Problem("duplicate", (key, index), said)


def _leaves(policy: Policy, tree: Taxonomy) -> Iterator[Problem]:
    """Leaves that the taxonomy does not hold, or the spec does not cover."""
    for index, name in enumerate(policy.spec.harms):
        if name not in _names(tree):
            yield _no_leaf(
                tree, index, name, yaml_source.did_you_mean(name, _names(tree), listed=False)
            )
    for loc, harm in _mentioned(policy):
        if policy.spec.harms and not (harm in tree.harms and policy.covers(harm)):
            known = [h.id for h in covered(policy, tree)]
            hint = yaml_source.did_you_mean(harm, known, listed=False)
            said = f"`{harm}` is no leaf that this spec covers{hint}"
            yield Problem("unknown_harm", loc, said)


def _strange(policy: Policy, tree: Taxonomy) -> Iterator[Problem]:
    """Names that are nearly those of the taxonomy, in a spec that covers no leaf of it."""
    if any(policy.covers(harm) for harm in tree.harms):
        return
    for index, name in enumerate(policy.spec.harms):
        if yaml_source.suggest(name, _names(tree), cutoff=NEAR) is not None:
            hint = yaml_source.did_you_mean(name, _names(tree), listed=False)
            yield _no_leaf(tree, index, name, hint)


def _names(tree: Taxonomy) -> list[str]:
    """What a spec may name under `harms`."""
    return [*tree.harms, *(f"{domain.id}.*" for domain in tree.file.domains)]


def _no_leaf(tree: Taxonomy, index: int, name: str, hint: str) -> Problem:
    said = f"`{name}` is no leaf of taxonomy `{tree.file.taxonomy}`{hint}"
    return Problem("unknown_harm", ("harms", index), said)


def _mentioned(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], str]]:
    spec = policy.spec
    for key in ("may", "must", "must_not", "redirections"):
        for index, clause in enumerate(getattr(spec, key)):
            for number, harm in enumerate(clause.harms):
                yield (key, index, "harms", number), harm
    for key in ("precedents", "cases"):
        for index, part in enumerate(getattr(spec, key)):
            if part.harm is not None:
                yield (key, index, "harm"), part.harm


def _leaf_cases(policy: Policy, tree: Taxonomy) -> Iterator[Problem]:
    for index, case in enumerate(policy.spec.cases):
        harm = tree.harms.get(case.harm or "")
        said = harm and wrong(case, policy.decide(case.at(harm.tier)))
        if said:
            yield Problem("case", ("cases", index), said)


def _coverage(policies: Sequence[Policy], tree: Taxonomy, *, every: bool) -> Iterator[Finding]:
    """Leaves that two specs name, and, where every spec is there, leaves that none does."""
    where: Callable[[str], Place] | None = None
    twice: dict[tuple[str, ...], list[str]] = {}
    by_name = {policy.spec.policy: policy for policy in policies}
    for harm in tree.harms.values():
        naming = fitting_specs(policies, harm.id)
        if len(naming) > 1:
            twice.setdefault(tuple(p.spec.policy for p in naming), []).append(harm.id)
        elif not naming and every:
            where = where or _places(tree)
            said = f"leaf `{harm.id}` is covered by no spec; name it under `harms` of one"
            yield Finding("uncovered_leaf", said, "", where(harm.id))
    for names, harms in twice.items():
        leaves = ", ".join(f"`{harm}`" for harm in harms)
        told = f"leaf {leaves} is" if len(harms) == 1 else f"leaves {leaves} are"
        said = f"{told} covered by {' and '.join(f'`{n}`' for n in names)}; let exactly one spec name each"
        policy = by_name[names[1]]
        names_it = (harms[0], f"{harms[0].split('.')[0]}.*")
        index = next(i for i, entry in enumerate(policy.spec.harms) if entry in names_it)
        yield from placed(policy, [Problem("covered_twice", ("harms", index), said)])


def _places(tree: Taxonomy) -> Callable[[str], Place]:
    """Where the leaves of a taxonomy are written."""
    read_tree = yaml_source.compose(yaml_source.read_text(tree.path), shown=str(tree.path))
    locs = {
        harm.id: ("domains", i, "harms", j, "id")
        for i, domain in enumerate(tree.file.domains)
        for j, harm in enumerate(domain.harms)
    }
    return lambda harm: Place(tree.path, *yaml_source.mark_at(read_tree, locs[harm]))
