"""Where the rows of the views are: in arrays, in files, or in blocks made on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from . import _core
from ._blocks import BlockReader
from ._matrices import gather, stack
from ._memory import Reading
from ._store.metadata import View

__all__ = ["STORED_BYTES", "ArrayRows", "BlockRows", "FileRows", "Layout", "Rows"]

# Of arrays: it costs nothing to cut them there, and what a pass writes may go to a file.
_ARRAY_BLOCK = 65_536

Indices = npt.NDArray[np.intp]

STORED_BYTES = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


class Layout(Protocol):
    """What the core needs to know of a view to read its rows."""

    @property
    def dtype(self) -> str:
        """Name of the stored dtype."""

    @property
    def scale(self) -> float:
        """Value of a stored 1."""

    @property
    def n_columns(self) -> int:
        """Number of columns."""


class Rows(Protocol):
    """Rows of all views, to be read by the core as often as needed."""

    @property
    def n_examples(self) -> int:
        """Number of rows of every view."""

    @property
    def sampling_passes(self) -> float:
        """Reads of all rows that taking samples costs."""

    def take(self, samples: Sequence[Indices]) -> list[Rows]:
        """Return some samples of the rows, each ascending."""

    def source(self, views: Sequence[Layout], reading: Reading) -> _core.Source:
        """Give the rows to the core."""


@dataclass(frozen=True)
class ArrayRows:
    """For every view consecutive pieces of its rows, read in place, or else block by block."""

    pieces: list[list[Any]]
    """Arrays, or sparse matrices in rows."""
    sampling_passes = 0.0

    @property
    def n_examples(self) -> int:
        """Number of rows of every view."""
        return sum(int(piece.shape[0]) for piece in self.pieces[0])

    def take(self, samples: Sequence[Indices]) -> list[Rows]:
        """Copy the samples into memory."""
        return [ArrayRows([[gather(view, rows)] for view in self.pieces]) for rows in samples]

    def in_order(self, order: Sequence[int]) -> Rows:
        """Put the views into another order."""
        return ArrayRows([self.pieces[v] for v in order])

    def part(self, columns: Sequence[tuple[int, slice]], folds: int, kept: Sequence[int]) -> Rows:
        """Cut out columns, and every `folds`-th row from each of some.

        No copy is made, save of the entries of sparse rows.

        Parameters
        ----------
        columns : sequence of tuple of int and slice
            For every new view, the number of the view that it is cut from and its columns there.
        folds : int
            Number of parts that rows are dealt into.
        kept : sequence of int
            The parts to keep, one after the other.
        """
        views = []
        for number, own in columns:
            pieces = []
            for fold in kept:
                first = 0
                for piece in self.pieces[number]:
                    rows = piece[(fold - first) % folds :: folds, own]
                    pieces += [rows] if rows.shape[0] else []
                    first += piece.shape[0]
            views.append(pieces)
        return ArrayRows(views)

    def source(self, views: Sequence[Layout], reading: Reading) -> _core.Source:
        """Give the rows to the core, which keeps the arrays alive."""
        return _core.Source(
            self.pieces,
            [view.dtype for view in views],
            [view.scale for view in views],
            block_rows=_ARRAY_BLOCK,
            threads=reading.threads,
        )


@dataclass(frozen=True)
class FileRows:
    """For every view the files of its rows, as (path, offset, rows), and what they hold."""

    files: list[list[tuple[str, int, int]]]
    stored: list[View]
    n_examples: int
    selection: npt.NDArray[np.int64] | None = None
    """Which of the rows in the files, in order; all where None."""
    cuts: list[tuple[int, int, int]] | None = None
    """Views to give, as (view, first column, column after the last); all as they are where None."""
    sampling_passes = 0.0

    def take(self, samples: Sequence[Indices]) -> list[Rows]:
        """Narrow the selection to the samples; nothing is read yet."""
        chosen = self.selection
        return [
            replace(
                self,
                n_examples=len(rows),
                selection=rows.astype(np.int64) if chosen is None else chosen[rows],
            )
            for rows in samples
        ]

    def in_order(self, order: Sequence[int]) -> Rows:
        """Put the views into another order."""
        if self.cuts is not None:
            return replace(self, cuts=[self.cuts[v] for v in order])
        files, stored = self.files, self.stored
        return replace(self, files=[files[v] for v in order], stored=[stored[v] for v in order])

    def part(self, columns: Sequence[tuple[int, slice]], folds: int, kept: Sequence[int]) -> Rows:
        """Cut out columns and rows, as of arrays; nothing is read yet."""
        whole = self.cuts or [(v, 0, 0) for v in range(len(self.files))]
        cuts = []
        for number, own in columns:
            view, first, _ = whole[number]
            cuts.append((view, first + own.start, first + own.stop))
        rows = np.concatenate([np.arange(fold, self.n_examples, folds) for fold in kept])
        (taken,) = self.take([rows])
        assert isinstance(taken, FileRows)
        return replace(taken, cuts=cuts)

    def source(self, views: Sequence[Layout], reading: Reading) -> _core.Source:
        """Give the files to the core, which maps or reads them in the background."""
        return _core.Source.from_files(
            self.files,
            [view.n_columns for view in self.stored],
            [view.dtype for view in self.stored],
            [view.scale for view in self.stored],
            negative=[(view.negative or "keep", view.minimum or 0.0) for view in self.stored],
            selection=None if self.selection is None else self.selection.tolist(),
            block_rows=reading.block_rows(sum(view.nbytes for view in self.stored)),
            kept_bytes=reading.kept_bytes,
            cuts=self.cuts,
        )


@dataclass(frozen=True)
class BlockRows:
    """Blocks of rows that are made anew for every pass, as lists of one array a view."""

    reader: BlockReader
    n_examples: int
    sampling_passes = 1.0

    def take(self, samples: Sequence[Indices]) -> list[Rows]:
        """Read all blocks once and copy the samples out of them."""
        parts: list[list[list[Any]]] = [[] for _ in samples]
        first = 0
        for block in self.reader.start():
            stop = first + block[0].shape[0]
            for rows, found in zip(samples, parts, strict=True):
                inside = rows[slice(*np.searchsorted(rows, [first, stop]))] - first
                if inside.size:
                    found.append([array[inside] for array in block])
            first = stop
        none = [matrix.values[:0] for matrix in self.reader.first.values()]
        return [
            ArrayRows([[stack(view)] for view in zip(*(found or [none]), strict=True)])
            for found in parts
        ]

    def source(self, views: Sequence[Layout], reading: Reading) -> _core.Source:
        """Let the core ask for the blocks, one after the other."""
        return _core.Source.from_blocks(
            self.reader.start,
            [view.n_columns for view in views],
            [view.dtype for view in views],
            [view.scale for view in views],
            n_rows=self.n_examples,
            threads=reading.threads,
        )
