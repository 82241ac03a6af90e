"""`python -m safegen.dataset.rows FILE`: the rows of a Parquet file as JSON lines, for `git diff`.

git calls it as a `textconv`. A git-lfs pointer without its file is printed unchanged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from safegen.store import parquet


def main(arguments: Sequence[str]) -> int:
    """Write the rows of one file to stdout and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m safegen.dataset.rows FILE\n")
        return 2
    path = Path(arguments[0])
    if parquet.is_lfs_pointer(path):
        sys.stdout.write(path.read_text(encoding="utf-8"))
        return 0
    for row in parquet.read_rows(path):
        sys.stdout.write(json.dumps(row, ensure_ascii=True, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
