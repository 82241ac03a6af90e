"""`safegen policy`: check, explain, show, diff and import policy specs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Check, explain, compare and import policy specs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="One JSON object per line on stdout.")
]
TaxonomyOption = Annotated[
    str, typer.Option("--taxonomy", help="The taxonomy whose leaves and tiers count.")
]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="A run's output folder, such as outputs/starter.")
]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option("--policy", help="A spec to ask, by name or path; default those that are known."),
]


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Specs by name or path; default all, with coverage.")
    ] = None,
    taxonomy: TaxonomyOption = "core",
    json: JsonLinesOption = False,
) -> None:
    """Run the specs' own cases and the lints; exit 2 when more is found than warnings."""
    from safegen.cli import policy_check

    raise typer.Exit(policy_check.check_policies(names or [], taxonomy=taxonomy, json=json))


@app.command()
def explain(
    scenario: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO...",
            help="Start of a scenario id (with --run), or a situation such as"
            " cyber.intrusion evidence=none profile=public detail=3, with spaces or commas.",
        ),
    ],
    run: RunOption = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe whose `policies` and `taxonomy` decide.")
    ] = None,
    policy: PolicyOption = None,
    taxonomy: Annotated[
        str | None,
        typer.Option("--taxonomy", help="The taxonomy whose leaves and tiers count; default core."),
    ] = None,
    json: JsonLinesOption = False,
) -> None:
    """Say what is expected, which clause decided, why not an earlier one, and what would change it."""
    from safegen.cli import policy_explain

    query = ",".join(scenario)
    policy_explain.show_explanation(
        query, run=run, recipe=recipe, policies=policy or [], taxonomy=taxonomy, json=json
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A spec by name or path.")],
    as_: Annotated[
        str, typer.Option("--as", help="rules, instructions, rubric or classifier.")
    ] = "rules",
    at: Annotated[
        str | None,
        typer.Option(help="The situation of instructions and rubric; default a leaf at detail 3."),
    ] = None,
    taxonomy: TaxonomyOption = "core",
    json: JsonLinesOption = False,
) -> None:
    """Print a spec's rules, or what it compiles to."""
    from safegen.cli import policy_check

    policy_check.show_policy(name, as_=as_, at=at, taxonomy=taxonomy, json=json)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="A spec by name or path: before.")],
    new: Annotated[str, typer.Argument(help="A spec by name or path: after.")],
    run: RunOption = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="Name the scenarios of --run that change.")
    ] = False,
    json: JsonLinesOption = False,
) -> None:
    """List what changes from one spec to another and, with --run, which rows to do again."""
    from safegen.cli import policy_diff

    policy_diff.show_diff(old, new, run=run, ids=ids, json=json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A policy file of IBM fms-dgt.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the spec goes.")],
    taxonomy_output: Annotated[
        Path | None, typer.Option(help="Where a taxonomy of the file's risks goes.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Write over files that are there.")] = False,
    json: JsonLinesOption = False,
) -> None:
    """Write a foreign policy file as a spec, and report what could not be carried over."""
    from safegen.cli import policy_diff

    policy_diff.import_policy(file, output, taxonomy_output=taxonomy_output, force=force, json=json)
