"""A table: named columns of equal length, and how to write them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Named columns of equal length, in order.

    ``pandas.DataFrame(table.columns)`` makes a data frame of it.

    Parameters
    ----------
    columns : dict of str to ndarray
        One-dimensional arrays of one length.

    Raises
    ------
    ValueError
        If a column is not one-dimensional or lengths differ.

    Examples
    --------
    >>> table = Table({"concept": np.array([0, 1]), "share": np.array([0.75, 0.25])})
    >>> len(table), float(table["share"].max())
    (2, 0.75)
    >>> next(table.rows())
    {'concept': 0, 'share': 0.75}
    >>> table
    concept  share
          0   0.75
          1   0.25
    """

    columns: dict[str, NDArray[Any]]

    def __post_init__(self) -> None:
        """Check that the columns form a table."""
        shapes = {name: np.shape(column) for name, column in self.columns.items()}
        if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
            raise ValueError(
                f"columns have shapes {shapes}; expected one-dimensional arrays of one length"
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the column `name`."""
        return self.columns[name]

    def __repr__(self) -> str:
        """Return the first 20 rows as aligned text."""
        shown = [
            [name, *(_as_text(value) for value in column[:20].tolist())]
            for name, column in self.columns.items()
        ]
        widths = [max(map(len, column)) for column in shown]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in zip(*shown, strict=True)
        ]
        if len(self) > 20:
            lines.append(f"... {len(self):,} rows")
        return "\n".join(lines)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a dict per row, with plain Python values."""
        names = list(self.columns)
        for values in zip(*(column.tolist() for column in self.columns.values()), strict=True):
            yield dict(zip(names, values, strict=True))

    def to_csv(self, path: str | Path) -> Path:
        """Write UTF-8 text with a header line; floats keep every digit.

        Parameters
        ----------
        path : str or Path
            File to write; replaced if it exists.

        Returns
        -------
        Path
            The file.
        """
        path = Path(path)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows(zip(*(c.tolist() for c in self.columns.values()), strict=True))
        return path


def _as_text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
