"""Batches of images from arrays, from files and from the front of a loader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

_Batch = tuple["NDArray[np.uint8]", "NDArray[np.int64] | None"]


class ArrayBatches:
    """Batches of a uint8 array (n, c, h, w), with labels (n,) or None."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64] | None,
        batch_size: int,
        image_size: int | None = None,
    ) -> None:
        self._images = images
        self._labels = labels
        self._image_size = image_size
        self._slices = _slices(len(images), batch_size)

    def skip_to(self, example: int) -> tuple[int, ArrayBatches]:
        """Return the batches from that of an example on, and how many examples are before them."""
        later = copy(self)
        later._slices = _from(self._slices, example)
        return len(self._images) if not later._slices else later._slices[0].start, later

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._slices)

    def __iter__(self) -> Iterator[_Batch]:
        """Yield (images, labels)."""
        for rows in self._slices:
            images = self._images[rows]
            if self._image_size is not None:
                images = np.stack([_resized(image, self._image_size) for image in images])
            yield np.ascontiguousarray(images), _part(self._labels, rows)


class FileBatches:
    """Batches of image files, decoded as RGB, with labels (n,) or None."""

    def __init__(
        self,
        files: Sequence[Path],
        labels: NDArray[np.int64] | None,
        batch_size: int,
        image_size: int | None = None,
    ) -> None:
        self._files = files
        self._labels = labels
        self._image_size = image_size
        self._slices = _slices(len(files), batch_size)

    def skip_to(self, example: int) -> tuple[int, FileBatches]:
        """Return the batches from that of an example on, and how many examples are before them."""
        later = copy(self)
        later._slices = _from(self._slices, example)
        return len(self._files) if not later._slices else later._slices[0].start, later

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._slices)

    def __iter__(self) -> Iterator[_Batch]:
        """Yield (images, labels)."""
        if not self._slices:
            return
        # Pillow decodes without the GIL: threads read the next batch while this one is used.
        pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
        batches = [self._files[rows] for rows in self._slices]
        size: tuple[int, ...] | None = None
        try:
            ahead = [pool.submit(_decoded, file, self._image_size) for file in batches[0]]
            for number, (files, rows) in enumerate(zip(batches, self._slices, strict=True)):
                now = ahead
                if number + 1 < len(batches):
                    files_ahead = batches[number + 1]
                    ahead = [pool.submit(_decoded, file, self._image_size) for file in files_ahead]
                images = [image.result() for image in now]
                size = size or images[0].shape
                for file, image in zip(files, images, strict=True):
                    if image.shape != size:
                        raise ValueError(
                            f"images differ in size: {file} is {_named(image.shape)}, "
                            f"{self._files[0]} is {_named(size)}; "
                            "give image_size to bring them to one size"
                        )
                yield np.stack(images), _part(self._labels, rows)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class FirstExamples:
    """The batches of a loader up to a number of examples."""

    def __init__(self, loader: Iterable[Any], count: int) -> None:
        self._loader = loader
        self._count = count

    def __iter__(self) -> Iterator[Any]:
        """Yield batches as the loader does, the last one cut."""
        left = self._count
        for batch in self._loader:
            if isinstance(batch, Mapping):
                parts = list(batch.values())
                yield {name: part[:left] for name, part in batch.items()}
            else:
                parts = list(batch) if isinstance(batch, (tuple, list)) else [batch]
                yield tuple(part if part is None else part[:left] for part in parts)
            left -= len(parts[0])
            if left <= 0:
                return


def _slices(n: int, batch_size: int) -> list[slice]:
    return [slice(at, min(at + batch_size, n)) for at in range(0, n, batch_size)]


def _from(slices: list[slice], example: int) -> list[slice]:
    return [rows for rows in slices if rows.stop > example]


def _part(labels: NDArray[np.int64] | None, rows: slice) -> NDArray[np.int64] | None:
    return None if labels is None else labels[rows]


def _named(shape: tuple[int, ...]) -> str:
    return f"{shape[2]}x{shape[1]}"


def _decoded(file: Path, image_size: int | None) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            deep = picture.mode[0] in "IF"
            coloured = picture if deep else picture.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
    if deep:
        raise ValueError(f"{file} has more than 8 bits a channel: convert it first")
    return _channels_first(coloured if image_size is None else _square(coloured, image_size))


def _resized(image: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    return _channels_first(_square(picture, image_size))


def _square(picture: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to `size` and cut the middle, as is usual for evaluation."""
    from PIL import Image

    scale = size / min(picture.size)
    width, height = (max(size, int(side * scale)) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def _channels_first(picture: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
