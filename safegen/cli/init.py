"""`init`: a commented recipe, the skeletons of a taxonomy and a spec, a repository for datasets."""

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
from safegen.cli.commented_yaml import commented
from safegen.cli.render.console import console, put, word
from safegen.cli.render.tables import write
from safegen.cli.schema import file_name, text_of
from safegen.config.fields import Slug
from safegen.config.recipe import PluginRef, Recipe
from safegen.core.errors import UserError
from safegen.core.yaml_source import message_of

RECIPE = Path("recipe.yaml")
SCHEMAS = Path("schemas")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to write; None leaves it out."""

    file: Path | None = None
    endpoint: str | None = None
    model: str | None = None
    key_env: str | None = None
    taxonomy: str | None = None
    policy: str | None = None
    data_repo: Path | None = None

    @property
    def recipe(self) -> Path | None:
        """Where the recipe goes, always a `.yaml`; without anything else asked for, `recipe.yaml`."""
        others = (self.taxonomy, self.policy, self.data_repo)
        with_recipe = self.endpoint is not None or not any(others)
        if self.file is not None and self.file.suffix not in (".yaml", ".yml"):
            return self.file.with_name(f"{self.file.name}.yaml")
        return self.file or (RECIPE if with_recipe else None)


def init(wanted: Wanted, *, force: bool) -> None:
    """Write what is asked for, all of it or nothing.

    Raises:
        UserError: a name or an address that cannot be, or a file that is there already.
    """
    files = _files(wanted)
    for path in files if not force else ():
        if path.exists():
            raise UserError(
                f"`{path}` is there already; name another, or write over it with `--force`"
            )
    if wanted.data_repo is not None:
        data_repo.prepare(wanted.data_repo, force=force)
    files |= {p: text for p, text in _schemas(files).items() if force or not p.exists()}
    for path, text in files.items():
        write(path, text, force=force)
    out = console(sys.stdout)
    for path in files:
        put(out, word(f"wrote {path}"))
    if wanted.data_repo is not None:
        put(out, word(f"prepared {wanted.data_repo} for datasets; its README.md says how"))
    put(out, word(f"next: {_next(wanted)}", "bold"))


def _files(wanted: Wanted) -> dict[Path, str]:
    """Every text by its path."""
    files: dict[Path, str] = {}
    drafter = _drafter(wanted)
    if wanted.taxonomy is not None:
        name = _slug(wanted.taxonomy, "--taxonomy")
        root = Path("taxonomies") / name
        made = init_templates.taxonomy_files(name, schemas=_from(root))
        # The file in sets/ stands one folder deeper.
        made["sets/first.yaml"] = init_templates.taxonomy_files(name, schemas=_from(root / "sets"))[
            "sets/first.yaml"
        ]
        files |= {root / below: text for below, text in made.items()}
    if wanted.policy is not None:
        name, folder = _slug(wanted.policy, "--policy"), Path("prompts/policies")
        domain = wanted.taxonomy or name
        files[folder / f"{name}.yaml"] = init_templates.policy_file(
            name, domain=domain, schemas=_from(folder)
        )
    if wanted.recipe is not None:
        files[wanted.recipe] = recipe_text(wanted, wanted.recipe, drafter)
    return files


def recipe_text(wanted: Wanted, path: Path, drafter: PluginRef | None) -> str:
    """A recipe with every key at its default, but for what was asked for."""
    values: dict[str, object] = {"name": _name_of(path)}
    if wanted.taxonomy is not None:
        values["taxonomy"] = wanted.taxonomy
    if wanted.taxonomy is not None and wanted.policy is not None:
        values["policies"] = (wanted.policy,)
    if drafter is not None:
        values["teachers"] = {"drafter": drafter}
    head = (
        f"# yaml-language-server: $schema={_from(path.parent)}/{file_name('recipe')}",
        f"# A recipe: what a run makes. `safegen check {shlex.quote(str(path))}` says what it would do.",
    )
    return "\n".join([*head, *commented(Recipe, values)]) + "\n"


def _drafter(wanted: Wanted) -> PluginRef | None:
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
    plugins.make("teachers", "openai_chat", params)
    if wanted.key_env is None:
        return PluginRef(use="openai_chat", params=params)
    if not KEY_NAME.fullmatch(wanted.key_env):
        raise UserError(
            "`--key-env` takes the name of a variable, in capitals and ending in `_API_KEY`, never the key"
        )
    return PluginRef(use="openai_chat", params=params | {"api_key_env": wanted.key_env})


def _schemas(files: Mapping[Path, str]) -> dict[Path, str]:
    """The schemas that the heads of these files name."""
    named = {
        kind
        for text in files.values()
        for kind in re.findall(r"/(\w+)\.schema\.json$", text, re.MULTILINE)
    }
    return {SCHEMAS / file_name(kind): text_of(kind) for kind in sorted(named)}


def _from(folder: Path) -> str:
    """The folder of the schemas as seen from another."""
    way = Path(os.path.relpath(SCHEMAS, folder)).as_posix()
    return way if way.startswith(".") else f"./{way}"


def _slug(name: str, option: str) -> str:
    try:
        return TypeAdapter[str](Slug).validate_python(name)
    except ValidationError as e:
        told = message_of(e.errors()[0])
        raise UserError(f"`{option}` is `{name[:80]}`: {told}") from e


def _name_of(path: Path) -> str:
    """The file's name as the name of a run."""
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-")
    return name if name[:1].isalpha() else f"run-{name}".rstrip("-")


def _next(wanted: Wanted) -> str:
    if wanted.recipe is not None:
        return f"safegen check {shlex.quote(str(wanted.recipe))}, then safegen preview with it"
    if wanted.taxonomy is not None:
        return f"safegen taxonomy check {wanted.taxonomy}"
    if wanted.policy is not None:
        return f"safegen policy check prompts/policies/{wanted.policy}.yaml"
    return f"safegen generate -o {shlex.quote(str(wanted.data_repo))}/starter"
