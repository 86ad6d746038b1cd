"""What a GPU can do at most: reads of its memory, multiplications, copies from the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Floors:
    """Rates of one device."""

    name: str
    bytes_per_second: float
    """Of its memory, the faster of a read and a copy."""
    operations_per_second: float
    """Of products of float16 that are accumulated in float32, by cuBLAS."""
    bus_bytes_per_second: float
    """From pinned memory of the host to the device."""

    def seconds_of_reads(self, examples: int, columns: int, reads: int) -> float:
        """Seconds that reading float16 data so many times takes."""
        return 2.0 * examples * columns * reads / self.bytes_per_second

    def seconds_of_operations(self, examples: int, columns: int, rank: int) -> float:
        """Seconds that the two products of an iteration take, each of 2 n d k operations."""
        return 4.0 * examples * columns * rank / self.operations_per_second

    def seconds_of_iteration(self, examples: int, columns: int, rank: int) -> float:
        """Seconds below which no iteration is: one read or the operations."""
        return max(
            self.seconds_of_reads(examples, columns, 1),
            self.seconds_of_operations(examples, columns, rank),
        )


def fastest(work: Callable[[], object], repeats: int = 10) -> float:
    """Seconds of the fastest of some calls on the device, after one that is not counted."""
    work()
    found = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / 1e3)
    return min(found)


def measure_floors(free_bytes: int) -> Floors:
    """Measure the current device, with a quarter of what is free at most."""
    memory = _memory_rate(min(4 << 30, free_bytes // 8))
    operations = _operation_rate(8192)
    bus = _bus_rate(1 << 30)
    torch.cuda.empty_cache()
    return Floors(torch.cuda.get_device_name(), memory, operations, bus)


def _memory_rate(size: int) -> float:
    a, b = (torch.ones(size // 4, device="cuda") for _ in range(2))
    return max(size / fastest(a.sum), 2.0 * size / fastest(lambda: b.copy_(a)))


def _operation_rate(side: int) -> float:
    a, b = (torch.ones(side, side, device="cuda", dtype=torch.float16) for _ in range(2))
    return 2.0 * side**3 / fastest(lambda: a @ b)


def _bus_rate(size: int) -> float:
    near = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    far = torch.empty(size, dtype=torch.uint8, device="cuda")
    return size / fastest(lambda: far.copy_(near, non_blocking=True), 5)
