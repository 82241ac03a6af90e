"""Converts a policy file of IBM fms-dgt (a risk group with flat allow and deny lists) to a spec.

Risks become leaves, lists become clauses about those leaves, reply types become tiers. Ceilings,
floors and required elements, which such a file lacks, are inherited from the spec `base`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from safegen.config import taxonomy_import
from safegen.config.taxonomy_import import TableRow, TaxonomyHeader, make_slug
from safegen.core import yaml_source
from safegen.core.errors import ConfigError
from safegen.core.types import TIERS, Tier
from safegen.policy import loader
from safegen.policy.schema import Situation, Spec

REPLY_TYPES: dict[str, Tier] = {
    "EXPLICIT_REFUSAL": "prohibited",
    "INFORMATIVE_RESPONSE": "sensitive",
    "INFORMATIVE_WITH_DISCLAIMER": "sensitive",
}
"""Tiers of the three documented reply types; any other becomes `restricted` and is reported."""


class _Loose(BaseModel):
    """A model that keeps unknown keys, so that they can be reported."""

    model_config = ConfigDict(frozen=True, extra="allow")


class _Lists(_Loose):
    reply_cannot_contain: list[str | None] | None = None
    reply_may_contain: list[str | None] | None = None


class _Risk(_Loose):
    risk: str | None = None
    risk_id: str | None = None
    description: str | None = None
    reason_denial: str | None = None
    short_reply_type: str | None = None
    exception: str | None = None
    policy: _Lists = Field(default_factory=_Lists)


class _Group(_Loose):
    risk_group: str
    risk_group_id: str | None = None
    description: str | None = None
    policy_version: str | None = None
    risks: list[_Risk] = Field(min_length=1)


class UnsupportedRule(NamedTuple):
    """A part of the file that was not converted, with the remedy."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class ImportedSpec:
    """A spec and a taxonomy of its leaves as YAML texts, with the parts that were not converted."""

    name: str
    spec: str
    taxonomy: str
    unsupported: tuple[UnsupportedRule, ...]


def convert_policy(path: Path) -> ImportedSpec:
    """Convert a policy file of fms-dgt to a spec that inherits `base`.

    Raises:
        ConfigError: the file is no such policy; with file, line and column.
    """
    group = yaml_source.load(path, _Group)
    name = make_slug(group.risk_group)
    leaves = _read_leaves(path, group, name)
    clauses = _read_clauses(leaves, name)
    tiers: dict[str, Tier] = {leaf: _read_tier(risk) for leaf, risk in leaves.items()}
    description = " ".join((group.description or group.risk_group).split()).rstrip(".")
    data: dict[str, object] = {
        "policy": name,
        "version": (group.policy_version or "0.1.0").removeprefix("v"),
        "title": group.risk_group.replace("_", " ").capitalize(),
        "inherits": "base",
        "harms": list(leaves),
        "facilitation": f"{description}. What the clauses under must_not name lowers the barrier here.",
        **clauses.spec_keys,
        "cases": list(_make_cases(set(tiers.values()))),
    }
    text = f"# Imported from a policy file of fms-dgt; see the report for what is to be written by hand.\n{yaml_source.dump(data)}"
    yaml_source.parse(text, Spec, shown=f"the spec `{name}` that would be written")
    lost = (*_find_unsupported(group, leaves), *clauses.unsupported, *_find_missing_parts())
    return ImportedSpec(name, text, _write_taxonomy(name, group, leaves, tiers), lost)


def _read_leaves(path: Path, group: _Group, domain: str) -> dict[str, _Risk]:
    leaves: dict[str, _Risk] = {}
    for index, risk in enumerate(group.risks):
        name = risk.risk or risk.risk_id
        if not name:
            raise ConfigError(f"{path}: risk {index + 1} has neither `risk` nor `risk_id`; name it")
        leaf = f"{domain}.{make_slug(name, fallback='risk-')}"
        if leaf in leaves:
            raise ConfigError(f"{path}: risk `{name}` is defined twice; rename one")
        leaves[leaf] = risk
    return leaves


def _read_tier(risk: _Risk) -> Tier:
    return REPLY_TYPES.get(risk.short_reply_type or "", "restricted")


class _Clauses(NamedTuple):
    spec_keys: dict[str, object]
    unsupported: list[UnsupportedRule]


def _read_clauses(leaves: Mapping[str, _Risk], name: str) -> _Clauses:
    # An entry that several risks share becomes one clause about those leaves.
    denied = _gather(leaves, "reply_cannot_contain")
    allowed = _gather(leaves, "reply_may_contain")
    lost = [
        UnsupportedRule(
            ", ".join(allowed[text]), f"`{text}` is both allowed and forbidden; forbidden was kept"
        )
        for text in allowed
        if text in denied
    ]
    disclaimed = [
        leaf for leaf, r in leaves.items() if r.short_reply_type == "INFORMATIVE_WITH_DISCLAIMER"
    ]
    prefix = name.upper()[:12].rstrip("-")
    spec_keys: dict[str, object] = {
        "may": _number_clauses(
            f"{prefix}-Y", {t: h for t, h in allowed.items() if t not in denied}, leaves
        ),
        "must_not": _number_clauses(f"{prefix}-N", denied, leaves),
    }
    if disclaimed:
        says = "say in one short clause what the answer cannot replace"
        spec_keys["must"] = [{"id": f"{prefix}-M1", "says": says} | _with_harms(disclaimed, leaves)]
    return _Clauses(spec_keys, lost)


def _gather(leaves: Mapping[str, _Risk], key: str) -> dict[str, list[str]]:
    leaves_by_text: dict[str, list[str]] = {}
    for leaf, risk in leaves.items():
        entries: list[str | None] = getattr(risk.policy, key) or []
        for entry in entries:
            text = " ".join((entry or "").split()).rstrip(".")
            if text and leaf not in leaves_by_text.setdefault(_lower_first(text), []):
                leaves_by_text[_lower_first(text)].append(leaf)
    return leaves_by_text


def _lower_first(text: str) -> str:
    # An abbreviation keeps its capital.
    return text if text[1:2].isupper() else text[0].lower() + text[1:]


def _number_clauses(
    prefix: str, texts: Mapping[str, list[str]], leaves: Mapping[str, _Risk]
) -> list[dict[str, object]]:
    return [
        {"id": f"{prefix}{number}", "says": f"include {text}"} | _with_harms(about, leaves)
        for number, (text, about) in enumerate(texts.items(), start=1)
    ]


def _with_harms(about: list[str], leaves: Mapping[str, _Risk]) -> dict[str, object]:
    return {} if len(about) == len(leaves) else {"harms": about}


def _make_cases(tiers: set[Tier]) -> Iterator[dict[str, object]]:
    # The cases pin today's outcomes of `base`, so that a later edit of it is noticed.
    base = loader.load_policy("base")
    for tier, detail in product(sorted(tiers, key=TIERS.index), (1, 3)):
        rule = base.decide(Situation(tier, "none", "public", detail))
        yield {
            "tier": tier,
            "detail": detail,
            "mode": rule.mode,
            "ceiling": rule.ceiling,
            "floor": rule.floor,
        }


def _find_unsupported(group: _Group, leaves: Mapping[str, _Risk]) -> Iterator[UnsupportedRule]:
    if group.risk_group_id:
        yield UnsupportedRule(
            "file", f"risk_group_id `{group.risk_group_id}`: dropped, because a spec has no number"
        )
    for place, model in (("file", group), *leaves.items()):
        for key in model.model_extra or {}:
            yield UnsupportedRule(place, f"`{key}`: unknown key, ignored")
    for leaf, risk in leaves.items():
        for key in ("risk_id", "reason_denial", "exception"):
            value = getattr(risk, key)
            if value:
                yield UnsupportedRule(
                    leaf, f"{key} `{value}`: dropped, because answers show no codes"
                )
        if risk.short_reply_type not in REPLY_TYPES:
            reply_type = risk.short_reply_type or "nothing"
            yield UnsupportedRule(
                leaf,
                f"short_reply_type `{reply_type}` is not documented; read as tier `restricted`",
            )
        elif risk.short_reply_type == "EXPLICIT_REFUSAL":
            yield UnsupportedRule(
                leaf, "EXPLICIT_REFUSAL became tier `prohibited`; `restricted` would help safely"
            )
        if not risk.policy.reply_cannot_contain:
            yield UnsupportedRule(
                leaf, "no `reply_cannot_contain`; the ceiling of detail alone bounds the answer"
            )


def _find_missing_parts() -> Iterator[UnsupportedRule]:
    yield UnsupportedRule(
        "spec", "`facilitation` repeats the description; write what materially lowers the barrier"
    )
    yield UnsupportedRule(
        "spec",
        "no precedents, redirections or required elements of its own; write at least three precedents",
    )


def _write_taxonomy(
    name: str, group: _Group, leaves: Mapping[str, _Risk], tiers: Mapping[str, Tier]
) -> str:
    title = group.risk_group.replace("_", " ").capitalize()
    root = {"id": name, "name": title, "definition": " ".join((group.description or "").split())}
    rows = [TableRow("the risk group", root)]
    for leaf, risk in leaves.items():
        risk_name = (risk.risk or risk.risk_id or leaf).replace("_", " ").capitalize()
        values = {"id": leaf, "parent": name, "name": risk_name, "tier": tiers[leaf]}
        rows.append(
            TableRow(leaf, values | {"definition": " ".join((risk.description or "").split())})
        )
    licence = "as the file that it was imported from"
    return taxonomy_import.build_taxonomy(rows, TaxonomyHeader(name, title, licence, "en")).text
