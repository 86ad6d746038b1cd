"""The non-negative solves against scipy.optimize.nnls, through CoupledNMF.transform.

The measure of accuracy is that of the design: the violation of the optimality conditions in the
problem scaled to a unit diagonal, relative to its right-hand side.
"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from scipy.optimize import nnls

import cofactor as cf


def independent(rng: np.random.Generator, k: int, columns: int) -> np.ndarray:
    return rng.random((k, columns)) * (rng.random((k, columns)) < 0.5)


def nearly_collinear(rng: np.random.Generator, k: int, columns: int) -> np.ndarray:
    return rng.random(columns) + 10.0 ** rng.uniform(-3, -1) * rng.random((k, columns))


def rank_deficient(rng: np.random.Generator, k: int, columns: int) -> np.ndarray:
    basis = independent(rng, max(1, k // 2), columns)
    mix = rng.random((k, len(basis))) * (rng.random((k, len(basis))) < 3 / k)
    mix[: len(basis)] = np.eye(len(basis))
    return mix @ basis


def dead_components(rng: np.random.Generator, k: int, columns: int) -> np.ndarray:
    H = independent(rng, k, columns)
    H[rng.random(k) < 0.4] = 0
    H[0] = 1
    return H


def huge_range_of_scales(rng: np.random.Generator, k: int, columns: int) -> np.ndarray:
    return independent(rng, k, columns) * 10.0 ** rng.uniform(-6, 6, (k, 1))


def draw_rows(rng: np.random.Generator, H: np.ndarray, n: int) -> np.ndarray:
    """Rows near to the cone of H, far from it, and zero."""
    W = rng.random((n, len(H))) * (rng.random((n, len(H))) < 0.5)
    X = W @ (H / np.maximum(H.max(axis=1, keepdims=True), 1e-30))
    X += rng.choice([1e-3, 0.1, 1.0], (n, 1)) * X.max() * rng.random(X.shape)
    X[rng.random(n) < 0.1] = 0
    return X


def transform(H: np.ndarray, X: np.ndarray) -> np.ndarray:
    """W of an estimator whose components are H."""
    k, columns = H.shape
    nmf = cf.CoupledNMF(k, init="random", random_state=0, tol=0, max_iter=1)
    nmf.fit({"x": np.random.default_rng(0).random((2 * k, columns)).astype(H.dtype)})
    nmf.components_ = {"x": H}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*component")
        return nmf.transform({"x": X}).astype(np.float64)


def violations(G: np.ndarray, B: np.ndarray, W: np.ndarray) -> np.ndarray:
    """max_r |min(sqrt(G_rr) x_r, (Gx - b)_r / sqrt(G_rr))| / max_r |b_r / sqrt(G_rr)| by row."""
    alive = np.diag(G) > 0
    root = np.sqrt(np.diag(G)[alive])
    gradient = (W @ G - B)[:, alive] / root
    size = np.abs(B[:, alive] / root).max(axis=1)
    found = np.abs(np.minimum(root * W[:, alive], gradient)).max(axis=1)
    return found / np.where(size > 0, size, 1)


KINDS = [independent, nearly_collinear, rank_deficient, dead_components, huge_range_of_scales]
SIZES = [(1, 20), (2, 20), (3, 20), (8, 20), (17, 20), (32, 20), (33, 20), (60, 20)]
LARGE = [(128, 10), (200, 10), (256, 6), (384, 4), (512, 10)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_scipy(kind, dtype) -> None:
    """1,000 problems for each dtype, with objectives equal to what the violation allows."""
    seed = int(os.environ.get("COFACTOR_TEST_SEED", np.random.SeedSequence().entropy))
    print(f"repeat with COFACTOR_TEST_SEED={seed}")
    rng = np.random.default_rng(seed)
    for k, n in SIZES + LARGE:
        H = kind(rng, k, 2 * k + 5).astype(dtype)
        X = draw_rows(rng, H.astype(np.float64), n).astype(dtype)
        W = transform(H, X)
        H, X = H.astype(np.float64), X.astype(np.float64)
        G, B = H @ H.T, X @ H.T
        assert (W >= 0).all()
        assert (W[:, np.diag(G) == 0] == 0).all()
        worst = violations(G, B, W).max()
        assert worst < (1e-5 if dtype == np.float32 else 1e-10), (k, worst)
        check_objectives(H, X, W)


def check_objectives(H: np.ndarray, X: np.ndarray, W: np.ndarray) -> None:
    """f(x) - f(y) <= g(x)'(x - y) for convex f, with g(x) as it is measured."""
    G, B = H @ H.T, X @ H.T
    for x, b, row in zip(W, B, X, strict=True):
        y, distance = nnls(H.T, row, maxiter=100 * len(H))
        gap = (G @ x - b) @ (x - y)
        residual = ((row - x @ H) ** 2).sum()
        rounding = 1e-12 * (row**2).sum()
        assert residual - distance**2 <= 2 * gap + rounding
        # And scipy's solution is no better than the violation explains.
        root = np.sqrt(np.diag(G))
        epsilon = violations(G, b[None], x[None])[0] * np.max(
            np.abs(b) / np.where(root > 0, root, np.inf)
        )
        gradient = np.divide(G @ x - b, root, out=np.zeros_like(b), where=root > 0)
        reach = np.abs(root * x).sum() + np.abs(root * y).sum() + np.abs(gradient).sum()
        assert gap <= epsilon * reach * (1 + 1e-9) + rounding
