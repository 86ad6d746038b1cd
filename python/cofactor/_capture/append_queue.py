"""Appending to a store in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .outputs import check_overflow
from .transfer import HostCopy

__all__ = ["AppendQueue", "Batch", "RecordedView", "RowSink"]

_MAX_WAITING = 2
_MAX_WAITING_BYTES = 256 << 20


class RowSink(Protocol):
    """A writer of a store, or of a part of one."""

    def append(
        self,
        blocks: Mapping[str, npt.ArrayLike],
        columns: Mapping[str, npt.ArrayLike],
        inputs: npt.NDArray[np.uint8] | None,
        /,
    ) -> None:
        """Append rows."""

    def skip(self, n_rows: int, inputs: npt.NDArray[np.uint8] | None, /) -> None:
        """Pass over rows that are there."""


Sink = TypeVar("Sink", bound=RowSink)


@dataclass(frozen=True)
class RecordedView:
    """A layer's numbers on their way to the host; see :class:`~.outputs.Converted`."""

    values: HostCopy
    bounds: HostCopy | None
    positions: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Batch:
    """What is appended for one batch of a loader; without views, its rows are skipped."""

    inputs: Callable[[], npt.NDArray[np.uint8]]
    rows_each: int
    """Rows of the views for each image."""
    blocks: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    layers: Mapping[str, RecordedView] = field(default_factory=dict)
    columns: Mapping[str, npt.NDArray[Any] | HostCopy] = field(default_factory=dict)
    """With an entry for each image, or for each row."""
    rows: slice = field(default_factory=lambda: slice(None))
    """Which of its rows are wanted."""

    def host_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns, an entry for each row."""
        n_rows = len(self.inputs()) * self.rows_each
        return {
            name: _by_row(values.wait() if isinstance(values, HostCopy) else values, n_rows)
            for name, values in self.columns.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes that wait."""
        layers = sum(view.values.nbytes for view in self.layers.values())
        return layers + sum(block.nbytes for block in self.blocks.values())


class AppendQueue(Generic[Sink]):
    """One thread that appends batches in order, so that the disk does not hold up the network.

    Two batches may wait, or more if they are small. An error of the writer is raised by a later
    `put`, or at the end of the context.
    """

    def __init__(self, writer: Sink) -> None:
        self.writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-store")
        self._waiting: deque[tuple[Future[None], int]] = deque()

    def put(self, batch: Batch) -> None:
        """Append a batch whose arrays do not change any more."""
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()[0].result()
        while len(self._waiting) >= _MAX_WAITING and (
            sum(n_bytes for _, n_bytes in self._waiting) + batch.nbytes > _MAX_WAITING_BYTES
        ):
            self._waiting.popleft()[0].result()
        self._waiting.append((self._thread.submit(self._append, batch), batch.nbytes))

    def __enter__(self) -> AppendQueue[Sink]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            while self._waiting:
                # What the network has computed is kept, whatever ended the capture.
                with suppress(Exception) if kind is not None else nullcontext():
                    self._waiting.popleft()[0].result()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _append(self, batch: Batch) -> None:
        inputs = np.repeat(batch.inputs(), batch.rows_each, axis=0)
        n_rows, wanted = len(inputs), batch.rows
        if not (batch.blocks or batch.layers):
            inputs = inputs[wanted]
            self.writer.skip(len(inputs), inputs)
            return
        copies: list[HostCopy] = []

        def arrived(copy: HostCopy) -> npt.NDArray[Any]:
            copies.append(copy)
            return copy.wait()

        blocks = dict(batch.blocks)
        for name, view in batch.layers.items():
            if view.bounds is not None:
                check_overflow(arrived(view.bounds), name, view.dtype)
            blocks[name] = arrived(view.values)
        columns = {
            name: _by_row(arrived(values) if isinstance(values, HostCopy) else values, n_rows)
            for name, values in batch.columns.items()
        }
        self.writer.append(
            {name: block[wanted] for name, block in blocks.items()},
            {name: values[wanted] for name, values in columns.items()},
            inputs[wanted],
        )
        for copy in copies:
            copy.release()


def _by_row(values: npt.NDArray[Any], n_rows: int) -> npt.NDArray[Any]:
    return values if len(values) == n_rows else np.repeat(values, n_rows // len(values), axis=0)
