"""Arrays of other libraries: in without a copy, out as they came."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cofactor as cf
from cofactor._arrays import is_foreign, like, to_host

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).random((30, 8)).astype(np.float32)


class FarArray:
    """An array that lies on a device of kind 2 (CUDA), as DLPack and the array API show one."""

    def __init__(self, values: np.ndarray, *, reachable: bool = True) -> None:
        self.values, self.reachable = values, reachable
        self.device = "far:0"

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **options: object) -> object:
        if not self.reachable or options.get("dl_device") != (1, 0) or not options.get("copy"):
            raise BufferError("memory of far:0")
        return self.values.copy().__dlpack__()

    def __array_namespace__(self) -> type:
        return FarNamespace


class FarNamespace:
    @staticmethod
    def asarray(values: np.ndarray, device: str) -> FarArray:
        assert device == "far:0"
        return FarArray(np.asarray(values))


class Context:
    """A device that is entered, as CuPy's are."""

    entered = 0

    def __enter__(self) -> None:
        Context.entered += 1

    def __exit__(self, *error: object) -> None:
        pass


class CupyLike(FarArray):
    """CuPy from before it knew DLPack's way to host memory."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values, reachable=False)
        self.device = Context()

    def get(self) -> np.ndarray:
        return self.values.copy()

    def __array_namespace__(self) -> type:
        return CupyNamespace


class CupyNamespace:
    @staticmethod
    def asarray(values: np.ndarray) -> CupyLike:
        return CupyLike(values)


def test_host_memory_is_shared() -> None:
    assert to_host(X).values is X
    tensor = torch.from_numpy(X)
    assert np.shares_memory(to_host(tensor).values, X)
    assert np.shares_memory(to_host(tensor.t()).values, X)
    assert np.shares_memory(to_host(torch.nn.Parameter(tensor)).values, X)
    assert not is_foreign(X)
    assert not is_foreign([1])
    assert is_foreign(tensor)


def test_bfloat16_travels_as_bits() -> None:
    tensor = torch.tensor([[1.0, 2.5]], dtype=torch.bfloat16)
    host = to_host(tensor)
    assert host.dtype == "bfloat16"
    assert host.values.dtype == np.uint16
    assert host.values.tolist() == [[0x3F80, 0x4020]]


def test_results_come_back_as_the_input_came() -> None:
    assert like(X, X) is X
    assert like(X, X.tolist()) is X
    tensor = like(X, torch.ones(2))
    assert isinstance(tensor, torch.Tensor)
    assert np.shares_memory(tensor.numpy(), X)
    far = like(X, FarArray(X))
    assert isinstance(far, FarArray)
    assert far.values is X
    before = Context.entered
    assert isinstance(like(X, CupyLike(X)), CupyLike)
    assert Context.entered == before + 1


def test_arrays_without_a_namespace_give_numpy() -> None:
    class Bare:
        def __dlpack__(self) -> object:
            return X.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    assert np.shares_memory(to_host(Bare()).values, X)
    assert like(X, Bare()) is X


@pytest.mark.parametrize("kind", [torch.from_numpy, FarArray, CupyLike])
def test_every_method_keeps_the_kind(kind: object) -> None:
    given = kind(X)
    nmf = cf.NMF(2, random_state=0, max_iter=5, tol=0)
    expected = cf.NMF(2, random_state=0, max_iter=5, tol=0).fit_transform(X)
    W = nmf.fit_transform(given)
    assert type(W) is type(given)
    back = nmf.inverse_transform(W)
    assert type(back) is type(given)
    assert np.array_equal(to_host(W).values, expected)
    assert np.array_equal(to_host(nmf.transform(given)).values, expected)
    assert isinstance(nmf.components_, np.ndarray)
    W, H, _ = cf.non_negative_factorization(given, n_components=2, random_state=0)
    assert type(W) is type(H) is type(given)


def test_bfloat16_is_fitted_in_place() -> None:
    tensor = torch.from_numpy(X).to(torch.bfloat16)
    nmf = cf.NMF(2, random_state=0, max_iter=5, tol=0)
    W = nmf.fit_transform(tensor)
    same = cf.NMF(2, random_state=0, max_iter=5, tol=0)
    assert W.dtype == torch.float32
    assert np.array_equal(W.numpy(), same.fit_transform(tensor.float().numpy()))


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (torch.ones(4, 3).to_sparse(), TypeError, "layout torch.sparse_coo.*expected a dense one"),
        (torch.ones(4, 3, dtype=torch.complex64), ValueError, "Complex data not supported"),
        (torch.ones(4, 3).to(torch.float8_e4m3fn), TypeError, "dtype torch.float8_e4m3fn; expect"),
        (FarArray(X, reachable=False), TypeError, r"FarArray whose memory NumPy cannot take \(mem"),
        (np.ma.masked_less(X, 0.5), ValueError, r"masked array with \d+ masked values; fill them"),
        (torch.from_numpy(X) - 0.5, ValueError, "Negative values in data passed to NMF"),
        (torch.full((4, 3), torch.nan, dtype=torch.bfloat16), ValueError, r"contains NaN or inf"),
    ],
)
def test_what_cannot_be_read_is_refused(
    array: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cf.NMF(2).fit(array)


def test_masked_arrays_without_masked_values_are_read() -> None:
    W = cf.NMF(2, random_state=0).fit_transform(np.ma.array(X))
    assert np.array_equal(W, cf.NMF(2, random_state=0).fit_transform(X))


def test_cupy_if_it_is_here() -> None:
    cupy = pytest.importorskip("cupy")
    try:
        given = cupy.asarray(X)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"CuPy has no device: {error}")
    assert isinstance(cf.NMF(2, random_state=0).fit_transform(given), cupy.ndarray)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device")
def test_tensors_of_a_cuda_device_stay_there() -> None:
    W = cf.NMF(2, random_state=0).fit_transform(torch.from_numpy(X).cuda())
    assert W.device.type == "cuda"


# Grows by packing buffers of 16 MiB and small things, and never by the 48 MiB of an input.
MEMORY = """
import numpy as np, torch, scipy.sparse, cofactor as cf, warnings
warnings.simplefilter("ignore")

def megabytes(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024

def growth(make):
    X = make()
    cf.NMF(2, init="random", max_iter=1).fit(X[:64])
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = megabytes("VmRSS")
    cf.NMF(2, init="random", max_iter=2).fit_transform(X)
    return megabytes("VmHWM") - before

def filled(X):
    X[...] = np.linspace(0, 1, X.shape[1], dtype=X.dtype) if X.dtype.kind == "f" else 1
    X[::3] *= 2
    return X

n, d = 3072, 4096
def readonly():
    X = filled(np.empty((n, d), np.float32)); X.flags.writeable = False; return X
layouts = {
    "rows": lambda: filled(np.empty((n, d), np.float32)),
    "columns": lambda: filled(np.empty((n, d), np.float32, order="F")),
    "every second": lambda: filled(np.empty((n, 2 * d), np.float32))[:, ::2],
    "reversed": lambda: filled(np.empty((n, d), np.float32))[::-1, ::-1],
    "big-endian": lambda: filled(np.empty((n, d), ">f4")),
    "int32": lambda: filled(np.empty((n, d), np.int32)),
    "read-only": readonly,
    "torch": lambda: torch.from_numpy(filled(np.empty((d, n), np.float32))).t(),
    "bfloat16": lambda: torch.ones(n, 2 * d, dtype=torch.bfloat16),
    "sparse": lambda: scipy.sparse.csr_array(
        (np.ones(4 * n, np.float32), np.arange(4 * n) % d, np.arange(0, 4 * n + 1, 4)),
        (n, d)),
}
for name, make in layouts.items():
    print(f"{name}: {growth(make):.0f}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_layout_takes_a_copy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=300
    )
    if "Permission denied: '/proc/self/clear_refs'" in done.stderr:
        pytest.skip("/proc/self/clear_refs may not be written")
    grown = dict(line.split(": ") for line in done.stdout.splitlines())
    assert len(grown) == 10, done.stderr
    assert all(float(megabytes) < 32 for megabytes in grown.values()), grown


def test_views_of_one_library_give_w_of_it() -> None:
    tensors = {"a": torch.from_numpy(X), "b": torch.from_numpy(X[:, :3].copy())}
    nmf = cf.CoupledNMF(2, random_state=0, max_iter=5, tol=0)
    W = nmf.fit_transform(tensors)
    assert isinstance(W, torch.Tensor)
    assert torch.equal(nmf.transform(tensors), W)
    assert all(isinstance(x, torch.Tensor) for x in nmf.inverse_transform(W).values())
    assert isinstance(nmf.W_, np.ndarray)
    assert isinstance(nmf.transform({**tensors, "b": X[:, :3]}), np.ndarray)


def test_w_on_disk_stays_there(tmp_path: Path) -> None:
    tensors = {"x": torch.from_numpy(X)}
    nmf = cf.CoupledNMF(2, random_state=0, max_iter=5, tol=0)
    expected = nmf.fit_transform(tensors)
    W = nmf.fit_transform(tensors, W_path=tmp_path / "W.npy")
    assert isinstance(W, np.memmap)
    assert np.array_equal(W, expected)
    assert isinstance(nmf.transform(tensors, W_path=tmp_path / "T.npy"), np.memmap)


def test_blocks_of_bfloat16_are_read_as_their_array() -> None:
    x = torch.from_numpy(X).bfloat16()
    nmf = cf.CoupledNMF(2, random_state=0, max_iter=5, tol=0).fit({"x": x})
    W = nmf.fit_transform([{"x": x[:7]}, {"x": x[7:].T.contiguous().T}])
    assert isinstance(W, np.ndarray)
    assert np.array_equal(W, nmf.transform({"x": x.float()}))
    with pytest.raises(ValueError, match=r"features of float32; .* of bfloat16"):
        nmf.fit([{"x": x[:7]}, {"x": x[7:].float()}])
