"""Commands, exit codes and the only `except Exception` of the package.

Data goes to stdout, everything else to stderr. Exit codes: 0 done; 1 the run stopped, a check failed,
the dataset has no rows, a yield is below `--min-yield`, or items failed under `--strict`; 2 the input is wrong; 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import sys
from itertools import takewhile
from typing import Annotated

import typer

from safegen.cli import (
    answers,
    judge as judge_commands,
    log,
    policy,
    quarantine,
    recipe as recipe_commands,
    taxonomy,
)
from safegen.cli.options import (
    INTERRUPTED,
    ColumnsOption,
    DropAnswerOption,
    FolderArg,
    JsonOption,
    LicenceOption,
    MinYieldOption,
    MoreFilesArg,
    OutputOption,
    PluginsOption,
    PromptsOption,
    RecipeArg,
    RevealOption,
    SkipUnreadableOption,
    list_choices,
)
from safegen.cli.render import errors
from safegen.core import plugins, resources
from safegen.core.errors import UserError
from safegen.core.spelling import SpellingConflict, unify_names
from safegen.core.types import Intent, Mode, Until
from safegen.dataset.run_stats import REJECTION_AXES

app = typer.Typer(
    name="safegen",
    help="Make training data for safe completions: a recipe in, a Parquet dataset out.",
    epilog="Try `safegen generate`: it writes the built-in starter dataset and needs no key and no network.",
    add_completion=False,
    # Typer's tracebacks show local variables, which may hold keys and prompts.
    pretty_exceptions_enable=False,
    # Help texts contain square brackets, which markup would swallow.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(policy.app, name="policy")
app.add_typer(taxonomy.app, name="taxonomy")
app.add_typer(quarantine.app, name="quarantine")
EXAMPLES = """\b
Examples:
  safegen generate                       the built-in starter recipe, no key, no network
  safegen generate recipe.yaml           your recipe; the same command resumes
  safegen generate recipe.yaml -o out    write to another folder
  safegen generate --until expand        plan only
  safegen generate recipe.yaml --json    print the result as one JSON object
  safegen generate recipe.yaml --prompts mine.csv --column prompt=text --licence MIT
                                         use your prompts instead of the taxonomy's

\b
Exit codes: 0 done, 1 the run stopped, the dataset has no rows or a yield is
below --min-yield (or items failed, with --strict), 2 the input is wrong, 130
interrupted.
"""


@app.command(epilog=EXAMPLES)
def generate(
    recipe: RecipeArg = "starter",
    more: MoreFilesArg = None,
    output: OutputOption = None,
    until: Annotated[
        Until | None,
        typer.Option(help="Stop after the plan, the drafts or the verdicts."),
    ] = None,
    prompts: PromptsOption = None,
    column: ColumnsOption = None,
    licence: LicenceOption = None,
    drop_answer: DropAnswerOption = False,
    skip_unreadable: SkipUnreadableOption = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit 1 if an item failed or a row was not labelled."),
    ] = False,
    replan: Annotated[
        bool,
        typer.Option(
            "--replan",
            help="Plan again from a changed recipe; cached replies to equal requests are reused.",
        ),
    ] = False,
    min_yield: MinYieldOption = "rows",
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Plan, draft, validate and build; the same command resumes."""
    from safegen.cli import generate as generate_command

    raise typer.Exit(
        generate_command.run_generate(
            recipe,
            output=output,
            until=until,
            strict=strict,
            replan=replan,
            min_yield=generate_command.read_min_yield(min_yield),
            plugins=plugin or [],
            json=json,
            prompts=generate_command.read_prompt_options(
                prompts or [],
                more or [],
                columns=column or [],
                licence=licence,
                drop_answer=drop_answer,
                skip_unreadable=skip_unreadable,
            ),
        )
    )


@app.command()
def check(
    recipe: RecipeArg = "starter",
    more: MoreFilesArg = None,
    output: OutputOption = None,
    prompts: PromptsOption = None,
    column: ColumnsOption = None,
    licence: LicenceOption = None,
    drop_answer: DropAnswerOption = False,
    skip_unreadable: SkipUnreadableOption = False,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Dry-run a recipe: validate it and estimate calls and tokens."""
    from safegen.cli import check as check_command, check_prompts, generate as generate_command

    user_prompts = generate_command.read_prompt_options(
        prompts or [],
        more or [],
        columns=column or [],
        licence=licence,
        drop_answer=drop_answer,
        skip_unreadable=skip_unreadable,
    )
    if user_prompts is not None:
        check_prompts.check(recipe, user_prompts, output=output, plugins=plugin or [], json=json)
        return
    check_command.check_recipe(recipe, output=output, plugins=plugin or [], json=json)


@app.command()
def build(
    folder: FolderArg,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE", help="Use the views, split, name and version of this recipe."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Accept drafts again with another key of acceptance, such as require or"
            " validators.NAME.threshold; repeatable.",
        ),
    ] = None,
    min_yield: MinYieldOption = "rows",
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Rebuild the dataset from the records on disk."""
    from safegen.cli import generate as generate_command

    raise typer.Exit(
        generate_command.run_build(
            folder,
            recipe=recipe,
            overrides=generate_command.read_overrides(set_ or []),
            min_yield=generate_command.read_min_yield(min_yield),
            plugins=plugin or [],
            json=json,
        )
    )


@app.command()
def show(
    folder: FolderArg,
    id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Start of a scenario, draft, set or goal id."),
    ] = None,
    accepted: Annotated[bool, typer.Option("--accepted", help="Accepted drafts only.")] = False,
    rejected: Annotated[
        bool,
        typer.Option(
            "--rejected",
            help="Rejected drafts only; failed requests are listed by --reason OUTCOME.",
        ),
    ] = False,
    mode: Annotated[
        Mode | None,
        typer.Option(help="Expected mode."),
    ] = None,
    intent: Annotated[
        Intent | None,
        typer.Option(help="Intent of the prompt."),
    ] = None,
    harm: Annotated[
        str | None,
        typer.Option(metavar="HARM", help="A leaf such as cyber.intrusion, or a domain."),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Reason: a validator, an outcome, a gate, a curation reason or the code of a verdict.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS",
            help="With --rejected: count drafts by reason and an axis instead of showing them."
            f" {list_choices(REJECTION_AXES)}",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="Show at most N records.")
    ] = 5,
    reveal: RevealOption = False,
    why: Annotated[
        bool,
        typer.Option("--why", help="Name the rule that decided and what would change the result."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show records: prompt, expectation, draft and verdicts."""
    from safegen.cli import show as show_command
    from safegen.cli.record_filter import RecordFilter, read_result

    record_filter = RecordFilter(
        id, read_result(accepted=accepted, rejected=rejected), mode, intent, harm, reason
    )
    if by is not None:
        show_command.show_rejections(folder, record_filter, by=by, json=json)
        return
    show_command.show_records(folder, record_filter, limit=limit, reveal=reveal, why=why, json=json)


@app.command()
def coverage(
    folder: FolderArg,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="AXES", help="Axes of the table, separated by commas; default harm,intent."
        ),
    ] = None,
    heat: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS,AXIS", help="Draw a heat map of two axes; add --by to keep the table."
        ),
    ] = None,
    certificate: Annotated[
        bool,
        typer.Option(
            "--certificate", help="Count axis combinations in the plan and after filtering."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show planned, answered, accepted, kept and missing scenarios."""
    from safegen.cli import coverage as coverage_command

    coverage_command.show_coverage(folder, by=by, heat=heat, certificate=certificate, json=json)


@app.command()
def verify(folder: FolderArg, plugin: PluginsOption = None, json: JsonOption = False) -> None:
    """Check a dataset's files and rows against manifest and run."""
    from safegen.cli import status as status_command

    raise typer.Exit(status_command.verify_dataset(folder, plugins=plugin or [], json=json))


@app.command()
def retry(folder: FolderArg, plugin: PluginsOption = None, json: JsonOption = False) -> None:
    """Retry failed requests, then rebuild the dataset."""
    from safegen.cli import generate as generate_command

    raise typer.Exit(generate_command.run_retry(folder, plugins=plugin or [], json=json))


@app.command()
def status(folder: FolderArg, json: JsonOption = False) -> None:
    """Show progress, failures and cost of a run."""
    from safegen.cli import status as status_command

    status_command.show_status(folder, json=json)


@app.command("list")
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help=list_choices([*resources.KINDS, *plugins.KINDS], default="all"),
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the names that a recipe can use."""
    from safegen.cli import check as check_command

    check_command.list_names(kind, json=json)


recipe_commands.add_commands(app)
judge_commands.add_commands(app)
answers.add_commands(app)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Log every model call: ids, never texts; show the traceback of a bug.",
        ),
    ] = False,
) -> None:
    if version:
        from safegen.core.version import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit
    log.configure_logging(verbose=verbose)


def main() -> None:
    """Run the command line and exit with its code."""
    # Rows are many small objects without cycles. Python's default of 700 costs 7 % of a run's CPU.
    gc.set_threshold(50_000)
    # pyarrow's own allocator keeps freed memory: 60 MiB of a run of 5,000 rows.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    sys.exit(run_command(sys.argv[1:]))


def _refuse_both_spellings(arguments: list[str]) -> None:
    # The two names of an option are one option for click, which would use the last value.
    options = takewhile(lambda argument: argument != "--", arguments)
    names = (option.partition("=")[0] for option in options if option.startswith("--"))
    try:
        unify_names(names)
    except SpellingConflict as e:
        raise UserError(str(e)) from e


def run_command(arguments: list[str]) -> int:
    """Run one command, report any error, and return the exit code."""
    errors.open_streams()
    try:
        _refuse_both_spellings(arguments)
        code = app(arguments, prog_name="safegen", standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as e:
        code = e.exit_code
    except (KeyboardInterrupt, typer.Abort):
        errors.print_message("interrupted; the same command resumes")
        code = INTERRUPTED
    except BrokenPipeError:
        code = errors.discard_stdout()
    except SystemExit as e:
        # click exits with 1 if stdout is closed, but `safegen … | head` is no failure.
        is_pipe_closed = isinstance(e.__context__, BrokenPipeError)
        exit_code = e.code if isinstance(e.code, int) else int(bool(e.code))
        code = errors.discard_stdout() if is_pipe_closed else exit_code
    except Exception as e:  # noqa: BLE001 (users get a message, not a traceback)
        code = errors.report_error(e, json="--json" in arguments)
    errors.flush_stdout()
    return int(code or 0)
