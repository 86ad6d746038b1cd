"""Activation stores: directories of ``.npy`` shards that are read without loading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import StoreError
from ._store.encoding import DTYPES, Statistics, decode, statistics
from ._store.files import StoreColumns, StoreFiles
from ._store.metadata import View
from ._store.rows import Rows, compose, resolve_rows, split_by_shard
from ._store.writer import StoreWriter

__all__ = ["ActivationStore", "Statistics", "StoreError", "StoreWriter", "View"]

RowSelection = slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]


class ActivationStore:
    """Activations of a network on disk: views, per-example columns and attributes.

    Opening reads the metadata and the header of every shard; data is mapped when asked for.
    Stores are immutable, and may be shared by threads.

    Parameters
    ----------
    path : str or path-like
        Directory of the store.

    Raises
    ------
    StoreError
        If there is no store, it is incomplete, or any file differs from what the metadata says.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = tempfile.mkdtemp()
    >>> views = {"layer4": dict(shape=(2, 2, 2), dtype="float16")}
    >>> with ActivationStore.create(path, views=views) as writer:
    ...     writer.append({"layer4": np.ones((3, 2, 2, 2))}, columns={"labels": [0, 1, 1]})
    >>> store = ActivationStore(path)
    >>> len(store), store.views["layer4"].n_columns, store.views["layer4"].sum_of_squares
    (3, 8, 24.0)
    >>> store.select(rows=store.columns["labels"] == 1).read("layer4").shape
    (2, 8)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._files = StoreFiles(Path(path))
        metadata = self._files.metadata
        self._rows: Rows = range(metadata.n_examples)
        self._views = dict(metadata.views)
        self._statistics: dict[str, Statistics] = {}
        self._columns = StoreColumns(self._files, self._rows)

    @staticmethod
    def create(
        path: str | os.PathLike[str],
        views: Mapping[str, Mapping[str, Any]],
        attributes: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        rows_per_shard: int | None = None,
        fingerprint: str | None = None,
    ) -> StoreWriter:
        """Start a new store.

        Parameters
        ----------
        path : str or path-like
            Directory of the store; made if it does not exist.
        views : mapping of str to mapping
            For every view its options: `shape` of one example, `dtype` (one of "uint8",
            "float16", "bfloat16", "float32", "float64") and, for uint8, `scale` (a value is a
            stored number times this; default 1.0). Names consist of the characters
            ``A-Z a-z 0-9 _ . -``, since they name directories.
        attributes : mapping, optional
            JSON attributes to keep with the data; NumPy numbers and arrays are converted.
        overwrite : bool, default False
            Replace a store that is at `path`. A directory with anything else is never touched.
        rows_per_shard : int, optional
            Rows of each file, a multiple of 512. By default a file of the widest view has about
            64 MiB, and all files of the same rows at most about 512 MiB.
        fingerprint : str, optional
            A hash of what the data is computed from, kept as `source_fingerprint`.

        Returns
        -------
        StoreWriter
            A context manager with a method `append`.

        Raises
        ------
        StoreError
            If an option is not as described, or `path` is taken.
        """
        return StoreWriter(
            path,
            views,
            attributes=attributes,
            overwrite=overwrite,
            rows_per_shard=rows_per_shard,
            fingerprint=fingerprint,
        )

    @property
    def path(self) -> Path:
        """Directory of the store."""
        return self._files.root

    @property
    def n_examples(self) -> int:
        """Number of rows of every view."""
        return len(self._rows)

    @property
    def views(self) -> dict[str, View]:
        """The views, in the order in which they were declared or selected."""
        return dict(self._views)

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """Per-example columns such as "labels"; each is read when it is first asked for."""
        return self._columns

    @property
    def attributes(self) -> dict[str, Any]:
        """JSON attributes, such as "class_names"."""
        return self._files.metadata.attributes

    @property
    def source_fingerprint(self) -> str | None:
        """What the writer said the data was computed from, as a hash."""
        return self._files.metadata.source_fingerprint

    @property
    def fingerprint(self) -> str:
        """The sha256 of the metadata (checksums included) and of what is selected."""
        whole = self._files.fingerprint
        if self._is_all_rows() and list(self._views) == list(self._files.metadata.views):
            return whole
        digest = hashlib.sha256(whole.encode())
        digest.update(repr(list(self._views)).encode())
        if isinstance(self._rows, range):
            digest.update(f"{self._rows.start}:{self._rows.stop}".encode())
        else:
            digest.update(self._rows.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """Stored bytes of the selected rows and views."""
        return self.n_examples * sum(view.nbytes for view in self._views.values())

    def __len__(self) -> int:
        """Return the number of examples."""
        return self.n_examples

    def __repr__(self) -> str:
        """Describe the store, one line for each view."""
        lines = [
            f"ActivationStore({str(self.path)!r}): {self.n_examples:,} examples, "
            f"{len(self._views)} views, {format_bytes(self.nbytes)}"
        ]
        width = max(map(len, self._views))
        for view in self._views.values():
            shape = " x ".join(map(str, view.shape)) or "scalar"
            scale = f", scale {view.scale:.6g}" if view.dtype == "uint8" else ""
            lines.append(f"  {view.name:<{width}}  {shape}, {view.dtype}{scale}")
        if self._columns:
            lines.append(f"  columns: {', '.join(self._columns)}")
        if self.attributes:
            lines.append(f"  attributes: {', '.join(self.attributes)}")
        return "\n".join(lines)

    def chunks(self, view: str) -> list[npt.NDArray[Any]]:
        """Return the stored numbers of a view, in row order.

        Parameters
        ----------
        view : str
            Name of the view.

        Returns
        -------
        list of ndarray
            Read-only C-ordered arrays of shape (rows, n_columns) in the stored dtype, bfloat16
            as uint16. For all rows or a slice of step 1 they are mappings of the files, without
            a copy; other selections are gathered anew by each call, in chunks of a shard's rows.

        Raises
        ------
        StoreError
            If there is no such view, or a file has become shorter since the store was opened.
        """
        return list(self._pieces(self._view(view)))

    def read(self, view: str, rows: RowSelection | None = None) -> npt.NDArray[np.float32]:
        """Return the values of a view.

        Parameters
        ----------
        view : str
            Name of the view.
        rows : slice, array of int or array of bool, optional
            Which rows, counted within this store; all by default.

        Returns
        -------
        ndarray of shape (rows, n_columns), float32
            The values, scaled. Those of float64 views are rounded.

        Raises
        ------
        StoreError
            If there is no such view.
        IndexError, TypeError
            If `rows` is out of range or no selection.
        """
        described = self._view(view)
        if rows is not None:
            return self.select(rows=rows).read(view)
        values = np.empty((self.n_examples, described.n_columns), dtype=np.float32)
        start = 0
        for piece in self._pieces(described):
            stop = start + piece.shape[0]
            decode(piece, described.dtype, described.scale, values[start:stop])
            start = stop
        return values

    def select(
        self, rows: RowSelection | None = None, views: str | Sequence[str] | None = None
    ) -> ActivationStore:
        """Return a store narrowed to some rows and views; no data is read.

        Parameters
        ----------
        rows : slice, array of int or array of bool, optional
            Rows, counted within this store; order and repetitions are kept.
        views : str or sequence of str, optional
            Names of views; their order is kept.

        Returns
        -------
        ActivationStore
            Columns are narrowed too. Unless all rows remain, the statistics in `views` are
            None; :meth:`statistics` computes them.

        Raises
        ------
        StoreError
            If there is no such view, or none is named.
        IndexError, TypeError
            If `rows` is out of range or no selection.
        """
        narrowed = object.__new__(ActivationStore)
        narrowed._files = self._files
        narrowed._rows = compose(self._rows, resolve_rows(self.n_examples, rows))
        chosen = self._views
        if views is not None:
            names = [views] if isinstance(views, str) else list(views)
            if not names:
                raise StoreError("views is empty, expected at least one name")
            chosen = {name: self._view(name) for name in names}
        if not narrowed._is_all_rows():
            chosen = {
                name: View(view.name, view.shape, view.dtype, view.scale)
                for name, view in chosen.items()
            }
        narrowed._views = dict(chosen)
        narrowed._statistics = dict(self._statistics) if rows is None else {}
        narrowed._columns = StoreColumns(self._files, narrowed._rows)
        return narrowed

    def statistics(self, view: str) -> Statistics:
        """Return the statistics of a view's values.

        They are stored for whole views; for some of the rows the first call reads these.

        Raises
        ------
        StoreError
            If there is no such view.
        """
        described = self._view(view)
        if self._is_all_rows():
            described = self._files.metadata.views[view]
            return Statistics(
                described.sum_of_squares or 0.0,
                described.minimum or 0.0,
                described.maximum or 0.0,
                described.n_nonfinite or 0,
            )
        if view not in self._statistics:
            self._statistics[view] = statistics(
                self._pieces(described), described.dtype, described.scale
            )
        return self._statistics[view]

    def verify(self) -> None:
        """Read all files of the store, selected or not, and compare their checksums.

        Raises
        ------
        StoreError
            Naming the files that differ.
        """
        self._files.verify()

    def _file_rows(self, view: str) -> tuple[list[tuple[str, int, int]], Rows]:
        """Return where a view's rows are, as (path, offset in bytes, rows), and which of them.

        Consecutive rows are cut out of the files, so that all that is returned is selected.
        """
        described = self._view(view)
        rows = self._rows
        whole = range(self._files.metadata.n_examples)
        row_bytes = described.n_columns * DTYPES[described.dtype].itemsize
        files = []
        for index, start, stop in self._files.overlaps(rows if isinstance(rows, range) else whole):
            path, offset = self._files.payload(view, index)
            files.append((str(path), offset + start * row_bytes, stop - start))
        return files, range(len(rows)) if isinstance(rows, range) else rows

    def _is_all_rows(self) -> bool:
        everything = range(self._files.metadata.n_examples)
        return isinstance(self._rows, range) and self._rows == everything

    def _view(self, name: str) -> View:
        if name not in self._views:
            raise StoreError(
                f"{self.path}: no view {name!r}, expected one of {', '.join(self._views)}"
            )
        return self._views[name]

    def _pieces(self, view: View) -> Iterator[npt.NDArray[Any]]:
        if isinstance(self._rows, range):
            for index, start, stop in self._files.overlaps(self._rows):
                yield self._files.map(view.name, index)[start:stop]
            return
        longest = max(group.rows for group in self._files.metadata.shards)
        for first in range(0, len(self._rows), longest):
            rows = self._rows[first : first + longest]
            piece = np.empty((len(rows), view.n_columns), dtype=DTYPES[view.dtype])
            for index, where, local in split_by_shard(rows, self._files.offsets):
                piece[where] = self._files.map(view.name, index)[local]
            piece.flags.writeable = False
            yield piece


def format_bytes(n_bytes: float) -> str:
    """Return a number of bytes for people, in decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
