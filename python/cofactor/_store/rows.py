"""Selections of rows: a range where they are consecutive, an array of indices otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Rows", "compose", "resolve_rows", "split_by_shard"]

Rows = range | npt.NDArray[np.int64]
"""Rows in order; a range has step 1."""


def resolve_rows(n_rows: int, selection: Any) -> Rows:
    """Return the rows that a slice, indices or a boolean mask select among `n_rows`.

    Raises
    ------
    IndexError
        If an index is out of range or a mask has another length.
    TypeError
        If the selection is none of these.
    """
    if selection is None:
        return range(n_rows)
    if isinstance(selection, slice):
        rows = range(n_rows)[selection]
        if rows.step == 1:
            return range(rows.start, max(rows.start, rows.stop))
        return _simplify(np.arange(rows.start, rows.stop, rows.step, dtype=np.int64))
    indices = np.asarray(selection)
    if indices.ndim == 1 and indices.dtype.kind == "b":
        if indices.size != n_rows:
            raise IndexError(
                f"rows is a mask of {indices.size} entries, expected {n_rows}, one for each row"
            )
        return _simplify(np.flatnonzero(indices).astype(np.int64))
    if indices.ndim == 1 and (indices.dtype.kind in "iu" or indices.size == 0):
        wrong = indices[(indices >= n_rows) | (indices < -n_rows)]
        if wrong.size:
            raise IndexError(
                f"rows has the index {wrong[0]}, expected indices from {-n_rows} to {n_rows - 1}"
            )
        chosen = indices.astype(np.int64)
        return _simplify(np.where(chosen < 0, chosen + n_rows, chosen))
    raise TypeError(
        f"rows is {type(selection).__name__} with dtype {indices.dtype} and {indices.ndim} "
        "dimensions, expected a slice, a one-dimensional array of integers or a boolean mask"
    )


def compose(outer: Rows, inner: Rows) -> Rows:
    """Return the rows `inner` of the rows `outer`."""
    if isinstance(inner, range):
        return outer[inner.start : inner.stop]
    if isinstance(outer, range):
        return inner + outer.start
    return _simplify(outer[inner])


def split_by_shard(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.int64]]]:
    """Yield for every shard that holds some of the rows its index, where they are in `rows`, in it.

    `offsets` holds the first row of every shard, and behind them the number of rows.
    """
    shard_of_row = np.searchsorted(offsets, rows, side="right") - 1
    for index in np.unique(shard_of_row).tolist():
        where = np.flatnonzero(shard_of_row == index)
        yield index, where, rows[where] - offsets[index]


def _simplify(indices: npt.NDArray[np.int64]) -> Rows:
    # Consecutive rows need no copy, however they were asked for.
    if indices.size == 0:
        return range(0)
    if np.all(np.diff(indices) == 1):
        return range(int(indices[0]), int(indices[-1]) + 1)
    return indices
