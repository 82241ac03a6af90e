from __future__ import annotations

import json
from pathlib import Path

import pytest

from safegen.config import taxonomy, taxonomy_import
from safegen.config.taxonomy import TaxonomyFile
from safegen.core import yaml_source
from safegen.core.errors import ConfigError

CSV = """\
id,parent,name,definition,tier,severity,ailuminate,llama_guard
1,,Kitchen,What happens in a kitchen,,,,
1.1,1,Knives,Cutting things,,,,
1.1.a,1.1,Blunt knives,"Knives, blunt",restricted,low,vcr,S1 S9
1.2,1,Soup,,,,,
children,1,Children,Made up,,,cse,
garden,,Garden,,,,,
"""


def imported(folder: Path, text: str, name: str = "t.csv") -> taxonomy_import.ImportedTaxonomy:
    path = folder / name
    path.write_text(text)
    entries = taxonomy_import.read_table(path)
    head = taxonomy_import.TaxonomyHeader("kitchen", "Kitchen", "X", "en")
    return taxonomy_import.build_taxonomy(entries, head)


def test_table_import_fills_gaps_with_strict_values(tmp_path: Path) -> None:
    made = imported(tmp_path, CSV)
    (tmp_path / "taxonomy.yaml").write_text(made.text)
    harms = taxonomy.load_taxonomy(str(tmp_path / "taxonomy.yaml")).harms
    assert list(harms) == ["x1.a", "x1.x2", "x1.children", "garden.general"]
    assert harms["x1.a"].crosswalk.llama_guard == ("S1", "S9")
    assert (harms["x1.a"].definition, harms["x1.a"].tier) == ("Knives, blunt", "restricted")
    soup = harms["x1.x2"]
    assert (soup.definition, soup.tier, soup.severity) == ("Soup", "restricted", "high")
    assert (harms["x1.children"].red_line, harms["x1.children"].tier) == (True, "prohibited")
    gaps = {(gap.where, gap.key, gap.put) for gap in made.gaps}
    assert {("x1.x2", "tier", "restricted"), ("garden", "definition", "Garden")} <= gaps
    assert not [gap for gap in made.gaps if gap.where == "x1.a"]
    assert len(made.notes) == 1
    assert "`1.1`" in made.notes[0]


def test_json_import_equals_table_import(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "kitchen", "parent": None, "name": "Kitchen"},
        {"id": "kitchen.soup", "parent": "kitchen", "name": "Soup", "llama_guard": ["S1"]},
    ]
    made = imported(tmp_path, json.dumps(rows), "t.json")
    tree = yaml_source.parse(made.text, TaxonomyFile, shown="t")
    (soup,) = tree.domains[0].harms
    assert (soup.id, soup.crosswalk.llama_guard) == ("kitchen.soup", ("S1",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,name,colour\na,A,red\n", "t.csv:2: `colour` is not a known column"),
        ("id,name\na,\n", "t.csv:2: `name` is missing"),
        ("id,name\na,A\na,B\n", r"t.csv:3: id `a` appears twice \(first .*t.csv:2\)"),
        ("id,parent,name\na,b,A\n", "t.csv:2: no entry has the id `b`"),
        ("id,parent,name\na,b,A\nb,a,B\n", "makes a cycle"),
        ("id,name\na,A,B\n", "more cells than the header"),
        ("id,name\n", "has no rows"),
        ("id,name,name\na,A,B\n", "t.csv:1: column `name` appears twice"),
        ("id,Name, name\na,A,B\n", "t.csv:1: column `name` appears twice"),
        ("id,parent,name\na,,A\nx.b,a,B\ny.b,a,C\n", r"t.csv:4: leaf `a.b` exists already"),
        ("id,parent,name,tier\na,,A,\nb,a,B,mild\n", "`domains.0.harms.0.tier` is `mild`"),
        ("id,parent,name,llama_guard\na,,A,\nb,a,B,S99\n", "`S99` is not an id of llama_guard"),
    ],
)
def test_unreadable_table_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        imported(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "not a list"),
        ("[1]", "entry 1 is not"),
        ("[", "JSON"),
        ('[{"id": "a", "ID": "b"}]', "entry 1: column `id` appears twice"),
    ],
)
def test_json_of_wrong_shape_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        imported(tmp_path, text, "t.json")
