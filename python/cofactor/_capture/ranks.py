"""Steps that all processes of a group do, each at its own speed."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .._processes import Processes

__all__ = ["Watch", "together"]

Result = TypeVar("Result")

# Processes tell each other how far they are so often (seconds).
_INTERVAL = 0.25


def together(processes: Processes, step: Callable[[Watch], Result]) -> list[Result]:
    """Do a step in every process, inside :meth:`Processes.call`, and return the results of all.

    Raises
    ------
    DistributedError
        If the step has failed in another process, or a process is gone.
    """
    with Watch(processes) as watch:
        result = step(watch)
    return [pickle.loads(data) for data in processes.gather_bytes(pickle.dumps(result))]


class Watch:
    """What processes know of each other during a step; a context manager.

    A thread adds up, several times a second, how much all have done. So no process waits for
    another before the end, however different their speeds are, and all hear soon of one that
    fails.

    Attributes
    ----------
    total_done : int
        What all processes together have reported.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._done = 0
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._error: Exception | None = None
        # No daemon: gloo aborts a process that ends in the midst of a message.
        self._thread = threading.Thread(target=self._exchange, name="cofactor-watch")
        self.total_done = 0

    def report(self, done: int) -> None:
        """Say how much is done here.

        Raises
        ------
        DistributedError
            If another process has failed or is gone.
        """
        self._done = done
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # The others hear of it as of every failure; the thread waits for them no more.
            self._given_up.set()
            self._ended.set()
            return
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _exchange(self) -> None:
        try:
            while not self._given_up.is_set():
                sums = np.array([self._done, self._ended.is_set()], np.float64)
                self._processes.all_reduce(sums)
                self.total_done = int(sums[0])
                # In the same round everywhere, since all have the same sums.
                if sums[1] == self._processes.size:
                    return
                self._given_up.wait(_INTERVAL / 10 if self._ended.is_set() else _INTERVAL)
        except Exception as error:
            self._error = error
