"""The files of an opened store, checked once and mapped on demand, and its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from . import npy
from .encoding import DTYPES
from .metadata import COLUMNS_DIRECTORY, METADATA_FILE, View, shard_file
from .metadata_reader import read_metadata
from .regular import check_inside
from .rows import Rows, split_by_shard
from .verify import check_column, verify

__all__ = ["StoreColumns", "StoreFiles"]

_PIECE_BYTES = 8 << 20


class StoreFiles:
    """Metadata and shards of a complete store; raises StoreError where they disagree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.metadata = read_metadata(root)
        if not self.metadata.complete:
            raise StoreError(
                f"{root / METADATA_FILE}: the store is incomplete: its writing was interrupted "
                f"after {self.metadata.n_examples} examples were on disk; go on with resume=True, "
                "or write it again with overwrite=True"
            )
        rows = [group.rows for group in self.metadata.shards]
        self.offsets: npt.NDArray[np.int64] = np.cumsum([0, *rows], dtype=np.int64)
        self._payloads: dict[tuple[str, int], tuple[int, np.dtype[Any]]] = {}
        self._mapped: dict[tuple[str, int], npt.NDArray[Any]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        inside = root.resolve()
        for name, view in self.metadata.views.items():
            self._shapes[name] = (view.n_columns,)
            self._check_files(inside, name, DTYPES[view.dtype])
        for name, column in self.metadata.columns.items():
            directory = f"{COLUMNS_DIRECTORY}/{name}"
            self._shapes[directory] = column.shape
            dtype = None if column.dtype == "str" else np.dtype(column.dtype).newbyteorder("<")
            self._check_files(inside, directory, dtype)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the metadata."""
        return self.metadata.fingerprint()

    def overlaps(self, rows: range) -> Iterator[tuple[int, int, int]]:
        """Yield index, first and last-but-one row of every shard's part of the rows."""
        for index, offset in enumerate(self.offsets[:-1].tolist()):
            start = max(rows.start - offset, 0)
            stop = min(rows.stop - offset, self.metadata.shards[index].rows)
            if start < stop:
                yield index, start, stop

    def payload(self, directory: str, index: int) -> tuple[Path, int]:
        """Return a shard's file and where its array starts in it, in bytes."""
        return shard_file(self.root, directory, index), self._payloads[directory, index][0]

    def map(self, directory: str, index: int) -> npt.NDArray[Any]:
        """Return a shard, mapped read-only; the mapping is kept."""
        key = (directory, index)
        if key not in self._mapped:
            offset, dtype = self._payloads[key]
            shape = (self.metadata.shards[index].rows, *self._shapes[directory])
            path = shard_file(self.root, directory, index)
            self._mapped[key] = npy.map_npy(path, offset, shape, dtype)
        return self._mapped[key]

    def read(self, view: View, rows: Rows, n_rows: int | None = None) -> Iterator[npt.NDArray[Any]]:
        """Yield rows of stored numbers, in order and in pieces, as copies.

        A piece has `n_rows` rows, or some megabytes. Unlike a mapping, a file that has become
        shorter gives an error here and no signal.
        """
        n_rows = n_rows or max(1, _PIECE_BYTES // view.nbytes)
        for first in range(0, len(rows), n_rows):
            wanted = rows[first : first + n_rows]
            piece = np.empty((len(wanted), view.n_columns), DTYPES[view.dtype])
            if isinstance(wanted, range):
                self._read_range(view.name, wanted, piece)
            else:
                self._read_scattered(view.name, wanted, piece)
            yield piece

    def verify(self, progress: Callable[[int, int], None] | None) -> None:
        """Read everything and compare it with the metadata."""
        verify(self.root, self.metadata, self._payloads, progress)

    def _read_range(self, directory: str, rows: range, out: npt.NDArray[Any]) -> None:
        done = 0
        for index, start, stop in self.overlaps(rows):
            count = stop - start
            self._read_rows(directory, index, range(start, stop), out[done : done + count])
            done += count

    def _read_scattered(
        self, directory: str, rows: npt.NDArray[np.int64], out: npt.NDArray[Any]
    ) -> None:
        for index, where, local in split_by_shard(rows, self.offsets):
            order = np.argsort(local, kind="stable")
            wanted = local[order]
            # A row that is asked for twice is read once, and neighbours together.
            distinct = np.unique(wanted)
            runs = np.split(distinct, np.flatnonzero(np.diff(distinct) > 1) + 1)
            for run in runs:
                block = np.empty((len(run), out.shape[1]), out.dtype)
                self._read_rows(directory, index, range(int(run[0]), int(run[-1]) + 1), block)
                first, last = np.searchsorted(wanted, (run[0], run[-1] + 1))
                out[where[order[first:last]]] = block[wanted[first:last] - run[0]]

    def _read_rows(self, directory: str, index: int, rows: range, out: npt.NDArray[Any]) -> None:
        offset, _ = self._payloads[directory, index]
        npy.read_npy(shard_file(self.root, directory, index), offset, rows, out)

    def read_column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of all rows.

        Raises
        ------
        StoreError
            If a string in it is no text.
        """
        directory = f"{COLUMNS_DIRECTORY}/{name}"
        shards: list[npt.NDArray[Any]] = []
        for index, group in enumerate(self.metadata.shards):
            offset, dtype = self._payloads[directory, index]
            values = np.empty((group.rows, *self._shapes[directory]), dtype)
            path = shard_file(self.root, directory, index)
            npy.read_npy(path, offset, range(group.rows), values)
            check_column(path, values)
            shards.append(values)
        return np.concatenate(shards)

    def _check_files(self, inside: Path, directory: str, dtype: np.dtype[Any] | None) -> None:
        for index, group in enumerate(self.metadata.shards):
            path = shard_file(self.root, directory, index)
            check_inside(path, inside)
            shape = (group.rows, *self._shapes[directory])
            self._payloads[directory, index] = npy.check_npy(path, shape, dtype)


class StoreColumns(Mapping[str, npt.NDArray[Any]]):
    """The columns of the selected rows, each read when it is first asked for."""

    def __init__(self, files: StoreFiles, rows: Rows) -> None:
        self._files = files
        self._rows = rows
        self._read: dict[str, npt.NDArray[Any]] = {}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._files.metadata.columns:
            raise KeyError(name)
        if name not in self._read:
            rows = self._rows
            chosen = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
            values = self._files.read_column(name)[chosen].copy()
            values.flags.writeable = False
            self._read[name] = values
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.metadata.columns)

    def __len__(self) -> int:
        return len(self._files.metadata.columns)

    def __repr__(self) -> str:
        return f"<columns {', '.join(self)}>"
