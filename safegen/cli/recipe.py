"""Commands around a recipe: preview, init, schema, doctor. `add_to` puts them among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import JsonOption, PluginsOption, RecipeArg, RevealOption


def preview(
    recipe: RecipeArg = "starter",
    sets: Annotated[
        int, typer.Option("--sets", "-n", min=1, max=100, metavar="N", help="Sets at most.")
    ] = 3,
    reveal: RevealOption = False,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Show a few sets end to end; keeps nothing."""
    from safegen.cli import preview as screen

    raise typer.Exit(
        screen.show_preview(recipe, sets=sets, reveal=reveal, plugins=plugin or [], json=json)
    )


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Where the recipe goes; default recipe.yaml, if nothing else."
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of the drafter, such as http://host:8000/v1."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its model, as the endpoint names it.")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(metavar="VAR", help="Variable that holds its key, such as MY_API_KEY."),
    ] = None,
    taxonomy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write the skeleton of a taxonomy, taxonomies/NAME."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write the skeleton of a policy spec."),
    ] = None,
    data_repo: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Prepare a git-lfs repository for datasets."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that are there.")
    ] = False,
) -> None:
    """Write a commented recipe to begin with."""
    from safegen.cli import init as starting

    wanted = starting.InitOptions(file, endpoint, model, key_env, taxonomy, policy, data_repo)
    starting.init_files(wanted, force=force)


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="One of: recipe, taxonomy, sets, dialogues, scripts, policy, locale, axes; default lists them.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write files there, of all kinds if none is named.",
        ),
    ] = None,
) -> None:
    """Print JSON Schemas for editors."""
    from safegen.cli import schema as schemas

    schemas.show_schemas(kind, output=output)


def doctor(
    recipe: RecipeArg = "starter",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for run and dataset; default the recipe's.",
        ),
    ] = None,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Check what a recipe needs here to run."""
    from safegen.cli import doctor as screen

    raise typer.Exit(screen.run_doctor(recipe, output=output, plugins=plugin or [], json=json))


def add_commands(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (preview, init, schema, doctor):
        app.command()(command)
