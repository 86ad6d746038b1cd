"""Whether the store at a path is the beginning of the one that is to be written."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .._errors import StoreError
from .metadata import (
    COLUMNS_DIRECTORY,
    METADATA_FILE,
    METADATA_TEMPORARY,
    Metadata,
    ShardGroup,
    View,
    shard_file,
    write_metadata,
)
from .metadata_reader import read_metadata
from .records import add_records, has_records, read_records, remove_records

__all__ = ["check_group", "check_source", "reopen"]

_HASH = re.compile(r"[0-9a-f]{64}")
_ADVICE = "give what was given then, or overwrite=True to start over"


def check_source(root: Path, source: Mapping[str, str]) -> None:
    """Check, if there is the beginning of a store, that it was computed from this source.

    Raises
    ------
    StoreError
        Naming what differs.
    """
    if not (root / METADATA_FILE).exists():
        return
    found = read_metadata(root)
    if found.shards or has_records(root):
        _compare(root, "source", found.source, source)


def reopen(
    root: Path, wanted: Metadata, rows_per_shard: int, keep_records: bool = False
) -> Metadata | None:
    """Return the metadata of the store at a path, if it is one with whole shards.

    Groups recorded apart that follow on those of the metadata are added to it. What a killed
    writer left beside them is removed, and unless `keep_records` so are groups recorded apart with
    a gap before them.

    Raises
    ------
    StoreError
        If it is the beginning of another store, naming what differs.
    """
    if not (root / METADATA_FILE).exists():
        return None
    found = read_metadata(root)
    records = read_records(root, found, rows_per_shard)
    if not found.shards and not (records if keep_records else 0 in records):
        return None
    _compare(root, "source", found.source, wanted.source)
    views = {name: _declared(view) for name, view in found.views.items()}
    expected = {name: _declared(view) for name, view in wanted.views.items()}
    _compare(root, "views", views, expected)
    if list(views) != list(expected):
        _compare(root, "views", {"order": list(views)}, {"order": list(expected)})
    _compare(root, "attributes", found.attributes, wanted.attributes)
    whole = found.shards[:-1] if found.complete else found.shards
    for group in whole:
        if group.rows != rows_per_shard:
            _compare(root, "shards", {"rows": group.rows}, {"rows": rows_per_shard})
    added = add_records(found, records)
    if added:
        write_metadata(root, found)
    remove_records(root, added if keep_records else None)
    kept = set(records) if keep_records else set()
    _remove_leftovers(root, found, kept.union(range(len(found.shards))))
    return found


def check_group(
    root: Path,
    known: ShardGroup,
    first: int,
    checksums: Mapping[str, str],
    inputs: str | None,
) -> None:
    """Compare a shard group that was computed again, or its inputs alone, with the recorded one.

    `first` is the number of its first row.

    Raises
    ------
    StoreError
        If they differ.
    """
    rows = f"rows {first} to {first + known.rows - 1}"
    if inputs != known.inputs:
        raise StoreError(
            f"{root}: the inputs of {rows} are not those that the store was begun with: the data, "
            f"its order or its preprocessing has changed; {_ADVICE}"
        )
    wrong = [name for name, checksum in checksums.items() if known.checksums.get(name) != checksum]
    if wrong:
        raise StoreError(
            f"{root}: {', '.join(wrong)} of {rows} came out otherwise than when the store was "
            "begun, from the same inputs: the network is not deterministic, or batch size, number "
            f"of threads, device or library versions have changed; {_ADVICE}"
        )


def _compare(root: Path, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    changes = [
        _change(name, found.get(name), wanted.get(name))
        for name in dict.fromkeys((*wanted, *found))
        if found.get(name) != wanted.get(name)
    ]
    if changes:
        raise StoreError(
            f"{root}: cannot go on with the store that is here, its {what} is another: "
            f"{'; '.join(changes)}. {_ADVICE[0].upper()}{_ADVICE[1:]}"
        )


def _change(name: str, then: Any, now: Any) -> str:
    if all(isinstance(value, str) and _HASH.fullmatch(value) for value in (then, now)):
        return f"{name} has changed"
    return f"{name} was {_short(then)}, is {_short(now)}"


def _short(value: Any) -> str:
    if value is None:
        return "not there"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _declared(view: View) -> dict[str, Any]:
    return {
        "shape": list(view.shape),
        "dtype": view.dtype,
        "scale": view.scale,
        "negative": view.negative,
    }


def _remove_leftovers(root: Path, metadata: Metadata, groups: Collection[int]) -> None:
    """Remove the files of all groups but these."""
    (root / METADATA_TEMPORARY).unlink(missing_ok=True)
    folders = [root / name for name in metadata.views]
    columns = root / COLUMNS_DIRECTORY
    if columns.is_dir():
        folders += [entry for entry in columns.iterdir() if entry.is_dir()]
    for folder in folders:
        directory = str(folder.relative_to(root))
        known = {shard_file(root, directory, index) for index in groups}
        for file in folder.iterdir():
            if file not in known:
                file.unlink()
