"""The views of a fit, whatever the caller passed: names, arrays and their statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._examples import ExampleTerms
from .store import ActivationStore

__all__ = ["ViewData", "Views", "load_views"]

_KEPT_DTYPES = ("uint8", "float16", "float32", "float64")


@dataclass(frozen=True)
class ViewData:
    """One view: consecutive pieces of its rows, in the form that the core reads."""

    name: str
    pieces: list[npt.NDArray[Any]]
    dtype: str
    scale: float
    statistics: tuple[float, float, int] | None
    """Sum of squares, minimum and number of values that are not finite, where known."""

    @property
    def n_columns(self) -> int:
        """Number of columns of the view."""
        return int(self.pieces[0].shape[1])


@dataclass(frozen=True)
class Views:
    """All views of one call, with equally many rows."""

    views: list[ViewData]
    fingerprint: str | None
    terms: ExampleTerms = field(default_factory=ExampleTerms)

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
        return sum(len(piece) for piece in self.views[0].pieces)

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
            self.source(),
            ranks=[1],
            weights=zeros,
            l1_w=0.0,
            l2_w=0.0,
            l1_h=zeros,
            l2_h=zeros,
            device="cpu",
            float64=self.is_float64,
            threads=n_threads or 0,
            row_terms=self.terms.core(),
        ).scan()
        views = [
            replace(view, statistics=(found.sum_of_squares, found.minimum, found.nonfinite))
            for view, found in zip(self.views, scanned, strict=True)
        ]
        return replace(self, views=views)

    def with_terms(self, terms: ExampleTerms) -> Views:
        """Know what the caller said of single examples."""
        views = self.views
        if terms.changes_statistics:
            views = [replace(view, statistics=None) for view in views]
        return replace(self, views=views, terms=terms)

    @property
    def sums_of_squares(self) -> list[float]:
        """Sum of squares of every view; call :meth:`with_statistics` first."""
        return [view.statistics[0] for view in self.views if view.statistics is not None]

    def check_values(self) -> None:
        """Raise ValueError for values that cannot be factorized."""
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
                    f"Negative values in data passed to CoupledNMF: view {view.name!r} has "
                    f"minimum {minimum:.6g}; non-negative factorization needs values of at least "
                    "0, such as activations after a ReLU"
                )

    def in_order(self, names: list[str]) -> Views:
        """Put the views into another order."""
        by_name = {view.name: view for view in self.views}
        return replace(self, views=[by_name[name] for name in names])

    def take(self, rows: npt.NDArray[np.intp]) -> Views:
        """Copy some rows, ascending, into memory."""
        return Views([_take(view, rows) for view in self.views], None, self.terms.take(rows))

    def part(self, columns: Mapping[str, tuple[str, slice]], folds: int, kept: list[int]) -> Views:
        """Cut out runs of columns, and every `folds`-th example from each of some; no copy is made.

        Parameters
        ----------
        columns : mapping of str to tuple of str and slice
            By name of the new view, the view that it is cut from and its columns there.
        folds : int
            Number of parts that examples are dealt into.
        kept : list of int
            The parts to keep, one after the other.

        Returns
        -------
        Views
            The part, without statistics.
        """
        by_name = {view.name: view for view in self.views}
        views = []
        for name, (whole, own) in columns.items():
            pieces = []
            for fold in kept:
                first = 0
                for piece in by_name[whole].pieces:
                    rows = piece[(fold - first) % folds :: folds, own]
                    pieces += [rows] if len(rows) else []
                    first += len(piece)
            views.append(replace(by_name[whole], name=name, pieces=pieces, statistics=None))
        return Views(views, None)

    def source(self, block_rows: int = 0) -> _core.Source:
        """Give the arrays to the core, which keeps them alive and copies nothing."""
        return _core.Source(
            [view.pieces for view in self.views],
            [view.dtype for view in self.views],
            [view.scale for view in self.views],
            block_rows=block_rows,
        )


def load_views(X: Any, *, expected: Mapping[str, int] | None = None, caller: str) -> Views:
    """Check `X` and bring it into the form that the core reads.

    Parameters
    ----------
    X : ActivationStore or mapping of str to array of shape (n_examples, n_columns)
        The data. Arrays of uint8, float16, float32 and float64 are used in place when their
        rows are contiguous; other real dtypes and layouts are copied.
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
    if isinstance(X, ActivationStore):
        views = [_from_store(X, name) for name in X.views]
        fingerprint: str | None = X.fingerprint
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
    rows = {view.name: sum(len(piece) for piece in view.pieces) for view in views}
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


def _from_array(name: Any, array: Any) -> ViewData:
    if not isinstance(name, str):
        raise TypeError(f"view names must be strings, got {name!r}")
    values = np.asarray(array)
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
    if values.dtype.kind not in "fiub":
        raise TypeError(f"view {name!r} has dtype {values.dtype}; expected real numbers")
    if values.dtype.name not in _KEPT_DTYPES:
        wide = values.dtype.kind != "b" and values.dtype.itemsize > 2
        values = values.astype(np.float64 if wide else np.float32)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    rows_contiguous = values.strides[1] == values.itemsize or values.shape[1] == 1
    if not rows_contiguous or values.strides[0] < 0 or values.strides[0] % values.itemsize:
        values = np.ascontiguousarray(values)
    return ViewData(name, [values], values.dtype.name, 1.0, None)


def _take(view: ViewData, rows: npt.NDArray[np.intp]) -> ViewData:
    edges = np.cumsum([0, *(len(piece) for piece in view.pieces)])
    cuts = np.searchsorted(rows, edges)
    parts = [
        piece[rows[cuts[i] : cuts[i + 1]] - edges[i]]
        for i, piece in enumerate(view.pieces)
        if cuts[i] < cuts[i + 1]
    ]
    return replace(view, pieces=[np.concatenate(parts)], statistics=None)


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
