"""A git repository for datasets: Parquet in git-lfs, no run folders, readable diffs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from safegen.cli.render.tables import write_file
from safegen.core.errors import UserError
from safegen.dataset.layout import GITATTRIBUTES

TEXTCONV = "-m safegen.dataset.rows"
GITIGNORE = "run/\n.building/\n"
README = """\
# Datasets

Each folder is a dataset that safegen generated. git-lfs stores the Parquet files. `.gitignore` excludes the run folders (`run/`).

```sh
safegen generate ../recipe.yaml -o NAME      # generate a dataset, or a new version of it
git add -A && git commit -m "NAME 0.1.0"     # the version is the recipe's
safegen verify NAME                          # check it, here or in a clone
```

A clone without the files (`GIT_LFS_SKIP_SMUDGE=1 git clone …`) contains pointers. `safegen verify` lists them and `git lfs pull` fetches the files.

To see rows in `git diff`, run this once in each clone (datasets mark Parquet `diff=lfs`):

```sh
git config diff.lfs.textconv "python {textconv}"
```
"""


def prepare_repo(folder: Path, *, force: bool) -> None:
    """Initialise a git repository with git-lfs; an existing one keeps its history.

    Raises:
        UserError: git or git-lfs is missing or fails, or a file exists.
    """
    for program, remedy in (("git", "git"), ("git-lfs", "git-lfs (apt-get install git-lfs)")):
        if shutil.which(program) is None:
            raise UserError(f"`{program}` is not installed; install {remedy} and run it again")
    files = {
        ".gitattributes": GITATTRIBUTES,
        ".gitignore": GITIGNORE,
        "README.md": README.format(textconv=TEXTCONV),
    }
    for name in files if not force else ():
        if (folder / name).exists():
            raise UserError(
                f"`{folder / name}` exists; choose another folder or overwrite it with `--force`"
            )
    for name, text in files.items():
        write_file(folder / name, text, force=force)
    _init_git(folder, "init", "--quiet")
    _init_git(folder, "lfs", "install", "--local")
    # git smudges a pointer into its file before it calls textconv.
    _init_git(folder, "config", "diff.lfs.textconv", f"{shlex.quote(sys.executable)} {TEXTCONV}")


def _init_git(folder: Path, *arguments: str) -> None:
    result = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode:
        message = " ".join((result.stderr or result.stdout).split())[:300]
        raise UserError(f"`git {' '.join(arguments)}` failed in `{folder}`: {message}")
