"""Whether the neighbours of an example agree on its concept, and what that says of accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_factor, check_count
from cofactor.concepts._clusters import hard_clusters, unit_components
from cofactor.concepts._table import Table

LARGEST_SAMPLE = 50_000
# Numbers of neighbours that are held at once, in rows times neighbours.
_HELD = 1 << 20


def knn_impurity(
    W: ArrayLike,
    n_classes: int | None = None,
    *,
    n_neighbors: int | None = None,
    max_examples: int = LARGEST_SAMPLE,
    random_state: int | np.random.RandomState | None = 0,
) -> Table:
    """Say how mixed the concepts around every example are.

    Every example's nearest other examples, by Euclidean distance in W with columns at unit L2
    norm, vote with their strongest concept; with v_r the share of votes for concept r, the
    impurity is ``-sum_r v_r log2 v_r``: 0 where all neighbours are of one concept, log2(k) where
    all concepts are alike.

    Parameters
    ----------
    W : array-like of shape (n, k)
        Example factor.
    n_classes : int, optional
        Number of classes; ``floor(n / n_classes)`` neighbours vote.
    n_neighbors : int, optional
        Number of neighbours, in place of `n_classes`.
    max_examples : int
        Above so many examples, as many are drawn at random, and these alone are looked at and
        vote; n then is their number.
    random_state : int, RandomState or None
        Seed of the draw.

    Returns
    -------
    Table
        A row per example, or per drawn example: ``example`` (row of W, rising), ``concept`` (its
        strongest), ``impurity`` (bits), ``agreement`` (share of the votes for its own concept),
        ``n_neighbors``. An all-zero example has no vote: ``concept`` is -1, and ``impurity`` and
        ``agreement`` are NaN.

    Raises
    ------
    ValueError
        If W is not a finite non-negative matrix, neither or both of `n_classes` and
        `n_neighbors` are given, or no neighbour would be left to vote.

    Notes
    -----
    Neighbours are found by :class:`sklearn.neighbors.NearestNeighbors`, for a tile of examples
    at a time: memory grows with n, not with its square.

    References
    ----------
    Section 4 of arXiv:2012.12516.

    Examples
    --------
    >>> W = [[1.0, 0.0], [0.9, 0.0], [0.8, 0.1], [0.0, 1.0], [0.0, 0.9]]
    >>> knn_impurity(W, n_neighbors=2)
    example  concept  impurity  agreement  n_neighbors
          0        0         0          1            2
          1        0         0          1            2
          2        0         0          1            2
          3        1         1        0.5            2
          4        1         1        0.5            2
    """
    W = as_factor(W, "W")
    examples = drawn_rows(len(W), max_examples, random_state)
    wanted = _number_of_neighbors(len(examples), n_classes, n_neighbors)
    drawn = W[examples]
    concepts = hard_clusters(drawn)
    alive = np.flatnonzero(concepts >= 0)
    votes_of = concepts[alive]
    count = min(wanted, len(alive) - 1)
    if count < 1:
        raise ValueError(
            f"{len(alive)} of {len(examples)} examples have a concept; expected at least 2"
        )
    k = W.shape[1]
    impurity, agreement = np.full((2, len(examples)), np.nan)
    for rows, neighbors, _ in _nearest(unit_components(drawn[alive], 1), count):
        tile = np.arange(len(neighbors))
        votes = np.bincount(
            (tile[:, None] * k + votes_of[neighbors]).ravel(), minlength=len(tile) * k
        )
        share = votes.reshape(-1, k) / count
        impurity[alive[rows]] = 0 - (share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
        agreement[alive[rows]] = share[tile, votes_of[rows]]
    return Table(
        {
            "example": examples,
            "concept": concepts,
            "impurity": impurity,
            "agreement": agreement,
            "n_neighbors": np.full(len(examples), count),
        }
    )


def nearest_examples(W: ArrayLike, n: int = 8, *, examples: ArrayLike | None = None) -> Table:
    """List the nearest other examples of examples, in W with columns at unit L2 norm.

    Parameters
    ----------
    W : array-like of shape (n_examples, k)
        Example factor.
    n : int
        Number of neighbours, at most; an all-zero example has none and is nobody's.
    examples : array-like of int, optional
        Rows of W to answer for; all by default.

    Returns
    -------
    Table
        ``example``, ``rank`` (from 1), ``neighbor`` (row of W), ``distance`` (Euclidean).

    Raises
    ------
    ValueError
        If W is not a finite non-negative matrix or `n` is below 1.
    IndexError
        If there is no such example.

    Examples
    --------
    >>> nearest_examples([[1.0, 0.0], [0.9, 0.0], [0.0, 1.0]], n=1, examples=[1])
    example  rank  neighbor  distance
          1     1         0   0.07433
    """
    check_count(n, "n")
    W = as_factor(W, "W")
    asked = np.arange(len(W)) if examples is None else np.asarray(examples)
    if asked.size and not (asked.min() >= 0 and asked.max() < len(W)):
        raise IndexError(
            f"examples run from {asked.min()} to {asked.max()}; expected 0 to {len(W) - 1}"
        )
    alive = np.flatnonzero(W.any(axis=1))
    place = np.full(len(W), -1)
    place[alive] = np.arange(len(alive))
    asked = asked[place[asked] >= 0]
    count = min(n, len(alive) - 1)
    if count < 1 or not asked.size:
        nothing = np.empty(0, np.intp)
        return Table(
            {"example": nothing, "rank": nothing, "neighbor": nothing, "distance": np.empty(0)}
        )
    # Normed by all examples, those that were not asked for included.
    scaled = unit_components(W, 1)[alive]
    found = [(alive[near], far) for _, near, far in _nearest(scaled, count, place[asked])]
    return Table(
        {
            "example": np.repeat(asked, count),
            "rank": np.tile(np.arange(1, count + 1), len(asked)),
            "neighbor": np.concatenate([near for near, _ in found]).ravel(),
            "distance": np.concatenate([far for _, far in found]).ravel(),
        }
    )


def accuracy_by_impurity(impurity: ArrayLike, correct: ArrayLike) -> Table:
    """Give the accuracy over the purest examples, for every part of them.

    For every value t of impurity that occurs, the mean of `correct` over the examples with
    impurity of at most t: equal impurities come in together, since their order means nothing.

    Parameters
    ----------
    impurity : array-like of shape (n,)
        Impurity of every example; those at NaN are left out.
    correct : array-like of bool, shape (n,)
        Whether the network was right.

    Returns
    -------
    Table
        By rising impurity: ``impurity`` (bits), ``n_examples`` (with at most that), ``share`` (of
        all with an impurity) and ``accuracy`` (of these). The last row is that of all examples.

    Raises
    ------
    ValueError
        If the lengths differ.

    References
    ----------
    Section 4 of arXiv:2012.12516.

    Examples
    --------
    >>> accuracy_by_impurity([0.0, 1.0, 0.0, 2.0], [True, False, True, False])
    impurity  n_examples  share  accuracy
           0           2    0.5         1
           1           3   0.75    0.6667
           2           4      1       0.5
    """
    values = np.asarray(impurity, np.float64)
    right = np.asarray(correct, bool)
    if values.ndim != 1 or right.shape != values.shape:
        raise ValueError(
            f"impurity has shape {values.shape} and correct {right.shape}; "
            "expected one value of each per example"
        )
    known = ~np.isnan(values)
    values, right = values[known], right[known]
    order = np.argsort(values, kind="stable")
    levels = values[order]
    last = np.flatnonzero(np.append(np.diff(levels) > 0, True)[: len(levels)])
    count = last + 1
    return Table(
        {
            "impurity": levels[last],
            "n_examples": count,
            "share": count / max(len(levels), 1),
            "accuracy": np.cumsum(right[order])[last] / count,
        }
    )


def drawn_rows(
    n: int, max_examples: int, random_state: int | np.random.RandomState | None
) -> NDArray[np.intp]:
    """Return all of n rows, or as many as there may be at most, drawn and in order."""
    check_count(max_examples, "max_examples")
    if n <= max_examples:
        return np.arange(n)
    from sklearn.utils import check_random_state

    drawn: NDArray[np.intp] = np.sort(
        check_random_state(random_state).choice(n, max_examples, replace=False)
    )
    return drawn


def _number_of_neighbors(n: int, n_classes: int | None, n_neighbors: int | None) -> int:
    if (n_classes is None) == (n_neighbors is None):
        raise ValueError(
            f"n_classes = {n_classes} and n_neighbors = {n_neighbors}; expected one of the two"
        )
    if n_neighbors is not None:
        return check_count(n_neighbors, "n_neighbors")
    count = n // check_count(n_classes or 0, "n_classes")
    if count < 1:
        raise ValueError(
            f"{n} examples of {n_classes} classes leave floor({n} / {n_classes}) = 0 neighbours; "
            "expected at least one example per class, or n_neighbors"
        )
    return count


def _nearest(
    points: NDArray[np.float64], count: int, asked: NDArray[np.intp] | None = None
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]]:
    """Yield, by tiles of the rows asked for: rows, their nearest others (by row), distances."""
    from sklearn.neighbors import NearestNeighbors

    rows = np.arange(len(points)) if asked is None else asked
    finder = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(points)
    step = max(1, _HELD // (count + 1))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        distances, found = finder.kneighbors(points[part])
        # An example is its own nearest, unless enough equal ones push it out: then the last goes.
        own = found == part[:, None]
        own[~own.any(axis=1), -1] = True
        yield (
            part,
            found[~own].reshape(len(part), count),
            distances[~own].reshape(len(part), count),
        )
