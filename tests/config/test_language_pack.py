from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import safegen
from safegen.config import language_pack
from safegen.config.language_pack import Element, Locale, fold_case
from safegen.config.recipe import Recipe
from safegen.core import timed_pattern
from safegen.core.errors import ConfigError, RunError
from safegen.core.timed_pattern import TimedPattern, allow_open_brackets
from safegen.pipeline import api
from safegen.validators._text import find_pattern, iter_matches
from safegen.validators.required_elements import find_element


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


SLOW = {
    "a repeat in a repeat": r"(b+)+$",
    "alternatives that overlap": r"(?:m|mm)+$",
    "alternatives of classes": r"(?:[n-z]|[a-n])+#",
    "many parts": r"(?:.*?;){12}Q",
    "optional parts": r"(k?){40}k{40}!",
    "bounded repeats": r"(?:o{0,30}){0,30}p",
    "a look-ahead": r"(?=(?:\w+\s?)+[#%])[a-z ]",
    "a negative look-behind": r"(?<!x)(?:\d+)*;",
    "a back-reference": r"(\w+\s?)+(\w*\s?)+\1(?=[#%])",
    "a part before the repeat": r"never (?:go|gogo)+!",
}
OWN = {
    "name": "own",
    "locales": ["own.yaml"],
    "plan": {"harms": ["property.theft"], "sets_per_harm": 1},
}


def write_own_pack(folder: Path, *patterns: str, key: str = "decline") -> None:
    listed = "".join(f"    - {json.dumps(pattern)}\n" for pattern in patterns)
    (folder / "own.yaml").write_text(f"inherits: en\nversion: 0.2.0\npatterns:\n  {key}:\n{listed}")


@pytest.mark.parametrize("pattern", SLOW.values(), ids=SLOW)
def test_slow_pattern_is_rejected_with_place(workdir: Path, pattern: str) -> None:
    write_own_pack(workdir, "quick", pattern)
    with pytest.raises(
        ConfigError, match=r"^own\.yaml:6:7: patterns\.decline\.1: the pattern takes too long"
    ):
        language_pack.load_locale("own.yaml")


@pytest.mark.parametrize("key", ["patterns", "unless"])
def test_slow_pattern_of_element_is_rejected(workdir: Path, key: str) -> None:
    parts = {"patterns": ["quick"], "unless": ["quick"], key: ["quick", "(?:a|aa)+$"]}
    pack = {"inherits": "en", "version": "0.2.0", "elements": {"crisis": parts}}
    (workdir / "own.yaml").write_text(json.dumps(pack))
    with pytest.raises(ConfigError, match=rf"own.yaml:1:\d+: elements\.crisis\.{key}\.1: .*long"):
        language_pack.load_locale("own.yaml")


def test_whole_pack_rejects_slow_pattern(workdir: Path) -> None:
    shipped = (safegen_root() / "prompts" / "locales" / "en.yaml").read_text()
    (workdir / "whole.yaml").write_text(
        shipped.replace("\npatterns:\n", "\npatterns:\n  hedges_too: ['(?:e|ee)+$']\n")
    )
    with pytest.raises(ConfigError, match=r"whole\.yaml:\d+:16: patterns\.hedges_too\.0: .*long"):
        language_pack.load_locale("whole.yaml")


def safegen_root() -> Path:
    return Path(safegen.__file__).parents[1]


# The made texts of the probe begin with the excluded letters, so only the run finds this one.
HIDDEN = r"(?:^|(?<=[a-z] ))(?![a0mz\s])(?:[a-z]|\w|\s|[a-m ])*(?=[#%])"


@pytest.fixture
def short_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave patterns less time, so that the tests need not spend it."""
    monkeypatch.setattr(timed_pattern, "BURST_S", 0.3)


@pytest.mark.usefixtures("short_burst")
@pytest.mark.parametrize("key", ["decline", pytest.param("redirection", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_slow_searches_stop_run_that_resumes(workdir: Path, key: str) -> None:
    write_own_pack(workdir, HIDDEN, key=key)
    with pytest.raises(RunError, match=rf"`en`, version `.*0\.2\.0`: patterns\.{key}: .*too long"):
        safegen.generate(Recipe.model_validate(OWN), output="out")
    write_own_pack(workdir, "quick", key=key)
    run = safegen.generate(Recipe.model_validate(OWN), output="out", replan=True)
    assert run.view("sft").height > 0


@pytest.mark.usefixtures("short_burst")
def test_slow_element_pattern_stops_search(workdir: Path) -> None:
    english = language_pack.load_locale("en")
    # The index drops look-aheads, so it cannot rule these out.
    element = Element(patterns=("(?:a|aa)+(?=[bd])",), unless=("(?:c|c)+(?=[de])",))
    locale = english.model_copy(update={"elements": {"crisis": element}})
    with pytest.raises(RunError, match=r"elements\.crisis\.unless: "):
        find_element("c" * 200, locale, "crisis")
    with pytest.raises(RunError, match=r"elements\.crisis\.patterns: "):
        find_element("a" * 200, locale, "crisis")


def test_shipped_patterns_run_without_regex_package() -> None:
    english = language_pack.load_locale("en")
    elements = english.compiled_elements.values()
    patterns = [*english.compiled.values(), *(e.shows for e in elements)]
    assert {type(pattern) for pattern in patterns} == {re.Pattern}


@pytest.mark.slow
def test_shipped_patterns_pass_the_probe() -> None:
    for pattern in language_pack._load_shipped_patterns():
        TimedPattern(language_pack._fold_pattern(pattern), place="en").probe()


def test_shipped_patterns_are_regular_expressions() -> None:
    with allow_open_brackets():
        patterns = [re.compile(p) for p in language_pack._load_shipped_patterns()]
    assert len(patterns) > 200


def test_patterns_that_cannot_be_joined_are_rejected(workdir: Path) -> None:
    write_own_pack(workdir, "(?P<x>a)", "(?P<x>b)")
    with pytest.raises(ConfigError, match=r"own\.yaml:4:3: patterns\.decline: .* cannot be joined"):
        language_pack.load_locale("own.yaml")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a{99999999999999999999}", "is not a regular expression"),
        ("(?:|a){10001}", "repeats a part up to 10001 times"),
        ("(?:(?:b{0,30}){0,30}){0,30}", "repeats a part up to 27000 times"),
        ("(?:" * 30 + "a|b" + ")+" * 30, "has 30 repeats inside each other"),
        ("(?:" * 380 + "a" + ")*" * 380, "is not a regular expression"),
    ],
    ids=["beyond re", "one count", "nested counts", "nested repeats", "deep"],
)
def test_pattern_that_cannot_be_compiled_is_rejected(
    workdir: Path, pattern: str, problem: str
) -> None:
    write_own_pack(workdir, pattern)
    with pytest.raises(ConfigError, match=rf"own\.yaml:5:7: .*{problem}"):
        language_pack.load_locale("own.yaml")


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(?:truly|really)(?:\s\w+){0,6} (?:good|bad)\b",
        r"if you .*cannot .*(?:go|stay)",
        r"\s+$",
        r"(?:\w+[-']){1,3}\w+",
        r"(?<!never )stop(?! now)",
        r"(?P<word>\w+) (?P=word)",
        r"closed [[a-z|~] lid",
    ],
)
def test_quick_pattern_is_accepted(workdir: Path, pattern: str) -> None:
    write_own_pack(workdir, pattern)
    pack = language_pack.load_locale("own.yaml")
    assert pattern in pack.patterns["decline"]
    assert pack.compiled["decline"].search("qq") is None
