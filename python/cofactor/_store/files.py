"""The files of an opened store, checked once and mapped on demand, and its columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from . import npy
from .encoding import DTYPES
from .metadata import COLUMNS_DIRECTORY, METADATA_FILE, shard_file
from .metadata_reader import read_metadata
from .rows import Rows

__all__ = ["StoreColumns", "StoreFiles"]

_HASH_BYTES = 8 << 20


class StoreFiles:
    """Metadata and shards of a complete store; raises StoreError where they disagree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.metadata = read_metadata(root)
        if not self.metadata.complete:
            raise StoreError(
                f"{root / METADATA_FILE}: the store is incomplete: its writing was interrupted "
                f"after {self.metadata.n_examples} examples were on disk; write it again with "
                "overwrite=True"
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

    def verify(self) -> None:
        """Compare the checksums of all files."""
        wrong: list[str] = []
        for index, group in enumerate(self.metadata.shards):
            for directory, expected in group.checksums.items():
                path = shard_file(self.root, directory, index)
                digest = hashlib.sha256()
                try:
                    with path.open("rb") as file:
                        while part := file.read(_HASH_BYTES):
                            digest.update(part)
                except OSError as error:
                    wrong.append(f"{path} (cannot be read: {error.strerror})")
                    continue
                if digest.hexdigest() != expected:
                    wrong.append(f"{path} (sha256 {digest.hexdigest()}, expected {expected})")
        if wrong:
            raise StoreError(
                f"{self.root}: {len(wrong)} files differ from what was written: "
                f"{'; '.join(wrong)}; restore them or write the store again"
            )

    def _check_files(self, inside: Path, directory: str, dtype: np.dtype[Any] | None) -> None:
        for index, group in enumerate(self.metadata.shards):
            path = shard_file(self.root, directory, index)
            if not path.resolve().is_relative_to(inside):
                raise StoreError(
                    f"{path}: is a link to {path.resolve()}, outside of the store; expected a "
                    "file, copy it into the store"
                )
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
            directory = f"{COLUMNS_DIRECTORY}/{name}"
            n_shards = len(self._files.metadata.shards)
            shards = [self._files.map(directory, index) for index in range(n_shards)]
            rows = self._rows
            chosen = slice(rows.start, rows.stop) if isinstance(rows, range) else rows
            values = np.concatenate(shards)[chosen].copy()
            values.flags.writeable = False
            self._read[name] = values
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files.metadata.columns)

    def __len__(self) -> int:
        return len(self._files.metadata.columns)

    def __repr__(self) -> str:
        return f"<columns {', '.join(self)}>"
