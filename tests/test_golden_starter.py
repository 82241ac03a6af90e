"""The starter dataset has the hashes of `golden/starter.json`.

After an intended change refresh the file: `.venv/bin/python -m tests.golden_state --update` (with the
hashes of all golden runs), or `.venv/bin/python -m pytest tests/test_golden_starter.py --regenerate`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import golden_hashes as hashes

STORED = Path(__file__).parent / "golden" / "starter.json"


def test_starter_has_the_stored_hashes(
    starter: Path, golden: Callable[[Path, str], None], request: pytest.FixtureRequest
) -> None:
    refresh = request.config.getoption("--regenerate")
    stored = {} if refresh else json.loads(STORED.read_text(encoding="utf-8"))
    content, data = hashes.contents(starter), hashes.dataset(starter)
    golden(STORED, hashes.dumped(hashes.starter(content, data, stored=stored)))
