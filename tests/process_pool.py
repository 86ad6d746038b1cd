"""Real processes for tests of distributed work: started once, then given one task after another.

Importing torch takes most of the time that a process lives, so each serves many tests.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A test that has not ended by then has hung, even on a machine that has much else to do.
_PATIENCE = 400.0


@dataclass(frozen=True)
class Ended:
    """How a task ended on one rank: what it returned, or the type and text of its error."""

    value: Any
    error: str | None
    message: str
    trace: str


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def join(rank: int, size: int, port: int, timeout: float) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    from cofactor import distributed

    distributed.init_process_group(timeout)


def _serve(connection: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch.distributed as dist

    while True:
        rank, size, port, timeout, function, arguments = connection.recv()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                join(rank, size, port, timeout)
                ended = Ended(function(*arguments), None, "", "")
        except BaseException as error:
            ended = Ended(None, type(error).__name__, str(error), traceback.format_exc())
        connection.send(ended)
        # All have ended before one takes down what the others may still talk to.
        connection.recv()
        if dist.is_initialized():
            dist.destroy_process_group()


class Pool:
    """Processes that stay until :meth:`close`."""

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._workers = []
        for _ in range(size):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            self._workers.append((process, here))

    def try_run(
        self, size: int, function: Callable[..., Any], *arguments: Any, timeout: float = 300.0
    ) -> list[Ended]:
        """Run a function of a module on so many ranks, and return how it ended on each."""
        port = free_port()
        workers = self._workers[:size]
        for rank, (_, connection) in enumerate(workers):
            connection.send((rank, size, port, timeout, function, arguments))
        ended = []
        for rank, (_, connection) in enumerate(workers):
            assert connection.poll(_PATIENCE), f"rank {rank} of {size} hangs"
            ended.append(connection.recv())
        for _, connection in workers:
            connection.send("go on")
        return ended

    def run(self, size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Run it where it must not fail, and return the values."""
        ended = self.try_run(size, function, *arguments)
        for rank, end in enumerate(ended):
            assert end.error is None, f"rank {rank}: {end.trace}"
        return [end.value for end in ended]

    def close(self) -> None:
        for process, _ in self._workers:
            process.kill()
            process.join()
