"""Hostile and broken input gives a short message with file and remedy, and exit 2 or 1."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.runs import KEY_ENV, cli, fails, hashes, write_recipe

SPEC = "version: 1.0.0\ntitle: t\nfacilitation: f\nharms: [property.theft]\n"
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
)
RECIPES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", r"r\.yaml:1:1: the file is empty.*`name`"),
    "only comments": ("# nothing\n", "the file is empty"),
    "a list": ("- name: a\n", r"r\.yaml:1:1: the file is not a mapping"),
    "a word": ("hello\n", "not a mapping"),
    "unknown key": ("name: a\ntaxonmy: core\n", r"r\.yaml:2:1: .*did you mean `taxonomy`"),
    "unknown deep key": ("name: a\nplan: {harm: [x]}\n", r"r\.yaml:2:8: .*did you mean `harms`"),
    "duplicate key": ("name: a\nseed: 1\nseed: 2\n", r"r\.yaml:3:1: duplicate key `seed`.*line 2"),
    "wrong type": ("name: a\nplan: {candidates: [1]}\n", r"r\.yaml:2:8: `plan.candidates`"),
    "mapping for a list": ("name: a\npolicies: {a: b}\n", r"r\.yaml:2:1: `policies`"),
    "missing name": ("seed: 1\n", "`name` is missing; add it"),
    "two mistakes": ("name: a\nseed: x\nrevise: 99\n", r"r\.yaml:2:1: .*\n.*r\.yaml:3:1: `revise`"),
    "huge number": ("name: a\nseed: " + "9" * 5_000 + "\n", r"r\.yaml:2:1: `seed`"),
    "seed beyond 64 bits": ("name: a\nseed: 18446744073709551616\n", r"r\.yaml:2:1: `seed`"),
    "huge text": ("name: " + "a" * 100_000 + "\n", r"r\.yaml:1:1: `name`"),
    "not a number": ("name: a\nsplit: {test: .nan}\n", r"r\.yaml:2:9: `split.test`"),
    "latin-1": ("name: a\ntaxonomy: caf\xe9\n".encode("latin-1"), r"r\.yaml: byte 21 is not UTF-8"),
    "utf-16": ("name: a\n".encode("utf-16"), "byte 0 is not UTF-8; save the file as UTF-8"),
    "nul": ("name: a\0b\n", r"r\.yaml.*not valid YAML"),
    "larger than any recipe": ("#" * (8 * 2**20 + 1), "is larger than 8 MiB"),
    "aliases that double": (BOMB, r"r\.yaml:1:5: anchors and aliases are not supported"),
    "python object": ("name: !!python/object/apply:os.system [id]\n", r"r\.yaml:1:7: the tag"),
    "deep nesting": ("name: a\nplan: " + "[" * 10_000 + "\n", r"r\.yaml:2:\d+: nested too deeply"),
    "two documents": ("name: a\n---\nname: b\n", r"r\.yaml:2:1: not valid YAML"),
    "open bracket": ("name: a\nplan: {harms: [\n", r"r\.yaml:3:1: not valid YAML"),
    "a tab": ("name: a\nplan:\n\tharms: [x]\n", r"r\.yaml:3:1: not valid YAML"),
    "unknown taxonomy": ("name: a\ntaxonomy: cor\n", r"r\.yaml:2:1: .*did you mean `core`"),
    "unknown policy": (
        "name: a\npolicies: [secuirty]\n",
        r"r\.yaml:2:12: policies: .*did you mean `security`",
    ),
    "no such policy file": (
        "name: a\npolicies:\n  - security\n  - specs/gone.yaml\n",
        r"r\.yaml:4:5: policies: no file `specs/gone\.yaml`; paths are relative to the working folder, `/.*`",
    ),
    "unknown domain": ("name: a\nplan: {harms: [proprty.*]}\n", r"did you mean `property\.\*`"),
    "unknown language": ("name: a\nlocales: [xx]\n", r"r\.yaml:2:1: .*xx\.yaml"),
    "unknown harm": ("name: a\nplan: {harms: [property.thetf]}\n", "did you mean `property.theft`"),
    "red line": ("name: a\nplan: {harms: [minors.sexual]}\n", r"r\.yaml:2:8: .*red line"),
    "unknown teacher": ("name: a\nteachers: {drafter: ofline}\n", r"r\.yaml:2:12: .*`offline`"),
    "unknown validator": ("name: a\nvalidators: [stile]\n", r"r\.yaml:2:1: .*did you mean `style`"),
    "unknown wrapper": (
        "name: a\nplan:\n  noise: true\n  wrappers: [ficton]\n",
        r"r\.yaml:4:3: plan\.wrappers: .*did you mean `fiction`",
    ),
    "unknown view": ("name: a\nviews: [sftt]\n", r"r\.yaml:2:1: .*did you mean `sft`"),
    "unknown parameter": (
        "name: a\nvalidators: [{style: {x: 1}}]\n",
        r"r\.yaml:2:1: .*has no parameter `x`",
    ),
    "parameter out of bounds": (
        "name: a\nvalidators: [{length_bounds: {min_chars: -1}}]\n",
        r"r\.yaml:2:1: .*`min_chars` is `-1`",
    ),
    "module of one's own": ("name: a\nvalidators: ['os:system']\n", r"r\.yaml:2:1: .*--plugin os"),
    "taxonomy that climbs": (
        "name: a\ntaxonomy: ../../x\n",
        r"r\.yaml:2:1: .*does not end in `.yaml`",
    ),
    "taxonomy with a long name": ("name: a\ntaxonomy: " + "a" * 3_000 + ".yaml\n", r"no file `a+`"),
    "output that climbs": ("name: a\noutput: ../../x\n", r"r\.yaml:2:1: .*use `--output`"),
    "absolute output": ("name: a\noutput: /tmp/x\n", r"r\.yaml:2:1: .*use `--output`"),
    "home as output": ("name: a\noutput: ~/x\n", r"r\.yaml:2:1: .*use `--output`"),
    "endpoint without address": (
        "name: a\nteachers:\n  drafter: openai_chat\n",
        r"r\.yaml:3:3: .*needs `base_url`, `model`",
    ),
    "answers in a recipe": (
        "name: a\nteachers: {drafter: {scripted: {answers: [x]}}}\n",
        r"r\.yaml:2:12: .*`answers` cannot be given in a recipe",
    ),
}
ENDPOINTS: dict[str, tuple[dict[str, object], str]] = {
    "no scheme": ({"base_url": "api.example.org/v1"}, "must begin with http"),
    "file scheme": ({"base_url": "file:///etc/passwd"}, "must begin with http"),
    "port beyond 65535": ({"base_url": "http://127.0.0.1:99999/v1"}, "host or port"),
    "half an IPv6 address": ({"base_url": "http://[::1/v1"}, "host or port"),
    "key in the address": ({"base_url": "http://a:b@127.0.0.1/v1"}, "user info"),
    "key variable that is not set": ({"api_key_env": KEY_ENV}, f"`{KEY_ENV}` is not set"),
    "a key for a variable": ({"api_key_env": "sk-pasted-0123"}, "may be a key"),
    "a field that is ours": ({"extra": {"stream": True}}, "`stream`; safegen sets it"),
    "extra is a list": ({"extra": ["x"]}, "`extra`"),
    "two limits": ({"max_tokens": 1, "max_completion_tokens": 1}, "keep one"),
    "variable that is no key": ({"api_key_env": "HOME"}, "ends in `_API_KEY`"),
    "no model": ({"model": " "}, "`model` is empty"),
    "too many at once": ({"concurrency": 10**9}, "`concurrency` is `1000000000`"),
    "temperature is a word": ({"temperature": "hot"}, "`temperature` is `hot`"),
}
PROMPTS: dict[str, tuple[str, str]] = {
    "attribute of a class": ("{{ ''.__class__ }}", r"draft\.j2:1: `__class__`"),
    "attribute through a filter": ("{{ told | attr('__class__') }}", "filter `attr`"),
    "include": (
        "{% include '/etc/passwd' %}",
        r"draft\.j2:1: a prompt file cannot include other files",
    ),
    "import": ("{% from 'x' import y %}", "cannot include other files"),
    "undefined field": (
        "{{ instruction }}",
        "field `instruction` is unknown; did you mean `instructions`",
    ),
    "endless range": ("{% for i in range(10**12) %}x{% endfor %}", "cannot call functions"),
    "a power tower": ("{{ 9 ** 9 ** 9 }}", "cannot multiply"),
    "a text that grows": ("{{ 'a' * 10 ** 10 }}", "cannot multiply"),
    "a broken tag": ("{% if %}", r"draft\.j2:1: "),
}
POLICIES: dict[str, tuple[dict[str, str], str]] = {
    "inherits itself": ({"mine": f"policy: mine\ninherits: mine\n{SPEC}"}, "is circular"),
    "inherits in a circle": (
        {
            "mine": f"policy: mine\ninherits: other\n{SPEC}",
            "other": f"policy: other\ninherits: mine\n{SPEC}",
        },
        "is circular",
    ),
    "inherits nothing": ({"mine": f"policy: mine\ninherits: gone\n{SPEC}"}, r"gone\.yaml"),
    "leaves a gap": ({"mine": f"policy: mine\n{SPEC}"}, "no rule decides"),
    "empty": ({"mine": ""}, "the file is empty"),
}


@pytest.mark.parametrize("case", RECIPES)
def test_broken_recipe_is_refused(
    case: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, says = RECIPES[case]
    (workdir / "r.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    for command in ("check", "generate"):
        fails(cli(capsys, command, "r.yaml"), 2, says)
    assert [p.name for p in workdir.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize("case", ENDPOINTS)
def test_invalid_endpoint_is_refused(
    case: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, says = ENDPOINTS[case]
    write_recipe(workdir / "r.yaml", "http://127.0.0.1:9/v1", endpoint=params)
    # `check` reports an unset key and continues, because it sends no request.
    for command in ("generate",) if "not set" in case else ("check", "generate"):
        result = cli(capsys, command, "r.yaml")
        fails(result, 2, r"r\.yaml:\d+:\d+: teachers\.drafter", says)
        assert "sk-pasted" not in result.out + result.err
    assert [p.name for p in workdir.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize("case", PROMPTS)
def test_hostile_prompt_template_is_refused(
    case: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, says = PROMPTS[case]
    (workdir / "prompts").mkdir()
    (workdir / "prompts" / "draft.j2").write_text(
        "{% block system %}{{ instructions }}{{ operator }}" + code + "{% endblock %}",
        encoding="utf-8",
    )
    fails(cli(capsys, "generate"), 2, r"draft\.j2", says)
    assert not (workdir / "outputs").exists()


def test_prompt_template_without_a_field_is_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "prompts").mkdir()
    (workdir / "prompts" / "draft.j2").write_text("{% block system %}x{% endblock %}")
    fails(cli(capsys, "generate"), 2, r"draft\.j2: field `instructions` is never used")


@pytest.mark.parametrize("case", POLICIES)
def test_broken_policy_is_refused(
    case: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs, says = POLICIES[case]
    (workdir / "prompts" / "policies").mkdir(parents=True)
    for name, text in specs.items():
        (workdir / "prompts" / "policies" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (workdir / "r.yaml").write_text("name: a\npolicies: [mine]\n", encoding="utf-8")
    fails(cli(capsys, "check", "r.yaml"), 2, r"r\.yaml:2:12: policies", says)


TAXONOMY = (
    "taxonomy: mine\nversion: 1.0.0\ntitle: t\nlicence: Apache-2.0\nlanguage: en\nsets: [{sets}]\n"
    "domains:\n  - id: property\n    name: n\n    definition: d\n    harms:\n"
    "      - id: property.theft\n        name: n\n        definition: d\n        tier: allowed\n"
    "        severity: low\n        crosswalk: {{ailuminate: none, llama_guard: none}}\n"
)


@pytest.mark.parametrize(
    "sets", ["../x.yaml", "/etc/hostname", "link.yaml", "loop.yaml", "gone.yaml"]
)
def test_sets_outside_the_folder_are_refused(
    sets: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workdir / "taxonomies" / "mine"
    folder.mkdir(parents=True)
    (workdir / "taxonomies" / "x.yaml").write_text("goals: []\n", encoding="utf-8")
    (folder / "link.yaml").symlink_to(workdir / "taxonomies" / "x.yaml")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "taxonomy.yaml").write_text(TAXONOMY.format(sets=sets), encoding="utf-8")
    (workdir / "r.yaml").write_text("name: a\ntaxonomy: mine\n", encoding="utf-8")
    for command in ("check", "generate"):
        fails(cli(capsys, command, "r.yaml"), 2, r"taxonomy\.yaml: sets", re.escape(sets))
    assert not (workdir / "outputs").exists()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def links_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def nothing(path: Path) -> None:
    """No file at all."""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (a_folder, "is a folder; name a file"),
        (a_pipe, "is not a regular file"),
        (an_endless_device, "is not a regular file"),
        (links_in_a_circle, "cannot be read"),
        (nothing, "no such file"),
    ],
)
def test_recipe_that_is_no_file_is_refused(
    make: Callable[[Path], None], says: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(workdir / "r.yaml")
    fails(cli(capsys, "check", "r.yaml"), 2, r"r\.yaml: ", says)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_unreadable_recipe_is_refused(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "r.yaml").write_text("name: a\n", encoding="utf-8")
    (workdir / "r.yaml").chmod(0)
    fails(cli(capsys, "check", "r.yaml"), 2, "cannot be read")


@pytest.mark.parametrize(
    "words",
    [
        ["generat"],
        ["generate", "--until", "drfat"],
        ["generate", "startr"],
        ["check", "--nope"],
        ["show", "gone"],
        ["status", "gone"],
        ["retry", "gone"],
        ["build", "gone"],
        ["list", "recipies"],
        ["check", "starter", "--plugin"],
    ],
    ids=" ".join,
)
def test_wrong_argument_exits_2(
    words: list[str], workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = cli(capsys, *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("safegen: error: ")
    assert "Traceback" not in result.err
    assert list(workdir.iterdir()) == []


def test_invalid_output_folder_is_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "file").write_text("mine", encoding="utf-8")
    (workdir / "run").write_text("mine", encoding="utf-8")
    before = hashes(workdir)
    for output in ("file", "file/deeper", "/dev/null/x"):
        fails(cli(capsys, "generate", "-o", output), 2, "is a file, or below one; name a folder")
    fails(cli(capsys, "generate", "-o", "."), 2, "`run` is a file", "move it away")
    for output in ("/proc/nowhere", "x" * 400):
        fails(cli(capsys, "generate", "-o", output), 1, "cannot be written", "--output")
    assert hashes(workdir) == before


@pytest.mark.parametrize(
    "name", ["README.md", ".gitattributes", "data/mine.csv", "policies/p.yaml"]
)
def test_foreign_files_are_never_replaced(
    name: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / name).parent.mkdir(exist_ok=True)
    (workdir / name).write_text("mine", encoding="utf-8")
    fails(
        cli(capsys, "generate", "-o", "."),
        2,
        "was not written by safegen",
        "choose another `--output`",
    )
    assert (workdir / name).read_text(encoding="utf-8") == "mine"
    assert [p.name for p in workdir.iterdir()] == [Path(name).parts[0]]


def test_plan_mistake_does_not_bind_the_run_folder(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.yaml").write_text("name: a\nplan: {harms: [property.x]}\n", encoding="utf-8")
    fails(cli(capsys, "generate", "r.yaml"), 2, "property.x")
    Path("r.yaml").write_text("name: a\nplan: {harms: [property.theft]}\n", encoding="utf-8")
    assert cli(capsys, "generate", "r.yaml").code == 0
