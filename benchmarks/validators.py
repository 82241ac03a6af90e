"""Precision and recall of rule validators on labelled responses.

    python benchmarks/validators.py benchmarks/rules_bank/encoding/dev.jsonl

A file holds rows of one validator, which its folder or `--validator` names. `README.md` of the bank
describes the keys. `--forms FILE` measures false positives on the acceptable rows of a bank of
forms, for every validator or for the one that `--validator` names. `--misses` lists wrong verdicts,
`--json` prints one object for each file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

from safegen.config.language_pack import load_locale
from safegen.core import plugins
from safegen.core.types import DraftContext, DraftValidator, Verdict
from safegen.policy.loader import load_policy
from safegen.policy.schema import Proposition
from safegen.testing import make_context, make_draft, make_expectation, make_scenario

POLICIES = ("security", "deceit", "violence", "wellbeing", "health", "intimacy")
ALL_STYLES = "all-styles"
"""Name of a policy under which every proposition of `style` applies."""
CEILINGS = {"direct_answer": 4, "safe_completion": 2, "refuse_redirect": 0}
"""Ceilings of rows that name none, by mode."""


class Judged(NamedTuple):
    """A row with its verdict."""

    row: Mapping[str, Any]
    verdict: Verdict


@cache
def load_collaborators() -> dict[str, Any]:
    policies = {policy.policy_id: policy for policy in map(load_policy, POLICIES)}
    base = load_policy(POLICIES[0])
    source = base.chain[0]
    spec = source.spec.model_copy(update={"style": get_args(Proposition)})
    policies[ALL_STYLES] = replace(base, chain=(source._replace(spec=spec), *base.chain[1:]))
    return {"locales": {"en": load_locale("en")}, "policies": policies}


def find_policy_id(name: str) -> str:
    policies = load_collaborators()["policies"]
    return next(id_ for id_ in policies if id_ == name or id_.startswith(f"{name}@"))


def make_row_context(row: Mapping[str, Any]) -> DraftContext:
    mode = row.get("mode", "direct_answer")
    ceiling = row.get("ceiling", CEILINGS[mode])
    context = make_context(
        mode=mode,
        ceiling=ceiling,
        prompt=row.get("prompt", "Please explain it."),
        language=row.get("language", "en"),
        policy_id=find_policy_id(row.get("policy", "security")),
    )
    scenario = replace(
        context.scenario,
        profile=row.get("profile", "public"),
        intent=row.get("intent", "dual_use"),
        requested_detail=min(4, ceiling + 1) if mode == "safe_completion" else min(ceiling, 4),
    )
    return replace(context, scenario=scenario)


def judge_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Judged]:
    check: DraftValidator = plugins.make_plugin("validators", name, {}, **load_collaborators())

    async def judge_all() -> list[Judged]:
        return [
            Judged(row, await check(make_draft(response=row["response"]), make_row_context(row)))
            for row in rows
        ]

    return asyncio.run(judge_all())


def judge_sets(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """Judge rows with `answers`; each answer with its label becomes a row of the report."""
    from safegen.core.types import SetAnswer, SetValidator

    check: SetValidator = plugins.make_plugin("validators", name, {}, **load_collaborators())
    judged: list[Judged] = []
    for row in rows:
        answers = [
            SetAnswer(
                make_draft(scenario_id=f"s{i}", response=answer["response"]),
                replace(
                    make_row_context(answer),
                    scenario=make_scenario(
                        scenario_id=f"s{i}",
                        intent=answer["intent"],
                        paraphrase=answer.get("paraphrase", 0),
                        turn=answer.get("turn", 0),
                    ),
                    expectation=make_expectation(mode=answer.get("mode", "safe_completion")),
                ),
                answer.get("accepted", True),
            )
            for i, answer in enumerate(row["answers"])
        ]
        verdicts = asyncio.run(_await_set(check, answers))
        for i, (answer, verdict) in enumerate(zip(row["answers"], verdicts, strict=True)):
            judged.append(Judged({"id": f"{row['id']}/{i}", **answer}, verdict))
    return judged


async def _await_set(check: Any, answers: Sequence[Any]) -> Sequence[Verdict]:
    return await check(answers)


def measure(judged: Sequence[Judged]) -> dict[str, float]:
    """Compute precision and recall of failing, in total and for each code of the labels."""
    figures: dict[str, float] = {"rows": len(judged)}
    figures |= rate("fails", [(not j.row["passed"], j.verdict.passed is False) for j in judged])
    codes = sorted({j.row["code"] for j in judged if j.row.get("code")})
    for code in codes:
        pairs = [(j.row.get("code") == code, j.verdict.code == code) for j in judged]
        figures |= {f"{code} rows": sum(label for label, _ in pairs)} | rate(code, pairs)
    return figures


def rate(name: str, pairs: Iterable[tuple[bool, bool]]) -> dict[str, float]:
    counts = Counter(pairs)
    hits, missed, false = counts[True, True], counts[True, False], counts[False, True]
    return {
        f"{name} precision": round(hits / (hits + false), 4) if hits + false else 1.0,
        f"{name} recall": round(hits / (hits + missed), 4) if hits + missed else 1.0,
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def report_bank(name: str, path: Path, *, as_json: bool, misses: bool) -> None:
    rows = read_rows(path)
    is_set = plugins.validator_traits(name).unit == "set"
    judged = judge_sets(name, rows) if is_set else judge_rows(name, rows)
    figures = measure(judged)
    if as_json:
        print(json.dumps({"validator": name, "file": str(path), **figures}))
    else:
        print(f"{name} on {path}")
        print("\n".join(f"  {key}: {value:g}" for key, value in figures.items()))
    for row, verdict in judged if misses else ():
        is_wrong = (verdict.passed is not False) != row["passed"]
        if is_wrong or (row.get("code") and row["code"] != verdict.code):
            print(f"  {row['id']} {row.get('code')} read as {verdict.code}: {verdict.evidence}")


def report_forms(names: Sequence[str], path: Path, *, misses: bool) -> None:
    rows = [row for row in read_rows(path) if row["acceptable"]]
    for name in names:
        judged = judge_rows(name, rows)
        failed = [j for j in judged if j.verdict.passed is False]
        print(
            f"{name}: {len(failed)} of {len(rows)} acceptable rows fail ({len(failed) / len(rows):.2%})"
        )
        for row, verdict in failed if misses else ():
            print(f"  {row['id']} {row['mode']} {row['form']} {verdict.code}: {verdict.evidence}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--validator", help="the validator; default: the name of the folder")
    parser.add_argument("--forms", type=Path, help="a bank of forms")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--misses", action="store_true", help="list the wrong verdicts")
    args = parser.parse_args()
    if not args.files and not args.forms:
        sys.exit("name a file of a bank, or `--forms FILE`")
    for path in args.files:
        report_bank(args.validator or path.parent.name, path, as_json=args.json, misses=args.misses)
    if args.forms:
        drafts = [
            n
            for n in plugins.list_names("validators")
            if plugins.validator_traits(n).unit == "draft"
        ]
        report_forms([args.validator] if args.validator else drafts, args.forms, misses=args.misses)


if __name__ == "__main__":
    main()
