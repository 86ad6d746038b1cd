"""Non-negative matrix factorization of one matrix, as scikit-learn's function."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np

from ._arrays import like
from ._sklearn_nmf import NMF, Factor
from .init import Init

__all__ = ["non_negative_factorization"]


def non_negative_factorization(
    X: Any,
    W: Any = None,
    H: Any = None,
    n_components: int | Literal["auto"] | None = "auto",
    *,
    init: Init | Literal["custom"] | None = None,
    update_H: bool = True,
    solver: Literal["cd"] = "cd",
    beta_loss: Literal["frobenius"] | float = "frobenius",
    tol: float = 1e-4,
    max_iter: int = 200,
    alpha_W: float = 0.0,
    alpha_H: float | Literal["same"] = "same",
    l1_ratio: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
    shuffle: bool = False,
) -> tuple[Factor, Factor, int]:
    """Factorize X, in place of :func:`sklearn.decomposition.non_negative_factorization`.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Non-negative values.
    W, H : array-like of shape (n_samples, n_components) and (n_components, n_features), optional
        The start, with ``init="custom"``; see :class:`NMF`.
    n_components, init, solver, beta_loss, tol, max_iter, alpha_W, alpha_H, l1_ratio, \
random_state, verbose, shuffle
        As for :class:`NMF`.
    update_H : bool, default=True
        False keeps the given H, and solves for W alone.

    Returns
    -------
    W : array of shape (n_samples, n_components)
        Of the kind that X is: NumPy, torch or CuPy.
    H : array of shape (n_components, n_features)
        Likewise.
    n_iter : int
        Passes of the loop.

    Raises
    ------
    ValueError
        For negative, infinite or missing values, a wrong shape, or a parameter out of range.
    TypeError
        If X has no real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import cofactor as cf
    >>> X = np.array([[1, 1], [2, 1], [3, 1.2], [4, 1], [5, 0.8], [6, 1]])
    >>> W, H, n_iter = cf.non_negative_factorization(
    ...     X, n_components=2, init="random", random_state=0)
    >>> bool(np.allclose(W @ H, X, atol=1e-2))
    True
    """
    model = NMF(
        n_components,
        init=init,
        solver=solver,
        beta_loss=beta_loss,
        tol=tol,
        max_iter=max_iter,
        random_state=random_state,
        alpha_W=alpha_W,
        alpha_H=alpha_H,
        l1_ratio=l1_ratio,
        verbose=verbose,
        shuffle=shuffle,
    )
    if update_H:
        W = model.fit_transform(X, W=W, H=H)
        return W, like(model.components_, X), model.n_iter_
    if W is not None:
        warnings.warn(
            "When update_H=False, the provided initial W is not used.",
            RuntimeWarning,
            stacklevel=2,
        )
    return model._encode_with(X, H), H, 1
