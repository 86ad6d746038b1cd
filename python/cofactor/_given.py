"""Starts of fits where the caller gives components."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._parameters import check_is_mapping, check_start
from ._views import Views
from .init import random_start

__all__ = ["check_given", "start_beside_fixed", "with_unit_rows"]

Float64Array = npt.NDArray[np.float64]


def check_given(
    H: Mapping[str, npt.ArrayLike], columns: Mapping[str, int], n_components: int, *, some: bool
) -> dict[str, Float64Array]:
    """Check a caller's components of all views, or of `some`.

    Raises
    ------
    TypeError
        If `H` is no mapping, or holds no real numbers.
    ValueError
        For views that are unknown or missing, other shapes, and values that are negative or not
        finite.
    """
    check_is_mapping(H)
    unknown = [name for name in H if name not in columns]
    if some and unknown:
        raise ValueError(
            f"H names unknown view(s) {', '.join(map(repr, unknown))}; the data has "
            + ", ".join(map(repr, columns))
        )
    expected = {name: d for name, d in columns.items() if not some or name in H}
    return dict(zip(expected, check_start(H, expected, n_components), strict=True))


def start_beside_fixed(
    views: Views,
    weights: Mapping[str, float],
    n_components: int,
    given: Mapping[str, Float64Array],
    fixed: Sequence[str],
    random_state: np.random.RandomState,
    *,
    engine_for: Callable[[Views, Mapping[str, float]], _core.Engine],
) -> tuple[list[Float64Array], float]:
    """Find components of the other views that go with the fixed ones.

    The fixed views give W, and W gives the other views' least-squares H_v, in one read. Components
    that no fixed view knows, and views that are given, start as given or at random.

    Parameters
    ----------
    views : Views
        The data, with statistics.
    weights : mapping of str to float
        Weight of every view.
    n_components : int
        Number of components k.
    given : mapping of str to ndarray of shape (n_components, n_columns)
        Components of the fixed views and, if wanted, starts of others; see :func:`check_given`.
    fixed : sequence of str
        Names of the fixed views.
    random_state : numpy.random.RandomState
        Source of randomness.
    engine_for : callable
        Gives the fit's problem for other weights.

    Returns
    -------
    tuple of list of ndarray and float
        H of every view, and the reads that finding them cost.
    """
    columns = views.n_columns
    free = [name for name in columns if name not in given]
    if not free:
        return [given[name] for name in columns], 0.0
    scale = [
        float(np.sqrt(square / (views.n_examples * d)))
        for square, d in zip(views.sums_of_squares, columns.values(), strict=True)
    ]
    drawn = random_start(n_components, list(columns.values()), scale, random_state)
    start = [given.get(name, random) for name, random in zip(columns, drawn, strict=True)]
    shaping = {name: weight if name in fixed else 0.0 for name, weight in weights.items()}
    known = np.zeros(n_components, np.bool_)
    for name, weight in shaping.items():
        if weight > 0:
            known |= given[name].any(axis=1)
    if not known.any():
        return start, 0.0
    engine = engine_for(views, shaping)
    for v, factor in enumerate(start):
        engine.set_h(v, factor)
    engine.fit(
        views.sums_of_squares,
        max_iterations=1,
        tolerance=0.0,
        extrapolate=False,
        verify=False,
        progress=None,
    )
    for v, name in enumerate(columns):
        if name in free:
            start[v] = np.where(known[:, np.newaxis], engine.h(v), start[v])
    return start, 1.0


def with_unit_rows(factors: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Scale nonzero rows to unit L2 norm."""
    result: list[npt.NDArray[Any]] = []
    for factor in factors:
        norms = np.linalg.norm(factor, axis=1, keepdims=True)
        result.append(factor / np.where(norms > 0, norms, 1.0))
    return result
