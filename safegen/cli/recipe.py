"""Commands that prepare a run: preview, init, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import (
    JsonOption,
    OutputOption,
    PluginsOption,
    RecipeArg,
    RevealOption,
    list_choices,
)
from safegen.pipeline import file_schemas


def preview(
    recipe: RecipeArg = "starter",
    sets: Annotated[
        int, typer.Option("--sets", "-n", min=1, max=100, metavar="N", help="Number of sets.")
    ] = 3,
    reveal: RevealOption = False,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Generate a few sets and show them; keep nothing."""
    from safegen.cli import preview as preview_command

    raise typer.Exit(
        preview_command.show_preview(
            recipe, sets=sets, reveal=reveal, plugins=plugin or [], json=json
        )
    )


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Path of the recipe; default recipe.yaml if nothing else is requested.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Base URL of the drafter, such as http://host:8000/v1."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Model of the drafter, by the endpoint's name."),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VAR", help="Environment variable that holds the API key, such as MY_API_KEY."
        ),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A second model, which judges the drafts."),
    ] = None,
    judge_endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Base URL of the judge; default that of the drafter."),
    ] = None,
    judge_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VAR",
            help="Variable with the judge's API key; at one endpoint default that of the drafter.",
        ),
    ] = None,
    taxonomy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write a taxonomy template to taxonomies/NAME."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write a policy spec template."),
    ] = None,
    data_repo: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Prepare a git-lfs repository for datasets."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a commented recipe, a template or a data repository."""
    from safegen.cli import init as init_command

    options = init_command.InitOptions(
        file=file,
        endpoint=endpoint,
        model=model,
        key_env=key_env,
        judge_endpoint=judge_endpoint,
        judge_model=judge_model,
        judge_key_env=judge_key_env,
        taxonomy=taxonomy,
        policy=policy,
        data_repo=data_repo,
    )
    init_command.init_files(options, force=force)


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help=list_choices(file_schemas.KINDS, default="a list of the kinds"),
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the schema to this folder; all kinds if KIND is missing.",
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a file kind, for editors."""
    from safegen.cli import schema as schema_command

    schema_command.show_schemas(kind, output=output)


def doctor(
    recipe: RecipeArg = "starter",
    output: OutputOption = None,
    plugin: PluginsOption = None,
    json: JsonOption = False,
) -> None:
    """Check packages, files, disk, git and endpoints for a recipe."""
    from safegen.cli import doctor as doctor_command

    raise typer.Exit(
        doctor_command.run_doctor(recipe, output=output, plugins=plugin or [], json=json)
    )


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (preview, init, schema, doctor):
        app.command()(command)
