"""How far the class distributions of concepts are from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cofactor.concepts._checks import as_factor
from cofactor.concepts._table import Table

_INSIDE_LOGARITHM = 1e-9


def concept_distances(shares: ArrayLike) -> Table:
    """Compare the class shares of every two concepts.

    With p and q the rows of `shares` of two concepts: Hellinger distance
    ``sqrt(sum_c (sqrt(p_c) - sqrt(q_c))^2 / 2)``, from 0 to 1; Bhattacharyya coefficient
    ``b = sum_c sqrt(p_c q_c)``, from 1 to 0, and distance ``-ln b``, which is infinite where no
    class is shared; Kullback-Leibler divergence in nats,
    ``KL(p || q) = sum_c p_c ln((p_c + 1e-9) / (q_c + 1e-9))``, finite where q is 0.

    Parameters
    ----------
    shares : array-like of shape (k, n_classes)
        Result of `class_shares` or `superclass_shares`.

    Returns
    -------
    Table
        A row per ordered pair of different concepts: ``concept`` (p), ``other`` (q),
        ``hellinger``, ``bhattacharyya_coefficient``, ``bhattacharyya_distance``, ``kl``
        (``KL(p || q)``; that of the opposite row is ``KL(q || p)``). NaN where one of the two
        has no weight.

    Raises
    ------
    ValueError
        If the shares are not a finite non-negative matrix.

    References
    ----------
    Section 4 of arXiv:2012.12516, which compares concepts so.

    Examples
    --------
    >>> concept_distances([[1.0, 0.0], [0.5, 0.5]]).columns["hellinger"].round(3)
    array([0.541, 0.541])
    >>> concept_distances([[1.0, 0.0], [0.5, 0.5]]).columns["kl"].round(3)
    array([0.693, 9.668])
    """
    p = as_factor(shares, "shares").astype(np.float64)
    k = len(p)
    roots = np.sqrt(p)
    # Rounding may carry the coefficient of equal shares beyond 1, and its logarithm below 0.
    coefficient = np.minimum(roots @ roots.T, 1)
    # From the differences: 1 - coefficient would lose half of the digits of small distances.
    hellinger = np.stack([np.sqrt(((roots - row) ** 2).sum(axis=1) / 2) for row in roots])
    logarithms = np.log(p + _INSIDE_LOGARITHM)
    kl = np.stack([row @ (own - logarithms).T for row, own in zip(p, logarithms, strict=True)])
    with np.errstate(divide="ignore"):
        distance = 0 - np.log(coefficient)
    concept, other = np.nonzero(~np.eye(k, dtype=bool))
    empty = p.sum(axis=1) == 0
    unknown = empty[concept] | empty[other]
    values = {
        "hellinger": hellinger,
        "bhattacharyya_coefficient": coefficient,
        "bhattacharyya_distance": distance,
        "kl": kl,
    }
    return Table(
        {
            "concept": concept,
            "other": other,
            **{
                name: np.where(unknown, np.nan, matrix[concept, other])
                for name, matrix in values.items()
            },
        }
    )
