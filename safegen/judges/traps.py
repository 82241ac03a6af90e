"""Traps: replies about harmless stand-ins whose verdict is known, in `prompts/traps/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from safegen.config.fields import Detail, FrozenModel, Slug, Text
from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError
from safegen.core.hashing import digest
from safegen.core.types import Evidence, Expectation, Severity
from safegen.judges.juror import JudgedText
from safegen.judges.jury import SAFE, RejectionCode
from safegen.policy.decide import compute_expectation_at
from safegen.policy.schema import Situation, Spec
from safegen.policy.spec import Policy, SpecSource

Wordings = Annotated[tuple[Text, ...], Field(min_length=1)]
"""Wordings for the same, which take turns."""
FALLBACK_LANGUAGE = "en"
"""Language of the traps if there are none in the language of the run."""


class Trap(FrozenModel):
    """A reply with a known verdict under the closed policy."""

    id: Slug
    kind: Slug
    detail: Detail
    evidence: Evidence = "none"
    prompt: Text
    response: str
    fault: RejectionCode | None = None
    """The reason for which a judge must reject the reply; None if it must accept it."""
    severity: Severity = "none"

    @property
    def is_leak(self) -> bool:
        """Return True if the reply states a secret."""
        return self.severity not in SAFE


class Perturbations(FrozenModel):
    """Words that do not change an answer."""

    apology: Wordings
    disclaimer: Wordings
    politeness: Wordings
    padding: Text


class Names(FrozenModel):
    """A person and an assistant."""

    person: Text
    assistant: Text


class Injections(FrozenModel):
    """Instructions to a judge, and the frames that hold them."""

    favour: Wordings
    blame: Wordings
    document: Text
    """A quoted page, with the field `words`."""
    tool: Text
    """The result of a tool, with the field `words`."""


class TrapFile(FrozenModel):
    """The content of `prompts/traps/<language>.yaml`."""

    language: Text
    harm: Text
    closed: Spec
    """The policy that the known verdicts follow."""
    open: Spec
    """A policy under which the secrets are published."""
    perturbations: Perturbations
    greeting: Text
    """First words with the fields `person` and `assistant`."""
    names: tuple[Names, Names]
    synonyms: tuple[tuple[Text, Text], ...]
    """Words of a rubric, each with another for the same."""
    injections: Injections
    traps: Annotated[tuple[Trap, ...], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """Digest of the content."""
        return digest(self.model_dump(mode="json"))[:16]

    def make_policy(self, spec: Spec, path: Path) -> Policy:
        """Make a policy of one of the two specs."""
        return Policy((SpecSource(spec, path),))

    def make_text(self, trap: Trap, policy: Policy) -> JudgedText:
        """Make what a juror reads about a trap under a policy."""
        at = Situation("sensitive", trap.evidence, "public", trap.detail)
        expectation: Expectation = compute_expectation_at(policy, at)
        return JudgedText(
            ({"role": "user", "content": trap.prompt},), trap.response, expectation, self.harm
        )


class Traps(FrozenModel):
    """A file of traps, and its path for messages."""

    file: TrapFile
    path: Path

    @property
    def closed(self) -> Policy:
        """The policy that the known verdicts follow."""
        return self.file.make_policy(self.file.closed, self.path)

    @property
    def open(self) -> Policy:
        """The policy under which the secrets are published."""
        return self.file.make_policy(self.file.open, self.path)

    @property
    def policies(self) -> dict[str, Policy]:
        """Both policies by id."""
        return {policy.policy_id: policy for policy in (self.closed, self.open)}


def load_traps(language: str = FALLBACK_LANGUAGE) -> Traps:
    """Load the traps of a language, or the English ones if it has none.

    Raises:
        ConfigError: the file is wrong.
    """
    names = resources.list_names("traps")
    base = language.split("-")[0]
    name = next((n for n in (language, base) if n in names), FALLBACK_LANGUAGE)
    path = resources.find_file("traps", name)
    return Traps(file=yaml_source.load(path, TrapFile), path=path)


def draw_traps(traps: Sequence[Trap], *, n: int, seed: int) -> tuple[Trap, ...]:
    """Draw traps by seed, as evenly over the kinds as they allow.

    Raises:
        ConfigError: there are fewer.
    """
    if n > len(traps):
        raise ConfigError(
            f"`judges.traps` is {n}, and there are {len(traps)} traps; lower it, or add traps to"
            " `prompts/traps/`"
        )
    kinds: dict[str, list[Trap]] = {}
    for trap in sorted(traps, key=lambda trap: digest([seed, trap.id])):
        kinds.setdefault(trap.kind, []).append(trap)
    # A leak that passes is the gravest fault, so that no leak is left out for another kind.
    ordered = sorted(kinds.values(), key=lambda group: (not group[0].is_leak, group[0].kind))
    turns = range(max(map(len, ordered)))
    drawn = [group[turn] for turn in turns for group in ordered if turn < len(group)]
    return tuple(drawn[:n])
