"""How much memory a fit may use, and what follows for how it reads its data."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

__all__ = ["Reading", "available_memory", "format_memory", "parse_memory", "plan_reading"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", re.IGNORECASE)

# Larger blocks gain little, as long as every thread finds a few tiles of the same height in them.
_BLOCK_BYTES = 32 << 20
_TILE_ROWS = 192
_TILES_PER_THREAD = 2
# One that is worked on, one that waits, and one that is being read.
_BLOCKS_AT_ONCE = 3
# Enough rows for every thread to have work in a block, on any machine.
_LEAST_ROWS = 64


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes
    ----------
    block_bytes : int
        Size of a block of files, about.
    kept_bytes : int
        Size of the blocks of files that may stay in memory from one pass to the next.
    threads : int
        Threads that bring arrays into a form that the core reads; 0 is as many as it likes.
    """

    block_bytes: int = _BLOCK_BYTES
    kept_bytes: int = 0
    threads: int = 0

    def block_rows(self, row_bytes: int) -> int:
        """Rows of a block, for examples of `row_bytes`."""
        rows = max(1, self.block_bytes // max(row_bytes, 1))
        even = _TILE_ROWS * max(self.threads, 1)
        return rows - rows % even if rows > even else rows


def parse_memory(value: Any) -> int | None:
    """Read an amount of memory.

    Parameters
    ----------
    value : int, str or None
        Bytes, or a number with a unit: "500MB" and "2GB" are decimal, "2GiB" is binary.

    Returns
    -------
    int or None
        Bytes.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.

    Examples
    --------
    >>> parse_memory("2GB"), parse_memory("1.5 GiB"), parse_memory(4096), parse_memory(None)
    (2000000000, 1610612736, 4096, None)
    """
    if value is None:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool):
        size = int(value)
    elif isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            raise ValueError(
                f"max_memory={value!r} is no amount of memory; expected one like '2GB', '500MB', "
                "'1.5GiB' or a number of bytes"
            )
        unit = match[2].upper()
        size = int(float(match[1]) * (_UNITS | _BINARY_UNITS | {"I": 1})[unit])
    else:
        raise TypeError(
            f"max_memory={value!r} has type {type(value).__name__}; expected a string such as "
            "'2GB', a number of bytes or None"
        )
    if size < 1:
        raise ValueError(f"max_memory={value!r} must be at least one byte")
    return size


def format_memory(size: float) -> str:
    """Return an amount of memory as `parse_memory` reads it, rounded up.

    Examples
    --------
    >>> format_memory(1_230_000_001), format_memory(12)
    ('1.24GB', '1KB')
    """
    if size >= 10**9:
        return f"{math.ceil(size / 10**7) / 100:.2f}GB"
    if size >= 10**8:
        return f"{math.ceil(size / 10**6)}MB"
    return f"{math.ceil(size / 1000)}KB"


def available_memory() -> int:
    """Bytes that a process may use: what the system has to give, and no more than its cgroup."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            memory = int(line.split()[1]) * 1024
    for file in _cgroup_limits():
        for line in _lines(file):
            # Or "max", where there is none.
            memory = min(memory, int(line)) if line.isdigit() else memory
    return memory


def _cgroup_limits() -> list[str]:
    root = "/sys/fs/cgroup"
    found = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found.append(f"{root}{path}/memory.max")
        elif "memory" in controllers.split(","):
            found.append(f"{root}/memory{path}/memory.limit_in_bytes")
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def plan_reading(
    max_memory: Any, *, row_bytes: int, threads: int, needed: int, what: str, sharers: int = 1
) -> Reading:
    """Divide a budget of memory between what a call needs anyway and the data.

    Parameters
    ----------
    max_memory : int, str or None
        The budget, as for `parse_memory`; None is half of what is available.
    row_bytes : int
        Bytes of one example in all views.
    threads : int
        Threads that share the rows of a block.
    needed : int
        Bytes that are not for data: factors, sums, and W unless it goes to a file.
    what : str
        What needs them, for the error.
    sharers : int, default=1
        Processes on this machine that do the same, and share what is available.

    Returns
    -------
    Reading
        Sizes that fit into the budget. No result depends on them.

    Raises
    ------
    ValueError
        If the budget is too small; without one, as little as possible is used.
    """
    budget = parse_memory(max_memory)
    least = _BLOCKS_AT_ONCE * _LEAST_ROWS * row_bytes
    if budget is None:
        free = max(available_memory() // (2 * sharers) - needed, least)
    else:
        free = budget - needed
        if free < least:
            raise ValueError(
                f"max_memory={max_memory!r} is too small: {what} need "
                f"{format_memory(needed)}, and reading needs {format_memory(least)} more; give at "
                f"least {format_memory(needed + least)}"
            )
    block = max(_BLOCK_BYTES, _TILES_PER_THREAD * _TILE_ROWS * threads * row_bytes)
    block = max(min(block, free // (2 * _BLOCKS_AT_ONCE)), _LEAST_ROWS * row_bytes)
    return Reading(block, max(free - _BLOCKS_AT_ONCE * block, 0), threads)
