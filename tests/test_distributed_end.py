"""How processes that have worked together end: none waits for another, none aborts."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from process_pool import free_port

pytest.importorskip("torch")

COMMON = """
import os, sys
import numpy as np
from cofactor import distributed

distributed.init_process_group(timeout=float(os.environ["SECONDS"]))
own = distributed.processes()
"""


@contextmanager
def ranks(code: str, size: int, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """Run a program on so many ranks, which wait so long for each other."""
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "SECONDS": str(seconds),
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMMON + textwrap.dedent(code)],
            env={**environment, "RANK": str(rank)},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_thread_that_lets_go_late_does_not_abort_the_process() -> None:
    # Nobody else gets Python before the main thread waits for something: what carried the last
    # message is still to be let go of when that ends.
    code = """
        sys.setswitchinterval(1000)
        with own.call("test"):
            own.all_reduce(np.ones(10))
    """
    for _ in range(3):
        with ranks(code, 2, 300.0) as processes:
            for process in processes:
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 0, errors


def test_who_has_waited_long_enough_ends_while_the_other_is_still_stuck() -> None:
    code = """
        with own.call("test"):
            own.barrier()
            if own.rank == 1:
                sys.stdin.read()
            own.all_reduce(np.ones(10))
    """
    # The connection itself would wait for a minute more.
    with ranks(code, 2, 5.0) as (waiting, stuck):
        _, errors = waiting.communicate(timeout=50)
        assert waiting.returncode == 1
        assert "test waited 5 s for the other ranks; one of them is stuck" in errors
        assert stuck.poll() is None
