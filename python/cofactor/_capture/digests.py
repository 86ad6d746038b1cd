"""Digests of what examples are computed from, so that a capture goes on with the same data only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["row_digests"]

_DIGEST_BYTES = 16
# Of a larger image so many values, evenly spread: another image, or another preprocessing, differs
# in more than a few of them, and hashing all would cost more than reading.
_HASHED_VALUES = 4096


def row_digests(
    images: torch.Tensor, labels: npt.NDArray[Any] | None
) -> Callable[[], npt.NDArray[np.uint8]]:
    """Return a function that computes a digest for each image and its label.

    What it needs is copied here; the function may run later, in another thread.
    """
    flat = images.detach().reshape(images.shape[0], -1)
    step = max(1, -(-flat.shape[1] // _HASHED_VALUES))
    sample = torch.empty_like(flat[:, ::step], device="cpu", memory_format=torch.contiguous_format)
    sample.copy_(flat[:, ::step])
    what = f"{images.dtype} {tuple(images.shape[1:])}".encode()

    def compute() -> npt.NDArray[np.uint8]:
        rows = sample.view(torch.uint8).numpy() if sample.numel() else np.empty((len(sample), 0))
        digests = np.empty((len(rows), _DIGEST_BYTES), np.uint8)
        for i, row in enumerate(rows):
            digest = hashlib.blake2b(what, digest_size=_DIGEST_BYTES)
            digest.update(row.data)
            if labels is not None:
                digest.update(_label_bytes(labels[i]))
            digests[i] = np.frombuffer(digest.digest(), np.uint8)
        return digests

    return compute


def _label_bytes(label: Any) -> bytes:
    # Strings of a batch are as wide as the longest one.
    if isinstance(label, np.ndarray) and label.dtype.kind == "U":
        return repr(label.tolist()).encode()
    return str(label).encode() if isinstance(label, str) else np.asarray(label).tobytes()
