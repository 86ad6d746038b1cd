"""Sums on GPUs between processes: memory of the CPU stands for a GPU's, and gloo for NCCL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from cofactor import _core, distributed
from fake_cuda import on_host
from process_pool import Pool

torch = pytest.importorskip("torch")


@contextmanager
def gpus(*numbers: int, backends: str = "cpu:gloo,cuda:nccl") -> Iterator[Any]:
    """Let torch know a GPU on every rank; gives the streams that were waited for."""
    waited: list[torch.device] = []

    def as_tensor(array: Any, device: str) -> Any:
        entry = array.__cuda_array_interface__
        assert entry["typestr"] == "<f8"
        assert entry["data"] == (array._owner.address, False)
        assert device == f"cuda:{array._owner.device}"
        return torch.from_numpy(on_host(array._owner))

    def current_stream(device: torch.device) -> Any:
        return SimpleNamespace(synchronize=lambda: waited.append(device))

    own = numbers[distributed.rank()]
    with (
        mock.patch.object(torch.distributed, "get_backend_config", return_value=backends),
        mock.patch.object(torch, "as_tensor", as_tensor),
        mock.patch.multiple(
            torch.cuda,
            is_available=lambda: True,
            current_device=lambda: own,
            current_stream=current_stream,
        ),
    ):
        yield waited


def sums_on_device(values: np.ndarray, device: int) -> _core.DeviceMatrix:
    return _core.DeviceMatrix.at(
        values.ctypes.data,
        rows=1,
        columns=values.size,
        row_stride=values.size,
        dtype="float64",
        device=device,
        writable=True,
        owner=values,
    )


def reduce_on_gpus() -> dict[str, Any]:
    own = distributed.processes()
    values = np.arange(5.0) + 10 * own.rank
    with own.call("test"), gpus(3, 0, 1) as waited:
        on_device = own.reduces_on_device
        place = own.device("cuda"), own.device("cpu")
        messages = own.n_messages, own.n_bytes
        assert own.reduce is not None
        own.reduce(sums_on_device(values, 3 - own.rank))
    return {
        "on_device": on_device,
        "place": place,
        "values": values.tolist(),
        "reduced": own.n_reduced,
        "messages": own.n_messages - messages[0] - 1,  # less the one that ends the call
        "bytes": own.n_bytes - messages[1] - 8,
        "waited": len(waited),
    }


def test_sums_are_added_up_where_they_lie(pool: Pool) -> None:
    for rank, found in enumerate(pool.run(3, reduce_on_gpus)):
        assert found["on_device"]
        assert found["place"] == (f"cuda:{(3, 0, 1)[rank]}", "cpu")
        assert found["values"] == [30.0, 33.0, 36.0, 39.0, 42.0]
        assert found["reduced"] == 1
        # What tells a rank that is gone, and the sums.
        assert (found["messages"], found["bytes"]) == (2, 8 + 5 * 8)
        assert found["waited"] == 1


def where_sums_go(numbers: tuple[int, ...], backends: str) -> bool:
    own = distributed.processes()
    with own.call("test"), gpus(*numbers, backends=backends):
        return own.reduces_on_device


@pytest.mark.parametrize(
    ("numbers", "backends", "expected"),
    [
        ((0, 1), "cpu:gloo,cuda:nccl", True),
        ((0, 1), "cuda:nccl", True),
        ((1, 1), "cuda:nccl", False),
        ((0, 1), "cpu:gloo,cuda:gloo", False),
    ],
)
def test_nccl_and_a_gpu_for_every_rank_are_needed(
    pool: Pool, numbers: tuple[int, ...], backends: str, expected: bool
) -> None:
    assert pool.run(2, where_sums_go, numbers, backends) == [expected, expected]


def without_gpus() -> tuple[bool, str]:
    own = distributed.processes()
    with own.call("test"):
        return own.reduces_on_device, own.device("cuda")


def test_without_gpus_sums_go_by_the_host(pool: Pool) -> None:
    assert pool.run(2, without_gpus) == [(False, "cuda")] * 2


def fail_before_the_sums() -> None:
    own = distributed.processes()
    with own.call("test"), gpus(0, 1):
        if own.rank == 1:
            raise OSError("no such disk")
        own.all_reduce(sums_on_device(np.ones(3), 0))


def test_a_rank_that_fails_is_not_waited_for(pool: Pool) -> None:
    ended = pool.try_run(2, fail_before_the_sums)
    assert ended[0].error == "DistributedError"
    assert ended[0].message == "rank 1 ended test with OSError: no such disk"


class NeverDone:
    """A message of NCCL that another rank does not join."""

    def is_completed(self) -> bool:
        return False


def hang() -> None:
    own = distributed.processes()
    with (
        own.call("test"),
        gpus(0, 1),
        mock.patch.object(torch.distributed, "all_reduce", return_value=NeverDone()),
    ):
        own.all_reduce(sums_on_device(np.ones(3), 0))


def test_a_message_that_never_ends_is_given_up(pool: Pool) -> None:
    for end in pool.try_run(2, hang, timeout=2.0):
        assert end.error == "DistributedError"
        assert "waited 2 s" in end.message or "ended test with" in end.message


def select_gpu(local_rank: str, count: int, nccl: bool) -> tuple[str, list[int]]:
    selected: list[int] = []
    with (
        mock.patch.dict("os.environ", LOCAL_RANK=local_rank),
        mock.patch.object(torch.distributed, "is_nccl_available", return_value=nccl),
        mock.patch.multiple(
            torch.cuda,
            is_available=lambda: count > 0,
            device_count=lambda: count,
            set_device=selected.append,
        ),
    ):
        return distributed._select_gpu(), selected


def test_each_process_of_a_machine_selects_a_gpu() -> None:
    assert select_gpu("1", 4, True) == ("cpu:gloo,cuda:nccl", [1])
    assert select_gpu("5", 4, True) == ("cpu:gloo,cuda:nccl", [1])
    assert select_gpu("2", 4, False) == ("gloo", [2])
    assert select_gpu("2", 0, True) == ("gloo", [])
