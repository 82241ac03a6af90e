from __future__ import annotations

from pathlib import Path

import pytest

import safegen
from safegen.config import language_pack
from safegen.config.language_pack import Locale, fold_case
from safegen.config.recipe import Recipe
from safegen.core.errors import ConfigError
from safegen.pipeline import api
from safegen.validators._text import find_pattern, iter_matches


def pack(*patterns: str) -> Locale:
    """The English pack with one proposition of its own."""
    return language_pack.load_locale("en").model_copy(
        update={"patterns": {"proposition": patterns}}
    )


@pytest.mark.parametrize("text", ["I Won't", "İİ İstanbul IS big", "ẞtraße", "K and Å", ""])
def test_fold_case_keeps_character_positions(text: str) -> None:
    assert len(fold_case(text)) == len(text)


def test_fold_case_ignores_letter_case() -> None:
    assert fold_case("As An AI") == fold_case("AS AN ai") == "as an ai"


@pytest.mark.parametrize(
    ("pattern", "text"),
    {
        "capitals in the pattern": (r"\bAn AI\b", "so an ai it is"),
        "capitals in the text": (r"\ban ai\b", "so AN AI it is"),
        "a class of capitals": (r"[A-Z]{3}-\d", "abc-7"),
        "escapes that are capitals": (r"\Aan\W\S+\Z", "AN apple"),
        "a character by its number": (r"\u00c9clair", "éclair"),
        "a named group": (r"(?P<Word>THE) (?P=Word)", "The the"),
    }.values(),
)
def test_pattern_matches_any_letter_case(pattern: str, text: str) -> None:
    assert list(iter_matches(pack(pattern), "proposition", text))


def test_escaped_capital_keeps_its_meaning() -> None:
    assert not list(iter_matches(pack(r"\S\S\D"), "proposition", " 1 1 "))


def test_match_keeps_the_case_of_the_text() -> None:
    assert (
        find_pattern(pack(r"\bas an ai\b"), "proposition", "İ think, As An AI, that") == "As An AI"
    )


def test_overlay_replaces_system_turns_of_a_profile(
    workdir: Path,
) -> None:
    (workdir / "acme.yaml").write_text(
        "inherits: en\nversion: 0.1.0\nprofiles:\n  enterprise: [You help the bakers of Acme.]\n"
    )
    mine, plain = language_pack.load_locale("acme.yaml"), language_pack.load_locale("en")
    assert mine.profiles["enterprise"] == ("You help the bakers of Acme.",)
    assert mine.profiles["minors"] == plain.profiles["minors"]
    assert (mine.locale, mine.patterns) == ("en", plain.patterns)
    plan = {"harms": ["property.theft"], "sets_per_harm": 1, "profiles": ["enterprise"]}
    recipe = {"name": "own", "locales": ["acme.yaml"], "plan": plan}
    run = safegen.generate(Recipe.model_validate(recipe), output="out")
    system_turns = {row["messages"][0]["content"] for row in run.view("sft").iter_rows(named=True)}
    assert system_turns == {"You help the bakers of Acme."}
    (workdir / "acme.yaml").unlink()
    assert api.build(run.folder, api.load_context(safegen.open_run("out"))).prompts > 0


def test_faulty_overlay_is_named_with_place(workdir: Path) -> None:
    one, two = workdir / "one.yaml", workdir / "two.yaml"
    one.write_text("inherits: two.yaml\nversion: 0.1.0\n")
    two.write_text("inherits: en\nversion: 0.1.0\n")
    with pytest.raises(ConfigError, match=r"`two\.yaml` inherits another pack"):
        language_pack.load_locale("one.yaml")
    one.write_text("version: 0.1.0\ninherits: ne\n")
    with pytest.raises(ConfigError, match=r"one.yaml:2:1: inherits: no prompts/locales/ne.yaml"):
        language_pack.load_locale("one.yaml")
    two.write_text("inherits: en\nversion: 0.1.0\nprofiles:\n  minor: [Hello.]\n")
    with pytest.raises(ConfigError, match=r"two.yaml:4:3: .*minors"):
        language_pack.load_locale("two.yaml")
