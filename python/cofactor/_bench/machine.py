"""What a machine can do at most, measured."""

from __future__ import annotations

from dataclasses import dataclass

from cofactor import _core
from cofactor._bench.checks import check_positive


@dataclass(frozen=True)
class Floor:
    """The two times that an iteration takes at least.

    Attributes
    ----------
    operations : float
        Seconds of the operations at the machine's peak.
    memory : float
        Seconds of reading the stored bytes at the machine's bandwidth.
    """

    operations: float
    memory: float

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.operations, self.memory)


@dataclass(frozen=True)
class Machine:
    """What a machine can do at most with so many threads.

    Attributes
    ----------
    threads : int
        Threads that work at once.
    level : str
        Instruction-set level of the kernels.
    peaks : dict of str to float
        Operations per second by kind of arithmetic: "float32" and, where there is a unit for it,
        "bfloat16".
    bandwidth : float
        Bytes per second, read in order from memory.
    """

    threads: int
    level: str
    peaks: dict[str, float]
    bandwidth: float

    def floor(self, operations: float, stored_bytes: float, compute: str = "float32") -> Floor:
        """Return the floor of work of so many operations, on so many stored bytes.

        Where there is no unit for `compute`, its operations are those of float32.
        """
        peak = self.peaks.get(compute, self.peaks["float32"])
        return Floor(operations / peak, stored_bytes / self.bandwidth)

    def best(self, other: Machine) -> Machine:
        """Return the better of two measurements, number by number."""
        peaks = {name: max(peak, other.peaks[name]) for name, peak in self.peaks.items()}
        return Machine(self.threads, self.level, peaks, max(self.bandwidth, other.bandwidth))


def measure_machine(n_threads: int | None = None) -> Machine:
    """Measure peak and bandwidth, in about 0.3 s.

    Parameters
    ----------
    n_threads : int or None, default=None
        Threads that work at once; None is as for :class:`cofactor.CoupledNMF`.

    Returns
    -------
    Machine
        The best of a few short runs.

    Raises
    ------
    ValueError
        If `n_threads` is less than 1.

    Examples
    --------
    >>> machine = measure_machine(1)
    >>> machine.peaks["float32"] > 1e8, machine.bandwidth > 1e8
    (True, True)
    """
    threads = _core.default_threads() if n_threads is None else n_threads
    check_positive("n_threads", threads)
    peak = _core.measure_peak(threads)
    peaks = {"float32": peak.float32, "bfloat16": peak.bfloat16}
    return Machine(
        threads,
        _core.simd_level(),
        {name: value for name, value in peaks.items() if value > 0},
        peak.bandwidth,
    )
