"""Commands, exit codes and the one place that turns an error into a message.

Data goes to stdout, everything else to stderr. Exit 0 done, 1 the run stopped (or lost items under
`--strict`), 2 the input is wrong, 130 interrupted.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from safegen.api import Until

app = typer.Typer(
    name="safegen",
    help="Training data for safe-completions: a recipe in, a Parquet dataset out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
INTERRUPTED = 130
RecipeArg = Annotated[str, typer.Argument(help="A recipe file, or the name of a built-in recipe.")]
FolderArg = Annotated[Path, typer.Argument(help="A run's output folder, such as outputs/starter.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for run and dataset; default the recipe's."),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A module of yours that the recipe may name as module:factory."),
]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show prompts and answers, not only ids.")]


@app.command()
def generate(
    recipe: RecipeArg = "starter",
    output: Output = None,
    until: Annotated[
        str | None, typer.Option(help="Stop early after: expand, draft or validate.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="Exit 1 when any item was lost.")] = False,
    replan: Annotated[
        bool, typer.Option(help="Plan anew from a changed recipe; paid replies are kept.")
    ] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Do the whole job; the same command resumes."""
    from safegen.cli import work

    raise typer.Exit(
        work.generate(
            recipe,
            output=output,
            until=_until(until),
            strict=strict,
            replan=replan,
            plugins=plugin or [],
            json=json,
        )
    )


@app.command()
def check(recipe: RecipeArg = "starter", plugin: Plugins = None, json: Json = False) -> None:
    """Read everything that a recipe names and say what it would do; no model is called."""
    from safegen.cli import look

    look.check(recipe, plugins=plugin or [], json=json)


@app.command()
def build(
    folder: FolderArg,
    recipe: Annotated[str | None, typer.Option(help="Cut by this recipe.")] = None,
    json: Json = False,
) -> None:
    """Cut the views again from the records on disk; no model is called."""
    from safegen.cli import work

    work.build(folder, recipe=recipe, json=json)


@app.command()
def show(
    folder: FolderArg,
    id: Annotated[
        str | None, typer.Argument(help="Start of a scenario, draft, set or goal id.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Records at most.")] = 5,
    reveal: Reveal = False,
    json: Json = False,
) -> None:
    """Show records: what was expected, what came, what was found."""
    from safegen.cli import look

    look.show(folder, id, limit=limit, reveal=reveal, json=json)


@app.command()
def verify(folder: FolderArg, json: Json = False) -> None:
    """Prove a dataset folder: hashes, schema, splits, git-lfs pointers."""
    from safegen.cli import look

    raise typer.Exit(look.verify(folder, json=json))


@app.command()
def retry(folder: FolderArg, plugin: Plugins = None, json: Json = False) -> None:
    """Ask anew for the items that were lost, then build."""
    from safegen.cli import work

    raise typer.Exit(work.retry(folder, plugins=plugin or [], json=json))


@app.command()
def status(folder: FolderArg, json: Json = False) -> None:
    """Say how far a run is, what it lost and what it spent."""
    from safegen.cli import look

    look.status(folder, json=json)


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(help="recipes, taxonomies, policies, …; default all.")
    ] = None,
    json: Json = False,
) -> None:
    """List what a recipe can name."""
    from safegen.cli import look

    look.list_(kind, json=json)


def _until(value: str | None) -> Until | None:
    from safegen.errors import UserError

    if value not in (None, "expand", "draft", "validate"):
        raise UserError(f"--until is `{value}`; choose expand, draft or validate")
    return value


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every model call.")] = False,
) -> None:
    if version:
        from safegen import __version__

        typer.echo(__version__)
        raise typer.Exit
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(name)s: %(message)s")
    # The SDK's own debug lines hold prompts.
    for noisy in ("openai", "httpx2", "httpcore2", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def main() -> None:
    """Run the command line; the only place that sees every error."""
    _open_streams()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as e:
        code = e.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        code = _leave_stdout()
    except SystemExit as e:  # the command line's library ends like this when a pipe is closed
        code = _leave_stdout() if isinstance(e.__context__, BrokenPipeError) else e.code
    except Exception as e:  # noqa: BLE001 (the edge of the program: a user sees a message, never a traceback)
        code = _report(e)
    if code == INTERRUPTED:
        _say("interrupted; the same command goes on where it stopped")
    sys.exit(code or 0)


def _open_streams() -> None:
    """Let every character be written, and a stream that the caller closed swallow what it gets."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (until the end)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_stdout() -> int:
    """Nobody reads on: what is done is done, and Python's last flush must not complain."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    os.dup2(sys.stdout.fileno(), 1)
    return 0


def _report(e: Exception) -> int:
    from safegen.errors import RunError, SafegenError

    if isinstance(e, SafegenError):
        _say(f"error: {e}")
        return 1 if isinstance(e, RunError) else 2
    if hasattr(e, "format_message"):
        _say(f"error: {e.format_message()}")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] (click)
        return 2
    if isinstance(e, OSError):
        what = f"`{e.filename}`" if e.filename else "the system"
        _say(f"error: {what}: {(e.strerror or str(e)).lower()}; mend that and run again")
        return 1
    logging.getLogger("safegen").debug("bug", exc_info=e)
    _say(
        f"error: a bug in safegen ({type(e).__name__}: {e}); run again with --verbose and report it"
    )
    return 1


def _say(text: str) -> None:
    clean = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    sys.stderr.write(f"safegen: {clean}\n")


if __name__ == "__main__":
    main()
