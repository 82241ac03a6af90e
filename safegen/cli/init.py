"""`init_files`: a commented recipe, the skeletons of a taxonomy and a spec, a repository for datasets."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from safegen.cli import data_repo, init_templates
from safegen.cli.commented_yaml import comment_lines
from safegen.cli.render.console import make_console, make_text, print_out
from safegen.cli.render.tables import write_file
from safegen.config.fields import Slug
from safegen.config.recipe import PluginRef, Recipe
from safegen.core.errors import UserError
from safegen.core.yaml_source import message_of
from safegen.pipeline.file_schemas import schema_file_name, schema_text

RECIPE = Path("recipe.yaml")
SCHEMAS = Path("schemas")


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What to write; None leaves it out."""

    file: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    key_env: str | None = None
    taxonomy: str | None = None
    policy: str | None = None
    data_repo: Path | None = None

    @property
    def recipe_path(self) -> Path | None:
        """Where the recipe goes, always a `.yaml`; without anything else asked for, `recipe.yaml`."""
        others = (self.taxonomy, self.policy, self.data_repo)
        with_recipe = self.endpoint is not None or not any(others)
        if self.file is not None and self.file.suffix not in (".yaml", ".yml"):
            return self.file.with_name(f"{self.file.name}.yaml")
        return self.file or (RECIPE if with_recipe else None)


def init_files(wanted: InitOptions, *, force: bool) -> None:
    """Write what is asked for, all of it or nothing.

    Raises:
        UserError: a name or an address that cannot be, or a file that is there already.
    """
    files = _collect_files(wanted)
    for path in files if not force else ():
        if path.exists():
            raise UserError(f"`{path}` exists; name another file or overwrite it with `--force`")
    if wanted.data_repo is not None:
        data_repo.prepare_repo(wanted.data_repo, force=force)
    files |= {p: text for p, text in _collect_schemas(files).items() if force or not p.exists()}
    for path, text in files.items():
        write_file(path, text, force=force)
    out = make_console(sys.stdout)
    for path in files:
        print_out(out, make_text(f"wrote {path}"))
    if wanted.data_repo is not None:
        print_out(
            out, make_text(f"prepared {wanted.data_repo} for datasets; its README.md says how")
        )
    print_out(out, make_text(f"next: {_next_steps(wanted)}", "bold"))


def _collect_files(wanted: InitOptions) -> dict[Path, str]:
    """Every text by its path."""
    files: dict[Path, str] = {}
    drafter = _make_drafter(wanted)
    if wanted.taxonomy is not None:
        name = _check_slug(wanted.taxonomy, "--taxonomy")
        root = Path("taxonomies") / name
        made = init_templates.make_taxonomy_files(name, schemas=_relative_folder(root))
        # The file in sets/ stands one folder deeper.
        made["sets/first.yaml"] = init_templates.make_taxonomy_files(
            name, schemas=_relative_folder(root / "sets")
        )["sets/first.yaml"]
        files |= {root / below: text for below, text in made.items()}
    if wanted.policy is not None:
        name, folder = _check_slug(wanted.policy, "--policy"), Path("prompts/policies")
        domain = wanted.taxonomy or name
        files[folder / f"{name}.yaml"] = init_templates.make_policy_file(
            name, domain=domain, schemas=_relative_folder(folder)
        )
    if wanted.recipe_path is not None:
        files[wanted.recipe_path] = make_recipe_text(wanted, wanted.recipe_path, drafter)
    return files


def make_recipe_text(wanted: InitOptions, path: Path, drafter: PluginRef | None) -> str:
    """A recipe with every key at its default, but for what was asked for."""
    values: dict[str, object] = {"name": _run_name(path)}
    if wanted.taxonomy is not None:
        values["taxonomy"] = wanted.taxonomy
    if wanted.taxonomy is not None and wanted.policy is not None:
        values["policies"] = (wanted.policy,)
    if drafter is not None:
        values["teachers"] = {"drafter": drafter}
    head = (
        f"# yaml-language-server: $schema={_relative_folder(path.parent)}/{schema_file_name('recipe')}",
        f"# A recipe: what a run makes. `safegen check {shlex.quote(str(path))}` says what it would do.",
    )
    return "\n".join([*head, *comment_lines(Recipe, values)]) + "\n"


def _make_drafter(wanted: InitOptions) -> PluginRef | None:
    """The teacher behind `--endpoint`, checked as a recipe's would be."""
    from safegen.core import plugins
    from safegen.teachers import KEY_NAME

    if wanted.endpoint is None:
        if wanted.model or wanted.key_env:
            raise UserError("`--model` and `--key-env` belong to an `--endpoint`; name its address")
        return None
    if not wanted.model:
        raise UserError("`--endpoint` needs a `--model`, as the endpoint names it")
    params = {"base_url": wanted.endpoint, "model": wanted.model}
    plugins.make_plugin("teachers", "openai_chat", params)
    if wanted.key_env is None:
        return PluginRef(use="openai_chat", params=params)
    if not KEY_NAME.fullmatch(wanted.key_env):
        raise UserError(
            "`--key-env` takes the name of a variable, in capitals and ending in `_API_KEY`, never the key"
        )
    return PluginRef(use="openai_chat", params=params | {"api_key_env": wanted.key_env})


def _collect_schemas(files: Mapping[Path, str]) -> dict[Path, str]:
    """The schemas that the heads of these files name."""
    named = {
        kind
        for text in files.values()
        for kind in re.findall(r"/(\w+)\.schema\.json$", text, re.MULTILINE)
    }
    return {SCHEMAS / schema_file_name(kind): schema_text(kind) for kind in sorted(named)}


def _relative_folder(folder: Path) -> str:
    """The folder of the schemas as seen from another."""
    way = Path(os.path.relpath(SCHEMAS, folder)).as_posix()
    return way if way.startswith(".") else f"./{way}"


def _check_slug(name: str, option: str) -> str:
    try:
        return TypeAdapter[str](Slug).validate_python(name)
    except ValidationError as e:
        message = message_of(e.errors()[0])
        raise UserError(f"`{option}` is `{name[:80]}`: {message}") from e


def _run_name(path: Path) -> str:
    """The file's name as the name of a run."""
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-")
    return name if name[:1].isalpha() else f"run-{name}".rstrip("-")


def _next_steps(wanted: InitOptions) -> str:
    if wanted.recipe_path is not None:
        return f"safegen check {shlex.quote(str(wanted.recipe_path))}, then safegen preview with it"
    if wanted.taxonomy is not None:
        return f"safegen taxonomy check {wanted.taxonomy}"
    if wanted.policy is not None:
        return f"safegen policy check prompts/policies/{wanted.policy}.yaml"
    return f"safegen generate -o {shlex.quote(str(wanted.data_repo))}/starter"
