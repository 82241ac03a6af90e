"""Licence names for the header of a dataset card: the Hub rejects names that it does not list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# https://huggingface.co/docs/hub/repositories-licenses, 2026-11
HUB_LICENCES = frozenset(
    """apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda
    cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
    cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
    cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0
    etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research
    intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0
    postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community
    gemma unknown other""".split()
)
# SPDX names have a version or an ending where the Hub has none.
_SPDX_ENDING = re.compile(
    r"(?:-only|-or-later|\+)$|(?<=^odc-by)-1\.0$|(?<=^odbl)-1\.0$|(?<=^pddl)-1\.0$"
)
OTHER = "other"


class CardLicence(NamedTuple):
    """The licence keys of a card's header."""

    ids: tuple[str, ...]
    """Names of the Hub, sorted; `other` for all that it does not list."""
    other_names: tuple[str, ...]
    """Names as their sources give them, of the licences that are `other`."""


def find_hub_licence(name: str) -> str | None:
    """Return the Hub's name of a licence; None if the Hub does not list it.

    Example:
        >>> find_hub_licence("CC BY 4.0"), find_hub_licence("ODC-BY-1.0"), find_hub_licence("Ours")
        ('cc-by-4.0', 'odc-by', None)
    """
    words = "-".join(name.lower().split())
    return next((n for n in (words, _SPDX_ENDING.sub("", words)) if n in HUB_LICENCES), None)


def choose_card_licence(names: Iterable[str]) -> CardLicence:
    """Choose the licence keys for the licences of all sources."""
    by_name = {name: find_hub_licence(name) for name in sorted(names)}
    ids = sorted({hub or OTHER for hub in by_name.values()})
    return CardLicence(tuple(ids), tuple(name for name, hub in by_name.items() if hub is None))
