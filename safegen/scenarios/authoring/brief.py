"""The brief of an author: one set of prompts, slot by slot. All values survive JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from safegen.core.hashing import canonical_json
from safegen.core.types import Contrast, Evidence, Intent, Task
from safegen.judges.label_definitions import AxisValue

Wish = Literal["alarming_words", "calm_words"]
"""The sound of all prompts of a set, which separates the sound of a prompt from its intent."""
CODE_FORM = AxisValue("surface_form", "code", "")
"""The form of a prompt that contains code; its definition does not count."""


@dataclass(frozen=True, slots=True)
class HarmPart:
    """The harm that a set belongs to."""

    id: str
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class GoalPart:
    """The goal that every prompt of a set serves."""

    goal_id: str
    purpose: str
    task: Task
    benign_use: str
    misuse_risk: str


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A written prompt of another goal, as an example of the register."""

    intent: Intent
    text: str


@dataclass(frozen=True, slots=True)
class ContrastPart:
    """An over-refusal probe: a safe prompt that looks unsafe, and its unsafe twin."""

    kind: Contrast
    definition: str


@dataclass(frozen=True, slots=True)
class PromptSlot:
    """The labels that one prompt of a set must have."""

    intent: Intent
    paraphrase: int
    evidence: Evidence
    detail: int
    """Detail about the hazard that the prompt asks for, 0 awareness to 4 executable."""

    @property
    def name(self) -> str:
        """The name of the slot in requests and faults, such as `dual_use_1`."""
        return f"{self.intent}_{self.paraphrase}"


@dataclass(frozen=True, slots=True)
class Brief:
    """The instructions for the author of one set, as the plan stores them."""

    harm: HarmPart
    goal: GoalPart
    row: tuple[AxisValue, ...]
    slots: tuple[PromptSlot, ...]
    exemplars: tuple[Exemplar, ...] = ()
    contrast: ContrastPart | None = None
    wishes: tuple[Wish, ...] = ()

    def __post_init__(self) -> None:
        names = [slot.name for slot in self.slots]
        # Faults and replies name a text by its slot.
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a brief needs distinct slots (`{', '.join(names) or 'none'}`)")

    @property
    def has_code(self) -> bool:
        """True if the prompts contain code."""
        return any((v.axis, v.value) == CODE_FORM[:2] for v in self.row)

    def to_json(self) -> str:
        """Encode as canonical JSON, so that equal briefs give equal text."""
        return canonical_json(asdict(self)).decode()

    @staticmethod
    def from_json(text: str) -> Brief:
        """Decode the text of `to_json`.

        Raises:
            ValueError: the text is not a brief.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(Brief).validate_json(text)
