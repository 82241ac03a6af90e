from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from safegen.config.contacts import (
    Contacts,
    ContactSettings,
    load_contacts,
    load_registry,
    region_of_tag,
)
from safegen.core import resources
from safegen.core.errors import AssetNotFound, ConfigError
from tests.config.contact_files import CHECKED, make_contact, make_contacts, write_registry

DAYS = st.dates(date(2020, 1, 1), date(2090, 1, 1))


@given(DAYS, DAYS, st.integers(1, 3_650))
def test_checked_entry_is_stale_after_its_days(
    checked_on: date, day: date, stale_after: int
) -> None:
    contact = make_contact(checked_on=checked_on, stale_after=stale_after)
    is_late = (day - checked_on).days > stale_after
    assert contact.status_on(day) == ("stale" if is_late else "checked")
    assert contact.last_day == checked_on + timedelta(days=stale_after)


@given(DAYS)
def test_unchecked_entry_is_never_quotable(day: date) -> None:
    contacts = make_contacts("US", as_of=day, US=(make_contact(checked_on=None),))
    assert contacts.quotable == {"US": ()}


@given(DAYS, DAYS)
def test_quotable_entries_have_state_checked(checked_on: date, as_of: date) -> None:
    entries = (make_contact("a", checked_on=checked_on), make_contact("b", checked_on=CHECKED))
    contacts = make_contacts("US", as_of=as_of, US=entries)
    expected = tuple(c for c in entries if c.status_on(as_of) == "checked")
    assert contacts.quotable["US"] == expected


def test_newest_check_decides_without_a_date() -> None:
    old = make_contact("a", checked_on=CHECKED - timedelta(days=181))
    new = make_contact("b", checked_on=CHECKED)
    assert make_contacts("US", US=(old, new)).quotable["US"] == (new,)


@pytest.mark.parametrize(
    ("tag", "region"),
    [
        *[("en", None), ("en-US", "US"), ("en_gb", "GB"), ("zh-Hant-TW", "TW"), ("es-419", None)],
        *[("en-x-us", None), ("en-u-sd-gbeng", None), ("", None), ("fr-CA-x-qc", "CA")],
    ],
)
def test_region_comes_from_language_tag(tag: str, region: str | None) -> None:
    assert region_of_tag(tag) == region


@pytest.mark.parametrize(
    ("regions", "tag", "region"),
    [
        ((), "en", None),
        (("US",), "en", "US"),
        (("US",), "en-GB", "GB"),
        (("US", "GB"), "en", None),
        (("US", "GB"), "en-GB", "GB"),
        (("CA-QC",), "fr-CA", "CA-QC"),
    ],
)
def test_single_region_of_recipe_fills_the_gap(
    regions: tuple[str, ...], tag: str, region: str | None
) -> None:
    assert Contacts(regions=regions).region_of(tag) == region


def test_fitting_entries_follow_elements_and_leaves() -> None:
    crisis = make_contact("a", purpose="suicide_crisis")
    poison = make_contact("b", purpose="poison")
    contacts = make_contacts("US", US=(crisis, poison))
    assert contacts.list_fitting("US", harm="fraud.scams", required=("crisis",)) == (crisis,)
    assert contacts.list_fitting("US", harm="drugs.use", required=()) == (poison,)
    assert contacts.list_fitting("GB", harm="drugs.use", required=("crisis",)) == ()
    assert contacts.list_fitting(None, harm="drugs.use", required=("crisis",)) == ()


@pytest.mark.parametrize("region", resources.list_names("contacts"))
def test_shipped_registry_is_read(region: str) -> None:
    registry = load_registry(region)
    assert registry.region == region
    assert all(c.source.startswith("https://") for c in registry.contacts)


def test_shipped_ids_are_unique() -> None:
    registries = load_contacts().registries.values()
    ids = [c.id for r in registries for c in r.contacts]
    assert len(set(ids)) == len(ids)


def test_shipped_us_registry_quotes_988() -> None:
    contacts = load_contacts(ContactSettings(regions=("US",)))
    entries = contacts.list_fitting("US", harm=None, required=("crisis",))
    assert "988" in {key for contact in entries for key in contact.keys}


DAMAGED = {
    "date": ({"checked_on": "12"}, ":11:5: `contacts.0.checked_on` is `12`: must be a date"),
    "reach": ({"reach": "{}"}, ":9:5: `contacts.0.reach`: needs `call`, `text` or `link`"),
    "number": ({"reach": "{call: soup}"}, ":9:13: `contacts.0.reach.call` is `soup`"),
    "link": ({"reach": "{link: soup.org}"}, ":9:13: `contacts.0.reach.link` is `soup.org`"),
    "keyword": (
        {"reach": '{call: "112", keyword: SOUP}'},
        ":9:26: `contacts.0.reach`: `keyword` needs `text`",
    ),
    "unknown key": ({"entries": "    telephone: 12\n"}, ":12:5: `contacts.0.telephone`"),
    "tag": ({"entries": "    hours: !!python/object:os.x {}\n"}, ":12:12: the tag"),
    "broken": ({"entries": "    hours: [\n"}, "not valid YAML"),
}


@pytest.mark.parametrize(("parts", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_registry_names_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_registry(tmp_path, **parts)
    with pytest.raises(ConfigError) as error:
        load_contacts()
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_repeated_id_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entry = """  - {id: us-soup-line, languages: [en], purpose: poison, name: Soup, reach: {call: "112"},
     source: "https://soup-kitchen.example"}
"""
    write_registry(tmp_path, entries=entry)
    with pytest.raises(ConfigError, match="12:6: the id `us-soup-line` appears twice"):
        load_contacts()


def test_region_must_equal_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_registry(tmp_path, "US").rename(tmp_path / "prompts/locales/contacts/MX.yaml")
    with pytest.raises(ConfigError, match="2:1: region: `US` differs from the file's name `MX`"):
        load_registry("MX")


def test_unknown_registry_lists_known_ones() -> None:
    with pytest.raises(AssetNotFound, match="known: AU"):
        load_contacts(ContactSettings(regions=("ZZ",)))
