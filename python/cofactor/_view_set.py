"""The views of a call and what is known of them: names, rows, statistics, terms of examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._examples import ExampleTerms, given_length, load_terms
from ._memory import Reading
from ._processes import Processes
from ._rows import STORED_BYTES, ArrayRows, BlockRows, FileRows, Rows
from ._shared_terms import digest_of_all, share_terms, weight_of_all

__all__ = ["ViewData", "Views"]


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
    """All views of one call, with equally many rows.

    Several processes have some of the rows each: `rows` and `terms` are of this process's own
    examples, and everything else, statistics too, of those of all.
    """

    views: list[ViewData]
    rows: Rows
    fingerprint: str | None
    reading: Reading = field(default_factory=Reading)
    terms: ExampleTerms = field(default_factory=ExampleTerms)
    terms_digest: str | None = None
    """Hash of the terms, those of all processes; None where there are none."""
    weight: float | None = None
    """Sum of the weights of all examples; None where they have none."""
    processes: Processes = field(default_factory=Processes)
    first: int = 0
    """Number of this process's first example among all."""
    total: int | None = None
    """Number of all examples; None where this process has them all."""

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
        """Number of all examples; of blocks, call :meth:`with_statistics` first."""
        return self.rows.n_examples if self.total is None else self.total

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all examples, or their number."""
        return float(self.n_examples) if self.weight is None else self.weight

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
            device="cpu",
            float64=self.is_float64,
            threads=n_threads or 0,
            row_terms=self.terms.core(),
        ).scan()
        of_all = self.processes.gather(
            [[found.sum_of_squares, found.minimum, found.nonfinite] for found in scanned]
        )
        views = []
        for view, found in zip(self.views, zip(*of_all, strict=True), strict=True):
            squares, minima, nonfinite = zip(*found, strict=True)
            views.append(replace(view, statistics=(sum(squares), min(minima), sum(nonfinite))))
        rows = self.rows
        if not isinstance(rows, BlockRows):
            return replace(self, views=views)
        # Counted while they were read.
        rows = replace(rows, n_examples=self.source.n_rows)
        return replace(self, views=views, rows=rows).placed()

    def placed(self) -> Views:
        """Know how many examples there are on all processes, and on those before this one."""
        if self.processes.size == 1:
            return self
        counts = self.processes.gather(self.rows.n_examples)
        return replace(self, first=sum(counts[: self.processes.rank]), total=sum(counts))

    def told(
        self,
        *,
        mask: Mapping[str, npt.ArrayLike] | None = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        labels: npt.NDArray[Any] | None = None,
    ) -> Views:
        """Check what the caller said of single examples, and know it: see :func:`load_terms`.

        Of a store that is of all examples, and of anything else of this process's own.
        """
        rows = self.rows
        is_store = isinstance(rows, FileRows)
        count = self.n_examples if is_store else rows.n_examples
        if isinstance(rows, BlockRows):
            # The first pass counts blocks and needs the terms, so that it checks their number.
            rows.reader.told = count = given_length(mask, sample_weight, groups)
            rows = replace(rows, n_examples=count)
        terms = load_terms(
            self.names, count, mask=mask, sample_weight=sample_weight, groups=groups, labels=labels
        )
        if is_store:
            weight = weight_of_all(terms, Processes())
            digest = terms.digest()
            self.processes.check_same("the examples", {"mask, sample_weight or groups": digest})
            if self.processes.size > 1:
                terms = terms.take(np.arange(self.first, self.first + rows.n_examples))
        else:
            if self.processes.size > 1:
                terms = share_terms(
                    terms, count, self.processes, labels_are_known=labels is not None
                )
            weight = weight_of_all(terms, self.processes)
            digest = digest_of_all(terms, self.processes)
        views = self.views
        # With the terms of all: statistics that one process has to find are found by all.
        if any(self.processes.gather(terms.changes_statistics)):
            views = [replace(view, statistics=None) for view in views]
        return replace(
            self, views=views, rows=rows, terms=terms, terms_digest=digest, weight=weight
        )

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
        """Return some samples of all examples, each ascending; every process has its own part."""
        views = [replace(view, statistics=None) for view in self.views]
        own = [self.own(indices) for indices in samples]
        taken = []
        for indices, inside, rows in zip(samples, own, self.rows.take(own), strict=True):
            terms = self.terms.take(inside)
            sample = replace(self, views=views, rows=rows, fingerprint=None, terms=terms)
            if terms.weight is not None:
                weight = sum(self.processes.gather(float(terms.weight.sum())))
                sample = replace(sample, weight=weight)
            if self.total is not None:
                first = int(np.searchsorted(indices, self.first))
                sample = replace(sample, first=first, total=len(indices))
            taken.append(sample)
        return taken

    def own(self, indices: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return those of some examples, ascending, that this process has, counted in its own."""
        if self.total is None:
            return indices
        ends = [self.first, self.first + self.rows.n_examples]
        return indices[slice(*np.searchsorted(indices, ends))] - self.first

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
