from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import safegen
from safegen.cli.main import app
from safegen.config.recipe import Recipe
from safegen.core import resources
from safegen.core.errors import ConfigError, UserError
from safegen.store import plan

AT = "cyber.intrusion,evidence=none,profile=public,detail=3"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def objects(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "policies": ["security", "violence"],
            "plan": {"harms": ["cyber.malware", "weapons.explosives"]},
            "views": [{"use": "sft"}],
        }
    )
    safegen.generate(recipe, output=tmp_path / "out", until="expand")
    return tmp_path / "out"


def count_prompts(folder: Path, harm: str) -> int:
    prompts = plan.iter_scenarios(folder / "run" / "plan" / "0.parquet")
    return sum(item.scenario.harm == harm for item in prompts)


def edit(folder: Path, name: str, old: str, new: str) -> str:
    text = resources.find_file("policies", name).read_text()
    assert old in text
    path = folder / f"{name}.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_check_passes_shipped_specs_and_fails_wrong_case(tmp_path: Path) -> None:
    assert run("policy", "check").exit_code == 0
    case = "{harm: cyber.intrusion, detail: 1, mode: "
    path = edit(tmp_path, "security", f"{case}direct_answer", f"{case}refuse_redirect")
    result = run("policy", "check", path)
    assert result.exit_code == 2
    lines = Path(path).read_text().splitlines()
    planted = next(i for i, line in enumerate(lines, 1) if f"{case}refuse" in line)
    assert f"{path}:{planted}:5: the case expects refuse_redirect" in result.stdout
    findings = [
        line["finding"]
        for line in objects(run("policy", "check", path, "--json"))
        if "finding" in line
    ]
    assert [(f["kind"], f["line"], f["column"]) for f in findings if isinstance(f, dict)] == [
        ("case", planted, 5)
    ]


def test_explain_names_the_clause_and_nearest_changes() -> None:
    result = run("policy", "explain", AT)
    assert "decided by  B-RES (developer)" in result.stdout
    assert "evidence is none, not stated" in result.stdout
    (payload,) = objects(run("policy", "explain", AT, "--json"))
    assert (payload["rule"], payload["mode"], payload["ceiling"]) == ("B-RES", "safe_completion", 1)


def test_explain_accepts_separate_arguments_but_no_repeats() -> None:
    parted = run("policy", "explain", *AT.split(","))
    assert (parted.exit_code, parted.stdout) == (0, run("policy", "explain", AT).stdout)
    with pytest.raises(ConfigError, match="names `detail` twice"):
        run("policy", "explain", *AT.split(","), "detail=4")


def test_explain_finds_a_scenario_of_a_run(small: Path, tmp_path: Path) -> None:
    lowered = edit(tmp_path, "violence", "ceiling: 1\n    floor: 1\n", "ceiling: 0\n")
    (rows,) = objects(run("policy", "diff", "violence", lowered, "--run", str(small), "--json"))
    assert isinstance(rows["rows"], dict)
    drafts = rows["rows"]["draft"]
    assert drafts
    result = run("policy", "explain", drafts[0][:10], "--run", str(small))
    assert f"scenario    {drafts[0]}" in result.stdout
    assert "V-NO-ROLE" in result.stdout
    assert "made otherwise" not in result.stdout
    result = run("policy", "explain", drafts[0], "--run", str(small), "--policy", lowered)
    assert "the plan differs" in result.stdout


def own_spec(folder: Path, name: str, ceiling: int) -> Path:
    (folder / "prompts" / "policies").mkdir(parents=True, exist_ok=True)
    path = folder / "prompts" / "policies" / f"{name}.yaml"
    path.write_text(
        f"policy: {name}\nversion: 1.0.0\ntitle: t\ninherits: base\nharms: [weapons.firearms]\nfacilitation: x\n"
        "rules:\n  - {id: M-1, says: s, when: {tier: [restricted], evidence: [none], detail: [3]},"
        f" mode: safe_completion, ceiling: {ceiling}}}\n",
        encoding="utf-8",
    )
    return path


def test_explain_warns_of_a_spec_that_no_recipe_names(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_spec(workdir, "mine", 0)
    alone = run("policy", "explain", "weapons.firearms", "detail=3")
    assert "M-1" in alone.stdout
    assert "mine.yaml`; a recipe uses it only if" in caplog.text
    caplog.clear()
    (workdir / "r.yaml").write_text("name: a\n", encoding="utf-8")
    with_recipe = run("policy", "explain", "weapons.firearms", "detail=3", "--recipe", "r.yaml")
    assert "V-NO-ROLE" in with_recipe.stdout
    assert not caplog.text


def test_explain_skips_a_spec_that_does_not_load(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_spec(workdir, "mine", 4)
    other = run("policy", "explain", "cyber.malware", "detail=3")
    assert other.exit_code == 0
    assert "B-RES" in other.stdout
    assert caplog.messages[0].startswith("`mine` is ")
    with pytest.raises(ConfigError, match=r"mine\.yaml:8:6: "):
        run("policy", "explain", "weapons.firearms", "detail=3")


def test_explain_of_run_refuses_taxonomy_option(small: Path) -> None:
    arguments = ("policy", "explain", "cyber.malware", "detail=3", "--run", str(small))
    with pytest.raises(UserError, match="drop `--taxonomy`"):
        run(*arguments, "--taxonomy", "core")


def test_explain_refuses_an_unknown_scenario_id(small: Path) -> None:
    with pytest.raises(UserError, match="no scenario in"):
        run("policy", "explain", "zzzz", "--run", str(small))


@pytest.mark.parametrize("form", ["instructions", "rubric", "classifier"])
def test_show_prints_each_compiled_form(form: str) -> None:
    golden = {"classifier": "security.classifier.txt"}.get(form, f"security.safe.{form}.txt")
    text = (Path(__file__).parent.parent / "policy" / "compiled" / golden).read_text()
    at = "profile=public" if form == "classifier" else AT
    result = run("policy", "show", "security", "--as", form, "--at", at)
    assert result.stdout == text
    (payload,) = objects(run("policy", "show", "security", "--as", form, "--at", at, "--json"))
    assert payload["text"] == text.rstrip("\n")


def test_classifier_depends_on_the_profile_alone() -> None:
    show = ("policy", "show", "wellbeing", "--as", "classifier")
    public = run(*show).stdout
    assert run(*show, "--at", "profile=public").stdout == public
    vetted = run(*show, "--at", "profile=vetted_professional").stdout
    assert "`vetted_professional`" in vetted and vetted != public
    with pytest.raises(UserError, match="no situation of a classifier"):
        run(*show, "--at", AT)
    with pytest.raises(UserError, match="did you mean `minors`"):
        run(*show, "--at", "profile=minor")


def test_show_lists_deciding_rules_and_refuses_unknown_form() -> None:
    result = run("policy", "show", "wellbeing")
    assert "W-VETTED" in result.stdout
    assert "B-RES-ORG" not in result.stdout
    with pytest.raises(UserError, match="no form called `rubrik`; did you mean `rubric`"):
        run("policy", "show", "wellbeing", "--as", "rubrik")


def test_diff_lists_situations_texts_and_rows(small: Path, tmp_path: Path) -> None:
    new = edit(tmp_path, "security", "SEC-N3", "SEC-N9")
    result = run("policy", "diff", "security", new, "--run", str(small))
    assert "changed situations: 0 of 500" in result.stdout
    assert "must_not SEC-N3  -  suggest how" in result.stdout
    count = count_prompts(small, "cyber.malware")
    assert f"\n{count} prompts to judge again, drafts are kept" in result.stdout
    assert "expectation unchanged; the judge's rubric changes" in result.stdout


def test_diff_lists_changed_expectations_of_rows(small: Path, tmp_path: Path) -> None:
    lowered = edit(tmp_path, "violence", "ceiling: 1\n    floor: 1\n", "ceiling: 0\n")
    output = run("policy", "diff", "violence", lowered, "--run", str(small)).stdout
    (rows,) = objects(run("policy", "diff", "violence", lowered, "--run", str(small), "--json"))
    changes = rows["rows"]["changes"]  # type: ignore[index]
    drafts = [c for c in changes if c["redo"] == "draft"]
    assert drafts
    assert f"{len(drafts)} prompts to draft and judge again" in output
    assert "safe_completion, ceiling 1, floor 1 → safe_completion, ceiling 0" in output
    assert "by V-NO-ROLE → V-NO-ROLE" in output
    assert drafts[0]["scenario_id"] not in output
    assert "1 shard of the run unfinished: `generate` resumes them" in output
    named = run("policy", "diff", "violence", lowered, "--run", str(small), "--ids").stdout
    assert all(c["scenario_id"] in named for c in changes)


def test_diff_reports_uncovered_leaves(small: Path) -> None:
    output = run("policy", "diff", "security", "deceit", "--run", str(small)).stdout
    count = count_prompts(small, "cyber.malware")
    assert f"\n{count} prompts of leaves that deceit does not cover" in output
    assert "no other spec of the run covers them; the recipe needs one for these leaves" in output
    assert f"cyber.malware {count}\n" in output


def test_diff_counts_leaves_that_move_between_specs(small: Path, tmp_path: Path) -> None:
    harms = next(
        line
        for line in resources.find_file("policies", "violence")
        .read_text()
        .splitlines(keepends=True)
        if line.startswith("harms: ")
    )
    wider = edit(tmp_path, "violence", harms, harms.replace("[", "[cyber.malware, "))
    result = run("policy", "diff", "violence", wider, "--run", str(small), "--json")
    (rows,) = objects(result)
    changes = rows["rows"]["changes"]  # type: ignore[index]
    assert {(c["harm"], c["redo"]) for c in changes} >= {("cyber.malware", "draft")}
    moved = [c for c in changes if c["harm"] == "cyber.malware"]
    assert len(moved) == count_prompts(small, "cyber.malware") > 0
    plain = run("policy", "diff", "violence", wider, "--run", str(small)).stdout
    assert "spec security → violence" in plain
    recipe = {
        "name": "wide",
        "policies": ["security", wider],
        "plan": {"harms": ["cyber.malware", "weapons.explosives"]},
    }
    safegen.generate(Recipe.model_validate(recipe), output=tmp_path / "wide", until="expand")
    (back,) = objects(
        run("policy", "diff", wider, "violence", "--run", str(tmp_path / "wide"), "--json")
    )
    assert back["rows"]["orphans"] == []  # type: ignore[index]
    assert sorted(c["scenario_id"] for c in back["rows"]["changes"]) == sorted(  # type: ignore[index]
        c["scenario_id"] for c in changes
    )


def test_ids_without_run_are_refused() -> None:
    with pytest.raises(UserError, match="name its folder with `--run FOLDER`"):
        run("policy", "diff", "security", "deceit", "--ids")


def test_import_writes_a_spec_and_reports_losses(tmp_path: Path) -> None:
    source, out, tree = tmp_path / "in.yaml", tmp_path / "out.yaml", tmp_path / "t.yaml"
    source.write_text(
        "risk_group: secret_recipes\nrisks:\n  - risk: soup\n    reason_denial: NO_SOUP\n"
        "    short_reply_type: INFORMATIVE_RESPONSE\n    policy: {reply_cannot_contain: [Amounts]}\n"
    )
    arguments = ["policy", "import", str(source), "-o", str(out), "--taxonomy-output", str(tree)]
    result = run(*arguments)
    assert "reason_denial `NO_SOUP`" in result.stdout
    assert run("policy", "check", str(out), "--taxonomy", str(tree)).exit_code == 0
    with pytest.raises(UserError, match="exists; name another file"):
        run(*arguments)
    (payload,) = objects(run(*arguments, "--force", "--json"))
    assert payload["findings"] == []
    with pytest.raises(ConfigError, match="must end in"):
        run("policy", "import", str(source), "-o", str(tmp_path / "out"))


def test_taxonomy_commands_check_show_and_import(tmp_path: Path) -> None:
    (facts,) = objects(run("taxonomy", "check", "--json"))
    assert (facts["leaves"], facts["leaves_without_goals"]) == (38, [])
    assert facts["not_under"] == {"minors": ["sexual.adult", "sexual.nonconsensual"]}
    assert "cyber.intrusion" in run("taxonomy", "show").stdout
    table, out = tmp_path / "t.csv", tmp_path / "t.yaml"
    table.write_text("id,parent,name,definition\nkitchen,,Kitchen,A room\nsoup,kitchen,Soup,\n")
    result = run("taxonomy", "import", str(table), "-o", str(out))
    assert result.stdout == ""
    assert "kitchen.soup  definition" in result.stderr
    assert len(objects(run("taxonomy", "show", str(out), "--json"))) == 1
    assert "taxonomy: t\n" in run("taxonomy", "import", str(table)).stdout
    with pytest.raises(
        ConfigError, match=r"must end in `.yaml`, such as `.*kitchen/taxonomy.yaml`"
    ):
        run("taxonomy", "import", str(table), "-o", str(tmp_path / "kitchen"))


def test_check_shows_warnings_without_failing(tmp_path: Path) -> None:
    lines = resources.find_file("policies", "violence").read_text().splitlines(keepends=True)
    path = str(tmp_path / "violence.yaml")
    silent = [line for line in lines if not ("- {harm" in line and "profile: minors" in line)]
    Path(path).write_text("".join(silent))
    result = run("policy", "check", path)
    assert result.exit_code == 0
    assert "rule `V-MINOR` is stricter than the inherited `B-RES-MINOR`" in result.stdout
    assert "untested_strictness" in result.stdout
    assert "1 warning" in result.stdout
    payload = objects(run("policy", "check", path, "--json"))
    findings = [line["finding"] for line in payload if "finding" in line]
    assert [(f["kind"], f["warning"]) for f in findings if isinstance(f, dict)] == [
        ("untested_strictness", True)
    ]


def test_diff_compares_with_the_spec_of_the_run(tmp_path: Path) -> None:
    """Like `generate`, do not redraft a row because the command names another old spec."""
    mine = edit(tmp_path, "violence", "ceiling: 1\n    floor: 1\n", "ceiling: 0\n")
    recipe = {"name": "a", "policies": [mine], "plan": {"harms": ["weapons.explosives"]}}
    safegen.generate(Recipe.model_validate(recipe), output=tmp_path / "out", until="expand")
    (payload,) = objects(
        run("policy", "diff", "violence", mine, "--run", str(tmp_path / "out"), "--json")
    )
    assert payload["situations"]
    assert payload["rows"]["changes"] == []  # type: ignore[index]


def test_missing_inherited_spec_is_named_with_place(tmp_path: Path) -> None:
    path = edit(tmp_path, "violence", "inherits: base", "inherits: bsae")
    at = 1 + Path(path).read_text().splitlines().index("inherits: bsae")
    with pytest.raises(
        UserError, match=f"violence.yaml:{at}:1: inherits: no .* did you mean `base`"
    ):
        run("policy", "show", path)
    result = run("policy", "check", path)
    assert result.exit_code == 2
    assert f"{path}:{at}:1: inherits: no " in result.stdout


def test_missing_spec_of_recipe_is_named_with_place(
    tmp_path: Path,
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\npolicies: [security, nosuch]\n")
    with pytest.raises(
        UserError, match=r"mine.yaml:2:1: policies: no prompts/policies/nosuch.yaml"
    ):
        run("policy", "explain", AT, "--recipe", str(recipe))


def test_misspelled_domain_is_a_warning(tmp_path: Path) -> None:
    path = edit(tmp_path, "intimacy", "harms: [sexual.*]", "harms: [sexaul.*]")
    result = run("policy", "check", path)
    assert "taxonomy `core` has no leaf `sexaul.*`; did you mean `sexual.*`?" in result.stdout
    far = edit(tmp_path, "intimacy", "harms: [sexual.*]", "harms: [brewery.*]")
    output = run("policy", "check", far).stdout
    assert "has no leaf" not in output
    assert "its leaves are not in core; name their taxonomy with --taxonomy" in output
