"""Whether the disk has room for a store."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._errors import StoreError
from .._store.encoding import DTYPES
from ..store import format_bytes

__all__ = ["disk_estimate"]


def disk_estimate(
    out: Path,
    views: Mapping[str, Mapping[str, Any]],
    total: int | None,
    rows_each: int,
) -> str:
    """Compare the estimated size with the free disk space and return what to say of it."""
    row_bytes = sum(
        math.prod(view["shape"]) * DTYPES[view["dtype"]].itemsize for view in views.values()
    )
    folders = (out.absolute(), *out.absolute().parents)
    free = shutil.disk_usage(next(folder for folder in folders if folder.exists())).free
    if total is None:
        return (
            f"{out}: {format_bytes(row_bytes * rows_each)} for each example of a loader that does "
            f"not say how many there are; {format_bytes(free)} are free"
        )
    n_bytes = total * rows_each * row_bytes
    there = sum(file.stat().st_size for file in out.rglob("*.npy")) if out.is_dir() else 0
    # What is there is replaced, or is part of what is needed.
    if n_bytes > free + there:
        raise StoreError(
            f"{out}: {total} examples of {len(views)} views need {format_bytes(n_bytes)}, but "
            f"{format_bytes(free + there)} are free; choose another disk, fewer layers, pool=, or "
            "max_examples="
        )
    return (
        f"{out}: {total:,} examples of {len(views)} views need about {format_bytes(n_bytes)}; "
        f"{format_bytes(free)} are free"
    )
