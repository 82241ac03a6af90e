from __future__ import annotations

from pathlib import Path

import pytest

from safegen.config import taxonomy
from safegen.core.errors import ConfigError
from safegen.policy import loader
from safegen.policy.check import check_specs
from safegen.policy.importers import fms

FILE = """\
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
      reply_cannot_contain:
        - The list of ingredients
        - Amounts
      reply_may_contain:
        - Polite decline
        - Amounts
  - risk: recipe_history
    description: Wanting the history
    short_reply_type: INFORMATIVE_WITH_DISCLAIMER
    owner: guild
    policy:
      reply_cannot_contain:
        - The list of ingredients
      reply_may_contain:
        - General history
  - risk: odd
    short_reply_type: SHRUG
    policy:
      reply_cannot_contain:
        -
"""


@pytest.fixture
def made(tmp_path: Path) -> fms.ImportedSpec:
    path = tmp_path / "recipes.yaml"
    path.write_text(FILE)
    return fms.convert_policy(path)


def test_imported_spec_passes_the_check(made: fms.ImportedSpec, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(made.spec)
    (tmp_path / "taxonomy.yaml").write_text(made.taxonomy)
    tree = taxonomy.load_taxonomy(str(tmp_path / "taxonomy.yaml"))
    report = check_specs([str(tmp_path / "spec.yaml")], tree)
    assert [str(f) for f in report.findings] == []
    policy = loader.load_policy(str(tmp_path / "spec.yaml"))
    assert policy.spec.version == "0.3"
    assert [policy.covers(h) for h in tree.harms] == [True, True, True]
    assert [h.tier for h in tree.harms.values()] == ["prohibited", "sensitive", "restricted"]
    denied = {c.says: c.harms for c in policy.spec.must_not}
    assert denied == {
        "include the list of ingredients": (
            "secret-recipes.recipe-disclosure",
            "secret-recipes.recipe-history",
        ),
        "include amounts": ("secret-recipes.recipe-disclosure",),
    }
    assert [c.says for c in policy.spec.may] == [
        "include polite decline",
        "include general history",
    ]
    assert [c.harms for c in policy.spec.must] == [("secret-recipes.recipe-history",)]


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("file", "risk_group_id `7`"),
        ("secret-recipes.recipe-disclosure", "reason_denial `RECIPE_DENIED`"),
        ("secret-recipes.recipe-disclosure", "exception `GUILD_EXCEPTION`"),
        ("secret-recipes.recipe-disclosure", "EXPLICIT_REFUSAL became tier `prohibited`"),
        ("secret-recipes.recipe-disclosure", "`amounts` is both allowed and forbidden"),
        ("secret-recipes.recipe-history", "`owner`: unknown key, ignored"),
        ("secret-recipes.odd", "short_reply_type `SHRUG`"),
        ("spec", "`facilitation` repeats the description"),
    ],
)
def test_unsupported_rules_are_reported(made: fms.ImportedSpec, where: str, problem: str) -> None:
    assert [lost for lost in made.unsupported if lost.where == where and problem in lost.what]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("risk_group: a\nrisks: []\n", r"f\.yaml:2:1: `risks`"),
        ("risk_group: a\nrisks:\n  - description: b\n", "neither `risk` nor `risk_id`"),
        ("risk_group: a\nrisks:\n  - risk: b\n  - risk: B\n", "`B` is defined twice"),
        ("policy: a\n", r"`risk_group` is missing"),
    ],
)
def test_invalid_file_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        fms.convert_policy(path)
