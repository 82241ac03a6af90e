"""Runs many commands of safegen, each in a forked process, so that its imports are paid once.

Called by `golden_state`. Reads one JSON object a line: `args`, `cwd`, `stdout` and `stderr` (files).
Writes the exit code of each as one line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

LIGHT = "typer rich.console rich.table yaml jinja2 pydantic numpy pyarrow.parquet".split()
"""Modules that survive a fork: without threads (OPENBLAS_NUM_THREADS=1), or that handle it (pyarrow)."""


def serve(entry: str) -> None:
    """Answer requests until stdin ends.

    Args:
        entry: the console script, such as `safegen.cli.main:main`.
    """
    module, _, name = entry.partition(":")
    main = getattr(importlib.import_module(module), name)
    for light in LIGHT:
        importlib.import_module(light)
    _ = importlib.import_module("safegen").generate  # loads the library behind the public API
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(main, json.loads(line))
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _run(main: Any, request: dict[str, Any]) -> None:
    code = 70
    try:
        os.chdir(request["cwd"])
        for fd, path, mode in (
            (0, os.devnull, os.O_RDONLY),
            (1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            os.dup2(os.open(path, mode), fd)
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 (until the end)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (a descriptor)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (a descriptor)
        sys.argv = ["safegen", *request["args"]]
        main()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(bool(e.code))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
