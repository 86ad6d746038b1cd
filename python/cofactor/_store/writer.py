"""Writing of activation stores: blocks of any number of rows into shards of whole panels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .declare import check_columns, check_names, check_rows_per_shard, make_source, make_views
from .destination import check_destination, remove_store
from .encoding import DTYPES, Statistics, encode, statistics
from .lock import WriterLock
from .metadata import (
    COLUMNS_DIRECTORY,
    Metadata,
    ShardGroup,
    View,
    plain_json,
    shard_file,
    sync_directory,
    write_metadata,
)
from .resume import check_group, reopen
from .shards import OpenShard, temporary, write_column
from .totals import add_statistics

__all__ = ["StoreWriter"]

_FINISHING_THREADS = 4


class StoreWriter:
    """Writer of one activation store; :meth:`ActivationStore.create` makes it.

    As a context manager it completes the store at the end of the block. When the block raises,
    the shards written so far stay on disk and the store stays marked as incomplete; a writer with
    ``resume=True`` goes on from there.

    Parameters
    ----------
    path, views, attributes, overwrite, resume, rows_per_shard, source
        As in :meth:`ActivationStore.create`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        views: Mapping[str, Mapping[str, Any]],
        *,
        attributes: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        rows_per_shard: int | None = None,
        source: Mapping[str, str] | None = None,
    ) -> None:
        if overwrite and resume:
            raise StoreError("overwrite and resume are both true; choose one")
        self._root = Path(path)
        self._metadata = Metadata(
            make_views(views),
            plain_json(dict(attributes or {}), "attributes"),
            make_source(source),
        )
        self._rows_per_shard = check_rows_per_shard(rows_per_shard, self._metadata.views)
        self._shards: dict[str, OpenShard] = {}
        self._columns: dict[str, list[npt.NDArray[Any]]] = {}
        self._inputs: hashlib._Hash | None = None
        self._n_recorded_groups = 0
        self._group = 0
        self._rows_in_group = 0
        self._n_rows = 0
        self._closed = False
        self._failed = False
        check_destination(self._root, overwrite, resume)
        try:
            made = not self._root.exists()
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self._root)
            try:
                # Once more, since another writer may have come and gone.
                check_destination(self._root, overwrite, resume)
                known = reopen(self._root, self._metadata, self._rows_per_shard) if resume else None
                if known is None:
                    self._begin()
                else:
                    self._metadata = known
                    self._n_recorded_groups = len(known.shards)
                if made:
                    sync_directory(self._root.absolute().parent)
            except BaseException:
                self._lock.release()
                raise
        except OSError as error:
            raise _cannot_write(self._root, error) from error

    @property
    def path(self) -> Path:
        """Directory of the store."""
        return self._root

    @property
    def n_examples(self) -> int:
        """Number of rows appended or skipped."""
        return self._n_rows

    @property
    def n_to_skip(self) -> int:
        """How many rows at the beginning need not be appended again, but may be skipped.

        Nothing in a new store. In one that is resumed, all but the last whole shards, which are
        written again and compared.
        """
        n_groups = max(0, self._n_recorded_groups - 1)
        return sum(group.rows for group in self._metadata.shards[:n_groups])

    @property
    def n_to_compare(self) -> int | None:
        """How many rows are enough for a complete store that was resumed, which stays as it is.

        Those of its first shards; None where all rows are needed.
        """
        if self._n_recorded_groups and self._metadata.complete:
            return self._metadata.shards[0].rows
        return None

    def append(
        self,
        blocks: Mapping[str, npt.ArrayLike],
        columns: Mapping[str, npt.ArrayLike] | None = None,
        inputs: npt.NDArray[np.uint8] | None = None,
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
        inputs : ndarray of shape (rows, n), uint8, optional
            A digest of what each row is computed from. Their hash is kept with every shard, so
            that resuming with other data is noticed. In all calls or in none.

        Raises
        ------
        StoreError
            If a view or column is missing or unknown, a shape does not fit, or a value cannot
            be stored in its view's dtype. Nothing of the call is written then. Also if the disk
            is full, or rows that a resumed store has already come out otherwise.
        """
        self._check_usable()
        check_names(blocks, self._metadata.views, "views")
        encoded = {
            view.name: encode(blocks[view.name], view.name, view.shape, view.dtype, view.scale)
            for view in self._metadata.views.values()
        }
        rows = {name: block.shape[0] for name, block in encoded.items()}
        n_rows = next(iter(rows.values()))
        if any(count != n_rows for count in rows.values()):
            raise StoreError(f"blocks have different numbers of rows: {rows}; expected one number")
        entries = self._check_columns(columns or {}, n_rows)
        self._add(n_rows, inputs, encoded, entries)

    def skip(self, n_rows: int, inputs: npt.NDArray[np.uint8] | None = None) -> None:
        """Pass over rows that the store has already, as :attr:`n_to_skip` says.

        Parameters
        ----------
        n_rows : int
            How many.
        inputs : ndarray of shape (n_rows, n), uint8, optional
            As in :meth:`append`; compared with what was recorded.

        Raises
        ------
        StoreError
            If the store has not so many, or their inputs were others.
        """
        self._check_usable()
        if self._n_rows + n_rows > self.n_to_skip:
            raise StoreError(
                f"{self._root}: cannot skip to row {self._n_rows + n_rows}, only to "
                f"{self.n_to_skip}; append the rows behind"
            )
        self._add(n_rows, inputs, {}, {})

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
                f"{self._root}: an earlier write failed, the store stays incomplete; go on with "
                "resume=True, or write it again with overwrite=True"
            )
        try:
            if self._n_rows < (self.n_to_compare or 0) or not self._metadata.complete:
                self._complete()
        except OSError as error:
            self._abandon()
            raise _cannot_write(self._root, error) from error
        except BaseException:
            self._abandon()
            raise
        self._discard()
        self._lock.release()
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

    def _begin(self) -> None:
        remove_store(self._root)
        write_metadata(self._root, self._metadata)
        for name in (*self._metadata.views, COLUMNS_DIRECTORY):
            (self._root / name).mkdir()
        sync_directory(self._root)

    def _complete(self) -> None:
        if self._group < self._n_recorded_groups:
            raise StoreError(
                f"{self._root}: the data ends after {self._n_rows} examples, the store was begun "
                f"with {self._metadata.n_examples}; give the same data, or overwrite=True to "
                "start over"
            )
        if not self._n_rows:
            raise StoreError(
                f"{self._root}: no examples were appended, expected at least one; the store "
                "stays incomplete"
            )
        # In one step with the last shards: shorter ones are never part of an incomplete store.
        self._metadata.complete = True
        if self._rows_in_group:
            self._finish_group()
        else:
            write_metadata(self._root, self._metadata)

    def _check_usable(self) -> None:
        if self._closed or self._failed:
            state = "has failed" if self._failed else "is closed"
            raise StoreError(f"{self._root}: the writer {state}; make a new one to write more")

    def _abandon(self) -> None:
        self._failed = True
        self._discard()
        self._lock.release()

    def _discard(self) -> None:
        for shard in self._shards.values():
            shard.discard()
        self._shards.clear()
        for name in self._metadata.columns:
            path = shard_file(self._root, f"{COLUMNS_DIRECTORY}/{name}", self._group)
            with suppress(OSError):
                temporary(path).unlink(missing_ok=True)

    def _check_columns(
        self, columns: Mapping[str, npt.ArrayLike], n_rows: int
    ) -> dict[str, npt.NDArray[Any]]:
        is_first = not (self._metadata.shards or self._rows_in_group)
        known = None if is_first else self._metadata.columns
        entries, found = check_columns(columns, known, n_rows)
        if n_rows:
            self._metadata.columns = found
        return entries

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
                if self._group >= self._n_recorded_groups - 1:
                    self._write_rows(blocks, columns, start, stop)
                self._rows_in_group += stop - start
                self._n_rows += stop - start
                if self._rows_in_group == self._rows_of_group():
                    self._finish_group()
                start = stop
        except OSError as error:
            self._abandon()
            raise _cannot_write(self._root, error) from error
        except BaseException:
            # Some views have rows now that others lack, so that nothing may follow.
            self._abandon()
            raise

    def _rows_of_group(self) -> int:
        if self._group < self._n_recorded_groups:
            return self._metadata.shards[self._group].rows
        if self._metadata.complete:
            raise StoreError(
                f"{self._root}: there are more examples than the {self._metadata.n_examples} of "
                "the complete store that is here; choose another path, or overwrite=True"
            )
        return self._rows_per_shard

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
        for name, view in self._metadata.views.items():
            if name not in self._shards:
                shape = (self._rows_of_group(), view.n_columns)
                path = shard_file(self._root, name, self._group)
                self._shards[name] = OpenShard(path, DTYPES[view.dtype], shape)
            self._shards[name].write(blocks[name][start:stop])
        for name, values in columns.items():
            # A copy, since the caller may fill the same array again.
            self._columns.setdefault(name, []).append(values[start:stop].copy())

    def _finish_group(self) -> None:
        inputs = None if self._inputs is None else self._inputs.hexdigest()
        if self._group < self._n_recorded_groups - 1:
            check_group(self._root, self._metadata, self._group, {}, inputs)
        else:
            self._finish_files(inputs)
        self._shards.clear()
        self._columns.clear()
        self._inputs = None
        self._rows_in_group = 0
        self._group += 1

    def _finish_files(self, inputs: str | None) -> None:
        rows, index = self._rows_in_group, self._group
        checksums: dict[str, str] = {}
        views: dict[str, View] = {}
        with ThreadPoolExecutor(_FINISHING_THREADS, "cofactor-shard") as pool:
            finished = pool.map(lambda view: self._finish_view(view, rows), self._shards)
            for view, (checksum, found) in zip(
                self._metadata.views.values(), finished, strict=True
            ):
                checksums[view.name] = checksum
                views[view.name] = add_statistics(view, self._metadata.n_examples, found, rows)
        for name, column in self._metadata.columns.items():
            directory = f"{COLUMNS_DIRECTORY}/{name}"
            path = shard_file(self._root, directory, index)
            path.parent.mkdir(exist_ok=True)
            checksums[directory] = write_column(path, column, self._columns[name])
        recorded = index < self._n_recorded_groups
        if recorded:
            check_group(self._root, self._metadata, index, checksums, inputs)
        # Only now, when all files of the group are on disk, do they get their names. Those of a
        # group that was recorded before replace what is the same.
        for directory in checksums:
            path = shard_file(self._root, directory, index)
            temporary(path).replace(path)
        for directory in (*checksums, COLUMNS_DIRECTORY):
            sync_directory(self._root / directory)
        if not recorded:
            self._metadata.views = views
            self._metadata.shards.append(ShardGroup(rows, checksums, inputs))
            write_metadata(self._root, self._metadata)

    def _finish_view(self, name: str, rows: int) -> tuple[str, Statistics]:
        view = self._metadata.views[name]
        content = self._shards[name].finish(rows)
        checksum = hashlib.sha256(content.whole.data).hexdigest()
        return checksum, statistics([content.array], view.dtype, view.scale)


def _cannot_write(root: Path, error: OSError) -> StoreError:
    where = error.filename or root
    return StoreError(
        f"{where}: cannot be written: {error.strerror or error}; the store stays incomplete, free "
        "the disk or fix the permissions and go on with resume=True"
    )
