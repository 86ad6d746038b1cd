"""Captures that several processes make together, for tests that start them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

from cofactor import datasets, distributed
from cofactor._store import declare
from cofactor.capture import capture
from process_pool import join
from small_network import Net

N = 2700
BATCH = 100


def images(n: int = N) -> Any:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)


class Loader:
    """Batches, with a length; may fail, or end its process, at some batch."""

    def __init__(self, stop_at: int | None = None, kill: bool = False) -> None:
        self.dataset = range(N)
        self._stop_at, self._kill = stop_at, kill

    def __iter__(self) -> Iterator[Any]:
        for first, batch in zip(range(0, N, BATCH), images().split(BATCH), strict=True):
            if first == self._stop_at:
                if self._kill:
                    os._exit(9)
                raise ValueError("the disk of images has failed")
            yield batch, torch.arange(first, first + len(batch))


def iterated() -> Any:
    return Loader()


def data_loader() -> Any:
    data = TensorDataset(images(), torch.arange(N))
    return DataLoader(data, batch_size=BATCH)


def files(path: Path) -> Any:
    np.savez(path, images=images().numpy(), labels=np.arange(N))
    return datasets.load_images(path, batch_size=BATCH)


def wrapped() -> Any:
    return datasets.ImageSource(data_loader())


def run(out: Path, loader: Any = None, resume: bool = True, **options: Any) -> str:
    """Capture, in shards of 512 rows, and return the fingerprint."""
    torch.set_num_threads(1)
    declare._SHARD_BYTES = 1
    torch.manual_seed(0)
    arguments = {"layers": ["conv1", "avgpool"], "progress": False}
    made = loader() if callable(loader) else loader
    store = capture(Net(), made or Loader(), resume=resume, out=out, **(arguments | options))
    return store.fingerprint


def run_npz(out: Path, npz: Path, **options: Any) -> str:
    return run(out, datasets.load_images(npz, batch_size=BATCH), **options)


def fail(out: Path, ranks: tuple[int, ...], at: int) -> str:
    return run(out, Loader(at if distributed.rank() in ranks else None))


def differ(out: Path, what: str) -> str:
    """Rank 1 is given something else."""
    if distributed.rank() == 0:
        return run(out)
    if what == "shuffled":
        return run(out, DataLoader(TensorDataset(images().flip(0)), batch_size=BATCH))
    if what == "batch size":
        return run(out, DataLoader(TensorDataset(images(), torch.arange(N)), batch_size=50))
    if what == "path":
        return run(out.with_name("elsewhere"))
    if what == "weights":
        torch.manual_seed(0)
        model = Net()
        with torch.no_grad():
            model.fc.bias[0] += 1
        declare._SHARD_BYTES = 1
        options = {"layers": ["conv1", "avgpool"], "progress": False}
        return capture(model, Loader(), resume=True, out=out, **options).fingerprint
    options = {"layer": {"layers": ["conv1"]}, "dtype": {"dtype": "float32"}}
    return run(out, **options[what])


def say(out: Path, path: Path) -> str:
    """Capture, and keep what goes to standard error."""
    with path.with_name(f"{path.name}-{distributed.rank()}").open("w") as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            return run(out, progress=True)
        finally:
            os.dup2(kept, 2)


class Unsized:
    def __iter__(self) -> Iterator[Any]:
        return iter(Loader())


def without_length(out: Path) -> str:
    return run(out, Unsized())


def first_examples(out: Path, max_examples: int) -> str:
    return run(out, Unsized(), max_examples=max_examples)


# How long ranks wait for one that is killed before it has met them.
SECONDS_TO_MEET = 30.0


def rank_of(rank: int, size: int, port: int, out: Path) -> None:
    """Capture as one rank of a process group; for a process that may be killed."""
    join(rank, size, port, SECONDS_TO_MEET)
    try:
        run(out, pixels=True)
    except distributed.DistributedError:
        os._exit(3)
    dist.destroy_process_group()


class Deadly(Loader):
    """For `cofactor capture --data`; ends rank 1 when it comes to half of the images, once."""

    def __init__(self) -> None:
        marker = Path(os.environ["DEADLY_MARKER"])
        die = os.environ.get("RANK") == "1" and not marker.exists()
        super().__init__(N // BATCH // 2 * BATCH if die else None, kill=True)
        if die:
            marker.touch()
