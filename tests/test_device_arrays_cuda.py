"""Arrays on a CUDA device, where there is one; elsewhere fake ones take their place."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cofactor as cf
from cofactor import _core
from cofactor._device_arrays import to_device_matrix

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.skipif(
        not _core.cuda_available(), reason="there is no CUDA device, or the build is without CUDA"
    ),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device"),
]

X = np.random.default_rng(0).random((3000, 257)).astype(np.float32)
OPTIONS: dict[str, Any] = {"random_state": 0, "max_iter": 8, "tol": 0, "device": "cuda"}


class InterfaceOnly:
    """An array that has nothing but an interface, as Numba's."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.__cuda_array_interface__ = tensor.__cuda_array_interface__


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32", "float64"])
def test_tensors_give_the_bits_of_the_same_arrays_on_the_host(dtype: str) -> None:
    near = torch.from_numpy(200 * X).to(getattr(torch, dtype))
    far = {"a": near[:, :100].cuda(), "b": near.cuda()[:, 100:]}
    assert not far["b"].is_contiguous()
    nmf = cf.CoupledNMF(5, **OPTIONS).fit(far)
    expected = cf.CoupledNMF(5, **OPTIONS).fit({"a": near[:, :100], "b": near[:, 100:]})
    assert nmf.loss_history_ == expected.loss_history_
    assert np.array_equal(nmf.W_, expected.W_)
    W = nmf.transform(far)
    assert (W.device, W.dtype) == (far["a"].device, torch.float64 if dtype == "float64" else
                                   torch.float32)  # fmt: skip
    assert np.array_equal(W.cpu().numpy(), nmf.W_)
    back = nmf.inverse_transform(W)["b"]
    assert back.device == far["b"].device


def test_no_copy_is_made_and_nothing_is_kept() -> None:
    far = torch.from_numpy(X).cuda()
    matrix = to_device_matrix(far, "x")
    assert matrix.address == far.data_ptr()
    assert np.array_equal(matrix[np.array([0, 7, 8, 2999])], X[[0, 7, 8, 2999]])
    address = far[1:, 3:200].data_ptr()
    assert matrix[1:, 3:200].address == address
    del matrix
    gc.collect()
    before = torch.cuda.memory_allocated()
    cf.NMF(3, device="cuda", max_iter=3, tol=0).fit(far)
    gc.collect()
    assert torch.cuda.memory_allocated() == before


def test_the_producers_stream_is_waited_for() -> None:
    expected = cf.CoupledNMF(3, **OPTIONS).fit({"x": X}).loss_history_
    host = torch.from_numpy(X).pin_memory()
    far = torch.zeros(X.shape, device="cuda")
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a tenth of a second, before the data is there
        far.copy_(host, non_blocking=True)
        assert cf.CoupledNMF(3, **OPTIONS).fit({"x": far}).loss_history_ == expected
        # An interface of version 3 names its stream.
        far.zero_()
        array = InterfaceOnly(far)
        array.__cuda_array_interface__ |= {"version": 3, "stream": stream.cuda_stream}
        torch.cuda._sleep(200_000_000)
        far.copy_(host, non_blocking=True)
        assert cf.CoupledNMF(3, **OPTIONS).fit({"x": array}).loss_history_ == expected


def test_blocks_that_a_network_makes_are_read_where_they_are() -> None:
    class Blocks:
        def __iter__(self) -> Iterator[dict[str, Any]]:
            for first in range(0, 3000, 700):
                # Its memory is given again as soon as the block is let go.
                yield {"x": torch.from_numpy(X[first : first + 700]).cuda() * 1.0}

    nmf = cf.CoupledNMF(3, **OPTIONS).fit(Blocks())
    assert nmf.loss_history_ == cf.CoupledNMF(3, **OPTIONS).fit({"x": X}).loss_history_


def test_the_cpu_reads_a_copy() -> None:
    options = {**OPTIONS, "device": "cpu"}
    nmf = cf.CoupledNMF(3, **options).fit({"x": torch.from_numpy(X).cuda()})
    assert np.array_equal(nmf.W_, cf.CoupledNMF(3, **options).fit({"x": X}).W_)


def test_addresses_of_the_host_are_refused() -> None:
    with pytest.raises(ValueError, match="does not lie in the memory of a CUDA device"):
        _core.cuda_device_of(X.ctypes.data)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are fewer than two CUDA devices")
def test_another_device_than_the_first() -> None:
    far = torch.from_numpy(X).to("cuda:1")
    nmf = cf.CoupledNMF(3, **OPTIONS)
    W = nmf.fit_transform({"x": far})
    assert W.device == far.device
    assert nmf.loss_history_ == cf.CoupledNMF(3, **OPTIONS).fit({"x": X}).loss_history_
    with pytest.raises(ValueError, match=r"several GPUs: 'x' on cuda:1, 'y' on cuda:0"):
        nmf.fit({"x": far, "y": torch.from_numpy(X).to("cuda:0")})


def test_arrays_of_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    far = cupy.asarray(X)
    nmf = cf.NMF(3, random_state=0, max_iter=8, tol=0, device="cuda")
    expected = nmf.fit_transform(X)
    for given in (far, cupy.asfortranarray(far)):
        W = nmf.fit_transform(given)
        assert isinstance(W, cupy.ndarray)
        assert np.array_equal(W.get(), expected)
    assert isinstance(nmf.transform(far), cupy.ndarray)
    assert isinstance(nmf.inverse_transform(W), cupy.ndarray)
