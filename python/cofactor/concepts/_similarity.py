"""How alike concepts are: cosines within each view and in W, and what they sum up to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import EXAMPLES, unit_rows
from cofactor.concepts._table import Table


def cosine_similarity(
    factor: ArrayLike, *, component_axis: Literal[0, 1] = 1
) -> NDArray[np.float64]:
    """Return the cosines between the components of a factor.

    ``S[r, s] = <f_r, f_s> / (||f_r|| ||f_s||)``, in [0, 1] since factors are non-negative.

    Parameters
    ----------
    factor : array-like of shape (n_items, k), or (k, n_items) with ``component_axis=0``
        W, or an H_v with ``component_axis=0``.
    component_axis : {0, 1}
        The axis along which the components lie.

    Returns
    -------
    ndarray of shape (k, k), float64
        Symmetric, with ones on the diagonal. A component without weight is 0 to all, itself
        included.

    Raises
    ------
    ValueError
        If the factor is not two-dimensional, finite and non-negative.

    Examples
    --------
    >>> cosine_similarity([[1.0, 1.0], [0.0, 1.0]]).round(3)
    array([[1.   , 0.707],
           [0.707, 1.   ]])
    """
    rows = unit_rows(factor, "factor", component_axis)
    similarity: NDArray[np.float64] = np.minimum(rows @ rows.T, 1)
    np.fill_diagonal(similarity, rows.any(axis=1))
    return similarity


def concept_similarity(components: Mapping[str, ArrayLike], W: ArrayLike | None = None) -> Table:
    """List the cosines between concepts in every view and in W.

    Parameters
    ----------
    components : mapping of str to array-like of shape (k, d_v)
        Factor of each view.
    W : array-like of shape (n, k), optional
        Example factor.

    Returns
    -------
    Table
        A row per view and ordered pair of concepts, a concept with itself included: ``view`` (the
        rows of W, where given, come last and are called ``W``), ``concept``, ``other``,
        ``cosine`` (as `cosine_similarity`).

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix.

    Examples
    --------
    >>> concept_similarity({"fc": [[1.0, 0.0], [1.0, 1.0]]})
    view  concept  other  cosine
      fc        0      0       1
      fc        0      1  0.7071
      fc        1      0  0.7071
      fc        1      1       1
    """
    similarities = _similarities(components, W)
    parts: dict[str, list[Any]] = {"view": [], "concept": [], "other": [], "cosine": []}
    for view, similarity in similarities.items():
        k = len(similarity)
        parts["view"].append(np.full(k * k, view))
        parts["concept"].append(np.repeat(np.arange(k), k))
        parts["other"].append(np.tile(np.arange(k), k))
        parts["cosine"].append(similarity.ravel())
    return Table({name: np.concatenate(part) for name, part in parts.items()})


def mutual_coherence(components: Mapping[str, ArrayLike], W: ArrayLike | None = None) -> Table:
    """Sum up how alike the concepts are, by view.

    The mutual coherence of a factor is the largest cosine between two of its components. Of the
    k x k matrix of cosines (see `cosine_similarity`) the largest eigenvalue and the mean of the
    three largest are given too: k orthogonal concepts have 1 and 1, k equal ones k and k / 3.

    Parameters
    ----------
    components : mapping of str to array-like of shape (k, d_v)
        Factor of each view.
    W : array-like of shape (n, k), optional
        Example factor.

    Returns
    -------
    Table
        A row per view, and last one for ``W`` where given: ``view``, ``max``, ``mean`` and
        ``min`` of the cosines between different concepts that have weight there (NaN for fewer
        than two), ``largest_eigenvalue``, ``mean_of_first_three`` eigenvalues, ``n_empty``
        (concepts without weight in the view).

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix.

    References
    ----------
    Section 4 of arXiv:2012.12516; mutual coherence as in Donoho and Elad,
    doi:10.1073/pnas.0437847100.

    Examples
    --------
    >>> mutual_coherence({"fc": [[1.0, 0.0], [1.0, 1.0]]})
    view     max    mean     min  largest_eigenvalue  mean_of_first_three  n_empty
      fc  0.7071  0.7071  0.7071               1.707                    1        0
    """
    rows = []
    for view, similarity in _similarities(components, W).items():
        alive = np.diagonal(similarity) > 0
        kept = similarity[np.ix_(alive, alive)]
        cosines = kept[~np.eye(len(kept), dtype=bool)]
        eigenvalues = _eigenvalues(similarity)
        rows.append(
            (
                view,
                cosines.max() if cosines.size else np.nan,
                cosines.mean() if cosines.size else np.nan,
                cosines.min() if cosines.size else np.nan,
                eigenvalues[0],
                eigenvalues[:3].mean(),
                int((~alive).sum()),
            )
        )
    names = ("view", "max", "mean", "min", "largest_eigenvalue", "mean_of_first_three", "n_empty")
    return Table(
        {name: np.array(c) for name, c in zip(names, zip(*rows, strict=True), strict=True)}
    )


def eigenvalue_profile(components: Mapping[str, ArrayLike], W: ArrayLike | None = None) -> Table:
    """List the eigenvalues of the matrix of cosines between concepts, by view.

    They sum to the number of concepts with weight there. All 1 means that no two concepts share
    a neuron; a first one near k that all are alike.

    Parameters
    ----------
    components : mapping of str to array-like of shape (k, d_v)
        Factor of each view.
    W : array-like of shape (n, k), optional
        Example factor.

    Returns
    -------
    Table
        k rows per view, and for ``W`` where given: ``view``, ``rank`` (from 1), ``eigenvalue``
        (falling), ``share`` (of their sum) and ``cumulative_share``.

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix.

    References
    ----------
    Section 4 of arXiv:2012.12516.

    Examples
    --------
    >>> eigenvalue_profile({"fc": [[1.0, 0.0], [1.0, 1.0]]})
    view  rank  eigenvalue   share  cumulative_share
      fc     1       1.707  0.8536            0.8536
      fc     2      0.2929  0.1464                 1
    """
    profiles = {
        view: _eigenvalues(similarity) for view, similarity in _similarities(components, W).items()
    }
    shares = {view: values / (values.sum() or 1) for view, values in profiles.items()}
    return Table(
        {
            "view": np.concatenate([np.full(len(v), view) for view, v in profiles.items()]),
            "rank": np.concatenate([np.arange(1, len(v) + 1) for v in profiles.values()]),
            "eigenvalue": np.concatenate(list(profiles.values())),
            "share": np.concatenate(list(shares.values())),
            "cumulative_share": np.concatenate([np.cumsum(share) for share in shares.values()]),
        }
    )


def _similarities(
    components: Mapping[str, ArrayLike], W: ArrayLike | None
) -> dict[str, NDArray[np.float64]]:
    if not components and W is None:
        raise ValueError("neither components nor W was given; expected at least one factor")
    similarities = {view: cosine_similarity(H, component_axis=0) for view, H in components.items()}
    if W is not None:
        similarities[EXAMPLES] = cosine_similarity(W)
    return similarities


def _eigenvalues(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    # A Gram matrix has none below 0; rounding may say otherwise.
    values: NDArray[np.float64] = np.maximum(np.linalg.eigvalsh(similarity)[::-1], 0)
    return values
