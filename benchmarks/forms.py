"""Measure the classifier of response forms on the bank: python benchmarks/forms.py [FILE].

Without FILE, the rows of `benchmarks/forms/dev.jsonl` are predicted block by block by models that
have not seen the block. With FILE, the shipped model and its thresholds predict the rows of FILE;
rows on which the model was fitted give no estimate of its quality. `--json` prints the figures as
one object, `--misses` lists the ids with a wrong verdict.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import _bank
import _samples
import fit_forms

from safegen.validators._form_model import FormModel, FormReading, read_model, read_responses


def read_rows(model: FormModel, rows: Sequence[_bank.FormRow]) -> list[FormReading]:
    started = time.thread_time()
    readings = read_responses(model, [(r["prompt"], r["response"]) for r in rows])
    rate = len(rows) / (time.thread_time() - started)
    print(f"{rate:,.0f} responses per CPU second", file=sys.stderr)
    return readings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--misses", action="store_true", help="list the ids with wrong verdicts")
    args = parser.parse_args()
    rows = _bank.read_bank(args.file or fit_forms.BANK)
    if args.file:
        model = read_model(fit_forms.MODEL)
        readings = read_rows(model, rows)
        report = _bank.measure(rows, readings, model.metadata["thresholds"])
    else:
        fitter = fit_forms.Fitter(_samples.make_samples(rows))
        readings = fit_forms.cross_validate(rows, fitter)
        report = _bank.measure(rows, readings)
    print(json.dumps(report.figures) if args.json else report.format())
    if args.misses:
        for row, reading, score in zip(
            rows, readings, _bank.score_rows(rows, readings), strict=True
        ):
            if (score >= report.thresholds[row["mode"]]) != row["acceptable"]:
                print(row["id"], row["mode"], row["form"], "read as", reading.form, f"{score:.2f}")


if __name__ == "__main__":
    main()
