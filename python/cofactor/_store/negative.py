"""What is done to negative values while a view is read: nothing, or one of three things.

relu: max(x, 0). shift: x - min(minimum, 0), with the minimum over the whole view. split: columns
max(x, 0), and behind them as many columns max(-x, 0). NaN stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .encoding import DTYPES, Statistics, decode
from .metadata import View

__all__ = [
    "NEGATIVE",
    "apply",
    "as_read",
    "check_negative",
    "check_way",
    "statistics_as_read",
]

NEGATIVE = ("relu", "shift", "split")

_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000, "float64": 0x7FF << 52}


def check_negative(
    views: Mapping[str, View], negative: str | Mapping[str, str | None]
) -> dict[str, View]:
    """Return views that are read in another way: all floats, or some by name.

    Raises
    ------
    StoreError
        If there is no such way or view.
    """
    if isinstance(negative, str):
        negative = {view.name: negative for view in views.values() if view.dtype != "uint8"}
    changed = dict(views)
    for name, how in negative.items():
        if name not in views:
            raise StoreError(
                f"negative names the view {name!r}, expected one of {', '.join(views)}"
            )
        check_way(name, how, views[name].dtype)
        changed[name] = replace(views[name], negative=how)
    return changed


def check_way(name: str, negative: object, dtype: str) -> None:
    """Raise StoreError unless this can be done to negative values of a view."""
    if negative is not None and (negative not in NEGATIVE or dtype == "uint8"):
        raise StoreError(
            f"view {name!r}: negative is {negative!r} with dtype {dtype}, expected None, or for "
            f"other dtypes than uint8 one of {', '.join(NEGATIVE)}"
        )


def as_read(view: View, n_rows: int | None) -> View:
    """Return a stored view as a reader sees it.

    With the statistics of all `n_rows` rows where they are known; without any if that is None.
    """
    known = None if n_rows is None else statistics_as_read(view, n_rows)
    shape, dtype = view.shape, view.dtype
    if view.negative == "split":
        # Twice as many channels: positive parts of all, then negative parts of all.
        shape = (2 * shape[0], *shape[1:]) if shape else (2,)
    elif view.negative == "shift":
        dtype = _shifted_dtype(dtype)
    facts: dict[str, Any] = dict.fromkeys(Statistics.__slots__)
    if known is not None:
        facts = {name: getattr(known, name) for name in facts}
    return replace(view, shape=shape, dtype=dtype, **facts)


def statistics_as_read(view: View, n_rows: int) -> Statistics | None:
    """Return the statistics of a stored view as a reader sees it, None if they must be counted."""
    if view.sum_of_squares is None or view.minimum is None or view.maximum is None:
        return None
    squares, low, high = view.sum_of_squares, view.minimum, view.maximum
    total, positive, n_nonfinite = view.sum, view.positive_sum_of_squares, view.n_nonfinite or 0
    if view.negative is None or (view.negative != "split" and low >= 0):
        return Statistics(squares, low, high, n_nonfinite, total, positive)
    if view.negative == "relu" and positive is not None:
        return Statistics(positive, max(low, 0.0), max(high, 0.0), n_nonfinite, None, positive)
    if view.negative == "split":
        largest = max(high, -low)
        return Statistics(squares, 0.0, largest, 2 * n_nonfinite, None, squares)
    if view.negative == "shift" and total is not None and n_nonfinite == 0:
        n_values = n_rows * view.n_columns
        shifted = math.fsum((squares, -2.0 * low * total, n_values * low * low))
        # Where most of it cancels, a count is better than a difference.
        if shifted > 1e-3 * n_values * low * low:
            return Statistics(shifted, 0.0, high - low, 0, total - n_values * low, shifted)
    return None


def apply(stored: npt.NDArray[Any], view: View) -> npt.NDArray[Any]:
    """Return rows of stored numbers as a reader sees them; `view` is as stored."""
    if view.negative is None:
        return stored
    if view.negative == "shift":
        shifted = np.empty(stored.shape, DTYPES[_shifted_dtype(view.dtype)])
        decode(stored, view.dtype, view.scale, shifted)
        assert view.minimum is not None
        shifted -= shifted.dtype.type(min(view.minimum, 0.0))
        return shifted
    # On the bits: exact for every dtype, and 16-bit floats have no arithmetic of their own.
    unsigned = np.dtype(f"<u{stored.itemsize}")
    bits = stored.view(unsigned)
    sign = 1 << (8 * stored.itemsize - 1)
    is_negative = (bits >= sign) & (bits <= sign | _INFINITY[view.dtype])
    positive: npt.NDArray[Any] = np.where(is_negative, unsigned.type(0), bits)
    if view.negative == "relu":
        return positive.view(stored.dtype)
    is_nan = (bits & unsigned.type(sign - 1)) > _INFINITY[view.dtype]
    magnitude = bits & unsigned.type(sign - 1)
    negative = np.where(is_negative | is_nan, magnitude, unsigned.type(0))
    return np.concatenate((positive, negative), axis=1).view(stored.dtype)


def _shifted_dtype(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"
