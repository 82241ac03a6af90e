"""The generated part of docs/reference/cli.md: every command with its arguments and options.

`python -m tests.docs.cli_reference` writes it; a test compares.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from safegen.cli import main
from tests.conftest import ROOT

PAGE = ROOT / "docs/reference/cli.md"
MARK = "<!-- Generated from the help texts by `python -m tests.docs.cli_reference`. -->"
CODE = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*|-[a-z]|[A-Z]+=[A-Z]+)(?![\w`=])")


def as_code(text: str) -> str:
    """Put options and placeholders into code spans."""
    return CODE.sub(r"`\1`", text)


class Command(NamedTuple):
    path: str
    help: str
    callback: Callable[..., Any]


class Parameter(NamedTuple):
    name: str
    info: ArgumentInfo | OptionInfo
    types: tuple[Any, ...]
    default: object

    @property
    def is_argument(self) -> bool:
        return isinstance(self.info, ArgumentInfo)

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def value(self) -> str:
        """The placeholder of the value; empty for a flag."""
        if bool in self.types:
            return ""
        choices = [str(v) for t in self.types if get_origin(t) is Literal for v in get_args(t)]
        return "|".join(choices) or self.info.metavar or self.name.strip("_").upper()

    @property
    def usage(self) -> str:
        name = self.value.strip("[]")
        return name if self.is_required else f"[{name}]"

    @property
    def label(self) -> str:
        if self.is_argument:
            return f"`{self.value.strip('[]')}`"
        # Typer keeps the first name of an annotated option in `default`.
        declared = [self.info.default, *(self.info.param_decls or ())]
        names = [name for name in declared if str(name).startswith("-")]
        names = sorted(names or [f"--{self.name.replace('_', '-')}"], key=len)
        value = f" {self.value}" if self.value else ""
        return ", ".join(f"`{name}{value}`" for name in names).replace("|", "\\|")

    @property
    def meaning(self) -> str:
        text = as_code(self.info.help or "").rstrip(".")
        if self.is_required:
            return text if self.is_argument else f"{text}; required"
        is_stated = self.default in (None, False) or "default" in text
        return text if is_stated else f"{text}; default `{self.default}`"


def iter_commands(app: typer.Typer, path: str = "") -> Iterator[Command]:
    """Yield every command with its path, such as `policy check`."""
    for info in app.registered_commands:
        assert info.callback is not None
        text = info.help or inspect.getdoc(info.callback) or ""
        yield Command(
            f"{path}{info.name or info.callback.__name__}", text.split("\n")[0], info.callback
        )
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from iter_commands(group.typer_instance, f"{path}{group.name} ")


def iter_parameters(callback: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        annotation, info = get_args(hints[name])[:2]
        is_union = get_origin(annotation) in (Union, UnionType)
        types = get_args(annotation) if is_union else (annotation,)
        yield Parameter(name, info, types, parameter.default)


def usage(command: Command) -> str:
    arguments = [p.usage for p in iter_parameters(command.callback) if p.is_argument]
    return " ".join(["safegen", command.path, *arguments])


def render() -> str:
    """Write the list of commands and a section for each."""
    commands = list(iter_commands(main.app))
    lines = [MARK, "", "## Commands", "", "| command | what it does |", "|---|---|"]
    lines += [f"| `{usage(c)}` | {as_code(c.help).rstrip('.')} |" for c in commands]
    for command in commands:
        lines += ["", f"### {command.path}", "", as_code(command.help), ""]
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [f"| {p.label} | {p.meaning} |" for p in iter_parameters(command.callback)]
    return "\n".join(lines) + "\n"


def preamble() -> str:
    """Return the written part of the page."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0]


if __name__ == "__main__":
    PAGE.write_text(preamble() + render(), encoding="utf-8")
