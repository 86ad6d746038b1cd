"""
Compiled core of cofactor. Private: use the classes of the package.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions
__all__: list[str] = ['CudaDevice', 'CudaInfo', 'DeviceMatrix', 'EncodeResult', 'Engine', 'FitResult', 'FitState', 'FitTrace', 'IterationInfo', 'LoopState', 'MachinePeak', 'PANEL_ROWS', 'ProductSide', 'RowTerms', 'SideSums', 'Source', 'ViewStats', 'bfloat16_is_faster', 'cuda_available', 'cuda_device_of', 'cuda_info', 'default_threads', 'identity_limit', 'measure_peak', 'simd_level', 'simd_levels', 'wait_for_cuda_stream']
class CudaDevice:
    """
    A GPU.
    """
    @property
    def bytes(self) -> int:
        """
        Of its memory.
        """
    @property
    def capability(self) -> str:
        """
        Compute capability, such as 9.0.
        """
    @property
    def name(self) -> str:
        ...
class CudaInfo:
    """
    What of CUDA there is.
    """
    @property
    def built(self) -> bool:
        """
        Whether this build has the CUDA backend.
        """
    @property
    def devices(self) -> list[CudaDevice]:
        ...
    @property
    def driver(self) -> str:
        """
        The latest version that the driver supports.
        """
    @property
    def missing(self) -> str:
        """
        Why there is no device to use; empty where there is one.
        """
    @property
    def runtime(self) -> str:
        """
        Version of CUDA that it was built with.
        """
class DeviceMatrix:
    """
    Rows in the memory of a CUDA device, whose owner they keep alive.
    """
    @staticmethod
    def at(address: typing.SupportsInt | typing.SupportsIndex, *, rows: typing.SupportsInt | typing.SupportsIndex, columns: typing.SupportsInt | typing.SupportsIndex, row_stride: typing.SupportsInt | typing.SupportsIndex, dtype: str, device: typing.SupportsInt | typing.SupportsIndex, writable: bool, owner: typing.Any) -> DeviceMatrix:
        """
        Of an address on a CUDA device; rows begin every row_stride numbers.
        """
    @staticmethod
    def from_dlpack(capsule: typing_extensions.CapsuleType) -> DeviceMatrix:
        """
        Of what __dlpack__ gave: a matrix on a CUDA device with contiguous rows of bool or of a dtype that the core reads.
        """
    @typing.overload
    def __getitem__(self, parts: tuple[slice, slice]) -> DeviceMatrix:
        """
        Some rows and columns, where they lie.
        """
    @typing.overload
    def __getitem__(self, rows: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]) -> numpy.ndarray:
        """
        A copy of the rows of these numbers in the CPU's memory; bfloat16 as its 16 bits.
        """
    @property
    def address(self) -> int:
        ...
    @property
    def device(self) -> int:
        """
        Number of the CUDA device.
        """
    @property
    def dtype(self) -> str:
        ...
    @property
    def row_stride(self) -> int:
        ...
    @property
    def shape(self) -> tuple[int, int]:
        ...
    @property
    def writable(self) -> bool:
        ...
class Source:
    """
    Rows of all views, a block at a time.
    """
    @staticmethod
    def from_blocks(start: collections.abc.Callable[[], collections.abc.Iterator[list[typing.Any]]], columns: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], dtypes: collections.abc.Sequence[str], scales: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, n_rows: typing.SupportsInt | typing.SupportsIndex, threads: typing.SupportsInt | typing.SupportsIndex = 0, device: typing.SupportsInt | typing.SupportsIndex | None = None) -> Source:
        """
        Of start(), which is called for every pass and gives an iterator of lists of arrays as above, one a view, all on that CUDA device, if one is named. The number of rows is known after a pass.
        """
    @staticmethod
    def from_files(files: collections.abc.Sequence[collections.abc.Sequence[tuple[str, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]]], columns: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], dtypes: collections.abc.Sequence[str], scales: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, negative: collections.abc.Sequence[tuple[str, typing.SupportsFloat | typing.SupportsIndex]], selection: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] | None, block_rows: typing.SupportsInt | typing.SupportsIndex, kept_bytes: typing.SupportsInt | typing.SupportsIndex, cuts: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]] | None = None) -> Source:
        """
        Of lists of (path, offset in bytes, rows) that hold a view's rows one after the other. Of these the selection, if there is one, in its order. To negative values happens what `negative` says for each view: keep, relu, shift or split, and the minimum for shift. Cuts, if any, are the views to give: (view, first column, column after the last).
        """
    def __init__(self, views: collections.abc.Sequence[collections.abc.Sequence[typing.Any]], dtypes: collections.abc.Sequence[str], scales: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, block_rows: typing.SupportsInt | typing.SupportsIndex = 0, threads: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        """
        Of lists of arrays, consecutive pieces of each view's rows, which are kept alive. Row-major ones are read in place; one of other layout, byte order or integers, or a sparse one in rows, is packed block by block. All are DeviceMatrix, on one CUDA device, or none is.
        """
    @property
    def device(self) -> int | None:
        """
        Number of the CUDA device that the rows are on; None where they are not on one.
        """
    @property
    def n_rows(self) -> int:
        ...
class RowTerms:
    """
    What a problem knows of single rows: weights, which views they have (an index into patterns of one flag a view) and their groups.
    """
    def __init__(self, *, weight: typing.Annotated[numpy.typing.ArrayLike, numpy.float64] | None = None, pattern: typing.Annotated[numpy.typing.ArrayLike, numpy.int32] | None = None, patterns: collections.abc.Sequence[collections.abc.Sequence[bool]] = [], group: typing.Annotated[numpy.typing.ArrayLike, numpy.int32] | None = None, n_groups: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
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
    stop_reason: str
    def __init__(self) -> None:
        ...
    @property
    def iterations(self) -> int:
        ...
    @iterations.setter
    def iterations(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def losses(self) -> list[float]:
        ...
    @losses.setter
    def losses(self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]) -> None:
        ...
    @property
    def rejected_losses(self) -> list[float]:
        ...
    @rejected_losses.setter
    def rejected_losses(self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]) -> None:
        ...
    @property
    def reseeded(self) -> int:
        ...
    @reseeded.setter
    def reseeded(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def view_losses(self) -> list[list[float]]:
        ...
    @view_losses.setter
    def view_losses(self, arg0: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]]) -> None:
        ...
class FitState:
    """
    Where one fit stands between two iterations.
    """
    done: bool
    extrapolated: bool
    slow: bool
    def __init__(self, extrapolate: bool, momentum: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def extrapolate(self) -> bool:
        ...
    @property
    def momentum(self) -> float:
        ...
    @property
    def objective(self) -> float:
        ...
    @objective.setter
    def objective(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def reseeds_left(self) -> int:
        ...
    @reseeds_left.setter
    def reseeds_left(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class LoopState:
    """
    All that the next iteration reads beside factors.
    """
    may_switch: bool
    def __init__(self) -> None:
        ...
    @property
    def fits(self) -> list[FitState]:
        ...
    @fits.setter
    def fits(self, arg0: collections.abc.Sequence[FitState]) -> None:
        ...
    @property
    def iterations(self) -> int:
        ...
    @iterations.setter
    def iterations(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def passes(self) -> int:
        ...
    @passes.setter
    def passes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def traces(self) -> list[FitTrace]:
        ...
    @traces.setter
    def traces(self, arg0: collections.abc.Sequence[FitTrace]) -> None:
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
    def __init__(self, source: Source, *, ranks: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], weights: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], l1_w: typing.SupportsFloat | typing.SupportsIndex, l2_w: typing.SupportsFloat | typing.SupportsIndex, l1_h: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], l2_h: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], device: str, float64: bool, threads: typing.SupportsInt | typing.SupportsIndex, fixed: collections.abc.Sequence[bool] = [], unit_rows: bool = False, group_penalty: typing.SupportsFloat | typing.SupportsIndex = 0.0, row_terms: RowTerms | None = None, reduce: collections.abc.Callable[[numpy.typing.NDArray[numpy.float64] | DeviceMatrix], None] | None = None, exchange: collections.abc.Callable[[bytes], list[bytes]] | None = None, reduce_on_device: bool = False) -> None:
        """
        `device` is cpu, cuda or cuda:N. `reduce` adds up an array of float64 over all processes, in place, and `exchange` gives the bytes of all of them; without these there is one process. With `reduce_on_device` the array is a DeviceMatrix of one row where the sums are on a CUDA device.
        """
    def encode(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, exact: bool, w: numpy.ndarray | None) -> EncodeResult:
        ...
    def encode_to_device(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, exact: bool, w: DeviceMatrix) -> EncodeResult:
        """
        As encode, with W written to the memory of the CUDA device that the engine is on.
        """
    def encode_to_file(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, exact: bool, descriptor: typing.SupportsInt | typing.SupportsIndex, path: str, offset: typing.SupportsInt | typing.SupportsIndex) -> EncodeResult:
        """
        As encode, with W written to an open file, row 0 at the offset.
        """
    def fit(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], *, max_iterations: typing.SupportsInt | typing.SupportsIndex, tolerance: typing.SupportsFloat | typing.SupportsIndex, extrapolate: bool, compute: str = 'full', verify: bool, progress: collections.abc.Callable[[IterationInfo], None] | None, state: LoopState | None = None, checkpoint: collections.abc.Callable[[LoopState], None] | None = None, checkpoint_every: typing.SupportsInt | typing.SupportsIndex = 1, drop_finished: bool = False) -> FitResult:
        ...
    def h(self, view: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
        ...
    def online(self, sum_of_squares: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], past: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], *, iterations: typing.SupportsInt | typing.SupportsIndex) -> tuple[FitTrace, numpy.typing.NDArray[numpy.float64]]:
        ...
    def power(self, y: numpy.ndarray | None, sample: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] | None = None, *, rounded: bool = False) -> tuple[numpy.typing.NDArray[numpy.float64], list[numpy.typing.NDArray[numpy.float64]]]:
        """
        C = Y^T Y and S_v = Y^T X_v for Y = sum_v w_v X_v H_v^T, written to y, or some of its rows; products of numbers rounded to bfloat16 if asked for.
        """
    def previous_h(self, view: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.float64]:
        ...
    def scan(self) -> list[ViewStats]:
        ...
    def set_h(self, view: typing.SupportsInt | typing.SupportsIndex, h: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> None:
        ...
    def set_previous_h(self, view: typing.SupportsInt | typing.SupportsIndex, h: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> None:
        ...
    @property
    def float64(self) -> bool:
        """
        Whether products are in float64.
        """
    @property
    def group_norms(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        Norms of W by group and component, at which the penalty on groups is majorised.
        """
    @group_norms.setter
    def group_norms(self, arg1: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> None:
        ...
    @property
    def n_rows(self) -> int:
        ...
    @property
    def row_weight(self) -> numpy.typing.NDArray[numpy.float64] | None:
        """
        Weights of the rows, if any.
        """
class SideSums:
    """
    What a factor of one side says to the other.
    """
    @property
    def coefficients(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        X U^T, k x r.
        """
    @property
    def cross(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        X' X^T with the accepted factor X', k x k.
        """
    @property
    def gram(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        X X^T, k x k.
        """
    @property
    def penalty(self) -> float:
        """
        l1 ||X||_1 + l2 / 2 ||X||_F^2.
        """
class ProductSide:
    """
    Coordinate descent for the factor of one side of a product U^T diag(s) V.
    """
    def __init__(self, basis: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], singular: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], *, components: typing.SupportsInt | typing.SupportsIndex, l1: typing.SupportsFloat | typing.SupportsIndex, l2: typing.SupportsFloat | typing.SupportsIndex, float64: bool, threads: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def accept(self) -> None:
        """
        Accepts the factor that descend led to.
        """
    def descend(self, coefficients: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], gram: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], *, sweeps: typing.SupportsInt | typing.SupportsIndex) -> SideSums:
        """
        Sweeps from the accepted factor on, with X U^T and X X^T of the other side's factor.
        """
    def factor(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        The accepted factor, k x n.
        """
    def start(self, x: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> SideSums:
        """
        Sets the accepted factor, k x n.
        """
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
def bfloat16_is_faster() -> bool:
    """
    Whether the CPU kernels multiply bfloat16 faster than float32 on this kind of processor.
    """
def cuda_available() -> bool:
    """
    Whether device='cuda' can work here.
    """
def cuda_device_of(address: typing.SupportsInt | typing.SupportsIndex) -> int:
    """
    Number of the CUDA device that an address lies on.
    """
def cuda_info() -> CudaInfo:
    """
    What of CUDA there is in this build and on this machine.
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
def wait_for_cuda_stream(device: typing.SupportsInt | typing.SupportsIndex, stream: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Waits until a stream of a CUDA device has done what it was given: 1 is its legacy default stream, 2 this thread's, and more is a handle.
    """
PANEL_ROWS: int = 512
