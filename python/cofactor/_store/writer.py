"""Writing of activation stores: blocks of any number of rows into shards of whole panels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .begin import begin
from .declare import check_rows_per_shard, make_source, make_views
from .encoding import Statistics
from .metadata import Column, Metadata, ShardGroup, plain_json, write_metadata
from .row_writer import RowWriter, cannot_write
from .totals import add_statistics

__all__ = ["StoreWriter"]


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
        self._root = Path(path)
        self._metadata = Metadata(
            make_views(views),
            plain_json(dict(attributes or {}), "attributes"),
            make_source(source),
        )
        n_rows = check_rows_per_shard(rows_per_shard, self._metadata.views)
        self._closed = False
        self._failed = False
        try:
            self._lock, known = begin(
                self._root, self._metadata, n_rows, overwrite=overwrite, resume=resume
            )
        except OSError as error:
            raise cannot_write(self._root, error) from error
        self._metadata = known or self._metadata
        recorded = dict(enumerate(self._metadata.shards))
        self._n_recorded_groups = len(recorded)
        self._rows = RowWriter(
            self._root,
            self._metadata.views,
            n_rows,
            columns=self._metadata.columns if recorded else None,
            recorded=recorded,
            is_whole=self._metadata.complete,
            first_group=0,
            # Not a method: a writer that is dropped must be gone at once, and its lock with it.
            on_finished=partial(_record, self._root, self._metadata),
        )

    @property
    def path(self) -> Path:
        """Directory of the store."""
        return self._root

    @property
    def n_examples(self) -> int:
        """Number of rows appended or skipped."""
        return self._rows.n_rows

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
        try:
            self._rows.append(blocks, columns or {}, inputs)
        finally:
            if self._rows.failed:
                self._abandon()

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
        if self.n_examples + n_rows > self.n_to_skip:
            raise StoreError(
                f"{self._root}: cannot skip to row {self.n_examples + n_rows}, only to "
                f"{self.n_to_skip}; append the rows behind"
            )
        try:
            self._rows.skip(n_rows, inputs)
        finally:
            if self._rows.failed:
                self._abandon()

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
            if self.n_examples < (self.n_to_compare or 0) or not self._metadata.complete:
                self._complete()
        except OSError as error:
            self._abandon()
            raise cannot_write(self._root, error) from error
        except BaseException:
            self._abandon()
            raise
        self._rows.discard()
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

    def _complete(self) -> None:
        if self._rows.next_group < self._n_recorded_groups:
            raise StoreError(
                f"{self._root}: the data ends after {self.n_examples} examples, the store was "
                f"begun with {self._metadata.n_examples}; give the same data, or overwrite=True to "
                "start over"
            )
        if not self.n_examples:
            raise StoreError(
                f"{self._root}: no examples were appended, expected at least one; the store "
                "stays incomplete"
            )
        # In one step with the last shards: shorter ones are never part of an incomplete store.
        self._metadata.complete = True
        n_finished = len(self._metadata.shards)
        self._rows.finish()
        if len(self._metadata.shards) == n_finished:
            write_metadata(self._root, self._metadata)

    def _check_usable(self) -> None:
        if self._closed or self._failed:
            state = "has failed" if self._failed else "is closed"
            raise StoreError(f"{self._root}: the writer {state}; make a new one to write more")

    def _abandon(self) -> None:
        self._failed = True
        self._rows.discard()
        self._lock.release()


def _record(
    root: Path,
    metadata: Metadata,
    index: int,
    group: ShardGroup,
    found: Mapping[str, Statistics],
    columns: Mapping[str, Column],
) -> None:
    """Add a finished group to the metadata."""
    metadata.columns = dict(columns)
    metadata.views = {
        name: add_statistics(view, metadata.n_examples, found[name], group.rows)
        for name, view in metadata.views.items()
    }
    metadata.shards.append(group)
    write_metadata(root, metadata)
