"""The panel: asks all jurors about a reply at once and applies the rules of the jury."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from safegen.config.recipe import Judges
from safegen.core.hashing import digest
from safegen.core.templates import PromptTemplate
from safegen.core.types import Finding, Verdict
from safegen.judges.blind_labels import gather_all
from safegen.judges.juror import (
    JudgedText,
    Juror,
    JurorReading,
    RubricRenderer,
    ask_juror,
    make_lost_reading,
)
from safegen.judges.jury import (
    JuryDecision,
    decide,
    make_juror_verdict,
    make_jury_verdict,
    splits_on_harm,
)


@dataclass(frozen=True)
class JudgedDraft:
    """The readings of all jurors about a reply, and the decision that follows from them."""

    readings: tuple[JurorReading, ...]
    verdicts: tuple[Verdict, ...]
    """One of each juror, then that of the jury."""
    decision: JuryDecision

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all jurors, in their order."""
        return tuple(f for reading in self.readings for f in reading.findings)

    @property
    def keys(self) -> tuple[str, ...]:
        """Cache keys of the jurors' replies, which may quote the reply that they judge."""
        return tuple(reading.key for reading in self.readings if reading.key)

    @property
    def is_disputed(self) -> bool:
        """True if some jurors rate the reply unsafe and others do not."""
        return splits_on_harm(self.findings)

    @property
    def is_withheld(self) -> bool:
        """True if the jurors rated an equal reply before and their answers were deleted."""
        return any(f.code == "withheld" for f in self.findings)


class Judging(Protocol):
    """Anything that asks a panel about a reply."""

    async def judge(self, text: JudgedText, *, item: str) -> JudgedDraft:
        """Ask all jurors about a reply and decide."""
        ...


@dataclass(frozen=True)
class Panel:
    """The jurors of a run and their rules."""

    jurors: tuple[Juror, ...]
    rules: Judges
    prompt: PromptTemplate
    render: RubricRenderer

    async def judge(
        self,
        text: JudgedText,
        *,
        item: str,
        on_read: Callable[[JurorReading], None] | None = None,
        on_key: Callable[[str], None] | None = None,
    ) -> JudgedDraft:
        """Ask all jurors at once about a reply and decide.

        Args:
            text: the reply and its context.
            item: name of the reply in errors.
            on_read: receives each reading, also if another juror stops the run.
            on_key: receives the cache key of each request before it is sent.

        Raises:
            RunError: the run cannot continue.
        """

        async def ask(juror: Juror) -> JurorReading:
            reading = await ask_juror(
                juror, text, template=self.prompt, render=self.render, item=item, on_key=on_key
            )
            if on_read is not None:
                on_read(reading)
            return reading

        readings = await gather_all(map(ask, self.jurors))
        return judge_readings(readings, text=text, rules=self.rules)

    def judge_by(self, readings: Sequence[JurorReading], *, text: JudgedText) -> JudgedDraft:
        """Decide by the readings that arrived before the run stopped; the other jurors are unavailable."""
        read = {reading.judge: reading for reading in readings}
        every = [
            read.get(juror.name) or make_lost_reading(juror, text, render=self.render)
            for juror in self.jurors
        ]
        return judge_readings(every, text=text, rules=self.rules)


def judge_readings(
    readings: Sequence[JurorReading], *, text: JudgedText, rules: Judges
) -> JudgedDraft:
    """Apply the rules of a jury to the readings of all jurors."""
    mode = text.expectation.mode
    findings = [f for reading in readings for f in reading.findings]
    decision = decide(findings, mode=mode, rules=rules)
    verdicts = [
        make_juror_verdict(
            reading.findings, mode=mode, rules=rules, prompt_digest=reading.prompt_digest
        )
        for reading in readings
    ]
    jury = make_jury_verdict(
        decision,
        mode=mode,
        rules=rules,
        judges=[reading.judge for reading in readings],
        prompt_digest=digest([reading.prompt_digest for reading in readings])[:16],
    )
    return JudgedDraft(tuple(readings), (*verdicts, jury), decision)
