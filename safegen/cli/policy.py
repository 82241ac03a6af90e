"""`safegen policy`: check, explain, show, diff and import policy specs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safegen.cli.options import POLICY_FORMS, list_choices

app = typer.Typer(
    help="Check, explain, compare and import policy specs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, one object per line.")
]
TaxonomyOption = Annotated[
    str,
    typer.Option("--taxonomy", metavar="NAME", help="Taxonomy that defines leaves and tiers."),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="FOLDER", help="Output folder of a run, such as outputs/starter."
    ),
]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy", metavar="NAME", help="A spec to use, by name or path; default all known specs."
    ),
]


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Specs by name or path; default all, with coverage."
        ),
    ] = None,
    taxonomy: TaxonomyOption = "core",
    json: JsonLinesOption = False,
) -> None:
    """Run the cases and lints of specs; exit 2 for any finding except warnings."""
    from safegen.cli import policy_check

    raise typer.Exit(policy_check.check_policies(names or [], taxonomy=taxonomy, json=json))


@app.command()
def explain(
    scenario: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO...",
            help="Start of a scenario id (with --run), or a situation: a leaf with conditions,"
            " such as cyber.intrusion,profile=public,detail=3.",
        ),
    ],
    run: RunOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A recipe whose `policies` and `taxonomy` decide."),
    ] = None,
    policy: PolicyOption = None,
    taxonomy: Annotated[
        str | None,
        typer.Option(
            "--taxonomy",
            metavar="NAME",
            help="Taxonomy that defines leaves and tiers; default core.",
        ),
    ] = None,
    json: JsonLinesOption = False,
) -> None:
    """Show the expectation, the rule that decides, and what would change it."""
    from safegen.cli import policy_explain

    query = ",".join(scenario)
    policy_explain.show_explanation(
        query, run=run, recipe=recipe, policies=policy or [], taxonomy=taxonomy, json=json
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A spec by name or path.")],
    as_: Annotated[
        str,
        typer.Option("--as", metavar="FORM", help=list_choices(POLICY_FORMS)),
    ] = "rules",
    at: Annotated[
        str | None,
        typer.Option(
            metavar="SITUATION",
            help="Situation for instructions and rubric, default a leaf at detail 3; for a classifier"
            " a profile, such as profile=minors.",
        ),
    ] = None,
    taxonomy: TaxonomyOption = "core",
    json: JsonLinesOption = False,
) -> None:
    """Print a spec's rules, or what it compiles to."""
    from safegen.cli import policy_check

    policy_check.show_policy(name, as_=as_, at=at, taxonomy=taxonomy, json=json)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="The old spec, by name or path.")],
    new: Annotated[str, typer.Argument(help="The new spec, by name or path.")],
    run: RunOption = None,
    ids: Annotated[
        bool, typer.Option("--ids", help="List the scenarios of --run that change.")
    ] = False,
    json: JsonLinesOption = False,
) -> None:
    """List what changes between two specs and, with --run, which rows to redo."""
    from safegen.cli import policy_diff

    policy_diff.show_diff(old, new, run=run, ids=ids, json=json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A policy file of IBM fms-dgt.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Path of the spec.")
    ],
    taxonomy_output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Path of a taxonomy of the file's risks.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite existing files.")] = False,
    json: JsonLinesOption = False,
) -> None:
    """Convert a policy file to a spec and report what was not converted."""
    from safegen.cli import policy_diff

    policy_diff.import_policy(file, output, taxonomy_output=taxonomy_output, force=force, json=json)
