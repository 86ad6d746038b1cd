"""Many fits of the same data at once: every iteration reads the data once for all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from . import _core
from ._agreement import parameters_of
from ._given import with_unit_rows
from ._groups import clear_small_groups
from ._memory import Reading
from ._parameters import check_groups, check_parameters, resolve_weights
from ._processes import Processes
from ._views import Views, check_examples, load_views
from .concepts import Table
from .distributed import processes
from .init import make_starts
from .nmf import CoupledNMF, Data, FitEvent, ViewMapping

__all__ = ["ManyFits", "fit_many"]


@dataclass(frozen=True)
class ManyFits:
    """Fits of the same data.

    Attributes
    ----------
    fits : list of CoupledNMF
        The fits, by number of components and then by seed; each is what :meth:`CoupledNMF.fit`
        gives alone, save for `n_passes_`.
    losses : ndarray of shape (n_fits,)
        ``sum_v w_v ||X_v - W H_v||^2 / sum_v w_v ||X_v||^2`` of every fit's final W and components.
    n_passes : float
        Reads of the data, for all fits together. It is also the `n_passes_` of every fit.
    """

    fits: list[CoupledNMF]
    losses: npt.NDArray[np.float64]
    n_passes: float

    @property
    def table(self) -> Table:
        """One row a fit: components, seed, iterations, why it stopped, and its loss."""
        return Table(
            {
                "n_components": np.array([fit.n_components for fit in self.fits]),
                "seed": np.array([fit.random_state for fit in self.fits]),
                "n_iter": np.array([fit.n_iter_ for fit in self.fits]),
                "stop_reason": np.array([fit.stop_reason_ for fit in self.fits]),
                "loss": self.losses,
            }
        )

    def of(self, n_components: int) -> list[CoupledNMF]:
        """Fits with so many components, by seed.

        Raises
        ------
        ValueError
            If there are none.
        """
        found = [fit for fit in self.fits if fit.n_components == n_components]
        if not found:
            ranks = sorted({fit.n_components for fit in self.fits})
            raise ValueError(
                f"there are no fits of {n_components} components; expected one of "
                + ", ".join(map(str, ranks))
            )
        return found

    def best(self, n_components: int) -> CoupledNMF:
        """Fit of least loss with so many components."""
        return min(self.of(n_components), key=lambda fit: float(self.losses[self.fits.index(fit)]))


def fit_many(
    X: Data,
    n_components: int | Sequence[int],
    *,
    seeds: int | Sequence[int] = 10,
    groups: npt.ArrayLike | None = None,
    mask: ViewMapping | None = None,
    sample_weight: npt.ArrayLike | None = None,
    callback: Callable[[int, FitEvent], object] | None = None,
    **parameters: Any,
) -> ManyFits:
    """Fit several numbers of components from several seeds, reading the data once for all.

    The factors of all fits are stacked, so that an iteration reads the data once and its two
    products are wide. A fit that has converged takes no part in what follows. Starts on compressed
    data share their read of the whole, too; only samples of it are each fit's own. Starts by NNDSVD
    read the data four times for each fit, and are nearly the same from every seed: one will do.

    Memory grows by all factors: about 30 bytes for each component and column, and 4 or 8 for each
    component and example.

    Parameters
    ----------
    X : ActivationStore, mapping of str to array of shape (n_examples, n_columns), or iterable
        As for :meth:`CoupledNMF.fit`.
    n_components : int or sequence of int
        Numbers of components to fit.
    seeds : int or sequence of int, default=10
        Seeds, or their number, counted from 0.
    groups, mask, sample_weight
        As for :meth:`CoupledNMF.fit`.
    callback : callable, optional
        Called after every pass with the number of a fit that took part and its
        :class:`FitEvent`.
    **parameters
        Other parameters of :class:`CoupledNMF`, the same for all fits.

    Returns
    -------
    ManyFits
        All fits, and a table of them.

    Raises
    ------
    TypeError, ValueError
        As for :meth:`CoupledNMF.fit`, and for seeds that are no integers.

    Examples
    --------
    >>> import numpy as np
    >>> import cofactor as cf
    >>> rng = np.random.default_rng(0)
    >>> X = {"layer": rng.random((60, 3)) @ rng.random((3, 20))}
    >>> many = cf.fit_many(X, [2, 3], seeds=2, max_iter=300, tol=1e-5)
    >>> many.table["n_components"].tolist(), many.table["seed"].tolist()
    ([2, 2, 3, 3], [0, 1, 0, 1])
    >>> many.best(3).n_components, bool(many.losses[2:].max() < many.losses[:2].min())
    (3, True)
    """
    ranks = processes()
    with ranks.call("fit_many"):
        many, late = _fit_data(
            X, n_components, seeds, parameters, ranks, callback,
            groups=groups, mask=mask, sample_weight=sample_weight,
        )  # fmt: skip
    if late and many.fits[0].tol > 0:
        warnings.warn(
            f"Maximum number of iterations {many.fits[0].max_iter} reached by {late} of "
            f"{len(many.fits)} fits. Increase it to improve convergence.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return many


def _fit_data(
    X: Data,
    n_components: int | Sequence[int],
    seeds: int | Sequence[int],
    parameters: Mapping[str, Any],
    ranks: Processes,
    callback: Callable[[int, FitEvent], object] | None,
    *,
    groups: npt.ArrayLike | None,
    mask: ViewMapping | None,
    sample_weight: npt.ArrayLike | None,
) -> tuple[ManyFits, int]:
    """Make the fits, and count those that did not converge."""
    fits = new_fits(n_components, seeds, parameters)
    ranks.check_same(
        "fit_many",
        {
            **parameters_of(fits[0].get_params(deep=False)),
            "n_components": [fit.n_components for fit in fits],
            "the seeds": [fit.random_state for fit in fits],
            "device": fits[0]._device(),
            "whether bfloat16 is faster": fits[0].compute == "auto" and _core.bfloat16_is_faster(),
        },
    )
    check_groups(fits[0], given=groups is not None)
    views = load_views(X, caller="fit_many", processes=ranks, device=fits[0].device)
    views = views.told(mask=mask, sample_weight=sample_weight, groups=groups)
    views = replace(views, reading=reading_of(fits, views))
    reads = 0.0 if views.have_statistics else 1.0
    views = views.with_statistics(fits[0].n_threads)
    check_examples(views, "fit_many")
    views.check_values()
    many = _fit_views(fits, views, reads, callback)
    return many, sum(fit.stop_reason_ == "max_iter" for fit in fits)


def fit_loaded(fits: list[CoupledNMF], views: Views) -> ManyFits:
    """Make the fits of views that were loaded and checked, with statistics."""
    return _fit_views(fits, views, 0.0, None)


def reading_of(fits: Sequence[CoupledNMF], views: Views) -> Reading:
    """Plan how to read the data for all fits, within the memory that they may use."""
    # W of all fits, and then each fit's own.
    return fits[0]._reading(views, sum(fit.n_components for fit in fits), 2)


def new_fits(
    n_components: int | Sequence[int], seeds: int | Sequence[int], parameters: Mapping[str, Any]
) -> list[CoupledNMF]:
    """Estimators with parameters that were checked."""
    numbers = _integers("seeds", range(seeds) if isinstance(seeds, int) else seeds)
    fits = [
        CoupledNMF(k, **{**parameters, "random_state": seed})
        for k in _integers("n_components", n_components)
        for seed in numbers
    ]
    if not fits:
        raise ValueError("fit_many got no seeds or no n_components; expected at least one of each")
    for fit in fits:
        check_parameters(fit)
    return fits


def _fit_views(
    fits: list[CoupledNMF],
    views: Views,
    reads: float,
    callback: Callable[[int, FitEvent], object] | None,
) -> ManyFits:
    """Fit them all; `reads` of the data were made before."""
    first = fits[0]
    products = first._products(views)
    weights = resolve_weights(first.weights, views.names, views.sums_of_squares)
    for fit in fits:
        fit.weights_ = dict(weights)
        fit._n_examples, fit._n_columns = views.n_examples, views.n_columns
    starts = make_starts(
        views,
        weights,
        [(fit.n_components, check_random_state(fit.random_state)) for fit in fits],
        first.init or "compressed",
        penalties=first._penalties(views),
        engine_for=first._engine,
        n_threads=first.n_threads,
        extrapolate=first.acceleration is not None,
        rounded=products != "full",
    )
    for fit, start in zip(fits, starts, strict=True):
        fit.sample_losses_ = start.sample_losses
        reads += start.passes
        if fit.penalty == "paper":
            start.factors = with_unit_rows(start.factors)
    engine = first._engine(views, [fit.n_components for fit in fits])
    for v in range(len(views.names)):
        engine.set_h(v, np.concatenate([start.factors[v] for start in starts]))
    result = engine.fit(
        views.sums_of_squares,
        max_iterations=first.max_iter,
        tolerance=first.tol,
        extrapolate=first.acceleration is not None,
        compute=products,
        verify=first.verify,
        progress=None if callback is None else _progress(callback, first.max_iter),
        drop_finished=True,
    )
    reads += result.passes + 1
    losses = _take_results(fits, views, engine, result.fits)
    for fit in fits:
        fit.n_passes_ = reads
    return ManyFits(fits, losses, reads)


def _take_results(
    fits: Sequence[CoupledNMF], views: Views, engine: _core.Engine, traces: Sequence[_core.FitTrace]
) -> npt.NDArray[np.float64]:
    """Give every fit its part of the stacked factors, solve its W, and return the losses."""
    dtype = np.float64 if engine.float64 else np.float32
    edges = np.cumsum([0, *(fit.n_components for fit in fits)])
    stacked = [engine.h(v).astype(dtype, copy=False) for v in range(len(views.names))]
    W = np.empty((views.rows.n_examples, edges[-1]), dtype)
    limit = _core.identity_limit(engine.float64)
    exact = fits[0].verify or any(trace.losses[-1] < limit for trace in traces)
    final = engine.encode(views.sums_of_squares, exact=exact, w=W)
    terms = views.terms
    norms = None if terms.group is None else engine.group_norms
    total = float(np.dot(list(fits[0].weights_.values()), views.sums_of_squares))
    for number, (fit, trace) in enumerate(zip(fits, traces, strict=True)):
        own = slice(edges[number], edges[number + 1])
        fit.components_ = {
            name: H[own].copy() for name, H in zip(views.names, stacked, strict=True)
        }
        fit.W_ = W[:, own].copy()
        fit.groups_, fit.group_norms_ = terms.labels, None
        if terms.group is not None and norms is not None:
            fit.group_norms_ = norms[:, own].copy()
            clear_small_groups(fit.W_, terms.group, fit.group_norms_)
        fit.n_iter_ = trace.iterations
        fit.loss_history_ = list(trace.losses)
        fit.rejected_losses_ = list(trace.rejected_losses)
        by_view = zip(*trace.view_losses, strict=True)
        fit.view_loss_history_ = dict(zip(views.names, map(list, by_view), strict=True))
        fit.view_losses_ = {name: losses[-1] for name, losses in fit.view_loss_history_.items()}
        fit.n_reseeded_ = trace.reseeded
        fit.stop_reason_ = trace.stop_reason
        fit.fingerprint_ = views.fingerprint
        fit.reconstruction_err_ = float(np.sqrt(final.losses[number] * total))
    return np.array(final.losses)


def _progress(
    callback: Callable[[int, FitEvent], object], max_iter: int
) -> Callable[[_core.IterationInfo], None]:
    def progress(info: _core.IterationInfo) -> None:
        event = FitEvent(info.iteration, max_iter, info.loss, info.accepted, info.seconds)
        callback(info.fit, event)

    return progress


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _integers(name: str, values: Any) -> list[int]:
    given = [values] if _is_integer(values) else values
    if isinstance(given, str | Mapping) or not np.iterable(given):
        raise TypeError(f"{name}={values!r} must be an integer or a list of integers")
    for value in given:
        if not _is_integer(value):
            raise TypeError(f"{name} holds {value!r}; expected integers")
    return [int(value) for value in given]
