"""The neurons and pixels in which a concept is strongest."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_factor, check_count, check_index
from cofactor.concepts._table import Table

_COORDINATES = {1: (), 2: ("row", "col"), 3: ("channel", "row", "col")}


def neurons(H: ArrayLike, r: int, shape: Sequence[int], n: int = 10) -> Table:
    """List the neurons of a view in which concept `r` is strongest.

    Parameters
    ----------
    H : array-like of shape (k, d)
        Factor of the view, ``components_[view]``.
    r : int
        Concept number, 0 to k - 1.
    shape : sequence of int
        Shape of one example in the view, of product d: ``(channels, height, width)`` for a
        convolution, ``(height, width)`` for pixels, ``(features,)`` for a vector.
    n : int
        At most this many neurons. Neurons without the concept are left out.

    Returns
    -------
    Table
        ``rank`` (from 1), ``neuron`` (column of H), its coordinates (``channel``, ``row`` and
        ``col`` as far as the shape has them, ``axis_0``, ``axis_1``, ... beyond three axes),
        ``weight`` (``H[r, neuron]``, in arbitrary units) and ``share`` of the row's sum. Equal
        weights keep their order.

    Raises
    ------
    ValueError
        If H is not a finite non-negative matrix, `shape` does not fit to it or `n` is below 1.
    IndexError
        If there is no concept `r`.

    Examples
    --------
    >>> neurons([[0.0, 1.0, 0.0, 3.0]], 0, shape=(2, 1, 2))
    rank  neuron  channel  row  col  weight  share
       1       3        1    0    1       3   0.75
       2       1        0    0    1       1   0.25
    """
    check_count(n, "n")
    weights = _row(H, r, shape)
    order = np.argsort(-weights, kind="stable")[:n]
    order = order[weights[order] > 0]
    names = _COORDINATES.get(len(shape), tuple(f"axis_{axis}" for axis in range(len(shape))))
    coordinates = np.unravel_index(order, tuple(shape)) if names else ()
    return Table(
        {
            "rank": np.arange(1, len(order) + 1),
            "neuron": order,
            **dict(zip(names, coordinates, strict=True)),
            "weight": weights[order],
            "share": weights[order] / (weights.sum() or 1),
        }
    )


def position_map(H: ArrayLike, r: int, shape: Sequence[int]) -> NDArray[np.float64]:
    """Sum concept `r` over the channels of a convolution: where in the image it is.

    Parameters
    ----------
    H : array-like of shape (k, channels * height * width)
        Factor of the view.
    r : int
        Concept number, 0 to k - 1.
    shape : (int, int, int)
        ``(channels, height, width)``.

    Returns
    -------
    ndarray of shape (height, width), float64
        ``sum_c H[r, (c, y, x)]``, in the units of H.

    Raises
    ------
    ValueError
        If H is not a finite non-negative matrix or `shape` does not fit to it.
    IndexError
        If there is no concept `r`.

    Examples
    --------
    >>> position_map([[0.0, 1.0, 0.0, 3.0]], 0, shape=(2, 1, 2))
    array([[0., 4.]])
    """
    maps: NDArray[np.float64] = _maps(H, r, shape).sum(axis=0)
    return maps


def channel_profile(H: ArrayLike, r: int, shape: Sequence[int]) -> NDArray[np.float64]:
    """Sum concept `r` over the positions of a convolution: which channels carry it.

    Parameters
    ----------
    H : array-like of shape (k, channels * height * width)
        Factor of the view.
    r : int
        Concept number, 0 to k - 1.
    shape : (int, int, int)
        ``(channels, height, width)``.

    Returns
    -------
    ndarray of shape (channels,), float64
        ``sum_yx H[r, (c, y, x)]``, in the units of H.

    Raises
    ------
    ValueError
        If H is not a finite non-negative matrix or `shape` does not fit to it.
    IndexError
        If there is no concept `r`.

    Examples
    --------
    >>> channel_profile([[0.0, 1.0, 0.0, 3.0]], 0, shape=(2, 1, 2))
    array([1., 3.])
    """
    profile: NDArray[np.float64] = _maps(H, r, shape).sum(axis=(1, 2))
    return profile


def concept_image(
    channels: Sequence[ArrayLike], r: int, shape: Sequence[int]
) -> NDArray[np.float64]:
    """Make an image of concept `r` from the factors of the input channels.

    Parameters
    ----------
    channels : sequence of array-like of shape (k, height * width)
        Factors of the pixel views, one per colour channel.
    r : int
        Concept number, 0 to k - 1.
    shape : (int, int)
        ``(height, width)``.

    Returns
    -------
    ndarray of shape (height, width, len(channels)), float64
        Each channel divided by its maximum, so in [0, 1]; a channel without weight is 0.

    Raises
    ------
    ValueError
        If there are no channels, a factor is not a finite non-negative matrix or `shape` does
        not fit to it.
    IndexError
        If there is no concept `r`.

    References
    ----------
    Section 4 of arXiv:2012.12516, where the rows of P_c are shown as images.

    Examples
    --------
    >>> concept_image([[[1.0, 4.0]], [[0.0, 0.5]]], 0, shape=(1, 2))
    array([[[0.25, 0.  ],
            [1.  , 1.  ]]])
    """
    if not len(channels):
        raise ValueError("no channels were given; expected the factor of each pixel view")
    if len(shape) != 2:
        raise ValueError(f"shape = {tuple(shape)}; expected (height, width)")
    rows = [_row(H, r, shape) for H in channels]
    return np.stack([(row / (row.max() or 1)).reshape(tuple(shape)) for row in rows], axis=-1)


def _row(H: ArrayLike, r: int, shape: Sequence[int]) -> NDArray[np.float64]:
    # The row alone is checked and converted: H of a large layer would take longer than the rest.
    H = np.asarray(H)
    if H.ndim != 2 or H.shape[1] != prod(shape):
        raise ValueError(
            f"H has shape {H.shape} and one example {tuple(shape)}; "
            f"expected (k, {prod(shape)}), a column per neuron"
        )
    row: NDArray[np.float64] = as_factor(H[check_index(r, len(H))][None], "H")[0].astype(np.float64)
    return row


def _maps(H: ArrayLike, r: int, shape: Sequence[int]) -> NDArray[np.float64]:
    if len(shape) != 3:
        raise ValueError(
            f"shape = {tuple(shape)}; expected (channels, height, width), a convolution's"
        )
    maps: NDArray[np.float64] = _row(H, r, shape).reshape(tuple(shape))
    return maps
