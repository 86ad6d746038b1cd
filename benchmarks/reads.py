"""Reads of the data that a loss needs: the default start against growing samples and plain ALS.

    python benchmarks/reads.py acts/ --seeds 10 --best 0.49615

`acts/` is the store that `cofactor capture` makes of the paper's case (see the README). Without it
only the made-up data sets and scikit-learn's digits are measured. A read of m of n examples counts
m / n, and an iteration on compressed data counts as its share of the numbers. The read that checks
arrays is not counted, nor the last one, for W: both are the same for all, and the loss needs
neither. Printed are medians over seeds, in per cent above the best loss known; a dash
means that there is none yet.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf

STARTS: dict[str, dict[str, Any]] = {
    "default": {},
    "growing samples": {"init": "sample"},
    "random, plain": {"init": "random", "acceleration": None},
}


@dataclass
class Case:
    """Data to factorize."""

    name: str
    data: Any
    rank: int


@dataclass
class Run:
    """Losses of one fit by reads of the data."""

    before: float
    losses: list[float]
    seconds: list[float]

    def loss_after(self, reads: float) -> float:
        count = int(reads - self.before + 1e-9)
        return self.losses[min(count, len(self.losses)) - 1] if count > 0 else float("inf")

    def reads_to(self, goal: float) -> float:
        reached = [i for i, loss in enumerate(self.losses, 1) if loss <= goal]
        return self.before + reached[0] if reached else float("inf")


def fit(case: Case, seed: int, reads: int, options: dict[str, Any]) -> Run:
    """Best losses so far after every pass of a fit."""
    losses: list[float] = []
    seconds: list[float] = []
    start = time.perf_counter()

    def listen(event: cf.FitEvent) -> None:
        losses.append(min([event.loss, *losses[-1:]]))
        seconds.append(time.perf_counter() - start)

    nmf = cf.CoupledNMF(
        case.rank, random_state=seed, tol=0, max_iter=reads, callback=listen, **options
    ).fit(case.data)
    checked = 0 if isinstance(case.data, cf.ActivationStore) else 1
    return Run(nmf.n_passes_ - len(losses) - 1 - checked, losses, seconds)


def made_up_cases() -> Iterator[Case]:
    """Digits, images of smooth parts, planted factors with noise, and counts of words."""
    rng = np.random.default_rng(0)
    yield Case("digits 1797 x 64, rank 16", {"x": load_digits().data.astype(np.float32)}, 16)

    y, x = np.mgrid[:48, :48] / 48
    centres, widths = rng.random((60, 2)), rng.uniform(0.03, 0.15, 60)
    parts = np.exp(
        -((y.ravel() - centres[:, :1]) ** 2 + (x.ravel() - centres[:, 1:]) ** 2)
        / (2 * widths[:, None] ** 2)
    )
    images = rng.gamma(0.5, 1.0, (3000, 60)) @ parts + rng.gamma(1.0, 0.2, (3000, 48 * 48))
    yield Case("smooth parts 3000 x 2304, rank 10", {"x": images.astype(np.float32)}, 10)

    for n, d, rank in ((2000, 500, 5), (4000, 6000, 20), (20_000, 300, 10), (6000, 6000, 30)):
        W = rng.gamma(0.3, 1.0, (n, rank)).astype(np.float32)
        H = rng.gamma(0.3, 1.0, (rank, d)).astype(np.float32)
        X = W @ H
        X += X.mean() * rng.standard_exponential((n, d), dtype=np.float32)
        yield Case(f"planted {n} x {d}, rank {rank}", {"x": X}, rank)

    topics = rng.dirichlet(np.full(8000, 0.02), 30)
    documents = rng.dirichlet(np.full(30, 0.1), 4000) * rng.lognormal(5, 0.7, (4000, 1))
    counts = np.minimum(rng.poisson(documents @ topics), 255).astype(np.uint8)
    yield Case("word counts 4000 x 8000, rank 20", {"x": counts}, 20)


def measure(case: Case, seeds: int, reads: int, known: float | None) -> None:
    """Print what every start has reached after some reads, and the reads to two goals."""
    runs = {
        name: [fit(case, seed, reads, options) for seed in range(seeds)]
        for name, options in STARTS.items()
    }
    found = min(run.losses[-1] for group in runs.values() for run in group)
    best = found if known is None else min(found, known)
    steps = sorted({3, 5, 8, reads})
    print(f"\n{case.name}, {seeds} seeds, best loss {best:.5f}")
    print(
        f"{'start':16}"
        + "".join(f"{f'{step} reads':>11}" for step in steps)
        + f"{'to 0.5 %':>11}{'to 0.1 %':>11}{'s to first':>11}{'s a pass':>11}"
    )
    for name, group in runs.items():
        above = [median(run.loss_after(s) / best - 1 for run in group) for s in steps]
        goals = [median(run.reads_to(best * (1 + goal)) for run in group) for goal in (5e-3, 1e-3)]
        first = median(run.seconds[0] for run in group)
        later = median((run.seconds[-1] - run.seconds[0]) / (reads - 1) for run in group)
        print(
            f"{name:16}"
            + "".join(
                f"{100 * value:9.3f} %" if value < np.inf else f"{'-':>11}" for value in above
            )
            + "".join(f"{value:11.2f}" if value < np.inf else f"{'-':>11}" for value in goals)
            + f"{first:11.2f}{later:11.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, nargs="?", help="store of the paper's case")
    parser.add_argument("--rank", type=int, default=20, help="components for the store")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--reads", type=int, default=14, help="passes of every fit")
    parser.add_argument("--best", type=float, help="best loss known for the store")
    parser.add_argument("--only", default="", help="measure cases whose name contains this")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    if args.store is not None and args.only in "store":
        store = cf.ActivationStore(args.store)
        columns = sum(int(np.prod(view.shape)) for view in store.views.values())
        name = f"store {store.n_examples} x {columns}, rank {args.rank}"
        measure(Case(name, store, args.rank), args.seeds, args.reads, args.best)
    for case in made_up_cases():
        if args.only in case.name:
            measure(case, args.seeds, args.reads, None)


if __name__ == "__main__":
    main()
