"""Records of finished shard groups that ``metadata.json`` does not hold yet.

Where several processes write one store, groups are not finished in order. Each is recorded in a
file of its own until all before it are there; then it becomes part of ``metadata.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .encoding import Statistics
from .metadata import RECORDS_DIRECTORY, Metadata, ShardGroup, sync_directory
from .totals import add_statistics

__all__ = ["Record", "add_records", "has_records", "read_records", "remove_records", "write_record"]

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Record:
    """A finished shard group, and the statistics of its rows of every view."""

    group: ShardGroup
    statistics: Mapping[str, Statistics]


def has_records(root: Path) -> bool:
    """Whether groups of a store are recorded apart."""
    return any((root / RECORDS_DIRECTORY).glob(f"*{_SUFFIX}"))


def write_record(root: Path, index: int, record: Record) -> None:
    """Record a group whose files are on disk."""
    folder = root / RECORDS_DIRECTORY
    path = folder / f"{index:05d}{_SUFFIX}"
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(
            {
                "rows": record.group.rows,
                "inputs": record.group.inputs,
                "sha256": dict(record.group.checksums),
                "statistics": {name: asdict(found) for name, found in record.statistics.items()},
            },
            file,
        )
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(folder)


def read_records(root: Path, metadata: Metadata, rows_per_shard: int) -> dict[int, Record]:
    """Return, by number, the whole groups that are recorded apart.

    One that is not as it must be, as after damage, or that is shorter than others, is left out: it
    is computed again.
    """
    found: dict[int, Record] = {}
    for path in (root / RECORDS_DIRECTORY).glob(f"*{_SUFFIX}"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = _parse(json.loads(path.read_bytes()))
            expected = {*metadata.views, *(f"columns/{name}" for name in metadata.columns)}
            whole = record.group.rows == rows_per_shard
            if (
                whole
                and record.statistics.keys() == metadata.views.keys()
                and record.group.checksums.keys() == expected
            ):
                found[int(path.stem)] = record
    return {index: found[index] for index in sorted(found) if index >= len(metadata.shards)}


def add_records(metadata: Metadata, records: Mapping[int, Record]) -> list[int]:
    """Add to the metadata the records that follow on its groups, and return their numbers."""
    added: list[int] = []
    while (index := len(metadata.shards)) in records:
        record = records[index]
        metadata.views = {
            name: add_statistics(
                view, metadata.n_examples, record.statistics[name], record.group.rows
            )
            for name, view in metadata.views.items()
        }
        metadata.shards.append(record.group)
        added.append(index)
    return added


def remove_records(root: Path, indices: Iterable[int] | None = None) -> None:
    """Remove some records, or all and their directory."""
    folder = root / RECORDS_DIRECTORY
    if indices is None:
        if folder.is_dir():
            shutil.rmtree(folder)
        return
    for index in indices:
        (folder / f"{index:05d}{_SUFFIX}").unlink(missing_ok=True)


def _parse(document: Mapping[str, object]) -> Record:
    rows, inputs = document["rows"], document["inputs"]
    checksums, described = document["sha256"], document["statistics"]
    if not (
        isinstance(rows, int)
        and isinstance(inputs, (str, type(None)))
        and isinstance(checksums, dict)
        and isinstance(described, dict)
        and all(
            isinstance(value, (int, float, type(None)))
            for of_view in described.values()
            for value in of_view.values()
        )
    ):
        raise TypeError("a field of a record has another type")
    return Record(
        ShardGroup(rows, checksums, inputs),
        {name: Statistics(**of_view) for name, of_view in described.items()},
    )
