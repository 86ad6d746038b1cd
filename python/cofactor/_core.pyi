"""
Compiled core of cofactor. Private: use the classes of the package.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['EncodeResult', 'Engine', 'FitResult', 'FitTrace', 'IterationInfo', 'MachinePeak', 'PANEL_ROWS', 'Source', 'ViewStats', 'cuda_available', 'default_threads', 'identity_limit', 'measure_peak', 'simd_level', 'simd_levels']
class Source:
    """
    Views as lists of arrays, consecutive pieces of their rows. Keeps the arrays alive. Row-major ones are read in place; one of other layout, byte order or integers, or a sparse one in rows, is packed block by block.
    """
    def __init__(self, views: collections.abc.Sequence[collections.abc.Sequence[typing.Any]], dtypes: collections.abc.Sequence[str], scales: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, block_rows: typing.SupportsInt | typing.SupportsIndex = 0, threads: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        ...
    @property
    def n_rows(self) -> int:
        ...
class IterationInfo:
    """
    What a pass did for one fit.
    """
    @property
    def accepted(self) -> bool:
        ...
    @property
    def fit(self) -> int:
        ...
    @property
    def iteration(self) -> int:
        ...
    @property
    def loss(self) -> float:
        ...
    @property
    def seconds(self) -> float:
        ...
class FitTrace:
    """
    What one fit learned, apart from its factors.
    """
    @property
    def iterations(self) -> int:
        ...
    @property
    def losses(self) -> list[float]:
        ...
    @property
    def rejected_losses(self) -> list[float]:
        ...
    @property
    def reseeded(self) -> int:
        ...
    @property
    def stop_reason(self) -> str:
        ...
    @property
    def view_losses(self) -> list[float]:
        ...
class FitResult:
    @property
    def fits(self) -> list[FitTrace]:
        ...
    @property
    def passes(self) -> int:
        ...
class EncodeResult:
    @property
    def losses(self) -> list[float]:
        ...
    @property
    def view_losses(self) -> list[list[float]]:
        ...
class ViewStats:
    @property
    def minimum(self) -> float:
        ...
    @property
    def nonfinite(self) -> int:
        ...
    @property
    def sum_of_squares(self) -> float:
        ...
class Engine:
    """
    A problem, its data and its factors on one device.
    """
    def __init__(self, source: Source, *, ranks: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], weights: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], l1_w: typing.SupportsFloat | typing.SupportsIndex, l2_w: typing.SupportsFloat | typing.SupportsIndex, l1_h: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], l2_h: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], device: str, float64: bool, threads: typing.SupportsInt | typing.SupportsIndex, tolerance: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> None:
        ...
    def encode(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, exact: bool, w: numpy.ndarray | None) -> EncodeResult:
        ...
    def fit(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, max_iterations: typing.SupportsInt | typing.SupportsIndex, tolerance: typing.SupportsFloat | typing.SupportsIndex, extrapolate: bool, compute: str = 'full', verify: bool, progress: collections.abc.Callable[[IterationInfo], None] | None) -> FitResult:
        ...
    def h(self, view: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
        ...
    def half_step(self, w: numpy.ndarray | None) -> tuple[numpy.typing.NDArray[numpy.float64], list[numpy.typing.NDArray[numpy.float64]]]:
        """
        C = W^T W and S_v = W^T X_v for the non-negative W of the factors, written to w.
        """
    def power(self, y: numpy.ndarray | None, *, rounded: bool = False) -> tuple[numpy.typing.NDArray[numpy.float64], list[numpy.typing.NDArray[numpy.float64]]]:
        """
        C = Y^T Y and S_v = Y^T X_v for Y = sum_v w_v X_v H_v^T, written to y; products of numbers rounded to bfloat16 if asked for.
        """
    def scan(self) -> list[ViewStats]:
        ...
    def set_h(self, view: typing.SupportsInt | typing.SupportsIndex, h: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> None:
        ...
    @property
    def float64(self) -> bool:
        """
        Whether products are in float64.
        """
    @property
    def n_rows(self) -> int:
        ...
class MachinePeak:
    """
    What the machine can do at most, per second.
    """
    @property
    def bandwidth(self) -> float:
        """
        Bytes read from memory in order.
        """
    @property
    def bfloat16(self) -> float:
        """
        Operations of dot products of bfloat16; 0 where there is no unit for them.
        """
    @property
    def float32(self) -> float:
        """
        Operations of multiply-adds in float32 at the active level.
        """
def cuda_available() -> bool:
    """
    Whether device='cuda' can work here.
    """
def default_threads() -> int:
    """
    Threads used where none are named: the limit of threadpoolctl, COFACTOR_NUM_THREADS, OMP_NUM_THREADS, then the CPUs left by affinity and cgroup quota.
    """
def identity_limit(float64: bool) -> float:
    """
    Relative losses below this are lost to cancellation in the Gram identity.
    """
def measure_peak(threads: typing.SupportsInt | typing.SupportsIndex = 0) -> MachinePeak:
    """
    Measures the machine with so many threads at once (0: all), in about 0.3 s.
    """
def simd_level() -> str:
    """
    Instruction-set level of the CPU kernels; COFACTOR_SIMD forces one.
    """
def simd_levels() -> list[str]:
    """
    Levels that this build holds and this machine runs, from plain to wide.
    """
PANEL_ROWS: int = 512
