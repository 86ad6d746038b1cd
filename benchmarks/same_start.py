"""Objective of cofactor.NMF and scikit-learn's from the same start, at equal iterations.

    python benchmarks/same_start.py acts/ --seeds 10

On scikit-learn's digits, made-up faces of a few parts, sparse counts of made-up texts and, where
`acts/` is given, the paper's case side by side. Both get one W and one H for each seed
(``init="custom"``, ``tol=0``). Printed is cofactor's median squared residual over scikit-learn's,
and in brackets the range of the ratio over seeds, after so many iterations.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse
import sklearn.decomposition
from sklearn.datasets import load_digits

import cofactor as cf
from cofactor.bench import draw_start

ITERATIONS = (10, 25, 50, 200)


def faces(n: int = 400, side: int = 48, random_state: int = 0) -> np.ndarray:
    """Images of smooth bright parts, each face a few of them, with noise."""
    rng = np.random.default_rng(random_state)
    y, x = np.mgrid[:side, :side] / side
    centres, widths = rng.random((30, 2)), rng.uniform(0.05, 0.2, 30)
    parts = np.array(
        [
            np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2)).ravel()
            for (a, b), width in zip(centres, widths, strict=True)
        ]
    )
    weights = rng.gamma(0.7, size=(n, 30))
    return np.maximum(weights @ parts + 0.1 * rng.standard_normal((n, side**2)), 0)


def texts(n: int = 2000, words: int = 4000, topics: int = 20, random_state: int = 0) -> Any:
    """Word counts of texts of a few topics, with Zipf's frequencies: about one in fifty not 0."""
    rng = np.random.default_rng(random_state)
    frequency = 1 / np.arange(1, words + 1)
    chances = np.array([frequency * rng.gamma(0.3, size=words) for _ in range(topics)])
    chances /= chances.sum(axis=1, keepdims=True)
    shares = rng.dirichlet(np.full(topics, 0.1), n)
    lengths = rng.lognormal(4.5, 0.6, (n, 1))
    return scipy.sparse.csr_array(rng.poisson(shares @ chances * lengths).astype(np.float64))


def paper(store: Path) -> np.ndarray:
    acts = cf.ActivationStore(store)
    views = [
        np.concatenate(acts.chunks(name)).astype(np.float32) * np.float32(view.scale)
        for name, view in acts.views.items()
    ]
    return np.concatenate(views, axis=1)


def squared_error(X: Any, W: np.ndarray, H: np.ndarray) -> float:
    """||X - W H||_F^2, summed in float64: scikit-learn's own, in float32, is wrong by 1e-3."""
    W, H = W.astype(np.float64), H.astype(np.float64)
    values = X.data if scipy.sparse.issparse(X) else X
    total = sum(float(np.vdot(part, part)) for part in map(np.float64, np.array_split(values, 64)))
    cross = float(np.vdot(X @ H.T.astype(X.dtype), W))
    return total - 2 * cross + float(np.vdot(W.T @ W, H @ H.T))


def compare(X: Any, k: int, seeds: int, iterations: tuple[int, ...]) -> list[str]:
    cells = []
    for n_iter in iterations:
        ours, theirs = [], []
        for seed in range(seeds):
            W, H = (factor.astype(X.dtype) for factor in draw_start(X, k, seed))
            options = {"init": "custom", "tol": 0, "max_iter": n_iter}
            for model, errors in (
                (cf.NMF(k, **options), ours),
                (sklearn.decomposition.NMF(k, **options), theirs),
            ):
                found = model.fit_transform(X, W=W.copy(), H=H.copy())
                errors.append(squared_error(X, found, model.components_))
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        of_medians = median(ours) / median(theirs)
        cells.append(f"{of_medians:.4f} ({ratios[0]:.4f} to {ratios[-1]:.4f})")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--iterations", type=int, nargs="+", default=list(ITERATIONS))
    parser.add_argument("--store-iterations", type=int, nargs="+", default=[50])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cases = {
        "digits": (load_digits().data, 10),
        "digits, k = 30": (load_digits().data, 30),
        "faces": (faces(), 20),
        "texts": (texts(), 20),
    }
    print("| data | shape | k | " + " | ".join(map(str, arguments.iterations)) + " iterations |")
    print("|---" * (3 + len(arguments.iterations)) + "|")
    for name, (X, k) in cases.items():
        cells = compare(X, k, arguments.seeds, tuple(arguments.iterations))
        print(f"| {name} | {X.shape} | {k} | " + " | ".join(cells) + " |", flush=True)
    if arguments.store is not None:
        X = paper(arguments.store)
        cells = compare(X, 20, arguments.seeds, tuple(arguments.store_iterations))
        iterations = ", ".join(map(str, arguments.store_iterations))
        print(f"\npaper's case {X.shape}, k = 20, {iterations} iterations: " + ", ".join(cells))


if __name__ == "__main__":
    main()
