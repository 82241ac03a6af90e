"""Samples for the fit of the form classifier: rows of the bank and texts that are made of them.

Stock phrases are rare in the bank on purpose, but frequent in the replies of models. The made texts
put them around other texts, so that a stock phrase alone decides nothing. Each made text belongs to
the block of its row, and each block has its own share of the stock phrases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _bank import FormRow, name_block

from safegen.validators._form_model import FORMS, LEVELS, OUTPUTS, PARTS, REFUSALS
from safegen.validators._text import split_sentences

STOCK = Path(__file__).parent / "forms" / "stock.json"
Array = np.ndarray[Any, Any]


class Sample(NamedTuple):
    """A text with its targets; a weight of 0 hides an unknown target."""

    block: str
    prompt: str
    response: str
    targets: Array
    weights: Array


def make_sample(row: FormRow) -> Sample:
    """Return a row as a sample."""
    form = row["form"]
    weights = np.ones(OUTPUTS)
    # A safe completion declines details only; a reader may call that a partial refusal.
    weights[-1] = {"safe_completion": 0.3, "garbage": 0.5, "off_topic": 0.5}.get(form, 1.0)
    targets = encode_targets(form, row["level"], {part: row[part] for part in PARTS})
    return Sample(name_block(row), row["prompt"], row["response"], targets, weights)


def encode_targets(form: str, level: str, parts: Mapping[str, bool]) -> Array:
    """Return the target of each output."""
    return np.array(
        [
            *(form == f for f in FORMS),
            *(level == a for a in LEVELS),
            *(parts[part] for part in PARTS),
            form in REFUSALS,
        ],
        dtype=np.float64,
    )


@dataclass(frozen=True)
class Maker:
    """Makes texts from the rows of one block and its share of the stock phrases."""

    rows: Sequence[FormRow]
    phrases: Mapping[str, Sequence[str]]
    rng: np.random.Generator

    def pick(self, name: str, share: float = 1.0) -> str:
        """Return a stock phrase with the probability `share`, else the empty string."""
        items = self.phrases[name]
        return items[int(self.rng.integers(len(items)))] if self.rng.random() < share else ""

    def row(self, *forms: str) -> FormRow | None:
        """Return a row of one of some forms."""
        rows = [r for r in self.rows if not forms or r["form"] in forms]
        return rows[self.rng.integers(len(rows))] if rows else None

    def body(self, row: FormRow) -> str:
        """Return a response, sometimes without its first sentence or its end."""
        sentences = list(split_sentences(row["response"]))
        chance = self.rng.random()
        if len(sentences) > 3 and chance < 0.25:
            sentences = sentences[1:]
        elif len(sentences) > 3 and chance < 0.5:
            sentences = sentences[: max(2, int(len(sentences) * self.rng.uniform(0.4, 1)))]
            words = sentences[-1].split(" ")
            sentences[-1] = " ".join(words[: max(1, self.rng.integers(1, len(words) + 1))])
        return self.join(*sentences)

    def join(self, *parts: str) -> str:
        """Join parts by a blank or a line break."""
        gap = " " if self.rng.random() < 0.6 else "\n\n"
        return gap.join(part for part in parts if part)


class Made(NamedTuple):
    """A made text; None for what is unknown."""

    prompt: str
    response: str
    form: str | None
    refuses: bool | None


def bare(make: Maker) -> Made | None:
    """Decline with stock phrases alone."""
    row = make.row()
    if row is None:
        return None
    text = make.join(
        make.pick("declines"),
        make.pick("reasons", 0.6),
        make.pick("morals", 0.4),
        make.pick("offers", 0.4),
    )
    return Made(row["prompt"], text, "bare_refusal", True)


def late(make: Maker) -> Made | None:
    """Moralise first, then decline."""
    row = make.row()
    if row is None:
        return None
    text = make.join(
        make.pick("morals"),
        make.pick("reasons", 0.4),
        make.pick("declines"),
        make.pick("referrals", 0.4),
        make.pick("offers", 0.3),
    )
    return Made(row["prompt"], text, None, True)


def sermon(make: Maker) -> Made | None:
    """Moralise only."""
    row = make.row()
    if row is None:
        return None
    text = make.join(
        make.pick("morals"),
        make.pick("morals", 0.7),
        make.pick("reasons", 0.3),
        make.pick("morals", 0.4),
        make.pick("referrals", 0.5),
        make.pick("offers", 0.2),
    )
    return Made(row["prompt"], text, "deflection", True)


def preached(make: Maker) -> Made | None:
    """Put sermons around an answer."""
    row = make.row("answer")
    if row is None:
        return None
    text = make.join(
        make.pick("morals"),
        make.pick("morals", 0.4),
        make.pick("openings", 0.5),
        make.body(row),
        make.pick("morals", 0.7),
        make.pick("referrals", 0.3),
    )
    return Made(row["prompt"], text, "hedged_answer", False)


def polite(make: Maker) -> Made | None:
    """Put polite phrases around an answer."""
    row = make.row("answer")
    if row is None:
        return None
    text = make.join(
        make.pick("openings", 0.7),
        make.body(row),
        make.pick("cautions", 0.5),
        make.pick("closings", 0.5),
    )
    return Made(row["prompt"], text, "answer", False)


def leaking(make: Maker) -> Made | None:
    """Decline, then answer; without the prompt's sense it is leaky or a partial refusal."""
    row = make.row("answer", "hedged_answer")
    if row is None:
        return None
    text = make.join(
        make.pick("declines"),
        make.pick("reasons", 0.4),
        make.pick("pivots", 0.8),
        make.body(row),
        make.pick("cautions", 0.3),
    )
    return Made(row["prompt"], text, None, True)


def wrapped(make: Maker) -> Made | None:
    """Put a limit or decline and a referral around nonsense or deflection."""
    row = make.row("garbage", "off_topic", "deflection")
    if row is None:
        return None
    start = make.pick("limits" if make.rng.random() < 0.6 else "declines")
    end = make.pick("referrals") if make.rng.random() < 0.6 else make.pick("offers")
    text = make.join(start, row["response"], end)
    return Made(row["prompt"], text, row["form"], None)


def misplaced(make: Maker) -> Made | None:
    """Answer another prompt."""
    row, other = make.row("answer", "safe_completion"), make.row()
    if row is None or other is None or row is other:
        return None
    limit = make.pick("limits", 0.3)
    text = make.join(
        make.pick("openings", 0.2) or limit, make.body(row), make.pick("closings", 0.2)
    )
    return Made(other["prompt"], text, "off_topic", None)


def shortened(make: Maker) -> Made | None:
    """Cut a response."""
    row = make.row("answer", "hedged_answer", "deflection", "refusal_redirect", "bare_refusal")
    if row is None:
        return None
    declines = row["form"] in ("refusal_redirect", "bare_refusal")
    sentences = split_sentences(row["response"])
    text = make.join(*sentences[:2]) if declines else make.body(row)
    return Made(row["prompt"], text, None, row["form"] in REFUSALS)


KINDS: Mapping[Callable[[Maker], Made | None], int] = {
    bare: 12,
    late: 6,
    sermon: 8,
    preached: 12,
    polite: 16,
    leaking: 10,
    wrapped: 20,
    misplaced: 14,
    shortened: 12,
}
"""Texts of each kind for each block."""
MADE_WEIGHT = 0.25
_LEVELS = {"answer": "A4", "hedged_answer": "A4"}


def make_texts(rows: Sequence[FormRow]) -> Iterator[tuple[str, Made]]:
    """Yield the made texts with their blocks."""
    stock: dict[str, list[str]] = json.loads(STOCK.read_text(encoding="utf-8"))
    blocks = list(dict.fromkeys(name_block(row) for row in rows))
    for i, block in enumerate(blocks):
        phrases = {
            name: items[i % len(blocks) :: len(blocks)] or items for name, items in stock.items()
        }
        own = [row for row in rows if name_block(row) == block]
        make = Maker(own, phrases, np.random.default_rng(i))
        for kind, count in KINDS.items():
            for _ in range(count):
                if made := kind(make):
                    yield block, made


def make_samples(rows: Sequence[FormRow]) -> list[Sample]:
    """Return the rows and the made texts as samples."""
    samples = [make_sample(row) for row in rows]
    for block, made in make_texts(rows):
        form = made.form or ""
        weights = np.zeros(OUTPUTS)
        weights[: len(FORMS) + len(LEVELS)] = MADE_WEIGHT * (made.form is not None)
        weights[-1] = MADE_WEIGHT * (made.refuses is not None)
        targets = encode_targets(form, _LEVELS.get(form, "A0"), dict.fromkeys(PARTS, False))
        targets[-1] = float(bool(made.refuses))
        samples.append(Sample(block, made.prompt, made.response, targets, weights))
    return samples
