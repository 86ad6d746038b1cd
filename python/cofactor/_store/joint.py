"""One store written by several processes, each its own shard groups."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._errors import StoreError
from .begin import begin
from .declare import check_rows_per_shard, make_source, make_views
from .encoding import Statistics
from .lock import WriterLock
from .metadata import (
    RECORDS_DIRECTORY,
    Column,
    Metadata,
    ShardGroup,
    plain_json,
    write_metadata,
)
from .records import Record, add_records, read_records, remove_records, write_record
from .row_writer import RowWriter, cannot_write

__all__ = ["JointStore", "PartWriter", "Plan", "split_groups"]

_TOKEN_FILE = "token"


@dataclass(frozen=True)
class Plan:
    """What every process must know to write its part.

    Attributes
    ----------
    rows_per_shard : int
        Rows of every group but the last one.
    starts : tuple of int
        The first group of every part. A part ends where the next one starts, the last with the
        data.
    recorded : mapping of int to ShardGroup
        By number, the groups that are there.
    token : str
        What the store's directory holds for as long as this plan is carried out.
    """

    rows_per_shard: int
    starts: tuple[int, ...]
    recorded: Mapping[int, ShardGroup]
    token: str

    def groups(self, part: int) -> tuple[int, int | None]:
        """Return the first group of a part, and the one behind it if that is known."""
        return self.starts[part], (*self.starts[1:], None)[part]


class JointStore:
    """The account of a store that several processes write, kept by one of them.

    Begins the store or takes it up; a context manager, which holds the right to write. Then every
    process makes a :class:`PartWriter`; when all are done, :meth:`complete` adds their groups in
    order, as one writer would have, so that the metadata is the same to the byte.

    Parameters
    ----------
    path, views, attributes, source, overwrite, resume
        As in :meth:`ActivationStore.create`.
    columns : mapping of str to Column
        The columns.
    n_rows : int
        How many rows are expected at most.
    n_parts : int
        Number of processes.
    """

    def __init__(
        self,
        path: Path,
        views: Mapping[str, Mapping[str, Any]],
        *,
        columns: Mapping[str, Column],
        attributes: Mapping[str, Any],
        source: Mapping[str, str],
        overwrite: bool,
        resume: bool,
        n_rows: int,
        n_parts: int,
    ) -> None:
        self._root = path
        wanted = Metadata(
            make_views(views),
            plain_json(dict(attributes), "attributes"),
            make_source(source),
            dict(columns),
        )
        rows_per_shard = check_rows_per_shard(None, wanted.views)
        token = secrets.token_hex(16)
        try:
            self._lock, known = begin(
                path, wanted, rows_per_shard, overwrite=overwrite, resume=resume, keep_records=True
            )
            self._metadata = known or wanted
            folder = path / RECORDS_DIRECTORY
            folder.mkdir(exist_ok=True)
            (folder / _TOKEN_FILE).write_text(token, encoding="ascii")
            self._records = read_records(path, self._metadata, rows_per_shard)
            self._lock.share()
        except OSError as error:
            raise cannot_write(path, error) from error
        recorded = dict(enumerate(self._metadata.shards))
        recorded |= {index: record.group for index, record in self._records.items()}
        n_groups = -(-n_rows // rows_per_shard)
        starts = split_groups(n_groups, recorded, n_parts)
        self.plan = Plan(rows_per_shard, starts, recorded, token)

    @property
    def n_examples(self) -> int:
        """Number of rows that are accounted for."""
        return self._metadata.n_examples

    def complete(self, finished: Mapping[int, Record]) -> None:
        """Add the groups that were finished and mark the store as complete.

        All parts must have been left.

        Raises
        ------
        StoreError
            If they are not those of one run of rows: processes had other data, or none.
        """
        records = {**self._records, **finished}
        add_records(self._metadata, records)
        missing = sorted(index for index in records if index >= len(self._metadata.shards))
        shorter = [
            index
            for index, group in enumerate(self._metadata.shards[:-1])
            if group.rows != self.plan.rows_per_shard
        ]
        if missing or shorter or not self._metadata.shards:
            where = f" before shard {missing[0]}" if missing else ""
            raise StoreError(
                f"{self._root}: the processes have not written all rows{where}: their data "
                "ended at different examples; give all the same data in the same order"
            )
        self._metadata.complete = True
        try:
            write_metadata(self._root, self._metadata)
            remove_records(self._root)
        except OSError as error:
            raise cannot_write(self._root, error) from error
        self._lock.stop_sharing()

    def __enter__(self) -> JointStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class PartWriter:
    """Writes one process's part of a store that :class:`JointStore` has begun.

    `rows` takes the rows from `first_row` up to `stop_row` (None: to the end of the data). A
    context manager; leaving it finishes the part, unless by an error. `finished` then has the
    groups that were not there before.

    Parameters
    ----------
    path : Path
        Directory of the store.
    views : mapping of str to mapping
        As for the `JointStore`.
    columns : mapping of str to Column
        The columns.
    plan : Plan
        That of the `JointStore`.
    part : int
        Number of the process. Part 0 is written by the process that keeps the account.
    """

    def __init__(
        self,
        path: Path,
        views: Mapping[str, Mapping[str, Any]],
        columns: Mapping[str, Column],
        plan: Plan,
        part: int,
    ) -> None:
        self._root = path
        self._check_token(plan.token)
        self._lock = WriterLock(path, shared=True) if part else None
        first, stop = plan.groups(part)
        self._recorded = {
            index: group
            for index, group in plan.recorded.items()
            if first <= index and (stop is None or index < stop)
        }
        self.first_row = first * plan.rows_per_shard
        self.stop_row = None if stop is None else stop * plan.rows_per_shard
        self.finished: dict[int, Record] = {}
        self.rows = RowWriter(
            path,
            make_views(views),
            plan.rows_per_shard,
            columns=columns,
            recorded=self._recorded,
            first_group=first,
            on_finished=self._record,
        )

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self.rows.failed:
                self._finish()
        finally:
            self.rows.discard()
            if self._lock is not None:
                self._lock.release()

    def _finish(self) -> None:
        # Those that are there are whole.
        if any(index >= self.rows.next_group for index in self._recorded):
            raise StoreError(
                f"{self._root}: the data ends after {self.first_row + self.rows.n_rows} examples, "
                "the store was begun with more; give the same data, or overwrite=True to start over"
            )
        try:
            self.rows.finish()
        except OSError as error:
            raise cannot_write(self._root, error) from error

    def _record(
        self,
        index: int,
        group: ShardGroup,
        found: Mapping[str, Statistics],
        _: Mapping[str, Column],
    ) -> None:
        self.finished[index] = Record(group, found)
        write_record(self._root, index, self.finished[index])

    def _check_token(self, token: str) -> None:
        file = self._root / RECORDS_DIRECTORY / _TOKEN_FILE
        try:
            found = file.read_text(encoding="ascii")
        except OSError:
            found = ""
        if found != token:
            raise StoreError(
                f"{self._root}: is not the directory that rank 0 writes to; choose a path on a "
                "file system that all hosts share"
            )


def split_groups(n_groups: int, recorded: Collection[int], n_parts: int) -> tuple[int, ...]:
    """Return the first group of each of so many parts with equal numbers of groups to write."""
    missing = [index for index in range(n_groups) if index not in recorded]
    cuts = [len(missing) * part // n_parts for part in range(1, n_parts)]
    starts = [missing[cut] if cut < len(missing) else n_groups for cut in cuts]
    return (0, *starts)
