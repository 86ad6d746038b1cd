"""Checks of arguments, and scaling, that several analyses share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What tables call the rows of W where they list them beside views.
EXAMPLES = "W"


def as_factor(factor: ArrayLike, name: str) -> NDArray[Any]:
    """Return a two-dimensional, floating, finite, non-negative array or raise a ValueError."""
    array = np.asarray(factor)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; expected two dimensions")
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    # min and max carry NaN along, so two passes without a temporary tell everything.
    if array.size and not (array.min() >= 0 and array.max() < np.inf):
        raise ValueError(
            f"{name} holds negative or non-finite values; expected a non-negative factor of a fit"
        )
    return array


def as_labels(
    labels: ArrayLike, n: int, n_classes: int | None = None, name: str = "labels"
) -> NDArray[np.intp]:
    """Return integers of shape (n,), all in [0, n_classes), or raise a ValueError."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; expected ({n},)")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} has dtype {array.dtype}; expected integers, numbers from 0")
    if array.size and (array.min() < 0 or (n_classes is not None and array.max() >= n_classes)):
        limit = "at least 0" if n_classes is None else f"0 to {n_classes - 1}"
        raise ValueError(f"{name} runs from {array.min()} to {array.max()}; expected {limit}")
    return array.astype(np.intp)


def check_index(r: int, n_concepts: int) -> int:
    """Return concept number `r` or raise an IndexError that names the valid ones."""
    if not 0 <= r < n_concepts:
        raise IndexError(f"concept {r} does not exist; the fit has concepts 0 to {n_concepts - 1}")
    return int(r)


def check_count(n: int, name: str) -> int:
    """Return `n` or raise a ValueError where it is below 1."""
    if n < 1:
        raise ValueError(f"{name} = {n}; expected at least 1")
    return int(n)


def unit_rows(factor: ArrayLike, name: str, component_axis: int) -> NDArray[np.float64]:
    """Return the components as rows of unit norm; those without weight stay zero."""
    array = as_factor(factor, name).astype(np.float64)
    rows: NDArray[np.float64] = array.T if component_axis == 1 else array
    # By the largest entry first, so that squares neither vanish nor overflow.
    rows = rows / np.where(rows.any(axis=1), rows.max(axis=1, initial=0), 1)[:, None]
    norms = np.sqrt(np.einsum("ri,ri->r", rows, rows))
    return rows / np.where(norms > 0, norms, 1)[:, None]
