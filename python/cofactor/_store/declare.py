"""What a writer is told of views, columns and shards, checked."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .encoding import DTYPES, LARGEST_SCALE
from .metadata import COLUMN_DTYPES, PANEL_ROWS, Column, View, check_name
from .negative import check_way

__all__ = ["check_columns", "check_names", "check_rows_per_shard", "make_source", "make_views"]

_SHARD_BYTES = 64 << 20
_GROUP_BYTES = 512 << 20


def make_views(views: Mapping[str, Mapping[str, Any]]) -> dict[str, View]:
    """Return the views that a caller declares, empty as yet."""
    if not views:
        raise StoreError("views is empty, expected at least one view")
    return {name: _make_view(name, options) for name, options in views.items()}


def _make_column(name: str, values: npt.NDArray[Any]) -> Column:
    """Return the column whose first entries these are."""
    check_name(name, "column")
    dtype = "str" if values.dtype.kind == "U" else values.dtype.name
    if dtype not in COLUMN_DTYPES:
        raise StoreError(
            f"column {name!r}: has dtype {values.dtype}, expected numbers, booleans or strings; "
            "convert it, for instance with numpy.asarray(values, dtype=str)"
        )
    if 0 in values.shape[1:]:
        raise StoreError(f"column {name!r}: has shape {values.shape}, expected no empty axis")
    return Column(name, dtype, values.shape[1:])


def check_columns(
    columns: Mapping[str, npt.ArrayLike], known: Mapping[str, Column] | None, n_rows: int
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Column]]:
    """Return the entries of a block in the dtypes of their columns, and the columns.

    `known` are the columns of the first block, None in that block itself.
    """
    entries = {name: np.asarray(values) for name, values in columns.items()}
    if known is None:
        known = {name: _make_column(name, values) for name, values in entries.items()}
    check_names(columns, known, "columns")
    for name, column in known.items():
        values = entries[name]
        if values.shape != (n_rows, *column.shape):
            raise StoreError(
                f"column {name!r}: has shape {values.shape}, expected "
                f"{(n_rows, *column.shape)}: one entry for each row of the blocks"
            )
        if column.dtype == "str":
            fits = values.dtype.kind == "U"
        else:
            fits = np.can_cast(values.dtype, column.dtype, "same_kind")
        if not fits:
            raise StoreError(
                f"column {name!r}: has dtype {values.dtype}, expected {column.dtype} as in "
                "the first block; convert it"
            )
        if column.dtype != "str":
            converted = values.astype(column.dtype)
            if not np.array_equal(converted, values, equal_nan=values.dtype.kind == "f"):
                raise StoreError(
                    f"column {name!r}: a value of dtype {values.dtype} changes as "
                    f"{column.dtype}, the dtype of the first block; use {values.dtype} in all"
                )
            entries[name] = converted
    return entries, dict(known)


def make_source(source: Mapping[str, str] | None) -> dict[str, str]:
    """Return what a caller says that the data is computed from."""
    for name, value in (source or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise StoreError(f"source has {name!r}: {value!r}, expected strings")
    return dict(source or {})


def check_names(given: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """Check that a block has the names that every block must have."""
    if given.keys() != expected.keys():
        raise StoreError(
            f"{what} are {sorted(map(str, given))}, expected {sorted(expected)} in every block"
        )


def check_rows_per_shard(rows_per_shard: int | None, views: Mapping[str, View]) -> int:
    """Return the rows of every shard but the last: as asked for, or by size."""
    if rows_per_shard is None:
        sizes = [view.nbytes for view in views.values()]
        rows = min(_SHARD_BYTES // max(sizes), _GROUP_BYTES // sum(sizes))
        return max(1, rows // PANEL_ROWS) * PANEL_ROWS
    if not isinstance(rows_per_shard, int) or rows_per_shard <= 0 or rows_per_shard % PANEL_ROWS:
        raise StoreError(
            f"rows_per_shard is {rows_per_shard}, expected a positive multiple of {PANEL_ROWS}"
        )
    return rows_per_shard


def _make_view(name: str, options: Mapping[str, Any]) -> View:
    check_name(name, "view")
    unknown = set(options) - {"shape", "dtype", "scale", "negative"}
    if unknown or not {"shape", "dtype"} <= set(options):
        raise StoreError(
            f"view {name!r}: has the keys {sorted(options)}, expected shape, dtype and, where "
            "needed, scale (for uint8) and negative"
        )
    shape = options["shape"]
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in lengths
    ):
        raise StoreError(f"view {name!r}: shape is {shape!r}, expected positive integers")
    dtype, scale = options["dtype"], options.get("scale", 1.0)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise StoreError(f"view {name!r}: dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")
    if not isinstance(scale, numbers.Real) or not 0 < float(scale) <= LARGEST_SCALE:
        raise StoreError(
            f"view {name!r}: scale is {scale!r}, expected a positive number up to {LARGEST_SCALE}"
        )
    if dtype != "uint8" and scale != 1.0:
        raise StoreError(
            f"view {name!r}: scale is {scale!r} with dtype {dtype}; only uint8 has a scale"
        )
    negative = options.get("negative")
    check_way(name, negative, dtype)
    view = View(name, tuple(int(n) for n in lengths), dtype, float(scale), negative=negative)
    return replace(
        view,
        sum_of_squares=0.0,
        minimum=0.0,
        maximum=0.0,
        n_nonfinite=0,
        sum=0.0,
        positive_sum_of_squares=0.0,
    )
