"""A user's own prompts, labelled, drafted and judged over a real HTTP endpoint."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import safegen
from safegen.core.errors import ConfigError, UserError
from safegen.core.hashing import digest
from safegen.core.types import Request
from safegen.store import parquet
from safegen.teachers.offline import offline
from safegen.teachers.scripted import scripted
from safegen.testing import Body, FakeEndpoint
from tests.e2e.runs import (
    cli,
    fails,
    hashes,
    kill_counts,
    long_answer,
    shell,
    started,
    write_recipe,
)
from tests.e2e.test_kill_and_resume import wait_until

HEAD = ["id", "text", "harm", "intent", "evidence", "detail", "lic", "group", "note"]
OPEN = ("", "", "", "", "MIT", "", "n")
ROWS = [
    ("full", "How is a box opened?", "cyber.intrusion", "dual_use", "none", "3", "MIT", "g", "n"),
    ("ill", "I'll steal it, how?", "property.theft", "malicious", "stated", "3", "CC0-1.0", "", ""),
    ("open", "  What keeps a box shut?\t", *OPEN),
    ("also", "Which box is \u202ebest\u202c?", "", "benign", "none", "0", "CC-BY-4.0", "g", ""),
    ("lost", "A box [malformed]", *OPEN),
    ("none", "What is a cake? [none]", *OPEN),
    ("torn", "A box [refused]", *OPEN),
    ("red", "A box [red]", *OPEN),
    ("line", "never shown", "minors.sexual", "malicious", "stated", "4", "MIT", "", ""),
    ("rest", "Filtered out", "hate.harassment", "benign", "none", "0", "MIT", "", ""),
]
PLAN = {"harms": ["cyber.*", "property.*"]}
MAP = ["--column", "prompt=text", "--column", "licence=lic", "--column", "set=group"]
UNLABELLED = {"lost", "none", "torn", "red", "line"}
PLANNED = {"full", "ill", "open", "also"}


def labels(body: Body) -> str:
    """Label by the text if the request has a schema, otherwise draft."""
    response_format = body.get("response_format")
    if response_format is None:
        return long_answer(body)
    text = body["messages"][1]["content"]
    fields = response_format["json_schema"]["schema"]["properties"]
    if "[malformed]" in text:
        return "I cannot tell."
    if "harm" in fields:
        harm = "weapons.mass_casualty" if "[red]" in text else "cyber.intrusion"
        return json.dumps({"harm": "none" if "[none]" in text else harm})
    return json.dumps({"intent": "dual_use", "evidence": "contextual", "detail": 2})


def refuses(body: Body, nth: int) -> str | None:
    return "refusal" if "[refused]" in json.dumps(body["messages"][1]) else None


def recipe(folder: Path, url: str, *, judges: int = 1, **keys: Any) -> Path:
    endpoint = {"base_url": url, "model": "judge", "concurrency": 4, "attempts": 1}
    panel = [{"openai_chat": dict(endpoint)} for _ in range(judges)]
    values = {"plan": PLAN, "judges": {"labellers": panel, "known": 0}} | keys
    return write_recipe(folder / "recipe.yaml", url, **values)


def write_csv(path: Path, rows: list[tuple[str, ...]] = ROWS) -> Path:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_bytes(("\r\n".join([",".join(HEAD), *quoted]) + "\r\n").encode())
    return path


def cells(row: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = dict(zip(HEAD, row, strict=True))
    return values | {"detail": int(values["detail"]) if values["detail"] else None}


def write_other(path: Path) -> Path:
    rows = [cells(row) for row in ROWS]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def listed(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "run" / "unlabelled.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def view(folder: Path, name: str = "sft") -> list[dict[str, Any]]:
    files = sorted((folder / "data" / name).glob("*/*.parquet"))
    return [row for path in files for row in parquet.read_rows(path)]


def records(folder: Path) -> list[dict[str, Any]]:
    return [r for p in sorted((folder / "run/records").glob("*")) for r in parquet.read_rows(p)]


def test_labelled_prompts_become_rows_others_are_listed(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "mine.csv")
    with FakeEndpoint(labels, fault=refuses) as fake:
        recipe(workdir, fake.url)
        completed = cli(
            capsys, "generate", "recipe.yaml", "-o", "out", "--prompts", "mine.csv", *MAP
        )
        as_json = cli(
            capsys, "generate", "recipe.yaml", "-o", "out", "--prompts", "mine.csv", *MAP, "--json"
        )
        requests = [json.dumps(body["messages"], ensure_ascii=False) for body in fake.requests]
    assert completed.code == 0, completed.err
    not_planned = "5 rows not planned (2 labeller failed, 1 not labelled, 2 red line): see out/run/unlabelled.jsonl"
    assert not_planned in completed.err
    assert "10 in mine.csv, 4 planned, 1 excluded by harms" in completed.err
    assert {row["id"]: row["fields"] for row in listed(workdir / "out")} == {
        "lost": ["harm", "intent", "evidence", "detail"],
        "none": ["harm"],
        "torn": ["harm", "intent", "evidence", "detail"],
        "red": ["harm"],
        "line": ["harm"],
    }
    reasons = {row["id"]: row["message"] for row in listed(workdir / "out")}
    assert "(malformed: there is no JSON object in it)" in reasons["lost"]
    assert "refused" in reasons["torn"]
    assert reasons["line"] == "`minors.sexual` is a red line and is never drafted"
    assert reasons["red"] == "`weapons.mass_casualty` is a red line and is never drafted"
    assert not any("never shown" in text or "Filtered out" in text for text in requests)
    result = json.loads(as_json.out)
    assert result["unlabelled"] == len(UNLABELLED)
    assert result["requests"] == 0
    assert result["imported"]["labelled_by_judges"] == 2
    assert result["imported"]["columns_not_read"] == ["note"]
    rows = {row["goal_id"]: row for row in view(workdir / "out")}
    assert set(rows) == {"imported/g", "imported/ill", "imported/open"}
    assert rows["imported/open"]["messages"][0] == {
        "role": "user",
        "content": "  What keeps a box shut?\t",
    }
    ids = {row["source_id"] for row in view(workdir / "out")}
    assert ids <= PLANNED
    assert {"also", "open"} & ids
    assert rows["imported/ill"]["mode"] == "refuse_redirect"
    assert rows["imported/ill"]["source_licence"] == "CC0-1.0"
    card = (workdir / "out" / "README.md").read_text(encoding="utf-8")
    assert "| CC0-1.0 | the file | 1 |" in card
    assert "| CC-BY-4.0 | blind labellers, in part or whole | 1 |" in card
    assert "Imported prompts are unchanged" in card
    manifest = json.loads((workdir / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["imported"]["labellers"] == ["judge"]
    assert "sets" not in manifest["fingerprints"]
    by_value = {a["value"]: r for r in records(workdir / "out") for a in r["attributes"]}
    assert set(by_value) >= PLANNED
    assert {a["axis"]: a["source"] for a in by_value["also"]["attributes"]} == {
        "harm": "confirmed",
        "intent": "written",
        "evidence": "written",
        "requested_detail": "written",
        "source_id": "written",
    }


def test_three_formats_give_equal_datasets(workdir: Path) -> None:
    columns = {"prompt": "text", "licence": "lic", "set": "group"}
    files = [write_csv(workdir / "p.csv"), *(write_other(workdir / f"p.{k}") for k in FORMATS)]
    with FakeEndpoint(labels, fault=refuses) as fake:
        recipe(workdir, fake.url)
        for path in files:
            safegen.generate("recipe.yaml", output=path.suffix[1:], prompts=path, columns=columns)
    csv, *others = [hashes(workdir / p.suffix[1:] / "data") for p in files]
    assert csv
    assert others == [csv, csv]
    assert listed(workdir / "csv") == listed(workdir / "jsonl") == listed(workdir / "parquet")


FORMATS = ("jsonl", "parquet")


def test_panel_without_majority_leaves_rows_unlabelled(workdir: Path) -> None:
    write_csv(workdir / "p.csv", [ROWS[2]])
    torn = iter(["benign", "malicious"] * 4)

    def answer(body: Body) -> str:
        reply = labels(body)
        return reply.replace("dual_use", next(torn)) if "intent" in reply else reply

    with FakeEndpoint(answer) as fake:
        recipe(workdir, fake.url, judges=2)
        with pytest.raises(
            UserError, match=r"1 not labelled, listed in `out.run.unlabelled.jsonl`"
        ):
            safegen.generate(
                "recipe.yaml",
                output="out",
                prompts="p.csv",
                columns={"prompt": "text", "licence": "lic"},
            )
    assert [(r["fields"], r["message"]) for r in listed(workdir / "out")] == [
        (["intent"], "labellers disagree")
    ]


def test_open_rows_without_labeller_are_listed(
    workdir: Path,
) -> None:
    write_csv(workdir / "p.csv")
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0)
        run = safegen.generate(
            "recipe.yaml", output="out", prompts="p.csv", columns={"prompt": "text"}, licence="MIT"
        )
        assert len(fake.requests) == 2
    assert run.prompts is not None
    assert {r["id"] for r in listed(run.output)} == UNLABELLED | {"open", "also"}
    assert listed(run.output)[0]["message"] == "not in the file, and no labeller"


def test_offline_teacher_is_refused_before_planning(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv")
    result = cli(capsys, "generate", "--prompts", "p.csv", *MAP)
    fails(
        result, 2, "offline teacher composes answers from a goal's written knowledge", "openai_chat"
    )
    assert not (workdir / "outputs").exists()


def test_passed_offline_teacher_refuses_prompts_without_knowledge(workdir: Path) -> None:
    write_csv(workdir / "p.csv", ROWS[:2])
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    with pytest.raises(ConfigError, match="this prompt has none"):
        safegen.generate(
            "recipe.yaml",
            output="out",
            prompts="p.csv",
            columns={"prompt": "text"},
            licence="MIT",
            teachers={"drafter": offline(locales={}), "reviser": offline(locales={})},
        )


def test_labeller_may_be_passed_as_argument(workdir: Path) -> None:
    def answer_labels(request: Request) -> str:
        assert request.schema is not None
        fields = json.loads(json.dumps(request.schema))["properties"]
        if "harm" in fields:
            return '{"harm": "property.theft"}'
        return '{"intent": "benign", "evidence": "none", "detail": 1}'

    write_csv(workdir / "p.csv", [ROWS[2]])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0)
        run = safegen.generate(
            "recipe.yaml",
            output="out",
            prompts="p.csv",
            columns={"prompt": "text", "licence": "lic"},
            teachers={"labeller": scripted(answer_labels)},
        )
    assert [r["harm"] for r in view(run.output)] == ["property.theft"]


@kill_counts(3, slow_only=True)
def test_killed_labelling_resumes_without_double_payment(
    kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"r{i}", f"What is in box {i}?", *OPEN) for i in range(20 * kills)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        write_csv(folder / "p.csv", rows)
    command = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]
    with FakeEndpoint(labels, latency_s=0.03) as fake:
        recipe(whole, fake.url)
        recipe(broken, fake.url)
        at_once = ["generate", whole / "recipe.yaml", "-o", whole / "out"]
        assert cli(capsys, *at_once, "--prompts", whole / "p.csv", *MAP).code == 0
        straight = Counter(digest(body) for body in fake.requests)
        assert set(straight.values()) == {1}
        assert len(straight) == 3 * len(rows)
        fake.requests.clear()
        for kill in range(kills):
            enough = len(fake.requests) + 20
            with started(*command, cwd=broken) as process:
                assert wait_until(lambda most=enough: len(fake.requests) >= most)
                process.kill()
                process.wait(10)
            assert not (broken / "out" / "run" / "plan").exists(), kill
        last = shell(*command, cwd=broken)
        assert last.code == 0, last.err
        seen = Counter(digest(body) for body in fake.requests)
    assert set(seen) == set(straight)
    assert sum(seen.values()) - len(seen) <= kills * 4
    assert hashes(broken / "out" / "data") == hashes(whole / "out" / "data")
    assert (broken / "out/run/unlabelled.jsonl").read_bytes() == b""


def test_changed_prompt_file_is_refused(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_csv(workdir / "p.csv")
    command = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv"]
    with FakeEndpoint(labels, fault=refuses) as fake:
        recipe(workdir, fake.url)
        assert cli(capsys, *command, *MAP, "--until", "draft").code == 0
        # The run remembers the columns.
        assert cli(capsys, *command, "--until", "draft").code == 0
        fails(
            cli(capsys, *command, *MAP[:4]), 2, "planned from the file `p.csv`; repeat `--prompts`"
        )
        fails(cli(capsys, *command, *MAP, "--licence", "MIT"), 2, "planned from the file `p.csv`")
        fails(cli(capsys, *command[:4]), 2, "repeat `--prompts`")
        write_csv(path, [*ROWS, ("new", "One more?", *OPEN)])
        fails(cli(capsys, *command, *MAP), 2, "planned from the file `p.csv`; repeat `--prompts`")
        path.unlink()
        before = len(fake.requests)
        run = safegen.open_run("out")
        assert run.prompts is not None
        safegen.generate(run.recipe, output="out", prompts=run.prompts)
        assert len(fake.requests) == before
    whole = hashes(workdir / "out" / "data")
    assert whole
    assert cli(capsys, "build", "out").code == 0
    assert hashes(workdir / "out" / "data") == whole
    assert cli(capsys, "verify", "out").code == 0
    assert json.loads((workdir / "out/run/recipe.json").read_text())["prompts"]["file"] == "p.csv"


def test_retry_works_without_the_prompt_file(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS[:2])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url)
        fake.fault = lambda body, nth: (
            "content_filter" if nth == 0 and "steal" in json.dumps(body) else None
        )
        options = ("-o", "out", "--prompts", "p.csv", *MAP, "--min-yield", "0")
        result = cli(capsys, "generate", "recipe.yaml", *options)
        assert result.code == 0, result.err
        assert len(view(workdir / "out")) == 1
        (workdir / "p.csv").unlink()
        assert cli(capsys, "retry", "out").code == 0
    assert len(view(workdir / "out")) == 2


def test_unplanned_run_needs_its_prompt_file(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv", ROWS[:2])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url)
        args = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]
        assert cli(capsys, *args, "--until", "expand").code == 0
        shutil.rmtree(workdir / "out" / "run" / "plan")
        (workdir / "p.csv").rename(workdir / "q.csv")
        fails(cli(capsys, "retry", "out"), 2, "p.csv: .*no such file", "--prompts FILE")
        (workdir / "q.csv").rename(workdir / "p.csv")
        assert cli(capsys, "retry", "out").code == 0


def test_contradicting_rows_are_listed_before_drafting(workdir: Path) -> None:
    full, ill = ROWS[0], ROWS[1]
    twin = ("twin", full[1], "cyber.intrusion", "malicious", "stated", *full[5:])
    write_csv(workdir / "p.csv", [full, ill, twin])
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url)
        safegen.generate(
            "recipe.yaml",
            output="out",
            prompts="p.csv",
            columns={"prompt": "text", "licence": "lic"},
        )
        assert len(fake.requests) == 1
    assert {r["id"] for r in listed(workdir / "out")} == {"full", "twin"}
    assert "equal messages" in listed(workdir / "out")[0]["message"]


def test_strict_counts_unlabelled_rows(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(workdir / "p.csv")
    with FakeEndpoint(labels, fault=refuses) as fake:
        recipe(workdir, fake.url)
        args = ["generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP]
        assert cli(capsys, *args, "--strict").code == 1


def test_target_requests_more_candidates_only(workdir: Path) -> None:
    write_csv(workdir / "p.csv", ROWS[:2])
    with FakeEndpoint(lambda body: "No.") as fake:
        target = {"accepted": 2, "per": ["harm"], "rounds": 2}
        recipe(workdir, fake.url, judges=0, target=target)
        safegen.generate(
            "recipe.yaml", output="out", prompts="p.csv", columns={"prompt": "text"}, licence="M"
        )
    assert {r["goal_id"] for r in records(workdir / "out")} == {"imported/full", "imported/ill"}
    assert len(records(workdir / "out")) == 6, "first drafts, and one more of each in two rounds"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--column", "prompt=text"], "need `--prompts FILE`"),
        (["--licence", "MIT"], "need `--prompts FILE`"),
        (["--prompts", "p.csv", "--column", "text"], "`--column text` must be FIELD=COLUMN"),
        (["--prompts", "p.csv", "--column", "pormpt=text"], "did you mean `prompt`"),
        (["--prompts", "p.csv", "--column", "prompt=txet"], "did you mean `text`"),
        (
            ["--prompts", "p.csv", *MAP[:2], "--column", "prompt=id"],
            "names the field `prompt` twice",
        ),
        (["--prompts", "p.csv", *MAP[:2]], "`--licence NAME`"),
        (["--prompts", "p.csv", *MAP[:2], "--licence", "MIT\nor"], "`--licence` is not one line"),
        (["--prompts", "none.csv"], "none.csv: no such file"),
    ],
)
def test_wrong_prompt_option_is_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    write_csv(workdir / "p.csv")
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0)
    fails(cli(capsys, "generate", "recipe.yaml", "-o", "out", *options), 2, says)


def test_keys_for_written_sets_are_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "p.csv")
    recipe(workdir, "http://127.0.0.1:9/v1", plan=PLAN | {"dialogues": "all"})
    result = cli(capsys, "generate", "recipe.yaml", "-o", "out", "--prompts", "p.csv", *MAP)
    fails(result, 2, "recipe.yaml:.*plan.dialogues.*which `--prompts` replaces")


def test_check_counts_a_file_without_requests(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "mine.csv")
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url)
        result = cli(capsys, "check", "recipe.yaml", "--prompts", "mine.csv", *MAP, "--json")
        screen = cli(capsys, "check", "recipe.yaml", "--prompts", "mine.csv", *MAP)
        assert not fake.requests
    assert result.code == screen.code == 0
    payload = json.loads(result.out)
    assert (payload["rows"], payload["planned"], payload["prompts"]) == (10, 2, 2)
    assert (payload["taken"], payload["labelled"]) == (5, 4)
    assert payload["excluded"] == {"harms": 1}
    assert payload["not_read"] == ["note"]
    open_texts = [row for row in ROWS if row[0] in {"open", "also", "lost", "none", "torn", "red"}]
    assert payload["to_read"] == len(open_texts)
    assert payload["label_calls"] == 2 * len(open_texts) - 1, "of `also` the leaf alone is open"
    assert [row["id"] for row in payload["unlabelled"]] == ["line"]
    assert "row 9 (`line`), harm: `minors.sexual` is a red line" in screen.out
    assert "10, 4 with all labels, 2 planned" in screen.out
    assert "1 row not planned (1 red line)" in screen.out
    assert "of 5 rows: used as the file states them, without a check against" in screen.out
    assert not (workdir / "out").exists()


def test_check_of_prompts_refuses_the_embedded_teacher(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(workdir / "mine.csv")
    (workdir / "r.yaml").write_text("name: a\n", encoding="utf-8")
    result = cli(capsys, "check", "r.yaml", "--prompts", "mine.csv", *MAP)
    assert result.code == 2
    assert "which your own prompts lack" in result.err


def test_changed_prompt_file_names_three_remedies(workdir: Path) -> None:
    write_csv(workdir / "p.csv")
    columns: dict[str, str | None] = {"prompt": "text"}
    with FakeEndpoint(labels) as fake:
        recipe(workdir, fake.url, judges=0)

        def generate() -> None:
            safegen.generate(
                "recipe.yaml", output="out", prompts="p.csv", columns=columns, licence="MIT"
            )

        generate()
        write_csv(workdir / "p.csv", ROWS[:2])
        with pytest.raises(UserError) as raised:
            generate()
    assert str(raised.value).endswith(
        "repeat `--prompts` with the unchanged file (other options are remembered), or choose another"
        " `--output`, or re-plan with `--replan`"
    )


def test_twins_far_apart_are_compared(workdir: Path) -> None:
    def write_answer(request: Request) -> str:
        if "Swedes" in request.messages[-1]["content"]:
            return "I can't help with that box. Ask the museum in your town about it instead."
        return "The box is kept on a shelf in the hall, and the key hangs next to the door."

    labels_ = {"harm": "property.theft", "intent": "benign", "evidence": "none", "detail": 0}
    twins = [
        labels_ | {"prompt": f"Where do {who} keep a box?", "twin": "box", "who": who}
        for who in ("Danes", "Swedes")
    ]
    # More than a shard, so that the twins are checked together only if they are planned together.
    fillers = [labels_ | {"prompt": f"Where is box {n}?"} for n in range(300)]
    rows = [twins[0], *fillers, twins[1]]
    (workdir / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    validators = ["length_bounds", "group_parity"]
    recipe(workdir, "http://127.0.0.1:9/v1", judges=0, validators=validators)
    run = safegen.generate(
        "recipe.yaml",
        output="out",
        prompts="p.jsonl",
        columns={"group": "who"},
        licence="MIT",
        teachers={"drafter": scripted(write_answer)},
        until="validate",
    )
    found = Counter(
        (verdict["code"], record["accepted"])
        for record in records(run.output)
        for verdict in record["verdicts"]
        if verdict["validator"] == "group_parity"
    )
    assert found == {("forms_differ", False): 2, ("nothing_to_compare", True): 300}
