"""A full disk, a closed pipe or a missing stream gives a message and loses no work."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from safegen.testing import FakeEndpoint
from tests.e2e.runs import COMMAND, cli, fails, long_answer, shell, write_recipe


@pytest.mark.parametrize(
    "kilobytes",
    # The disk fills while the journal grows; the other sizes stop other writes.
    [24, *(pytest.param(size, marks=pytest.mark.slow) for size in (0, 1, 48))],
)
@pytest.mark.slow
def test_full_disk_is_named_and_rerun_resumes(kilobytes: int, workdir: Path) -> None:
    def little_room() -> None:
        most = kilobytes * 1024
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with FakeEndpoint(long_answer) as fake:
        write_recipe(workdir / "r.yaml", fake.url)
        result = shell("generate", "r.yaml", "-o", "out", cwd=workdir, preexec_fn=little_room)
        fails(result, 1, r"`out/run\S*` cannot be (written|used)")
        assert not (workdir / "out" / "data").exists()
        sent = len(fake.requests)
        again = shell("generate", "r.yaml", "-o", "out", "--json", cwd=workdir)
    assert again.code == 0, again.err
    payload = json.loads(again.out)
    assert payload["requests"] + sent - 4 <= payload["planned"] <= payload["requests"] + sent
    assert shell("verify", "out", cwd=workdir).code == 0


def test_too_little_disk_space_stops_before_requests(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(workdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=900 * 1024))
    with FakeEndpoint(long_answer) as fake:
        write_recipe(workdir / "r.yaml", fake.url)
        result = cli(capsys, "generate", "r.yaml", "-o", "out")
        assert result.code == 1
        assert "900 KiB free" in result.err
        assert "no request was sent" in result.err
        assert not fake.requests
        monkeypatch.undo()
        monkeypatch.chdir(workdir)
        assert cli(capsys, "generate", "r.yaml", "-o", "out").code == 0


@pytest.mark.slow
def test_closed_reader_loses_no_work(workdir: Path) -> None:
    (workdir / "r.yaml").write_text("name: a\nplan: {harms: [property.theft]}\n", encoding="utf-8")
    with subprocess.Popen(
        [*COMMAND, "generate", "r.yaml", "-o", "out", "--json"],
        cwd=workdir,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        text = process.stderr.read().decode()
    assert process.returncode == 0
    assert "Traceback" not in text
    assert "BrokenPipe" not in text
    assert shell("verify", "out", cwd=workdir).code == 0


@pytest.mark.parametrize(
    "closed",
    [pytest.param(1, id="stdout"), pytest.param(2, id="stderr", marks=pytest.mark.slow)],
)
@pytest.mark.slow
def test_closed_streams_do_not_fail_the_run(closed: int, workdir: Path) -> None:
    (workdir / "r.yaml").write_text("name: a\nplan: {harms: [property.theft]}\n", encoding="utf-8")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *COMMAND, "generate", "r.yaml", "-o", "out"],
        cwd=workdir,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr + done.stdout
    assert "a bug in safegen" not in done.stderr
    assert (workdir / "out" / "manifest.json").exists()


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
def test_full_stdout_is_an_error_message(
    buffered: bool, form: tuple[str, ...], workdir: Path
) -> None:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*COMMAND, "list", *form],
            cwd=workdir,
            env=env if buffered else {**env, "PYTHONUNBUFFERED": "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_json_without_a_terminal_is_one_object(workdir: Path) -> None:
    (workdir / "r.yaml").write_text("name: a\nplan: {harms: [property.theft]}\n", encoding="utf-8")
    ascii_only = {k: v for k, v in os.environ.items() if not k.startswith("LC_")}
    result = shell(
        "generate",
        "r.yaml",
        "-o",
        "out",
        "--json",
        cwd=workdir,
        env=ascii_only | {"PYTHONIOENCODING": "ascii", "LANG": "C", "PYTHONUTF8": "0"},
    )
    assert result.code == 0, result.err
    assert json.loads(result.out)["accepted"] > 0
    assert result.out.count("\n") == 1
    assert "\x1b" not in result.out + result.err
