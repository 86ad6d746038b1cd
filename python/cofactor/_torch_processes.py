"""Processes of a group of torch.distributed: messages by gloo, and an end that they share."""

from __future__ import annotations

import atexit
import ctypes
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from . import _core
from ._errors import DistributedError
from ._meeting import meet
from ._processes import Json, Processes

__all__ = ["TorchProcesses"]

# How often a process that waits looks whether another has failed.
_LOOK = 0.25
# How often one that waits for a GPU looks whether that is done.
_GLANCE = 2e-5
# How long one that has failed waits for the others to hear why, and one that has lost a connection
# for the reason: whoever keeps the store may be gone afterwards.
_GRACE = 3.0
# Rows of all processes that rank 0 holds at a time while it collects them.
_COLLECTED_BYTES = 64 << 20


class TorchProcesses(Processes):
    """The processes of the default group.

    Messages go through a backend of their own, so that they never meet those of the caller, and so
    that buffers of the CPU have one whatever the caller's is. It is made at the first message. Sums
    that lie on a GPU go through the group's own NCCL, where it has that and every rank a GPU of its
    own: torch lets a process have one.

    Parameters
    ----------
    torch : module
        torch, with an initialised process group.
    number : int
        Number of this object among those of the process; the same on all ranks.
    timeout : float
        Seconds to wait for the others.
    """

    def __init__(self, torch: Any, number: int, timeout: float) -> None:
        dist = torch.distributed
        self._torch, self._dist = torch, dist
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        default = dist.distributed_c10d._get_default_store()
        self._entrance = dist.PrefixStore(f"cofactor/{number}", default)
        # Where these ranks, once they have met, leave word for each other.
        self._store: Any = None
        self._timeout = timeout
        self._backend: Any = None
        self._own_gpu: bool | None = None  # whether every rank has one; None: not asked yet
        self._name = "cofactor"
        self._depth = 0
        self._has_pending = False
        self.has_failed = False

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Work together, and end together."""
        if self._depth:
            yield
            return
        self._depth, self._name = 1, name
        try:
            from . import __version__

            self.check_same(
                "this process group",
                {"call": name, "cofactor": __version__, "COFACTOR_SIMD": _core.simd_level()},
            )
            yield
            self.barrier()
        except BaseException as error:
            self._tell_failure(error)
            raise
        finally:
            self._depth = 0

    @property
    def reduce(self) -> Callable[[npt.NDArray[np.float64] | _core.DeviceMatrix], None]:
        """What adds up the sums of a pass in place."""
        return self.all_reduce

    @property
    def reduces_on_device(self) -> bool:
        """Whether the group has NCCL, and every rank a GPU of its own; the same on all ranks."""
        if self._own_gpu is None:
            place = None
            if "cuda:nccl" in self._dist.get_backend_config().split(","):
                place = [socket.gethostname(), self._torch.cuda.current_device()]
            places = self.gather(place)
            distinct = {tuple(one) for one in places if one is not None}
            self._own_gpu = len(distinct) == self.size
        return self._own_gpu

    def device(self, kind: str) -> str:
        """Return the GPU that torch has selected in this thread, where a GPU is asked for."""
        if kind == "cuda" and self._torch.cuda.is_available():
            return f"cuda:{self._torch.cuda.current_device()}"
        return kind

    @property
    def exchange(self) -> Callable[[bytes], list[bytes]]:
        """What gives the bytes of every process to all."""
        return self.gather_bytes

    def all_reduce(self, sums: npt.NDArray[np.float64] | _core.DeviceMatrix) -> None:
        """Add up an array over all processes, in place: one message."""
        self.n_reduced += 1
        if isinstance(sums, np.ndarray):
            self._send(sums.nbytes, "allreduce", [self._torch.from_numpy(sums)])
        else:
            self._all_reduce_on_device(sums)

    def _all_reduce_on_device(self, sums: _core.DeviceMatrix) -> None:
        """Add up sums where they lie, and wait until they are there."""
        # NCCL would wait for a rank that is gone until its watchdog ends the process.
        self.barrier()
        tensor = self._torch.as_tensor(_OnDevice(sums), device=f"cuda:{sums.device}")
        self._carry(
            tensor.nbytes,
            lambda: self._dist.all_reduce(tensor, async_op=True),
            self._has_ended_on_device,
            tensor,
        )
        # What carried it only makes torch's stream wait.
        self._torch.cuda.current_stream(tensor.device).synchronize()

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self._send(8, "allreduce", [self._torch.zeros(1, dtype=self._torch.float64)])

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """Return the bytes of every process, by rank."""
        sizes = self._gather_equal(np.array([len(data)], np.int64))
        lengths = [int(size[0]) for size in sizes]
        padded = np.zeros(max(1, *lengths), np.uint8)
        padded[: len(data)] = np.frombuffer(data, np.uint8)
        parts = self._gather_equal(padded)
        return [part[:n].tobytes() for part, n in zip(parts, lengths, strict=True)]

    def gather(self, value: Json) -> list[Json]:
        """Return the value of every process, by rank."""
        return [json.loads(data) for data in self.gather_bytes(json.dumps(value).encode())]

    def share(self, value: Json) -> Json:
        """Return the value of rank 0."""
        data = np.frombuffer(json.dumps(value).encode(), np.uint8).copy()
        (length,) = self.share_array(np.array([len(data)], np.int64))
        data = self.share_array(data if self.rank == 0 else np.zeros(length, np.uint8))
        return json.loads(data.tobytes())

    def share_array(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array of rank 0."""
        own = np.array(array, order="C")
        self._send(own.nbytes, "broadcast", self._tensor(own), 0)
        return own

    def concatenate(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows of all processes, in the order of ranks."""
        lengths = self.gather(len(rows))
        padded = np.zeros((max(lengths), *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        parts = self._gather_equal(padded)
        return np.concatenate([part[:n] for part, n in zip(parts, lengths, strict=True)])

    def collect(self, rows: npt.NDArray[Any], target: npt.NDArray[Any] | None) -> None:
        """Bring the rows of all processes into `target` of rank 0, a part at a time."""
        lengths = self.gather(len(rows))
        first = np.cumsum([0, *lengths])
        step = max(1, _COLLECTED_BYTES // (self.size * max(1, rows[:1].nbytes)))
        # The widths agree, and with them the steps; a rank without rows has none to measure.
        step = int(min(self.gather(step)))
        part = np.zeros((step, *rows.shape[1:]), rows.dtype)
        for start in range(0, max(lengths), step):
            own = rows[start : start + step]
            part[: len(own)] = own
            parts = [np.empty_like(part) for _ in lengths] if self.rank == 0 else []
            received = [self._tensor(one) for one in parts]
            self._send(part.nbytes, "gather", received, self._tensor(part), 0)
            for found, at, length in zip(parts, first, lengths, strict=False):
                count = max(0, min(step, length - start))
                assert target is not None
                target[at + start : at + start + count] = found[:count]

    def check_same(self, name: str, values: Mapping[str, Json]) -> None:
        """Raise ValueError on every process where a value differs between them."""
        given = self.gather(dict(values))
        differing = [
            f"{what} is {_short(given[0].get(what))} on rank 0 and {_short(other.get(what))} on "
            f"rank {rank}"
            for what in given[0]
            for rank, other in list(enumerate(given))[1:]
            if other.get(what) != given[0].get(what)
        ]
        if differing:
            more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise ValueError(
                f"the ranks of {name} differ: {'; '.join(differing[:3])}{more}; start every rank "
                "with the same"
            )

    def _gather_equal(self, array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        parts = [np.empty_like(array) for _ in range(self.size)]
        tensors = [self._tensor(part) for part in parts]
        self._send(array.nbytes, "allgather", [tensors], [self._tensor(array)])
        return parts

    def _tensor(self, array: npt.NDArray[Any]) -> Any:
        """Give the array's memory as bytes, whatever its dtype is."""
        return self._torch.from_numpy(array.reshape(-1).view(np.uint8))

    def _send(self, n_bytes: int, operation: str, *arguments: Any) -> None:
        """Start a collective operation of the own backend and wait for it."""
        if self._backend is None:
            self._open()
        self._carry(
            n_bytes,
            lambda: getattr(self._backend, operation)(*arguments),
            self._has_ended,
            *arguments,
        )

    def _carry(
        self,
        n_bytes: int,
        start: Callable[[], Any],
        has_ended: Callable[[Any], bool],
        *buffers: Any,
    ) -> None:
        """Start a message and wait until it has ended, or until there is a reason not to."""
        self.n_messages += 1
        self.n_bytes += n_bytes
        deadline = time.monotonic() + self._timeout
        work: Any = None
        try:
            try:
                work = start()
            except RuntimeError as error:
                self._lost(error)
            while not has_ended(work):
                self._raise_told()
                if time.monotonic() > deadline:
                    raise DistributedError(
                        f"{self._name} waited {self._timeout:g} s for the other ranks; one of them "
                        "is stuck or out of reach, or they need a longer timeout"
                    )
        except BaseException:
            self._has_pending = True
            _keep_forever((self._backend, work, buffers))
            raise

    def _has_ended(self, work: Any) -> bool:
        try:
            # In steps: a longer wait would hear of no failure, and of no Ctrl-C.
            work.wait(timedelta(seconds=_LOOK))
        except RuntimeError:
            if not work.is_completed():
                return False
            try:
                work.wait()
            except RuntimeError as error:
                self._lost(error)
        return True

    def _has_ended_on_device(self, work: Any) -> bool:
        until = time.monotonic() + _LOOK
        while not work.is_completed():
            if time.monotonic() > until:
                return False
            time.sleep(_GLANCE)
        try:
            work.wait()
        except RuntimeError as error:
            self._lost(error)
        return True

    def _open(self) -> None:
        """Wait for all ranks, and connect to them."""
        try:
            word = meet(self._entrance, self.rank, self.size, self._timeout, self._name)
            self._store = self._dist.PrefixStore(word, self._entrance)
            # The backend itself: a group of torch would meet where ranks of another start have met.
            # It waits longer than this object, which then says what happened.
            self._backend = self._dist.ProcessGroupGloo(
                self._store, self.rank, self.size, timedelta(seconds=self._timeout + 60.0)
            )
        except RuntimeError as error:
            if isinstance(error, DistributedError):
                raise
            self._lost(error)
        atexit.register(self.close)
        self.here = self.gather(socket.gethostname()).count(socket.gethostname())

    def _raise_told(self) -> None:
        """Raise what another rank has said that it ended with."""
        try:
            if self._store is None or not self._store.check(["failure"]):
                return
            told = json.loads(self._store.get("failure"))
        except RuntimeError as error:
            self._lost(error, look=False)
        raise DistributedError(f"rank {told['rank']} ended {self._name} with {told['what']}")

    def _lost(self, error: RuntimeError, look: bool = True) -> NoReturn:
        """Raise that another rank is gone, or what it has said."""
        until = time.monotonic() + _GRACE / 3
        while look and time.monotonic() < until:
            self._raise_told()
            time.sleep(0.02)
        reason = (str(error).splitlines() or [""])[0]
        raise DistributedError(
            f"{self._name} lost another rank, which has ended or is out of reach ({reason[:200]})"
        ) from error

    def _tell_failure(self, error: BaseException) -> None:
        """Say what this rank ends with, and wait a little until the others have heard it."""
        self.has_failed = True
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt):
            what = "an interrupt"
        if self._store is None:
            return  # the others have not met this rank, and wait for it
        try:
            told = json.dumps({"rank": self.rank, "what": what})
            # The first one counts, which the others may only have followed.
            self._store.compare_set("failure", "", told)
            self._store.add("heard", 1)
            until = time.monotonic() + _GRACE
            while self._store.add("heard", 0) < self.size and time.monotonic() < until:
                time.sleep(0.02)
        except RuntimeError:
            pass  # the store is gone, and with it whoever might have heard
        self.close()

    def close(self) -> None:
        """Close the connections, which ends what others have pending on them.

        A thread of gloo lets go of the tensors of a message after whoever waits for it has gone on,
        and needs Python for that. One that comes too late, while the interpreter ends, would abort
        the process: closing waits for all of them. It would wait for a message that never came to
        an end, too; the end of the process closes those connections.
        """
        atexit.unregister(self.close)
        if not self._has_pending:
            self._backend = None


def _keep_forever(what: object) -> None:
    """Keep a message that never came to an end, what carries it and its buffers, still written to.

    Even past the end of the interpreter: to let go of the backend is to wait for its messages.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(what))


class _OnDevice:
    """Numbers of float64 on a CUDA device, for a library that asks where they are."""

    def __init__(self, sums: _core.DeviceMatrix) -> None:
        self._owner = sums
        self.__cuda_array_interface__ = {
            "shape": sums.shape,
            "typestr": "<f8",
            "data": (sums.address, not sums.writable),
            "version": 3,
        }


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
