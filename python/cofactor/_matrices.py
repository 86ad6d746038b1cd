"""The array of a view in a form that the core reads, and rows of such arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse, vstack

from ._arrays import to_host

__all__ = ["Matrix", "gather", "stack", "to_matrix"]

_KEPT_DTYPES = ("uint8", "float16", "float32", "float64")


@dataclass(frozen=True)
class Matrix:
    """Rows of one view in memory, and what the core reads their numbers as."""

    values: Any
    """Array, or a sparse matrix in rows; bfloat16 as its 16 bits."""
    dtype: str

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.values.shape[0])

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])


def to_matrix(name: Any, array: Any, dtype: str | None = None) -> Matrix:
    """Check the array of a view and bring it into a form that the core reads.

    Parameters
    ----------
    name : str
        Name of the view.
    array : array or sparse matrix of shape (n_examples, n_columns)
        Of NumPy or another library, used in place where it lies in the CPU's memory: only numbers
        of more than 64 bits and sparse matrices that are not in rows are copied.
    dtype : str, optional
        Name of the dtype where `array` holds the bits of numbers that NumPy does not know.

    Returns
    -------
    Matrix
        uint8, float16, bfloat16, float32 or float64 as they are; other integers of at most 16 bits
        to be read as float32, and wider ones as float64.

    Raises
    ------
    TypeError
        If it has no real numbers, or `name` is no string.
    ValueError
        If it is no matrix, or has no columns.
    """
    if not isinstance(name, str):
        raise TypeError(f"view names must be strings, got {name!r}")
    host = to_host(array, f"view {name!r}")
    values, dtype = host.values, dtype or host.dtype
    if not issparse(values):
        values = np.asarray(values)
    if values.ndim != 2:
        raise ValueError(
            f"view {name!r} has shape {values.shape}; expected (n_examples, n_columns)"
            + ("; flatten it with x.reshape(len(x), -1)" if values.ndim > 2 else "")
        )
    if values.shape[1] == 0:
        raise ValueError(
            f"Found view {name!r} with 0 feature(s) (shape={values.shape}) "
            "while a minimum of 1 is required"
        )
    if values.dtype == object:
        values = values.astype(np.float64)  # or the TypeError that says which object is no number
    if values.dtype.kind not in "fiub":
        raise TypeError(f"view {name!r} has dtype {values.dtype}; expected real numbers")
    if dtype is None:
        dtype = _read_as(values.dtype)
    if issparse(values):
        # A sparse matrix in other form takes new memory for its entries, as in scikit-learn.
        values = values.tocsr().astype("float32" if dtype == "float32" else "float64", copy=False)
        if values.indices.dtype != values.indptr.dtype:
            values = values.copy()
            values.indices = values.indices.astype(np.int64)
            values.indptr = values.indptr.astype(np.int64)
        dtype = values.dtype.name
    elif values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    return Matrix(values, dtype)


def gather(pieces: Sequence[Any], rows: npt.NDArray[np.intp]) -> Any:
    """Copy some rows, ascending, out of consecutive pieces of a view's rows."""
    if len(rows) == 0:
        return pieces[0][:0]
    edges = np.cumsum([0, *(piece.shape[0] for piece in pieces)])
    cuts = np.searchsorted(rows, edges)
    return stack(
        [
            piece[rows[cuts[i] : cuts[i + 1]] - edges[i]]
            for i, piece in enumerate(pieces)
            if cuts[i] < cuts[i + 1]
        ]
    )


def stack(parts: Sequence[Any]) -> Any:
    """Put pieces of a view's rows into one, which is sparse if all are."""
    if len(parts) == 1:
        return parts[0]
    if all(issparse(part) for part in parts):
        return vstack(parts, format="csr")
    return np.concatenate([part.toarray() if issparse(part) else part for part in parts])


def _read_as(dtype: np.dtype[Any]) -> str:
    """Name of the dtype in which the core reads an array."""
    if dtype.kind == "b":
        return "uint8"
    name = dtype.newbyteorder("=").name
    if name in _KEPT_DTYPES:
        return name
    return "float64" if dtype.itemsize > 2 else "float32"
