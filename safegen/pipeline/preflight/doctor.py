"""Check the installation, the files, the machine and the endpoints that a recipe needs."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from safegen.config.recipe import PluginRef, QuarantineSettings
from safegen.core import resources
from safegen.core.errors import UserError
from safegen.core.finding import DoctorFinding
from safegen.core.version import __version__
from safegen.pipeline.resolve import ResolvedRecipe, list_roles, make_teacher, resolve_recipe
from safegen.store.quarantine import describe_missing_key
from safegen.teachers import split_unset_variables

GIB = 2**30
LOW_DISK_BYTES = 2 * GIB
"""Free bytes below which a long run may fill the disk."""
MIN_DISK_BYTES = GIB // 10
SHADOWABLE_KINDS = (
    *("taxonomies", "axes", "policies", "prompts", "locales", "contacts", "traps", "recipes"),
)


class NamedFile(NamedTuple):
    """A file of a name, with its place: working folder, checkout or wheel."""

    place: str
    path: Path


class FindingGroup(NamedTuple):
    """Findings about one subject."""

    name: str
    findings: list[DoctorFinding]


async def examine(
    recipe: str, *, output: Path | None = None, trusted: Sequence[str] = ()
) -> AsyncIterator[FindingGroup]:
    """Run all checks, group by group; nothing is changed. Endpoints come last because they are slow.

    Args:
        recipe: a path, or the name of a built-in recipe.
        output: the folder of the run; default the recipe's.
        trusted: modules that the recipe may name as `module:factory`.
    """
    yield FindingGroup("program", list(_check_program()))
    yield FindingGroup("files", list(_check_files()))
    inputs: ResolvedRecipe | None = None
    try:
        inputs = resolve_recipe(recipe, trusted=trusted)
    except UserError as e:
        yield FindingGroup(
            "recipe", [DoctorFinding("recipe", "fail", str(e), f"correct `{recipe}`")]
        )
    else:
        message = f"{inputs.recipe.name} {inputs.recipe.version}: all its files are valid"
        yield FindingGroup("recipe", [DoctorFinding("recipe", "ok", message)])
    folder = output or (inputs.recipe.folder if inputs else Path("outputs"))
    yield FindingGroup("machine", [*_check_disk(folder), *_check_git()])
    if inputs and inputs.recipe.judges.panel and (kept := inputs.recipe.judges.quarantine):
        yield FindingGroup("quarantine", [_check_quarantine(kept)])
    for name, ref in _list_teachers(inputs) if inputs else ():
        yield FindingGroup(name, await _check_teacher(ref, inputs) if inputs else [])


def _check_program() -> Iterator[DoctorFinding]:
    yield DoctorFinding("safegen", "ok", f"{__version__}, Python {platform.python_version()}")
    versions: list[str] = []
    for line in metadata.requires("safegen") or ():
        # A requirement starts with the name of its distribution (PEP 508).
        name = re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0]
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            remedy = f"pip install '{line}'"
            yield DoctorFinding("packages", "fail", f"`{name}` is not installed", remedy)
    yield DoctorFinding("packages", "ok", ", ".join(versions))


def _check_files() -> Iterator[DoctorFinding]:
    """Report the places that each kind of file comes from, and files that hide others."""
    for kind in ("taxonomies", "policies", "locales"):
        by_place: dict[str, list[str]] = {}
        for name in resources.list_names(kind):
            by_place.setdefault(_find_files(kind, name)[0].place, []).append(name)
        message = "; ".join(f"{', '.join(names)} ({place})" for place, names in by_place.items())
        state = "ok" if message else "fail"
        yield DoctorFinding(kind, state, message or "none", "" if message else "reinstall safegen")
    for kind in SHADOWABLE_KINDS:
        for name in resources.list_names(kind):
            first, *hidden = _find_files(kind, name)
            if hidden:
                message = f"`{name}` of the {first.place} hides that of the {hidden[0].place}"
                remedy = f"rename {_relative_path(first.path)} unless this is intended"
                yield DoctorFinding(kind, "warn", message, remedy)


def _find_files(kind: str, name: str) -> list[NamedFile]:
    """Find every file of a name, in order of precedence."""
    folder, pattern = resources.KINDS[kind]
    below = Path(folder) / pattern.replace("*", name)
    files: dict[Path, NamedFile] = {}
    for root in resources.search_roots():
        path = root / below
        if path.is_file():
            files.setdefault(path.resolve(), NamedFile(_place_name(root), path))
    return list(files.values())


def _place_name(root: Path) -> str:
    # A checkout that is also the working folder is called the checkout.
    package_roots = (
        resources.PACKAGE_DIR / "_assets",
        resources.PACKAGE_DIR.parent,
        resources.PACKAGE_DIR,
    )
    if root.resolve() not in [path.resolve() for path in package_roots]:
        return "working folder"
    return "wheel" if package_roots[0].is_dir() else "checkout"


def _relative_path(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _check_disk(folder: Path) -> Iterator[DoctorFinding]:
    """Check free space and permissions of the nearest existing folder."""
    # A new output folder does not exist yet.
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as e:
        message = f"`{existing}` cannot be written ({(e.strerror or str(e)).lower()})"
        yield DoctorFinding(
            "output", "fail", message, "change its permissions or choose another `--output`"
        )
    else:
        yield DoctorFinding("output", "ok", f"{folder} can be written")
    free = shutil.disk_usage(existing).free
    state = "fail" if free < MIN_DISK_BYTES else "warn" if free < LOW_DISK_BYTES else "ok"
    remedy = "" if state == "ok" else "make room or choose another `--output`"
    yield DoctorFinding("disk", state, f"{free / GIB:.1f} GiB free", remedy)


def _check_git() -> Iterator[DoctorFinding]:
    remedies = {
        "git": "install git, to version datasets",
        "git-lfs": "install git-lfs (apt-get install git-lfs), to version datasets",
    }
    for program, remedy in remedies.items():
        if shutil.which(program) is None:
            yield DoctorFinding(program, "warn", "not installed", remedy)
            continue
        result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        yield DoctorFinding(program, "ok", result.stdout.strip().split("\n")[0] or "installed")


def _check_quarantine(settings: QuarantineSettings) -> DoctorFinding:
    if describe_missing_key(settings.key_env) is None:
        return DoctorFinding("key", "ok", f"`{settings.key_env}` is set")
    message = f"`{settings.key_env}` is not set, so drafts about whose harm the judges disagree are deleted"
    return DoctorFinding("key", "warn", message, f"export {settings.key_env}=…")


def _list_teachers(inputs: ResolvedRecipe) -> Iterator[tuple[str, PluginRef]]:
    """List each distinct teacher under the names of its roles."""
    roles_of: list[tuple[PluginRef, list[str]]] = []
    for role, ref in list_roles(inputs.recipe):
        names = next((names for known, names in roles_of if known == ref), None)
        if names is None:
            roles_of.append((ref, [role]))
        elif role not in names:
            names.append(role)
    for ref, names in roles_of:
        yield f"{', '.join(names)}: {ref.use}", ref


@runtime_checkable
class Probed(Protocol):
    """A teacher that can check its endpoint."""

    async def probe(self) -> list[DoctorFinding]:
        """Send a few short requests and report findings with remedies."""
        ...


async def _check_teacher(ref: PluginRef, inputs: ResolvedRecipe) -> list[DoctorFinding]:
    """Build a teacher as a run does and probe its endpoint."""
    findings: list[DoctorFinding] = []
    # Without its unset secrets the endpoint can still be probed.
    params, unset = split_unset_variables(ref.params)
    findings += [
        DoctorFinding("key", "fail", f"`{variable}` is not set", f"export {variable}=…")
        for variable in unset
    ]
    if params.get("api_key_env"):
        findings.append(DoctorFinding("key", "ok", f"`{params['api_key_env']}` is set"))
    try:
        teacher = make_teacher(inputs, PluginRef(use=ref.use, params=params))
    except UserError as e:
        return [*findings, DoctorFinding("teacher", "fail", str(e), "correct it in the recipe")]
    if not isinstance(teacher, Probed):
        return [*findings, DoctorFinding("teacher", "ok", "no endpoint to check")]
    return findings + await teacher.probe()
