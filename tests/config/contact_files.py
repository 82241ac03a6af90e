"""Registries of contacts for tests: services of bakeries, none of which exists."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from safegen.config.contacts import Contact, ContactReach, ContactRegistry, Contacts, Purpose

CHECKED = date(2026, 1, 10)


def make_contact(
    id: str = "soup-line",
    *,
    purpose: Purpose = "suicide_crisis",
    name: str = "Soup Kitchen Lifeline",
    call: str = "0800 555 0199",
    checked_on: date | None = CHECKED,
    stale_after: int = 180,
) -> Contact:
    return Contact(
        id=id,
        languages=("en",),
        purpose=purpose,
        name=name,
        reach=ContactReach(call=call),
        source="https://soup-kitchen.example/help",
        checked_on=checked_on,
        stale_after=stale_after,
    )


def make_contacts(
    *regions: str, as_of: date | None = None, **entries: tuple[Contact, ...]
) -> Contacts:
    registries = {
        region: ContactRegistry(region=region, version="1", contacts=contacts)
        for region, contacts in entries.items()
    }
    return Contacts(registries, regions, as_of)


def write_registry(
    folder: Path,
    region: str = "US",
    *,
    entries: str = "",
    checked_on: str = "2026-01-10",
    reach: str = '{call: "0800 555 0199"}',
) -> Path:
    """Write a registry where a run in this folder finds it."""
    path = folder / "prompts" / "locales" / "contacts" / f"{region}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""# Contacts of a bakery.
region: {region}
version: 1.0.0
contacts:
  - id: {region.lower()}-soup-line
    languages: [en]
    purpose: suicide_crisis
    name: Soup Kitchen Lifeline
    reach: {reach}
    source: https://soup-kitchen.example/help
    checked_on: {checked_on}
{entries}""",
        encoding="utf-8",
    )
    return path
