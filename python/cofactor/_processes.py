"""The processes that share a fit, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _core

__all__ = ["Json", "Processes"]

Json: TypeAlias = Any
"""What :mod:`json` writes and reads back as it was."""


class Processes:
    """A process by itself: nothing is sent, and everything is its own.

    :class:`cofactor._torch_processes.TorchProcesses` is the same for several. All methods that tell
    anything are called by every process, in the same order.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and of all of them.
    here : int
        Number of processes on this machine.
    n_reduced : int
        Calls of :meth:`all_reduce` so far.
    n_messages, n_bytes : int
        Messages so far, of which a call may take two, and bytes that this process gave to them.
    """

    rank = 0
    size = 1
    here = 1
    n_reduced = 0
    n_messages = 0
    n_bytes = 0

    def call(self, name: str) -> AbstractContextManager[object]:
        """Return a context in which all processes work together, and end together.

        An exception in one of them becomes a :class:`DistributedError` in the others, at their
        next message. All processes enter and leave it together; inside another it does nothing.

        Parameters
        ----------
        name : str
            What is being done, the same everywhere.
        """
        return nullcontext()

    @property
    def reduce(self) -> Callable[[npt.NDArray[np.float64] | _core.DeviceMatrix], None] | None:
        """What adds up the sums of a pass in place; None where there is nothing to add."""
        return None

    @property
    def reduces_on_device(self) -> bool:
        """Whether `reduce` would rather have sums that a CUDA device has, where they are."""
        return False

    def device(self, kind: str) -> str:
        """Return which device of a kind this process computes on: ``"cuda:1"`` of ``"cuda"``."""
        return kind

    @property
    def exchange(self) -> Callable[[bytes], list[bytes]] | None:
        """What gives the bytes of every process to all; None where there are no others."""
        return None

    def all_reduce(self, sums: npt.NDArray[np.float64] | _core.DeviceMatrix) -> None:
        """Add up an array of float64 over all processes, in place, with the same bits on all."""

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """Return the bytes of every process, by rank."""
        return [data]

    def gather(self, value: Json) -> list[Json]:
        """Return the value of every process, by rank."""
        return [value]

    def share(self, value: Json) -> Json:
        """Return the value of rank 0."""
        return value

    def share_array(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array of rank 0; those of the others have its shape and dtype."""
        return array

    def concatenate(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows of all processes, in the order of ranks."""
        return rows

    def collect(self, rows: npt.NDArray[Any], target: npt.NDArray[Any] | None) -> None:
        """Bring the rows of all processes into `target` of rank 0, a part at a time.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_columns)
            Of this process.
        target : ndarray or None
            Of rank 0, with as many rows as all have together; None elsewhere.
        """
        assert target is not None
        target[:] = rows

    def check_same(self, name: str, values: Mapping[str, Json]) -> None:
        """Raise ValueError on every process where a value differs between them.

        Parameters
        ----------
        name : str
            What got the values, for the message.
        values : mapping of str to JSON value
            By what they are, for the message; the same names everywhere.
        """
