"""Whether a store may be written to a path, and the removal of the store it replaces."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .._errors import StoreError
from .metadata import (
    COLUMNS_DIRECTORY,
    LOCK_FILE,
    METADATA_FILE,
    METADATA_TEMPORARY,
    RECORDS_DIRECTORY,
)
from .metadata_reader import read_metadata
from .records import has_records

__all__ = ["check_destination", "remove_store"]


def check_destination(
    path: str | os.PathLike[str], overwrite: bool = False, resume: bool = False
) -> None:
    """Check that a store may be written to a path.

    Raises
    ------
    StoreError
        If something is there already, unless it is an empty directory, or an activation store with
        nothing else in it and `overwrite` or `resume` is true.
    """
    root = Path(path)
    if not root.exists() and not root.is_symlink():
        return
    if not root.is_dir():
        raise StoreError(f"{root}: is a file, expected a directory or a path that does not exist")
    # A writer that was killed at its very start has left these.
    content = {entry.name for entry in root.iterdir()} - {LOCK_FILE, METADATA_TEMPORARY}
    if not content:
        return
    if METADATA_FILE not in content:
        raise StoreError(
            f"{root}: is a directory that holds no activation store; it is not touched, choose "
            "another path"
        )
    metadata = read_metadata(root)
    # One without shards is of no use to anybody; a writer that has just begun holds its lock.
    if (metadata.shards or has_records(root)) and not (overwrite or resume):
        state, advice = ("a", "") if metadata.complete else ("an incomplete", "resume=True, or ")
        raise StoreError(
            f"{root}: {state} store of {metadata.n_examples} examples is here already; pass "
            f"{advice}overwrite=True to replace it, or choose another path"
        )
    foreign = content - {METADATA_FILE, COLUMNS_DIRECTORY, RECORDS_DIRECTORY, *metadata.views}
    if foreign:
        raise StoreError(
            f"{root}: holds {', '.join(sorted(foreign))} beside the store; move that away first"
        )


def remove_store(root: Path) -> None:
    """Remove what :func:`check_destination` has found to be a store."""
    # The metadata goes last: until then what is left can be recognised as a store.
    entries = sorted(root.iterdir(), key=lambda entry: entry.name == METADATA_FILE)
    for entry in entries:
        if entry.name == LOCK_FILE:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
