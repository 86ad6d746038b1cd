"""How much of what a fit reconstructs each concept accounts for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_factor


def view_shares(
    W: ArrayLike, components: Mapping[str, ArrayLike]
) -> dict[str, NDArray[np.float64]]:
    """Divide the reconstruction of every view among the concepts.

    All terms of ``W H_v = sum_r W[:, r] H_v[r, :]`` are non-negative, so the sums of their
    entries, ``m[v, r] = sum_i W[i, r] * sum_j H_v[r, j]``, divide the whole; the share is
    ``m[v, r] / sum_s m[v, s]``. It does not depend on how scale is split between W and H.

    Parameters
    ----------
    W : array-like of shape (n, k)
        Example factor.
    components : mapping of str to array-like of shape (k, d_v)
        Factor of each view.

    Returns
    -------
    dict of str to ndarray of shape (k,), float64
        Shares by view, of sum 1; all 0 where the reconstruction is 0.

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix with k components.

    Examples
    --------
    >>> view_shares([[1.0, 2.0]], {"fc": [[1.0, 2.0], [0.0, 0.5]]})
    {'fc': array([0.75, 0.25])}
    """
    return {view: _divided(mass) for view, mass in _masses(W, components).items()}


def weight_shares(
    W: ArrayLike,
    components: Mapping[str, ArrayLike],
    view_weights: Mapping[str, float] | None = None,
) -> NDArray[np.float64]:
    """Divide the reconstruction of all views together among the concepts.

    As `view_shares`, over the matrix that the fit approximates, ``hstack(sqrt(w_v) X_v)``:
    ``sum_v sqrt(w_v) m[v, r]``, divided by its sum over the concepts.

    Parameters
    ----------
    W : array-like of shape (n, k)
        Example factor.
    components : mapping of str to array-like of shape (k, d_v)
        Factor of each view.
    view_weights : mapping of str to float, optional
        Weight w_v of each view in the fit; 1 each if not given.

    Returns
    -------
    ndarray of shape (k,), float64
        Shares of sum 1; all 0 where the reconstruction is 0.

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix with k components.

    Examples
    --------
    >>> weight_shares([[1.0, 2.0]], {"conv": [[1.0], [0.0]], "fc": [[2.0], [0.5]]})
    array([0.75, 0.25])
    """
    masses = _masses(W, components)
    scales = {view: 1.0 if view_weights is None else view_weights[view] ** 0.5 for view in masses}
    return _divided(np.sum([scales[view] * mass for view, mass in masses.items()], axis=0))


def _masses(W: ArrayLike, components: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    weights = as_factor(W, "W").sum(axis=0, dtype=np.float64)
    masses = {}
    for view, H in components.items():
        H = as_factor(H, f"components of {view!r}")
        if len(H) != len(weights):
            raise ValueError(
                f"components of {view!r} have {len(H)} rows and W has {len(weights)} columns; "
                "expected one of each per concept"
            )
        masses[view] = weights * H.sum(axis=1, dtype=np.float64)
    return masses


def _divided(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = mass / (mass.sum() or 1)
    return shares
