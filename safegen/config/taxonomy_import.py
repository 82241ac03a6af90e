"""Import of a table of hazards (CSV or JSON: id, parent, name, definition) as the YAML of a taxonomy.

A taxonomy has two levels. Roots become domains, nodes without children become leaves, and levels between
are removed. Missing values get strict defaults, which are listed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from safegen.config.taxonomy import RED_LINE_IDS, SCHEMES, TaxonomyFile
from safegen.core import yaml_source
from safegen.core.errors import ConfigError
from safegen.core.suggestions import find_repeated, suggest_names

COLUMNS = ("id", "parent", "name", "definition", "tier", "severity", "red_line", *SCHEMES)
REQUIRED_COLUMNS = ("id", "name")
# A wrong `restricted` costs help, a wrong `allowed` would cost safety.
STRICT_DEFAULTS = {"tier": "restricted", "severity": "high"}
"""Values for columns that the table lacks."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the table, with its position for messages."""

    place: str
    values: Mapping[str, str]

    def __getitem__(self, key: str) -> str:
        return self.values.get(key, "")


class Gap(NamedTuple):
    """A value that the table lacks, and the default that replaces it."""

    where: str
    key: str
    put: str


class TaxonomyHeader(NamedTuple):
    """Metadata of a taxonomy."""

    name: str
    title: str
    licence: str
    language: str


@dataclass(frozen=True, slots=True)
class ImportedTaxonomy:
    """A taxonomy as YAML text, with gaps to fill in and notes on removed levels."""

    text: str
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]


def make_slug(text: str, *, fallback: str = "x") -> str:
    """Reduce a text to lower-case letters, digits and `-`, starting with a letter."""
    clean = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return clean if clean[:1].isalpha() else f"{fallback}{clean}"


def read_table(path: Path) -> list[TableRow]:
    """Read the rows of a CSV file, or of a JSON list of objects.

    Raises:
        ConfigError: another format, an unknown column, a missing id or name, or a repeated id.
    """
    text = yaml_source.read_text(path)
    rows = _read_json(path, text) if path.suffix.lower() == ".json" else _read_csv(path, text)
    entries: list[TableRow] = []
    seen: dict[str, str] = {}
    for place, row in rows:
        _check_distinct([*row], place)
        values = {k.strip().lower(): v.strip() for k, v in row.items()}
        for key in values:
            if key not in COLUMNS:
                hint = suggest_names(key, COLUMNS)
                raise ConfigError(f"{place}: `{key[:60]}` is not a known column{hint}")
        for key in REQUIRED_COLUMNS:
            if not values.get(key):
                raise ConfigError(f"{place}: `{key}` is missing; add it")
        if values["id"] in seen:
            raise ConfigError(
                f"{place}: id `{values['id']}` appears twice (first {seen[values['id']]})"
            )
        seen[values["id"]] = place
        entries.append(TableRow(place, values))
    if not entries:
        raise ConfigError(
            f"{path}: has no rows; it needs columns such as `id,parent,name,definition`"
        )
    return entries


def _check_distinct(columns: Sequence[str], place: str) -> None:
    repeated = find_repeated([name for column in columns if (name := column.strip().lower())])
    if repeated is not None:
        raise ConfigError(f"{place}: column `{repeated[:60]}` appears twice; keep one")


def _read_csv(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    # No column has an empty name, so this key marks cells beyond the header.
    reader = csv.DictReader(io.StringIO(text), restkey="")
    _check_distinct(reader.fieldnames or [], f"{path}:1")
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if "" in row:
            raise ConfigError(
                f"{place}: has more cells than the header; quote cells that contain commas"
            )
        yield place, {k: v or "" for k, v in row.items()}


def _read_json(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        data: object = json.loads(text)
    except ValueError as e:
        raise ConfigError(f"{path}: not valid JSON: {e}") from e
    if not isinstance(data, list):
        raise ConfigError(
            f"{path}: is not a list of objects with `id`, `parent`, `name`, `definition`"
        )
    for number, item in enumerate(cast(list[object], data), start=1):
        place = f"{path}: entry {number}"
        if not isinstance(item, dict):
            raise ConfigError(f"{place} is not an object")
        yield place, {str(k): _cell_text(v) for k, v in cast(dict[object, object], item).items()}


def _cell_text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(v) for v in cast(list[object], value))
    return "" if value is None else str(value)


def build_taxonomy(entries: Sequence[TableRow], head: TaxonomyHeader) -> ImportedTaxonomy:
    """Build a taxonomy of two levels from a table of any depth.

    Raises:
        ConfigError: an unknown parent, a cycle, two leaves with one id, or an invalid value.
    """
    by_id = {entry["id"]: entry for entry in entries}
    parents = {entry["parent"] for entry in entries}
    gaps: list[Gap] = []
    notes: list[str] = []
    domains: dict[str, dict[str, object]] = {}
    owners: dict[str, str] = {}
    for entry in entries:
        chain = _list_ancestors(entry, by_id)
        domain = _build_domain(chain[-1], domains, gaps)
        if entry["id"] in parents:
            continue
        leaf = _build_leaf(entry, make_slug(chain[-1]["id"]), gaps)
        other = owners.setdefault(str(leaf["id"]), entry.place)
        if other != entry.place:
            raise ConfigError(
                f"{entry.place}: leaf `{leaf['id']}` exists already ({other}); rename one"
            )
        cast(list[dict[str, object]], domain["harms"]).append(leaf)
        notes += _describe_folded_levels(chain)
    payload = dict(zip(("taxonomy", "title", "licence", "language"), head, strict=True))
    data = {**payload, "version": "0.1.0", "domains": list(domains.values())}
    text = _describe_gaps(gaps) + yaml_source.dump(data)
    # Cells such as `tier` are free text until here.
    yaml_source.parse(text, TaxonomyFile, shown=f"imported taxonomy `{head.name}`")
    return ImportedTaxonomy(text, tuple(gaps), tuple(notes))


def _describe_folded_levels(chain: Sequence[TableRow]) -> list[str]:
    between = ", ".join(f"`{e['id']}`" for e in chain[1:-1])
    message = f"`{chain[0]['id']}`: the levels between it and its domain are removed: {between}"
    return [message] if between else []


def _list_ancestors(entry: TableRow, by_id: Mapping[str, TableRow]) -> list[TableRow]:
    # The entry, its parent, and so on up to the root.
    chain = [entry]
    while parent := chain[-1]["parent"]:
        if parent not in by_id:
            hint = suggest_names(parent, list(by_id))
            raise ConfigError(f"{chain[-1].place}: no entry has the id `{parent[:60]}`{hint}")
        if by_id[parent] in chain:
            raise ConfigError(f"{entry.place}: `parent` makes a cycle through `{parent[:60]}`")
        chain.append(by_id[parent])
    return chain


def _build_domain(
    root: TableRow, domains: dict[str, dict[str, object]], gaps: list[Gap]
) -> dict[str, object]:
    id_ = make_slug(root["id"])
    if id_ not in domains:
        definition = root["definition"]
        if not definition:
            gaps.append(Gap(id_, "definition", root["name"]))
        domains[id_] = {
            "id": id_,
            "name": root["name"],
            "definition": definition or root["name"],
            "harms": list[dict[str, object]](),
        }
    return domains[id_]


def _build_leaf(entry: TableRow, domain: str, gaps: list[Gap]) -> dict[str, object]:
    own = re.split(r"[./]", entry["id"])[-1]
    # A root without children is a domain and its only leaf.
    id_ = f"{domain}.{make_slug(own) if entry['parent'] else 'general'}"
    crosswalk = {scheme: entry[scheme].replace(",", " ").split() for scheme in SCHEMES}
    red = entry["red_line"].lower() in ("true", "yes", "1") or any(
        set(ids) & RED_LINE_IDS[scheme] for scheme, ids in crosswalk.items()
    )
    strict = (
        STRICT_DEFAULTS | {"definition": entry["name"]} | ({"tier": "prohibited"} if red else {})
    )
    leaf: dict[str, object] = {"id": id_, "name": entry["name"]}
    for key in ("definition", "tier", "severity"):
        if not entry[key]:
            gaps.append(Gap(id_, key, strict[key]))
        leaf[key] = entry[key] or strict[key]
    if red:
        leaf["red_line"] = "true"
    for scheme, ids in crosswalk.items():
        if not ids:
            gaps.append(Gap(id_, f"crosswalk.{scheme}", "none"))
    return leaf | {"crosswalk": {scheme: ids or "none" for scheme, ids in crosswalk.items()}}


def _describe_gaps(gaps: Sequence[Gap]) -> str:
    keys = ", ".join(dict.fromkeys(gap.key for gap in gaps))
    filled = f"# Strict defaults, to be set by hand: {keys}.\n" if gaps else ""
    return f"# Imported. Each leaf has the tier that the policy specs read.\n{filled}"
