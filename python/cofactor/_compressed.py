"""A low-rank stand-in for the data, on which a fit begins without reading the data itself.

A = hstack(sqrt(w_v) X_v) is read once against the leading directions of a small sample (randomized
SVD: Halko, Martinsson and Tropp 2011), which leaves A ~ U diag(s) V^T with a few more directions
than there are components. Factorizing that product costs little. Erichson et al.
(arXiv:1711.02037) compress one side of A and give up non-negativity between updates; here both
sides are compressed, and both factors are non-negative throughout.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._processes import Processes

__all__ = ["Compressed", "CompressedFit", "compress", "power_step", "sample_directions"]

FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]

# Directions whose square, relative to that of the first, is rounding of sums in float32.
_ROUNDING = 1e-7

# Directions whose square, relative to that of the first, is rounding of sums in float64.
_DEPENDENT = 1e-13


def power_step(
    engine: _core.Engine,
    columns: Sequence[int],
    weights: Sequence[float],
    q: Float64Array,
    y: npt.NDArray[Any] | None = None,
    sample: Sequence[int] | None = None,
    *,
    rounded: bool = False,
) -> tuple[Float64Array, Float64Array]:
    """Read A once: Y^T Y and Y^T A for Y = A q^T.

    Parameters
    ----------
    engine : _core.Engine
        The problem, with as many components as `q` has rows.
    columns, weights : sequence
        Number of columns and weight of each view.
    q : ndarray of shape (rank, sum of columns)
        Directions.
    y : ndarray of shape (n_examples, rank), optional
        Receives Y. Rows of A and of Y are scaled by the roots of the examples' weights, if any.
    sample : sequence of int, optional
        Rows of Y that `y` receives, ascending, where it is not all of them.
    rounded : bool, default=False
        Whether the products round their numbers to bfloat16.

    Returns
    -------
    tuple of ndarray of shape (rank, rank) and ndarray of shape (rank, sum of columns)
        Y^T Y and Y^T A.
    """
    edges = np.cumsum([0, *columns])
    roots = np.sqrt(np.asarray(weights, dtype=np.float64))
    # The core sums w_v X_v Q_v, so that sqrt(w_v) is taken out of Q and put back into S.
    for v, root in enumerate(roots):
        part = q[:, edges[v] : edges[v + 1]]
        engine.set_h(v, part / root if root > 0 else np.zeros_like(part))
    c, s = engine.power(y, sample, rounded=rounded)
    z = np.empty_like(q)
    for v, root in enumerate(roots):
        np.multiply(s[v], root, out=z[:, edges[v] : edges[v + 1]])
    if y is not None and engine.row_weight is not None:
        weight = engine.row_weight if sample is None else engine.row_weight[list(sample)]
        y *= np.sqrt(weight)[:, np.newaxis]
    return c, z


def sample_directions(
    engine: _core.Engine,
    columns: Sequence[int],
    weights: Sequence[float],
    rank: int,
    steps: int,
    random_state: np.random.RandomState,
) -> Float64Array:
    """Leading right singular vectors of a sample, roughly, by `steps` reads of it.

    Parameters
    ----------
    engine : _core.Engine
        The problem on the sample, with one fit of rank `rank`.
    columns, weights : sequence
        Number of columns and weight of each view.
    rank, steps : int
        Number of vectors, and of power steps from random ones.
    random_state : numpy.random.RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (rank, sum of columns)
        Orthonormal rows; zeros where the sample has fewer directions. The last finite ones for
        numbers whose sums leave the range of the compute type.
    """
    q = random_state.standard_normal((rank, sum(columns)))
    for _ in range(steps):
        _, z = power_step(engine, columns, weights, q)
        # Orthonormal by the Gram matrix, which is far quicker than a QR decomposition of long
        # matrices; what that cannot tell from rounding is no direction, and 0.
        gram = z @ z.T
        if not np.isfinite(gram).all():
            break  # beyond the range of float64
        values, vectors = np.linalg.eigh(gram)
        kept = values > _DEPENDENT * max(values[-1], np.finfo(np.float64).tiny)
        scale = np.zeros(rank)
        scale[kept] = 1.0 / np.sqrt(values[kept])
        q = (vectors * scale).T @ z
    return q


@dataclass(frozen=True)
class Compressed:
    """A, or some of its rows, ~ left.T @ diag(singular) @ right, of orthonormal rows."""

    left: Float64Array
    singular: Float64Array
    right: Float64Array
    captured: float
    """Sum of squares of the whole product."""

    def sum_of_squares(self, total: float, share: float) -> float:
        """||A||_F^2 of the rows that are here, a `share` of all, whose sum is `total`."""
        if share == 1.0:
            return total
        return float((self.singular**2).sum()) + share * (total - self.captured)


def compress(
    engine: _core.Engine,
    columns: Sequence[int],
    weights: Sequence[float],
    directions: Sequence[Float64Array],
    kept: npt.NDArray[np.intp] | None = None,
    *,
    rounded: bool,
    processes: Processes | None = None,
) -> list[Compressed | None]:
    """Project A on the range of A q^T for each q, in one read for all of them.

    Parameters
    ----------
    engine : _core.Engine
        The problem, with a fit for each of `directions` of as many components as it has rows.
    columns, weights : sequence
        Number of columns and weight of each view.
    directions : sequence of ndarray of shape (rank, sum of columns)
        Directions q.
    kept : ndarray of int, optional
        Rows of A that the result stands for, ascending; all by default. Of several processes each
        has its own.
    rounded : bool
        Whether the products round their numbers to bfloat16.
    processes : Processes, optional
        Those that share the rows, and all of which get the result.

    Returns
    -------
    list of Compressed or None
        Of at most the rank of q; None for rows of zeros alone, and for numbers whose sums leave the
        range of the compute type.
    """
    edges = np.cumsum([0, *(len(q) for q in directions)])
    rows = engine.n_rows if kept is None else len(kept)
    y = np.empty((rows, edges[-1]), np.float64 if engine.float64 else np.float32)
    sample = None if kept is None else kept.tolist()
    q = np.concatenate(directions) if len(directions) > 1 else directions[0]
    c, z = power_step(engine, columns, weights, q, y, sample, rounded=rounded)
    if processes is not None:
        y = processes.concatenate(y)
    return [
        _project(c[a:b, a:b], z[a:b], y[:, a:b], some=kept is not None)
        for a, b in itertools.pairwise(edges)
    ]


def _project(c: Float64Array, z: Float64Array, y: FloatArray, *, some: bool) -> Compressed | None:
    """Decompose A from c = Y^T Y, z = Y^T A and all or `some` rows of Y = A q^T; scales z."""
    if not (np.isfinite(c).all() and np.isfinite(z).all() and c.any() and z.any()):
        return None
    values, vectors = np.linalg.eigh(c)
    strong = values > _ROUNDING * values[-1]
    basis = vectors[:, strong] / np.sqrt(values[strong])
    # z has squares of singular values, which leave the range of float64 if they are squared again.
    scale = max(z.max(), -z.min())
    z /= scale
    # U = Y basis is orthonormal, and A projected on it is U (U^T A), where U^T A = basis^T z.
    scaled = scale * basis
    squares, turn = np.linalg.eigh(scaled.T @ (z @ z.T) @ scaled)
    strong = squares > _ROUNDING * squares[-1]
    singular = np.sqrt(squares[strong])
    turned = basis @ turn[:, strong]
    left = turned.T @ y.T
    right = (turned * (scale / singular)).T @ z
    captured = float(squares[strong].sum())
    if some:
        # Parts of orthonormal rows are not orthonormal, and may lack a direction.
        q, r = np.linalg.qr(left.T)
        u, singular, vt = np.linalg.svd(r * singular, full_matrices=False)
        strong = singular**2 > _ROUNDING * singular[0] ** 2
        if not strong.any():
            return None
        left, singular, right = (q @ u[:, strong]).T, singular[strong], vt[strong] @ right
    return Compressed(left, singular, right, captured)


# Sweeps of coordinate descent that stand for a solve. Exact solves take far longer and gain little,
# since the other factor moves on.
_SWEEPS = 4


class CompressedFit:
    """Extrapolated alternating coordinate descent on compressed data (HALS).

    W and H take turns, a few sweeps each, from where they are; Cichocki and Phan, IEICE Trans.
    Fundamentals E92-A(3), 2009, call one sweep hierarchical alternating least squares.

    Parameters
    ----------
    data : Compressed
        A, nearly.
    total : float
        ||A||_F^2.
    start : ndarray of shape (k, sum of columns)
        H.
    l1_w, l2_w, l1_h, l2_h : float
        Penalties on W and on H.
    extrapolate : bool
        Whether to use momentum, as the loop of the core does.
    float64 : bool
        Whether to compute in float64.
    n_threads : int or None
        Threads of the sweeps.

    Attributes
    ----------
    losses : list of float
        ``||A - W H||^2 / ||A||^2`` after every accepted iteration, as far as `data` is A.
    """

    def __init__(
        self,
        data: Compressed,
        total: float,
        start: FloatArray,
        *,
        l1_w: float,
        l2_w: float,
        l1_h: float,
        l2_h: float,
        extrapolate: bool,
        float64: bool,
        n_threads: int | None,
    ) -> None:
        self._singular, self._total = data.singular, total
        self._extrapolate = extrapolate
        self._rows, self._columns = (
            _core.ProductSide(
                basis,
                data.singular,
                components=len(start),
                l1=l1,
                l2=l2,
                float64=float64,
                threads=n_threads or 0,
            )
            for basis, l1, l2 in ((data.left, l1_w, l2_w), (data.right, l1_h, l2_h))
        )
        self._best = self._columns.start(start)
        self._objective = np.inf
        self.losses: list[float] = []

    @property
    def H(self) -> Float64Array:
        """Factor of the columns, (k, sum of columns), of the best pair so far."""
        return self._columns.factor()

    def run(self, iterations: int) -> None:
        """Go on for some iterations."""
        step = self._best.coefficients, self._best.gram
        t = 1.0
        for _ in range(iterations):
            w = self._rows.descend(*step, sweeps=_SWEEPS)
            h = self._columns.descend(w.coefficients, w.gram, sweeps=_SWEEPS)
            cross = float((w.coefficients * self._singular * h.coefficients).sum())
            residual = self._total - 2.0 * cross + float((w.gram * h.gram).sum())
            objective = 0.5 * residual + w.penalty + h.penalty
            if objective > self._objective and t > 1.0:
                # Taken back, as in the loop of the core, and the momentum starts over.
                step = self._best.coefficients, self._best.gram
                t = 1.0
                continue
            after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t**2)) if self._extrapolate else t
            step = _extrapolate(self._best, h, (t - 1.0) / after)
            t = after
            self._rows.accept()
            self._columns.accept()
            self._best, self._objective = h, objective
            self.losses.append(max(residual, 0.0) / self._total)


def _extrapolate(
    old: _core.SideSums, new: _core.SideSums, momentum: float
) -> tuple[Float64Array, Float64Array]:
    """Coefficients and Gram matrix of ``new + momentum (new - old)``, which is never formed."""
    a, b = 1.0 + momentum, -momentum
    gram = a * a * new.gram + a * b * (new.cross + new.cross.T) + b * b * old.gram
    return a * new.coefficients + b * old.coefficients, gram
