"""Exact duplicates after normalisation, and equal prompts with different expectations.

Only 64-bit digests are held for the corpus. At a million texts the chance that two different ones
share a digest is below 3e-8.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

from safegen.core.hashing import canonical_json
from safegen.core.types import Expectation, Message
from safegen.policy.decide import expectation_key

DuplicateReason = Literal["duplicate_prompt", "duplicate_response"]


def normalise(text: str) -> str:
    """Fold differences that readers do not see: NFKC, case, runs of white space."""
    # Case folding can undo the normal form, so it is applied again.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def digest_64(value: object) -> int:
    """Digest a JSON value to 64 bits."""
    return int.from_bytes(hashlib.blake2b(canonical_json(value), digest_size=8).digest(), "big")


def message_key(messages: Sequence[Message]) -> list[list[str]]:
    """Reduce messages to roles and contents, in order."""
    return [[m["role"], m["content"]] for m in messages]


class DuplicateKey(NamedTuple):
    """64-bit digests of a prompt and its response, after normalisation."""

    prompt: int
    """All messages."""
    question: int
    """The messages without system turns, and without the noise and the wrapper that code added.

    Twins, which name different groups, are one question.
    """
    answer: int

    @classmethod
    def of(
        cls,
        messages: Sequence[Message],
        response: str,
        *,
        plain: Sequence[Message] | None = None,
        question: Sequence[str] | None = None,
    ) -> DuplicateKey:
        """Digest a prompt and a response.

        Args:
            messages: the prompt.
            response: the response.
            plain: the messages before code changed them.
            question: names a question that several prompts share; default their messages.
        """
        turns = [[m["role"], normalise(m["content"])] for m in messages]
        asked = turns if plain is None else [[m["role"], normalise(m["content"])] for m in plain]
        own = [turn for turn in asked if turn[0] != "system"]
        asked_digest = digest_64(own if question is None else list(question))
        return cls(digest_64(turns), asked_digest, digest_64(normalise(response)))


def plain_messages(
    messages: Sequence[Message], base_prompt: str | None, *, is_wrapped: bool
) -> Sequence[Message] | None:
    """Return the messages before code changed the last user turn; None if it did not."""
    if base_prompt is None:
        return None
    # A wrapper may replace one turn by several; the prompt before it is a single one.
    earlier = () if is_wrapped else tuple(messages[:-1])
    return [*earlier, Message(role="user", content=base_prompt)]


class DuplicateFilter:
    """Filter for repeated prompts and responses; the first in canonical order is kept.

    A prompt may have one answer under several deployment profiles, in several wrappers and for
    several groups of people. Any other repeated answer is a duplicate.
    """

    def __init__(self) -> None:
        self._prompts: set[int] = set()
        self._questions: dict[int, int] = {}

    def check(self, key: DuplicateKey) -> DuplicateReason | None:
        """Return the reason if a row repeats an earlier one, else None; remember a row that repeats none."""
        if key.prompt in self._prompts:
            return "duplicate_prompt"
        # A digest per answer, because a student that sees one answer to many questions learns to
        # repeat it.
        if self._questions.setdefault(key.answer, key.question) != key.question:
            return "duplicate_response"
        self._prompts.add(key.prompt)
        return None


class ExpectationIndex:
    """Expectations of the prompts so far."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], int] = {}
        self._seen: dict[int, int] = {}

    def contradicts(self, digest: int, expectation: Expectation) -> bool:
        """Return True if messages of this digest had another expectation before; otherwise remember it."""
        kind = self._kinds.setdefault(expectation_key(expectation), len(self._kinds))
        return self._seen.setdefault(digest, kind) != kind
