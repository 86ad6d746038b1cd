"""The views of a fit, whatever the caller passed: names, arrays and their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import like
from ._blocks import BlockReader
from ._device_arrays import are_on_device, one_device
from ._examples import ExampleTerms, given_length, load_terms
from ._matrices import Matrix, to_matrix
from ._memory import Reading
from ._rows import STORED_BYTES, ArrayRows, BlockRows, FileRows, Rows
from .store import ActivationStore

__all__ = ["ViewData", "Views", "check_examples", "like_views", "load_views", "view_of_matrix"]


@dataclass(frozen=True)
class ViewData:
    """One view: its name, the form in which its numbers are stored, and what is known of them."""

    name: str
    n_columns: int
    dtype: str
    scale: float
    statistics: tuple[float, float, int] | None
    """Sum of squares, minimum and number of values that are not finite, where known."""


@dataclass(frozen=True)
class Views:
    """All views of one call, with equally many rows."""

    views: list[ViewData]
    rows: Rows
    fingerprint: str | None
    reading: Reading = field(default_factory=Reading)
    terms: ExampleTerms = field(default_factory=ExampleTerms)
    like: Any = None
    """An array of the library and device that results are to be of, where all views are."""

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
        """Number of rows of every view; of blocks, call :meth:`with_statistics` first."""
        return self.rows.n_examples

    @property
    def row_bytes(self) -> int:
        """Stored bytes of one example."""
        sizes = (view.n_columns * STORED_BYTES[view.dtype] for view in self.views)
        return sum(sizes)

    @property
    def is_float64(self) -> bool:
        """Whether any view needs products in float64."""
        return any(view.dtype == "float64" for view in self.views)

    @property
    def on_device(self) -> bool:
        """Whether the rows are on a CUDA device, where alone they can be read."""
        return self.rows.device is not None

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
            self.source,
            ranks=[1],
            weights=zeros,
            l1_w=0.0,
            l2_w=0.0,
            l1_h=zeros,
            l2_h=zeros,
            device="cuda" if self.on_device else "cpu",
            float64=self.is_float64,
            threads=n_threads or 0,
            row_terms=self.terms.core(),
        ).scan()
        views = [
            replace(view, statistics=(found.sum_of_squares, found.minimum, found.nonfinite))
            for view, found in zip(self.views, scanned, strict=True)
        ]
        rows = self.rows
        if isinstance(rows, BlockRows):
            # Counted while they were read.
            rows = replace(rows, n_examples=self.source.n_rows)
        return replace(self, views=views, rows=rows)

    def with_terms(self, terms: ExampleTerms) -> Views:
        """Know what the caller said of single examples."""
        views = self.views
        if terms.changes_statistics:
            views = [replace(view, statistics=None) for view in views]
        return replace(self, views=views, terms=terms)

    def told(
        self,
        *,
        mask: Mapping[str, npt.ArrayLike] | None = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        labels: npt.NDArray[Any] | None = None,
    ) -> Views:
        """Check what the caller said of single examples, and know it: see :func:`load_terms`."""
        count, rows = self.n_examples, self.rows
        if isinstance(rows, BlockRows):
            # The first pass counts blocks and needs the terms, so that it checks their number.
            rows.reader.told = count = given_length(mask, sample_weight, groups)
            rows = replace(rows, n_examples=count)
        terms = load_terms(
            self.names, count, mask=mask, sample_weight=sample_weight, groups=groups, labels=labels
        )
        return replace(self, rows=rows).with_terms(terms)

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
                    "0, such as activations after a ReLU, or a store's after "
                    "store.select(negative='relu'), 'shift' or 'split'"
                )

    def take(self, samples: Sequence[npt.NDArray[np.intp]]) -> list[Views]:
        """Return some samples of the rows, each ascending."""
        views = [replace(view, statistics=None) for view in self.views]
        return [
            replace(self, views=views, rows=rows, fingerprint=None, terms=self.terms.take(indices))
            for indices, rows in zip(samples, self.rows.take(samples), strict=True)
        ]

    @property
    def are_blocks(self) -> bool:
        """Whether examples are made on the fly, a block at a time."""
        return isinstance(self.rows, BlockRows)

    def in_order(self, names: list[str]) -> Views:
        """Put the views into another order; not of blocks."""
        assert isinstance(self.rows, ArrayRows | FileRows)
        order = [self.names.index(name) for name in names]
        return replace(self, views=[self.views[v] for v in order], rows=self.rows.in_order(order))

    def part(self, columns: Mapping[str, tuple[str, slice]], folds: int, kept: list[int]) -> Views:
        """Cut out runs of columns, and every `folds`-th example from each of some; not of blocks.

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
            The part, without statistics and terms of examples. No copy is made.
        """
        assert isinstance(self.rows, ArrayRows | FileRows)
        numbers = [(self.names.index(whole), own) for whole, own in columns.values()]
        views = [
            replace(
                self.views[number],
                name=name,
                n_columns=own.stop - own.start,
                statistics=None,
            )
            for name, (number, own) in zip(columns, numbers, strict=True)
        ]
        return Views(views, self.rows.part(numbers, folds, kept), None, self.reading)

    @cached_property
    def source(self) -> _core.Source:
        """The rows, as the core reads them; what it keeps of them is there for every engine."""
        return self.rows.source(self.views, self.reading)


def load_views(
    X: Any, *, expected: Mapping[str, int] | None = None, caller: str, device: str = "auto"
) -> Views:
    """Check `X` and bring it into the form that the core reads.

    Parameters
    ----------
    X : ActivationStore, mapping of str to array of shape (n_examples, n_columns), iterable or Views
        The data; an iterable gives blocks of examples as such mappings, and starts over whenever
        it is asked to. Arrays of uint8, float16, bfloat16, float32 and float64 are read in place
        when their rows are contiguous; other layouts and integers are converted block by block, of
        at most 16 bits to float32 and wider ones to float64. Only numbers of more than 64 bits are
        copied. Sparse matrices are read by rows. Arrays on a CUDA device are read there, and copied
        to the host if `device` is not there. Views that were loaded are returned.
    expected : mapping of str to int, optional
        Columns of the views that a fitted model knows; `X` may name some of them and no others.
    caller : str
        Name for error messages.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to compute.

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
        If shapes or names do not fit together, or not all views are in one place.
    """
    result = _views_of(X, caller, device)
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


def like_views(W: Any, X: Any) -> Any:
    """Bring an example factor into the library that all arrays of the mapping `X` come from.

    One that is on disk stays there.
    """
    if not isinstance(X, Mapping) or isinstance(W, np.memmap):
        return W
    return like(W, _example_of(X))


def _example_of(X: Mapping[str, Any]) -> Any:
    """Any of the arrays, if all come from one library."""
    arrays = list(X.values())
    return arrays[0] if len({type(array) for array in arrays}) == 1 else None


def view_of_matrix(
    name: str,
    values: npt.NDArray[Any] | _core.DeviceMatrix,
    dtype: str | None = None,
    n_threads: int | None = None,
    *,
    given: Any = None,
) -> Views:
    """One view of one matrix.

    Parameters
    ----------
    name : str
        Name of the view.
    values : ndarray or _core.DeviceMatrix of shape (n_examples, n_columns)
        Real numbers.
    dtype : str, optional
        Name of the dtype where `values` are the bits of numbers that NumPy does not know.
    n_threads : int, optional
        Threads that bring rows into a form that the core reads, where they are in another.
    given : array, optional
        What `values` were, for results to be of its library and device.

    Returns
    -------
    Views
        Without statistics.
    """
    views = _from_matrices({name: to_matrix(name, values, dtype)})
    return replace(views, reading=Reading(threads=n_threads or 0), like=given)


def _views_of(X: Any, caller: str, device: str) -> Views:
    if isinstance(X, Views):
        return X
    if isinstance(X, ActivationStore):
        return _from_store(X)
    if isinstance(X, Mapping):
        on_device = are_on_device(X, device, caller)
        views = _from_matrices(
            {name: to_matrix(name, array, on_device=on_device) for name, array in X.items()}
        )
        return replace(views, like=_example_of(X))
    if isinstance(X, Iterable) and not isinstance(X, str | bytes | np.ndarray):
        return _from_blocks(BlockReader(X, caller, device))
    raise TypeError(
        f"{caller} got {type(X).__name__}; expected an ActivationStore or a mapping from view "
        "name to array, such as {'pixels': X}, or an iterable of such mappings"
    )


def _from_store(store: ActivationStore) -> Views:
    views, files = [], []
    for name, view in store.views.items():
        where, chosen = store._file_rows(name)
        files.append(where)
        # Of some of the rows they are not stored, and the core reads faster.
        statistics = None
        if view.sum_of_squares is not None:
            found = store.statistics(name)
            statistics = found.sum_of_squares, found.minimum, found.n_nonfinite
        views.append(ViewData(name, view.n_columns, view.dtype, view.scale, statistics))
    selection = None if isinstance(chosen, range) else chosen
    stored = [store._stored_view(name) for name in store.views]
    return Views(views, FileRows(files, stored, store.n_examples, selection), store.fingerprint)


def _from_matrices(matrices: Mapping[str, Matrix]) -> Views:
    rows = {name: matrix.n_rows for name, matrix in matrices.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(
            "Found views with inconsistent numbers of examples: "
            + ", ".join(f"{name!r} has {count}" for name, count in rows.items())
            + "; every view must describe the same examples"
        )
    if any(isinstance(matrix.values, _core.DeviceMatrix) for matrix in matrices.values()):
        one_device({name: matrix.values for name, matrix in matrices.items()})
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
