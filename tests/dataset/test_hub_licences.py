"""Licences of a card's header are names of the Hub."""

from __future__ import annotations

import pytest

from safegen.dataset.hub_licences import CardLicence, choose_card_licence, find_hub_licence


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("Apache 2.0", "apache-2.0"),
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("ODC-BY-1.0", "odc-by"),
        ("ODbL-1.0", "odbl"),
        ("GPL-3.0-or-later", "gpl-3.0"),
        ("LGPL-2.1-only", "lgpl-2.1"),
        ("unlicensed", None),
        ("CC-BY-9.0", None),
    ],
)
def test_spdx_names_give_names_of_the_hub(name: str, hub: str | None) -> None:
    assert find_hub_licence(name) == hub


def test_unlisted_licences_become_other_with_names() -> None:
    names = ["MIT", "House Rules v2", "MIT License of the Bakery"]
    assert choose_card_licence(names) == CardLicence(
        ("mit", "other"), ("House Rules v2", "MIT License of the Bakery")
    )
