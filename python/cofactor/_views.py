"""The views of a fit, whatever the caller passed: names, arrays and their statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from . import _core
from ._arrays import like, to_host
from .store import ActivationStore

__all__ = ["ViewData", "Views", "like_views", "load_views", "view_of_matrix"]

_KEPT_DTYPES = ("uint8", "float16", "float32", "float64")


@dataclass(frozen=True)
class ViewData:
    """One view: consecutive pieces of its rows, and how the core reads them."""

    name: str
    pieces: list[Any]
    """Arrays, or one sparse matrix in rows."""
    dtype: str
    scale: float
    statistics: tuple[float, float, int] | None
    """Sum of squares, minimum and number of values that are not finite, where known."""

    @property
    def n_columns(self) -> int:
        """Number of columns of the view."""
        return int(self.pieces[0].shape[1])

    @property
    def n_rows(self) -> int:
        """Number of rows of the view."""
        return sum(int(piece.shape[0]) for piece in self.pieces)


@dataclass(frozen=True)
class Views:
    """All views of one call, with equally many rows."""

    views: list[ViewData]
    fingerprint: str | None

    @property
    def names(self) -> list[str]:
        """Names in the order of the input."""
        return [view.name for view in self.views]

    @property
    def n_columns(self) -> dict[str, int]:
        """Number of columns by name."""
        return {view.name: view.n_columns for view in self.views}

    @property
    def n_examples(self) -> int:
        """Number of rows of every view."""
        return self.views[0].n_rows

    @property
    def is_float64(self) -> bool:
        """Whether any view needs products in float64."""
        return any(view.dtype == "float64" for view in self.views)

    @property
    def have_statistics(self) -> bool:
        """Whether the sums of squares are known without a read of the data."""
        return all(view.statistics is not None for view in self.views)

    def with_statistics(self, n_threads: int | None) -> Views:
        """Know the statistics of every view, from one read of the data if need be."""
        if self.have_statistics:
            return self
        zeros = [0.0] * len(self.views)
        scanned = _core.Engine(
            self.source(n_threads),
            ranks=[1],
            weights=zeros,
            l1_w=0.0,
            l2_w=0.0,
            l1_h=zeros,
            l2_h=zeros,
            device="cpu",
            float64=self.is_float64,
            threads=n_threads or 0,
        ).scan()
        views = [
            replace(view, statistics=(found.sum_of_squares, found.minimum, found.nonfinite))
            for view, found in zip(self.views, scanned, strict=True)
        ]
        return Views(views, self.fingerprint)

    @property
    def sums_of_squares(self) -> list[float]:
        """Sum of squares of every view; call :meth:`with_statistics` first."""
        return [view.statistics[0] for view in self.views if view.statistics is not None]

    def statistics(self, name: str) -> tuple[float, float, int]:
        """Sum of squares, minimum and nonfinite values of a view whose statistics are known."""
        (statistics,) = (view.statistics for view in self.views if view.name == name)
        assert statistics is not None
        return statistics

    def check_values(self, caller: str = "CoupledNMF") -> None:
        """Raise ValueError, in the name of `caller`, for values that cannot be factorized."""
        for view in self.views:
            assert view.statistics is not None
            _, minimum, nonfinite = view.statistics
            if nonfinite:
                raise ValueError(
                    f"Input view {view.name!r} contains NaN or infinity ({nonfinite} values); "
                    "remove or replace them"
                )
            if minimum < 0:
                raise ValueError(
                    f"Negative values in data passed to {caller}: view {view.name!r} has "
                    f"minimum {minimum:.6g}; non-negative factorization needs values of at least "
                    "0, such as activations after a ReLU"
                )

    def take(self, rows: npt.NDArray[np.intp]) -> Views:
        """Copy some rows, ascending, into memory."""
        return Views([_take(view, rows) for view in self.views], None)

    def source(self, n_threads: int | None = None) -> _core.Source:
        """Give the arrays to the core, which keeps them alive.

        Row-major arrays are read in place. Others, sparse ones and integers are brought into that
        form block by block, by `n_threads`.
        """
        return _core.Source(
            [view.pieces for view in self.views],
            [view.dtype for view in self.views],
            [view.scale for view in self.views],
            threads=n_threads or 0,
        )


def load_views(X: Any, *, expected: Mapping[str, int] | None = None, caller: str) -> Views:
    """Check `X` and bring it into the form that the core reads.

    Parameters
    ----------
    X : ActivationStore or mapping of str to array of shape (n_examples, n_columns)
        The data. Arrays of uint8, float16, bfloat16, float32 and float64 are read in place when
        their rows are contiguous; other layouts and integers are converted block by block, of
        at most 16 bits to float32 and wider ones to float64. Only numbers of more than 64 bits are
        copied. Sparse matrices are read by rows.
    expected : mapping of str to int, optional
        Columns of the views that a fitted model knows; `X` may name some of them and no others.
    caller : str
        Name for error messages.

    Returns
    -------
    Views
        The views in the order of `X`.

    Raises
    ------
    TypeError
        If `X` is neither a store nor a mapping, or an array has no real numbers.
    ValueError
        If shapes or names do not fit together.
    """
    if isinstance(X, Views):
        views, fingerprint = X.views, X.fingerprint
    elif isinstance(X, ActivationStore):
        views = [_from_store(X, name) for name in X.views]
        fingerprint = X.fingerprint
    elif isinstance(X, Mapping):
        views = [_from_array(name, array) for name, array in X.items()]
        fingerprint = None
    else:
        raise TypeError(
            f"{caller} got {type(X).__name__}; expected an ActivationStore or a mapping from view "
            "name to array, such as {'pixels': X}"
        )
    if not views:
        raise ValueError(f"{caller} got no views; expected at least one")
    result = Views(views, fingerprint)
    rows = {view.name: view.n_rows for view in views}
    if len(set(rows.values())) > 1:
        raise ValueError(
            "Found views with inconsistent numbers of examples: "
            + ", ".join(f"{name!r} has {count}" for name, count in rows.items())
            + "; every view must describe the same examples"
        )
    if result.n_examples == 0:
        raise ValueError(
            f"Found views with 0 example(s) while a minimum of 1 is required by {caller}"
        )
    if expected is not None:
        _check_against(result, expected, caller)
    return result


def like_views(W: npt.NDArray[Any], X: Any) -> Any:
    """Bring an example factor into the library that all arrays of the mapping `X` come from."""
    arrays = list(X.values()) if isinstance(X, Mapping) else []
    same = len({type(array) for array in arrays}) == 1
    return like(W, arrays[0]) if same else W


def view_of_matrix(name: str, values: npt.NDArray[Any], dtype: str | None = None) -> Views:
    """One view of one matrix.

    Parameters
    ----------
    name : str
        Name of the view.
    values : ndarray of shape (n_examples, n_columns)
        Real numbers.
    dtype : str, optional
        Name of the dtype where `values` are the bits of numbers that NumPy does not know.

    Returns
    -------
    Views
        Without statistics.
    """
    return Views([_from_array(name, values, dtype)], None)


def _from_store(store: ActivationStore, name: str) -> ViewData:
    view = store.views[name]
    statistics = store.statistics(name)
    return ViewData(
        name,
        store.chunks(name),
        view.dtype,
        view.scale,
        (statistics.sum_of_squares, statistics.minimum, statistics.n_nonfinite),
    )


def _from_array(name: Any, array: Any, dtype: str | None = None) -> ViewData:
    if not isinstance(name, str):
        raise TypeError(f"view names must be strings, got {name!r}")
    host = to_host(array, f"view {name!r}")
    values, dtype = host.values, dtype or host.dtype
    if not issparse(values):
        values = np.asarray(values)
    if values.ndim != 2:
        raise ValueError(
            f"view {name!r} has shape {values.shape}; expected (n_examples, n_columns)"
            + ("; flatten it with x.reshape(len(x), -1)" if values.ndim > 2 else "")
        )
    if values.shape[1] == 0:
        raise ValueError(
            f"Found view {name!r} with 0 feature(s) (shape={values.shape}) "
            "while a minimum of 1 is required"
        )
    if values.dtype == object:
        values = values.astype(np.float64)  # or the TypeError that says which object is no number
    if values.dtype.kind not in "fiub":
        raise TypeError(f"view {name!r} has dtype {values.dtype}; expected real numbers")
    if dtype is None:
        dtype = _read_as(values.dtype)
    if issparse(values):
        # A sparse matrix in other form takes new memory for its entries, as in scikit-learn.
        values = values.tocsr().astype("float32" if dtype == "float32" else "float64", copy=False)
        if values.indices.dtype != values.indptr.dtype:
            values = values.copy()
            values.indices = values.indices.astype(np.int64)
            values.indptr = values.indptr.astype(np.int64)
        dtype = values.dtype.name
    elif values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    return ViewData(name, [values], dtype, 1.0, None)


def _read_as(dtype: np.dtype[Any]) -> str:
    """Name of the dtype in which the core reads an array."""
    if dtype.kind == "b":
        return "uint8"
    name = dtype.newbyteorder("=").name
    if name in _KEPT_DTYPES:
        return name
    return "float64" if dtype.itemsize > 2 else "float32"


def _take(view: ViewData, rows: npt.NDArray[np.intp]) -> ViewData:
    edges = np.cumsum([0, *(piece.shape[0] for piece in view.pieces)])
    cuts = np.searchsorted(rows, edges)
    parts = [
        piece[rows[cuts[i] : cuts[i + 1]] - edges[i]]
        for i, piece in enumerate(view.pieces)
        if cuts[i] < cuts[i + 1]
    ]
    # A sparse view is in one piece.
    pieces = parts if len(parts) == 1 else [np.concatenate(parts)]
    return replace(view, pieces=pieces, statistics=None)


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
