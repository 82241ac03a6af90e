"""A rebuild with other keys of acceptance: same bytes, monotone, no request, understood by `verify`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import safegen
from safegen.cli import main
from safegen.config.recipe import Judges, Recipe
from safegen.core.errors import ConfigError
from safegen.core.types import Message, NotAccepted, Record, Verdict
from safegen.dataset.curate import curate
from safegen.judges.jury import decide, make_jury_verdict
from safegen.pipeline import api
from safegen.pipeline.acceptance import AcceptanceRules, apply_threshold, recut_records
from safegen.pipeline.verification import Verification, verify
from safegen.store.run_folder import RunFolder
from safegen.testing import (
    JudgedReply,
    make_draft,
    make_findings,
    make_record,
    make_scenario,
    make_verdict,
    scripted_judge,
)

NAMES = ("style", "required_elements", "language")
SCORES = st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0])
THRESHOLDS = st.fixed_dictionaries({name: st.sampled_from([0.0, 0.3, 0.5, 1.0]) for name in NAMES})
REQUIRED = st.sets(st.sampled_from(NAMES)).map(sorted).map(tuple)
RECIPE = {
    "name": "small",
    "plan": {"harms": ["property.theft"], "sets_per_harm": 1, "candidates": 4},
    "split": {"test": 0},
    "validators": ["length_bounds", {"style": {"threshold": 0.9}}, "required_elements"],
}


def judged(name: str, score: float | None) -> Verdict:
    return make_verdict(name, score=score, passed=None if score is None else score >= 1.0)


def dialogue(scores: Sequence[Sequence[float | None]]) -> list[Record]:
    """Drafts of a first turn, each followed by a draft of the turn that continues from it."""
    records: list[Record] = []
    for number, own in enumerate(scores):
        turn = number % 2
        messages = [Message(role="user", content="Where is the box?")]
        if turn:
            answer = records[-1].draft.response or ""
            messages += [
                Message(role="assistant", content=answer),
                Message(role="user", content="And its lid?"),
            ]
        scenario = make_scenario(
            scenario_id=f"s{number}",
            set_id=f"set{number // 2}",
            turn=turn,
            messages=tuple(messages),
        )
        verdicts = tuple(judged(name, score) for name, score in zip(NAMES, own, strict=True))
        draft = make_draft(scenario_id=scenario.scenario_id)
        records.append(make_record(scenario=scenario, draft=draft, verdicts=verdicts))
    return records


def accepted(records: Sequence[Record]) -> set[str]:
    return {record.draft.draft_id for record in records if record.accepted}


RECORDS = st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=8).map(dialogue)


@given(RECORDS, THRESHOLDS, REQUIRED)
def test_equal_rules_change_no_record(
    records: list[Record], thresholds: dict[str, float], required: tuple[str, ...]
) -> None:
    rules = AcceptanceRules(required, thresholds)
    # A run drafts no turn after an answer that was not accepted.
    code: NotAccepted = "history_not_accepted"
    stored = [r for r in recut_records(records, rules) if r.reason != code]
    assert recut_records(stored, rules) == stored


@given(RECORDS, THRESHOLDS, THRESHOLDS, REQUIRED, REQUIRED)
def test_looser_rules_accept_a_superset(
    records: list[Record],
    one: dict[str, float],
    other: dict[str, float],
    some: tuple[str, ...],
    more: tuple[str, ...],
) -> None:
    loose = AcceptanceRules(
        tuple(name for name in some if name in more),
        {name: min(one[name], other[name]) for name in NAMES},
    )
    strict = AcceptanceRules(
        tuple({*some, *more}), {name: max(one[name], other[name]) for name in NAMES}
    )
    assert accepted(recut_records(records, strict)) <= accepted(recut_records(records, loose))


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=6), THRESHOLDS)
def test_row_counts_follow_thresholds(
    tmp_path_factory: pytest.TempPathFactory,
    scores: list[tuple[float | None, ...]],
    thresholds: dict[str, float],
) -> None:
    run = RunFolder(tmp_path_factory.mktemp("recut"))
    run.write_shard(run.records(0), dialogue(scores), [])

    def count(change: float) -> int:
        moved = {name: min(1.0, max(0.0, t + change)) for name, t in thresholds.items()}
        rules = AcceptanceRules(NAMES, moved)
        return curate(run, recut=lambda records: recut_records(records, rules)).stats.accepted

    assert count(0.5) <= count(0) <= count(-0.5)


def test_human_decision_stays_in_a_recut() -> None:
    record = make_record(verdicts=(judged("style", 0.0),), accepted_by="human")
    assert recut_records([record], AcceptanceRules(("style",))) == [record]


def test_missing_required_verdict_does_not_accept() -> None:
    (record,) = recut_records([make_record(verdicts=())], AcceptanceRules(("style",)))
    assert (record.accepted, record.reason) == (False, "unscored")


def test_turn_after_rejected_answer_is_rejected() -> None:
    records = dialogue([(0.5, 1.0, 1.0), (1.0, 1.0, 1.0)])
    loose, strict = (
        recut_records(records, AcceptanceRules(("style",), {"style": t})) for t in (0.5, 0.75)
    )
    assert [r.reason for r in loose] == [None, None]
    assert [r.reason for r in strict] == ["style", "history_not_accepted"]


def test_threshold_decides_a_verdict_by_score() -> None:
    verdict = judged("style", 0.5)
    passed = apply_threshold(verdict, 0.5)
    assert (passed.passed, passed.code, passed.teachable) == (True, "reaches_threshold", False)
    failed = apply_threshold(judged("style", 1.0), 1.0)
    assert (failed.passed, failed.threshold) == (True, 1.0)
    assert apply_threshold(judged("style", None), 0.0).passed is None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "out"
    safegen.generate(Recipe.model_validate(RECIPE), output=folder)
    return folder


@pytest.fixture
def dataset(made: Path, workdir: Path) -> Path:
    return Path(shutil.copytree(made, workdir / "out"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


OWN = {"validators.style.threshold": "0.9", "require": "all"}


@pytest.mark.parametrize(
    "overrides",
    [{}, OWN, {"require": ["length_bounds", "style", "required_elements"]}],
    ids=["none", "own", "all names"],
)
def test_own_values_change_no_byte(dataset: Path, overrides: dict[str, object]) -> None:
    before = bytes_of(dataset)
    report = api.rebuild(dataset, overrides=overrides).run.report
    assert report is not None
    assert not report.changed
    assert bytes_of(dataset) == before


def test_recut_is_recorded_verified_and_undone(dataset: Path) -> None:
    before = bytes_of(dataset)
    report = api.rebuild(dataset, overrides={"validators.style.threshold": "0.5"}).run.report
    assert report is not None
    assert report.drafts_accepted > manifest_of(dataset)["counts"]["answered"]
    assert manifest_of(dataset)["overrides"] == {"validators.style.threshold": 0.5}
    assert verify(dataset) == Verification([], "")
    run_files = {k: v for k, v in bytes_of(dataset).items() if k.startswith("run/")}
    assert run_files == {k: v for k, v in before.items() if k.startswith("run/")}
    api.rebuild(dataset)
    assert bytes_of(dataset) == before


def test_edited_override_fails_verification(dataset: Path) -> None:
    api.rebuild(dataset, overrides={"require": "length_bounds"})
    text = (dataset / "manifest.json").read_text(encoding="utf-8")
    (dataset / "manifest.json").write_text(
        text.replace('"length_bounds"\n    ]', '"style"\n    ]', 1), encoding="utf-8"
    )
    assert manifest_of(dataset)["overrides"] == {"require": ["style"]}
    assert verify(dataset).problems != []
    (dataset / "manifest.json").write_text(
        text.replace('"require"', '"revise"', 1), encoding="utf-8"
    )
    assert any("overrides" in problem for problem in verify(dataset).problems)


def test_show_follows_the_recut(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[int] = []
    for options in ([], ["--set", "require=length_bounds"]):
        assert main.run_command(["build", str(dataset), *options]) == 0
        capsys.readouterr()
        main.run_command(["show", str(dataset), "--accepted", "-n", "99", "--json"])
        shown.append(len(capsys.readouterr().out.splitlines()))
    assert shown[0] < shown[1]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("validators.stile.threshold", 0.5, "did you mean `validators.style.threshold`?"),
        ("requires", "all", "did you mean `require`?"),
        ("plan.candidates", 2, "needs new requests"),
        ("seed", 1, "needs new requests"),
        ("revise", 1, "needs new requests"),
        ("judges.panel", "x", "needs new requests"),
        ("judges.traps", 0, "needs new requests"),
        ("judges.quarantine.days", 3, "changes no stored verdict"),
        ("judges.quarantine", "x", "changes no stored verdict"),
        ("judges.allow_drafter", True, "changes no stored verdict"),
        ("budget.requests", 3, "changes no stored verdict"),
        ("judges.below", "drop", "needs new requests"),
        ("judges.thresholds.severity", "low", "needs new requests"),
        ("validators.length_bounds.min_chars", 1, "needs new requests"),
        ("validators.length_bounds.threshold", 0.5, "does not pass by a score"),
        ("views", ["sft"], "with `--recipe`"),
        ("nonsense", 1, "no such key"),
    ],
)
def test_wrong_key_lists_the_known_ones(dataset: Path, key: str, value: object, says: str) -> None:
    before = bytes_of(dataset)
    with pytest.raises(ConfigError) as raised:
        api.rebuild(dataset, overrides={key: value})
    assert says in str(raised.value)
    assert "`require`, `validators.style.threshold`" in str(raised.value)
    assert bytes_of(dataset) == before


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("validators.style.threshold", "high", "use a number from 0 to 1"),
        ("validators.style.threshold", 1.5, "use a number from 0 to 1"),
        ("validators.style.threshold", float("nan"), "use a number from 0 to 1"),
        ("validators.style.threshold", True, "use a number from 0 to 1"),
        ("require", "styl", "did you mean `style`?"),
        ("require", 3, "names of validators"),
    ],
)
def test_wrong_value_is_named(dataset: Path, key: str, value: object, says: str) -> None:
    with pytest.raises(ConfigError, match=r"threshold|require") as raised:
        api.rebuild(dataset, overrides={key: value})
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "require"], "must be KEY=VALUE"),
        (["--set", "require=all", "--set", "require=style"], "twice"),
    ],
)
def test_malformed_option_exits_with_2(
    dataset: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main.run_command(["build", str(dataset), *options]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("validator", "says"),
    [
        ({"length_bounds": {"threshold": 0.5}}, "does not pass by a score"),
        ({"style": {"threshold": 2}}, "use a number from 0 to 1"),
    ],
)
def test_wrong_threshold_in_recipe_is_named(
    tmp_path: Path, validator: dict[str, object], says: str
) -> None:
    recipe = Recipe.model_validate({"name": "small", "validators": [validator]})
    with pytest.raises(ConfigError) as raised:
        safegen.generate(recipe, output=tmp_path / "out")
    assert says in str(raised.value)


OWN_VALIDATOR = '''
from safegen.types import ValidatorTraits, Verdict

TRAITS = ValidatorTraits(passes_by_score=True)


def brevity():
    """Pass short responses."""

    async def check(draft, context):
        score = min(1.0, 100 / len(draft.response or "-"))
        return Verdict("brevity", "1", passed=score >= 1, score=score, threshold=1.0, reason="long")

    return check
'''


def test_own_validator_decides_and_has_a_threshold(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "kept_short.py").write_text(OWN_VALIDATOR, encoding="utf-8")
    monkeypatch.syspath_prepend(workdir)
    recipe = Recipe.model_validate(RECIPE | {"validators": ["kept_short:brevity"]})
    run = safegen.generate(recipe, output=workdir / "out", plugins=["kept_short"])
    assert run.report is not None
    assert (run.report.accepted, run.report.rejected) == (0, {"brevity": run.report.drafts})
    options: dict[str, Any] = {"plugins": ["kept_short"]}
    again = api.rebuild(
        workdir / "out", overrides={"validators.brevity.threshold": 0}, **options
    ).run.report
    assert again is not None
    assert again.drafts_accepted == again.drafts
    assert verify(workdir / "out").problems == []


HARD = {"language": frozenset({"other_language"})}


def read_by_jury(help_direct: str, *, judges: Judges | None = None) -> Record:
    """A draft that one juror read."""
    record = make_record(verdicts=(judged("style", 0.0),))
    findings = make_findings(help_direct=help_direct, help_indirect="1")
    rules, mode = judges or Judges(), record.expectation.mode
    verdict = make_jury_verdict(
        decide(findings, mode=mode, rules=rules),
        mode=mode,
        rules=rules,
        judges=["j"],
        prompt_digest="d",
    )
    return replace(record, verdicts=(*record.verdicts, verdict), findings=findings)


@pytest.mark.parametrize(
    ("grade", "least", "result"),
    [
        ("4", 0.6, (True, "judge", None)),
        ("2", 0.6, (False, None, "jury")),
        ("2", 0.3, (True, "judge", None)),
        ("4", 1.0, (True, "judge", None)),
        ("3", 1.0, (False, None, "jury")),
    ],
)
def test_threshold_of_jury_decides_from_findings(
    grade: str, least: float, result: tuple[object, ...]
) -> None:
    judges = Judges.model_validate({"thresholds": {"helpfulness": {"safe_completion": least}}})
    rules = AcceptanceRules(("style",), judges=judges, hard_codes=HARD)
    (record,) = recut_records([read_by_jury(grade)], rules)
    assert (record.accepted, record.accepted_by, record.reason) == result
    assert recut_records([record], rules) == [record]


@given(st.sampled_from("1234"), st.sampled_from([0.0, 0.3, 0.6, 1.0]))
def test_own_rules_of_jury_change_no_record(grade: str, least: float) -> None:
    judges = Judges.model_validate({"thresholds": {"helpfulness": {"safe_completion": least}}})
    rules = AcceptanceRules(("style",), judges=judges)
    stored = recut_records([read_by_jury(grade, judges=judges)], rules)
    assert recut_records(stored, rules) == stored


@pytest.mark.parametrize(
    ("judges", "required", "result"),
    [
        (Judges(), ("language",), (None, "language")),
        (Judges(), ("style",), (None, "unjudged")),
        (None, ("language",), (None, "language")),
        (None, ("style",), ("rules", None)),
    ],
)
def test_unread_draft_is_unjudged_with_a_panel(
    judges: Judges | None, required: tuple[str, ...], result: tuple[object, ...]
) -> None:
    hard = replace(judged("language", 0.0), code="other_language")
    record = make_record(verdicts=(hard, judged("style", 1.0)))
    rules = AcceptanceRules(required, judges=judges, hard_codes=HARD)
    (decided,) = recut_records([record], rules)
    assert (decided.accepted_by, decided.reason) == result


def test_judged_run_is_recut_without_a_request(workdir: Path) -> None:
    asked: list[str] = []

    def read(reply: JudgedReply) -> dict[str, str]:
        asked.append(reply.response)
        return {"help_direct": "2", "help_indirect": "2"} if len(reply.response) % 2 else {}

    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "reader"}
    panel: dict[str, Any] = {"judges": {"panel": [{"openai_chat": endpoint}], "traps": 0}}
    recipe = Recipe.model_validate(RECIPE | {"validators": ["length_bounds"]} | panel)
    run = safegen.generate(recipe, output=workdir / "out", teachers={"judge": scripted_judge(read)})
    assert run.report is not None
    assert set(run.report.accepted_by) == {"judge"}
    assert run.report.rejected == {"jury": run.report.drafts - run.report.drafts_accepted}
    before, requests = bytes_of(workdir / "out"), len(asked)
    key = "judges.thresholds.helpfulness."
    own: dict[str, object] = {f"{key}safe_completion": "0.6", "judges.tie": "stricter"}
    api.rebuild(workdir / "out", overrides=own)
    assert bytes_of(workdir / "out") == before
    modes = ("direct_answer", "safe_completion", "refuse_redirect")
    loose: dict[str, object] = {f"{key}{mode}": "0.3" for mode in modes}
    report = api.rebuild(workdir / "out", overrides=loose).run.report
    assert report is not None
    assert report.drafts_accepted == report.drafts
    assert len(asked) == requests
    assert verify(workdir / "out").problems == []
    # Not set in the recipe, and near to a key that a rebuild can change.
    with pytest.raises(ConfigError, match="changes no stored verdict"):
        api.rebuild(workdir / "out", overrides={"judges.quarantine.days": 3})
    for real in (
        "judges.panel",
        "judges.traps",
        "judges.below",
        "judges.assurance.right",
        "revise",
    ):
        with pytest.raises(ConfigError, match="needs new requests"):
            api.rebuild(workdir / "out", overrides={real: "1"})
    with pytest.raises(ConfigError, match=r"parts; set `judges\.thresholds\.helpfulness\.direct"):
        api.rebuild(workdir / "out", overrides={"judges.thresholds.helpfulness": "0.9"})
    with pytest.raises(ConfigError, match="did you mean"):
        api.rebuild(workdir / "out", overrides={"judges.threshold.severity": "low"})
    with pytest.raises(ConfigError, match=r"judges\.thresholds\.severity"):
        api.rebuild(workdir / "out", overrides={"judges.thresholds.severity": "awful"})
