"""Hashes of a dataset folder and of outputs, without parts that depend on time or machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SPENT = frozenset({"observed", "accounting", "seconds"})
"""JSON keys whose values depend on the clock, or on the cache of the run."""
WRITER = frozenset({"writer", "sha256", "bytes"})
"""Manifest keys that depend on the version of the Parquet writer."""


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def dumped(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"


def without(value: Any, keys: frozenset[str]) -> Any:
    """Return the JSON value without these keys at any depth."""
    if isinstance(value, dict):
        return {k: without(v, keys) for k, v in value.items() if k not in keys}
    if isinstance(value, list):
        return [without(v, keys) for v in value]
    return value


def files_below(folder: Path, *tops: str) -> dict[str, Path]:
    """Return files below these subfolders, sorted by relative path."""
    paths = [p for top in tops for p in sorted((folder / top).rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): p for p in paths}


def manifest(folder: Path, *, drop: frozenset[str] = SPENT) -> dict[str, Any]:
    return without(json.loads((folder / "manifest.json").read_text(encoding="utf-8")), drop)


def dataset(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a dataset: data, policies, card and manifest."""
    digests = {
        k: sha256(p.read_bytes()) for k, p in files_below(folder, "data", "policies").items()
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    return digests | {"README.md": sha256(card), "manifest.json": sha256(dumped(manifest(folder)))}


def contents(folder: Path) -> dict[str, str]:
    """Return hashes of rows and types, which do not depend on the version of the Parquet writer."""
    rows = {name: sha256(dumped(columns(p))) for name, p in files_below(folder, "data").items()}
    plain = manifest(folder, drop=SPENT | WRITER)
    return dataset(folder) | rows | {"manifest.json": sha256(dumped(plain))}


def columns(path: Path) -> dict[str, str]:
    """Return the SHA-256 of type and values of each column of a Parquet file."""
    table = pq.read_table(path)
    return {
        name: sha256(f"{table.schema.field(name).type}\n{dumped(table[name].to_pylist())}")
        for name in table.column_names
    }


def starter(
    content: Mapping[str, str], data: Mapping[str, str], *, stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of `golden/starter.json`.

    The bytes of Parquet files depend on the version of pyarrow. With another version than the stored
    one, the stored hashes of bytes are repeated, so that only the content is compared.

    Args:
        content: result of `contents`.
        data: result of `dataset`.
        stored: the file as it is, or nothing to write it.
    """
    version = stored.get("pyarrow", pa.__version__)
    same = version == pa.__version__
    return {
        "bytes": dict(data) if same else stored["bytes"],
        "content": content,
        "pyarrow": version,
    }


NUMBERS: tuple[tuple[str, str], ...] = (
    (r"(?m)^.*requests/min.*\n", ""),  # progress lines: how many there are depends on the clock
    (r"\b\d+:\d\d(?::\d\d)?\b", "<time>"),
    (r"\b\d+(?:\.\d+)? ?(?:ms|s|seconds?|minutes?)\b", "<time>"),
    (r"\b\d+(?:\.\d+)? (?:[kMGT]i?B)\b", "<size>"),
)


def normaliser(*paths: tuple[Path, str]) -> Callable[[str], str]:
    """Return a function that replaces paths, times and sizes in a text by names."""
    known = [(str(path), name) for path, name in paths]

    def normalise(text: str) -> str:
        for path, name in known:
            text = text.replace(path, name)
        for pattern, name in NUMBERS:
            text = re.sub(pattern, name, text)
        return text

    return normalise
