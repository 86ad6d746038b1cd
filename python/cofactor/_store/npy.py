"""Reading and writing of ``.npy`` files of known shape and dtype, without unpickling."""

from __future__ import annotations

import errno
import io
import mmap
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .._errors import StoreError
from .regular import open_regular

__all__ = ["HEADER_BYTES", "check_npy", "header", "map_npy", "read_npy"]

# One fixed length, so that a shard's header can be rewritten in place when its number of rows is
# known, and a multiple of 64, so that the payload of a mapped file is aligned for any vector load.
HEADER_BYTES = 128

_MAGIC = b"\x93NUMPY\x01\x00"
_MAX_HEADER_BYTES = 4096


def header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the ``.npy`` header, ``HEADER_BYTES`` long or a larger multiple of it."""
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    length = -(-(len(_MAGIC) + 2 + len(text) + 1) // HEADER_BYTES) * HEADER_BYTES
    text = text.ljust(length - len(_MAGIC) - 3) + "\n"
    return _MAGIC + len(text).to_bytes(2, "little") + text.encode("latin1")


def check_npy(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any] | None
) -> tuple[int, np.dtype[Any]]:
    """Check that a file holds a C-ordered array of this shape and dtype, and nothing else.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Expected shape.
    dtype : numpy.dtype or None
        Expected dtype; None admits unicode strings of any width.

    Returns
    -------
    offset : int
        Where the array starts, in bytes.
    dtype : numpy.dtype
        The dtype found.

    Raises
    ------
    StoreError
        If the file is missing, not a ``.npy`` file, or differs from what is expected.
    """
    size, head = _read_head(path)
    found_shape, fortran_order, found = _parse_header(path, head)
    offset = _payload_offset(head)
    expected = "unicode strings" if dtype is None else dtype.name
    if found.kind != "U" or not found.itemsize if dtype is None else found != dtype:
        raise StoreError(f"{path}: dtype is {_short(found)}, expected {expected}; {_REWRITE}")
    if found_shape != shape:
        raise StoreError(f"{path}: shape is {_short(found_shape)}, expected {shape}; {_REWRITE}")
    if fortran_order and len(shape) > 1:
        raise StoreError(f"{path}: the array is in Fortran order, expected C order; {_REWRITE}")
    n_bytes = found.itemsize
    for length in shape:
        n_bytes *= length
    if size != offset + n_bytes:
        raise StoreError(
            f"{path}: the file has {size} bytes, expected {offset + n_bytes} for shape {shape} "
            f"and dtype {found}; it was cut or overwritten, {_REWRITE}"
        )
    if offset % found.alignment:
        raise StoreError(
            f"{path}: the array starts at byte {offset}, expected a multiple of "
            f"{found.alignment}; {_REWRITE}"
        )
    return offset, found


def map_npy(
    path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Map a checked, non-empty file and return its array, read-only.

    Raises
    ------
    StoreError
        If the file cannot be opened or has become shorter since it was checked.
    """
    n_bytes = dtype.itemsize
    for length in shape:
        n_bytes *= length
    if n_bytes == 0:
        return np.empty(shape, dtype)
    # mmap duplicates the descriptor and keeps it, unless told otherwise where that is possible.
    options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    try:
        with open_regular(path) as file:
            mapping = mmap.mmap(file.fileno(), offset + n_bytes, access=mmap.ACCESS_READ, **options)
    except ValueError as error:
        raise StoreError(
            f"{path}: the file is shorter than the {offset + n_bytes} bytes it had when the store "
            f"was opened; {_REWRITE}"
        ) from error
    except OSError as error:
        advice = "; raise the limit with: ulimit -n 65536" if error.errno == errno.EMFILE else ""
        raise StoreError(f"{path}: cannot be mapped: {error.strerror}{advice}") from error
    return np.frombuffer(mapping, dtype=np.uint8, offset=offset).view(dtype).reshape(shape)


def read_npy(path: Path, offset: int, rows: range, out: npt.NDArray[Any]) -> None:
    """Read consecutive rows of a checked file into a C-ordered array, without mapping it.

    Raises
    ------
    StoreError
        If the file cannot be read, or has become shorter since it was checked.
    """
    if out.nbytes == 0:
        return
    target = out.reshape(-1).view(np.uint8).data
    row_bytes = len(target) // len(rows)
    try:
        with open_regular(path) as file:
            file.seek(offset + rows.start * row_bytes)
            done = 0
            while done < len(target):
                count = file.readinto(target[done : done + _READ_BYTES])  # type: ignore[attr-defined]
                if not count:
                    raise StoreError(
                        f"{path}: the file ends before row {rows.stop}, which it had when the "
                        f"store was opened; {_REWRITE}"
                    )
                done += count
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {_REWRITE}") from error


_REWRITE = "restore the file or write the store again"
_READ_BYTES = 64 << 20


def _short(found: object) -> str:
    text = str(found)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _read_head(path: Path) -> tuple[int, bytes]:
    try:
        with open_regular(path) as file:
            return file.seek(0, io.SEEK_END), _read_from_start(file)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {_REWRITE}") from error


def _read_from_start(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(_MAX_HEADER_BYTES)


def _payload_offset(head: bytes) -> int:
    if head[6] == 1:
        return 10 + int.from_bytes(head[8:10], "little")
    return 12 + int.from_bytes(head[8:12], "little")


def _parse_header(path: Path, head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream)
    # The header of a damaged file is evaluated as a literal, which fails in many ways.
    except Exception as error:
        raise StoreError(
            f"{path}: is not a valid .npy file ({_short(error)}); {_REWRITE}"
        ) from error
    raise StoreError(
        f"{path}: .npy format version is {version[0]}.{version[1]}, expected 1.0 or 2.0"
    )
