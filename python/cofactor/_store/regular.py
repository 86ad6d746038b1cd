"""Opening of files that nobody has vouched for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from .._errors import StoreError

__all__ = ["check_inside", "open_regular"]


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, unbuffered, if it is a regular one.

    Raises
    ------
    StoreError
        If it is something else, such as a pipe.
    OSError
        If it cannot be opened.
    """
    # Opening a named pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreError(f"{path}: is not a regular file, expected one")
        return open(descriptor, "rb", buffering=0)  # noqa: PTH123, it has no path
    except BaseException:
        os.close(descriptor)
        raise


def check_inside(path: Path, root: Path) -> None:
    """Check that a path stays in a resolved directory when links are followed."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise StoreError(f"{path}: cannot be resolved ({error}); expected a file") from error
    if not target.is_relative_to(root):
        raise StoreError(
            f"{path}: is a link to {target}, outside of the store; expected a file, copy it into "
            "the store"
        )
