"""Times of the iterations of a fit."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Literal

import numpy as np

from cofactor._bench.data import Array, Float32Array


def time_iterations(
    views: Mapping[str, Array],
    H: Array,
    *,
    n_iterations: int,
    compute: Literal["float32", "bfloat16"] = "float32",
    n_threads: int | None = None,
) -> tuple[list[float], Array, Array]:
    """Time iterations of :class:`cofactor.CoupledNMF`.

    Parameters
    ----------
    views : mapping of str to ndarray of shape (n, d_v)
        The data.
    H : ndarray of shape (k, d)
        Start, for all views side by side.
    n_iterations : int
        Iterations; the first, which also starts the threads, is among them.
    compute : str, default="float32"
        Kind of arithmetic.
    n_threads : int or None, default=None
        Threads.

    Returns
    -------
    seconds : list of float
        Of every iteration: both products and both solves.
    W : ndarray of shape (n, k)
    H : ndarray of shape (k, d)
        The factors that it came to.

    Examples
    --------
    >>> from cofactor.bench import draw_start, synthetic_views
    >>> views = synthetic_views(64, 40)
    >>> _, H = draw_start(np.hstack(list(views.values())).astype(np.float32), 3)
    >>> seconds, W, H = time_iterations(views, H, n_iterations=2)
    >>> len(seconds), W.shape, H.shape
    (2, (64, 3), (3, 40))
    """
    from cofactor.nmf import CoupledNMF

    seconds: list[float] = []
    borders = np.cumsum([view.shape[1] for view in views.values()])[:-1]
    start = dict(zip(views, np.split(H, borders, axis=1), strict=True))
    nmf = CoupledNMF(
        H.shape[0],
        max_iter=n_iterations,
        tol=0,
        device="cpu",
        acceleration=None,
        n_threads=n_threads,
        callback=lambda event: seconds.append(event.seconds),
        compute=compute,
    ).fit(views, H=start)
    return seconds, nmf.W_, np.hstack([nmf.components_[name] for name in views])


def time_sklearn(
    X: Float32Array, W: Array, H: Array, *, n_iterations: int, n_threads: int | None = None
) -> tuple[list[float], Array, Array]:
    """Time iterations of scikit-learn's NMF by coordinate descent.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The matrix.
    W, H : ndarray of shape (n, k) and (k, d)
        Start; left as it is.
    n_iterations : int
        Iterations.
    n_threads : int or None, default=None
        Threads of its matrix products; None leaves them as they are.

    Returns
    -------
    seconds : list of float
        Of every iteration; the first includes the checks of the data.
    W, H : ndarray of shape (n, k) and (k, d)
        The factors that it came to.

    Examples
    --------
    >>> from cofactor.bench import draw_start
    >>> X = np.abs(np.random.default_rng(0).standard_normal((60, 40))).astype(np.float32)
    >>> W, H = draw_start(X, 3)
    >>> seconds, W, H = time_sklearn(X, W, H, n_iterations=3)
    >>> len(seconds), W.shape, H.shape, W.dtype.name
    (3, (60, 3), (3, 40), 'float32')
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    nmf = NMF(H.shape[0], init="custom", solver="cd", tol=0, max_iter=n_iterations, verbose=1)
    with warnings.catch_warnings(), threadpool_limits(n_threads):
        warnings.simplefilter("ignore", ConvergenceWarning)
        # It tells no callback of its iterations, but prints a line after each.
        with redirect_stdout(_Clock("violation")) as clock:
            W = nmf.fit_transform(X, W=W.copy(), H=H.copy())
    return np.diff(clock.times).tolist(), W, nmf.components_


class _Clock(io.TextIOBase):
    """A file that keeps the time when it was opened, and when each line of a kind was written."""

    def __init__(self, beginning: str) -> None:
        self._beginning = beginning
        self.times = [time.perf_counter()]

    def write(self, text: str) -> int:
        """Note the time, if a line begins as expected."""
        if text.startswith(self._beginning):
            self.times.append(time.perf_counter())
        return len(text)
