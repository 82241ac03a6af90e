"""Registries of contacts by region: the only numbers and links that an answer may quote.

`prompts/locales/contacts/<region>.yaml` has the entries of one country. An entry is quoted only if it was
checked at its source and is not stale. No function here reads a clock: what enters a dataset depends on
files and on `contacts.as_of` of the recipe, and warnings get today's date as an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from safegen.config.fields import FrozenModel, Slug, Text, require_no_repeats
from safegen.core import resources, yaml_source
from safegen.core.contact_forms import find_contacts, link_key, phone_key
from safegen.core.errors import ConfigError
from safegen.core.suggestions import find_repeated
from safegen.core.yaml_errors import KeyProblem

Purpose = Literal[
    "emergency",
    "suicide_crisis",
    "child_helpline",
    "domestic_abuse",
    "sexual_abuse",
    "poison",
    "substance_use",
    "eating_disorder",
    "report_online",
    "report_fraud",
    "report_crime",
]
Status = Literal["checked", "stale", "unchecked"]
MAX_SHORT_DIGITS = 6
"""Numbers of at most this length are found in sentences about calls alone."""
PURPOSES_BY_ELEMENT: Mapping[str, tuple[Purpose, ...]] = {
    "crisis": ("suicide_crisis", "emergency"),
    "trusted_adult": ("child_helpline",),
}
"""Purposes of the entries that fulfil a required element of a policy."""
PURPOSES_BY_HARM: Mapping[str, tuple[Purpose, ...]] = {
    "selfharm.*": ("suicide_crisis", "emergency"),
    "selfharm.eating*": ("eating_disorder",),
    "minors.*": ("child_helpline", "report_online"),
    "sexual.*": ("sexual_abuse",),
    "violence.*": ("emergency", "domestic_abuse"),
    "privacy.*": ("domestic_abuse",),
    "drugs.*": ("poison", "substance_use", "emergency"),
    "advice.medical": ("poison", "emergency"),
    "fraud.*": ("report_fraud", "report_crime"),
    "property.*": ("report_crime",),
}
"""Purposes of the entries that fit a leaf, by pattern; `harms` of an entry replaces them."""
_REGION = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")
_ISO_DATE = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")


def _check_region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise ValueError(
            "must be a country as two capital letters, such as `US`, or a part of one, such as `CA-QC`"
        )
    return value


def _check_date(value: object) -> object:
    # pydantic reads a number as seconds since 1970.
    if isinstance(value, date) or value is None or _ISO_DATE.fullmatch(str(value)):
        return value
    raise ValueError("must be a date such as 2026-11-30")


def _check_phone(value: str) -> str:
    if len(phone_key(value)) < 2 or not re.fullmatch(r"[0-9A-Z+()./ -]+", value):
        raise ValueError("must be a telephone number as published, such as `988` or `0800 1111`")
    return value


def _check_link(value: str) -> str:
    key = link_key(value)
    found = find_contacts(value)
    if not value.startswith("https://") or [m.key for m in found] != [key]:
        raise ValueError("must be one `https://` link")
    return value


Region = Annotated[str, AfterValidator(_check_region)]
IsoDate = Annotated[date, BeforeValidator(_check_date)]
Phone = Annotated[Text, AfterValidator(_check_phone)]
Link = Annotated[Text, AfterValidator(_check_link)]


class ContactReach(FrozenModel):
    """Where a service is reached, as it publishes it; at least one."""

    call: Phone | None = None
    """Number to call."""
    text: Phone | None = None
    """Number for text messages."""
    keyword: Annotated[str, Field(pattern=r"^[A-Z]{2,12}$")] | None = None
    """Word that a text message must hold, such as `START`."""
    link: Link | None = None
    """Page of the service."""

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if not (self.call or self.text or self.link):
            raise ValueError("needs `call`, `text` or `link`")
        if self.keyword and not self.text:
            raise KeyProblem("`keyword` needs `text`", loc=("keyword",))
        return self

    def describe(self) -> str:
        """Describe in words how the service is reached.

        Example:
            >>> ContactReach(call="988", text="988").describe()
            'call 988, or text 988'
        """
        parts = [f"call {self.call}"] if self.call else []
        word = f"{self.keyword} to " if self.keyword else ""
        parts += [f"text {word}{self.text}"] if self.text else []
        parts += [self.link] if self.link else []
        return ", or ".join(parts)


class Contact(FrozenModel):
    """A service that people can turn to."""

    id: Slug
    """Unique in all registries of a run, such as `us-988`."""
    languages: Annotated[tuple[Text, ...], Field(min_length=1)]
    """BCP-47 tags of the languages in which the service answers."""
    purpose: Purpose
    """Kind of service; it decides for which leaves and elements the entry fits."""
    name: Text
    """Name of the service, as published; no name of a person."""
    reach: ContactReach
    """Where it is reached, as published."""
    audience: Text = "anyone"
    """People whom it is for."""
    hours: Text | None = None
    """When it answers, as published; null if that is unknown."""
    source: Text
    """Page that was read, or is to be read, for these values."""
    checked_on: IsoDate | None = None
    """Day on which the source was read; null if it was not read yet, and the entry is never quoted."""
    stale_after: Annotated[int, Field(ge=1, le=3_650)] = 180
    """Days after `checked_on` from which the entry must be checked again."""
    harms: tuple[Text, ...] | None = None
    """Leaf patterns for which the entry fits, such as `drugs.*`; default those of its purpose."""

    @property
    def last_day(self) -> date | None:
        """The last day on which the entry is not stale; None if it is unchecked."""
        return self.checked_on and self.checked_on + timedelta(days=self.stale_after)

    def status_on(self, day: date | None) -> Status:
        """Return whether the entry is checked and not stale on a day; without a day nothing is stale."""
        if self.last_day is None:
            return "unchecked"
        return "stale" if day is not None and day > self.last_day else "checked"

    @cached_property
    def keys(self) -> frozenset[str]:
        """The contact in the forms in which `core.contact_forms` finds it."""
        phones = {phone_key(number) for number in (self.reach.call, self.reach.text) if number}
        if self.reach.link is None:
            return frozenset(phones)
        key = link_key(self.reach.link)
        return frozenset({*phones, key, key.partition("/")[0]})

    @property
    def has_own_name(self) -> bool:
        """True if the name identifies the service; `Emergency services` is the name of a kind."""
        return self.purpose != "emergency"

    def describe(self) -> str:
        """Describe the entry in a line for a drafter."""
        details = "; ".join(d for d in (self.audience, self.hours) if d and d != "anyone")
        return f"{self.name}: {self.reach.describe()}" + (f" ({details})" if details else "")

    def fits(self, *, harm: str | None, required: Sequence[str]) -> bool:
        """Return True if the entry fits a leaf or fulfils a required element of an answer."""
        if any(self.purpose in PURPOSES_BY_ELEMENT.get(name, ()) for name in required):
            return True
        patterns = self.harms
        if patterns is None:
            patterns = tuple(p for p, own in PURPOSES_BY_HARM.items() if self.purpose in own)
        return harm is not None and any(fnmatchcase(harm, pattern) for pattern in patterns)


class ContactRegistry(FrozenModel):
    """The contacts of one region, `prompts/locales/contacts/<region>.yaml`."""

    region: Region
    """ISO 3166-1 country in capital letters, such as `US`, or a part of one, such as `CA-QC`."""
    version: Text
    """Version of the file."""
    contacts: Annotated[tuple[Contact, ...], Field(min_length=1, max_length=500)]
    """The entries; what an answer may quote comes from them alone."""

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        ids = [c.id for c in self.contacts]
        if (name := find_repeated(ids)) is not None:
            index = ids.index(name, ids.index(name) + 1)
            raise KeyProblem(f"the id `{name}` appears twice", loc=("contacts", index, "id"))
        return self


def _expand_regions(value: object) -> object:
    # `contacts: US` and `contacts: [US]` are short for `{regions: [US]}`.
    if isinstance(value, str):
        return {"regions": [value]}
    return {"regions": cast(object, value)} if isinstance(value, list | tuple) else value


class ContactSettings(FrozenModel):
    """The registries whose entries answers may quote."""

    regions: Annotated[tuple[Text, ...], AfterValidator(require_no_repeats)] = ()
    """Registries by region, such as `US`, or by path; rows of other regions name no number."""
    as_of: IsoDate | None = None
    """Day on which stale entries are left out of answers; default the newest `checked_on` of the registries."""


ContactChoice = Annotated[
    ContactSettings,
    BeforeValidator(
        _expand_regions, json_schema_input_type=ContactSettings | Text | tuple[Text, ...]
    ),
]
"""`US`, a list of regions, or a mapping."""


def region_of_tag(language: str) -> str | None:
    """Return the country of a BCP-47 tag; None if it names none.

    Example:
        >>> region_of_tag("en-US"), region_of_tag("zh-Hant-TW"), region_of_tag("es-419")
        ('US', 'TW', None)
    """
    for subtag in language.replace("_", "-").split("-")[1:]:
        if len(subtag) == 1:
            return None  # extensions and private use follow
        if len(subtag) == 2 and subtag.isalpha():
            return subtag.upper()
    return None


@dataclass(frozen=True)
class Contacts:
    """The registries of a run, and those whose entries its answers may quote."""

    registries: Mapping[str, ContactRegistry] = field(default_factory=dict[str, ContactRegistry])
    """All known registries by region; their numbers are recognised in answers."""
    regions: tuple[str, ...] = ()
    """Regions that the recipe chose."""
    as_of: date | None = None
    """`contacts.as_of` of the recipe."""

    def region_of(self, language: str) -> str | None:
        """Return the region of a row: that of its language tag, else the recipe's if it names one region."""
        tagged = region_of_tag(language)
        if tagged is not None:
            # `fr-CA` under `CA-QC` alone means that part of the country.
            parts = [r for r in self.regions if r.startswith(f"{tagged}-")]
            return parts[0] if len(parts) == 1 and tagged not in self.regions else tagged
        return self.regions[0] if len(self.regions) == 1 else None

    @cached_property
    def chosen(self) -> tuple[ContactRegistry, ...]:
        """The registries of the recipe's regions, in its order."""
        return tuple(self.registries[region] for region in self.regions)

    @cached_property
    def quoting_day(self) -> date | None:
        """The day that decides which entries are stale for answers."""
        days = [c.checked_on for r in self.chosen for c in r.contacts if c.checked_on]
        return self.as_of or max(days, default=None)

    @cached_property
    def quotable(self) -> Mapping[str, tuple[Contact, ...]]:
        """The entries that answers may quote, by region."""
        return {
            registry.region: tuple(
                c for c in registry.contacts if c.status_on(self.quoting_day) == "checked"
            )
            for registry in self.chosen
        }

    @cached_property
    def quotable_keys(self) -> Mapping[str, frozenset[str]]:
        """The numbers and links that answers may quote, by region."""
        return {
            region: frozenset(key for contact in entries for key in contact.keys)
            for region, entries in self.quotable.items()
        }

    def list_fitting(
        self, region: str | None, *, harm: str | None, required: Sequence[str]
    ) -> tuple[Contact, ...]:
        """List the quotable entries of a region that fit a leaf or a required element."""
        entries = self.quotable.get(region or "", ())
        return tuple(c for c in entries if c.fits(harm=harm, required=required))

    @cached_property
    def short_numbers(self) -> frozenset[str]:
        """The short numbers of all known registries."""
        return frozenset(
            key
            for _, contact in self._iter_contacts()
            for key in contact.keys
            if key.isdigit() and len(key) <= MAX_SHORT_DIGITS
        )

    @cached_property
    def regions_by_key(self) -> Mapping[str, frozenset[str]]:
        """The regions of each known number and link."""
        regions: dict[str, set[str]] = {}
        for region, contact in self._iter_contacts():
            for key in contact.keys:
                regions.setdefault(key, set()).add(region)
        return {key: frozenset(names) for key, names in regions.items()}

    @cached_property
    def regions_by_name(self) -> Mapping[str, frozenset[str]]:
        """The regions of each known name of a service."""
        regions: dict[str, set[str]] = {}
        for region, contact in self._iter_contacts():
            if contact.has_own_name:
                regions.setdefault(contact.name, set()).add(region)
        return {name: frozenset(names) for name, names in regions.items()}

    def _iter_contacts(self) -> Iterator[tuple[str, Contact]]:
        for region, registry in self.registries.items():
            for contact in registry.contacts:
                yield region, contact


def load_registry(name: str) -> ContactRegistry:
    """Load the registry of a region, by region or by path.

    Raises:
        AssetNotFound: there is no such registry.
        ConfigError: the file is damaged, or its region differs from its name.
    """
    path = resources.find_file("contacts", name)
    stats = path.stat()
    registry = _read_registry(path, stats.st_mtime_ns, stats.st_size)
    if path.stem == name and registry.region != name:
        place = yaml_source.format_place(path, ("region",))
        raise ConfigError(
            f"{place}: region: `{registry.region}` differs from the file's name `{name}`"
        )
    return registry


# Each recipe that is resolved reads all registries; an edited file has another time or size.
@lru_cache(maxsize=256)
def _read_registry(path: Path, modified_ns: int, size: int) -> ContactRegistry:
    return yaml_source.load(path, ContactRegistry)


def load_contacts(settings: ContactSettings | None = None) -> Contacts:
    """Load all known registries, and choose those of a recipe.

    Raises:
        AssetNotFound: the recipe names an unknown registry.
        ConfigError: a file is damaged, two registries of one region are chosen, or an id appears twice.
    """
    settings = settings or ContactSettings()
    chosen = [(name, load_registry(name)) for name in settings.regions]
    regions = [registry.region for _, registry in chosen]
    if (region := find_repeated(regions)) is not None:
        raise ConfigError(f"two registries are of the region `{region}`; keep one")
    # A registry of the recipe takes the place of a shipped one of the same region.
    known = {registry.region: registry for _, registry in chosen}
    for name in resources.list_names("contacts"):
        if name not in known:
            known[name] = load_registry(name)
    ids = [c.id for registry in known.values() for c in registry.contacts]
    if (repeated := find_repeated(ids)) is not None:
        raise ConfigError(f"two registries have an entry `{repeated}`; rename one")
    ordered = {name: known[name] for name in sorted(known)}
    return Contacts(ordered, tuple(regions), settings.as_of)
