from __future__ import annotations

import json
from pathlib import Path

import pytest

import safegen
from safegen.config.recipe import Recipe
from safegen.store.plan import iter_scenarios
from safegen.teachers.scripted import scripted
from tests.cli.harness import RECIPE, call, write_recipe

LOSSY = """
from safegen.core.errors import ContentFiltered, TeacherRejected, TeacherUnavailable
from safegen.core.types import Reply

ERRORS = {"filtered": ContentFiltered, "unavailable": TeacherUnavailable, "rejected": TeacherRejected}


def lossy(*, outcome: str):
    async def answer(request, /):
        if outcome == "rejected" or request.context.scenario.intent == "malicious":
            raise ERRORS[outcome]("as told")
        return Reply(text="A jar with a lid keeps the recipe of the house. " * 4, model="jar")

    return answer
"""


def lossy_recipe(folder: Path, outcome: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "kitchen_teacher.py").write_text(LOSSY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    teacher = f"{{use: 'kitchen_teacher:lossy', params: {{outcome: {outcome}}}}}"
    return write_recipe(folder, RECIPE + f"teachers:\n  drafter: {teacher}\n")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_generate_writes_summary_to_stderr_only(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call(capsys, "generate", write_recipe(workdir))
    assert (told.code, told.out) == (0, "")
    assert (workdir / "outputs/kitchen/data/sft").is_dir()
    for words in (
        "drafts in 1 shard",
        "by domain",
        "by expected mode",
        "are a demo",
        "safegen verify outputs/kitchen",
        'load_dataset("outputs/kitchen", "sft"',
    ):
        assert words in told.err
    assert "\x1b" not in told.err


def test_generate_json_adds_up(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = call(capsys, "generate", write_recipe(workdir), "--json").lines
    for axis in ("by_domain", "by_mode"):
        rows = result[axis].values()
        for step, total in (("planned", "planned"), ("kept", "prompts")):
            assert sum(row[step] for row in rows) == result[total] > 0
        assert sum(row["excluded"] for row in rows) == sum(result["excluded"].values())
    assert result["drafts"] - result["drafts_accepted"] == sum(result["rejected"].values()) > 0
    assert result["by_grade"] == {"demo": result["prompts"]}


def test_generate_repeated_after_finish_changes_nothing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bytes_of(finished)
    told = call(capsys, "generate", "recipe.yaml", "-o", finished)
    assert told.code == 0
    assert "is complete: requests: 0, files changed: 0" in told.err
    assert bytes_of(finished) == before


def test_until_stops_early_and_rerun_resumes(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir)
    told = call(capsys, "generate", recipe, "--until", "expand")
    assert told.code == 0
    assert "stopped after expand" in told.err
    assert "0 of 1 done" in call(capsys, "status", "outputs/kitchen").out
    assert "no shard" in call(capsys, "show", "outputs/kitchen").err
    assert call(capsys, "generate", recipe).code == 0
    assert "1 of 1 done" in call(capsys, "status", "outputs/kitchen").out


def test_changed_recipe_is_refused_without_replan(
    finished: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(workdir, RECIPE + "seed: 7\n")
    told = call(capsys, "generate", "recipe.yaml", "-o", finished)
    assert told.code == 2
    assert "`seed`" in told.err
    assert "would fail" in call(capsys, "check", "recipe.yaml", "-o", finished).out
    assert call(capsys, "generate", "recipe.yaml", "-o", finished, "--replan").code == 0


@pytest.mark.parametrize("outcome", ["filtered", "unavailable"])
def test_failed_items_warn_and_fail_with_strict(
    outcome: str,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = lossy_recipe(workdir, outcome, monkeypatch)
    command = ("generate", recipe, "--plugin", "kitchen_teacher")
    told = call(capsys, *command)
    assert told.code == 0
    row = next(line for line in told.err.splitlines() if line.strip().startswith(outcome))
    assert int(row.split()[1]) > 0
    assert "safegen retry outputs/kitchen" in told.err
    assert call(capsys, *command, "--strict").code == 1
    assert outcome in call(capsys, "status", "outputs/kitchen").out


def test_retry_repeats_failed_requests_only(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = lossy_recipe(workdir, "filtered", monkeypatch)
    call(capsys, "generate", recipe, "--plugin", "kitchen_teacher")
    retry = ("retry", "outputs/kitchen", "--plugin", "kitchen_teacher", "--json")
    (result,) = call(capsys, *retry).lines
    assert result["shards_done"] == 1
    assert result["failed_requests"]["filtered"] > 0


def test_retry_without_failed_requests_does_nothing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call(capsys, "retry", finished)
    assert told.code == 0
    assert "no failed request" in told.err


def test_rejecting_teacher_stops_the_run(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = lossy_recipe(workdir, "rejected", monkeypatch)
    told = call(capsys, "generate", recipe, "--plugin", "kitchen_teacher")
    assert told.code == 1
    assert "error: as told" in told.err


def test_build_rewrites_the_dataset(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "README.md").write_text("gone", encoding="utf-8")
    (result,) = call(capsys, "build", finished, "--json").lines
    assert result["changed"] is True
    assert call(capsys, "verify", finished).code == 0


def test_verify_reports_matches_and_mismatches(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call(capsys, "verify", finished)
    assert told.code == 0
    assert "OK, " in told.out
    assert "train" in told.out
    (finished / "README.md").write_text("gone", encoding="utf-8")
    told = call(capsys, "verify", finished)
    assert told.code == 1
    assert "README.md" in told.out
    told = call(capsys, "verify", finished, "--json")
    (result,) = told.lines
    assert (told.code, result["valid"]) == (1, False)
    assert any("README.md" in problem for problem in result["problems"])


def test_status_json_is_one_object(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = call(capsys, "status", finished, "--json").lines
    assert (result["shards"], result["shards_done"], result["dataset"]) == (1, 1, True)
    assert result["failed_requests"] == {}
    assert result["drafts"] == 2 * result["prompts"]


async def test_status_counts_repeated_prompts_once(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Recipe.model_validate(
        {
            "name": "twice",
            "plan": {"harms": ["property.*"], "sets_per_harm": 1},
            "validators": ["length_bounds"],
            "target": {"accepted": 3, "rounds": 2, "patience": 2},
        }
    )
    refusing = {"drafter": scripted(lambda _: "No.")}
    await safegen.agenerate(asked, output="out", teachers=refusing)
    (told,) = call(capsys, "status", "out", "--json").lines
    ids = [
        p.scenario.scenario_id
        for n in range(3)
        for p in iter_scenarios(Path(f"out/run/plan/{n}.parquet"))
    ]
    assert len(set(ids)) < len(ids)
    assert (told["rounds"], told["prompts"], told["drafts"]) == (3, len(set(ids)), len(ids))
    assert "in 3 rounds" in call(capsys, "status", "out").out


def test_status_of_missing_run_exits_2(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = call(capsys, "status", "nowhere")
    assert (told.code, told.out) == (2, "")
    assert "no run in `nowhere`" in told.err


@pytest.mark.parametrize("text", ["{}", '{"recipe": 7}', "[]", "not json"])
def test_unreadable_run_folder_exits_1_with_message(
    text: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "run" / "recipe.json").write_text(text, encoding="utf-8")
    for command in ("status", "show", "retry", "build"):
        told = call(capsys, command, finished)
        assert (told.code, told.out) == (1, "")
        assert "recipe.json" in told.err
        assert "bug" not in told.err


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("manifest.json", '{"counts": {"rows": {"sft": 7}}}'),
        ("manifest.json", '{"counts": []}'),
    ],
)
def test_status_accepts_edited_side_files(
    file: str, text: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / file).write_text(text, encoding="utf-8")
    told = call(capsys, "status", finished)
    assert told.code == 0
    assert "1 of 1 done" in told.out


def test_status_reports_drafts_without_verdicts(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "generate", write_recipe(workdir), "--until", "draft")
    told = call(capsys, "status", "outputs/kitchen").out
    assert "0 of 1 done, 1 drafted but not validated" in told


def test_list_describes_every_plugin_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    entries = call(capsys, "list", "--json").lines
    assert {(e["kind"], e["name"]) for e in entries} >= {
        ("recipes", "starter"),
        ("teachers", "openai_chat"),
        ("validators", "mode_fit"),
        ("views", "preference"),
        ("policies", "security"),
    }
    assert [e["name"] for e in entries if not e["about"]] == []
    told = call(capsys, "list", "views").out
    assert "preference" in told
    assert "mode_fit" not in told


def test_list_of_unknown_kind_suggests_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    told = call(capsys, "list", "veiws")
    assert told.code == 2
    assert "views" in told.err


ENDPOINT = RECIPE + (
    "teachers:\n  drafter:\n    use: openai_chat\n    params:\n"
    "      {base_url: 'http://127.0.0.1:9/v1', model: jar, api_key_env: KITCHEN_API_KEY,"
    " max_tokens: 100}\n"
)


@pytest.mark.parametrize(("key", "told"), [(None, "is not set"), ("not-to-be-seen", "is set")])
def test_check_reports_key_presence_never_its_value(
    key: str | None,
    told: str,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if key:
        monkeypatch.setenv("KITCHEN_API_KEY", key)
    recipe = write_recipe(workdir, ENDPOINT)
    found = call(capsys, "check", recipe)
    assert found.code == 0
    assert f"KITCHEN_API_KEY {told}" in found.out
    assert "(characters / 4)" in found.out
    assert "not-to-be-seen" not in found.out + found.err
    assert not (workdir / "outputs").exists()


def test_check_counts_prompts_calls_and_tokens(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir, ENDPOINT + "revise: 1\n")
    (found,) = call(capsys, "check", recipe, "--json").lines
    prompts = sum(n for modes in found["by_domain_mode"].values() for n in modes.values())
    assert found["prompts"] == prompts
    assert found["drafts"] == 2 * prompts
    assert found["calls_at_most"] == 4 * prompts
    assert found["answer_tokens_at_most"] == 400 * prompts
    assert found["prompt_tokens_estimate"] > 100 * prompts
    assert found["folder"]["state"] == "new"


def test_check_refuses_unknown_teacher_parameters(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call(capsys, "check", write_recipe(workdir, ENDPOINT.replace("model:", "modle:")))
    assert told.code == 2
    assert "`modle`" in told.err


def test_check_of_finished_run_plans_no_requests(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "would send no request" in call(capsys, "check", "recipe.yaml", "-o", finished).out


def test_check_and_generate_count_equal_prompts(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = call(capsys, "check", "recipe.yaml", "--json").lines
    manifest = json.loads((finished / "manifest.json").read_text(encoding="utf-8"))
    assert found["prompts"] == manifest["counts"]["planned"]
