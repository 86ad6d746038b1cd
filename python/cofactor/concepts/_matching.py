"""Which concept of one fit is which of another, and how many come back with another seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cofactor.concepts._checks import unit_rows
from cofactor.concepts._table import Table


def match_concepts(A: ArrayLike, B: ArrayLike, *, component_axis: Literal[0, 1] = 1) -> Table:
    """Pair the components of two factors so that the sum of their cosines is largest.

    The optimal assignment (Hungarian method) on ``<a_r, b_s> / (||a_r|| ||b_s||)``. Two fits of
    one network can be matched by their H; networks of other layers by their W on the same images.

    Parameters
    ----------
    A : array-like of shape (n_items, k_a), or (k_a, n_items) with ``component_axis=0``
        W of one fit; or its H.
    B : array-like of shape (n_items, k_b), or (k_b, n_items) with ``component_axis=0``
        The same of the other, for the same items in the same order.
    component_axis : {0, 1}
        The axis along which the components lie.

    Returns
    -------
    Table
        A row per pair, min(k_a, k_b) of them, by rising concept of A: ``concept`` (of A),
        ``match`` (of B), ``cosine``.

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix or the items do not agree in number.

    References
    ----------
    `scipy.optimize.linear_sum_assignment`.

    Examples
    --------
    >>> match_concepts([[1.0, 0.0], [0.0, 1.0]], [[0.1, 2.0], [3.0, 0.0]])
    concept  match  cosine
          0      1       1
          1      0  0.9994
    """
    from scipy.optimize import linear_sum_assignment

    a, b = unit_rows(A, "A", component_axis), unit_rows(B, "B", component_axis)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"A has {a.shape[1]} items and B {b.shape[1]}; expected the same items in the same "
            "order"
        )
    cosines = np.minimum(a @ b.T, 1)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return Table({"concept": rows, "match": columns, "cosine": cosines[rows, columns]})


def stability(factors: Sequence[ArrayLike], *, component_axis: Literal[0, 1] = 1) -> Table:
    """Say how well every concept of every fit comes back in the other fits.

    Every two fits are matched by `match_concepts`. The stability of a concept is the mean of its
    cosines with its matches in all other fits: near 1 for what every seed finds, low for what one
    local minimum made up.

    Parameters
    ----------
    factors : sequence of array-like of shape (n_items, k), or (k, n_items)
        W, or H with ``component_axis=0``, of fits to the same data with other seeds.
    component_axis : {0, 1}
        The axis along which the components lie.

    Returns
    -------
    Table
        A row per fit and concept: ``fit`` (place in `factors`), ``concept``, ``mean_cosine``,
        ``min_cosine`` (over the other fits), ``n_matched``. Where another fit has fewer concepts,
        some of this one have no match in it, and count only those they have (NaN for none).

    Raises
    ------
    ValueError
        If there are fewer than two fits, or they do not fit together.

    Examples
    --------
    >>> stability([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [3.0, 0.0]]])
    fit  concept  mean_cosine  min_cosine  n_matched
      0        0            1           1          1
      0        1            1           1          1
      1        0            1           1          1
      1        1            1           1          1
    """
    if len(factors) < 2:
        raise ValueError(f"{len(factors)} fits were given; expected at least two")
    sizes = [np.shape(factor)[component_axis] for factor in factors]
    cosines: list[list[list[float]]] = [[[] for _ in range(size)] for size in sizes]
    units = [unit_rows(factor, "a factor", component_axis) for factor in factors]
    for a, b in combinations(range(len(factors)), 2):
        for row in match_concepts(units[a], units[b], component_axis=0).rows():
            cosines[a][row["concept"]].append(row["cosine"])
            cosines[b][row["match"]].append(row["cosine"])
    flat = [found for of_fit in cosines for found in of_fit]
    return Table(
        {
            "fit": np.repeat(np.arange(len(factors)), sizes),
            "concept": np.concatenate([np.arange(size) for size in sizes]),
            "mean_cosine": np.array([np.mean(found) if found else np.nan for found in flat]),
            "min_cosine": np.array([min(found) if found else np.nan for found in flat]),
            "n_matched": np.array([len(found) for found in flat], np.intp),
        }
    )
