"""Check of a whole store: every byte against its checksum, and every statistic."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .encoding import statistics
from .metadata import (
    COLUMNS_DIRECTORY,
    LOCK_FILE,
    METADATA_FILE,
    METADATA_TEMPORARY,
    Metadata,
    View,
    shard_file,
)
from .regular import open_regular
from .totals import EMPTY, add_statistics

__all__ = ["check_column", "verify"]

_PART_BYTES = 8 << 20
_LARGEST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_STATISTICS = (
    "sum_of_squares",
    "minimum",
    "maximum",
    "n_nonfinite",
    "sum",
    "positive_sum_of_squares",
)


def verify(
    root: Path,
    metadata: Metadata,
    payloads: Mapping[tuple[str, int], tuple[int, np.dtype[Any]]],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Read all files of a store, whose headers were checked, and compare them with its metadata.

    Raises
    ------
    StoreError
        Naming every file and every view that differs, and files that do not belong there.
    """
    wrong: list[str] = []
    directories = [*metadata.views, *(f"{COLUMNS_DIRECTORY}/{name}" for name in metadata.columns)]
    total, done = len(directories) * len(metadata.shards), 0
    for directory in directories:
        stored = metadata.views.get(directory)
        counted = None if stored is None else replace(stored, **_of_nothing())
        rows = 0
        for index, group in enumerate(metadata.shards):
            file = _File(shard_file(root, directory, index), *payloads[directory, index])
            try:
                if counted is None:
                    file.check_text()
                else:
                    found = statistics(file.parts(), counted.dtype, counted.scale)
                    counted = add_statistics(counted, rows, found, group.rows)
                file.check_sum(group.checksums[directory])
            except OSError as error:
                wrong.append(f"{file.path} (cannot be read: {error.strerror})")
            except StoreError as error:
                wrong.append(str(error))
            rows += group.rows
            done += 1
            if progress is not None:
                progress(done, total)
        # Of damaged files statistics say nothing more.
        if stored is not None and counted is not None and not wrong:
            wrong += _differences(root, stored, counted)
    wrong += [f"{path} (does not belong to the store)" for path in _strangers(root, metadata)]
    if wrong:
        raise StoreError(
            f"{root}: {len(wrong)} things differ from what was written: {'; '.join(wrong)}; "
            "restore the files or write the store again"
        )


def check_column(path: Path, values: npt.NDArray[Any]) -> None:
    """Check that strings consist of characters: they are stored as numbers of 32 bits."""
    if values.dtype.kind != "U":
        return
    codes = np.ascontiguousarray(values).view(values.dtype.byteorder + "u4")
    low, high = _SURROGATES
    if ((codes > _LARGEST_CHARACTER) | ((codes >= low) & (codes <= high))).any():
        raise StoreError(
            f"{path}: holds numbers that are no characters, expected text; restore the file or "
            "write the store again"
        )


class _File:
    """One shard, read once, from beginning to end."""

    def __init__(self, path: Path, offset: int, dtype: np.dtype[Any]) -> None:
        self.path = path
        self._offset = offset
        self._dtype = dtype
        self._digest = hashlib.sha256()

    def parts(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the numbers, some megabytes at a time."""
        with open_regular(self.path) as file:
            self._digest.update(file.read(self._offset))
            size = max(1, _PART_BYTES // self._dtype.itemsize) * self._dtype.itemsize
            rest = b""
            while part := file.read(size):
                self._digest.update(part)
                rest += part
                whole = len(rest) - len(rest) % self._dtype.itemsize
                yield np.frombuffer(rest[:whole], self._dtype)
                rest = rest[whole:]

    def check_text(self) -> None:
        """Read all; strings must be text."""
        for part in self.parts():
            check_column(self.path, part)

    def check_sum(self, expected: str) -> None:
        """Compare the checksum of what was read."""
        found = self._digest.hexdigest()
        if found != expected:
            raise StoreError(f"{self.path} (sha256 {found}, expected {expected})")


def _of_nothing() -> dict[str, Any]:
    return {name: getattr(EMPTY, name) for name in _STATISTICS}


def _differences(root: Path, stored: View, counted: View) -> Iterator[str]:
    exact = stored.dtype not in ("float32", "float64")
    for name in _STATISTICS:
        said, found = getattr(stored, name), getattr(counted, name)
        if said is None or said == found:
            continue
        # Sums of 8 and 16 bit numbers do not depend on the machine, those of others do.
        size = max(abs(found), math.sqrt(abs(counted.sum_of_squares or 0.0)))
        if (
            exact
            or name in ("minimum", "maximum", "n_nonfinite")
            or abs(said - found) > 1e-6 * size
        ):
            yield (
                f"{root / METADATA_FILE} (view {stored.name!r}: {name} is {said!r}, the files "
                f"have {found!r})"
            )


def _strangers(root: Path, metadata: Metadata) -> Iterator[Path]:
    """Yield what lies in the directory of a store and is not of it."""
    ours = {root / METADATA_FILE, root / LOCK_FILE, root / METADATA_TEMPORARY}
    folders = {root / name for name in metadata.views}
    columns = root / COLUMNS_DIRECTORY
    folders |= {columns / name for name in metadata.columns}
    for directory in (*metadata.views, *(f"columns/{name}" for name in metadata.columns)):
        ours |= {shard_file(root, directory, index) for index in range(len(metadata.shards))}
    for folder in (root, columns, *sorted(folders)):
        if not folder.is_dir():
            continue
        for entry in sorted(folder.iterdir()):
            if entry not in ours and entry not in folders and entry != columns:
                yield entry
