"""Plug-ins that raise or return something wrong: one error that names the plug-in and its file."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import safegen
from safegen.core.errors import ConfigError, RunError, SafegenError
from safegen.core.types import Reply, Request
from tests.e2e.runs import cli, fails
from tests.sampling import sampled

HEAD = """
import pyarrow as pa
from safegen.dataset.view import View
from safegen.types import Reply, TeacherTraits, ValidatorTraits, Verdict

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("n", pa.int64())])

def verdict(**changes):
    values = {"validator": "plug", "version": "1", "passed": True, "score": 1.0, "reason": "ok"}
    return Verdict(**values | changes)

class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("no text")
"""
RECIPES = {
    "validator": "validators: ['{name}:plug']",
    "teacher": "teachers: {{drafter: '{name}:plug'}}\nvalidators: [length_bounds]",
    "view": "validators: [length_bounds]\nviews: ['{name}:plug']",
}


class Case(NamedTuple):
    kind: str
    code: int
    message: str
    """Pattern of the error."""
    source: str


def validator(result: str, message: str) -> Case:
    body = (
        f"def plug():\n    async def check(draft, context):\n        {result}\n    return check\n"
    )
    return Case("validator", 1, message, body)


def teacher(result: str, message: str) -> Case:
    body = f"def plug():\n    async def answer(request):\n        {result}\n    return answer\n"
    return Case("teacher", 1, message, body)


def view(rows: str, message: str, columns: str = "return SCHEMA") -> Case:
    body = (
        f"def columns():\n    {columns}\n\ndef rows(group):\n    {rows}\n\n"
        "def plug():\n    return View('plug', columns, rows)\n"
    )
    return Case("view", 1, message, body)


CASES = {
    "validator-str": validator("return 'fine'", "returned `str`, not a `Verdict`"),
    "validator-dict": validator("return {'passed': True}", "returned `dict`, not a `Verdict`"),
    "validator-none": validator("pass", "returned `None`, not a `Verdict`"),
    "validator-raises": validator("raise KeyError('x\\x1b[31m' * 900)", r":\d+: .*KeyError"),
    "validator-hostile": validator("raise Hostile", r":\d+: .*Hostile"),
    "validator-exits": validator("raise SystemExit(0)", r":\d+: .*SystemExit"),
    "verdict-name": validator("return verdict(validator=7)", "`validator` is wrong .`int`"),
    "verdict-other": validator("return verdict(validator='other')", "of `other`, not of `plug`"),
    "verdict-code": validator("return verdict(code=['x'])", "`code` is of type `list`; use a text"),
    "verdict-passed": validator(
        "return verdict(passed=1)", "`passed` is `1`; use True, False or None"
    ),
    "verdict-score": validator("return verdict(score='high')", "`score` is wrong .`str`"),
    "verdict-severity": validator("return verdict(severity='bad')", "`severity` is wrong"),
    "validator-sync": Case(
        "validator",
        1,
        "returned `Verdict`, not an awaitable `Verdict`.*async def",
        "def plug():\n    return lambda draft, context: verdict()\n",
    ),
    "verdict-surrogate": validator(
        "return verdict(reason='\\ud800')", "`reason` holds half of a surrogate pair"
    ),
    "reply-surrogate": teacher(
        "return Reply('a\\ud800b', 'm')", "`text` holds half of a surrogate pair"
    ),
    "reply-negative": teacher(
        "return Reply('a', 'm', prompt_tokens=-5)", "`prompt_tokens` is negative"
    ),
    "teacher-str": teacher("return 'hello'", "returned `str`, not a `Reply`"),
    "teacher-none": teacher("pass", "returned `None`, not a `Reply`"),
    "teacher-object": teacher("return object()", "returned `object`, not a `Reply`"),
    "teacher-text": teacher("return Reply(None, 'm')", "`text` is wrong .`None`"),
    "teacher-model": teacher("return Reply('text', 5)", "`model` is wrong .`int`"),
    "teacher-tokens": teacher("return Reply('t', 'm', prompt_tokens='9')", "`prompt_tokens`"),
    "teacher-raises": teacher("raise ConnectionError('gone')", r":\d+: .*ConnectionError: gone"),
    "teacher-sync": Case(
        "teacher",
        1,
        "returned `Reply`, not an awaitable `Reply`.*async def",
        "def plug():\n    return lambda request: Reply('text', 'm')\n",
    ),
    "teacher-limit": Case(
        "teacher",
        2,
        "`concurrency` is `.many.`; use a whole number from 1",
        "class T:\n    concurrency = 'many'\n    async def __call__(self, request):\n"
        "        pass\n\ndef plug():\n    return T()\n",
    ),
    "view-text": view("return 'rows'", "returned `str`, not a list of dicts"),
    "view-tuple": view("return [('a', 1)]", "row of type `tuple`, not a dict"),
    "view-value": view("return [{'id': 'a', 'n': 'many'}]", "rows that do not fit its columns"),
    "view-null": view("return [{'n': 1}]", "without a value of column `id`"),
    "view-extra": view("return [{'id': 'a', 'more': 1}]", "unknown column `more`"),
    "view-raises": view("raise LookupError('x')", r":\d+: .*LookupError: x"),
    "view-columns": view("return []", "returned `list`, not a `pyarrow.Schema`", "return ['id']"),
    "import-raises": Case("validator", 2, r":\d+: .*ZeroDivisionError", "1 / 0\n"),
    "import-syntax": Case("teacher", 2, r":\d+: .*SyntaxError", "def plug(:\n"),
    "import-exits": Case("view", 2, r":\d+: .*SystemExit", "raise SystemExit(3)\n"),
    "factory-raises": Case("validator", 2, r":\d+: .*Hostile", "def plug():\n    raise Hostile\n"),
    "factory-async": Case(
        "teacher", 2, "returned `coroutine`", "async def plug():\n    return None\n"
    ),
    "factory-hints": Case(
        "validator", 2, "NameError", "def plug(*, n: 'Missing' = 1):\n    return None\n"
    ),
    "factory-none": Case(
        "validator", 2, "returned `None`, not an async", "def plug():\n    pass\n"
    ),
    "factory-text": Case("teacher", 2, "returned `str`", "def plug():\n    return 'teacher'\n"),
    "factory-dict": Case(
        "view", 2, "returned `dict`, not a `View`", "def plug():\n    return {}\n"
    ),
    "factory-name": Case(
        "view",
        2,
        r"TypeError: `name` is `3`; use a text",
        "def plug():\n    return View(3, list, list)\n",
    ),
    "traits-dict": Case(
        "teacher", 2, "`TRAITS` of type `dict`", "TRAITS = {'grade': 'demo'}\ndef plug(): pass\n"
    ),
    "traits-grade": Case(
        "teacher",
        2,
        "`grade` is `4`; use one of",
        "TRAITS = TeacherTraits(grade=4)\ndef plug(): pass\n",
    ),
    "traits-model": Case(
        "validator",
        1,
        r":\d+: .*loaded its models.*OSError",
        "def load(locale):\n    raise OSError('no model')\n\nTRAITS = ValidatorTraits(warm_up=load)\n"
        "def plug():\n    return lambda draft, context: None\n",
    ),
    "traits-codes": Case(
        "validator",
        2,
        "`codes` is `.calm.`; use a tuple",
        "TRAITS = ValidatorTraits('calm')\ndef plug(): pass\n",
    ),
}


def write_case(folder: Path, case: Case, *, name: str, patch: pytest.MonkeyPatch) -> Path:
    (folder / f"{name}.py").write_text(HEAD + case.source)
    recipe = folder / "r.yaml"
    plan = "name: wrong\nplan: {harms: [property.theft], sets_per_harm: 1}\n"
    parameters = ": {n: 2}" if "Missing" in case.source else ""
    text = RECIPES[case.kind].format(name=name)
    if parameters:
        text = f"validators: [{{'{name}:plug': {{n: 2}}}}]"
    recipe.write_text(plan + text)
    patch.chdir(folder)
    patch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return recipe


# The library's test below has every case; the command adds the exit code and the form of the text.
@pytest.mark.parametrize("key", sampled(((key,) for key in CASES), every=3))
def test_wrong_plugin_is_named_by_command(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case, name = CASES[key], f"cli_{key.replace('-', '_')}"
    recipe = write_case(tmp_path, case, name=name, patch=monkeypatch)
    result = cli(capsys, "generate", recipe, "-o", "out", "--plugin", name)
    sys.modules.pop(name, None)
    fails(result, case.code)
    message = " ".join(result.err.split())
    fails(result._replace(err=message), case.code, case.message, f"`{name}:plug`", f"{name}.py")
    assert "\x1b" not in result.err


@pytest.mark.parametrize("key", sampled(zip(CASES), every=4))
def test_wrong_plugin_raises_safegen_error(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, name = CASES[key], f"lib_{key.replace('-', '_')}"
    recipe = write_case(tmp_path, case, name=name, patch=monkeypatch)
    kind: type[SafegenError] = RunError if case.code == 1 else ConfigError
    with pytest.raises(kind, match=case.message) as caught:
        safegen.generate(str(recipe), output=tmp_path / "out", plugins=[name])
    sys.modules.pop(name, None)
    assert f"{name}.py" in str(caught.value)


async def answer_text(request: Request, /) -> str:
    return "text"


def answer_at_once(request: Request, /) -> Reply:
    return Reply("text", "m")


@pytest.mark.parametrize("function", [answer_text, answer_at_once])
def test_wrong_teacher_of_caller_is_named(function: object, tmp_path: Path) -> None:
    recipe = safegen.load_recipe("starter")
    with pytest.raises(RunError, match=r"test_wrong_plugins.py: plug-in `drafter` returned"):
        safegen.generate(
            recipe,
            output=tmp_path / "out",
            teachers={"drafter": function},  # pyright: ignore[reportArgumentType]
        )


ATTRIBUTES: dict[str, tuple[str, object, str]] = {
    "identity-number": ("identity", 5, "`identity` is `5`; use a text that is not blank or None"),
    "identity-empty": ("identity", "", "`identity` is `''`; use a text"),
    "identity-blank": ("identity", " ", "`identity` is `' '`; use a text"),
    "identity-half": ("identity", "\ud800", "`identity` is"),
    "model-number": ("model", 3, "`model` is `3`; use a text"),
    "model-none": ("model", None, "`model` is `None`; use a text"),
    "traits-dict": (
        "traits",
        {"grade": "demo"},
        "`traits` is of type `dict`; use a `TeacherTraits`",
    ),
    "traits-text": ("traits", "demo", "`traits` is `'demo'`; use a `TeacherTraits` or None"),
    "concurrency-zero": ("concurrency", 0, "`concurrency` is `0`; use a whole number from 1"),
    "concurrency-true": ("concurrency", True, "`concurrency` is `True`; use a whole number from 1"),
    "attempts-text": ("attempts", "3", "`attempts` is `'3'`; use a whole number from 1"),
    "aclose-text": ("aclose", "later", "`aclose` is `'later'`; use a function or None"),
}


@pytest.mark.parametrize(("name", "value", "message"), ATTRIBUTES.values(), ids=ATTRIBUTES)
@pytest.mark.parametrize("role", ["drafter", "labeller"])
def test_wrong_attribute_of_callers_teacher_is_named(
    role: str, name: str, value: object, message: str, tmp_path: Path
) -> None:
    async def cook(request: Request, /) -> Reply:
        return Reply("text", "m")

    setattr(cook, name, value)
    with pytest.raises(ConfigError) as caught:
        safegen.generate("starter", output=tmp_path / "out", teachers={role: cook})
    assert message in str(caught.value)
    assert f"test_wrong_plugins.py: plug-in `{role}` has a wrong attribute" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "key", ["identity-empty", "model-number", "traits-dict", "concurrency-zero"]
)
def test_wrong_attribute_of_plugin_is_named(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attribute, value, message = ATTRIBUTES[key]
    source = (
        f"async def answer(request):\n    pass\n\nanswer.{attribute} = {value!r}\n\n"
        "def plug():\n    return answer\n"
    )
    name = f"attribute_{key.replace('-', '_')}"
    recipe = write_case(tmp_path, Case("teacher", 2, "", source), name=name, patch=monkeypatch)
    for command in ("check", "generate"):
        result = cli(capsys, command, recipe, "-o", "out", "--plugin", name)
        text = " ".join(result.err.split())
        assert (result.code, message in text, f"{name}.py" in text) == (2, True, True), text
    assert not Path("out").exists()


@pytest.mark.slow
def test_console_script_finds_plugin_of_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "calm_words.py").write_text(
        HEAD + "def plug():\n    async def check(draft, context):\n        return verdict()\n"
        "    return check\n"
    )
    (tmp_path / "r.yaml").write_text(
        "name: r\npolicies: [security]\nplan: {harms: [cyber.intrusion]}\n"
        "validators: ['calm_words:plug']\n"
    )
    script = Path(sys.executable).with_name("safegen")
    command = [str(script), "check", "r.yaml", "--plugin", "calm_words"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
