"""W on disk: written a block at a time, and mapped when it is complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ._processes import Processes
from ._store.metadata import sync_directory

__all__ = ["WFile", "check_w_path", "open_w", "w_file"]


@dataclass(frozen=True)
class WFile:
    """An open file that waits for the rows of W."""

    file: BinaryIO
    path: str
    offset: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    """`offset` and `shape` are of the rows of this process."""

    @property
    def descriptor(self) -> int:
        """Of the open file."""
        return self.file.fileno()

    @contextmanager
    def rows(self) -> Iterator[npt.NDArray[Any]]:
        """Map the rows that were written, to change some."""
        # Nothing is appended: the file has all its space.
        if not self.shape[0]:
            yield np.empty(self.shape, self.dtype)
            return
        mapped = np.memmap(self.file, self.dtype, "r+", self.offset, self.shape)
        yield mapped
        mapped.flush()


def check_w_path(path: str | os.PathLike[str]) -> Path:
    """Check, before the work is done, that W can be written to `path`.

    Raises
    ------
    IsADirectoryError, FileNotFoundError
        If it is a directory, or in none.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"W_path={str(path)!r} is a directory; expected a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {target.parent} for W_path={str(path)!r}")
    return target


@contextmanager
def w_file(
    path: Path,
    shape: tuple[int, int],
    dtype: Any,
    processes: Processes | None = None,
    own: slice | None = None,
) -> Iterator[WFile]:
    """Open a ``.npy`` file for W, which is at `path` when all went well and nowhere otherwise.

    Parameters
    ----------
    path : Path
        Where W shall be.
    shape : tuple of int
        (n_examples, n_components).
    dtype : dtype
        Of its numbers.
    processes : Processes, optional
        Those that write it together. Rank 0 makes the file, and puts it in its place.
    own : slice, optional
        Rows that this process writes; all by default.

    Yields
    ------
    WFile
        With disk space for all of W.

    Raises
    ------
    OSError
        If the disk is full or fails, or the file of rank 0 is not seen by another.
    """
    ranks = processes or Processes()
    own = own or slice(0, shape[0])
    aside = path.with_name(ranks.share(f".{path.name}.{os.getpid()}"))
    size = np.dtype(dtype).itemsize * shape[1]
    try:
        offset = _create(aside, path, shape, dtype) if ranks.rank == 0 else 0
        offset = ranks.share(offset)
        with _open(aside, path) as file:
            part = own.stop - own.start, shape[1]
            yield WFile(file, str(path), offset + size * own.start, part, np.dtype(dtype))
            os.fsync(file.fileno())
        ranks.barrier()
        if ranks.rank == 0:
            aside.replace(path)
            sync_directory(path.parent)
        ranks.barrier()
    finally:
        if ranks.rank == 0:
            aside.unlink(missing_ok=True)


def _create(aside: Path, path: Path, shape: tuple[int, int], dtype: Any) -> int:
    """Make the file with space for all numbers, and return where they begin."""
    size = np.dtype(dtype).itemsize * shape[0] * shape[1]
    with aside.open("wb", buffering=0) as file:
        described = np.lib.format.dtype_to_descr(np.dtype(dtype))
        head = {"descr": described, "fortran_order": False, "shape": shape}
        try:
            np.lib.format.write_array_header_1_0(file, head)
            offset = file.tell()
            _allocate(file.fileno(), offset + size)
        except OSError as error:
            reason = f"{error.strerror}, W needs {size} bytes"
            raise OSError(error.errno, reason, str(path)) from error
    return offset


def _open(aside: Path, path: Path) -> BinaryIO:
    try:
        # Unbuffered: what does not fit is not tried again when the file is closed.
        return aside.open("r+b", buffering=0)
    except FileNotFoundError as error:
        reason = "the file that rank 0 made is not seen here; all ranks write to the same directory"
        raise OSError(error.errno, reason, str(path)) from error


def open_w(path: Path) -> npt.NDArray[Any]:
    """Map a W that was written."""
    W: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return W


def _allocate(descriptor: int, size: int) -> None:
    # A full disk is better known now than after the last pass.
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        # Others say that the file system cannot allocate ahead.
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
