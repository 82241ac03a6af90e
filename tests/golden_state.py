"""Golden state: hashes of datasets, outputs and prompts, to show the effect of a code change.

    .venv/bin/python -m tests.golden_state                    compare with tests/golden/state.json
    .venv/bin/python -m tests.golden_state --update           refresh state.json and starter.json
    .venv/bin/python -m tests.golden_state --only starter     one case; may be repeated
    .venv/bin/python -m tests.golden_state --out a.json --texts a
                                                              write everything to a file and a folder
    .venv/bin/python -m tests.golden_state --diff a.json b.json
                                                              print which hashes differ

`state.json` holds the hashes of datasets, `--json` outputs and prompts. `--out` adds the hashes of
columns, of run folders and of texts for people. `--texts` receives all outputs as normalised text, so
that a rewording is one diff: `diff -r before after`.
Exit codes: 0 equal, 1 something differs, 2 the input is wrong.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import golden_hashes as hashes
from tests.golden_cases import CASES, PORT, Forms
from tests.golden_fakes import ROOT

GOLDEN = ROOT / "tests" / "golden"
STATE = GOLDEN / "state.json"
STARTER = GOLDEN / "starter.json"
SMALL = ("data", "json", "prompts")
"""Sections of `state.json`; `--out` has all."""
HOST = re.compile(r"git|disk|packages|python|terminal|warning", re.IGNORECASE)
"""Lines of `doctor` that describe the machine."""
FRESH_STARTER = "starter/fresh"
Sections = dict[str, dict[str, Any]]


def entry() -> str:
    """Return the console script's function, so that a moved module changes nothing here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["scripts"]["safegen"]


class CommandRunner:
    """Runs commands in a process that forks for each of them."""

    def __init__(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith(("_key", "_proxy"))}
        fixed = {
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "OPENBLAS_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.golden_runner", entry()],
            cwd=ROOT,
            env=kept | fixed | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, args: Sequence[str], cwd: Path, stdout: Path, stderr: Path) -> int:
        assert self._process.stdin and self._process.stdout
        request = {"args": args, "cwd": str(cwd), "stdout": str(stdout), "stderr": str(stderr)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


class CaseRecorder:
    """Collects the hashes of one case; implements `golden_cases.Recorder`."""

    def __init__(self, case: str, folder: Path, runner: CommandRunner, texts: Path | None) -> None:
        self.case = case
        self.folder = folder
        self.sections: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._runner = runner
        self._texts = texts
        self._normalise = hashes.normaliser((folder, "<work>"), (ROOT, "<root>"))

    def run(self, name: str, *args: str, forms: Forms = "both", machine: bool = False) -> None:
        key = f"{self.case}/{name}"
        if forms != "json":
            code, out, err = self._outputs(args, machine=machine)
            head = f"$ safegen {' '.join(args)}\nexit {code}\n"
            self._text(f"{key}.txt", f"{head}{out}\n--- stderr\n{err}")
        if forms != "plain":
            code, out, err = self._outputs((*args, "--json"), machine=machine)
            shown = plain_json(out)
            self.sections["json"][key] = {"exit": code, "stdout": hashes.sha256(shown)}
            head = f"$ safegen {' '.join(args)} --json\nexit {code}\n"
            self._text(f"{key}.json.txt", f"{head}{shown}\n--- stderr\n{err}")

    def keep(self, name: str, path: Path) -> None:
        text = path.read_text(encoding="utf-8") if path.is_file() else "<no such file>\n"
        self._text(f"{self.case}/files/{name}", self._normalise(text))

    def dataset(self, name: str, folder: Path) -> None:
        key = f"{self.case}/{name}"
        self.sections["data"][key] = hashes.dataset(folder)
        self.sections["content"][key] = hashes.contents(folder)
        tops = ("data", "run/records", "run/plan")
        for relative, path in hashes.files_below(folder, *tops).items():
            if path.suffix == ".parquet":
                self.sections["columns"][f"{key}/{relative}"] = hashes.columns(path)
        plain = hashes.manifest(folder)
        by_key = {k: hashes.sha256(hashes.dumped(v)) for k, v in plain.items()}
        self.sections["manifest"][key] = by_key
        self._text(f"{self.case}/files/{name}-manifest.json", hashes.dumped(plain))
        card = (folder / "README.md").read_text(encoding="utf-8")
        self._text(f"{self.case}/files/{name}-README.md", card)

    def prompts(self, requests: list[dict[str, Any]]) -> None:
        groups: defaultdict[str, set[str]] = defaultdict(set)
        for body in requests:
            groups[prompt_kind(body)].add(hashes.dumped(body["messages"]))
        for kind, messages_of_kind in sorted(groups.items()):
            ordered = sorted(messages_of_kind)
            digest = hashes.sha256("".join(ordered))
            self.sections["prompts"][f"{self.case}/{kind}"] = {
                "distinct": len(ordered),
                "sha256": digest,
            }
            messages = json.loads(ordered[0])
            text = "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages)
            self._text(f"{self.case}/prompts/{kind}.txt", text + "\n")

    def _outputs(self, args: Sequence[str], *, machine: bool) -> tuple[int, str, str]:
        with tempfile.TemporaryDirectory() as name:
            out, err = Path(name) / "out", Path(name) / "err"
            code = self._runner.run(args, self.folder, out, err)
            texts = [self._normalise(p.read_text(encoding="utf-8")) for p in (out, err)]
        if machine:
            texts = [without_host(text) for text in texts]
        return code, texts[0], texts[1]

    def _text(self, name: str, text: str) -> None:
        self.sections["texts"][name] = hashes.sha256(text)
        if self._texts is not None:
            path = self._texts / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def plain_json(text: str) -> str:
    """Return each JSON object of the text indented and without times; keep other text."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        return "".join(hashes.dumped(hashes.without(json.loads(x), hashes.SPENT)) for x in lines)
    except ValueError:
        return text


def without_host(text: str) -> str:
    kept = [line for line in text.splitlines() if not HOST.search(line)]
    return "\n".join(kept) + "\n"


def prompt_kind(body: Mapping[str, Any]) -> str:
    """Return model and first words of the system message, and `repair` for a second author request."""
    messages = body["messages"]
    first = re.findall(r"[a-z]+", messages[0]["content"].lower())[:5]
    repair = body["model"].startswith("author") and len(messages) > 2
    return "-".join([body["model"], *first, *(["repair"] if repair else [])])


@contextmanager
def only_run() -> Iterator[None]:
    """Wait until no other golden run on this machine uses the port of the fake endpoint."""
    with (Path(tempfile.gettempdir()) / f"golden-state-{PORT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def record(names: Sequence[str], texts: Path | None) -> Sections:
    """Run the cases; return hashes by section and by `case/name`."""
    sections: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    runner = CommandRunner()
    try:
        with only_run(), tempfile.TemporaryDirectory(prefix="golden-") as work:
            for name in names:
                began = time.monotonic()
                folder = Path(work).resolve() / name
                folder.mkdir()
                recorder = CaseRecorder(name, folder, runner, texts)
                CASES[name](recorder)
                for section, values in recorder.sections.items():
                    sections[section] |= values
                print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)  # noqa: T201
    finally:
        runner.close()
    return dict(sections)


def starter_file(sections: Sections) -> dict[str, Any] | None:
    """Return the content of `starter.json`, which `test_golden_starter` compares."""
    if FRESH_STARTER not in sections["data"]:
        return None
    content, data = sections["content"][FRESH_STARTER], sections["data"][FRESH_STARTER]
    return hashes.starter(content, data, stored={})


def finish(sections: Sections, names: Sequence[str], *, update: bool) -> int:
    """Compare with `state.json`, or refresh it and `starter.json`."""
    stored = read(STATE)
    expected: Sections = {
        section: {k: v for k, v in stored.get(section, {}).items() if k.split("/")[0] in names}
        for section in SMALL
    }
    now = {section: sections.get(section, {}) for section in SMALL}
    code = show_differences(expected, now)
    if not update:
        return code
    others = {
        s: {k: v for k, v in stored.get(s, {}).items() if k not in expected[s]} for s in SMALL
    }
    write(STATE, {section: others[section] | now[section] for section in SMALL})
    if starter := starter_file(sections):
        write(STARTER, starter)
    return 0


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Return leaves of nested dicts by their joined keys."""
    if not isinstance(value, dict):
        return {prefix: str(value)}
    leaves: dict[str, str] = {}
    for key, inner in value.items():
        leaves |= flat(inner, f"{prefix} > {key}" if prefix else key)
    return leaves


def differences(before: Any, after: Any) -> list[str]:
    old, new = flat(before), flat(after)
    lines = [f"removed  {key}" for key in old if key not in new]
    lines += [f"added    {key}" for key in new if key not in old]
    return lines + [f"changed  {key}" for key in old if key in new and old[key] != new[key]]


def show_differences(before: Any, after: Any) -> int:
    lines = differences(before, after)
    sys.stdout.write("\n".join([*lines, f"{len(lines)} hashes differ of {len(flat(after))}\n"]))
    return int(bool(lines))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(hashes.dumped(value), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.golden_state",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--update", action="store_true", help="refresh the files in tests/golden")
    parser.add_argument("--only", action="append", choices=list(CASES), help="run this case alone")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all hashes to this file")
    parser.add_argument("--texts", type=Path, metavar="FOLDER", help="write all outputs below it")
    parser.add_argument(
        "--diff", type=Path, nargs=2, metavar="FILE", help="compare two --out files"
    )
    options = parser.parse_args(arguments)
    if options.diff:
        return show_differences(*map(read, options.diff))
    names = options.only or list(CASES)
    texts = options.texts.resolve() if options.texts else None
    sections = record(names, texts)
    if options.out:
        write(options.out, sections)
    return finish(sections, names, update=options.update)


if __name__ == "__main__":
    sys.exit(main())
