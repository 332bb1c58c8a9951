"""Whether the verdict of ``genzoo augment`` is right: held against a truth from ten fresh draws and many unseen rows.

    python tests/bench/augment_truth.py [--runs 10] [--only adult,oracle,random] [--repeats 5]
    python tests/bench/augment_truth.py --adult 8000,640 [--repeats 3]

Cases are rows of ``adult`` (900 of them; in ``adult-160`` and ``adult-640`` the verdict sees 8,000 common rows and so
many rare ones); a simulated rare class whose columns are independent, which generation must win, since no
classifier finds that out from few rows; and a label that is random. The truth: for each of ten seeds rows are drawn
anew, generator and classifiers learn from them, and thousands of unseen rows judge. It is help where the 95 % interval
of the gain in average precision lies above 0. A run of the verdict sees one draw of twice as many rows, and agrees
where it says help and that is the truth, or neither. With ``--adult COMMON,RARE`` the verdict on so many rows is
printed instead, as docs/imbalance.md has it. ``adult-160`` and ``adult-640`` run where ``--only`` names them. About a
quarter of an hour on one core.

Of each draw of the truth it is also said what rows at half weight do for trees as they come (100 rounds, untuned), and
how well trees tell generated rows of the rare class from unseen ones of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

from genzoo.plugins.apps.tables.augment import ALL, ALONE, HALF, _task, folds, kinds
from genzoo.plugins.apps.tables.treatments import Making
from genzoo.plugins.apps.tables.verdict import AS_IS, CHOSEN, MOVED, TREES, Fold, Verdict, halves, judged
from genzoo.plugins.modalities.columns import columns
from genzoo.plugins.modalities.table_files import given_back
from genzoo.registry.verbs.load import load_data

MADE, SEEDS = (ALL, ALONE, HALF), 10
Draw = Callable[[int, int], tuple[Any, int]]  # of a seed and a multiple of the size: a table; rows to learn from first


@dataclass(frozen=True)
class Case:
    """Rows to draw, and what makes more of them."""

    target: str
    rare: str
    draw: Draw
    making: Making


def adult(common: int, rare: int, test: int) -> Draw:
    """Rows of adult by chance, and unseen ones after them."""
    train, unseen = (given_back(columns(d.spec), d.x.numpy()) for d in map(_adult, ("train", "test")))
    y = np.array(train["income"].to_pylist()) == ">50K"

    def draw(seed: int, times: int) -> tuple[Any, int]:
        r = np.random.default_rng(seed)
        chosen = [r.permutation(np.flatnonzero(y == k))[: times * n] for k, n in ((False, common), (True, rare))]
        rows, judges = r.permutation(np.concatenate(chosen)), r.permutation(len(unseen))[:test]
        import pyarrow as pa

        return pa.concat_tables([train.take(rows), unseen.take(judges)]), len(rows)

    return draw


def _adult(split: Any) -> Any:
    return load_data("adult", split=split)


def oracle(common: int, rare: int, test: int, random: bool = False, pairs: int = 7) -> Draw:
    """Pairs of columns that are mostly equal but for rare rows; no column alone tells them. Or a label by chance."""

    def draw(seed: int, times: int) -> tuple[Any, int]:
        import pyarrow as pa

        r, letters = np.random.default_rng(seed), np.array(list("abcd"))
        share = rare / (common + rare)
        parts = []
        for n in (times * (common + rare), test):
            y = r.permutation(np.arange(n) < round(share * n))
            x = r.integers(4, size=(n, 2 * pairs))
            x[:, 1::2] = np.where((r.random((n, pairs)) < 0.6) & ~y[:, None], x[:, ::2], x[:, 1::2])
            y = r.permutation(y) if random else y
            parts.append(pa.table({**{f"c{i}": letters[x[:, i]] for i in range(2 * pairs)},
                                   "y": np.where(y, "rare", "common")}))  # fmt: skip
        return pa.concat_tables(parts), times * (common + rare)

    return draw


CASES = {
    "adult": lambda: Case("income", ">50K", adult(800, 100, 4000), Making("table-ar", steps=200, threads=1)),
    "adult-160": lambda: Case("income", ">50K", adult(4000, 80, 8000), Making("table-ar", threads=1)),
    "adult-640": lambda: Case("income", ">50K", adult(4000, 320, 8000), Making("table-ar", threads=1)),
    "oracle": lambda: Case("y", "rare", oracle(1000, 100, 4000), Making("copula", threads=1)),
    "random": lambda: Case("y", "rare", oracle(400, 40, 3000, random=True, pairs=3), Making("copula", threads=1)),
}


def made(parts: Iterator[Fold]) -> Iterator[Fold]:
    """With the rows that a model makes, and no others, to save time."""
    for fold in parts:
        yield replace(fold, made={name: fold.made[name] for name in MADE})


def untuned(fold: Fold, category: Sequence[bool]) -> float:
    """What rows at half weight add to the average precision of trees as they come."""
    found = []
    for more in (None, fold.made[HALF]):
        x, y, w = fold.x[~fold.inner], fold.y[~fold.inner], np.ones((~fold.inner).sum())
        if more is not None:
            x, y = np.concatenate([x, more.x]), np.concatenate([y, np.ones(len(more.x), bool)])
            w = np.concatenate([w, np.full(len(more.x), more.weight)])
        trees = HistGradientBoostingClassifier(categorical_features=list(category), random_state=0).fit(x, y, w)
        found.append(average_precision_score(fold.test_y, trees.predict_proba(fold.test_x)[:, 1]))
    return float(found[1] - found[0])


def told(fold: Fold, name: str, category: Sequence[bool]) -> float:
    """AUC of trees that tell generated rows of the rare class from unseen ones; .5 is ideal."""
    real, r = fold.test_x[fold.test_y], np.random.default_rng(0)
    n = min(len(real), len(fold.made[name].x))
    x = np.concatenate([r.permutation(real)[:n], r.permutation(fold.made[name].x)[:n]])
    y, order = np.arange(2 * n) < n, r.permutation(2 * n)
    learn, judge = order[: int(1.4 * n)], order[int(1.4 * n) :]
    trees = HistGradientBoostingClassifier(categorical_features=list(category), random_state=0).fit(x[learn], y[learn])
    return float(roc_auc_score(y[judge], trees.predict_proba(x[judge])[:, 1]))


def truth(case: Case) -> Verdict:
    """The verdict over rows that are drawn anew for each seed, judged by unseen ones."""
    drawn = [case.draw(1000 + seed, 1) for seed in range(SEEDS)]
    tasks = [_task(table, case.target, case.rare, "1:1", case.making, None) for table, _ in drawn]

    category, beside = kinds(tasks[0])[TREES], []

    def parts() -> Iterator[Any]:
        for task, (_, n) in zip(tasks, drawn, strict=True):
            for fold in folds(task, [(np.arange(n), np.arange(n, len(task.y)))]):
                beside.append([untuned(fold, category), *(told(fold, name, category) for name in (ALL, ALONE))])
                print("  draw", len(beside), *(f"{v:+.3f}" for v in beside[-1]), flush=True)
                yield fold
        mean = np.mean(beside, axis=0)
        print(f"  untuned trees at half weight: {mean[0]:+.3f}, least {np.min(beside, axis=0)[0]:+.3f}; "
              f"rare rows are told with {mean[1]:.3f}, of a model of them alone {mean[2]:.3f}", flush=True)  # fmt: skip

    return judged(made(parts()), kinds(tasks[0]), generated=MADE, apart=True)


def verdict(case: Case, seed: int, repeats: int, alone: bool = True) -> Verdict:
    """What ``genzoo augment`` says of one draw, of generated rows ``alone`` or of all treatments."""
    table, n = case.draw(seed, 2)
    task = _task(table.slice(0, n), case.target, case.rare, "1:1", case.making, None)
    parts = folds(task, list(halves(task.y, repeats, seed)))
    return judged(made(parts) if alone else parts, kinds(task), seed=seed, generated=MADE)


def said(line: Any) -> str:
    d = line.difference
    return f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})"


def word(found: Verdict) -> str:
    return "helps" if found.helps else "does not help"


def compared(name: str, runs: int, repeats: int, first: int) -> None:
    """Print how often the verdict of a case is right."""
    case, begun = CASES[name](), time.process_time()
    true = truth(case)
    best = max((true.line(kind) for kind in MADE), key=lambda v: v.difference.value)
    print(f"{name}: AP {true.line(AS_IS).means['ap']:.3f} as it is; in truth {best.treatment} {said(best)}, "
          f"{word(true)} ({time.process_time() - begun:.0f} s)", flush=True)  # fmt: skip
    agree = held = 0
    for seed in range(first, first + runs):
        found = verdict(case, seed, repeats)
        line = found.line(best.treatment).difference
        inside = line.low <= best.difference.value <= line.high
        agree, held = agree + (found.helps == true.helps), held + inside
        print(f"  run {seed}: {word(found)}; {best.treatment} {said(found.line(best.treatment))}", flush=True)
    print(f"  {agree} of {runs} agree, the interval holds the truth in {held}; {time.process_time() - begun:.0f} s",
          flush=True)  # fmt: skip


def main() -> None:
    """Compare, or print one verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--only", default="adult,oracle,random", help=f"cases, of {','.join(CASES)}")
    parser.add_argument("--adult", help="COMMON,RARE rows: print the verdict on them")
    asked = parser.parse_args()
    if unknown := [name for name in asked.only.split(",") if name not in CASES]:
        parser.error(f"--only: there is no case {unknown[0]!r}; they are {', '.join(CASES)}")
    torch.set_num_threads(1)
    if not asked.adult:
        for name in asked.only.split(","):
            compared(name, asked.runs, asked.repeats, asked.first)
        return
    common, rare = map(int, asked.adult.split(","))
    begun = time.process_time()
    case = Case("income", ">50K", adult(common // 2, rare // 2, 0), Making("table-ar", threads=1))
    found = verdict(case, 0, asked.repeats, alone=False)
    print("| rows | AP against the data as they are, tuned trees |\n| --- | --- |")
    for line in found.lines:
        if line.classifier == TREES and line.treatment != MOVED:
            print(f"| {line.treatment} | {said(line)} |" if line.treatment != AS_IS else
                  f"| {AS_IS} | AP {line.means['ap']:.3f}, F1 at ½ {line.means['f1']:.3f} |")  # fmt: skip
    print(f"\n{found.sentence} F1 of {CHOSEN} at the threshold: {found.line('threshold moved').means['f1']:.3f}. "
          f"{time.process_time() - begun:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
