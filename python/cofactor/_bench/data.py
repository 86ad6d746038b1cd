"""The data and the start of a benchmark, and the loss that its fits are held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cofactor._bench.checks import check_positive

Array = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]


def synthetic_views(
    n_examples: int, n_columns: int, *, dtype: npt.DTypeLike = "float16", random_state: int = 0
) -> dict[str, Array]:
    """Draw views that look like activations: correlated normal values after a ReLU.

    Parameters
    ----------
    n_examples : int
        Rows of every view.
    n_columns : int
        Columns of all views together, at least 8.
    dtype : dtype, default="float16"
        How the views of layers are stored. Pixels, an eighth of the columns, are small whole
        numbers in uint8; with uint8 everything is.
    random_state : int, default=0
        Seed.

    Returns
    -------
    dict of str to ndarray
        Views "pixels", "layer3" and "layer4", about half of the values zero.

    Raises
    ------
    ValueError
        If there are too few rows or columns.

    Examples
    --------
    >>> views = synthetic_views(100, 80)
    >>> {name: (view.shape, str(view.dtype)) for name, view in views.items()}
    {'pixels': ((100, 10), 'uint8'), 'layer3': ((100, 50), 'float16'), \
'layer4': ((100, 20), 'float16')}
    """
    check_positive("n_examples", n_examples)
    if n_columns < 8:
        raise ValueError(f"n_columns must be at least 8, got {n_columns}")
    rng = np.random.default_rng(random_state)
    causes = rng.standard_normal((n_examples, 32), np.float32)
    pixels, layer4 = n_columns // 8, n_columns // 4
    columns = {"pixels": pixels, "layer3": n_columns - pixels - layer4, "layer4": layer4}
    views = {}
    for name, width in columns.items():
        values = causes @ (rng.standard_normal((32, width), np.float32) / np.float32(32**0.5))
        values += rng.standard_normal(values.shape, np.float32)
        np.maximum(values, 0, out=values)
        whole = name == "pixels" or np.dtype(dtype) == np.uint8
        views[name] = np.rint(2 * values).astype(np.uint8) if whole else values.astype(dtype)
    return views


def draw_start(X: Float32Array, rank: int, random_state: int = 0) -> tuple[Array, Array]:
    """Draw non-negative factors of the scale of `X`, as scikit-learn's ``init="random"`` does.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The matrix.
    rank : int
        Number of components k.
    random_state : int, default=0
        Seed.

    Returns
    -------
    W : ndarray of shape (n, k), float32
    H : ndarray of shape (k, d), float32
        Half-normal values times ``sqrt(mean(X) / k)``.

    Examples
    --------
    >>> W, H = draw_start(np.ones((30, 20), np.float32), 3)
    >>> W.shape, H.shape, bool((H >= 0).all())
    ((30, 3), (3, 20), True)
    """
    rng = np.random.default_rng(random_state)
    scale = np.float32(np.sqrt(X.mean(dtype=np.float64) / rank))
    W = scale * np.abs(rng.standard_normal((X.shape[0], rank), np.float32))
    H = scale * np.abs(rng.standard_normal((rank, X.shape[1]), np.float32))
    return W, H


def relative_loss(X: Float32Array, W: Array, H: Array) -> float:
    """Return ``||X - W H||_F^2 / ||X||_F^2`` without forming ``W H``.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The matrix.
    W, H : ndarray of shape (n, k) and (k, d)
        The factors.

    Returns
    -------
    float
        The loss, of the factors' products in float64. It is a difference of large numbers: in
        float32 data, below about 1e-5 it says nothing.

    Examples
    --------
    >>> X = np.ones((4, 3), np.float32)
    >>> relative_loss(X, np.full((4, 1), 0.5), np.ones((1, 3)))
    0.25
    """
    total = float(np.einsum("ij,ij->", X, X, dtype=np.float64))
    W64, H64 = W.astype(np.float64), H.astype(np.float64)
    cross = float(np.einsum("ij,ij->", X @ H.T.astype(X.dtype), W64))
    model = float(np.einsum("ij,ij->", W64.T @ W64, H64 @ H64.T))
    return (total - 2 * cross + model) / total
