"""Sheets of small pictures of one size: one file to load in place of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sheet:
    """A grid of pictures in one file, row by row."""

    path: str
    columns: int
    rows: int
    width: int
    height: int


@dataclass(frozen=True)
class Sprite:
    """One picture of a sheet."""

    sheet: Sheet
    place: int

    @property
    def x(self) -> float:
        """Where it begins from the left, as CSS counts it: percent of what does not fit."""
        return _percent(self.place % self.sheet.columns, self.sheet.columns)

    @property
    def y(self) -> float:
        """The same from the top."""
        return _percent(self.place // self.sheet.columns, self.sheet.rows)


def write_sheet(
    pictures: Sequence[NDArray[np.uint8]], path: str, folder: Path, columns: int
) -> list[Sprite]:
    """Write pictures (height, width, channels) of one shape to ``folder/path``.

    The suffix says how: PNG keeps every value, WebP at quality 85 is a quarter of the size. A
    sheet of fewer pictures than `columns` is as wide as they are.
    """
    from PIL import Image

    if not pictures:
        return []
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    whole = np.zeros((rows * columns, *pictures[0].shape), np.uint8)
    whole[: len(pictures)] = pictures
    grid = whole.reshape(rows, columns, *pictures[0].shape).swapaxes(1, 2)
    grid = grid.reshape(rows * height, columns * width, *pictures[0].shape[2:])
    options: dict[str, Any] = {"quality": 85} if path.endswith(".webp") else {"optimize": True}
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(folder / path, **options)
    sheet = Sheet(path, columns, rows, width, height)
    return [Sprite(sheet, place) for place in range(len(pictures))]


def _percent(place: int, count: int) -> float:
    return 100 * place / (count - 1) if count > 1 else 0.0
