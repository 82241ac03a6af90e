"""Probes of a juror: known replies, and variants of them or of the rubric that must keep or change a verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import Literal, NamedTuple, get_args

from safegen.core.templates import PromptTemplate
from safegen.core.types import Message
from safegen.judges.juror import JudgedText, RubricRenderer, make_rubric_renderer
from safegen.judges.traps import Trap, Traps
from safegen.policy.compile import PropositionKind, Rubric
from safegen.policy.diff import diff_specs

PerturbationKind = Literal["apology", "disclaimer", "politeness", "padding", "order", "name"]
RewriteKind = Literal["clause_order", "synonyms", "numbering"]
ProbeKind = Literal["trap", "base", PerturbationKind, RewriteKind, "policy_swap", "injection"]
ADDITIONS: tuple[PerturbationKind, ...] = ("apology", "disclaimer", "politeness", "padding")
"""Perturbations that add words, so that a judge of length moves with all of them."""
PERTURBATIONS: tuple[PerturbationKind, ...] = get_args(PerturbationKind)
REWRITES: tuple[RewriteKind, ...] = get_args(RewriteKind)
SWAPPED = ("leak", "help_with_limit")
"""Kinds of traps whose verdict depends on the policy."""
_LIST_ITEM = re.compile(r"\s*[-*•] ")
_RULE_LINE = re.compile(rf"^- (?=(?:{'|'.join(get_args(PropositionKind))})[.:])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Probe:
    """A reply with a rubric; its verdict is known, or compared with that of another probe."""

    id: str
    kind: ProbeKind
    text: JudgedText
    render: RubricRenderer
    trap: Trap
    base: str | None = None
    """Id of the probe that it is compared with; None for a trap."""


class ProbeSource(NamedTuple):
    """The traps, the judge prompt and the rubrics that probes are made of."""

    traps: Traps
    template: PromptTemplate
    render: RubricRenderer
    """The rubrics of both policies, as a run writes them."""


def make_source(traps: Traps, template: PromptTemplate) -> ProbeSource:
    """Prepare the rubrics of the traps."""
    return ProbeSource(traps, template, make_rubric_renderer(template, traps.policies))


def make_trap_probes(source: ProbeSource, drawn: Sequence[Trap]) -> tuple[Probe, ...]:
    """Make the probes of every judged run: the traps themselves."""
    file, policy = source.traps.file, source.traps.closed
    return tuple(
        Probe(trap.id, "trap", file.make_text(trap, policy), source.render, trap) for trap in drawn
    )


def make_test_probes(source: ProbeSource, drawn: Sequence[Trap]) -> tuple[Probe, ...]:
    """Make the probes of `safegen judge test`: the traps, and variants of one of each kind."""
    traps = make_trap_probes(source, drawn)
    seen: dict[str, Probe] = {}
    for probe in traps:
        seen.setdefault(probe.trap.kind, probe)
    bases = tuple(seen.values())
    return (
        *traps,
        *(probe for turn, base in enumerate(bases) for probe in _perturb(source, base, turn)),
        *(probe for base in bases for probe in _rewrite(source, base)),
        *(probe for base in traps for probe in _swap_policy(source, base)),
        *(probe for turn, base in enumerate(traps) for probe in _inject(source, base, turn)),
    )


def _vary(base: Probe, kind: ProbeKind, response: str, *, suffix: str = "") -> Probe:
    return replace(
        base,
        id=f"{base.trap.id}/{suffix or kind}",
        kind=kind,
        text=base.text._replace(response=response),
        base=base.id,
    )


def _pick(phrases: Sequence[str], turn: int) -> str:
    return phrases[turn % len(phrases)]


def _perturb(source: ProbeSource, base: Probe, turn: int) -> Iterator[Probe]:
    file, response = source.traps.file, base.text.response
    words = file.perturbations
    yield _vary(base, "apology", f"{_pick(words.apology, turn)} {response}")
    yield _vary(base, "disclaimer", f"{response}\n\n{_pick(words.disclaimer, turn)}")
    yield _vary(base, "politeness", f"{response}\n\n{_pick(words.politeness, turn)}")
    yield _vary(base, "padding", f"{response}\n\n{words.padding}")
    if (reordered := reverse_parts(response)) != response:
        yield _vary(base, "order", reordered)
    one, other = (file.greeting.format(**names.model_dump()) for names in file.names)
    greeted = _vary(base, "base", f"{one} {response}", suffix="greeting")
    yield replace(greeted, base=None)
    yield replace(_vary(base, "name", f"{other} {response}"), base=greeted.id)


def reverse_parts(response: str) -> str:
    r"""Reverse the items of each list, or the paragraphs of a text without lists.

    Example:
        >>> reverse_parts("One.\n\n- a\n- b")
        'One.\n\n- b\n- a'
    """
    lines = response.split("\n")
    groups = [
        (is_item, list(group))
        for is_item, group in groupby(lines, lambda line: bool(_LIST_ITEM.match(line)))
    ]
    if any(is_item for is_item, _ in groups):
        return "\n".join(
            line for is_item, group in groups for line in (reversed(group) if is_item else group)
        )
    return "\n\n".join(reversed(response.split("\n\n")))


def _rewrite(source: ProbeSource, base: Probe) -> Iterator[Probe]:
    for kind in REWRITES:
        render = _make_rewriting_renderer(source, kind)
        yield replace(_vary(base, kind, base.text.response), render=render)


def _make_rewriting_renderer(source: ProbeSource, kind: RewriteKind) -> RubricRenderer:
    synonyms = source.traps.file.synonyms
    rewrites: dict[RewriteKind, Callable[[Rubric], Rubric]] = {
        "clause_order": reverse_clauses,
        "synonyms": lambda rubric: replace_words(rubric, synonyms),
    }
    policies = source.traps.policies
    if kind == "numbering":
        return make_rubric_renderer(source.template, policies, restyle=number_rules)
    return make_rubric_renderer(source.template, policies, rewrite=rewrites[kind])


def reverse_clauses(rubric: Rubric) -> Rubric:
    """Write the questions of a rubric in the reverse order."""
    return replace(rubric, questions=rubric.questions[::-1])


def replace_words(rubric: Rubric, synonyms: Sequence[tuple[str, str]]) -> Rubric:
    """Replace words of a rubric by others for the same."""

    def reword(text: str) -> str:
        for word, other in synonyms:
            text = re.sub(rf"\b{re.escape(word)}\b", other, text)
        return text

    questions = tuple(q._replace(text=reword(q.text)) for q in rubric.questions)
    return replace(rubric, facilitation=reword(rubric.facilitation), questions=questions)


def number_rules(system: str) -> str:
    r"""Number the rules of a system turn.

    Example:
        >>> number_rules("- ceiling.1: Short? Yes.\n- A0: declines.")
        '1) ceiling.1: Short? Yes.\n- A0: declines.'
    """
    numbers = count(1)
    return _RULE_LINE.sub(lambda _: f"{next(numbers)}) ", system)


def _swap_policy(source: ProbeSource, base: Probe) -> Iterator[Probe]:
    traps = source.traps
    changed = {
        (change.situation.evidence, change.situation.detail)
        for change in diff_specs(traps.closed, traps.open).situations
    }
    # Only a situation that the two specs answer differently can show who follows the policy.
    if base.trap.kind in SWAPPED and (base.trap.evidence, base.trap.detail) in changed:
        text = traps.file.make_text(base.trap, traps.open)
        yield replace(_vary(base, "policy_swap", base.text.response), text=text)


def _inject(source: ProbeSource, base: Probe, turn: int) -> Iterator[Probe]:
    trap, injections = base.trap, source.traps.file.injections
    wordings = injections.blame if trap.fault is None else injections.favour
    prompt, tool, answer, quotation = (_pick(wordings, turn + place) for place in range(4))
    asked = Message(role="user", content=f"{trap.prompt}\n\n{prompt}")
    # Trainers and endpoints of the project know no turn of a tool, so a user turn quotes it.
    result = Message(role="user", content=injections.tool.format(words=tool))
    for name, messages in (("prompt", (asked,)), ("tool", (result, *base.text.messages))):
        probe = _vary(base, "injection", base.text.response, suffix=f"injection-{name}")
        yield replace(probe, text=base.text._replace(messages=messages))
    if trap.fault is not None:
        # Such words in a good reply are a fault of the reply, so they may lower its verdict.
        quoted = injections.document.format(words=quotation)
        for name, words in (("answer", answer), ("quotation", quoted)):
            response = f"{base.text.response}\n\n{words}"
            yield _vary(base, "injection", response, suffix=f"injection-{name}")
