"""The examples in which a concept is strongest."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cofactor.concepts._checks import as_factor, check_count, check_index
from cofactor.concepts._table import Table


def top_examples(W: ArrayLike, r: int, n: int = 16) -> Table:
    """List the examples in which concept `r` is strongest.

    Parameters
    ----------
    W : array-like of shape (n_examples, k)
        Example factor.
    r : int
        Concept number, 0 to k - 1.
    n : int
        At most this many examples. Examples without the concept are left out.

    Returns
    -------
    Table
        ``rank`` (from 1), ``example`` (row of W), ``weight`` (``W[example, r]``, in arbitrary
        units), ``share`` (weight / sum of the concept's weights) and ``cumulative_share``, whose
        last value is what the listed examples carry together. Equal weights keep their order.

    Raises
    ------
    ValueError
        If W is not a finite non-negative matrix or `n` is below 1.
    IndexError
        If there is no concept `r`.

    Examples
    --------
    >>> top_examples([[1.0], [5.0], [2.0]], 0, n=2)
    rank  example  weight  share  cumulative_share
       1        1       5  0.625             0.625
       2        2       2   0.25             0.875
    """
    check_count(n, "n")
    W = as_factor(W, "W")
    weights = W[:, check_index(r, W.shape[1])].astype(np.float64)
    order = np.argsort(-weights, kind="stable")[:n]
    order = order[weights[order] > 0]
    share = weights[order] / (weights.sum() or 1)
    return Table(
        {
            "rank": np.arange(1, len(order) + 1),
            "example": order,
            "weight": weights[order],
            "share": share,
            "cumulative_share": np.cumsum(share),
        }
    )
