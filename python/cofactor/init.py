"""Starting factors: random, from compressed data, from growing samples, and NNDSVD.

By default a fit begins on compressed data. Some hundred examples, drawn at random, give the leading
directions, a few more than there are components, and one read projects all examples on them.
Alternating coordinate descent on the product, from a random start, reads nothing more. What follows
on all of the data corrects what the product left out.

The reason is that a read of all data can be dear and that most iterations do not need one. On the
paper's case (10,000 x 28,160, rank 20) the median loss of ten seeds after five reads, those of the
start included, is 0.03 % above the best known; growing samples are 0.28 % above it, and plain
alternating from a random start 2.9 %. It is within 0.1 % after 2.6 reads, and growing samples are
not after 14. `python benchmarks/reads.py` makes these figures.

Compression pays where the data is wide. Where it is not, so that an iteration on compressed data
would cost more than an eighth of a read, a fit begins on growing samples of its examples, and
where there are too few for that, at random: see `compressed_rank` and `sample_sizes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from . import _core
from ._compressed import Compressed, CompressedFit, compress, sample_directions
from ._nndsvd import nndsvd_passes, nndsvd_rank, nndsvd_start
from ._parameters import Penalties
from ._views import Views

__all__ = [
    "Init",
    "Start",
    "compressed_examples",
    "compressed_iterations",
    "compressed_rank",
    "largest_sample",
    "make_start",
    "make_starts",
    "nndsvd_passes",
    "nndsvd_start",
    "random_start",
    "sample_iterations",
    "sample_sizes",
]

Init = Literal["compressed", "sample", "random", "nndsvd", "nndsvda", "nndsvdar"]
Float64Array = npt.NDArray[np.float64]

# Directions come from this many examples, or 4 for every component, in so many reads of them.
_DIRECTION_EXAMPLES = 500
_DIRECTION_READS = 2

# Compressed data is smaller than the data by this factor at least, or is not used. At the limit its
# iterations count as much as 7.5 reads, and are worth it: after the first pass over 10,000 x 512
# activations the loss at rank 20 is lower than growing samples lead to in forty.
_COMPRESSION = 8

# Numbers of the factors of fits that start together: sums and factors take about 30 bytes each.
_MOST_STACKED = 30_000_000

compressed_examples = 32_768
"""Examples of compressed data at most."""

largest_sample = 16_384
"""Examples of a sample at most."""

sample_iterations = 10
"""Iterations on each of the samples that `sample_sizes` names."""


@dataclass
class Start:
    """Where a fit begins, and what finding it cost.

    Attributes
    ----------
    factors : list of ndarray of shape (k, d_v)
        H of every view.
    passes : float
        Reads of the data; a read of m of n examples counts m / n, and an iteration on compressed
        data its share of the numbers.
    sample_losses : list of list of float
        Relative losses on the compressed data or on every sample.
    """

    factors: list[Float64Array]
    passes: float = 0.0
    sample_losses: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Case:
    """What a fit asks for."""

    views: Views
    weights: list[float]
    n_components: int
    penalties: Penalties
    random_state: np.random.RandomState
    engine_for: Callable[[Views, Sequence[int]], _core.Engine]
    n_threads: int | None
    extrapolate: bool
    rounded: bool

    @property
    def columns(self) -> list[int]:
        return list(self.views.n_columns.values())

    @property
    def active_columns(self) -> int:
        return sum(d for d, w in zip(self.columns, self.weights, strict=True) if w > 0)

    @property
    def compressed_rank(self) -> int:
        return compressed_rank(self.views.n_examples, self.active_columns, self.n_components)

    def random(self) -> list[Float64Array]:
        rms = [
            float(np.sqrt(square / (self.views.n_examples * d)))
            for square, d in zip(self.views.sums_of_squares, self.columns, strict=True)
        ]
        return random_start(self.n_components, self.columns, rms, self.random_state)

    def draw(self, size: int) -> npt.NDArray[np.intp]:
        # Drawn from all rows: the first ones of data sorted by class would be of few classes.
        rows = self.random_state.choice(self.views.n_examples, size, replace=False)
        return np.sort(rows)


def make_start(
    views: Views,
    weights: Mapping[str, float],
    n_components: int,
    init: Init,
    random_state: np.random.RandomState,
    *,
    penalties: Penalties,
    engine_for: Callable[[Views, Sequence[int]], _core.Engine],
    n_threads: int | None,
    extrapolate: bool,
    rounded: bool,
) -> Start:
    """Find the start that a fit asks for: see :func:`make_starts`."""
    return make_starts(
        views,
        weights,
        [(n_components, random_state)],
        init,
        penalties=penalties,
        engine_for=engine_for,
        n_threads=n_threads,
        extrapolate=extrapolate,
        rounded=rounded,
    )[0]


def make_starts(
    views: Views,
    weights: Mapping[str, float],
    fits: Sequence[tuple[int, np.random.RandomState]],
    init: Init,
    *,
    penalties: Penalties,
    engine_for: Callable[[Views, Sequence[int]], _core.Engine],
    n_threads: int | None,
    extrapolate: bool,
    rounded: bool,
) -> list[Start]:
    """Find the starts that several fits of the same data ask for, each as if it were alone.

    Parameters
    ----------
    views : Views
        The data, with statistics.
    weights : mapping of str to float
        Weight of every view.
    fits : sequence of tuple of int and numpy.random.RandomState
        Number of components k and source of randomness of each fit.
    init : {"compressed", "sample", "random", "nndsvd", "nndsvda", "nndsvdar"}
        The kind of start. "compressed" is "sample" where compression does not pay, and "sample"
        is "random" where samples do not.
    penalties : Penalties
        Penalties of the fit.
    engine_for : callable
        Gives the fit's problem on some views at some ranks.
    n_threads : int or None
        Threads of checks and of small solves.
    extrapolate : bool
        Whether fits of samples are accelerated.
    rounded : bool
        Whether compression may round to bfloat16.

    Returns
    -------
    list of Start
        The factors. Starts on compressed data share reads of it; `passes` of the first has them.

    Raises
    ------
    ValueError
        For NNDSVD of more components than the data has rows or columns.
    """
    cases = [
        _Case(
            views,
            [weights[name] for name in views.names],
            n_components,
            penalties,
            random_state,
            engine_for,
            n_threads,
            extrapolate,
            rounded,
        )
        for n_components, random_state in fits
    ]
    # With more threads, sums in BLAS might depend on their number.
    with threadpool_limits(1, user_api="blas"):
        if init in ("nndsvd", "nndsvda", "nndsvdar"):
            starts = {i: _from_svd(case, init) for i, case in enumerate(cases)}
        elif init == "compressed":
            starts = _from_batches(cases)
        else:
            starts = {}
    found = [starts.get(i) or _from_samples(case, init != "random") for i, case in enumerate(cases)]
    for start in found:
        # Other machines may have other libraries for the decompositions, and round otherwise.
        start.factors = [views.processes.share_array(factor) for factor in start.factors]
    return found


def _from_batches(cases: Sequence[_Case]) -> dict[int, Start]:
    """Start the fits that compressed data pays for, by their number."""
    compressed = [i for i, case in enumerate(cases) if case.compressed_rank]
    starts: dict[int, Start] = {}
    for batch in _batches(cases, compressed):
        found = _from_compressed_data([cases[i] for i in batch])
        starts |= dict(zip(batch, found, strict=True))
    return starts


def _batches(cases: Sequence[_Case], numbers: Sequence[int]) -> list[list[int]]:
    """Fits whose directions are read against together, so that sums stay within memory."""
    batches: list[list[int]] = []
    stacked = 0
    for i in numbers:
        rank = cases[i].compressed_rank
        stacked += rank
        if not batches or stacked * cases[i].active_columns > _MOST_STACKED:
            batches.append([])
            stacked = rank
        batches[-1].append(i)
    return batches


def _from_svd(case: _Case, init: Init) -> Start:
    limit = min(case.views.n_examples, sum(case.columns))
    if case.n_components > limit:
        raise ValueError(
            f"init={init!r} can only be used when n_components <= "
            f"min(n_examples, n_columns) = {limit}, got {case.n_components}"
        )
    engine = case.engine_for(case.views, [nndsvd_rank(case.n_components, case.columns)])
    factors = nndsvd_start(
        engine,
        case.columns,
        case.weights,
        case.n_components,
        init,
        case.random_state,
        case.views.processes,
    )
    return Start(factors, nndsvd_passes)


def _from_samples(case: _Case, sampled: bool) -> Start:
    start = Start(case.random())
    n = case.views.n_examples
    sizes = sample_sizes(n, case.n_components) if sampled else []
    if sizes:
        start.passes += case.views.rows.sampling_passes
    samples = case.views.take([case.draw(size) for size in sizes]) if sizes else []
    for size, sample in zip(sizes, samples, strict=True):
        sample = sample.with_statistics(case.n_threads)
        engine = case.engine_for(sample, [case.n_components])
        for v, factor in enumerate(start.factors):
            engine.set_h(v, factor)
        result = engine.fit(
            sample.sums_of_squares,
            max_iterations=sample_iterations,
            tolerance=0.0,
            extrapolate=case.extrapolate,
            verify=False,
            progress=None,
        )
        start.factors = [engine.h(v) for v in range(len(case.columns))]
        start.passes += (result.passes + 1) * size / n
        start.sample_losses.append(list(result.fits[0].losses))
    return start


def _from_compressed_data(cases: Sequence[_Case]) -> list[Start]:
    """Start fits of the same data; one read of it compresses it for all of them."""
    views, columns, weights = cases[0].views, cases[0].columns, cases[0].weights
    n = views.n_examples
    drawn = [case.draw(min(n, max(_DIRECTION_EXAMPLES, 4 * case.n_components))) for case in cases]
    directions = []
    passes = []
    for case, sample in zip(cases, views.take(drawn), strict=True):
        passes.append(_DIRECTION_READS * sample.n_examples / n)
        directions.append(
            sample_directions(
                case.engine_for(sample, [case.compressed_rank]),
                columns,
                weights,
                case.compressed_rank,
                _DIRECTION_READS,
                case.random_state,
            )
        )
    # Of more examples than these, some tell enough of the others' W, and memory ends there. The
    # same ones for every fit: they share the read.
    kept = None
    if n > compressed_examples:
        kept = np.random.RandomState(0).choice(n, compressed_examples, replace=False)
        kept.sort()
    engine = cases[0].engine_for(views, [case.compressed_rank for case in cases])
    data = compress(
        engine,
        columns,
        weights,
        directions,
        None if kept is None else views.own(kept),
        rounded=cases[0].rounded,
        processes=views.processes,
    )
    passes[0] += 1.0 + views.rows.sampling_passes
    return [
        _from_product(case, product, reads)
        for case, product, reads in zip(cases, data, passes, strict=True)
    ]


def _from_product(case: _Case, data: Compressed | None, passes: float) -> Start:
    start = case.random()
    if data is None:
        return Start(start, passes)
    roots = np.sqrt(case.weights)
    weighted = [root * h for root, h in zip(roots, start, strict=True)]
    share = data.left.shape[1] / case.views.n_examples
    fit = CompressedFit(
        data,
        data.sum_of_squares(float(np.dot(case.weights, case.views.sums_of_squares)), share),
        np.concatenate(weighted, 1),
        **_penalties(case, share),
        extrapolate=case.extrapolate,
        float64=case.views.is_float64,
        n_threads=case.n_threads,
    )
    iterations = compressed_iterations(case.n_components)
    fit.run(iterations)
    parts = np.split(fit.H, np.cumsum(case.columns)[:-1], axis=1)
    # Compressed data says nothing about a view of weight 0, and that says nothing about W.
    factors = [
        part / root if root > 0 else h for part, root, h in zip(parts, roots, start, strict=True)
    ]
    n, width, rank = case.views.n_examples, case.active_columns, case.compressed_rank
    passes += iterations * rank * (data.left.shape[1] + width) / (n * width)
    return Start(factors, passes, [fit.losses])


def _penalties(case: _Case, share: float) -> dict[str, float]:
    """Penalties on W and H of A = hstack(sqrt(w_v) X_v), of whose rows a `share` is here.

    Views share one. Unit rows, which would need their own solve, are left to the fit, and so is
    what they bound.
    """
    free = case.penalties.unit_rows
    active = next(v for v, weight in enumerate(case.weights) if weight > 0)
    name = case.views.names[active]
    return {
        "l1_w": 0.0 if free else case.penalties.l1_w,
        "l2_w": 0.0 if free else case.penalties.l2_w,
        # They grow with the examples, of which these may be some.
        "l1_h": share * case.penalties.l1_h[name] * float(np.sqrt(case.weights[active])),
        "l2_h": share * case.penalties.l2_h[name],
    }


def random_start(
    n_components: int,
    columns: Sequence[int],
    root_mean_squares: Sequence[float],
    random_state: np.random.RandomState,
) -> list[Float64Array]:
    """Draw non-negative factors from a half-normal distribution.

    Parameters
    ----------
    n_components : int
        Number of components k.
    columns : sequence of int
        Number of columns d_v of each view.
    root_mean_squares : sequence of float
        Root mean square of the values of each view; H_v is scaled by it over sqrt(k), so that
        views of different units start alike.
    random_state : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of ndarray of shape (k, d_v)
        One factor for each view.

    Examples
    --------
    >>> import numpy as np
    >>> start = random_start(2, [3, 4], [1.0, 10.0], np.random.RandomState(0))
    >>> [h.shape for h in start]
    [(2, 3), (2, 4)]
    """
    return [
        np.abs(random_state.standard_normal((n_components, d))) * (rms / np.sqrt(n_components))
        for d, rms in zip(columns, root_mean_squares, strict=True)
    ]


def compressed_rank(n_examples: int, n_columns: int, n_components: int) -> int:
    """Rank of the compressed data on which a fit begins.

    Parameters
    ----------
    n_examples, n_columns : int
        Size of the views of positive weight side by side.
    n_components : int
        Number of components k.

    Returns
    -------
    int
        2 k + 20; 0 where the compressed data would be more than an eighth of the data.

    Examples
    --------
    >>> compressed_rank(10_000, 28_160, 20), compressed_rank(10_000, 64, 20)
    (60, 0)
    """
    rank = 2 * n_components + 20
    small = _COMPRESSION * rank * (n_examples + n_columns) <= n_examples * n_columns
    return rank if small else 0


def compressed_iterations(n_components: int) -> int:
    """Return the number of iterations on compressed data.

    On the paper's case (10,000 x 28,160) one costs a fiftieth of a pass over all of the data at 20
    components, and a thirteenth at 128.

    Parameters
    ----------
    n_components : int
        Number of components k.

    Returns
    -------
    int
        4000 / k, but at least 24 and at most 60.

    Examples
    --------
    >>> compressed_iterations(20), compressed_iterations(128)
    (60, 31)
    """
    return min(max(4000 // n_components, 24), 60)


def sample_sizes(n_examples: int, n_components: int) -> list[int]:
    """Sizes of the samples on which a fit begins.

    A fit of few examples costs little and brings H most of the way: from 250 examples, or 12 for
    every component if that is more, sizes double up to a tenth of the data, and to no more than
    `largest_sample`, since a start needs no more. With
    `sample_iterations` on each, all samples together cost at most two passes over the data.

    Parameters
    ----------
    n_examples, n_components : int
        Size of the problem.

    Returns
    -------
    list of int
        Ascending; empty where the data is too small for samples to pay.

    Examples
    --------
    >>> sample_sizes(10_000, 20), sample_sizes(10_000, 50), sample_sizes(1_000, 20)
    ([250, 500, 1000], [600], [])
    """
    sizes = []
    size = max(250, 12 * n_components)
    while 10 * size <= n_examples and size <= max(largest_sample, 12 * n_components):
        sizes.append(size)
        size *= 2
    return sizes
