"""Starting factors: random, from growing samples, and NNDSVD from a randomized SVD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._views import Views

__all__ = [
    "Init",
    "Start",
    "make_start",
    "nndsvd_passes",
    "nndsvd_start",
    "random_start",
    "sample_iterations",
    "sample_sizes",
]

Init = Literal["sample", "random", "nndsvd", "nndsvda", "nndsvdar"]
Float64Array = npt.NDArray[np.float64]

_OVERSAMPLING = 10
_POWER_STEPS = 2

sample_iterations = 10
"""Iterations on each of the samples that `sample_sizes` names."""

nndsvd_passes = _POWER_STEPS + 2
"""Reads of the data that `nndsvd_start` makes: the first sketch, its power steps, and one for
the singular values and left vectors."""


@dataclass
class Start:
    """Where a fit begins, and what finding it cost.

    Attributes
    ----------
    factors : list of ndarray of shape (k, d_v)
        H of every view.
    passes : float
        Reads of the data; a read of m of n examples counts m / n.
    sample_losses : list of list of float
        Relative losses on every sample.
    """

    factors: list[Float64Array]
    passes: float = 0.0
    sample_losses: list[list[float]] = field(default_factory=list)


def make_start(
    views: Views,
    weights: Mapping[str, float],
    n_components: int,
    init: Init,
    random_state: np.random.RandomState,
    *,
    engine_for: Callable[[Views, int], _core.Engine],
    n_threads: int | None,
    extrapolate: bool,
) -> Start:
    """Find the start that a fit asks for.

    Parameters
    ----------
    views : Views
        The data, with statistics.
    weights : mapping of str to float
        Weight of every view.
    n_components : int
        Number of components k.
    init : {"sample", "random", "nndsvd", "nndsvda", "nndsvdar"}
        The kind of start.
    random_state : numpy.random.RandomState
        Source of randomness.
    engine_for : callable
        Gives the fit's problem on some views at some rank.
    n_threads : int or None
        Threads of checks.
    extrapolate : bool
        Whether fits of samples are accelerated.

    Returns
    -------
    Start
        The factors.

    Raises
    ------
    ValueError
        For NNDSVD of more components than the data has rows or columns.
    """
    columns = list(views.n_columns.values())
    if init in ("nndsvd", "nndsvda", "nndsvdar"):
        limit = min(views.n_examples, sum(columns))
        if n_components > limit:
            raise ValueError(
                f"init={init!r} can only be used when n_components <= "
                f"min(n_examples, n_columns) = {limit}, got {n_components}"
            )
        engine = engine_for(views, nndsvd_rank(n_components, columns))
        factors = nndsvd_start(
            engine, columns, list(weights.values()), n_components, init, random_state
        )
        return Start(factors, nndsvd_passes)
    rms = [
        float(np.sqrt(square / (views.n_examples * d)))
        for square, d in zip(views.sums_of_squares, columns, strict=True)
    ]
    start = Start(random_start(n_components, columns, rms, random_state))
    sizes = sample_sizes(views.n_examples, n_components) if init == "sample" else []
    for size in sizes:
        # Drawn from all rows: the first ones of data sorted by class would be of few classes.
        rows = np.sort(random_state.choice(views.n_examples, size, replace=False))
        sample = views.take(rows).with_statistics(n_threads)
        engine = engine_for(sample, n_components)
        for v, factor in enumerate(start.factors):
            engine.set_h(v, factor)
        result = engine.fit(
            sample.sums_of_squares,
            max_iterations=sample_iterations,
            tolerance=0.0,
            extrapolate=extrapolate,
            verify=False,
            progress=None,
        )
        start.factors = [engine.h(v) for v in range(len(columns))]
        start.passes += (result.passes + 1) * size / views.n_examples
        start.sample_losses.append(list(result.fits[0].losses))
    return start


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


def sample_sizes(n_examples: int, n_components: int) -> list[int]:
    """Sizes of the samples on which a fit begins.

    A fit of few examples costs little and brings H most of the way: from 250 examples, or 12 for
    every component if that is more, sizes double up to a tenth of the data. With
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
    while 10 * size <= n_examples:
        sizes.append(size)
        size *= 2
    return sizes


def nndsvd_start(
    engine: _core.Engine,
    columns: Sequence[int],
    weights: Sequence[float],
    n_components: int,
    init: Init,
    random_state: np.random.RandomState,
) -> list[Float64Array]:
    """Non-negative double SVD of the weighted views side by side.

    The right singular vectors come from a randomized SVD (Halko, Martinsson and Tropp 2011) whose
    every step ``Q -> A^T A Q`` is one read of the data, A = hstack(sqrt(w_v) X_v). Each component
    keeps the larger of the positive and negative parts of its pair of singular vectors
    (Boutsidis and Gallopoulos 2008); "nndsvda" fills zeros with the mean of A as the sketch knows
    it, "nndsvdar" with random numbers of about a hundredth of it.

    Parameters
    ----------
    engine : _core.Engine
        The problem, with one fit of rank ``nndsvd_rank(n_components, columns)``.
    columns, weights : sequence
        Number of columns and weight of each view; views of weight 0 start at their mean.
    n_components : int
        Number of components k.
    init : {"nndsvd", "nndsvda", "nndsvdar"}
        Treatment of zeros.
    random_state : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    list of ndarray of shape (k, d_v)
        One factor for each view.
    """
    roots = np.sqrt(np.asarray(weights, dtype=np.float64))
    edges = np.cumsum([0, *columns])
    active = np.repeat(roots > 0, columns)
    rank = nndsvd_rank(n_components, columns)

    def multiply(q: Float64Array, y: npt.NDArray[Any] | None) -> tuple[Float64Array, Float64Array]:
        # The core sums w_v X_v Q_v, so that sqrt(w_v) is taken out of Q and put back into S.
        for v, root in enumerate(roots):
            part = q[edges[v] : edges[v + 1]].T
            engine.set_h(v, part / root if root > 0 else np.zeros_like(part))
        c, s = engine.power(y)
        return c, np.concatenate([root * part for root, part in zip(roots, s, strict=True)], 1).T

    q = random_state.standard_normal((len(active), rank)) * active[:, np.newaxis]
    q, _ = np.linalg.qr(q)
    for _ in range(_POWER_STEPS + 1):
        _, z = multiply(q, None)
        q, _ = np.linalg.qr(z)
    y = np.empty((engine.n_rows, rank), dtype=np.float64 if engine.float64 else np.float32)
    c, _ = multiply(q, y)
    mean = float(y.sum(axis=0, dtype=np.float64) @ q.sum(axis=0)) / (len(y) * max(active.sum(), 1))
    values, vectors = np.linalg.eigh(c)
    order = np.argsort(values)[::-1][:n_components]
    singular = np.sqrt(np.maximum(values[order], 0.0))
    left = y.astype(np.float64) @ vectors[:, order]
    right = q @ vectors[:, order]

    start = np.empty((n_components, len(active)))
    for r in range(n_components):
        u = left[:, r] / singular[r] if singular[r] > 0 else left[:, r]
        v = right[:, r]
        if r == 0:
            start[r] = np.sqrt(singular[r]) * np.abs(v)
            continue
        parts = []
        for sign in (1.0, -1.0):
            u_part, v_part = np.maximum(sign * u, 0.0), np.maximum(sign * v, 0.0)
            norms = float(np.linalg.norm(u_part)), float(np.linalg.norm(v_part))
            parts.append((norms[0] * norms[1], v_part / (norms[1] or 1.0)))
        size, direction = max(parts, key=lambda part: part[0])
        start[r] = np.sqrt(singular[r] * size) * direction
    start[start < 1e-6 * start.max(initial=0.0)] = 0.0
    if init == "nndsvda":
        start[start == 0.0] = mean
    elif init == "nndsvdar":
        zeros = start == 0.0
        start[zeros] = np.abs(mean * random_state.standard_normal(int(zeros.sum())) / 100)
    factors = [start[:, edges[v] : edges[v + 1]] for v in range(len(columns))]
    # A weighted view's factor is that of sqrt(w_v) X_v; a passive view has told the SVD nothing.
    return [
        factor / root if root > 0 else np.full_like(factor, mean)
        for factor, root in zip(factors, roots, strict=True)
    ]


def nndsvd_rank(n_components: int, columns: Sequence[int]) -> int:
    """Rank of the sketch for `n_components`: a few more, as far as there are columns."""
    return int(min(n_components + _OVERSAMPLING, sum(columns)))
