"""Both spellings of options and values on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.harness import call


@pytest.mark.parametrize("option", ["--licence", "--license"])
def test_taxonomy_import_accepts_both_spellings(
    workdir: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    Path("t.csv").write_text("id,name\na,A\n")
    result = call(capsys, "taxonomy", "import", "t.csv", option, "MIT")
    assert result.code == 0
    assert "licence: MIT" in result.out


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--license", "A", "--licence", "B"),
        ("generate", "--license=A", "--prompts", "p.csv", "--licence=B"),
        ("taxonomy", "import", "t.csv", "--license", "A", "--licence", "B"),
    ],
    ids=["check", "generate", "import"],
)
def test_both_spellings_of_an_option_are_refused(
    workdir: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    result = call(capsys, *words)
    assert result.code == 2
    assert "`--license` and `--licence` are the same name; keep one" in result.err


def test_schema_kind_has_two_spellings(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spellings = [call(capsys, "schema", kind).out for kind in ("dialogs", "dialogues")]
    assert spellings[0] == spellings[1] != ""
