"""Measure the content of a run: python benchmarks/content.py RUN [--readings DIR] [--xstest FILE.csv] [--gate].

RUN is the output folder of a finished run. The script prints a table and writes JSON; `--gate` exits
with 1 if a figure misses its bar. `--readings` has a file `<reader>.csv` for each blind reader
(scenario_id, prompt_sha256, evidence, detail, mode, defend, why) and `readers.json`, which marks each
reader as `person` or `model`. The digest is that of the last user turn. `--xstest` is a CSV with the column `prompt`.

The AUC of words is fixed: the last user turn; TF-IDF of word 1- and 2-grams (sublinear, in two texts
or more); logistic regression (C = 10, balanced); 5 folds grouped by goal; a bootstrap over goals.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple, cast

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.model_selection import GroupKFold

from safegen.core.hashing import text_sha256
from safegen.core.types import INTENTS, NOISE, NOISE_KINDS, TWIN, WRAPPER, Mode, Scenario
from safegen.dataset.curation import artifacts, near_duplicates
from safegen.dataset.pair_measures import PairTexts, rank_pairs, read_answer
from safegen.store import parquet
from safegen.store.schema import record_from_row

DRAWS = 1_000
SAMPLE = 200
"""Texts of a sample for self-BLEU, whose cost grows with its square."""
LONG = 300
"""Words from which a prompt is long."""
WORD = re.compile(r"\w+(?:['’]\w+)*")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
FIRST_PERSON = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|my|me|mine|we|our|us)\b", re.IGNORECASE)
CODE = re.compile(r"```|^\s*(?:def|class|import|function|SELECT|#include)\b|[{};]\s*$|</\w+>", re.M)
IMPERATIVES = frozenset(
    "give show tell write make help explain list find draft describe plan name compare translate"
    " summarise summarize rewrite reword check fix sort sketch outline create design recommend suggest"
    " walk put pull turn break let bring set sum take try teach build convert turn".split()
)
XSTEST_BAR, GRAM = 0, 4


class Prompt(NamedTuple):
    """A scenario with its expectation, and its accepted answer if there is one."""

    scenario: Scenario
    mode: Mode
    required: tuple[str, ...]
    answer: str | None

    @property
    def text(self) -> str:
        return self.scenario.messages[-1]["content"]

    @property
    def is_single(self) -> bool:
        """True for a prompt of a set: no probe, no turn of a dialogue, no wrapped copy."""
        s = self.scenario
        return (
            s.contrast is None
            and s.find_attribute("turn_style") is None
            and s.find_attribute(WRAPPER) is None
        )


class Figure(NamedTuple):
    """A measured value with its bar; `bar` is None for a figure without one."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    bar: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def is_missed(self) -> bool:
        # A figure that is not measured meets no bar.
        if self.bar is None:
            return False
        if self.value is None:
            return True
        return self.value < self.bar if self.at_least else self.value > self.bar


def read_prompts(run: Path) -> list[Prompt]:
    """Read the scenarios of a run, each with its accepted answer."""
    prompts: dict[str, Prompt] = {}
    for path in sorted((run / "run" / "records").glob("*.parquet")):
        for row in parquet.read_rows(path):
            record = record_from_row(row | {"base_prompt": row.get("base_prompt")})
            id_ = record.scenario.scenario_id
            answer = record.draft.response if record.accepted else None
            if id_ not in prompts or (answer is not None and prompts[id_].answer is None):
                expected = record.expectation
                prompts[id_] = Prompt(record.scenario, expected.mode, expected.required, answer)
    return list(prompts.values())


# --- words and surface


def score_folds(texts: Sequence[str], labels: Sequence[bool], goals: Sequence[str]) -> np.ndarray:
    """Score each text by a classifier that saw no text of its goal."""
    scores = np.zeros(len(texts))
    truth = np.array(labels)
    for train, test in GroupKFold(5).split(texts, truth, goals):
        vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        model = LogisticRegression(C=10, class_weight="balanced", max_iter=2_000)
        model.fit(vectors.fit_transform([texts[n] for n in train]), truth[train])
        scores[test] = model.decision_function(vectors.transform([texts[n] for n in test]))
    return scores


def auc_interval(
    scores: np.ndarray, labels: Sequence[bool], goals: Sequence[str]
) -> tuple[float, tuple[float, float]]:
    """Compute the AUC, and its 95 % interval by a bootstrap over goals."""
    truth, values = np.array(labels), float(roc_auc_score(labels, scores))
    rows = defaultdict[str, list[int]](list)
    for n, goal in enumerate(goals):
        rows[goal].append(n)
    groups = [np.array(group) for group in rows.values()]
    rng = np.random.default_rng(0)
    draws: list[float] = []
    for _ in range(DRAWS):
        chosen = np.concatenate([groups[n] for n in rng.integers(len(groups), size=len(groups))])
        if len(set(truth[chosen])) == 2:
            draws.append(float(roc_auc_score(truth[chosen], scores[chosen])))
    low, high = np.percentile(draws, [2.5, 97.5])
    return values, (float(low), float(high))


def measure_words(prompts: Sequence[Prompt], first: str, second: str, bar: float) -> Figure:
    """Measure how well words separate two intents in unseen goals."""
    rows = [p for p in prompts if p.is_single and p.scenario.intent in (first, second)]
    labels = [p.scenario.intent == second for p in rows]
    goals = [p.scenario.goal_id for p in rows]
    name = f"{first} against {second}, words, AUC"
    if len(set(labels)) < 2 or len(set(goals)) < 5:
        return Figure(name, None, bar=bar, note="too few prompts")
    scores = score_folds([p.text for p in rows], labels, goals)
    auc, interval = auc_interval(scores, labels, goals)
    bayes = artifacts.measure_auc(
        [
            artifacts.ArtifactRow(
                p.scenario.goal_id, p.scenario.set_id, p.text, p.scenario.intent, p.mode
            )
            for p in rows
        ],
        labels,
    )
    note = f"{len(rows)} prompts; naive Bayes of the card {getattr(bayes, 'auc', float('nan')):.2f}"
    return Figure(name, auc, interval, bar, note=note)


def surface_features() -> dict[str, Callable[[Prompt], float]]:
    """Name the surface features, each a number of a prompt."""

    def share_upper(p: Prompt) -> float:
        letters = [c for c in p.text if c.isalpha()]
        return sum(c.isupper() for c in letters) / max(len(letters), 1)

    def first_word(p: Prompt) -> str:
        found = WORD.search(p.text)
        return found.group().lower() if found else ""

    def has_noise(kind: str) -> Callable[[Prompt], float]:
        return lambda p: p.scenario.find_attribute(NOISE) == kind

    return {
        "share of capitals": share_upper,
        "no capital": lambda p: p.text.islower(),
        "all capitals": lambda p: p.text.isupper(),
        "question mark": lambda p: "?" in p.text,
        "first person": lambda p: bool(FIRST_PERSON.search(p.text)),
        "opening verb": lambda p: first_word(p) in IMPERATIVES,
        "words": lambda p: len(WORD.findall(p.text)),
        "punctuation": lambda p: sum(not c.isalnum() and not c.isspace() for c in p.text),
        "noise": lambda p: p.scenario.find_attribute(NOISE) is not None,
        **{f"noise {kind}": has_noise(kind) for kind in NOISE_KINDS},
    }


def measure_surface(prompts: Sequence[Prompt]) -> Iterator[Figure]:
    """Measure each surface feature alone on each pair of intents; an AUC below 0.5 counts from above."""
    rows = [p for p in prompts if p.is_single]
    for first, second in combinations(INTENTS, 2):
        pair = [p for p in rows if p.scenario.intent in (first, second)]
        labels = [p.scenario.intent == second for p in pair]
        goals = [p.scenario.goal_id for p in pair]
        for name, feature in surface_features().items():
            scores = np.array([float(feature(p)) for p in pair])
            label = f"{first} against {second}, {name}, AUC"
            if len(set(labels)) < 2 or len(set(scores)) < 2:
                # Noise is off unless the recipe asks for it.
                if name.removeprefix("noise ") not in NOISE_KINDS:
                    yield Figure(label, 0.5, bar=0.60, note="the same in all prompts")
                continue
            value, interval = auc_interval(scores, labels, goals)
            if value < 0.5:
                value, interval = 1 - value, (1 - interval[1], 1 - interval[0])
            yield Figure(label, value, interval, 0.60)


# --- answers


def words_of(text: str) -> list[str]:
    return [w.lower() for w in WORD.findall(text)]


def grams_of(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[n : n + size]) for n in range(len(words) - size + 1)]


def measure_shared_grams(prompts: Sequence[Prompt]) -> Figure:
    """Measure the share of a refusal's words in 4-grams that a refusal of another set has, too."""
    refusals = [p for p in prompts if p.answer and p.mode == "refuse_redirect" and p.is_single]
    sets = defaultdict[tuple[str, ...], set[str]](set)
    for p in refusals:
        for gram in grams_of(words_of(p.answer or ""), GRAM):
            sets[gram].add(p.scenario.set_id)
    shared = total = 0
    for p in refusals:
        words = words_of(p.answer or "")
        covered = set[int]()
        for start, gram in enumerate(grams_of(words, GRAM)):
            if len(sets[gram]) > 1:
                covered.update(range(start, start + GRAM))
        shared, total = shared + len(covered), total + len(words)
    name = "refusals: words in 4-grams shared with another set"
    value = shared / total if total else None
    return Figure(name, value, bar=0.10, note=f"{len(refusals)} refusals")


def measure_shared_sentences(prompts: Sequence[Prompt]) -> Figure:
    """Measure the share of sentences that another safe completion of the same set has, too.

    Twins about two groups have equal answers on purpose, so one of them counts.
    """
    by_set = defaultdict[str, list[set[str]]](list)
    twins = set[tuple[str, str]]()
    for p in prompts:
        if p.answer and p.mode == "safe_completion" and p.is_single:
            twin = p.scenario.find_attribute(TWIN)
            if twin is not None and (p.scenario.set_id, twin) in twins:
                continue
            twins.add((p.scenario.set_id, twin or ""))
            sentences = {" ".join(words_of(s)) for s in SENTENCE.split(p.answer)}
            by_set[p.scenario.set_id].append(sentences - {""})
    shared = total = 0
    for answers in by_set.values():
        counts = Counter(s for sentences in answers for s in sentences)
        total += sum(counts.values())
        shared += sum(n for n in counts.values() if n > 1)
    value = shared / total if total else None
    return Figure("safe completions: sentences shared within a set", value, bar=0.10)


def measure_pairs(run: Path) -> Figure:
    """Measure how often words alone rank the chosen side above the rejected one."""
    name = "chosen against rejected, words, AUC"
    paths = sorted((run / "data" / "preference").glob("*/*.parquet"))
    rows = [row for path in paths for row in parquet.read_rows(path)]
    if not rows:
        return Figure(name, None, bar=0.75, note="no view `preference`")
    pairs = [
        PairTexts(row["set_id"], read_answer(row["chosen"]), read_answer(row["rejected"]))
        for row in rows
    ]
    return Figure(name, rank_pairs(pairs).auc, bar=0.75, note=f"{len(pairs)} pairs")


# --- labels


def measure_one_sided(prompts: Sequence[Prompt]) -> Figure:
    """Measure the share of sets whose dual-use prompts are all on one side of detail 1|2."""
    by_set = defaultdict[str, set[bool]](set)
    for p in prompts:
        if p.is_single and p.scenario.intent == "dual_use":
            by_set[p.scenario.set_id].add(p.scenario.requested_detail >= 2)
    one = sum(len(sides) == 1 for sides in by_set.values())
    value = one / len(by_set) if by_set else None
    name = "sets with all dual-use prompts on one side of detail 1|2"
    return Figure(name, value, bar=0.50, note=f"{one} of {len(by_set)}")


def measure_self(prompts: Sequence[Prompt]) -> Figure:
    """Count prompts that show danger to oneself and are refused, or whose answer needs no crisis contact."""
    rows = [p for p in prompts if p.scenario.evidence == "self"]
    wrong = sum(p.mode == "refuse_redirect" or "crisis" not in p.required for p in rows)
    return Figure("`self` rows refused or without `crisis`", wrong, bar=0, note=f"{len(rows)} rows")


def measure_contacts(run: Path) -> Figure:
    """Count accepted answers that failed the check of contacts."""
    name, checked, failed = "contacts outside registry or region", 0, 0
    for path in sorted((run / "run" / "records").glob("*.parquet")):
        for row in parquet.read_rows(path):
            verdicts = [v for v in row["verdicts"] if v["validator"] == "contacts"]
            if row["accepted"] and verdicts:
                checked += 1
                failed += any(v["passed"] is not True for v in verdicts)
    if not checked:
        return Figure(name, None, bar=0, note="no validator `contacts` in the run")
    return Figure(name, failed, bar=0, note=f"{checked} answers")


def count_labels(prompts: Iterable[Prompt]) -> dict[str, dict[str, int]]:
    """Count evidence, detail and intent per leaf."""
    counts = defaultdict[str, Counter[str]](Counter)
    for p in prompts:
        s = p.scenario
        counts[s.harm][f"{s.evidence} · {s.requested_detail} · {s.intent}"] += 1
    return {harm: dict(sorted(c.items())) for harm, c in sorted(counts.items())}


def measure_forms(prompts: Sequence[Prompt]) -> dict[str, dict[str, float]]:
    """Measure the share of forms by intent, over all prompts but wrapped ones."""
    features = surface_features()
    forms: dict[str, Callable[[Prompt], bool]] = {
        "noise": lambda p: bool(features["noise"](p)),
        "code": lambda p: bool(CODE.search(p.text)),
        f"{LONG} words or more": lambda p: features["words"](p) >= LONG,
        "imperative": lambda p: bool(features["opening verb"](p)),
        "question mark": lambda p: bool(features["question mark"](p)),
        "no capital": lambda p: bool(features["no capital"](p)),
    }
    rows = [p for p in prompts if p.scenario.find_attribute(WRAPPER) is None]
    return {
        name: {
            intent: mean(has_form(p) for p in rows if p.scenario.intent == intent)
            for intent in INTENTS
            if any(p.scenario.intent == intent for p in rows)
        }
        for name, has_form in forms.items()
    }


# --- diversity and other corpora


def measure_diversity(texts: Sequence[str], size: int) -> dict[str, float]:
    """Measure self-BLEU-4, distinct-1 and distinct-2 of a sample of texts."""
    rng = np.random.default_rng(0)
    chosen = [texts[int(n)] for n in rng.permutation(len(texts))[:size]]
    tokens = [words_of(text) for text in chosen]
    smooth = SmoothingFunction().method1
    scores = [
        # nltk returns a list only if several weights are given.
        cast(float, sentence_bleu([*tokens[:n], *tokens[n + 1 :]], own, smoothing_function=smooth))
        for n, own in enumerate(tokens)
        if own
    ]
    grams = {n: [g for own in tokens for g in grams_of(own, n)] for n in (1, 2)}
    distinct = {f"distinct-{n}": len(set(g)) / max(len(g), 1) for n, g in grams.items()}
    return {
        "texts": len(chosen),
        "self-BLEU": mean(scores),
        **distinct,
        "words": median(map(len, tokens)),
    }


def read_xstest(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(dict.fromkeys(row["prompt"] for row in csv.DictReader(file)))


def measure_copies(prompts: Sequence[Prompt], others: Sequence[str]) -> Figure:
    """Count prompts that nearly repeat one of another corpus."""
    texts = [
        near_duplicates.CorpusText(f"other {n}", text, "other") for n, text in enumerate(others)
    ]
    # Two groups, because texts of one group are not compared with each other.
    texts += [
        near_duplicates.CorpusText(p.scenario.scenario_id, p.scenario.plain_request, "run")
        for p in prompts
    ]
    copies = near_duplicates.find_near_duplicates(texts)
    # Such a search compares five words in a row; shorter texts are compared as a whole.
    short = {" ".join(words_of(text)) for text in others}
    ids = {c.id for c in copies if not c.id.startswith("other ")}
    ids |= {
        p.scenario.scenario_id
        for p in prompts
        if " ".join(words_of(p.scenario.plain_request)) in short
    }
    note = f"{len(prompts)} prompts against {len(others)}"
    return Figure("near-duplicates of XSTest", len(ids), bar=XSTEST_BAR, note=note)


# --- readings


class Reading(NamedTuple):
    """The labels that a reader gave to a prompt."""

    evidence: str
    detail: int
    mode: str


def read_readings(folder: Path, prompts: Mapping[str, Prompt]) -> dict[str, dict[str, Reading]]:
    """Read the labels by reader and scenario; a changed prompt makes its reading void."""
    readings: dict[str, dict[str, Reading]] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        kept = readings.setdefault(path.stem, {})
        for row in rows:
            prompt = prompts.get(row["scenario_id"])
            if prompt is not None and text_sha256(prompt.text) == row["prompt_sha256"]:
                kept[row["scenario_id"]] = Reading(row["evidence"], int(row["detail"]), row["mode"])
        print(
            f"{path.name}: {len(kept)} of {len(rows)} readings are of prompts as they are;"
            f" sha256 {text_sha256(path.read_text(encoding='utf-8'))}"
        )
    return readings


def kappa(first: Sequence[Any], second: Sequence[Any], weights: str | None = None) -> float:
    # Equal constant labels agree fully; the coefficient itself is 0 / 0.
    if list(first) == list(second):
        return 1.0
    return float(cohen_kappa_score(first, second, weights=weights))


def measure_readings(folder: Path, prompts: Sequence[Prompt]) -> Iterator[Figure]:
    """Measure the agreement of each two readers; models decide the gate, people are listed apart."""
    by_id = {p.scenario.scenario_id: p for p in prompts}
    kinds = json.loads((folder / "readers.json").read_text(encoding="utf-8"))
    readings = read_readings(folder, by_id)
    if unknown := [name for name in readings if kinds.get(name) not in ("person", "model")]:
        sys.exit(f"{folder / 'readers.json'}: mark `{unknown[0]}` as `person` or `model`")
    for kind in ("model", "person"):
        names = [name for name in readings if kinds[name] == kind]
        for first, second in combinations(names, 2):
            yield from compare_readers(
                f"{kind}s {first}, {second}",
                readings[first],
                readings[second],
                by_id,
                gate=kind == "model",
            )
        key = {id_: key_of(p) for id_, p in by_id.items()}
        for name in names:
            yield from compare_readers(
                f"{kind} {name}, key", readings[name], key, by_id, gate=False
            )


def key_of(prompt: Prompt) -> Reading:
    return Reading(prompt.scenario.evidence, prompt.scenario.requested_detail, prompt.mode)


def compare_readers(
    label: str,
    first: Mapping[str, Reading],
    second: Mapping[str, Reading],
    prompts: Mapping[str, Prompt],
    *,
    gate: bool,
) -> Iterator[Figure]:
    ids = sorted(first.keys() & second.keys())
    dual = [id_ for id_ in ids if prompts[id_].scenario.intent == "dual_use"]
    if not ids:
        return
    if dual:
        value = kappa([first[i].mode for i in dual], [second[i].mode for i in dual])
        is_enough = len(dual) >= 150
        note = f"n = {len(dual)}" + ("" if is_enough else ", below 150")
        bar = 0.75 if gate else None
        yield Figure(f"{label}: mode of dual-use, κ", value if is_enough or not gate else None, interval_of_kappa(first, second, dual, prompts), bar, at_least=True, note=f"{note}, κ = {value:.2f}")  # fmt: skip
    detail = [(first[i].detail, second[i].detail) for i in ids]
    left, right = [a for a, _ in detail], [b for _, b in detail]
    exact = mean(a == b for a, b in detail)
    yield Figure(f"{label}: detail, quadratic κ", kappa(left, right, "quadratic"), note=f"n = {len(ids)}, exact {exact:.0%}")  # fmt: skip
    yield Figure(f"{label}: evidence, κ", kappa([first[i].evidence for i in ids], [second[i].evidence for i in ids]), note=f"n = {len(ids)}")  # fmt: skip


def interval_of_kappa(
    first: Mapping[str, Reading],
    second: Mapping[str, Reading],
    ids: Sequence[str],
    prompts: Mapping[str, Prompt],
) -> tuple[float, float]:
    """Compute the 95 % interval of the κ of modes by a bootstrap over goals."""
    groups = defaultdict[str, list[str]](list)
    for id_ in ids:
        groups[prompts[id_].scenario.goal_id].append(id_)
    goals, rng = list(groups.values()), np.random.default_rng(0)
    draws: list[float] = []
    for _ in range(DRAWS):
        drawn = [i for n in rng.integers(len(goals), size=len(goals)) for i in goals[n]]
        draws.append(kappa([first[i].mode for i in drawn], [second[i].mode for i in drawn]))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


# --- output


def measure(run: Path, *, readings: Path | None, xstest: Path | None) -> dict[str, Any]:
    """Compute all figures of a run."""
    prompts = read_prompts(run)
    figures = [
        measure_words(prompts, "benign", "dual_use", 0.65),
        measure_words(prompts, "dual_use", "malicious", 0.80),
        *measure_surface(prompts),
        measure_shared_grams(prompts),
        measure_pairs(run),
        measure_contacts(run),
        measure_self(prompts),
        measure_one_sided(prompts),
        measure_shared_sentences(prompts),
    ]
    plain = [p for p in prompts if p.scenario.find_attribute(WRAPPER) is None]
    others = read_xstest(xstest) if xstest else []
    singles = [p.text for p in plain if p.is_single]
    size = min(SAMPLE, len(singles), len(others) if others else SAMPLE)
    diversity = {"run": measure_diversity(singles, size)}
    if others:
        diversity["xstest"] = measure_diversity(others, size)
        figures.append(measure_copies(plain, others))
    if readings:
        figures += measure_readings(readings, prompts)
    return {
        "prompts": len(prompts),
        "figures": figures,
        "forms": measure_forms(prompts),
        "diversity": diversity,
        "labels": count_labels(plain),
    }


def print_figures(result: Mapping[str, Any]) -> None:
    print(f"{result['prompts']} prompts")
    for f in result["figures"]:
        value = "–" if f.value is None else f"{f.value:.3f}".rstrip("0").rstrip(".")
        interval = "" if f.interval is None else f" ({f.interval[0]:.2f} to {f.interval[1]:.2f})"
        bar = "" if f.bar is None else f" {'≥' if f.at_least else '≤'} {f.bar:g}"
        mark = "" if f.bar is None else "MISS" if f.is_missed else "ok"
        print(f"{mark:4} {f.name:62} {value}{interval}{bar}  {f.note}".rstrip())
    for name, shares in result["forms"].items():
        print(
            f"{name:22}", *(f"{intent} {share:.1%}" for intent, share in shares.items()), sep="  "
        )
    for name, figures in result["diversity"].items():
        print(f"{name:22}", *(f"{k} {v:.3g}" for k, v in figures.items()), sep="  ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("--readings", type=Path, help="folder with a CSV file per blind reader")
    parser.add_argument("--xstest", type=Path, help="CSV with the column `prompt`")
    parser.add_argument("--output", type=Path, default=Path("content.json"), help="JSON file")
    parser.add_argument("--gate", action="store_true", help="exit with 1 if a bar is missed")
    args = parser.parse_args()
    result = measure(args.run, readings=args.readings, xstest=args.xstest)
    print_figures(result)
    figures = [f._asdict() | {"missed": f.is_missed} for f in result["figures"]]
    text = json.dumps(result | {"figures": figures}, ensure_ascii=False, indent=1)
    args.output.write_text(text + "\n", encoding="utf-8")
    if args.gate and any(f["missed"] for f in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
