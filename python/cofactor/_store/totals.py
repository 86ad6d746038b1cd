"""Statistics of a view from those of its shards."""

from __future__ import annotations

import math
from dataclasses import replace

from .._errors import StoreError
from .encoding import Statistics
from .metadata import View

__all__ = ["EMPTY", "add_statistics"]

EMPTY = Statistics(0.0, 0.0, 0.0, 0, 0.0, 0.0)


def add_statistics(view: View, rows: int, found: Statistics, found_rows: int) -> View:
    """Return a view of `rows` rows with the statistics of `found_rows` more rows added.

    Raises
    ------
    StoreError
        If the sum of squares leaves the range of float64.
    """
    known = Statistics(
        view.sum_of_squares or 0.0,
        view.minimum or 0.0,
        view.maximum or 0.0,
        view.n_nonfinite or 0,
    )
    squares = known.sum_of_squares + found.sum_of_squares
    if not math.isfinite(squares):
        raise StoreError(
            f"view {view.name!r}: the sum of squares exceeds the range of float64; scale the "
            "values down"
        )
    # Extremes of nothing finite are stored as 0.0 and must not take part.
    parts = [
        part
        for part, n_rows in ((known, rows), (found, found_rows))
        if part.n_nonfinite < n_rows * view.n_columns
    ]
    return replace(
        view,
        sum_of_squares=squares,
        minimum=min((part.minimum for part in parts), default=0.0),
        maximum=max((part.maximum for part in parts), default=0.0),
        n_nonfinite=known.n_nonfinite + found.n_nonfinite,
        sum=_plus(view.sum, found.sum),
        positive_sum_of_squares=_plus(view.positive_sum_of_squares, found.positive_sum_of_squares),
    )


def _plus(known: float | None, more: float | None) -> float | None:
    return None if known is None or more is None else known + more
