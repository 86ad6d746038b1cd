"""Writing of activation stores: blocks of any number of rows into shards of whole panels."""

from __future__ import annotations

import hashlib
import math
import numbers
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .destination import check_destination, remove_store
from .encoding import DTYPES, Statistics, encode, statistics
from .metadata import (
    COLUMN_DTYPES,
    COLUMNS_DIRECTORY,
    PANEL_ROWS,
    Column,
    Metadata,
    ShardGroup,
    View,
    check_name,
    plain_json,
    shard_file,
    sync_directory,
    write_metadata,
)
from .shards import OpenShard, temporary, write_column

__all__ = ["StoreWriter"]

_SHARD_BYTES = 64 << 20
_GROUP_BYTES = 512 << 20


class StoreWriter:
    """Writer of one activation store; :meth:`ActivationStore.create` makes it.

    As a context manager it completes the store at the end of the block. When the block raises,
    the shards written so far stay on disk and the store stays marked as incomplete.

    Parameters
    ----------
    path, views, attributes, overwrite, rows_per_shard, fingerprint
        As in :meth:`ActivationStore.create`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        views: Mapping[str, Mapping[str, Any]],
        *,
        attributes: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        rows_per_shard: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self._root = Path(path)
        self._metadata = Metadata(
            _make_views(views), plain_json(dict(attributes or {}), "attributes"), fingerprint
        )
        self._rows_per_shard = _check_rows_per_shard(rows_per_shard, self._metadata.views)
        self._shards: dict[str, OpenShard] = {}
        self._columns: dict[str, list[npt.NDArray[Any]]] = {}
        self._rows_in_group = 0
        self._closed = False
        self._failed = False
        check_destination(self._root, overwrite)
        try:
            if self._root.exists():
                remove_store(self._root)
            self._root.mkdir(parents=True, exist_ok=True)
            write_metadata(self._root, self._metadata)
            for name in (*self._metadata.views, COLUMNS_DIRECTORY):
                (self._root / name).mkdir()
            sync_directory(self._root)
        except OSError as error:
            raise _cannot_write(self._root, error) from error

    @property
    def path(self) -> Path:
        """Directory of the store."""
        return self._root

    @property
    def n_examples(self) -> int:
        """Number of rows appended."""
        return self._metadata.n_examples + self._rows_in_group

    def append(
        self,
        blocks: Mapping[str, npt.ArrayLike],
        columns: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        """Append examples.

        Parameters
        ----------
        blocks : mapping of str to array
            For every view an array of shape (rows, *shape) or (rows, n_columns). Arrays of the
            stored dtype are taken as they are (uint8 as codes, uint16 as the bits of bfloat16);
            other real numbers are values and are converted.
        columns : mapping of str to array, optional
            Per-example columns of shape (rows, ...): numbers, booleans or strings. The first
            call decides which there are, and their dtypes.

        Raises
        ------
        StoreError
            If a view or column is missing or unknown, a shape does not fit, or a value cannot
            be stored in its view's dtype. Nothing of the call is written then. Also if the disk
            is full.
        """
        if self._closed or self._failed:
            state = "has failed" if self._failed else "is closed"
            raise StoreError(f"{self._root}: the writer {state}; make a new one to write more")
        _check_names(blocks, self._metadata.views, "views")
        encoded = {
            view.name: encode(blocks[view.name], view.name, view.shape, view.dtype, view.scale)
            for view in self._metadata.views.values()
        }
        rows = {name: block.shape[0] for name, block in encoded.items()}
        n_rows = next(iter(rows.values()))
        if any(count != n_rows for count in rows.values()):
            raise StoreError(f"blocks have different numbers of rows: {rows}; expected one number")
        entries = self._check_columns(columns or {}, n_rows)
        start = 0
        try:
            while start < n_rows:
                stop = min(n_rows, start + self._rows_per_shard - self._rows_in_group)
                self._write_rows(encoded, entries, start, stop)
                start = stop
        except BaseException:
            # Some views have rows now that others lack, so that nothing may follow.
            self._abandon()
            raise

    def close(self) -> None:
        """Write the last shards and mark the store as complete.

        Raises
        ------
        StoreError
            If no example was appended, an `append` failed while it wrote, or the disk is full.
        """
        if self._closed:
            return
        if self._failed:
            raise StoreError(
                f"{self._root}: an earlier write failed, the store stays incomplete; write it "
                "again with overwrite=True"
            )
        try:
            if self._rows_in_group:
                self._finish_group()
            if not self._metadata.n_examples:
                raise StoreError(
                    f"{self._root}: no examples were appended, expected at least one; the store "
                    "stays incomplete"
                )
            self._metadata.complete = True
            write_metadata(self._root, self._metadata)
        except OSError as error:
            self._abandon()
            raise _cannot_write(self._root, error) from error
        except BaseException:
            self._abandon()
            raise
        self._closed = True

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        self._failed = True
        for shard in self._shards.values():
            shard.discard()
        self._shards.clear()

    def _check_columns(
        self, columns: Mapping[str, npt.ArrayLike], n_rows: int
    ) -> dict[str, npt.NDArray[Any]]:
        entries = {name: np.asarray(values) for name, values in columns.items()}
        known = self._metadata.columns
        if self.n_examples:
            _check_names(columns, known, "columns")
        else:
            known = {name: _make_column(name, values) for name, values in entries.items()}
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
        if n_rows:
            self._metadata.columns = dict(known)
        return entries

    def _write_rows(
        self,
        blocks: Mapping[str, npt.NDArray[Any]],
        columns: Mapping[str, npt.NDArray[Any]],
        start: int,
        stop: int,
    ) -> None:
        index = len(self._metadata.shards)
        try:
            for name, view in self._metadata.views.items():
                if name not in self._shards:
                    shape = (self._rows_per_shard, view.n_columns)
                    path = shard_file(self._root, name, index)
                    self._shards[name] = OpenShard(path, DTYPES[view.dtype], shape)
                self._shards[name].write(blocks[name][start:stop])
        except OSError as error:
            raise _cannot_write(self._root, error) from error
        for name, values in columns.items():
            # A copy, since the caller may fill the same array again.
            self._columns.setdefault(name, []).append(values[start:stop].copy())
        self._rows_in_group += stop - start
        if self._rows_in_group == self._rows_per_shard:
            self._finish_group()

    def _finish_group(self) -> None:
        rows, index = self._rows_in_group, len(self._metadata.shards)
        checksums: dict[str, str] = {}
        views: dict[str, View] = {}
        try:
            for name, view in self._metadata.views.items():
                content = self._shards[name].finish(rows)
                checksums[name] = hashlib.sha256(content.whole.data).hexdigest()
                found = statistics([content.array], view.dtype, view.scale)
                views[name] = _add_statistics(view, self._metadata.n_examples, found, rows)
            for name, column in self._metadata.columns.items():
                directory = f"{COLUMNS_DIRECTORY}/{name}"
                path = shard_file(self._root, directory, index)
                path.parent.mkdir(exist_ok=True)
                checksums[directory] = write_column(path, column, self._columns[name])
            # Only now, when all files of the group are on disk, do they get their names.
            for shard in self._shards.values():
                shard.publish()
            for name in self._metadata.columns:
                path = shard_file(self._root, f"{COLUMNS_DIRECTORY}/{name}", index)
                temporary(path).replace(path)
            for directory in checksums:
                sync_directory(self._root / directory)
            self._metadata.views = views
            self._metadata.shards.append(ShardGroup(rows, checksums))
            write_metadata(self._root, self._metadata)
        except OSError as error:
            raise _cannot_write(self._root, error) from error
        self._shards.clear()
        self._columns.clear()
        self._rows_in_group = 0


def _cannot_write(root: Path, error: OSError) -> StoreError:
    where = error.filename or root
    return StoreError(
        f"{where}: cannot be written: {error.strerror or error}; the store stays incomplete, free "
        "the disk or fix the permissions and write it again"
    )


def _check_names(given: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    if given.keys() != expected.keys():
        raise StoreError(
            f"{what} are {sorted(map(str, given))}, expected {sorted(expected)} in every block"
        )


def _make_views(views: Mapping[str, Mapping[str, Any]]) -> dict[str, View]:
    if not views:
        raise StoreError("views is empty, expected at least one view")
    result: dict[str, View] = {}
    for name, options in views.items():
        check_name(name, "view")
        unknown = set(options) - {"shape", "dtype", "scale"}
        if unknown or not {"shape", "dtype"} <= set(options):
            raise StoreError(
                f"view {name!r}: has the keys {sorted(options)}, expected shape, dtype and, for "
                "uint8, scale"
            )
        shape = options["shape"]
        lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not all(
            isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in lengths
        ):
            raise StoreError(f"view {name!r}: shape is {shape!r}, expected positive integers")
        dtype, scale = options["dtype"], options.get("scale", 1.0)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise StoreError(
                f"view {name!r}: dtype is {dtype!r}, expected one of {', '.join(DTYPES)}"
            )
        if not isinstance(scale, numbers.Real) or not 0 < float(scale) < math.inf:
            raise StoreError(f"view {name!r}: scale is {scale!r}, expected a positive number")
        if dtype != "uint8" and scale != 1.0:
            raise StoreError(
                f"view {name!r}: scale is {scale!r} with dtype {dtype}; only uint8 has a scale"
            )
        view = View(name, tuple(int(n) for n in lengths), dtype, float(scale))
        result[name] = replace(view, sum_of_squares=0.0, minimum=0.0, maximum=0.0, n_nonfinite=0)
    return result


def _add_statistics(view: View, rows: int, found: Statistics, found_rows: int) -> View:
    """Return a view of some rows with the statistics of more rows added."""
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
    )


def _check_rows_per_shard(rows_per_shard: int | None, views: Mapping[str, View]) -> int:
    if rows_per_shard is None:
        sizes = [view.nbytes for view in views.values()]
        rows = min(_SHARD_BYTES // max(sizes), _GROUP_BYTES // sum(sizes))
        return max(1, rows // PANEL_ROWS) * PANEL_ROWS
    if not isinstance(rows_per_shard, int) or rows_per_shard <= 0 or rows_per_shard % PANEL_ROWS:
        raise StoreError(
            f"rows_per_shard is {rows_per_shard}, expected a positive multiple of {PANEL_ROWS}"
        )
    return rows_per_shard


def _make_column(name: str, values: npt.NDArray[Any]) -> Column:
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
