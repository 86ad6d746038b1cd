"""Copies of tensors to host memory that the network does not wait for."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["HostCopies", "HostCopy"]


class HostCopy:
    """A tensor on its way to the host."""

    def __init__(
        self, tensor: torch.Tensor, event: Any = None, release: Any = None, keep: Any = None
    ) -> None:
        self._tensor = tensor
        self._event = event
        self._release = release
        # What is copied from must live until the copy is made.
        self._source = keep

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self._tensor.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return int(self._tensor.nbytes)

    def wait(self) -> npt.NDArray[Any]:
        """Return the numbers once they have arrived, bfloat16 as the uint16 of its bits.

        They are valid until :meth:`release`.
        """
        if self._event is not None:
            self._event.synchronize()
            self._event = self._source = None
        tensor = self._tensor
        if tensor.dtype == torch.bfloat16:
            bits: npt.NDArray[Any] = tensor.view(torch.int16).numpy().view(np.uint16)
            return bits
        array: npt.NDArray[Any] = tensor.numpy()
        return array

    def release(self) -> None:
        """Give the memory back for the next copy."""
        if self._release is not None:
            self._release()
            self._release = None


class HostCopies:
    """Starts copies: from a GPU on a stream of their own, into pinned memory that is used again.

    The copy waits for what the network's stream has queued up to now, and the next batch runs
    meanwhile. Other tensors are on the host already, or are copied at once.
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, Any] = {}
        self._free: list[torch.Tensor] = []
        self._lock = threading.Lock()

    def start(self, tensor: torch.Tensor) -> HostCopy:
        """Copy a contiguous tensor that nobody changes any more."""
        tensor = tensor.detach()
        if tensor.device.type != "cuda":
            return HostCopy(tensor.cpu())
        stream = self._streams.get(tensor.device)
        if stream is None:
            stream = self._streams[tensor.device] = torch.cuda.Stream(tensor.device)
        buffer = self._take(tensor.nbytes)
        target = buffer[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(stream):
            target.copy_(tensor, non_blocking=True)
        event = stream.record_event()
        # Or the allocator could hand the memory to the network while it is copied.
        tensor.record_stream(stream)
        return HostCopy(target, event, lambda: self._give_back(buffer), tensor)

    def _take(self, n_bytes: int) -> torch.Tensor:
        with self._lock:
            fitting = [i for i, free in enumerate(self._free) if free.nbytes >= n_bytes]
            if fitting:
                return self._free.pop(min(fitting, key=lambda i: self._free[i].nbytes))
        return torch.empty(max(n_bytes, 1), dtype=torch.uint8, pin_memory=True)

    def _give_back(self, buffer: torch.Tensor) -> None:
        with self._lock:
            self._free.append(buffer)
