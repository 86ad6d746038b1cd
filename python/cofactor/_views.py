"""The views of a fit, whatever the caller passed: names, arrays and their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import like
from ._blocks import BlockReader
from ._matrices import Matrix, to_matrix
from ._memory import Reading
from ._processes import Processes
from ._rows import ArrayRows, BlockRows, FileRows
from ._view_set import ViewData, Views
from .store import ActivationStore

__all__ = [
    "ViewData",
    "Views",
    "check_examples",
    "like_views",
    "load_views",
    "rows_of_rank",
    "view_of_matrix",
]


def load_views(
    X: Any,
    *,
    expected: Mapping[str, int] | None = None,
    caller: str,
    processes: Processes | None = None,
) -> Views:
    """Check `X` and bring it into the form that the core reads.

    Parameters
    ----------
    X : ActivationStore, mapping of str to array of shape (n_examples, n_columns), iterable or Views
        The data; an iterable gives blocks of examples as such mappings, and starts over whenever
        it is asked to. Arrays of uint8, float16, bfloat16, float32 and float64 are read in place
        when their rows are contiguous; other layouts and integers are converted block by block, of
        at most 16 bits to float32 and wider ones to float64. Only numbers of more than 64 bits are
        copied. Sparse matrices are read by rows. Views that were loaded are returned.
    expected : mapping of str to int, optional
        Columns of the views that a fitted model knows; `X` may name some of them and no others.
    caller : str
        Name for error messages.
    processes : Processes, optional
        Those that share the data: a store is divided between them, and anything else is what this
        process has. This one alone by default.

    Returns
    -------
    Views
        The views in the order of `X`.

    Raises
    ------
    TypeError
        If `X` is none of these, an iterator that can be read only once, or an array has no real
        numbers.
    ValueError
        If shapes or names do not fit together, or differ between processes.
    """
    result = _views_of(X, caller, processes or Processes())
    if not result.views:
        raise ValueError(f"{caller} got no views; expected at least one")
    if not result.are_blocks:
        check_examples(result, caller)
    if expected is not None:
        _check_against(result, expected, caller)
    return result


def check_examples(views: Views, caller: str) -> None:
    """Raise ValueError where there are no examples."""
    if views.n_examples == 0:
        raise ValueError(
            f"Found views with 0 example(s) while a minimum of 1 is required by {caller}"
        )


def like_views(W: npt.NDArray[Any], X: Any) -> Any:
    """Bring an example factor into the library that all arrays of the mapping `X` come from.

    One that is on disk stays there.
    """
    arrays = list(X.values()) if isinstance(X, Mapping) else []
    same = len({type(array) for array in arrays}) == 1 and not isinstance(W, np.memmap)
    return like(W, arrays[0]) if same else W


def view_of_matrix(
    name: str, values: npt.NDArray[Any], dtype: str | None = None, n_threads: int | None = None
) -> Views:
    """One view of one matrix.

    Parameters
    ----------
    name : str
        Name of the view.
    values : ndarray of shape (n_examples, n_columns)
        Real numbers.
    dtype : str, optional
        Name of the dtype where `values` are the bits of numbers that NumPy does not know.
    n_threads : int, optional
        Threads that bring rows into a form that the core reads, where they are in another.

    Returns
    -------
    Views
        Without statistics.
    """
    views = _from_matrices({name: to_matrix(name, values, dtype)})
    return replace(views, reading=Reading(threads=n_threads or 0))


def _views_of(X: Any, caller: str, processes: Processes) -> Views:
    if isinstance(X, Views):
        return X
    if isinstance(X, ActivationStore):
        return _shared(_from_store(X, processes), caller, processes)
    if isinstance(X, Mapping):
        matrices = {name: to_matrix(name, array) for name, array in X.items()}
        return _shared(_from_matrices(matrices), caller, processes).placed()
    if isinstance(X, Iterable) and not isinstance(X, str | bytes | np.ndarray):
        return _shared(_from_blocks(BlockReader(X, caller)), caller, processes)
    raise TypeError(
        f"{caller} got {type(X).__name__}; expected an ActivationStore or a mapping from view "
        "name to array, such as {'pixels': X}, or an iterable of such mappings"
    )


def _shared(views: Views, caller: str, processes: Processes) -> Views:
    """Make the views those of all processes, which must have the same ones."""
    if processes.size == 1:
        return views
    processes.check_same(
        caller,
        {
            "what X is": type(views.rows).__name__.removesuffix("Rows").lower(),
            "the names of the views": views.names,
            "the numbers of columns": list(views.n_columns.values()),
            "the dtypes of the views": [view.dtype for view in views.views],
            "the scales of the views": [view.scale for view in views.views],
            "the fingerprint of the store": views.fingerprint,
        },
    )
    return replace(views, processes=processes)


def rows_of_rank(n_rows: int, rank: int, size: int) -> slice:
    """Rows that one process reads: equally many whole panels, or rows where those are too few."""
    panels = -(-n_rows // _core.PANEL_ROWS)
    unit = _core.PANEL_ROWS if panels >= size else 1
    units = panels if panels >= size else n_rows
    first, stop = (min(n_rows, unit * (units * i // size)) for i in (rank, rank + 1))
    return slice(first, stop)


def _from_store(store: ActivationStore, processes: Processes) -> Views:
    rows = rows_of_rank(len(store), processes.rank, processes.size)
    own = store.select(rows=rows)
    views, files = [], []
    for name, view in store.views.items():
        where, chosen = own._file_rows(name)
        files.append(where)
        # Of some of the rows they are not stored, and the core reads faster.
        statistics = None
        if view.sum_of_squares is not None:
            found = store.statistics(name)
            statistics = found.sum_of_squares, found.minimum, found.n_nonfinite
        views.append(ViewData(name, view.n_columns, view.dtype, view.scale, statistics))
    selection = None if isinstance(chosen, range) else chosen
    stored = [store._stored_view(name) for name in store.views]
    result = Views(views, FileRows(files, stored, own.n_examples, selection), store.fingerprint)
    return result if processes.size == 1 else replace(result, first=rows.start, total=len(store))


def _from_matrices(matrices: Mapping[str, Matrix]) -> Views:
    rows = {name: matrix.n_rows for name, matrix in matrices.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(
            "Found views with inconsistent numbers of examples: "
            + ", ".join(f"{name!r} has {count}" for name, count in rows.items())
            + "; every view must describe the same examples"
        )
    pieces = [[matrix.values] for matrix in matrices.values()]
    return Views(_described(matrices), ArrayRows(pieces), None)


def _from_blocks(reader: BlockReader) -> Views:
    return Views(_described(reader.first), BlockRows(reader, 0), None)


def _described(matrices: Mapping[str, Matrix]) -> list[ViewData]:
    return [
        ViewData(name, matrix.n_columns, matrix.dtype, 1.0, None)
        for name, matrix in matrices.items()
    ]


def _check_against(views: Views, expected: Mapping[str, int], caller: str) -> None:
    unknown = [name for name in views.names if name not in expected]
    if unknown:
        raise ValueError(
            f"{caller} got unknown view(s) {', '.join(map(repr, unknown))}; "
            f"the fit knows {', '.join(map(repr, expected))}"
        )
    for name, columns in views.n_columns.items():
        if columns != expected[name]:
            raise ValueError(
                f"view {name!r} has {columns} features, but {caller.split('.')[0]} is expecting "
                f"{expected[name]} features as input"
            )
