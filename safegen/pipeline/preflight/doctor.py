"""What a recipe needs of this machine and its endpoints, checked one by one; nothing is changed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from safegen.config.recipe import PluginRef
from safegen.core import resources
from safegen.core.errors import UserError
from safegen.core.finding import Finding
from safegen.core.version import __version__
from safegen.pipeline.resolve import Inputs, make_teacher, read_inputs, roles

GIB = 2**30
LITTLE = 2 * GIB
"""Free bytes below which a long run may end early."""
TOO_LITTLE = GIB // 10
SHADOWED = ("taxonomies", "axes", "policies", "prompts", "locales", "recipes")


class Found(NamedTuple):
    """A file that carries a name, and which of the places it lies in."""

    place: str
    path: Path


class Group(NamedTuple):
    """Findings that belong together."""

    name: str
    findings: list[Finding]


async def examine(
    recipe: str, *, output: Path | None = None, trusted: Sequence[str] = ()
) -> AsyncIterator[Group]:
    """Examine group by group; endpoints last, since they take their time."""
    yield Group("program", list(_program()))
    yield Group("files", list(_files()))
    inputs: Inputs | None = None
    try:
        inputs = read_inputs(recipe, trusted=trusted)
    except UserError as e:
        yield Group("recipe", [Finding("recipe", "fail", str(e), f"mend `{recipe}`")])
    else:
        told = f"{inputs.recipe.name} {inputs.recipe.version} and all that it names is read"
        yield Group("recipe", [Finding("recipe", "ok", told)])
    folder = output or (inputs.recipe.folder if inputs else Path("outputs"))
    yield Group("machine", [*_disk(folder), *_git()])
    for name, ref in _teachers(inputs) if inputs else ():
        yield Group(name, await _teacher(ref, inputs) if inputs else [])


def _program() -> Iterator[Finding]:
    yield Finding("safegen", "ok", f"{__version__}, Python {platform.python_version()}")
    versions: list[str] = []
    for line in metadata.requires("safegen") or ():
        name = re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0]
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            remedy = f"pip install '{line}'"
            yield Finding("packages", "fail", f"`{name}` is not installed", remedy)
    yield Finding("packages", "ok", ", ".join(versions))


def _files() -> Iterator[Finding]:
    """Where each kind of file comes from, and which hide others of their name."""
    for kind in ("taxonomies", "policies", "locales"):
        by_place: dict[str, list[str]] = {}
        for name in resources.names(kind):
            by_place.setdefault(_found(kind, name)[0].place, []).append(name)
        told = "; ".join(f"{', '.join(names)} ({place})" for place, names in by_place.items())
        state = "ok" if told else "fail"
        yield Finding(kind, state, told or "none", "" if told else "install safegen again")
    for kind in SHADOWED:
        for name in resources.names(kind):
            first, *hidden = _found(kind, name)
            if hidden:
                told = f"`{name}` of the {first.place} hides that of the {hidden[0].place}"
                remedy = f"rename {_relative(first.path)} unless that is meant"
                yield Finding(kind, "warn", told, remedy)


def _found(kind: str, name: str) -> list[Found]:
    """Every file that carries a name, the one that counts first."""
    folder, pattern = resources.KINDS[kind]
    below = Path(folder) / pattern.replace("*", name)
    found: dict[Path, Found] = {}
    for root in resources.roots():
        path = root / below
        if path.is_file():
            found.setdefault(path.resolve(), Found(_place(root), path))
    return list(found.values())


def _place(root: Path) -> str:
    """What a place is called; a checkout that is the working folder is the checkout."""
    own = (resources.PACKAGE / "_assets", resources.PACKAGE.parent, resources.PACKAGE)
    if root.resolve() not in [path.resolve() for path in own]:
        return "working folder"
    return "wheel" if own[0].is_dir() else "checkout"


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _disk(folder: Path) -> Iterator[Finding]:
    """Room, and leave to write, at the nearest folder that is there."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as e:
        told = f"`{there}` takes no files ({(e.strerror or str(e)).lower()})"
        yield Finding("output", "fail", told, "mend its permissions, or choose another `--output`")
    else:
        yield Finding("output", "ok", f"{folder} can be written")
    free = shutil.disk_usage(there).free
    state = "fail" if free < TOO_LITTLE else "warn" if free < LITTLE else "ok"
    remedy = "" if state == "ok" else "make room, or choose another `--output`"
    yield Finding("disk", state, f"{free / GIB:.1f} GiB free", remedy)


def _git() -> Iterator[Finding]:
    remedies = {
        "git": "install git, to version datasets",
        "git-lfs": "install git-lfs (apt-get install git-lfs), to version datasets",
    }
    for program, remedy in remedies.items():
        if shutil.which(program) is None:
            yield Finding(program, "warn", "not installed", remedy)
            continue
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        yield Finding(program, "ok", done.stdout.strip().split("\n")[0] or "installed")


def _teachers(inputs: Inputs) -> Iterator[tuple[str, PluginRef]]:
    """Each distinct model by its roles."""
    held: list[tuple[PluginRef, list[str]]] = []
    for role, ref in roles(inputs.recipe):
        names = next((names for known, names in held if known == ref), None)
        if names is None:
            held.append((ref, [role]))
        elif role not in names:
            names.append(role)
    for ref, names in held:
        yield f"{', '.join(names)}: {ref.use}", ref


async def _teacher(ref: PluginRef, inputs: Inputs) -> list[Finding]:
    """Make it as a run would, and probe the endpoint behind it."""
    from safegen.teachers import probe
    from safegen.teachers.openai_chat import Endpoint

    found: list[Finding] = []
    variable = ref.params.get("api_key_env")
    unset = variable and not os.environ.get(str(variable))
    if unset:
        remedy = f"export {variable}=…"
        found.append(Finding("key", "fail", f"`{variable}` is not set", remedy))
    elif variable:
        found.append(Finding("key", "ok", f"`{variable}` is set"))
    params = {k: v for k, v in ref.params.items() if not (unset and k == "api_key_env")}
    try:
        teacher = make_teacher(inputs, PluginRef(use=ref.use, params=params))
    except UserError as e:
        return [*found, Finding("teacher", "fail", str(e), "mend it in the recipe")]
    if not isinstance(teacher, Endpoint):
        return [*found, Finding("teacher", "ok", "asks no endpoint of safegen's")]
    return found + await probe(teacher.caller)
