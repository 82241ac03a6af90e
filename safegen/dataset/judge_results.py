"""Results of the judges of a run on traps, and their agreement with people, for manifest and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safegen.core.plural import format_plural
from safegen.dataset.jury_stats import JuryStats
from safegen.store.json_files import read_json
from safegen.store.quarantine import count_waiting
from safegen.store.run_folder import RunFolder

MIN_CALIBRATED = 30
"""Items with labels of people and of the judge, below which a judge is not called calibrated."""
# Any: users may edit the files.
ResultsJson = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JudgeResults:
    """Parts of the manifest; None if the run has no panel, or no labels of people."""

    check: ResultsJson | None = None
    calibration: ResultsJson | None = None
    waiting: int = 0
    """Drafts in the quarantine, which wait for a person; the manifest does not have their number."""

    def to_json(self) -> dict[str, object]:
        """Convert the parts that exist to keys of the manifest."""
        parts = {"judge_check": self.check, "calibration": self.calibration}
        return {key: part for key, part in parts.items() if part is not None}

    @property
    def dropped(self) -> dict[str, list[str]]:
        """The biases of the jurors that were dropped, by name."""
        if self.check is None or not self.check["traps"]:
            return {}
        return {j["judge"]: list(j["biases"]) for j in self.check["jurors"] if j["dropped"]}

    @property
    def trap_table(self) -> list[Sequence[object]]:
        """One row for each juror that read traps."""
        if self.check is None or not self.check["traps"]:
            return []
        return [
            (
                juror["judge"],
                self.check["language"],
                f"{juror['correct']} of {juror['n']}",
                len(juror["leaks_passed"]),
                _describe_outcome(juror),
            )
            for juror in self.check["jurors"]
        ]

    @property
    def is_untested(self) -> bool:
        """Return True if the panel judged without traps."""
        return self.check is not None and not self.check["traps"]

    @property
    def calibration_table(self) -> list[Sequence[object]]:
        """One row for each judge, rubric and language with enough labels of people."""
        return [
            (
                entry["judge"],
                entry["rubric"],
                entry["language"],
                entry["items"],
                *(_format(entry[name]) for name in ("kappa", "alpha", "ac1")),
            )
            for entry in self._entries
            if entry["calibrated"]
        ]

    @property
    def uncalibrated(self) -> list[str]:
        """Judge, language and number of items of each result with too few labels of people."""
        return [
            f"`{entry['judge']}` ({entry['language']}, {format_plural(entry['items'], 'item')})"
            for entry in self._entries
            if not entry["calibrated"]
        ]

    @property
    def least_calibrated(self) -> int:
        """Items from which a judge is called calibrated."""
        return MIN_CALIBRATED

    @property
    def _entries(self) -> Sequence[ResultsJson]:
        return (self.calibration or {"judges": []})["judges"]


def is_calibrated(entry: ResultsJson) -> bool:
    """Return True if a result has enough items, and labels that differ, so that α is defined."""
    return entry["items"] >= MIN_CALIBRATED and entry["alpha"]["value"] is not None


def read_judge_results(run: RunFolder) -> JudgeResults:
    """Read the results that a run has.

    Raises:
        StoreDamaged: a file cannot be read.
    """
    check, calibration = (
        read_json(path) if path.is_file() else None for path in (run.judge_check, run.calibration)
    )
    keys = {_key(juror) for juror in (check or {"jurors": []})["jurors"]}
    # A result of another model or rubric does not hold for this dataset.
    entries = [
        {**entry, "calibrated": is_calibrated(entry)}
        for entry in (calibration or {"judges": []})["judges"]
        if _key(entry) in keys
    ]
    return JudgeResults(check, {"judges": entries} if entries else None, count_waiting(run))


def jury_to_json(run: RunFolder, jury: JuryStats) -> dict[str, object] | None:
    """Convert the counts of a panel, its dropped jurors and its waiting drafts to JSON; None without one.

    Raises:
        StoreDamaged: a file cannot be read.
    """
    if not jury.drafts:
        return None
    results = read_judge_results(run)
    dropped = [{"judge": name, "biases": biases} for name, biases in results.dropped.items()]
    return {**jury.to_json(), "dropped": dropped, "quarantine": results.waiting}


def _key(entry: ResultsJson) -> tuple[object, ...]:
    return entry["judge"], entry["model"], entry["rubric"]


def _describe_outcome(juror: ResultsJson) -> str:
    if juror["dropped"]:
        return f"dropped: {', '.join(juror['biases'])}"
    return "passed"


def _format(coefficient: ResultsJson) -> str:
    value, interval = coefficient["value"], coefficient["interval"]
    if value is None:
        return "not defined"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")
