"""The files of one shard while they are written: aside, synced, then renamed."""

from __future__ import annotations

import hashlib
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from . import npy
from .metadata import Column

__all__ = ["FinishedShard", "OpenShard", "temporary", "write_column"]


class FinishedShard:
    """A shard's file, mapped: all its bytes, and its array."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        n_bytes = npy.HEADER_BYTES + math.prod(shape) * dtype.itemsize
        self.whole = npy.map_npy(path, 0, (n_bytes,), np.dtype(np.uint8))
        self.array = self.whole[npy.HEADER_BYTES :].view(dtype).reshape(shape)


class OpenShard:
    """A shard under a temporary name; blocks go to the file as they come, none are kept."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
        self._path = path
        self._dtype = dtype
        self._n_columns = shape[1]
        self._file: BinaryIO = temporary(path).open("wb")
        self._file.write(npy.header(dtype, shape))

    def write(self, block: npt.NDArray[Any]) -> None:
        """Append rows of the stored dtype, in C order."""
        self._file.write(block.data)

    def finish(self, rows: int) -> FinishedShard:
        """Write the final header, make the file durable and map it."""
        shape = (rows, self._n_columns)
        self._file.seek(0)
        self._file.write(npy.header(self._dtype, shape))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FinishedShard(temporary(self._path), self._dtype, shape)

    def discard(self) -> None:
        """Remove the file."""
        # A full disk shows itself once more when the buffer is flushed.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            temporary(self._path).unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """Return the name under which a shard is written before it gets its own."""
    return path.with_name(f".{path.name}.tmp")


def write_column(path: Path, column: Column, pieces: list[npt.NDArray[Any]]) -> str:
    """Write the shard of a column under its temporary name and return its sha256."""
    values = np.concatenate(pieces)
    if column.dtype == "str":
        # The least width, so that the file does not depend on how rows were batched.
        width = max(1, int(np.char.str_len(values).max()))
        values = values.astype(f"<U{width}")
    else:
        values = values.astype(np.dtype(column.dtype).newbyteorder("<"))
    content = npy.header(values.dtype, values.shape) + values.tobytes()
    with temporary(path).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()
