from __future__ import annotations

from pathlib import Path

import pytest

from safegen.config import recipe, taxonomy
from safegen.core import plugins
from safegen.core.errors import AssetNotFound, ConfigError, UserError
from safegen.pipeline.resolve import resolve_recipe


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_starter_recipe_covers_every_leaf_but_red_lines() -> None:
    starter = recipe.load_recipe("starter")
    tree = taxonomy.load_taxonomy(starter.taxonomy)
    goals = list(tree.goals())
    open_leaves = {h.id for h in tree.harms.values() if not h.red_line}
    assert {g.harm for g in goals} == open_leaves
    assert len(goals) >= 80
    assert len(tree.file.domains) >= 12
    assert len(open_leaves) >= 25


def test_two_plugin_spellings_are_equal(tmp_path: Path) -> None:
    long = "name: a\nvalidators:\n  - {use: length_bounds, params: {min_chars: 9}}\n"
    short = "name: a\nvalidators:\n  - length_bounds: {min_chars: 9}\n"
    assert recipe.load_recipe(write(tmp_path, long)) == recipe.load_recipe(write(tmp_path, short))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: A b\n", "lower-case"),
        ("name: a\noutput: /etc\n", "below the working folder"),
        ("name: a\noutput: ../x\n", "below the working folder"),
        ("name: a\noutput: ~/x\n", "below the working folder"),
        ('name: a\noutput: "a\\0b"\n', r"holds a NUL \(U\+0000\); remove it"),
        ('name: a\noutput: "out/\\e[1mx"\n', r"holds a control character \(U\+001B\)"),
        ('name: a\noutput: "a\\nb"\n', r"holds a line feed \(U\+000A\)"),
        ("name: a\nplan: {candidates: 0}\n", "greater than or equal to 1"),
        ("name: a\nplan: {candidates: many}\n", "valid integer"),
        ("name: a\nteachers: {drafer: offline}\n", "did you mean `drafter`"),
        ("name: a\nvalidators: [style]\nrequire: [stlye]\n", "did you mean `style`"),
        ("name: a\nversion: one\n", "three numbers"),
        ("name: a\nsplit: {test: 1.5}\n", "less than 1"),
        ("nmae: a\n", "did you mean `name`"),
        ("name: a\nviews: [sft, sft]\n", "view `sft` appears twice; keep one"),
        ("name: a\nviews: []\n", "must have 1 or more items"),
        ("name: a\ntarget: {accepted: 2, per: [harm, harm]}\n", "names `harm` twice; keep one"),
    ],
    ids=(
        "name absolute climb home nul escape line zero word role require version split key views no-view cell".split()
    ),
)
def test_recipe_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        recipe.load_recipe(write(tmp_path, text))


def test_untrusted_recipe_code_is_not_imported() -> None:
    with pytest.raises(ConfigError, match="--plugin os"):
        plugins.find_factory("teachers", "os:system")


def test_unknown_recipe_is_a_user_error() -> None:
    with pytest.raises(UserError, match="did you mean `starter`"):
        recipe.load_recipe("startr")


AUTHORED_HEAD = "name: a\nteachers: {author: offline}\njudges: {labellers: [offline]}\n"


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (
            "{axes: {tone: {urgent: x}}}",
            "4:15: `plan.axes.tone`: the weight of `urgent` must be a number of 0 or more",
        ),
        (
            "{axes: {tone: 3}}",
            "4:15: `plan.axes.tone` is `3`: must be a list of values, or values with weights",
        ),
        ("{axes: [tone, tone]}", "4:8: `plan.axes`: names `tone` twice; keep one"),
        ("{axes: {tone: []}}", "4:15: `plan.axes.tone`: is empty"),
        (
            "{axes: [mode]}",
            "4:8: `plan.axes`: `mode` is not an axis to vary: the policy computes it",
        ),
        ("{harms: []}", "4:8: `plan.harms`: is empty"),
        ("{harms: cyber.x}", "4:8: `plan.harms` is `cyber.x`: must be a list, such as"),
        (
            "{dialogues: al}",
            "4:8: `plan.dialogues` is `al`: must be `all`, or a list of some; did you mean `all`?",
        ),
    ],
)
def test_plan_mistake_is_one_line_with_yaml_keys(tmp_path: Path, plan: str, says: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"{AUTHORED_HEAD}plan: {plan}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        recipe.load_recipe(path)
    assert str(caught.value).startswith(f"{path}:{says}")
    assert "\n" not in str(caught.value)
    assert "function" not in str(caught.value)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (
            "{authored: 1, axes: {tone: [urgnt]}}",
            "4:21: plan.axes: `tone` has no value `urgnt`; did you mean",
        ),
        (
            "{authored: 1, axes: [tone], rows: [{skill: skilled}]}",
            "4:35: plan.rows: row: no axis `skill`",
        ),
        (
            "{authored: 1, axes: [role, skill], rows: [{role: minor, skill: skilled}]}",
            "4:42: plan.rows: the row role=minor",
        ),
    ],
)
def test_axes_mistake_is_named_with_place(tmp_path: Path, plan: str, says: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"{AUTHORED_HEAD}plan: {plan}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        resolve_recipe(str(path))
    assert str(caught.value).startswith(f"{path}:{says}")


def test_missing_author_requirements_are_named_at_the_key(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nplan:\n  authored: 2\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        recipe.load_recipe(path)
    lacks = "a teacher under `teachers.author` and a judge under `judges.labellers`"
    assert str(caught.value) == f"{path}:3:3: `plan.authored` needs {lacks}"


def test_recipe_name_without_ending_gets_a_hint(workdir: Path) -> None:
    (workdir / "mine.yaml").write_text("name: a\n", encoding="utf-8")
    with pytest.raises(AssetNotFound, match=r"write a file with its extension: `mine\.yaml`"):
        recipe.load_recipe("mine")


def test_error_key_decides_the_reported_place() -> None:
    errors = [
        ConfigError("`a.b` fits no leaf", key="plan.harms"),
        ConfigError("plan.harms.yaml: no such file"),
        ConfigError("no axis `x`"),
    ]
    places: list[str] = []
    for error in errors:
        with (
            pytest.raises(ConfigError) as caught,
            recipe.SourceLocator().prefix_errors("plan", "harms"),
        ):
            raise error
        places.append(str(caught.value))
    assert places == [
        "plan.harms: `a.b` fits no leaf",
        "plan.harms: plan.harms.yaml: no such file",
        "plan.harms: no axis `x`",
    ]
