"""Time of many fits at once against the same fits one after the other, on a store.

    python benchmarks/many.py acts/ --rank 20 --seeds 10 --passes 10

All fits start at random, make equal passes and solve W once more. The store should be in the page
cache, where a first fit, which is not measured, brings it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--singles", type=int, default=0, help="fits alone a round; 0: all seeds")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    data = cf.ActivationStore(options.store)
    fitted = {"init": "random", "max_iter": options.passes, "tol": 0}
    singles = options.singles or options.seeds
    cf.CoupledNMF(options.rank, random_state=0, **{**fitted, "max_iter": 1}).fit(data)
    together: list[float] = []
    apart: list[float] = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        cf.fit_many(data, options.rank, seeds=options.seeds, **fitted)
        together.append(time.perf_counter() - start)
        start = time.perf_counter()
        for seed in range(singles):
            cf.CoupledNMF(options.rank, random_state=seed, **fitted).fit(data)
        apart.append((time.perf_counter() - start) * options.seeds / singles)
    ratios = [a / b for a, b in zip(together, apart, strict=True)]
    print(
        f"{options.seeds} seeds at k = {options.rank}, {options.passes} passes: together "
        f"{np.median(together):.2f} s, one by one {np.median(apart):.2f} s, ratio "
        f"{np.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
