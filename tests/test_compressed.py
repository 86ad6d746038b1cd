"""Compressed data, and the fit of it, against dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cofactor as cf
from cofactor import _core
from cofactor._compressed import Compressed, CompressedFit, compress, sample_directions
from cofactor._views import load_views


def engine_of(
    views: dict[str, np.ndarray], rank: int, weights: dict[str, float] | None = None
) -> _core.Engine:
    """An engine of views with so many components."""
    data = load_views(views, caller="test").with_statistics(None)
    nmf = cf.CoupledNMF(rank)
    nmf.weights_, nmf._n_columns = weights or dict.fromkeys(views, 1.0), data.n_columns
    return nmf._engine(data, [rank])


def test_compressed_data_are_the_leading_singular_triplets() -> None:
    rng = np.random.default_rng(0)
    X = rng.gamma(0.3, 1.0, (1500, 6)) @ rng.gamma(0.3, 1.0, (6, 2400))
    X += 0.5 * rng.standard_exponential(X.shape)
    views = {"a": X[:, :900].astype(np.float32), "b": X[:, 900:].astype(np.float16)}
    columns, weights = [900, 1500], [2.0, 0.5]
    engine = engine_of(views, 14, dict(zip(views, weights, strict=True)))
    q = sample_directions(engine, columns, weights, 14, 2, np.random.RandomState(0))
    [found] = compress(engine, columns, weights, [q], rounded=False)
    assert found is not None
    A = np.hstack(
        [np.sqrt(w) * x.astype(np.float64) for w, x in zip(weights, views.values(), strict=True)]
    )
    for side in (found.left, found.right):
        np.testing.assert_allclose(side @ side.T, np.eye(14), atol=1e-4)
    # The six planted directions stand far above the noise; the rest are part of it.
    expected = np.linalg.svd(A, compute_uv=False)[:6]
    np.testing.assert_allclose(np.sort(found.singular)[::-1][:6], expected, rtol=1e-3)
    # A projection: what it leaves out is orthogonal to it.
    product = (found.left.T * found.singular) @ found.right
    assert (product * (A - product)).sum() == pytest.approx(0, abs=1e-4 * (A**2).sum())


def test_rows_that_lack_a_direction_are_compressed_without_it() -> None:
    rng = np.random.default_rng(1)
    W = np.zeros((600, 3))
    W[:300, :2], W[300:, 1:] = rng.random((300, 2)), rng.random((300, 2))
    A = W @ rng.random((3, 400))
    engine = engine_of({"a": A}, 3)
    q = sample_directions(engine, [400], [1.0], 3, 2, np.random.RandomState(0))
    [found] = compress(engine, [400], [1.0], [q], np.arange(200), rounded=False)
    assert found is not None
    assert len(found.singular) == len(found.left) == len(found.right) == 2
    np.testing.assert_allclose((found.left.T * found.singular) @ found.right, A[:200], atol=1e-8)
    np.testing.assert_allclose(found.left @ found.left.T, np.eye(2), atol=1e-8)
    np.testing.assert_allclose(found.right @ found.right.T, np.eye(2), atol=1e-8)


def test_rows_of_zeros_are_not_compressed() -> None:
    A = np.random.default_rng(1).random((300, 200))
    A[:100] = 0
    engine = engine_of({"a": A}, 3)
    q = np.random.default_rng(2).standard_normal((3, 200))
    assert compress(engine, [200], [1.0], [q], np.arange(90), rounded=False) == [None]


def test_large_numbers_are_compressed_as_small_ones() -> None:
    # Fourth powers of these leave the range of float64, squares do not.
    A = np.random.default_rng(1).random((300, 200))
    q = np.random.default_rng(2).standard_normal((5, 200))
    found = [
        compress(engine_of({"a": scale * A}, 5), [200], [1.0], [q], rounded=False)[0]
        for scale in (1.0, 2.0**333)
    ]
    assert found[0] is not None
    assert found[1] is not None
    np.testing.assert_allclose(found[1].singular, 2.0**333 * found[0].singular, rtol=1e-9)
    np.testing.assert_allclose(
        found[1].left.T @ found[1].right, found[0].left.T @ found[0].right, atol=1e-9
    )


def test_directions_of_a_sample_of_lower_rank_are_orthonormal_or_zero() -> None:
    rng = np.random.default_rng(0)
    views = {"a": (rng.random((300, 3)) @ rng.random((3, 200))).astype(np.float32)}
    q = sample_directions(engine_of(views, 8), [200], [1.0], 8, 2, np.random.RandomState(0))
    kept = q.any(axis=1)
    assert 3 <= kept.sum() < 8
    # The Gram matrix is exact to rounding of its largest entry, and small eigenvalues to that.
    np.testing.assert_allclose(q[kept] @ q[kept].T, np.eye(kept.sum()), atol=1e-2)
    leading = np.linalg.svd(views["a"].astype(np.float64))[2][:3]
    np.testing.assert_allclose(leading @ q.T @ q @ leading.T, np.eye(3), atol=1e-5)


def descend(
    X: np.ndarray, gram: np.ndarray, right: np.ndarray, l1: float, l2: float, sweeps: int
) -> np.ndarray:
    """Sweeps of coordinate descent over X >= 0, k x n, on 1/2 <G X, X> - <right, X> + penalties."""
    X = X.copy()
    for _ in range(sweeps):
        for c in range(len(X)):
            step = right[c] - l1 - gram[c] @ X + gram[c, c] * X[c]
            X[c] = np.maximum(0.0, step / (gram[c, c] + l2))
    return X


def fit_of_product(
    A: np.ndarray, start: np.ndarray, iterations: int, l1: float, l2: float, extrapolate: bool
) -> list[float]:
    """The losses of a fit of A itself, by dense matrices alone."""
    H = step = start
    W = np.zeros((len(start), len(A)))
    losses: list[float] = []
    best, t = np.inf, 1.0
    for _ in range(iterations):
        new_W = descend(W, step @ step.T, step @ A.T, l1, l2, sweeps=4)
        new_H = descend(H, new_W @ new_W.T, new_W @ A, l1, l2, sweeps=4)
        residual = ((A - new_W.T @ new_H) ** 2).sum()
        penalties = sum(l1 * X.sum() + 0.5 * l2 * (X**2).sum() for X in (new_W, new_H))
        if 0.5 * residual + penalties > best and t > 1:
            step, t = H, 1.0
            continue
        after = (1 + np.sqrt(1 + 4 * t**2)) / 2 if extrapolate else t
        step = new_H + (t - 1) / after * (new_H - H)
        W, H, t, best = new_W, new_H, after, 0.5 * residual + penalties
        losses.append(residual / (A**2).sum())
    return losses


@pytest.mark.parametrize("extrapolate", [False, True])
@pytest.mark.parametrize("float64", [True, False])
def test_a_fit_of_compressed_data_is_that_of_the_product(extrapolate: bool, float64: bool) -> None:
    rng = np.random.default_rng(3)
    A = rng.gamma(0.3, 1.0, (300, 7)) @ rng.gamma(0.3, 1.0, (7, 700))
    u, s, vt = np.linalg.svd(A, full_matrices=False)
    data = Compressed(u[:, :7].T, s[:7], vt[:7], float((s[:7] ** 2).sum()))
    start = rng.random((4, 700))
    total = float((s**2).sum())
    fit = CompressedFit(
        data, total, start, l1_w=0.2, l2_w=0.3, l1_h=0.2, l2_h=0.3, extrapolate=extrapolate,
        float64=float64, n_threads=2,
    )  # fmt: skip
    fit.run(20)
    expected = fit_of_product(A, start, 20, 0.2, 0.3, extrapolate)
    # A loss is the difference of three terms, the squares of A and W H and twice what they have in
    # common. Sums of 512 numbers leave each with an error of 512 units in the last place at most,
    # and one more is for what such errors of earlier sweeps have moved the factors by. Later a rise
    # as small as that may end the momentum of one fit alone.
    atol = 4 * 512 * (2.0**-53 if float64 else 2.0**-24)
    np.testing.assert_allclose(fit.losses[:8], expected[:8], rtol=0, atol=atol)
    assert len(fit.losses) == len(expected) or not float64
    assert (fit.H >= 0).all()


def test_momentum_on_compressed_data_never_keeps_a_rise() -> None:
    rng = np.random.default_rng(4)
    u, s, vt = np.linalg.svd(rng.random((300, 200)), full_matrices=False)
    data = Compressed(u[:, :20].T, s[:20], vt[:20], float((s[:20] ** 2).sum()))
    losses = []
    for extrapolate in (False, True):
        start = np.random.default_rng(5).random((5, 200))
        fit = CompressedFit(
            data, float((s**2).sum()), start, l1_w=0.0, l2_w=0.0, l1_h=0.0, l2_h=0.0,
            extrapolate=extrapolate, float64=True, n_threads=1,
        )  # fmt: skip
        fit.run(40)
        # The three terms of a loss are sums of 512 numbers at most.
        assert (np.diff(fit.losses) <= 3 * 512 * 2.0**-53).all()
        losses.append(fit.losses[-1])
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"basis": np.ones((3, 5))},
            "the basis is 3 x 5 with singular values of 2; expected r x n",
        ),
        ({"basis": np.ones((2, 0))}, "the basis is 2 x 0"),
        ({"basis": np.ones(2)}, "the basis is 2 with"),
        ({"singular": np.ones((2, 1))}, "singular values of 2 x 1"),
        ({"singular": np.array([1.0, 0.0])}, "singular values must be positive"),
        ({"singular": np.array([1.0, np.nan])}, "singular values must be positive"),
        ({"components": 0}, "components must be at least 1, got 0"),
    ],
)
def test_a_side_refuses_what_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    given = {"basis": np.ones((2, 5)), "singular": np.ones(2), "components": 3, "l1": 0.0,
             "l2": 0.0, "float64": False, "threads": 1}  # fmt: skip
    _core.ProductSide(**given)
    with pytest.raises(ValueError, match=message):
        _core.ProductSide(**{**given, **arguments})


def test_a_side_refuses_factors_of_other_shapes() -> None:
    side = _core.ProductSide(
        np.ones((2, 5)), np.ones(2), components=3, l1=0.0, l2=0.0, float64=False, threads=1
    )
    with pytest.raises(ValueError, match="x must be 3 x 5, got 5 x 3"):
        side.start(np.ones((5, 3)))
    with pytest.raises(ValueError, match="coefficients must be 3 x 2, got 3 x 5"):
        side.descend(np.ones((3, 5)), np.eye(3), sweeps=1)
    with pytest.raises(ValueError, match="gram must be 3 x 3, got 2 x 2"):
        side.descend(np.ones((3, 2)), np.eye(2), sweeps=1)
    with pytest.raises(ValueError, match="sweeps must be at least 1, got 0"):
        side.descend(np.ones((3, 2)), np.eye(3), sweeps=0)
