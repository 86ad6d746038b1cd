"""Arrays on a CUDA device: how they are taken and given. The device is fake, see fake_cuda.py."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cofactor as cf
import fake_cuda
from cofactor import _core
from cofactor._arrays import times, to_host
from cofactor._device_arrays import are_on_device, empty_beside, is_on_device, to_device_matrix
from fake_cuda import (
    CAPSULES,
    MANAGED,
    ROCM,
    Cupy,
    CupyArray,
    DeviceArray,
    FakeCuda,
    InterfaceArray,
    OldDeviceArray,
    on_host,
)

X = np.random.default_rng(0).random((700, 40)).astype(np.float32)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return fake_cuda.install(monkeypatch)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", Cupy)


class TestDeviceMatrix:
    @pytest.mark.parametrize("version", [None, (1, 0), (1, 3)])
    @pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
    def test_is_what_dlpack_describes(self, version: tuple[int, int] | None, dtype: str) -> None:
        values = X.astype(dtype)[3:, 2:20]
        capsule = CAPSULES.make(values, version=version, device=(fake_cuda.CUDA, 2))
        matrix = _core.DeviceMatrix.from_dlpack(capsule)
        assert (matrix.shape, matrix.dtype, matrix.device) == (values.shape, dtype, 2)
        assert (matrix.address, matrix.row_stride) == (values.ctypes.data, 40)
        assert matrix.writable
        assert np.array_equal(on_host(matrix), values)

    def test_other_ways_to_say_the_same(self) -> None:
        bits = np.arange(6, dtype=np.uint16).reshape(2, 3)
        capsule = CAPSULES.make(bits, bfloat16=True, compact=True, read_only=True)
        matrix = _core.DeviceMatrix.from_dlpack(capsule)
        assert (matrix.dtype, matrix.row_stride, matrix.writable) == ("bfloat16", 3, False)
        flags = np.ones((2, 3), np.bool_)
        capsule = CAPSULES.make(flags, device=(MANAGED, 0))
        assert _core.DeviceMatrix.from_dlpack(capsule).dtype == "uint8"
        # Of a single row or column a stride says nothing.
        for one in (X[:1, ::2][:, :1], np.asfortranarray(X[:1]), np.asfortranarray(X[:, :1])):
            assert _core.DeviceMatrix.from_dlpack(CAPSULES.make(one)).shape == one.shape

    def test_the_owner_lives_as_long_as_the_last_part(self) -> None:
        before = len(CAPSULES.held)
        capsule = CAPSULES.make(X.copy())
        matrix = _core.DeviceMatrix.from_dlpack(capsule)
        part = matrix[1::2, 3:5]
        del matrix, capsule
        gc.collect()
        assert len(CAPSULES.held) == before + 1
        assert np.array_equal(on_host(part), X[1::2, 3:5])
        del part
        gc.collect()
        assert len(CAPSULES.held) == before

    @pytest.mark.parametrize(
        ("options", "values", "error", "message"),
        [
            ({"device": (ROCM, 0)}, X, TypeError, "device type 10 was given; expected that of a C"),
            ({"version": (2, 0)}, X, TypeError, "DLPack of version 2 was given; expected version"),
            ({}, X[0], ValueError, "1 dimensions were given; expected rows x columns"),
            ({}, X.T, ValueError, "strides of 1 and 40 numbers were given; expected rows that are"),
            ({}, X[:, ::2], ValueError, "strides of 40 and 2 numbers"),
            ({}, X[::-1], ValueError, "strides of -40 and 1 numbers"),
            ({}, np.broadcast_to(X[0], (3, 40)), ValueError, "strides of 0 and 1 numbers"),
            ({}, X.astype(np.int32), TypeError, "32 bits and DLPack's type code 0 were given"),
            ({}, X.astype(np.complex64), TypeError, "64 bits and DLPack's type code 5 were given"),
        ],
    )
    def test_what_kernels_cannot_read_is_refused_and_given_back(
        self, options: dict[str, Any], values: np.ndarray, error: type[Exception], message: str
    ) -> None:
        before = len(CAPSULES.held)
        with pytest.raises(error, match=message):
            _core.DeviceMatrix.from_dlpack(CAPSULES.make(values, **options))
        # What was looked at was taken, and goes back; what was not stays its producer's.
        gc.collect()
        assert len(CAPSULES.held) == before + ("version" in options)

    def test_a_capsule_is_taken_once(self) -> None:
        capsule = CAPSULES.make(X)
        _core.DeviceMatrix.from_dlpack(capsule)
        with pytest.raises(TypeError, match=r"'used_dltensor_versioned' was given; expected one"):
            _core.DeviceMatrix.from_dlpack(capsule)

    def test_parts_are_views(self) -> None:
        matrix = _core.DeviceMatrix.from_dlpack(CAPSULES.make(X))
        for rows, columns in [
            (slice(None), slice(None)),
            (slice(2, 500, 3), slice(1, 4)),
            (slice(690, None), slice(39, None)),
            (slice(5, 5), slice(0, 2)),
        ]:
            part = matrix[rows, columns]
            assert part.shape == X[rows, columns].shape
            assert np.array_equal(on_host(part), X[rows, columns])
            assert np.array_equal(on_host(part[1::2, 0:1]), X[rows, columns][1::2, 0:1])
        with pytest.raises(ValueError, match="ascending rows and columns in a run"):
            matrix[::-1, :]
        with pytest.raises(ValueError, match="ascending rows and columns in a run"):
            matrix[:, ::2]

    @pytest.mark.skipif(_core.cuda_available(), reason="there is a CUDA device")
    def test_without_cuda_nothing_is_copied_or_waited_for(self) -> None:
        matrix = _core.DeviceMatrix.from_dlpack(CAPSULES.make(X))
        with pytest.raises(ValueError, match="there is no row 700 of 700"):
            matrix[np.array([700])]
        with pytest.raises(RuntimeError, match=r"(?i)cuda"):
            matrix[np.array([0])]
        with pytest.raises(RuntimeError, match=r"(?i)cuda"):
            _core.wait_for_cuda_stream(0, 1)
        with pytest.raises(RuntimeError, match=r"(?i)cuda"):
            _core.cuda_device_of(matrix.address)


class TestSource:
    @staticmethod
    def matrix(values: np.ndarray, device: int = 0) -> _core.DeviceMatrix:
        return _core.DeviceMatrix.from_dlpack(
            CAPSULES.make(values, device=(fake_cuda.CUDA, device))
        )

    def test_says_where_its_rows_are(self) -> None:
        source = _core.Source([[self.matrix(X[:300]), self.matrix(X[300:])]], ["float32"], [1.0])
        assert (source.device, source.n_rows) == (0, 700)
        assert _core.Source([[X]], ["float32"], [1.0]).device is None

    def test_the_cpu_does_not_read_it(self) -> None:
        source = _core.Source([[self.matrix(X)]], ["float32"], [1.0])
        options = {"l1_w": 0.0, "l2_w": 0.0, "l1_h": [0.0], "l2_h": [0.0], "float64": False}
        with pytest.raises(ValueError, match="on a CUDA device; expected device='cuda'"):
            _core.Engine(source, ranks=[1], weights=[1.0], device="cpu", threads=1, **options)

    @pytest.mark.parametrize(
        ("views", "error", "message"),
        [
            (lambda m: [[m(X), X]], TypeError, "number 0 is in other memory than the first"),
            (lambda m: [[X], [m(X)]], TypeError, "number 1 is in other memory than the first"),
            (lambda m: [[m(X)], [m(X, 1)]], ValueError, "number 1 is on CUDA device 1 and another"),
            (lambda m: [[m(X), m(X[:, 1:])]], ValueError, "differ in their number of columns"),
            (lambda m: [[m(X)], [m(X[1:])]], ValueError, "number 1 has 699 rows, the first view"),
            (lambda m: [[m(X.astype("f8"))]], TypeError, "another dtype than its source says"),
            (lambda m: [[m(X)], []], ValueError, "a view needs at least one array"),
        ],
    )
    def test_views_that_do_not_fit_are_refused(
        self, views: Callable[[Any], Any], error: type[Exception], message: str
    ) -> None:
        given = views(self.matrix)
        with pytest.raises(error, match=message):
            _core.Source(given, ["float32"] * len(given), [1.0] * len(given))


class TestTaking:
    def test_arrays_say_where_they_are(self) -> None:
        torch = pytest.importorskip("torch")
        for far in (DeviceArray(X), DeviceArray(X, kind=MANAGED), InterfaceArray(X)):
            assert is_on_device(far)
        for near in (X, X.tolist(), torch.ones(2, 2), DeviceArray(X, kind=ROCM), None):
            assert not is_on_device(near)

    @pytest.mark.parametrize("kind", [DeviceArray, OldDeviceArray])
    def test_dlpack_is_asked_for_the_default_stream(
        self, device: FakeCuda, kind: type[DeviceArray]
    ) -> None:
        array = kind(X, device=1)
        matrix = to_device_matrix(array, "view 'x'")
        assert array.streams == [1]
        assert device.waited == [(1, 1)]
        assert matrix.address == X.ctypes.data

    @pytest.mark.parametrize(
        ("entries", "waited"),
        [
            ({}, [(0, 1)]),
            ({"stream": None}, []),
            ({"stream": 2}, [(0, 2)]),
            ({"stream": 0x7F00}, [(0, 0x7F00)]),
            ({"version": 2}, [(0, 1)]),
        ],
    )
    def test_the_stream_of_an_interface_is_waited_for(
        self, device: FakeCuda, entries: dict[str, Any], waited: list[tuple[int, int]]
    ) -> None:
        matrix = to_device_matrix(InterfaceArray(X[:, 1:7], **entries), "view 'x'")
        assert np.array_equal(on_host(matrix), X[:, 1:7])
        assert device.waited == waited

    def test_an_interface_keeps_its_object(self, device: FakeCuda) -> None:
        array = InterfaceArray(X, data=(X.ctypes.data, True))
        before = sys.getrefcount(array)
        matrix = to_device_matrix(array, "view 'x'")
        assert sys.getrefcount(array) == before + 1
        assert not matrix.writable
        del matrix
        assert sys.getrefcount(array) == before

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "float32", "float64"])
    def test_kept_dtypes_are_not_copied(self, device: FakeCuda, dtype: str) -> None:
        values = (X > 0.5).astype(dtype)
        for array in (CupyArray(values), InterfaceArray(values)):
            matrix = to_device_matrix(array, "view 'x'")
            assert matrix.address == values.ctypes.data
            assert matrix.dtype == ("uint8" if dtype == "bool" else dtype)

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            ((9 * X).astype(np.int8), "float32"),
            ((9 * X).astype(np.uint16), "float32"),
            ((9 * X).astype(np.int32), "float64"),
            ((9 * X).astype(np.uint64), "float64"),
            (np.asfortranarray(X), "float32"),
            (X[:, ::2].astype(np.float16)[:, ::2], "float16"),
            (X[::-1], "float32"),
            (np.broadcast_to(X[0], (3, 40)), "float32"),
            (np.asfortranarray((9 * X).astype(np.int16)), "float32"),
        ],
    )
    def test_others_are_converted_by_their_library(
        self, device: FakeCuda, values: np.ndarray, dtype: str
    ) -> None:
        matrix = to_device_matrix(CupyArray(values), "view 'x'")
        assert matrix.dtype == dtype
        assert np.array_equal(on_host(matrix), values)

    @pytest.mark.parametrize(
        ("array", "error", "message"),
        [
            (CupyArray(X.astype("c8")), TypeError, "^view 'x' has dtype complex64; expected real"),
            (DeviceArray(X.T), TypeError, r"^view 'x' is .*DeviceArray .* \(strides of 1 and 40"),
            (InterfaceArray(X.T), TypeError, r"InterfaceArray .* \(strides of 4 and 160 bytes\)"),
            (InterfaceArray(X.astype("i4")), TypeError, r"\(dtype int32\); pass a matrix of float"),
            (InterfaceArray(X.astype(">f4")), TypeError, "numbers of another byte order"),
            (InterfaceArray(X, mask=InterfaceArray(X)), ValueError, "'x' has masked values; fill"),
        ],
    )
    def test_what_nobody_converts_is_refused(
        self, device: FakeCuda, array: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            to_device_matrix(array, "view 'x'")

    def test_views_in_several_places_are_refused(self, device: FakeCuda) -> None:
        mixed = {"a": DeviceArray(X), "b": X}
        with pytest.raises(
            ValueError, match=r"view\(s\) 'a' on a CUDA device and 'b' in the CPU's"
        ):
            cf.CoupledNMF(2).fit(mixed)
        far = {"a": DeviceArray(X), "b": DeviceArray(X, device=1)}
        with pytest.raises(ValueError, match="several GPUs: 'a' on cuda:0, 'b' on cuda:1; a fit"):
            cf.CoupledNMF(2).fit(far)
        assert not are_on_device(mixed, "cpu", "fit")

    @pytest.mark.parametrize(
        ("X", "message"),
        [
            (DeviceArray(X[0]), r"shape \(40,\); expected \(n_examples, n_columns\)"),
            (DeviceArray(X[:, :0]), r"0 feature\(s\) \(shape=\(700, 0\)\)"),
            (InterfaceArray(X.reshape(70, 10, 40)), r"flatten it with x.reshape\(len\(x\), -1\)"),
            (DeviceArray(X[:0]), "Found .* with 0 "),
            (DeviceArray(X - 0.5), "Negative values in data passed to"),
            (DeviceArray(np.where(X > 0.5, X, np.nan)), "contains NaN or infinity"),
        ],
    )
    def test_bad_values_and_shapes_are_refused(
        self, device: FakeCuda, X: Any, message: str
    ) -> None:
        for fit in (lambda: cf.NMF(2).fit(X), lambda: cf.CoupledNMF(2).fit({"x": X})):
            with pytest.raises(ValueError, match=message):
                fit()

    @pytest.mark.skipif(_core.cuda_available(), reason="there is a CUDA device")
    def test_where_there_is_no_cuda(self) -> None:
        far = CupyArray(X)
        expected = cf.NMF(2, random_state=0, max_iter=5, tol=0).fit_transform(X)
        for place in ("auto", "cpu"):
            W = cf.NMF(2, random_state=0, max_iter=5, tol=0, device=place).fit_transform(far)
            assert np.array_equal(W.values, expected)
        W = cf.NMF(2, random_state=0, max_iter=5, tol=0).fit_transform(InterfaceArray(X))
        assert np.array_equal(W, expected)
        with pytest.raises(RuntimeError, match=r"(?i)cuda"):
            cf.NMF(2, device="cuda").fit(far)


class TestTorch:
    """Tensors are the CPU's; what makes them readable does not look at where they are."""

    def readable(self, tensor: Any) -> Any:
        from cofactor._device_arrays import _readable_tensor

        return _readable_tensor(tensor, pytest.importorskip("torch"), "view 'x'")

    def test_kept_dtypes_and_layouts_are_not_copied(self) -> None:
        torch = pytest.importorskip("torch")
        for dtype in ("uint8", "float16", "bfloat16", "float32", "float64", "bool"):
            tensor = torch.ones(6, 8, dtype=getattr(torch, dtype))
            for given in (tensor, tensor[1::2, 2:5], torch.nn.Parameter(tensor, False)):
                taken = self.readable(given)
                assert taken.data_ptr() == given.data_ptr()
                assert str(taken.dtype) == f"torch.{'uint8' if dtype == 'bool' else dtype}"

    def test_others_are_converted(self) -> None:
        torch = pytest.importorskip("torch")
        x = torch.arange(48).reshape(6, 8)
        for dtype, expected in [("int8", "float32"), ("int16", "float32"), ("int64", "float64")]:
            taken = self.readable(x.to(getattr(torch, dtype)))
            assert taken.dtype is getattr(torch, expected)
            assert torch.equal(taken, x.to(taken.dtype))
        for given in (x.float().T, x.float()[:, ::2], x.float()[:1].expand(5, 8)):
            assert self.readable(given).is_contiguous()
            assert torch.equal(self.readable(given), given)
        weighted = torch.ones(2, 3, requires_grad=True)
        assert not self.readable(weighted).requires_grad

    def test_others_are_refused(self) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match=r"layout torch\.sparse_coo; expected a dense one"):
            self.readable(torch.ones(2, 3).to_sparse())
        with pytest.raises(TypeError, match="view 'x' has dtype complex64; expected real numbers"):
            self.readable(torch.ones(2, 3, dtype=torch.complex64))

    def test_nothing_imports_torch_or_cupy(self) -> None:
        program = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import fake_cuda, numpy as np, pytest, cofactor as cf\n"
            "with pytest.MonkeyPatch.context() as patch:\n"
            "    fake_cuda.install(patch)\n"
            "    X = fake_cuda.DeviceArray(np.random.default_rng(0).random((50, 4)))\n"
            "    nmf = cf.CoupledNMF(2, tol=1e-2).fit({'x': X})\n"
            "    nmf.inverse_transform(nmf.transform({'x': X}))\n"
            "print([name for name in ('torch', 'cupy') if name in sys.modules])\n"
        )
        here = str(Path(__file__).parent)
        done = subprocess.run(
            [sys.executable, "-c", program, here], capture_output=True, text=True, check=False
        )
        assert done.stdout == "[]\n", done.stderr


def options(**more: Any) -> dict[str, Any]:
    return {"random_state": 0, "max_iter": 8, "tol": 0, **more}


class TestFits:
    """What the device is given is what the CPU would have read: the same bits come out."""

    def test_nmf(self, device: FakeCuda, cupy: None) -> None:
        far = CupyArray(X)
        nmf, near = cf.NMF(3, **options()), cf.NMF(3, **options())
        W, expected = nmf.fit_transform(far), near.fit_transform(X)
        assert type(W) is CupyArray
        assert np.array_equal(W.values, expected)
        assert np.array_equal(nmf.components_, near.components_)
        # Some of the CPU's are for data on the host: the start reads what it has compressed.
        assert device.read[0]
        assert "cuda" in device.engines
        W = nmf.transform(far)
        assert type(W) is CupyArray
        assert np.array_equal(W.values, expected)
        back = nmf.inverse_transform(W)
        assert type(back) is CupyArray
        assert np.array_equal(back.values, expected @ near.components_)
        assert nmf.n_features_in_ == 40
        with pytest.raises(ValueError, match=r"40 features|expecting 40"):
            nmf.transform(CupyArray(X[:, 1:]))
        W, H, _ = cf.non_negative_factorization(far, n_components=3, random_state=0)
        assert type(W) is type(H) is CupyArray

    @pytest.mark.parametrize("init", ["random", "sample", "compressed", "nndsvd"])
    def test_views_of_every_dtype_from_every_start(self, device: FakeCuda, init: Any) -> None:
        rng = np.random.default_rng(1)
        near = {
            "bytes": rng.integers(0, 255, (3000, 70), np.uint8),
            "half": rng.random((3000, 400)).astype(np.float16),
            "single": rng.random((3000, 50)).astype(np.float32)[:, 3:],
        }
        far = {name: DeviceArray(values) for name, values in near.items()}
        expected = cf.CoupledNMF(4, init=init, **options()).fit(near)
        device.read.clear()
        nmf = cf.CoupledNMF(4, init=init, **options()).fit(far)
        assert device.read[0]
        assert (device.fetched > 0) == (init in ("sample", "compressed"))
        assert nmf.loss_history_ == expected.loss_history_
        assert nmf.sample_losses_ == expected.sample_losses_
        assert isinstance(nmf.W_, np.ndarray)
        assert np.array_equal(nmf.W_, expected.W_)
        for name in near:
            assert np.array_equal(nmf.components_[name], expected.components_[name])

    def test_terms_of_examples(self, device: FakeCuda) -> None:
        near = {"a": X[:, :25], "b": X[:, 25:]}
        far = {name: DeviceArray(values) for name, values in near.items()}
        rng = np.random.default_rng(2)
        terms = {
            "mask": {"b": rng.random(700) < 0.7},
            "sample_weight": rng.random(700),
            "groups": rng.integers(0, 4, 700),
        }
        given = {
            "mask": {"b": DeviceArrayOnHost(terms["mask"]["b"])},
            "sample_weight": DeviceArrayOnHost(terms["sample_weight"]),
            "groups": DeviceArrayOnHost(terms["groups"]),
        }
        made = options(alpha_W=1e-3, group_sparsity=0.1)
        expected = cf.CoupledNMF(3, **made).fit(near, **terms)
        nmf = cf.CoupledNMF(3, **made).fit(far, **given)
        assert nmf.loss_history_ == expected.loss_history_
        W = nmf.transform(far, mask=given["mask"], groups=given["groups"])
        assert np.array_equal(
            W, expected.transform(near, mask=terms["mask"], groups=terms["groups"])
        )

    def test_many_fits_and_held_out_data(self, device: FakeCuda) -> None:
        near = {"a": X[:, :25], "b": X[:, 25:]}
        far = {name: DeviceArray(values) for name, values in near.items()}
        given = {"max_iter": 5, "tol": 0}
        expected = cf.fit_many(near, [2, 3], seeds=2, **given)
        assert np.array_equal(cf.fit_many(far, [2, 3], seeds=2, **given).losses, expected.losses)
        from cofactor.selection import bi_cross_validation

        tables = [
            bi_cross_validation(views, [2], seeds=1, init="random", **given)["held_out_loss"]
            for views in (near, far)
        ]
        assert np.array_equal(*tables)

    def test_blocks(self, device: FakeCuda) -> None:
        class Blocks:
            def __init__(self, kind: Callable[[np.ndarray], Any]) -> None:
                self.kind = kind

            def __iter__(self) -> Iterator[dict[str, Any]]:
                for first in range(0, 700, 300):
                    yield {"x": self.kind(X[first : first + 300])}

        expected = cf.CoupledNMF(3, **options()).fit(Blocks(np.copy))
        device.read.clear()
        nmf = cf.CoupledNMF(3, **options()).fit(Blocks(DeviceArray))
        assert device.read[0]
        assert nmf.loss_history_ == expected.loss_history_
        assert np.array_equal(nmf.W_, expected.W_)
        kinds = iter([DeviceArray, np.copy, np.copy])
        mixed = Blocks(lambda x: next(kinds)(x))
        with pytest.raises(
            ValueError, match="block 1 is in the CPU's memory and the first is on a"
        ):
            cf.CoupledNMF(3).fit(mixed)

    def test_online(self, device: FakeCuda) -> None:
        fits = [cf.CoupledNMF(3, random_state=0) for _ in range(2)]
        for first in range(0, 700, 100):
            block = X[first : first + 100]
            fits[0].partial_fit({"x": block})
            fits[1].partial_fit({"x": DeviceArray(block)})
        assert fits[0].loss_history_ == fits[1].loss_history_
        assert np.array_equal(fits[0].components_["x"], fits[1].components_["x"])

    def test_w_beside_the_views(self, device: FakeCuda, cupy: None, tmp_path: Path) -> None:
        near = {"a": X[:, :25], "b": X[:, 25:]}
        far = {name: CupyArray(values) for name, values in near.items()}
        nmf = cf.CoupledNMF(3, **options())
        W = nmf.fit_transform(far)
        assert type(W) is CupyArray
        assert np.array_equal(W.values, nmf.W_)
        assert np.array_equal(nmf.transform(far).values, nmf.W_)
        # What is not of one library has none to go to, and what goes to a file stays there.
        assert isinstance(nmf.transform({**far, "b": DeviceArray(near["b"])}), np.ndarray)
        assert isinstance(nmf.transform(far, W_path=tmp_path / "W.npy"), np.memmap)
        for name, back in nmf.inverse_transform(W).items():
            assert type(back) is CupyArray
            assert np.array_equal(back.values, nmf.W_ @ nmf.components_[name])

    def test_float64(self, device: FakeCuda, cupy: None) -> None:
        far = {"x": CupyArray(X.astype(np.float64))}
        nmf = cf.CoupledNMF(3, **options()).fit(far)
        W = nmf.transform(far)
        assert W.values.dtype == np.float64
        assert np.array_equal(W.values, nmf.W_)


class DeviceArrayOnHost(DeviceArray):
    """A small array on the device, that is copied to the host."""

    def __dlpack__(self, **given: Any) -> Any:
        assert given["dl_device"] == (1, 0)
        assert given["copy"]
        return self.values.copy().__dlpack__()


def test_tensors_of_torch(device: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    class CudaTensor(torch.Tensor):  # type: ignore[misc, name-defined]
        """A tensor of the CPU that says it is on the device."""

        def __dlpack_device__(self) -> tuple[int, int]:
            return fake_cuda.CUDA, 0

        def __dlpack__(self, **given: Any) -> Any:
            assert given["stream"] == 1
            return CAPSULES.make(self.as_subclass(torch.Tensor).numpy())

    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **o: empty(*a, **o).as_subclass(CudaTensor))
    far = {"x": torch.from_numpy(X).as_subclass(CudaTensor)}
    nmf = cf.CoupledNMF(3, **options()).fit(far)
    assert device.read[0]
    assert np.array_equal(nmf.W_, cf.CoupledNMF(3, **options()).fit_transform({"x": X}))
    W = nmf.transform(far)
    assert isinstance(W, CudaTensor)
    assert np.array_equal(W.as_subclass(torch.Tensor).numpy(), nmf.W_)
    assert nmf.inverse_transform(W)["x"].shape == X.shape


def test_products_stay_on_the_device() -> None:
    torch = pytest.importorskip("torch")
    W = torch.ones(3, 2, dtype=torch.float64, device="meta")
    back = times(W, np.ones((2, 5), np.float32), "W")
    assert (back.device.type, back.shape, back.dtype) == ("meta", (3, 5), torch.float64)
    with pytest.raises(ValueError, match=r"W has shape \(3, 2\); expected \(n_examples, 4\)"):
        times(W, np.ones((4, 5)), "W")


def test_only_known_libraries_are_written_to(device: FakeCuda, cupy: None) -> None:
    assert empty_beside(DeviceArray(X), (3, 2), np.dtype("f4")) is None
    assert empty_beside(CupyArray(X), (0, 2), np.dtype("f4")) is None
    made, matrix = empty_beside(CupyArray(X), (3, 2), np.dtype("f8")) or pytest.fail("not made")
    assert matrix.address == made.values.ctypes.data
    # What the library had to do with that memory before is waited for.
    assert (made.streams, device.waited) == ([1], [(0, 1)])


def test_interfaces_come_to_the_host() -> None:
    assert np.array_equal(to_host(InterfaceArray(X)).values, X)

    class Stubborn:
        __cuda_array_interface__ = InterfaceArray(X).__cuda_array_interface__

    with pytest.raises(TypeError, match=r"X is .*Stubborn whose memory NumPy cannot take"):
        to_host(Stubborn())
