"""Clusters of examples, neurons or pixels by their strongest concept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import EXAMPLES, as_factor
from cofactor.concepts._table import Table


def hard_clusters(factor: ArrayLike, *, component_axis: Literal[0, 1] = 1) -> NDArray[np.intp]:
    """Assign every item to the concept in which it is strongest.

    Components have arbitrary scale, so each is divided by its L2 norm over all items first:
    ``argmax_r f[i, r] / ||f[:, r]||``. Of equal maxima the lowest concept counts.

    Parameters
    ----------
    factor : array-like of shape (n_items, k), or (k, n_items) with ``component_axis=0``
        W for examples, an H_v (with ``component_axis=0``) for neurons or pixels.
    component_axis : {0, 1}
        The axis along which the components lie.

    Returns
    -------
    ndarray of shape (n_items,), intp
        Concept numbers; -1 for an item that is zero in all components.

    Raises
    ------
    ValueError
        If the factor is not two-dimensional, finite and non-negative.

    References
    ----------
    Section 3 of arXiv:2012.12516, where the examples, neurons and pixels are clustered.

    Examples
    --------
    >>> hard_clusters([[3.0, 0.1], [4.0, 0.0], [0.0, 0.0]])
    array([ 1,  0, -1])
    """
    scaled = unit_components(factor, component_axis)
    clusters: NDArray[np.intp] = scaled.argmax(axis=component_axis)
    clusters[scaled.max(axis=component_axis, initial=0) == 0] = -1
    return clusters


def soft_memberships(
    factor: ArrayLike, *, component_axis: Literal[0, 1] = 1
) -> NDArray[np.float64]:
    """Say how much of every item belongs to each concept.

    Components are brought to unit L2 norm over the items, then each item's values are divided
    by their sum.

    Parameters
    ----------
    factor : array-like of shape (n_items, k), or (k, n_items) with ``component_axis=0``
        W for examples, an H_v (with ``component_axis=0``) for neurons or pixels.
    component_axis : {0, 1}
        The axis along which the components lie.

    Returns
    -------
    ndarray of the shape of `factor`, float64
        Memberships in [0, 1] that sum to 1 over the components; an all-zero item stays zero.

    Raises
    ------
    ValueError
        If the factor is not two-dimensional, finite and non-negative.

    Examples
    --------
    >>> soft_memberships([[3.0, 0.0], [4.0, 2.0], [0.0, 0.0]]).round(2)
    array([[1.  , 0.  ],
           [0.44, 0.56],
           [0.  , 0.  ]])
    """
    scaled = unit_components(factor, component_axis)
    total = scaled.sum(axis=component_axis, keepdims=True)
    memberships: NDArray[np.float64] = scaled / np.where(total > 0, total, 1)
    return memberships


def cluster_table(factor: ArrayLike, *, component_axis: Literal[0, 1] = 1) -> Table:
    """List the cluster of every item, how clear it is, and the runner-up.

    Parameters
    ----------
    factor : array-like of shape (n_items, k), or (k, n_items) with ``component_axis=0``
        W for examples, an H_v (with ``component_axis=0``) for neurons or pixels.
    component_axis : {0, 1}
        The axis along which the components lie.

    Returns
    -------
    Table
        A row per item: ``item``, ``cluster`` (as `hard_clusters`, -1 for an all-zero item),
        ``membership`` in it (as `soft_memberships`), ``second`` (the next strongest concept, -1
        if there is none), ``second_membership``, ``entropy`` of the memberships (nats).

    Raises
    ------
    ValueError
        If the factor is not two-dimensional, finite and non-negative.

    Examples
    --------
    >>> cluster_table([[3.0, 0.0], [4.0, 2.0], [0.0, 0.0]])
    item  cluster  membership  second  second_membership  entropy
       0        0           1      -1                  0        0
       1        1      0.5556       0             0.4444    0.687
       2       -1           0      -1                  0        0
    """
    memberships = soft_memberships(factor, component_axis=component_axis)
    if component_axis == 0:
        memberships = memberships.T
    clusters = hard_clusters(factor, component_axis=component_axis)
    items = np.arange(len(memberships))
    rest = memberships.copy()
    # Item by item rather than by sorting: of equal memberships the lowest concept comes first.
    rest[items, np.maximum(clusters, 0)] = 0
    second = rest.argmax(axis=1)
    second_membership = rest[items, second]
    return Table(
        {
            "item": items,
            "cluster": clusters,
            "membership": memberships[items, np.maximum(clusters, 0)],
            "second": np.where(second_membership > 0, second, -1),
            "second_membership": second_membership,
            "entropy": 0
            - (memberships * np.log(np.where(memberships > 0, memberships, 1))).sum(axis=1),
        }
    )


def cluster_sizes(components: Mapping[str, ArrayLike], W: ArrayLike | None = None) -> Table:
    """Count the neurons or pixels of every view, and the examples, by their strongest concept.

    Parameters
    ----------
    components : mapping of str to array-like of shape (k, d_v)
        Factor of each view.
    W : array-like of shape (n, k), optional
        Example factor.

    Returns
    -------
    Table
        k + 1 rows per view, and for ``W`` where given: ``view``, ``concept`` (-1 first, for items
        that are zero in all concepts), ``size``, ``share`` (of all items of the view).

    Raises
    ------
    ValueError
        If a factor is not a finite non-negative matrix.

    Examples
    --------
    >>> cluster_sizes({"fc": [[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]]})
    view  concept  size   share
      fc       -1     1  0.3333
      fc        0     1  0.3333
      fc        1     1  0.3333
    """
    found = {view: hard_clusters(H, component_axis=0) for view, H in components.items()}
    ranks = {view: len(np.asarray(H)) for view, H in components.items()}
    if W is not None:
        found[EXAMPLES], ranks[EXAMPLES] = hard_clusters(W), np.shape(W)[1]
    sizes = {
        view: np.bincount(clusters + 1, minlength=ranks[view] + 1)
        for view, clusters in found.items()
    }
    if not sizes:
        raise ValueError("neither components nor W was given; expected at least one factor")
    return Table(
        {
            "view": np.concatenate([np.full(len(size), view) for view, size in sizes.items()]),
            "concept": np.concatenate([np.arange(-1, len(s) - 1) for s in sizes.values()]),
            "size": np.concatenate(list(sizes.values())),
            "share": np.concatenate([size / max(size.sum(), 1) for size in sizes.values()]),
        }
    )


def unit_components(factor: ArrayLike, component_axis: int) -> NDArray[np.float64]:
    """Return the factor with every component at unit L2 norm over the items."""
    array = as_factor(factor, "factor")
    norms = np.sqrt(
        np.einsum("ir,ir->r" if component_axis == 1 else "ri,ri->r", array, array, dtype=np.float64)
    )
    scale = np.where(norms > 0, norms, 1)
    scaled: NDArray[np.float64] = array / (scale if component_axis == 1 else scale[:, None])
    return scaled
