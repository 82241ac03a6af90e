from __future__ import annotations

from pathlib import Path

import pytest

import safegen
from safegen.core.errors import ConfigError
from safegen.testing import scripted


def test_unknown_role_is_rejected_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no role `labeler`; did you mean `labeller`"):
        safegen.generate("starter", output=tmp_path / "out", teachers={"labeler": scripted([])})
    assert not (tmp_path / "out").exists()
