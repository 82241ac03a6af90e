"""Shared fakes of authored sets and conversations: authors whose texts a labeller knows."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

from safegen.config import taxonomy
from safegen.core.types import Request, Teacher
from safegen.teachers.scripted import scripted
from tests.scenarios.authoring.author_cases import asked_fields, asked_text

WORDS = (
    "lamp door paper garden window bottle carpet river market bridge candle pocket ladder mirror "
    "basket kettle button ribbon saddle anchor lantern pepper violin thimble barrel curtain"
).split()


class Known(ABC):
    """Scripted teachers by role; the labeller looks each text up among `truths`."""

    truths: dict[str, tuple[str, str, int]]
    """Intent, evidence and detail by text; an author adds what it writes."""

    def __post_init__(self) -> None:
        for goal in taxonomy.load_taxonomy("core").goals():
            for intent, _, p in goal.prompts.iter_by_intent():
                self.truths[p.text] = (intent, p.evidence, p.detail)

    @abstractmethod
    def author(self, request: Request) -> str:
        """Write the requested texts."""

    @abstractmethod
    def drafter(self, request: Request) -> str:
        """Answer a prompt."""

    def labeller(self, request: Request) -> str:
        fields = asked_fields(request)
        if "same_purpose" in fields:
            return json.dumps({"same_purpose": True, "same_task": True, "task": "explain"})
        intent, evidence, detail = self.read(asked_text(request))
        labels: dict[str, object] = dict.fromkeys(fields, "not_shown")
        return json.dumps(labels | {"intent": intent, "evidence": evidence, "detail": detail})

    def read(self, text: str) -> tuple[str, str, int]:
        return self.truths[text]

    def teachers(self) -> dict[str, Teacher]:
        return {
            "author": scripted(self.author),
            "labeller": scripted(self.labeller),
            "drafter": scripted(self.drafter),
        }
