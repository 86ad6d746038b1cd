"""The batches of a loader from some example on, without reading those before where possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from ..datasets import ImageSource

__all__ = ["skip_to"]


def skip_to(loader: Any, example: int) -> tuple[int, Iterable[Any]] | None:
    """Return a loader that begins with the batch of an example, and how many are before it.

    Its batches are those of the whole loader. None where that cannot be had without reading: then
    the loader is to be read from its beginning.
    """
    if isinstance(loader, ImageSource):
        # It says itself for files and arrays; what it wraps may be a DataLoader.
        skipped = loader.skip_to(example)
        if skipped is None and (inner := skip_to(loader.wrapped, example)) is not None:
            return inner[0], ImageSource(inner[1])
        return skipped
    # A subclass may iterate as it likes, another sampler in any order.
    if (
        type(loader) is not DataLoader
        or isinstance(loader.dataset, IterableDataset)
        or type(loader.batch_sampler) is not BatchSampler
        or type(loader.sampler) is not SequentialSampler
    ):
        return None
    first = example // loader.batch_size * loader.batch_size
    arguments = {
        name: getattr(loader, name)
        for name in (
            "batch_size",
            "num_workers",
            "collate_fn",
            "pin_memory",
            "drop_last",
            "timeout",
            "worker_init_fn",
            "multiprocessing_context",
            "generator",
            "prefetch_factor",
        )
    }
    rows = range(first, len(loader.dataset))
    return first, DataLoader(loader.dataset, sampler=rows, **arguments)
