"""Time to a loss on the paper's case: cofactor against scikit-learn, interleaved in one run.

    python benchmarks/time_to_loss.py acts/ --iterations 50
    python benchmarks/time_to_loss.py acts/ --loss 0.5

`acts/` is the store that `cofactor capture` makes of the paper's case (see the README). The goal is
scikit-learn's loss after so many iterations, seed by seed, or a loss that both are to reach. Both
draw their start at random (cofactor goes on with compressed data, which counts), factorize the same
numbers with equal weights, and use all threads; cofactor reads the store, scikit-learn gets the
views side by side in float32. Loss is ``sum ||X_v - W H_v||^2 / sum ||X_v||^2``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median

import numpy as np
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf


def cofactor_seconds(
    store: cf.ActivationStore, rank: int, goal: float, seed: int, compute: str
) -> tuple[float, int]:
    """Seconds of a whole fit that stops at the goal, and its number of passes."""

    class Reached(Exception):
        pass

    passes = 0

    def stop(event: cf.FitEvent) -> None:
        nonlocal passes
        passes = event.iteration
        if event.accepted and event.loss <= goal:
            raise Reached

    nmf = cf.CoupledNMF(
        rank, random_state=seed, tol=0, max_iter=1000, compute=compute, callback=stop
    )
    start = time.perf_counter()
    try:
        nmf.fit(store)
    except Reached:
        return time.perf_counter() - start, passes
    raise RuntimeError(f"cofactor did not reach {goal}")


def sklearn_seconds(X: np.ndarray, rank: int, iterations: int, seed: int) -> tuple[float, float]:
    """Seconds of a fit of so many iterations, and its loss."""
    nmf = NMF(rank, init="random", random_state=seed, tol=0, max_iter=iterations)
    start = time.perf_counter()
    W = nmf.fit_transform(X)
    seconds = time.perf_counter() - start
    C, G = W.T @ W, nmf.components_ @ nmf.components_.T
    total = float(np.einsum("ij,ij->", X, X, dtype=np.float64))
    residual = total - 2 * float((X @ nmf.components_.T * W).sum(dtype=np.float64))
    return seconds, (residual + float((C * G).sum(dtype=np.float64))) / total


def fewest_iterations(X: np.ndarray, rank: int, goal: float) -> int:
    """Iterations that scikit-learn needs to reach a loss from seed 0."""
    low, high = 1, 16
    while sklearn_seconds(X, rank, high, 0)[1] > goal:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if sklearn_seconds(X, rank, middle, 0)[1] > goal:
            low = middle
        else:
            high = middle
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--rank", type=int, default=20)
    goals = parser.add_mutually_exclusive_group(required=True)
    goals.add_argument("--iterations", type=int)
    goals.add_argument("--loss", type=float)
    parser.add_argument("--compute", default="float32", choices=["float32", "auto"])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    store = cf.ActivationStore(args.store)
    X = np.hstack([store.read(name).astype(np.float32, copy=False) for name in store.views])
    iterations = args.iterations
    if iterations is None:
        iterations = fewest_iterations(X, args.rank, args.loss)
    ratios = []
    for seed in range(args.repeats):
        # The iterations to a given loss are those from seed 0.
        their_seed = seed if args.loss is None else 0
        theirs, reached = sklearn_seconds(X, args.rank, iterations, their_seed)
        goal = reached if args.loss is None else args.loss
        ours, passes = cofactor_seconds(store, args.rank, goal, seed, args.compute)
        ratios.append(theirs / ours)
        print(
            f"to {goal:.5f}: scikit-learn {theirs:.2f} s (seed {their_seed}, {iterations} "
            f"iterations), cofactor {ours:.2f} s (seed {seed}, {passes} passes), "
            f"{ratios[-1]:.1f} times"
        )
    print(f"rank {args.rank}, {X.shape[0]} x {X.shape[1]}: median {median(ratios):.1f} times")


if __name__ == "__main__":
    main()
