"""Which classes a concept is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_factor, as_labels
from cofactor.concepts._table import Table


def class_shares(W: ArrayLike, labels: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Divide every concept's weight among the classes of its examples.

    ``p[r, c] = sum_{i: labels[i] = c} W[i, r] / sum_i W[i, r]``; independent of the scale of W.

    Parameters
    ----------
    W : array-like of shape (n, k)
        Example factor.
    labels : array-like of int, shape (n,)
        Class numbers, 0 to ``n_classes - 1``.
    n_classes : int
        Number of classes, those without examples included.

    Returns
    -------
    ndarray of shape (k, n_classes), float64
        Rows sum to 1; the row of a concept without weight is 0.

    Raises
    ------
    ValueError
        If W is not a finite non-negative matrix or the labels do not fit to it.

    References
    ----------
    Section 4 of arXiv:2012.12516.

    Examples
    --------
    >>> class_shares([[3.0, 0.0], [1.0, 2.0]], labels=[0, 1], n_classes=2)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    W = as_factor(W, "W")
    known = as_labels(labels, len(W), n_classes)
    sums = np.stack([np.bincount(known, column, n_classes) for column in W.T])
    total = sums.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = sums / np.where(total > 0, total, 1)
    return shares


def superclass_shares(
    shares: ArrayLike, superclass_of_class: ArrayLike, n_superclasses: int
) -> NDArray[np.float64]:
    """Add up class shares by superclass.

    Parameters
    ----------
    shares : array-like of shape (k, n_classes)
        Result of `class_shares`.
    superclass_of_class : array-like of int, shape (n_classes,)
        Superclass number of each class, 0 to ``n_superclasses - 1``.
    n_superclasses : int
        Number of superclasses.

    Returns
    -------
    ndarray of shape (k, n_superclasses), float64
        Rows have the sums that the rows of `shares` have.

    Raises
    ------
    ValueError
        If `superclass_of_class` does not give a valid superclass for each class.

    Examples
    --------
    >>> superclass_shares([[0.5, 0.25, 0.25]], [1, 0, 1], 2)
    array([[0.25, 0.75]])
    """
    shares = as_factor(shares, "shares")
    groups = as_labels(superclass_of_class, shares.shape[1], n_superclasses)
    return np.stack([np.bincount(groups, row, n_superclasses) for row in shares])


def share_entropy(shares: ArrayLike) -> NDArray[np.float64]:
    """Return the entropy ``-sum_c p[r, c] ln p[r, c]`` of every concept's shares, in nats.

    0 means a single class; ln(#classes) all classes alike. ``exp`` of it is the number of
    equally strong classes that would have the same entropy.

    Parameters
    ----------
    shares : array-like of shape (k, n_classes)
        Result of `class_shares` or `superclass_shares`.

    Returns
    -------
    ndarray of shape (k,), float64
        Entropies; 0 for a concept without weight. ``0 ln 0`` counts as 0.

    Raises
    ------
    ValueError
        If the shares are not a finite non-negative matrix.

    Examples
    --------
    >>> share_entropy([[1.0, 0.0], [0.5, 0.5]]).round(3)
    array([0.   , 0.693])
    """
    p = as_factor(shares, "shares").astype(np.float64)
    # 0 - x turns the sum's -0.0 of a single class into 0.
    entropy: NDArray[np.float64] = 0 - (p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
    return entropy


def classes_in(shares: ArrayLike) -> NDArray[np.bool_]:
    """Say which classes are "in" each concept: those with a share of at least 1 / #classes.

    Parameters
    ----------
    shares : array-like of shape (k, n_classes)
        Result of `class_shares` or `superclass_shares`.

    Returns
    -------
    ndarray of shape (k, n_classes), bool
        Membership of each class in each concept.

    Raises
    ------
    ValueError
        If the shares are not a finite non-negative matrix.

    References
    ----------
    Section 4 of arXiv:2012.12516.

    Examples
    --------
    >>> classes_in([[0.7, 0.3, 0.0]])
    array([[ True, False, False]])
    """
    p = as_factor(shares, "shares")
    # Sums round: a concept of all classes alike must not lose some of them to the last bit.
    inside: NDArray[np.bool_] = p * p.shape[1] >= 1 - 1e-9
    return inside


def share_table(
    shares: ArrayLike,
    names: Sequence[str],
    *,
    by: Literal["class", "superclass"] = "class",
    groups: Sequence[str] | None = None,
) -> Table:
    """List the share of every class in every concept, and whether it is in the concept.

    Parameters
    ----------
    shares : array-like of shape (k, n_classes)
        Result of `class_shares` or `superclass_shares`.
    names : sequence of str, length n_classes
        Name of each class.
    by : {"class", "superclass"}
        What the columns of `shares` are, and so the name of a column of the table.
    groups : sequence of str, length n_classes, optional
        Name of the superclass of each class.

    Returns
    -------
    Table
        A row per concept and class: ``concept``, ``class`` or ``superclass`` (number), ``name``,
        ``superclass`` (name, where `groups` is given), ``share``, ``is_in`` (as `classes_in`).

    Raises
    ------
    ValueError
        If the shares are not a finite non-negative matrix or the names do not fit to it.

    Examples
    --------
    >>> share_table([[0.7, 0.3]], ["cat", "tree"])
    concept  class  name  share  is_in
          0      0   cat    0.7   True
          0      1  tree    0.3  False
    """
    p = as_factor(shares, "shares")
    k, n_classes = p.shape
    for given in (names, groups):
        if given is not None and len(given) != n_classes:
            raise ValueError(f"{len(given)} names for {n_classes} classes; expected one per class")
    columns: dict[str, NDArray[Any]] = {
        "concept": np.repeat(np.arange(k), n_classes),
        by: np.tile(np.arange(n_classes), k),
        "name": np.tile(np.array(names, dtype=str), k),
    }
    if groups is not None:
        columns["superclass"] = np.tile(np.array(groups, dtype=str), k)
    columns["share"] = p.ravel()
    columns["is_in"] = classes_in(p).ravel()
    return Table(columns)


def entropy_table(shares: ArrayLike) -> Table:
    """Say of every concept how many classes it has.

    Parameters
    ----------
    shares : array-like of shape (k, n_classes)
        Result of `class_shares` or `superclass_shares`.

    Returns
    -------
    Table
        A row per concept: ``concept``, ``entropy`` (as `share_entropy`, nats), ``effective``
        (``exp(entropy)``, the number of equally strong classes of that entropy; 0 for a concept
        without weight), ``n_in`` (number of classes in the concept, as `classes_in`).

    Raises
    ------
    ValueError
        If the shares are not a finite non-negative matrix.

    Examples
    --------
    >>> entropy_table([[0.5, 0.5], [1.0, 0.0]])
    concept  entropy  effective  n_in
          0   0.6931          2     2
          1        0          1     1
    """
    p = as_factor(shares, "shares")
    entropy = share_entropy(p)
    return Table(
        {
            "concept": np.arange(len(p)),
            "entropy": entropy,
            "effective": np.where(p.any(axis=1), np.exp(entropy), 0),
            "n_in": classes_in(p).sum(axis=1),
        }
    )
