"""Warnings about entries of the registries of contacts that are unchecked or stale; none of them fails a command."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from safegen.config.contacts import Contact, ContactRegistry, Status
from safegen.core.plural import format_plural
from safegen.pipeline.resolve import RunContext, takes_contacts


def day_of(now: float) -> date:
    """Return the UTC day of seconds since 1970."""
    return datetime.fromtimestamp(now, UTC).date()


def list_contact_warnings(context: RunContext, *, today: date) -> tuple[str, ...]:
    """List the warnings about the registries that a recipe chose.

    Args:
        context: a recipe or a run.
        today: the day on which entries are stale.
    """
    contacts = context.contacts
    warnings = [w for r in contacts.chosen for w in _iter_registry(r, context, today)]
    return (*warnings, *_iter_unused(context))


def _iter_registry(registry: ContactRegistry, context: RunContext, today: date) -> Iterator[str]:
    region, day = registry.region, context.contacts.quoting_day
    if unchecked := _list_with(registry, "unchecked", None):
        yield (
            f"`contacts`: {region} has {format_plural(len(unchecked), 'unchecked entry', 'unchecked entries')}"
            f" ({_name(unchecked)}), which answers never quote; read their `source` and set `checked_on`"
        )
    stale = _list_with(registry, "stale", today)
    if omitted := [c for c in stale if c.status_on(day) == "stale"]:
        yield (
            f"`contacts`: {region} has {format_plural(len(omitted), 'stale entry', 'stale entries')}"
            f" ({_name(omitted)}), which answers do not quote; read their `source` again and set `checked_on`"
        )
    if quoted := [c for c in stale if c.status_on(day) == "checked"]:
        last = min(c.last_day for c in quoted if c.last_day)
        yield (
            f"`contacts`: {region} has {format_plural(len(quoted), 'entry that is', 'entries that are')} stale"
            f" since {last} ({_name(quoted)}); read their `source` again and set `checked_on`, or set"
            f" `contacts.as_of: {today}` so that answers do not quote them"
        )


def _iter_unused(context: RunContext) -> Iterator[str]:
    recipe, contacts = context.recipe, context.contacts
    if not contacts.regions:
        return
    if not any(takes_contacts(ref, trusted=context.trusted) for ref in recipe.validators):
        yield "`contacts`: no validator checks the numbers of answers; add `contacts` to `validators`"
    if len(contacts.regions) > 1 and contacts.region_of(context.locale.locale) is None:
        yield (
            "`contacts`: with several regions a row has only the region of its language tag, such as `en-US`,"
            " and without one its answers name no number; choose one region, or give prompts such tags"
        )


def _list_with(registry: ContactRegistry, status: Status, day: date | None) -> list[Contact]:
    return [c for c in registry.contacts if c.status_on(day) == status]


def _name(contacts: list[Contact]) -> str:
    return ", ".join(f"`{c.id}`" for c in contacts)
