"""Implementation of `safegen init`: a recipe, templates and a data repository."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from safegen.cli import data_repo, init_templates
from safegen.cli.commented_yaml import comment_lines, format_flow
from safegen.cli.render.console import make_console, make_text, print_out
from safegen.cli.render.tables import write_file
from safegen.config.fields import Slug
from safegen.config.recipe import Judges, PluginRef, Recipe
from safegen.core.errors import UserError
from safegen.core.yaml_errors import message_of
from safegen.pipeline.file_schemas import schema_file_name, schema_text

RECIPE = Path("recipe.yaml")
SCHEMAS = Path("schemas")
NO_PANEL = "  panel: []"


@dataclass(frozen=True, slots=True)
class InitOptions:
    """Files to write; None skips one."""

    file: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    key_env: str | None = None
    judge_endpoint: str | None = None
    """Default: that of the drafter."""
    judge_model: str | None = None
    judge_key_env: str | None = None
    """Default: that of the drafter, if the endpoint is the same."""
    taxonomy: str | None = None
    policy: str | None = None
    data_repo: Path | None = None

    @property
    def recipe_path(self) -> Path | None:
        """Path of the recipe, always `.yaml`; default `recipe.yaml` if nothing else is requested."""
        others = (self.taxonomy, self.policy, self.data_repo)
        with_recipe = bool(self.endpoint or self.judge_model) or not any(others)
        if self.file is not None and self.file.suffix not in (".yaml", ".yml"):
            return self.file.with_name(f"{self.file.name}.yaml")
        return self.file or (RECIPE if with_recipe else None)


def init_files(options: InitOptions, *, force: bool) -> None:
    """Write all requested files, or none.

    Raises:
        UserError: a name or URL is not valid, or a file exists.
    """
    files = _collect_files(options)
    for path in files if not force else ():
        if path.exists():
            raise UserError(f"`{path}` exists; name another file or overwrite it with `--force`")
    if options.data_repo is not None:
        data_repo.prepare_repo(options.data_repo, force=force)
    files |= {p: text for p, text in _collect_schemas(files).items() if force or not p.exists()}
    for path, text in files.items():
        write_file(path, text, force=force)
    out = make_console(sys.stdout)
    for path in files:
        print_out(out, make_text(f"wrote {path}"))
    if options.data_repo is not None:
        print_out(out, make_text(f"prepared {options.data_repo} for datasets; see its README.md"))
    print_out(out, make_text(f"next: {_next_steps(options)}", "bold"))


def _collect_files(options: InitOptions) -> dict[Path, str]:
    files: dict[Path, str] = {}
    drafter = _make_drafter(options)
    judge = _make_judge(options)
    if options.taxonomy is not None:
        name = _check_slug(options.taxonomy, "--taxonomy")
        root = Path("taxonomies") / name
        templates = init_templates.make_taxonomy_files(name, schemas=_relative_folder(root))
        # The file in sets/ is one folder deeper.
        templates["sets/first.yaml"] = init_templates.make_taxonomy_files(
            name, schemas=_relative_folder(root / "sets")
        )["sets/first.yaml"]
        files |= {root / path: text for path, text in templates.items()}
    if options.policy is not None:
        name, folder = _check_slug(options.policy, "--policy"), Path("prompts/policies")
        domain = options.taxonomy or name
        files[folder / f"{name}.yaml"] = init_templates.make_policy_file(
            name, domain=domain, schemas=_relative_folder(folder)
        )
    if options.recipe_path is not None:
        files[options.recipe_path] = make_recipe_text(options, options.recipe_path, drafter, judge)
    return files


def make_recipe_text(
    options: InitOptions, path: Path, drafter: PluginRef | None, judge: PluginRef | None = None
) -> str:
    """Write a recipe with all keys: the requested values, else the defaults."""
    values: dict[str, object] = {"name": _run_name(path)}
    if options.taxonomy is not None:
        values["taxonomy"] = options.taxonomy
    if options.taxonomy is not None and options.policy is not None:
        values["policies"] = (options.policy,)
    if drafter is not None:
        values["teachers"] = {"drafter": drafter}
    if judge is not None:
        values["judges"] = Judges(panel=(judge,))
    head = (
        f"# yaml-language-server: $schema={_relative_folder(path.parent)}/{schema_file_name('recipe')}",
        f"# A recipe describes a run. Dry run: `safegen check {shlex.quote(str(path))}`",
    )
    lines = list(comment_lines(Recipe, values))
    if judge is None:
        lines = list(_add_panel_example(lines, options))
    if drafter is not None:
        name, value = list(drafter.params.items())[-1]
        last = lines.index(f"      {name}: {format_flow(value)}")
        lines[last + 1 : last + 1] = init_templates.ENDPOINT_HINTS
    return "\n".join([*head, *lines]) + "\n"


def _add_panel_example(lines: Sequence[str], options: InitOptions) -> Iterator[str]:
    """Replace the empty panel by one in comments, which is valid without its marks."""
    for line in lines:
        if line != NO_PANEL:
            yield line
        else:
            yield from (
                f"  # {text}"
                for text in (
                    "panel:",
                    "  - openai_chat:",
                    f"      base_url: {options.endpoint or 'http://127.0.0.1:8000/v1'}",
                    "      model: another-model",
                )
            )


def _make_drafter(options: InitOptions) -> PluginRef | None:
    if options.endpoint is None:
        if options.model or options.key_env:
            raise UserError("`--model` and `--key-env` need `--endpoint URL`")
        return None
    if not options.model:
        raise UserError("`--endpoint` needs `--model NAME`, by the endpoint's name")
    return _make_endpoint_ref(options.endpoint, options.model, options.key_env, "--key-env")


def _make_judge(options: InitOptions) -> PluginRef | None:
    if not options.judge_model:
        if options.judge_endpoint or options.judge_key_env:
            raise UserError("`--judge-endpoint` and `--judge-key-env` need `--judge-model NAME`")
        return None
    endpoint = options.judge_endpoint or options.endpoint
    if endpoint is None:
        raise UserError("`--judge-model` needs `--judge-endpoint URL`, or `--endpoint URL`")
    if (endpoint, options.judge_model) == (options.endpoint, options.model):
        raise UserError(
            f"`--judge-model` is `{options.judge_model}`, which also drafts, and a model prefers its"
            " own answers; name another model"
        )
    key_env = options.judge_key_env or (options.key_env if endpoint == options.endpoint else None)
    return _make_endpoint_ref(endpoint, options.judge_model, key_env, "--judge-key-env")


def _make_endpoint_ref(
    endpoint: str, model: str, key_env: str | None, key_option: str
) -> PluginRef:
    from safegen.core import plugins
    from safegen.teachers import KEY_NAME

    params = {"base_url": endpoint, "model": model}
    plugins.make_plugin("teachers", "openai_chat", params)
    if key_env is None:
        return PluginRef(use="openai_chat", params=params)
    if not KEY_NAME.fullmatch(key_env):
        raise UserError(
            f"`{key_option}` must be the name of an environment variable that ends in `_API_KEY`, not the"
            " key"
        )
    return PluginRef(use="openai_chat", params=params | {"api_key_env": key_env})


def _collect_schemas(files: Mapping[Path, str]) -> dict[Path, str]:
    # The first line of each file names its schema.
    kinds = {
        kind
        for text in files.values()
        for kind in re.findall(r"/(\w+)\.schema\.json$", text, re.MULTILINE)
    }
    return {SCHEMAS / schema_file_name(kind): schema_text(kind) for kind in sorted(kinds)}


def _relative_folder(folder: Path) -> str:
    path = Path(os.path.relpath(SCHEMAS, folder)).as_posix()
    return path if path.startswith(".") else f"./{path}"


def _check_slug(name: str, option: str) -> str:
    try:
        return TypeAdapter[str](Slug).validate_python(name)
    except ValidationError as e:
        message = message_of(e.errors()[0])
        raise UserError(f"`{option}` is `{name[:80]}`: {message}") from e


def _run_name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-")
    return name if name[:1].isalpha() else f"run-{name}".rstrip("-")


def _next_steps(options: InitOptions) -> str:
    if options.recipe_path is not None:
        return f"safegen check {shlex.quote(str(options.recipe_path))}, then safegen preview {shlex.quote(str(options.recipe_path))}"
    if options.taxonomy is not None:
        return f"safegen taxonomy check {options.taxonomy}"
    if options.policy is not None:
        return f"safegen policy check prompts/policies/{options.policy}.yaml"
    return f"safegen generate -o {shlex.quote(str(options.data_repo))}/starter"
