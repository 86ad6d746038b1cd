"""Hosts on one machine: network namespaces, joined by a wire with a delay and a bandwidth.

The wire is a process that carries packets between TUN devices. Linux has a queueing discipline for
that, netem, but not every kernel is built with it; this needs TUN alone, root, and iproute2.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack
from itertools import count
from pathlib import Path

__all__ = ["Hosts", "why_not"]

_TUN = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MTU = 9000
_PORT = 29500

_made = count()


def why_not() -> str | None:
    """Return why there can be no hosts here, None if they can be made."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    if not _TUN.exists() or shutil.which("ip") is None:
        return f"hosts need {_TUN} and the command ip (iproute2)"
    try:
        with Hosts(2, 0.0, 1e9):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made here: {error}"


class Hosts:
    """Two hosts; a context manager, which takes them down.

    Parameters
    ----------
    n : int
        How many: 2.
    delay : float
        Seconds that a packet travels, one way.
    bytes_per_second : float
        What the wire carries at most, each way.
    """

    def __init__(self, n: int, delay: float, bytes_per_second: float) -> None:
        if n != 2:
            raise ValueError(f"n is {n}, expected 2: a wire has two ends")
        self._delay, self._rate = delay, bytes_per_second
        # Never twice the same: the kernel takes namespaces and devices down in its own time.
        own = f"{os.getpid() % 10**6}-{next(_made)}"
        self._names = [f"cofactor-{own}-{number}" for number in range(n)]
        self._devices = [f"cf{own}-{number}" for number in range(n)]
        self._stack = ExitStack()

    def __enter__(self) -> Hosts:
        with ExitStack() as stack:
            ends = []
            for number, (name, device) in enumerate(zip(self._names, self._devices, strict=True)):
                end = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
                stack.callback(os.close, end)
                ends.append(end)
                request = struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI)
                fcntl.ioctl(end, _TUNSETIFF, request)
                _ip("netns", "add", name)
                stack.callback(_ip, "netns", "del", name)
                _ip("link", "set", device, "netns", name)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", device)
                # Long enough that nothing is lost while the wire waits for a processor.
                _ip("-n", name, "link", "set", device, "up", "mtu", str(_MTU))
                _ip("-n", name, "link", "set", device, "txqueuelen", "10000")
            arguments = [*map(str, ends), str(self._delay), str(self._rate)]
            wire = subprocess.Popen([sys.executable, __file__, *arguments], pass_fds=ends)
            stack.callback(wire.wait)
            stack.callback(wire.kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, command: list[str], timeout: float = 300.0) -> list[str]:
        """Run a command on every host, as torchrun would, and return what they printed."""
        started = []
        for rank, (name, device) in enumerate(zip(self._names, self._devices, strict=True)):
            environment = os.environ | {
                "RANK": str(rank),
                "WORLD_SIZE": str(len(self._names)),
                "LOCAL_RANK": "0",
                "MASTER_ADDR": "10.77.0.1",
                "MASTER_PORT": str(_PORT),
                "GLOO_SOCKET_IFNAME": device,
                "OMP_NUM_THREADS": "1",
            }
            started.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, *command],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        try:
            printed = [process.communicate(timeout=timeout)[0] for process in started]
        finally:
            for process in started:
                process.kill()
        for process in started:
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, command)
        return printed


def carry(ends: tuple[int, int], delay: float, bytes_per_second: float) -> None:
    """Carry packets between two devices for ever, none lost and in order."""
    waiting: dict[int, deque[tuple[float, bytes]]] = {end: deque() for end in ends}
    free_at = dict.fromkeys(ends, 0.0)
    other = dict(zip(ends, reversed(ends), strict=True))
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select(ends, [], [], timeout)
        now = time.monotonic()
        for end in readable:
            try:
                while True:
                    packet = os.read(end, _MTU + 64)
                    free_at[end] = max(now, free_at[end]) + len(packet) / bytes_per_second
                    waiting[end].append((free_at[end] + delay, packet))
            except BlockingIOError:
                pass
        now = time.monotonic()
        for end, queue in waiting.items():
            while queue and queue[0][0] <= now:
                os.write(other[end], queue.popleft()[1])


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, stderr=subprocess.PIPE, text=True)


if __name__ == "__main__":
    carry((int(sys.argv[1]), int(sys.argv[2])), float(sys.argv[3]), float(sys.argv[4]))
