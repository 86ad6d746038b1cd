"""Rows into the files of shard groups; who uses it keeps account of what is finished."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .declare import check_columns, check_names
from .encoding import DTYPES, Statistics, encode, statistics
from .metadata import (
    COLUMNS_DIRECTORY,
    Column,
    ShardGroup,
    View,
    shard_file,
    sync_directory,
)
from .resume import check_group
from .shards import OpenShard, temporary, write_column

__all__ = ["OnFinished", "RowWriter", "cannot_write"]

_FINISHING_THREADS = 4

OnFinished = Callable[[int, ShardGroup, Mapping[str, Statistics], Mapping[str, Column]], None]


class RowWriter:
    """Writes rows from the first one of a shard group on, in order.

    Groups that the store has already are compared by the inputs of their rows; the last of them is
    written again and compared byte for byte.

    Parameters
    ----------
    root : Path
        Directory of the store, with the directories of the views in it.
    views : mapping of str to View
        What is written.
    rows_per_shard : int
        Rows of every group but the last one of a store.
    columns : mapping of str to Column or None
        The columns where they are known; by default the first rows say.
    recorded : mapping of int to ShardGroup
        By number, the groups that are there.
    is_whole : bool
        Whether the recorded groups are a complete store, which takes no more rows.
    first_group : int
        Number of the group that the rows begin.
    on_finished : callable
        Called with the number of a group that was not recorded before, the group, the statistics of
        its views, and the columns, once its files are on disk under their names.
    """

    def __init__(
        self,
        root: Path,
        views: Mapping[str, View],
        rows_per_shard: int,
        *,
        columns: Mapping[str, Column] | None,
        recorded: Mapping[int, ShardGroup],
        is_whole: bool = False,
        first_group: int,
        on_finished: OnFinished,
    ) -> None:
        self._root = root
        self._views = views
        self._rows_per_shard = rows_per_shard
        self._recorded = recorded
        self._rewritten = max(recorded, default=None)
        self._is_whole = is_whole
        self._on_finished = on_finished
        self._shards: dict[str, OpenShard] = {}
        self._pieces: dict[str, list[npt.NDArray[Any]]] = {}
        self._inputs: hashlib._Hash | None = None
        self._group = first_group
        self._rows_in_group = 0
        self._n_rows = 0
        self.columns = columns
        self.failed = False

    @property
    def n_rows(self) -> int:
        """Number of rows appended or skipped."""
        return self._n_rows

    @property
    def next_group(self) -> int:
        """Number of the group that is not finished."""
        return self._group

    def needs(self, start: int, stop: int) -> bool:
        """Whether any of these rows of the store, not empty, must be appended, not skipped."""
        groups = range(start // self._rows_per_shard, (stop - 1) // self._rows_per_shard + 1)
        return any(self._is_written(group) for group in groups)

    def append(
        self,
        blocks: Mapping[str, npt.ArrayLike],
        columns: Mapping[str, npt.ArrayLike],
        inputs: npt.NDArray[np.uint8] | None,
    ) -> None:
        """Append examples, as :meth:`StoreWriter.append` documents it."""
        check_names(blocks, self._views, "views")
        encoded = {
            view.name: encode(blocks[view.name], view.name, view.shape, view.dtype, view.scale)
            for view in self._views.values()
        }
        rows = {name: block.shape[0] for name, block in encoded.items()}
        n_rows = next(iter(rows.values()))
        if any(count != n_rows for count in rows.values()):
            raise StoreError(f"blocks have different numbers of rows: {rows}; expected one number")
        entries, found = check_columns(columns, self.columns, n_rows)
        if n_rows:
            self.columns = found
        self._add(n_rows, inputs, encoded, entries)

    def skip(self, n_rows: int, inputs: npt.NDArray[np.uint8] | None) -> None:
        """Pass over rows of which :meth:`needs` is false."""
        self._add(n_rows, inputs, {}, {})

    def finish(self) -> None:
        """Finish the last group, if it has any rows."""
        if self._rows_in_group:
            self._finish_group()

    def discard(self) -> None:
        """Remove what is not finished."""
        for shard in self._shards.values():
            shard.discard()
        self._shards.clear()
        # The next group may be another process's.
        for name in (self.columns or {}) if self._rows_in_group else ():
            path = shard_file(self._root, f"{COLUMNS_DIRECTORY}/{name}", self._group)
            with suppress(OSError):
                temporary(path).unlink(missing_ok=True)

    def _is_written(self, group: int) -> bool:
        return group == self._rewritten or group not in self._recorded

    def _add(
        self,
        n_rows: int,
        inputs: npt.NDArray[np.uint8] | None,
        blocks: Mapping[str, npt.NDArray[Any]],
        columns: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        if inputs is not None and (inputs.dtype != np.uint8 or inputs.shape[:-1] != (n_rows,)):
            raise StoreError(
                f"inputs is {inputs.dtype} of shape {inputs.shape}, expected uint8 of shape "
                f"({n_rows}, n)"
            )
        start = 0
        try:
            while start < n_rows:
                stop = min(n_rows, start + self._rows_of_group() - self._rows_in_group)
                self._add_inputs(None if inputs is None else inputs[start:stop])
                if self._is_written(self._group):
                    self._write_rows(blocks, columns, start, stop)
                self._rows_in_group += stop - start
                self._n_rows += stop - start
                if self._rows_in_group == self._rows_of_group():
                    self._finish_group()
                start = stop
        except BaseException as error:
            # Some views have rows now that others lack, so that nothing may follow.
            self.failed = True
            self.discard()
            if isinstance(error, OSError):
                raise cannot_write(self._root, error) from error
            raise

    def _rows_of_group(self) -> int:
        known = self._recorded.get(self._group)
        if known is None and self._is_whole:
            n_rows = sum(group.rows for group in self._recorded.values())
            raise StoreError(
                f"{self._root}: there are more examples than the {n_rows} of the complete store "
                "that is here; choose another path, or overwrite=True"
            )
        return self._rows_per_shard if known is None else known.rows

    def _add_inputs(self, inputs: npt.NDArray[np.uint8] | None) -> None:
        if self._rows_in_group and (inputs is None) != (self._inputs is None):
            raise StoreError("inputs are given for some rows; expected for all or for none")
        if inputs is not None:
            self._inputs = self._inputs or hashlib.sha256()
            self._inputs.update(np.ascontiguousarray(inputs).data)

    def _write_rows(
        self,
        blocks: Mapping[str, npt.NDArray[Any]],
        columns: Mapping[str, npt.NDArray[Any]],
        start: int,
        stop: int,
    ) -> None:
        for name, view in self._views.items():
            if name not in self._shards:
                shape = (self._rows_of_group(), view.n_columns)
                path = shard_file(self._root, name, self._group)
                self._shards[name] = OpenShard(path, DTYPES[view.dtype], shape)
            self._shards[name].write(blocks[name][start:stop])
        for name, values in columns.items():
            # A copy, since the caller may fill the same array again.
            self._pieces.setdefault(name, []).append(values[start:stop].copy())

    def _finish_group(self) -> None:
        inputs = None if self._inputs is None else self._inputs.hexdigest()
        known = self._recorded.get(self._group)
        if known is not None and not self._is_written(self._group):
            check_group(self._root, known, self._first_row, {}, inputs)
        else:
            self._finish_files(inputs, known)
        self._shards.clear()
        self._pieces.clear()
        self._inputs = None
        self._rows_in_group = 0
        self._group += 1

    @property
    def _first_row(self) -> int:
        return self._group * self._rows_per_shard

    def _finish_files(self, inputs: str | None, known: ShardGroup | None) -> None:
        rows, index = self._rows_in_group, self._group
        checksums: dict[str, str] = {}
        found: dict[str, Statistics] = {}
        with ThreadPoolExecutor(_FINISHING_THREADS, "cofactor-shard") as pool:
            finished = pool.map(lambda name: self._finish_view(name, rows), self._views)
            for name, (checksum, of_view) in zip(self._views, finished, strict=True):
                checksums[name] = checksum
                found[name] = of_view
        for name, column in (self.columns or {}).items():
            directory = f"{COLUMNS_DIRECTORY}/{name}"
            path = shard_file(self._root, directory, index)
            path.parent.mkdir(exist_ok=True)
            checksums[directory] = write_column(path, column, self._pieces[name])
        if known is not None:
            check_group(self._root, known, self._first_row, checksums, inputs)
        # Only now, when all files of the group are on disk, do they get their names. Those of a
        # group that was recorded before replace what is the same.
        for directory in checksums:
            path = shard_file(self._root, directory, index)
            temporary(path).replace(path)
        for directory in (*checksums, COLUMNS_DIRECTORY):
            sync_directory(self._root / directory)
        if known is None:
            self._on_finished(index, ShardGroup(rows, checksums, inputs), found, self.columns or {})

    def _finish_view(self, name: str, rows: int) -> tuple[str, Statistics]:
        view = self._views[name]
        content = self._shards[name].finish(rows)
        checksum = hashlib.sha256(content.whole.data).hexdigest()
        return checksum, statistics([content.array], view.dtype, view.scale)


def cannot_write(root: Path, error: OSError) -> StoreError:
    """Return what to raise in place of an error of the system."""
    where = error.filename or root
    return StoreError(
        f"{where}: cannot be written: {error.strerror or error}; the store stays incomplete, free "
        "the disk or fix the permissions and go on with resume=True"
    )
