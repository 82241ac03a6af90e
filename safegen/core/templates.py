"""Prompt files: sandboxed, strict Jinja2 with one block per message.

The caller of `load_template` states the fields. A field that the file does not use, or that the caller does
not state, is an error. A value is inserted unchanged and never rendered again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from safegen.core import resources, yaml_source
from safegen.core.errors import ConfigError
from safegen.core.hashing import text_sha256
from safegen.core.suggestions import suggest_names

if TYPE_CHECKING:
    from jinja2 import Template, nodes

MAX_CHARS = 200_000
"""Longest rendered message; a longer one shows a broken prompt file."""
# Each further loop multiplies the time by the length of a list.
MAX_LOOPS = 2
FILTERS = ("join", "trim", "upper", "lower", "capitalize", "length", "first", "last")


@dataclass(frozen=True)
class PromptTemplate:
    """A checked prompt file."""

    path: Path
    sha256: str
    template: Template

    def render(self, block: str, **fields: object) -> str:
        """Render one block.

        Raises:
            ConfigError: the template fails, or its output is too long.
        """
        from jinja2 import TemplateError

        try:
            # One block at a time, because each is a message of its own.
            context = self.template.new_context(fields)
            text = "".join(_take_bounded(self.template.blocks[block](context))).strip()
        except (TemplateError, TypeError, ValueError, ArithmeticError, MemoryError) as e:
            raise ConfigError(f"{self.path}: block `{block}` cannot be rendered: {e}") from e
        if len(text) > MAX_CHARS:
            raise ConfigError(
                f"{self.path}: block `{block}` renders to more than {MAX_CHARS} characters"
            )
        return text


def load_template(name: str, *, blocks: Iterable[str], fields: Iterable[str]) -> PromptTemplate:
    """Read `prompts/<name>.j2`.

    Args:
        name: a bare name, or a path that ends in `.j2`.
        blocks: the blocks that the file must define; it may define no others.
        fields: the fields that the caller passes; the file must use each, and no others.

    Raises:
        AssetNotFound: no such file.
        ConfigError: with file and line.
    """
    path = resources.find_file("prompts", name)
    text = yaml_source.read_text(path)
    template, variables = _compile(path, text)
    _check_names(path, "block", set(template.blocks), set(blocks))
    _check_names(path, "field", variables, set(fields))
    return PromptTemplate(path, text_sha256(text), template)


# A process that makes several runs uses the same few files.
@lru_cache(maxsize=32)
def _compile(path: Path, text: str) -> tuple[Template, set[str]]:
    """Check and compile a prompt file; the second value holds the fields that it uses."""
    from jinja2 import StrictUndefined, TemplateSyntaxError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
    )
    # `range` and `lipsum` could make text of any length.
    environment.globals.clear()  # pyright: ignore[reportUnknownMemberType] (dict[str, Any])
    try:
        tree = environment.parse(text)
        # Check before compiling, because the compiler evaluates constants such as 9 ** 9 ** 9.
        _check_template(path, tree)
        template = environment.from_string(text)
    except TemplateSyntaxError as e:
        raise ConfigError(f"{path}:{e.lineno}: {e.message}") from e
    except RecursionError as e:
        raise ConfigError(f"{path}: nested too deeply") from e
    return template, meta.find_undeclared_variables(tree)


def _check_template(path: Path, tree: nodes.Template) -> None:
    """Allow text, fields, conditions and shallow loops; their output is bounded."""
    from jinja2 import nodes

    for kinds, rule in (
        (
            (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends),
            "cannot include other files",
        ),
        ((nodes.Call, nodes.CallBlock, nodes.Macro), "cannot call functions or macros"),
        ((nodes.Assign, nodes.AssignBlock), "cannot set variables"),
        ((nodes.Mul, nodes.Pow, nodes.Mod), "cannot multiply or take powers"),
    ):
        for node in tree.find_all(kinds):
            raise ConfigError(f"{path}:{node.lineno}: a prompt file {rule}; write the text out")
    for node in tree.find_all(nodes.Filter):
        if node.name not in FILTERS:
            hint = suggest_names(node.name, FILTERS)
            raise ConfigError(f"{path}:{node.lineno}: filter `{node.name}` is unknown{hint}")
    for node in tree.find_all(nodes.Getattr):
        # The sandbox refuses such attributes only when the prompt is rendered, in the middle of a
        # run.
        if node.attr.startswith("_"):
            raise ConfigError(f"{path}:{node.lineno}: `{node.attr}` is not a field; remove it")
    _check_loop_depth(path, tree, MAX_LOOPS)


def _check_loop_depth(path: Path, node: nodes.Node, left: int) -> None:
    from jinja2 import nodes

    for child in node.iter_child_nodes():
        is_loop = isinstance(child, nodes.For)
        if is_loop and not isinstance(child.iter, nodes.Name | nodes.Getattr):
            raise ConfigError(f"{path}:{child.lineno}: a loop must iterate over a field")
        if is_loop and (left == 0 or child.recursive):
            raise ConfigError(
                f"{path}:{child.lineno}: loops may be nested {MAX_LOOPS} deep and not be recursive"
            )
        _check_loop_depth(path, child, left - is_loop)


def _take_bounded(parts: Iterable[str]) -> Iterator[str]:
    # Stop early: the rest of an endless text is never rendered.
    size = 0
    for part in parts:
        yield part
        size += len(part)
        if size > MAX_CHARS:
            return


def _check_names(path: Path, kind: str, actual: set[str], expected: set[str]) -> None:
    for name in sorted(actual - expected):
        hint = suggest_names(name, sorted(expected))
        raise ConfigError(f"{path}: {kind} `{name}` is unknown{hint}")
    for name in sorted(expected - actual):
        raise ConfigError(f"{path}: {kind} `{name}` is never used; use it")
