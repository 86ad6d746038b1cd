"""Appending to a store in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy.typing as npt

from .._store.writer import StoreWriter

__all__ = ["AppendQueue"]

_MAX_WAITING = 2


class AppendQueue:
    """One thread that appends blocks in order, so that the disk does not hold up the network.

    At most two blocks wait. An error of the writer is raised by a later `put`, or at the end of
    the context.
    """

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-store")
        self._waiting: deque[Future[None]] = deque()

    def put(
        self, blocks: Mapping[str, npt.NDArray[Any]], columns: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Append blocks, which must not change any more."""
        while len(self._waiting) >= _MAX_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._writer.append, blocks, columns))

    def __enter__(self) -> AppendQueue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)
