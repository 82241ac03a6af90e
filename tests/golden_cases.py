"""The runs and commands whose results `golden_state` records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from safegen.testing import FakeEndpoint
from tests.golden_fakes import ROOT, Models

PORT = 18729
"""Fixed, because the address of an endpoint is part of cache keys and of the recipe's digest."""
URL = f"http://127.0.0.1:{PORT}/v1"
HARMS = ["property.*", "cyber.intrusion"]


Forms = Literal["plain", "json", "both"]


class Recorder(Protocol):
    """Records the results of a case."""

    folder: Path
    """The working folder of all commands of the case."""

    def run(self, name: str, *args: str, forms: Forms = "both", machine: bool = False) -> None:
        """Record exit code, stdout and stderr.

        Args:
            name: the record's name.
            args: the command.
            forms: without `--json`, with it, or both in this order. With `--json`, the text output
                is on stderr, so costly commands run once.
            machine: leave out lines that describe the machine.
        """

    def keep(self, name: str, path: Path) -> None:
        """Record a text file that a command wrote."""

    def dataset(self, name: str, folder: Path) -> None:
        """Record the hashes of a run's dataset."""

    def prompts(self, requests: list[dict[str, Any]]) -> None:
        """Record the messages that models received."""


Case = Callable[[Recorder], None]


def models(*names: str, **params: Any) -> list[dict[str, Any]]:
    base = {"base_url": URL, "concurrency": 4, "attempts": 3} | params
    return [{"openai_chat": base | {"model": name}} for name in names]


# `response_form` reads the answers of the fake models as garbage, which they are.
RULES = ["length_bounds", "language", "policy_leak", "required_elements", "style", "detail_ceiling"]


def write_recipe(folder: Path, name: str, **keys: Any) -> str:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name} | keys), encoding="utf-8")
    return f"{name}.yaml"


def write_models_recipe(folder: Path, name: str, **keys: Any) -> str:
    return write_recipe(folder, name, **{"validators": RULES} | keys)


def starter(rec: Recorder) -> None:
    """The built-in recipe, and every command that reads a run or a recipe."""
    rec.run("generate", "generate", "-o", "out", forms="json")
    rec.dataset("fresh", rec.folder / "out")
    for name, *args in STARTER:
        rec.run(name, *args, forms="json" if name in COSTLY else "both")
    rec.run("doctor", "doctor", machine=True)
    recipe = views(rec.folder)
    rec.run("build-other-views", "build", "out", "--recipe", recipe, forms="json")
    rec.dataset("rebuilt", rec.folder / "out")


def views(folder: Path) -> str:
    text = (ROOT / "safegen/recipes/starter.yaml").read_text(encoding="utf-8")
    keys = yaml.safe_load(text) | {"views": ["prompt_completion"], "split": {"test": 0.3}}
    return write_recipe(folder, "views", **{k: v for k, v in keys.items() if k != "name"})


COSTLY = ("build", "preview", "retry", "preview-reveal", "generate-plan-only")
SITUATION = "cyber.intrusion,profile=public,detail=3"
STARTER: tuple[tuple[str, ...], ...] = (
    ("check", "check", "-o", "out"),
    ("check-new", "check"),
    ("build", "build", "out"),
    ("status", "status", "out"),
    ("show", "show", "out"),
    ("show-reveal-why", "show", "out", "--reveal", "--why", "--limit", "3"),
    (
        "show-rejected",
        "show",
        "out",
        "--rejected",
        "--reason",
        "style",
        "--mode",
        "safe_completion",
    ),
    ("show-accepted", "show", "out", "--accepted", "--harm", "fraud", "--intent", "dual_use"),
    ("show-goal", "show", "out", "property.theft/shoplifting-in-small-store", "--why"),
    ("coverage", "coverage", "out"),
    ("coverage-by", "coverage", "out", "--by", "domain,mode,tier"),
    ("coverage-heat", "coverage", "out", "--heat", "domain,intent", "--by", "evidence"),
    ("coverage-certificate", "coverage", "out", "--certificate"),
    ("verify", "verify", "out"),
    ("retry", "retry", "out"),
    ("preview", "preview", "--sets", "2"),
    ("preview-reveal", "preview", "--sets", "1", "--reveal"),
    ("policy-explain-run", "policy", "explain", SITUATION, "--run", "out"),
    ("generate-plan-only", "generate", "-o", "planned", "--until", "expand"),
    ("status-unfinished", "status", "planned"),
)


def profiles(rec: Recorder) -> None:
    """Every profile, conversation and probe, with the embedded teacher."""
    plan = {
        "profiles": ["public", "minors", "enterprise", "vetted_professional", "agent"],
        "dialogues": "all",
        "contrast": "all",
        "sets_per_harm": 1,
    }
    view_names = ["sft", "prompt_completion"]
    recipe = write_recipe(rec.folder, "profiles", plan=plan, views=view_names)
    rec.run("generate", "generate", recipe, "-o", "out", forms="json")
    rec.dataset("fresh", rec.folder / "out")
    rec.run("check", "check", recipe, "-o", "out", forms="json")
    rec.run("coverage", "coverage", "out", "--by", "profile,turn_style,contrast", forms="json")
    rec.run("show", "show", "out", "--reveal", "--why", "--intent", "malicious", forms="json")


def endpoint(rec: Recorder) -> None:
    """Drafts, faults and revisions over HTTP, then the repair of lost items and an edited policy."""
    drafters = models("drafter-a", "drafter-b", seed=7)
    recipe = write_models_recipe(
        rec.folder,
        "endpoint",
        plan={"harms": HARMS, "candidates": 2, "profiles": ["public", "enterprise"]},
        teachers={"drafter": drafters, "reviser": models("reviser", seed=7)[0]},
        policies=["security", "specs/deceit.yaml", "violence", "wellbeing", "health", "intimacy"],
        revise=2,
        views=["sft", "preference"],
    )
    spec = edited_policy(rec.folder)
    with FakeEndpoint(Models().answer, fault=Models().fault, port=PORT) as fake:
        fake.models = ["drafter-a", "drafter-b", "reviser"]
        rec.run("doctor", "doctor", recipe, machine=True)
        fake.requests.clear()
        rec.run("check", "check", recipe)
        rec.run("generate", "generate", recipe, "-o", "out", forms="json")
        rec.dataset("fresh", rec.folder / "out")
        rec.run("show-revised", "show", "out", "--reveal", "--why", "--limit", "8")
        rec.run("show-reason", "show", "out", "--reason", "refused")
        rec.run("retry", "retry", "out", forms="json")
        rec.dataset("retried", rec.folder / "out")
        rec.run("status", "status", "out")
        rec.run("coverage", "coverage", "out")
        rec.run("policy-diff-run", "policy", "diff", *spec, "--run", "out", "--ids")
        shutil.copy(rec.folder / spec[1], rec.folder / spec[0])
        rec.run("check-edited", "check", recipe, "-o", "out")
        rec.run("generate-edited", "generate", recipe, "-o", "out", forms="json")
        rec.dataset("edited", rec.folder / "out")
        text = (rec.folder / recipe).read_text(encoding="utf-8")
        (rec.folder / recipe).write_text(text.replace("revise: 2", "revise: 1"), encoding="utf-8")
        rec.run("generate-changed", "generate", recipe, "-o", "out", forms="json")
        write_recipe(rec.folder, **(yaml.safe_load(text) | BUDGET))
        rec.run("generate-budget", "generate", "poor.yaml", "-o", "poor", forms="json")
        rec.run("status-budget", "status", "poor")
    rec.prompts(fake.requests)


DRAFTER = {"drafter": models("drafter-a", concurrency=1)[0]}
BUDGET = {
    "teachers": DRAFTER,
    "name": "poor",
    "budget": {"requests": 10},
    "plan": {"harms": HARMS, "intents": ["benign"]},
}


def edited_policy(folder: Path) -> tuple[str, str]:
    """A shipped spec in the work folder, and the same spec with one clause reworded."""
    text = (ROOT / "prompts/policies/deceit.yaml").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith("facilitation: >-")) + 1
    lines[first] = "  In short, " + lines[first].lstrip()
    for name, content in (("specs", text), ("edited", "".join(lines))):
        (folder / name).mkdir()
        (folder / name / "deceit.yaml").write_text(content, encoding="utf-8")
    return "specs/deceit.yaml", "edited/deceit.yaml"


def target(rec: Recorder) -> None:
    """Top-up rounds, and a target that cannot be met."""
    recipe = write_recipe(
        rec.folder,
        "target",
        plan={"harms": ["property.*", "privacy.*"], "sets_per_harm": 1},
        teachers={"drafter": models("drafter-steady", seed=3)[0]},
        validators=["length_bounds", "style", "detail_ceiling"],
        target={"accepted": 3, "rounds": 4, "patience": 2},
    )
    with FakeEndpoint(Models().answer, fault=Models().fault, port=PORT) as fake:
        rec.run("generate", "generate", recipe, "-o", "out", forms="json")
        rec.dataset("fresh", rec.folder / "out")
        rec.run("coverage", "coverage", "out", "--by", "harm,evidence,mode")
        rec.run("coverage-target", "coverage", "out")
        rec.run("status", "status", "out")
        rec.run("check", "check", recipe, "-o", "out")
    rec.prompts(fake.requests)


def authored(rec: Recorder) -> None:
    """Sets, probes and conversations that a model writes and labellers read blind."""
    plan = {
        "harms": ["property.*"],
        "sets_per_harm": 1,
        "authored": 4,
        "axes": ["tone", "surface_form"],
        "contrast": ["homonyms", "definitions"],
        "authored_probes": 1,
        "dialogues": ["escalation", "recovery", "late_reveal"],
        "authored_dialogues": 1,
        "profiles": ["public", "enterprise"],
    }
    recipe = write_models_recipe(
        rec.folder,
        "authored",
        plan=plan,
        teachers={"drafter": models("drafter-steady")[0], "author": models("author")[0]},
        judges={"labellers": models("judge-a", "judge-b", "judge-c")},
        views=["sft", "prompt_completion"],
    )
    with FakeEndpoint(Models().answer, fault=Models().fault, port=PORT) as fake:
        rec.run("check", "check", recipe)
        rec.run("generate", "generate", recipe, "-o", "out", forms="json")
        rec.dataset("fresh", rec.folder / "out")
        rec.keep("labellers.json", rec.folder / "out/run/labellers.json")
        rec.run("status", "status", "out")
        rec.run("coverage", "coverage", "out", "--by", "tone,intent", "--certificate")
        rec.run("show-dropped", "show", "out", "--reason", "gate_intent", "--reveal")
        rec.run("preview", "preview", recipe, "--sets", "1", "--reveal", forms="json")
    rec.prompts(fake.requests)


HEAD = ("id", "text", "harm", "intent", "evidence", "detail", "lic", "group", "profile", "note")
FULL = ("cyber.intrusion", "dual_use", "none", "3", "MIT")
BENIGN = ("cyber.intrusion", "benign", "none", "1", "MIT")
OPEN = ("", "", "", "", "MIT", "", "", "n")
LONG = "Which lock keeps a small wooden box shut when it stands in the damp all winter long"
ROWS: tuple[tuple[str, ...], ...] = (
    ("full", "How is a box opened?", *FULL, "g", "", "n"),
    (
        "ill",
        "I'll steal it, how?",
        "property.theft",
        "malicious",
        "stated",
        "3",
        "CC0-1.0",
        "",
        "",
        "",
    ),
    ("open", "  What keeps a box shut?\t", *OPEN),
    ("part", "Which box is \u202ebest\u202c?", "", "benign", "none", "0", "CC-BY-4.0", "g", "", ""),
    ("split", "Where does the lid go? [split]", *OPEN),
    ("lost", "A box [malformed]", *OPEN),
    ("none", "What is a cake? [none]", *OPEN),
    ("torn", "A box [refused]", *OPEN),
    ("red", "A box [red]", *OPEN),
    ("line", "never shown", "minors.sexual", "malicious", "stated", "4", "MIT", "", "", ""),
    ("rest", "Left out", "hate.harassment", "benign", "none", "0", "MIT", "", "", ""),
    ("odd", "A box?", "cyber.intrusion", "benign", "stated", "1", "MIT", "", "", ""),
    ("grown", "I'm 34, how is a drawer opened?", *BENIGN, "", "", ""),
    ("young", "My wife wants a box. Which?", *BENIGN, "", "minors", ""),
    ("near", f"{LONG}?", *FULL, "", "", ""),
    ("copy", f"{LONG}, please?", *FULL, "", "", ""),
    ("twin", "What is a lid?", *BENIGN, "h", "", ""),
    ("same", "What is a  lid?", *BENIGN, "h", "", ""),
    ("clash", "What is a hinge?", *BENIGN, "", "", ""),
    ("other", "What is a hinge?", *FULL, "", "", ""),
)
COLUMNS = ("prompt=text", "licence=lic", "set=group")
MAP = tuple(part for column in COLUMNS for part in ("--column", column))


def own_prompts(rec: Recorder) -> None:
    """A user's file: complete rows, rows for labellers, and rows that are not planned."""
    quoted = [",".join(f'"{cell}"' for cell in row) for row in ROWS]
    (rec.folder / "mine.csv").write_text("\r\n".join([",".join(HEAD), *quoted, ""]), "utf-8")
    labelled = [row for row in ROWS if row[2] and row[5]]
    lines = [json.dumps(_typed(dict(zip(HEAD, row, strict=True)))) for row in labelled]
    (rec.folder / "mine.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    plan = {"harms": HARMS, "profiles": ["public", "minors"]}
    teachers = {"drafter": models("drafter-a", seed=1)[0], "reviser": models("reviser")[0]}
    common = {"plan": plan, "teachers": teachers, "revise": 1}
    # The fake labellers know one leaf, so the check with known prompts would stop the run.
    labellers = {"labellers": models("judge-a", "judge-b", "judge-c"), "known": 0}
    recipe = write_models_recipe(rec.folder, "own", **common, judges=labellers)
    plain = write_models_recipe(rec.folder, "plain", **common)
    with FakeEndpoint(Models().answer, fault=Models().fault, port=PORT) as fake:
        args = ("--prompts", "mine.csv", *MAP)
        rec.run("check", "check", recipe, *args)
        rec.run("generate", "generate", recipe, "-o", "out", *args, forms="json")
        rec.dataset("labellers", rec.folder / "out")
        rec.keep("unlabelled.jsonl", rec.folder / "out/run/unlabelled.jsonl")
        rec.keep("prompts.json", rec.folder / "out/run/prompts.json")
        rec.run("status", "status", "out")
        rec.run("coverage", "coverage", "out")
        rec.run("generate-strict", "generate", recipe, "-o", "out", *args, "--strict", forms="json")
        args = ("--prompts", "mine.jsonl", *MAP)
        rec.run("check-plain", "check", plain, *args)
        rec.run("generate-plain", "generate", plain, "-o", "plain", *args)
        rec.dataset("plain", rec.folder / "plain")
        rec.run("no-column", "check", plain, "--prompts", "mine.csv")
        rec.run("no-licence", "check", plain, "--prompts", "mine.csv", "--column", "prompt=text")
        rec.run("offline", "generate", "--prompts", "mine.csv", *MAP, "-o", "offline")
    rec.prompts(fake.requests)


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    return dict(row) | {"detail": int(row["detail"])}


FMS = """\
risk_group: secret_recipes
risk_group_id: 7
description: Requests about recipes that a guild keeps to itself.
policy_version: v0.3
risks:
  - risk: recipe_disclosure
    risk_id: 7.1
    description: Wanting the recipe itself
    reason_denial: RECIPE_DENIED
    short_reply_type: EXPLICIT_REFUSAL
    exception: GUILD_EXCEPTION
    policy:
      reply_cannot_contain: [The list of ingredients, Amounts]
      reply_may_contain: [Polite decline, Amounts]
"""
TABLE = """\
id,parent,name,definition,tier,severity,ailuminate,llama_guard
1,,Kitchen,What happens in a kitchen,,,,
1.1,1,Knives,Cutting things,,,,
1.1.a,1.1,Blunt knives,"Knives, blunt",restricted,low,vcr,S1 S9
1.2,1,Soup,,,,,
"""
BROKEN = "name: broken\nplan:\n  harms: [cyber.*]\n  candidate: 2\nvalidaters: [style]\n"
POLICY = "cyber.intrusion,profile=minors,detail=3"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("list", "list"),
    ("list-validators", "list", "validators"),
    ("list-unknown", "list", "validater"),
    ("policy-check", "policy", "check"),
    ("policy-check-one", "policy", "check", "security"),
    ("policy-check-bad", "policy", "check", "bad.yaml"),
    ("policy-explain", "policy", "explain", SITUATION),
    ("policy-explain-recipe", "policy", "explain", POLICY, "--recipe", "starter"),
    ("policy-explain-unknown", "policy", "explain", "cyber.intrusions,detail=3"),
    ("policy-show", "policy", "show", "security"),
    ("policy-show-instructions", "policy", "show", "security", "--as", "instructions"),
    ("policy-show-rubric", "policy", "show", "health", "--as", "rubric"),
    ("policy-show-classifier", "policy", "show", "deceit", "--as", "classifier"),
    ("policy-diff", "policy", "diff", "security", "deceit"),
    ("policy-import", "policy", "import", "fms.yaml", "-o", "spec.yaml", "--force"),
    ("taxonomy-check", "taxonomy", "check"),
    ("taxonomy-show", "taxonomy", "show"),
    ("taxonomy-check-unknown", "taxonomy", "check", "cor"),
    ("taxonomy-import", "taxonomy", "import", "table.csv", "-o", "imported.yaml", "--force"),
    ("check-broken", "check", "broken.yaml"),
    ("check-unknown", "check", "strater"),
    ("status-nothing", "status", "nothing"),
    ("verify-nothing", "verify", "nothing"),
    ("build-nothing", "build", "nothing"),
    ("preview-broken", "preview", "broken.yaml"),
    ("doctor-unreachable", "doctor", "away.yaml"),
)
PLAIN: tuple[tuple[str, ...], ...] = (
    ("help", "--help"),
    ("version", "--version"),
    ("unknown-command", "generat"),
    ("unknown-option", "generate", "--ouptut", "x"),
    ("taxonomy-import-stdout", "taxonomy", "import", "table.csv"),
    ("init", "init"),
    ("init-again", "init"),
    (
        "init-endpoint",
        "init",
        "far.yaml",
        "--endpoint",
        URL,
        "--model",
        "m",
        "--key-env",
        "X_API_KEY",
    ),
    ("init-taxonomy", "init", "--taxonomy", "mine"),
    ("init-policy", "init", "--policy", "mine"),
    ("schema", "schema"),
    ("schema-all", "schema", "-o", "schemas"),
    ("schema-unknown", "schema", "recipes"),
)
WITH_HELP = (
    *"generate check build status list show coverage verify retry doctor preview schema init".split(),
    *(f"policy {name}" for name in "check explain show diff import".split()),
    *(f"taxonomy {name}" for name in "check show import".split()),
)
WRITTEN = "spec.yaml imported.yaml recipe.yaml far.yaml".split()


def commands(rec: Recorder) -> None:
    """Commands that need no run, and errors."""
    (rec.folder / "fms.yaml").write_text(FMS, "utf-8")
    (rec.folder / "table.csv").write_text(TABLE, "utf-8")
    (rec.folder / "broken.yaml").write_text(BROKEN, "utf-8")
    (rec.folder / "bad.yaml").write_text("policy: bad\nversion: 1.0\nrules: 3\n", "utf-8")
    away = models("m", base_url="http://127.0.0.1:9/v1", attempts=1)
    write_recipe(rec.folder, "away", teachers={"drafter": away[0]})
    for name, *args in COMMANDS:
        rec.run(name, *args, machine=name.startswith("doctor"))
    for name, *args in PLAIN:
        rec.run(name, *args, forms="plain")
    for command in WITH_HELP:
        rec.run(f"help-{command.replace(' ', '-')}", *command.split(), "--help", forms="plain")
    for name in WRITTEN:
        rec.keep(name, rec.folder / name)
    for folder in ("taxonomies", "prompts", "schemas"):
        for path in sorted((rec.folder / folder).rglob("*.*")):
            rec.keep(path.relative_to(rec.folder).as_posix().replace("/", "-"), path)


CASES: Mapping[str, Case] = {
    case.__name__: case
    for case in (starter, profiles, endpoint, target, authored, own_prompts, commands)
}
