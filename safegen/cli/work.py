"""Commands that do work: generate, build, retry."""

from __future__ import annotations

import asyncio
import contextlib
import json as jsonlib
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safegen import api
from safegen.cli.screen import closing, watching
from safegen.errors import UserError

if TYPE_CHECKING:
    from safegen.api import Run, Until


def generate(
    recipe: str,
    *,
    output: Path | None,
    until: Until | None,
    strict: bool,
    replan: bool,
    plugins: Sequence[str],
    json: bool,
) -> int:
    """Run a recipe and say what came of it."""
    with _watch() as watch:
        run = asyncio.run(
            api.agenerate(
                recipe, output=output, until=until, replan=replan, plugins=plugins, watch=watch
            )
        )
    return _say(run, until=until, strict=strict, json=json)


def build(folder: Path, *, recipe: str | None, json: bool) -> None:
    """Cut a run's records again."""
    run = api.open_run(folder)
    inputs = api.read_inputs(api.load_recipe(recipe) if recipe else run.recipe)
    lock = api.open_folder(run.folder)
    try:
        api.freeze(run.folder, inputs, replan=False)
        report = api.build(run.folder, inputs)
    finally:
        lock.release()
    _say(api.Run(run.folder, inputs.recipe, report), until=None, strict=False, json=json)


def retry(folder: Path, *, plugins: Sequence[str], json: bool) -> int:
    """Ask anew for what was lost."""
    run = api.open_run(folder)
    if not api.ask_anew(run.folder) and api.is_finished(run.folder):
        raise UserError(f"nothing was lost in `{folder}`; there is nothing to ask anew")
    with _watch() as watch:
        again = asyncio.run(api.agenerate(run.recipe, output=folder, plugins=plugins, watch=watch))
    return _say(again, until=None, strict=False, json=json)


def _say(run: Run, *, until: Until | None, strict: bool, json: bool) -> int:
    lost = api.lost_items(run.folder)
    if json:
        sys.stdout.write(jsonlib.dumps(api.summary(run, lost)) + "\n")
    closing(run, lost, until=until)
    return 1 if strict and lost else 0


@contextlib.contextmanager
def _watch() -> Generator[api.Watch]:
    with watching(sys.stderr) as watch:
        yield watch
