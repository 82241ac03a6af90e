"""README and docs: size, links, commands, code, sentence length, words."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import typer.main

import safegen
from safegen.cli import main
from tests.conftest import ROOT
from tests.docs import cli_reference
from tests.words import banned_words

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = [
    *DOCS,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "outputs/README.md",
    ROOT / "benchmarks/README.md",
]
README_BYTES = 6_000
SENTENCE_WORDS = 18.0
"""Mean words per sentence of a file, at most."""
CELL_WORDS = 25
STILTED = re.compile(
    r"\b(?:stands|comes to|came of|beside|at hand|goes by|speaks of|alike|under way)\b",
    re.IGNORECASE,
)
"""Banned in prose only; code has other uses for them."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
RUNNABLE = {
    "README.md",
    "use-as-a-library.md",
    "inspect-a-run.md",
    "write-a-plugin.md",
    "test-a-plugin.md",
}
"""Pages whose Python runs offline, in the order in which it is printed."""
RECIPE = "name: small\nplan: {harms: [cyber.*], sets_per_harm: 1, candidates: 2}\n"


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def cells(path: Path) -> Iterator[str]:
    for line in prose(path).splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line):
            yield from re.split(r"(?<!\\)\|", line.strip().strip("|"))


def sentences(path: Path) -> list[str]:
    """Sentences outside code, tables and headings; a list item ends its own sentence."""
    kept = [
        re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "\n\n", line)
        for line in prose(path).splitlines()
        if not line.startswith(("|", "#", "<!--"))
    ]
    paragraphs = re.split(r"\n\s*\n", "\n".join(kept))
    parts = [s for p in paragraphs for s in re.split(r"(?<=[.!?])[*_]*\s+(?=[^a-z])", p)]
    return [s for s in parts if words(s)]


def words(text: str) -> list[str]:
    """Words of a text; an inline code span and a link's text count as what they show."""
    plain = LINK.sub(lambda m: m.group().split("](")[0], re.sub(r"`[^`]*`", "code", text))
    return re.findall(r"[^\W_]+(?:['’.\-/][^\W_]+)*", plain)


def blocks(path: Path, *languages: str) -> list[str]:
    fenced = FENCE.findall(path.read_text(encoding="utf-8"))
    return [text for language, text in fenced if language in languages]


def commands(path: Path) -> Iterator[list[str]]:
    for block in blocks(path, "sh"):
        for line in block.splitlines():
            # Not a pattern: a quoted argument may contain `;`.
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
            lexer.whitespace_split = True
            for is_operator, tokens in groupby(lexer, lambda t: t in {"&&", "||", ";"}):
                part = list(tokens)
                if not is_operator and part[:1] == ["safegen"]:
                    yield part[1:]


COMMANDS = [(name(path), line) for path in TEXTS for line in commands(path)]
PYTHON = [(name(path), text) for path in TEXTS for text in blocks(path, "python")]


def test_readme_is_small() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_relative_links_resolve(path: Path) -> None:
    targets = [t.partition("#")[0] for t in LINK.findall(prose(path)) if "://" not in t]
    assert [t for t in targets if t and not (path.parent / t).exists()] == []


def test_every_page_is_listed() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / t).resolve() for t in LINK.findall(prose(index))}
    assert [name(p) for p in DOCS if p != index and p.resolve() not in listed] == []


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_sentences_are_short(path: Path) -> None:
    sentences_ = sentences(path)
    mean = sum(len(words(s)) for s in sentences_) / max(1, len(sentences_))
    longest = sorted(sentences_, key=lambda s: -len(words(s)))[:3]
    assert mean <= SENTENCE_WORDS, (round(mean, 1), longest)


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_table_cells_are_short(path: Path) -> None:
    assert [c for c in cells(path) if len(words(c)) > CELL_WORDS] == []


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_no_banned_word(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert banned_words(text) + STILTED.findall(text) == []


@pytest.mark.parametrize(
    ("page", "tokens"), COMMANDS, ids=[f"{p} {' '.join(t)}" for p, t in COMMANDS]
)
def test_shell_command_exists(page: str, tokens: list[str]) -> None:
    """Parse without running: unknown commands, options and missing arguments raise."""
    # Any: Typer returns the classes of its own copy of click.
    command: Any = typer.main.get_command(main.app)
    while hasattr(command, "commands"):
        assert tokens[0] in command.commands, f"{page}: no command {tokens[0]}"
        command, tokens = command.commands[tokens[0]], tokens[1:]
    command.make_context(command.name, list(tokens))


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for child in children:
        yield from leaves(children[child], f"{path} {child}")


def test_cli_reference_is_up_to_date() -> None:
    """Refresh it with `python -m tests.docs.cli_reference`."""
    assert cli_reference.PAGE.read_text(encoding="utf-8") == (
        cli_reference.preamble() + cli_reference.render()
    )


def test_cli_reference_names_every_option() -> None:
    text = cli_reference.render()
    undocumented = [
        f"{path} {option}"
        for path, command in leaves(typer.main.get_command(main.app), "safegen")
        for param in command.params
        for option in param.opts
        if option not in {"--help"} and option.startswith("--") and f"`{option}" not in text
    ]
    assert undocumented == []


def test_readme_row_has_documented_columns() -> None:
    (block,) = blocks(ROOT / "README.md", "json")
    text = (ROOT / "docs/reference/columns.md").read_text(encoding="utf-8")
    assert [key for key in json.loads(block) if f"`{key}`" not in text] == []


def test_readme_row_is_a_row_of_the_starter(starter: Path) -> None:
    (block,) = blocks(ROOT / "README.md", "json")
    shown = json.loads(block)
    prompt = shown.pop("messages")[0]["content"]
    rows = safegen.open_run(starter).view("sft").to_dicts()
    row = next(r for r in rows if r["messages"][-2]["content"] == prompt)
    assert {key: row[key] for key in shown} == shown


@pytest.mark.parametrize("text", [t for _, t in PYTHON], ids=[p for p, _ in PYTHON])
def test_python_block_imports_what_exists(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("safegen"):
            module = import_module(node.module or "")
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@pytest.mark.parametrize("page", sorted(RUNNABLE))
def test_python_block_runs(page: str, workdir: Path) -> None:
    (workdir / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    if page == "inspect-a-run.md":
        safegen.generate("recipe.yaml", output="outputs/starter")
    texts = [text for path, text in PYTHON if Path(path).name == page]
    assert texts
    for text in texts:
        exec(compile(text, page, "exec"), {"__name__": "docs"})
