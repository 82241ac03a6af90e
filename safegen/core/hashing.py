"""Digests: canonical JSON in, short or full SHA-256 out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safegen.core.regular_files import open_regular

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_json(value: object) -> bytes:
    """Encode as JSON that is equal for equal values: sorted keys, no spaces, UTF-8."""
    # Imported prompts may hold lone surrogates, which plain UTF-8 rejects.
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of a value: 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def short_id(*parts: object) -> str:
    """Make an id of 16 hexadecimal digits (64 bits) from the parts that identify an item.

    At a million ids the chance of one collision is below 3e-8 (birthday bound).
    """
    return digest(list(parts))[:16]


def text_sha256(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks of 1 MiB.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    sha = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def hash_fraction(*parts: object) -> float:
    """Map parts to a number in [0, 1) that depends on nothing else."""
    # 13 hexadecimal digits are 52 bits, which a float holds exactly.
    return int(digest(list(parts))[:13], 16) / 16**13
