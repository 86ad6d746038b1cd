"""Linear centered kernel alignment between layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._table import Table

_TILE = 512


def linear_cka(X: Mapping[str, ArrayLike]) -> Table:
    """Compare what layers say of the same examples, by linear centered kernel alignment.

    With columns centred, ``K = X_a X_a^T`` and ``L = X_b X_b^T``,
    ``CKA = <K, L> / sqrt(<K, K> <L, L>)``: 1 where the layers are a rotation and a scaling of each
    other. That rises with the number of columns whatever they hold, when examples are fewer than
    these. The debiased variant replaces the three products by unbiased estimates of HSIC, whose
    expectation for unrelated layers is 0.

    Parameters
    ----------
    X : mapping of str to array-like of shape (n, d_v)
        Activations of the same n examples; n is at least 4.

    Returns
    -------
    Table
        A row per unordered pair of views, a view with itself included: ``view``, ``other``,
        ``cka``, ``cka_debiased``. NaN where a view is constant over the examples.

    Raises
    ------
    ValueError
        If the views do not have the same examples, or fewer than four.

    Notes
    -----
    Kernels are made in tiles of 512 rows: beyond the views, memory is 512 n numbers per view; time
    is of the order of n^2 times the columns of all views.

    References
    ----------
    Kornblith, Norouzi, Lee and Hinton, arXiv:1905.00414; debiased as in Nguyen, Raghu and
    Kornblith, arXiv:2010.15327, after Song et al., JMLR 13 (2012), page 1393.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((50, 3))
    >>> linear_cka({"a": X, "b": 2 * X[:, ::-1]})["cka"].round(6)
    array([1., 1., 1.])
    """
    views = {name: _centred(name, array) for name, array in X.items()}
    counts = {name: len(array) for name, array in views.items()}
    n = next(iter(counts.values()), 0)
    if len(set(counts.values())) != 1 or n < 4:
        raise ValueError(
            f"the views have {counts} examples; expected the same examples in every view, "
            "at least 4"
        )
    names = list(views)
    biased, debiased = _products(list(views.values()))
    a, b = np.triu_indices(len(names))
    labels = np.array(names)
    return Table(
        {
            "view": labels[a],
            "other": labels[b],
            "cka": _normalised(biased)[a, b],
            "cka_debiased": _normalised(debiased)[a, b],
        }
    )


def reconstruction_coordinates(W: ArrayLike, H: ArrayLike) -> NDArray[np.float64]:
    """Return n x k numbers with the kernel of a layer's reconstruction W H.

    ``Y = W R`` with ``R R^T = H H^T``, so that ``Y Y^T = (W H)(W H)^T`` without the columns of H.

    Parameters
    ----------
    W : array-like of shape (n, k)
        Example factor.
    H : array-like of shape (k, d)
        Factor of the layer.

    Returns
    -------
    ndarray of shape (n, k), float64
        Y, to be given to `linear_cka` in place of the reconstruction.

    Examples
    --------
    >>> W, H = np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]])
    >>> Y = reconstruction_coordinates(W, H)
    >>> bool(np.allclose(Y @ Y.T, (W @ H) @ (W @ H).T))
    True
    """
    H = np.asarray(H, np.float64)
    values, vectors = np.linalg.eigh(H @ H.T)
    coordinates: NDArray[np.float64] = np.asarray(W, np.float64) @ (
        vectors * np.sqrt(np.maximum(values, 0))
    )
    return coordinates


def _centred(name: str, array: ArrayLike) -> NDArray[Any]:
    values = np.asarray(array)
    if values.ndim != 2:
        raise ValueError(f"{name!r} has shape {values.shape}; expected (examples, columns)")
    if values.dtype != np.float64:
        values = values.astype(np.float32, copy=False)
    mean = values.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise ValueError(f"{name!r} holds values that are not finite")
    centred: NDArray[Any] = values - mean.astype(values.dtype)
    return centred


def _products(
    views: list[NDArray[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return <K_a, K_b>, and n (n - 3) times the unbiased HSIC, for all pairs of views."""
    n, count = len(views[0]), len(views)
    full, off_diagonal = np.zeros((count, count)), np.zeros((count, count))
    row_sums = np.zeros((count, n))
    for start in range(0, n, _TILE):
        rows = np.arange(start, min(start + _TILE, n))
        tiles = []
        for v, view in enumerate(views):
            kernel = (view[rows] @ view.T).astype(np.float64)
            diagonal = kernel[np.arange(len(rows)), rows]
            row_sums[v, rows] = kernel.sum(axis=1) - diagonal
            tiles.append((kernel, diagonal))
        for a in range(count):
            for b in range(a, count):
                whole = float(np.vdot(tiles[a][0], tiles[b][0]))
                full[a, b] += whole
                off_diagonal[a, b] += whole - float(tiles[a][1] @ tiles[b][1])
    full += np.triu(full, 1).T
    off_diagonal += np.triu(off_diagonal, 1).T
    total = row_sums.sum(axis=1)
    debiased = (
        off_diagonal
        + np.outer(total, total) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (row_sums @ row_sums.T)
    )
    return full, debiased


def _normalised(products: NDArray[np.float64]) -> NDArray[np.float64]:
    own = np.diagonal(products)
    norm = np.sqrt(np.where(own > 0, own, np.nan))
    normalised: NDArray[np.float64] = products / np.outer(norm, norm)
    return normalised
