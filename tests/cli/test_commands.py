from __future__ import annotations

import json
import re
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
            raise ERRORS[outcome]("as scripted")
        return Reply(text="A jar with a lid keeps the recipe of the house. " * 4, model="jar")

    return answer
"""


def lossy_recipe(folder: Path, outcome: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "kitchen_teacher.py").write_text(LOSSY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    teacher = f"{{use: 'kitchen_teacher:lossy', params: {{outcome: {outcome}}}}}"
    # The answers repeat themselves, and only their length is of interest here.
    rules = "validators: [length_bounds]\n"
    return write_recipe(folder, RECIPE + rules + f"teachers:\n  drafter: {teacher}\n")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_generate_writes_summary_to_stderr_only(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "generate", write_recipe(workdir))
    assert (result.code, result.out) == (0, "")
    assert (workdir / "outputs/kitchen/data/sft").is_dir()
    for words in (
        "drafts in 1 shard",
        "by domain",
        "by expected mode",
        "are a demo",
        "safegen verify outputs/kitchen",
        'load_dataset("outputs/kitchen", "prompt_completion"',
    ):
        assert words in result.err
    assert "\x1b" not in result.err


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
    result = call(capsys, "generate", "recipe.yaml", "-o", finished)
    assert result.code == 0
    assert "is complete; requests: 0, files changed: 0" in result.err
    assert bytes_of(finished) == before


def test_until_stops_early_and_rerun_resumes(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir)
    result = call(capsys, "generate", recipe, "--until", "expand")
    assert result.code == 0
    assert re.search(r"stopped after the plan: \d+ prompts in 1 shard; see ", result.err)
    assert "0 of 1 done" in call(capsys, "status", "outputs/kitchen").out
    assert "no shard" in call(capsys, "show", "outputs/kitchen").err
    assert call(capsys, "generate", recipe).code == 0
    assert "1 of 1 done" in call(capsys, "status", "outputs/kitchen").out


def test_changed_recipe_is_refused_without_replan(
    finished: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(workdir, RECIPE + "seed: 7\n")
    result = call(capsys, "generate", "recipe.yaml", "-o", finished)
    assert result.code == 2
    assert "`seed`" in result.err
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
    command = ("generate", recipe, "--plugin", "kitchen_teacher", "--min-yield", "0")
    result = call(capsys, *command)
    assert result.code == 0
    row = next(line for line in result.err.splitlines() if line.strip().startswith(outcome))
    assert row.split()[1] == "failed"
    assert int(row.split()[2]) > 0
    assert "safegen retry outputs/kitchen" in result.err
    assert call(capsys, *command, "--strict").code == 1
    assert outcome in call(capsys, "status", "outputs/kitchen").out


def test_stop_after_drafts_names_failed_requests(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = lossy_recipe(workdir, "filtered", monkeypatch)
    command = ("generate", recipe, "--plugin", "kitchen_teacher", "--until", "draft")
    assert re.search(r"failed +\d+ requests?: \d+ filtered", call(capsys, *command).err)


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
    result = call(capsys, "retry", finished)
    assert result.code == 0
    assert "no failed request" in result.err


def test_rejecting_teacher_stops_the_run(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = lossy_recipe(workdir, "rejected", monkeypatch)
    result = call(capsys, "generate", recipe, "--plugin", "kitchen_teacher")
    assert result.code == 1
    assert "error: as scripted" in result.err


def test_build_rewrites_the_dataset(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "README.md").write_text("gone", encoding="utf-8")
    (result,) = call(capsys, "build", finished, "--json").lines
    assert result["changed"] is True
    assert call(capsys, "verify", finished).code == 0


def test_verify_reports_matches_and_mismatches(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verified = call(capsys, "verify", finished)
    assert verified.code == 0
    assert "OK, " in verified.out
    assert "train" in verified.out
    (finished / "README.md").write_text("gone", encoding="utf-8")
    verified = call(capsys, "verify", finished)
    assert verified.code == 1
    assert "README.md" in verified.out
    verified = call(capsys, "verify", finished, "--json")
    (result,) = verified.lines
    assert (verified.code, result["valid"]) == (1, False)
    assert any("README.md" in problem for problem in result["problems"])


def test_status_json_is_one_object(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = call(capsys, "status", finished, "--json").lines
    assert (result["shards"], result["shards_done"], result["dataset"]) == (1, 1, True)
    assert result["failed_requests"] == {}
    assert result["drafts"] == 2 * result["prompts"]


async def test_status_counts_repeated_prompts_once(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe_ = Recipe.model_validate(
        {
            "name": "twice",
            "plan": {"harms": ["property.*"], "sets_per_harm": 1},
            "validators": ["length_bounds"],
            "target": {"accepted": 3, "rounds": 2, "patience": 2},
        }
    )
    refusing = {"drafter": scripted(lambda _: "No.")}
    await safegen.agenerate(recipe_, output="out", teachers=refusing)
    (payload,) = call(capsys, "status", "out", "--json").lines
    ids = [
        p.scenario.scenario_id
        for n in range(3)
        for p in iter_scenarios(Path(f"out/run/plan/{n}.parquet"))
    ]
    assert len(set(ids)) < len(ids)
    assert (payload["rounds"], payload["prompts"], payload["drafts"]) == (
        3,
        len(set(ids)),
        len(ids),
    )
    assert "in 3 rounds" in call(capsys, "status", "out").out


def test_status_of_missing_run_exits_2(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "status", "nowhere")
    assert (result.code, result.out) == (2, "")
    assert "no run in `nowhere`" in result.err


@pytest.mark.parametrize("text", ["{}", '{"recipe": 7}', "[]", "not json"])
def test_unreadable_run_folder_exits_1_with_message(
    text: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "run" / "recipe.json").write_text(text, encoding="utf-8")
    for command in ("status", "show", "retry", "build"):
        result = call(capsys, command, finished)
        assert (result.code, result.out) == (1, "")
        assert "recipe.json" in result.err
        assert "bug" not in result.err


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
    result = call(capsys, "status", finished)
    assert result.code == 0
    assert "1 of 1 done" in result.out


def test_status_reports_drafts_without_verdicts(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "generate", write_recipe(workdir), "--until", "draft")
    output = call(capsys, "status", "outputs/kitchen").out
    assert "0 of 1 done, 1 drafted but not validated" in output


def test_list_describes_every_plugin_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    entries = call(capsys, "list", "--json").lines
    assert {(e["kind"], e["name"]) for e in entries} >= {
        ("recipes", "starter"),
        ("teachers", "openai_chat"),
        ("validators", "detail_ceiling"),
        ("views", "preference"),
        ("policies", "security"),
    }
    assert [e["name"] for e in entries if not e["about"]] == []
    output = call(capsys, "list", "views").out
    assert "preference" in output
    assert "detail_ceiling" not in output


def test_list_of_unknown_kind_suggests_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    result = call(capsys, "list", "veiws")
    assert result.code == 2
    assert "views" in result.err


ENDPOINT = RECIPE + (
    "teachers:\n  drafter:\n    use: openai_chat\n    params:\n"
    "      {base_url: 'http://127.0.0.1:9/v1', model: jar, api_key_env: KITCHEN_API_KEY,"
    " max_tokens: 100}\n"
)


@pytest.mark.parametrize(("key", "presence"), [(None, "is not set"), ("not-to-be-seen", "is set")])
def test_check_reports_key_presence_never_its_value(
    key: str | None,
    presence: str,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if key:
        monkeypatch.setenv("KITCHEN_API_KEY", key)
    recipe = write_recipe(workdir, ENDPOINT)
    result = call(capsys, "check", recipe)
    assert result.code == 0
    assert f"`KITCHEN_API_KEY` {presence}" in result.out
    assert "(characters / 4)" in result.out
    assert "not-to-be-seen" not in result.out + result.err
    assert not (workdir / "outputs").exists()


OPTIONS = "headers: {X-Pass: {env: KITCHEN_PASS_TOKEN}}, query: {sig: {env: KITCHEN_SIGN_SECRET}}"


@pytest.mark.parametrize("prompts", [False, True], ids=["taxonomy", "prompts"])
def test_check_names_unset_variables_of_options(
    prompts: bool, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ENDPOINT.replace("max_tokens: 100", f"max_tokens: 100, {OPTIONS}")
    recipe = write_recipe(workdir, text)
    row = "prompt,harm,intent,evidence,detail\nWho runs a lock?,cyber.intrusion,benign,none,0\n"
    Path("mine.csv").write_text(row, encoding="utf-8")
    options = ("--prompts", "mine.csv", "--licence", "MIT") if prompts else ()
    result = call(capsys, "check", recipe, *options)
    assert result.code == 0
    names = ("KITCHEN_API_KEY", "KITCHEN_PASS_TOKEN", "KITCHEN_SIGN_SECRET")
    assert f"valid, but needs {', '.join(f'`{n}`' for n in names)} to run" in result.out
    for name in names:
        assert f"`{name}` is not set; `generate` would fail at once" in result.out
    (payload,) = call(capsys, "check", recipe, *options, "--json").lines
    unset = payload["unset"] if prompts else payload["teachers"][0]["unset"]
    assert unset == list(names)


def test_check_counts_prompts_calls_and_tokens(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(workdir, ENDPOINT + "revise: 1\n")
    (payload,) = call(capsys, "check", recipe, "--json").lines
    prompts = sum(n for modes in payload["by_domain_mode"].values() for n in modes.values())
    assert payload["prompts"] == prompts
    assert payload["drafts"] == 2 * prompts
    assert payload["calls_at_most"] == 4 * prompts
    assert payload["answer_tokens_at_most"] == 400 * prompts
    assert payload["prompt_tokens_estimate"] > 100 * prompts
    assert payload["folder"]["state"] == "new"


def test_check_refuses_unknown_teacher_parameters(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(capsys, "check", write_recipe(workdir, ENDPOINT.replace("model:", "modle:")))
    assert result.code == 2
    assert "`modle`" in result.err


def test_check_of_finished_run_plans_no_requests(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "would send no request" in call(capsys, "check", "recipe.yaml", "-o", finished).out


def test_check_and_generate_count_equal_prompts(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (payload,) = call(capsys, "check", "recipe.yaml", "--json").lines
    manifest = json.loads((finished / "manifest.json").read_text(encoding="utf-8"))
    assert payload["prompts"] == manifest["counts"]["planned"]
