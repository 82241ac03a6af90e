"""Lookup of files by name: explicit path, then the working folder, then the wheel or the checkout.

A name never leads out of the folder that is searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from safegen.core.errors import AssetNotFound
from safegen.core.suggestions import suggest_names

PACKAGE_DIR = Path(__file__).parent.parent
ABOUT_LINES = 20
KINDS = {
    "taxonomies": ("taxonomies", "*/taxonomy.yaml"),
    "axes": ("taxonomies", "*.yaml"),
    "policies": ("prompts/policies", "*.yaml"),
    "prompts": ("prompts", "*.j2"),
    "locales": ("prompts/locales", "*.yaml"),
    "contacts": ("prompts/locales/contacts", "*.yaml"),
    "scripts": ("prompts/scripts", "*.yaml"),
    "traps": ("prompts/traps", "*.yaml"),
    "recipes": ("recipes", "*.yaml"),
}


def search_roots() -> list[Path]:
    """List the folders that are searched; the first match wins: working folder, wheel, checkout."""
    # A file of the user comes first, so that a copy with changes replaces a built-in one.
    return [Path.cwd(), PACKAGE_DIR / "_assets", PACKAGE_DIR.parent, PACKAGE_DIR]


def find_file(kind: str, name: str) -> Path:
    """Find the file of a kind by name.

    Args:
        kind: a key of `KINDS`.
        name: a bare name (`core`), or a path that ends in the kind's suffix.

    Raises:
        AssetNotFound: no such file; the message lists the known names.
    """
    folder, pattern = KINDS[kind]
    suffix = pattern[1:].replace("/taxonomy.yaml", "")
    if name.endswith((".yaml", ".yml", ".j2")):
        path = Path(name)
        if _is_file(path):
            return path
        raise AssetNotFound(f"no file `{name[:200]}`{_working_folder_hint(path)}")
    if is_bare_name(name):
        file = pattern.replace("*", name)
        for root in search_roots():
            path = root / folder / file
            if _is_file(path):
                return path
    if "/" in name or "\\" in name:
        raise AssetNotFound(_describe_path(name))
    known = list_names(kind)
    hint = suggest_names(name, known) or f"; known: {', '.join(known)}"
    raise AssetNotFound(
        f"no {folder}/{name[:60]}{suffix} in the working folder or in safegen{hint}"
    )


def list_names(kind: str) -> list[str]:
    """List every name of a kind, sorted."""
    folder, pattern = KINDS[kind]
    names: set[str] = set()
    for root in search_roots():
        for path in sorted((root / folder).glob(pattern)):
            names.add(path.parent.name if path.name == "taxonomy.yaml" else path.stem)
    return sorted(names)


def is_bare_name(name: str) -> bool:
    """Return True for letters, digits, `-`, `_` and inner dots: nothing that changes the folder."""
    return bool(name) and all(c.isalnum() or c in "-_." for c in name) and not name.startswith(".")


def resolve_inside(folder: Path, relative: str) -> Path:
    """Resolve a path below a folder.

    Raises:
        AssetNotFound: the path is absolute, leads out of the folder (also by a link), or is missing.
    """
    path = folder / relative
    try:
        within = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # circular links, or a name that no disk accepts
        within = False
    if Path(relative).is_absolute() or not within:
        raise AssetNotFound(f"`{relative[:200]}` leaves the folder `{folder}`; keep it inside")
    if not _is_file(path):
        raise AssetNotFound(f"no file `{path}`")
    return path


def _describe_path(name: str) -> str:
    """Explain why a path is not read: it is no name, and it does not end in `.yaml`."""
    try:
        problem = "is a folder" if Path(name).is_dir() else "does not end in `.yaml`"
    except (OSError, ValueError):  # a name that no disk accepts
        problem = "does not end in `.yaml`"
    return f"`{name[:200]}` {problem}; name a `.yaml` file, or a built-in one without `/`"


def _working_folder_hint(path: Path) -> str:
    return (
        "" if path.is_absolute() else f"; paths are relative to the working folder, `{Path.cwd()}`"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no disk accepts
        return False


def require_known(name: str, known: Sequence[str], *, kind: str) -> str:
    """Return the name if it is known.

    Raises:
        AssetNotFound: the name is unknown; the message suggests the nearest known one.
    """
    if name in known:
        return name
    raise AssetNotFound(f"no {kind} `{name[:60]}`{suggest_names(name, known)}")


def describe(kind: str, name: str) -> str:
    """Return a short description of a file: its `title`, or its first comment; empty without either."""
    opening: list[str] = []
    try:
        with find_file(kind, name).open(encoding="utf-8", errors="replace") as file:
            # `list` shows every file, so only the start of each is read.
            for line in islice(file, ABOUT_LINES):
                if line.startswith("title:"):
                    return line.removeprefix("title:").strip().strip("\"'")
                if not opening and line.startswith(("#", "{#")):
                    opening.append(line.strip("{#} \n"))
    except OSError:
        return ""
    return opening[0].split(". ")[0] if opening else ""
