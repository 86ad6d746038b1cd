"""Time to a loss on the paper's case: cofactor against scikit-learn, interleaved in one run.

    python benchmarks/time_to_loss.py acts/ --loss 0.5

`acts/` is the store that `cofactor capture` makes of the paper's case (see the README). Both draw
their start at random (cofactor goes on with compressed data, which counts), factorize the
same numbers at rank 20 with equal weights, and use all threads; cofactor reads the store's float16
and uint8, scikit-learn gets the views side by side in float32. Loss is
``sum ||X_v - W H_v||^2 / sum ||X_v||^2``.
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


def cofactor_seconds(views: dict[str, np.ndarray], rank: int, goal: float, seed: int) -> tuple:
    """Seconds of a whole fit that stops at the goal, with its loss and number of passes."""

    class Reached(Exception):
        pass

    passes = 0

    def stop(event: cf.FitEvent) -> None:
        nonlocal passes
        passes = event.iteration
        if event.accepted and event.loss <= goal:
            raise Reached

    nmf = cf.CoupledNMF(rank, random_state=seed, tol=0, max_iter=1000, callback=stop)
    start = time.perf_counter()
    try:
        nmf.fit(views)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--loss", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    store = cf.ActivationStore(args.store)
    # Stored numbers, in memory: bytes become values by their scale, as the store's reader does.
    views = {
        name: store.read(name) if view.dtype == "uint8" else np.concatenate(store.chunks(name))
        for name, view in store.views.items()
    }
    X = np.hstack([views[name].astype(np.float32) for name in views])

    low, high = 1, 16
    while sklearn_seconds(X, args.rank, high, 0)[1] > args.loss:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if sklearn_seconds(X, args.rank, middle, 0)[1] > args.loss:
            low = middle
        else:
            high = middle
    ours, theirs = [], []
    for repeat in range(args.repeats):
        ours.append(cofactor_seconds(views, args.rank, args.loss, repeat))
        theirs.append(sklearn_seconds(X, args.rank, high, 0)[0])
    our_seconds, their_seconds = median(entry[0] for entry in ours), median(theirs)
    print(f"to relative loss {args.loss}, rank {args.rank}, {X.shape[0]} x {X.shape[1]}")
    print(f"cofactor      {our_seconds:7.2f} s, passes {[entry[1] for entry in ours]}")
    print(f"scikit-learn  {their_seconds:7.2f} s, iterations {high}")
    print(f"ratio         {their_seconds / our_seconds:7.2f}")


if __name__ == "__main__":
    main()
