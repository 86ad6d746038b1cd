"""The beginning of a store, or of its continuation."""

from __future__ import annotations

import os
from pathlib import Path

from .._errors import StoreError
from .destination import check_destination, remove_store
from .lock import WriterLock
from .metadata import COLUMNS_DIRECTORY, Metadata, sync_directory, write_metadata
from .resume import reopen

__all__ = ["begin"]


def begin(
    path: str | os.PathLike[str],
    wanted: Metadata,
    rows_per_shard: int,
    *,
    overwrite: bool,
    resume: bool,
    keep_records: bool = False,
) -> tuple[WriterLock, Metadata | None]:
    """Make the directories and the metadata of a new store, or take up what is there.

    Returns
    -------
    lock : WriterLock
        The right to write.
    known : Metadata or None
        Of a store that is gone on with; None of a new one, which has what was wanted.

    Raises
    ------
    StoreError
        As :meth:`ActivationStore.create` documents.
    OSError
        If the directory cannot be written to.
    """
    if overwrite and resume:
        raise StoreError("overwrite and resume are both true; choose one")
    root = Path(path)
    check_destination(root, overwrite, resume)
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(root)
    try:
        # Once more, since another writer may have come and gone.
        check_destination(root, overwrite, resume)
        known = reopen(root, wanted, rows_per_shard, keep_records) if resume else None
        if known is None:
            remove_store(root)
            write_metadata(root, wanted)
            for name in (*wanted.views, COLUMNS_DIRECTORY):
                (root / name).mkdir()
            sync_directory(root)
        if made:
            sync_directory(root.absolute().parent)
    except BaseException:
        lock.release()
        raise
    return lock, known
