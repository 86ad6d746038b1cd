"""NNDSVD: a start from the singular vectors of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import _core
from ._compressed import power_step
from ._processes import Processes

__all__ = ["nndsvd_passes", "nndsvd_rank", "nndsvd_start"]

Float64Array = npt.NDArray[np.float64]

_OVERSAMPLING = 10
_POWER_STEPS = 2

nndsvd_passes = _POWER_STEPS + 2
"""Reads of the data that `nndsvd_start` makes: the first sketch, its power steps, and one for
the singular values and left vectors."""


def nndsvd_start(
    engine: _core.Engine,
    columns: Sequence[int],
    weights: Sequence[float],
    n_components: int,
    init: str,
    random_state: np.random.RandomState,
    processes: Processes | None = None,
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
    processes : Processes, optional
        Those that share the examples.

    Returns
    -------
    list of ndarray of shape (k, d_v)
        One factor for each view.
    """
    roots = np.sqrt(np.asarray(weights, dtype=np.float64))
    edges = np.cumsum([0, *columns])
    active = np.repeat(roots > 0, columns)
    rank = nndsvd_rank(n_components, columns)

    q = random_state.standard_normal((len(active), rank)) * active[:, np.newaxis]
    q = np.linalg.qr(q)[0].T
    for _ in range(_POWER_STEPS + 1):
        _, z = power_step(engine, columns, weights, q)
        q = np.linalg.qr(z.T)[0].T
    y = np.empty((engine.n_rows, rank), dtype=np.float64 if engine.float64 else np.float32)
    c, _ = power_step(engine, columns, weights, q, y)
    ranks = processes or Processes()
    parts_y = zip(*ranks.gather([len(y), y.sum(axis=0, dtype=np.float64).tolist()]), strict=True)
    counts, sums = (np.array(part) for part in parts_y)
    mean = float(sums.sum(axis=0) @ q.sum(axis=1)) / (counts.sum() * max(active.sum(), 1))
    values, vectors = np.linalg.eigh(c)
    order = np.argsort(values)[::-1][:n_components]
    singular = np.sqrt(np.maximum(values[order], 0.0))
    left = y.astype(np.float64) @ vectors[:, order]
    right = vectors[:, order].T @ q
    # Of the positive and the negative parts of the left vectors only the norms count.
    scale = np.where(singular > 0, singular, 1.0)
    halves = [
        [float(np.linalg.norm(np.maximum(sign * u, 0.0))) for sign in (1.0, -1.0)]
        for u in (left / scale).T
    ]
    left_norms = np.sqrt(np.sum(np.square(ranks.gather(halves)), axis=0))

    start = np.empty((n_components, len(active)))
    for r in range(n_components):
        v = right[r]
        if r == 0:
            start[r] = np.sqrt(singular[r]) * np.abs(v)
            continue
        parts = []
        for sign, left_norm in zip((1.0, -1.0), left_norms[r], strict=True):
            v_part = np.maximum(sign * v, 0.0)
            norm = float(np.linalg.norm(v_part))
            parts.append((left_norm * norm, v_part / (norm or 1.0)))
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
