"""Loaders that begin with the batch of some example."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofactor.datasets import ImageSource, load_images

pytest.importorskip("torch")

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from cofactor._capture.skipping import skip_to

N = 23


class Counted(Dataset[int]):
    """Numbers, which remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        return index


def numbers(loader: Any) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("example", [0, 1, 4, 5, 9, 20, 22])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_batches_are_those_of_the_whole_loader(example: int, drop_last: bool) -> None:
    data = Counted()
    loader = DataLoader(data, batch_size=5, drop_last=drop_last)
    whole = numbers(loader)
    data.asked.clear()
    skipped = skip_to(loader, example)
    assert skipped is not None
    first, later = skipped
    assert first == example // 5 * 5
    assert numbers(later) == whole[example // 5 :]
    assert min(data.asked, default=first) == first


def test_what_the_loader_does_to_batches_is_kept() -> None:
    loader = DataLoader(Counted(), batch_size=5, collate_fn=lambda batch: torch.tensor(batch) * 10)
    skipped = skip_to(loader, 21)
    assert skipped is not None
    assert numbers(skipped[1]) == [[200, 210, 220]]


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(N))


class Other(DataLoader[Any]):
    pass


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Counted(), batch_size=5, shuffle=True),
        DataLoader(Counted(), batch_sampler=[[0, 1], [2]]),
        DataLoader(Counted(), batch_size=None),
        DataLoader(Stream(), batch_size=5),
        Other(Counted(), batch_size=5),
        [torch.zeros(5)],
        ImageSource([torch.zeros(5)]),
    ],
)
def test_what_has_to_be_read(loader: Any) -> None:
    assert skip_to(loader, 7) is None


def test_a_loader_in_a_source() -> None:
    images = torch.arange(N).view(N, 1, 1, 1)
    skipped = skip_to(ImageSource(DataLoader(TensorDataset(images), batch_size=5)), 12)
    assert skipped is not None
    first, later = skipped
    assert first == 10
    assert next(batch[0].flatten().tolist() for batch in later) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(("example", "first"), [(0, 0), (7, 5), (22, 20), (23, 23), (99, 23)])
@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_files(tmp_path: Path, kind: str, example: int, first: int) -> None:
    images = np.repeat(np.arange(N, dtype=np.uint8)[:, None], 3 * 4, axis=1).reshape(N, 2, 2, 3)
    if kind == "npz":
        np.savez(tmp_path / "data.npz", images=images)
    else:
        image = pytest.importorskip("PIL.Image")
        for number, values in enumerate(images):
            image.fromarray(values).save(tmp_path / f"{number:02d}.png")
    source = load_images(tmp_path / "data.npz" if kind == "npz" else tmp_path, batch_size=5)
    skipped = skip_to(source, example)
    assert skipped is not None
    assert skipped[0] == first
    rest = [int(image[0, 0, 0]) for batch, _ in skipped[1] for image in batch]
    assert rest == list(range(first, N))
    assert sum(len(batch) for batch, _ in source) == N
