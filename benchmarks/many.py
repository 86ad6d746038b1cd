"""Time of many fits at once against the same fits one after the other, on a store.

    python benchmarks/many.py acts/ --rank 20 --seeds 10 --passes 10

All fits start at random, make equal passes and solve W once more. The store should be in the page
cache, where a first fit, which is not measured, brings it. With `--memory` it is read into float32
arrays first, which every call of fit checks.

With `--cold`, the store leaves the page cache before one fit and before all of them together, and
what the system reads of the disk is counted in place of the time: for a store that does not stay in
memory, fits together read what one reads.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf


def read_cold(store: Path, work: Callable[[], object]) -> int:
    """Bytes that `work` makes the system read of the disk, from an empty page cache."""
    for file in store.rglob("*.npy"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def read() -> int:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        return int(dict(line.split(": ") for line in lines)["read_bytes"])

    before = read()
    work()
    if read() == before:
        raise SystemExit(f"{store} stayed in the page cache: another process may have it mapped")
    return read() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--singles", type=int, default=0, help="fits alone a round; 0: all seeds")
    parser.add_argument("--cold", action="store_true", help="count the bytes read of the disk")
    parser.add_argument("--memory", action="store_true", help="fit arrays in memory")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    data = cf.ActivationStore(options.store)
    if options.memory:
        data = {view: data.read(view) for view in data.views}
    fitted = {"init": "random", "max_iter": options.passes, "tol": 0}
    if options.cold:
        one = read_cold(
            options.store,
            lambda: cf.CoupledNMF(options.rank, random_state=0, **fitted).fit(data),
        )
        many = read_cold(
            options.store,
            lambda: cf.fit_many(data, options.rank, seeds=options.seeds, **fitted),
        )
        print(
            f"bytes read of the disk: {one / 1e6:.1f} MB by one fit, {many / 1e6:.1f} MB by "
            f"{options.seeds} together"
        )
        return
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
