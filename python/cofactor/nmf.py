"""Coupled non-negative matrix factorization: the estimator."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _core
from ._agreement import arrays_digest, parameters_of, random_state_of, together
from ._arrays import times
from ._checkpoint import Checkpoint, SavedFit, start_digest
from ._device_arrays import empty_beside
from ._given import check_given, start_beside_fixed, with_unit_rows
from ._groups import clear_small_groups
from ._memory import Reading, plan_reading
from ._online import OnlineState, take_block
from ._parameters import (
    Penalties,
    check_fixed,
    check_groups,
    check_parameters,
    resolve_weights,
)
from ._processes import Processes
from ._run_files import read_run, write_run
from ._threads import register
from ._views import Views, check_examples, like_views, load_views
from ._w_file import check_w_path, open_w, w_file
from .distributed import processes
from .init import Init, make_start
from .store import ActivationStore

__all__ = ["CoupledNMF", "FitEvent", "load"]

register()

ViewMapping = Mapping[str, Any]
Data = ActivationStore | ViewMapping | Iterable[ViewMapping]
Factor = Any
"""An ndarray, or an array of the library that the views came from."""


@dataclass(frozen=True)
class FitEvent:
    """What a callback hears after every pass over the data.

    Attributes
    ----------
    iteration, max_iter : int
        Number of the pass, from 1, and the most there can be.
    loss : float
        Relative loss of the pair after both half-steps.
    accepted : bool
        False where an extrapolated step raised the objective and was taken back.
    seconds : float
        Duration of the pass.
    """

    iteration: int
    max_iter: int
    loss: float
    accepted: bool
    seconds: float


class CoupledNMF(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Non-negative factorization of several views that share one example factor.

    Minimises, over W >= 0 and every H_v >= 0,

    .. code-block:: text

        1/2 sum_v w_v ||X_v - W H_v||_F^2
          + D alpha_W (l1_ratio ||W||_1 + (1 - l1_ratio)/2 ||W||_F^2)
          + n alpha_H sum_v (l1_ratio sqrt(w_v) ||H_v||_1 + (1 - l1_ratio)/2 w_v ||H_v||_F^2)

          + group_sparsity sum_g sum_r ||W[g, r]||_2

    with n examples and D = the sum of the columns of the views of positive weight, and groups g of
    examples where :meth:`fit` is given some. Without those this is
    :class:`sklearn.decomposition.NMF` on ``hstack([sqrt(w_v) * X_v])``. It is solved by exact
    alternating non-negative least squares, one read of the data an iteration; the coupling
    follows Saini and Papalexakis, arXiv:2012.12516.

    Parameters
    ----------
    n_components : int
        Number of components k.
    weights : {"equal", "balanced"} or mapping of str to float, default="equal"
        Weight w_v of every view: 1 each, 1 / ||X_v||_F^2 each, or as given, where views that are
        not named have 1. A view of weight 0 is passive: it does not shape W, and its H_v is
        fitted without penalty.
    init : {None, "compressed", "sample", "random", "nndsvd", "nndsvda", "nndsvdar"}, default=None
        How H starts. "compressed" begins at random and fits a low-rank product that one read makes
        of the data (see :mod:`cofactor.init`); it is "sample" where the views are too narrow for
        that. "sample" fits growing samples of the examples before it reads all of them; it is
        "random" where there are too few examples for that. None is "compressed". A start of your
        own is passed to :meth:`fit`.
    max_iter : int, default=200
        Most passes over the data.
    tol : float, default=1e-4
        Stop when a pass lowers the objective by at most this fraction; 0 never stops early.
    random_state : int, RandomState instance or None, default=None
        Seed of the start.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where to compute; "auto" is a CUDA device where build and machine have one. The CUDA backend
        is untested on hardware so far. It reads arrays of torch, CuPy and others that are on a GPU
        where they are, on that GPU, and copies all else to the current one; views are all on one
        GPU or none is. The CPU reads a copy of what is on a GPU. Samples of rows that a start is
        found on, masks, groups and weights of examples are copied to the host.
    compute : {"float32", "bfloat16", "auto", "float64"}, default="float32"
        What the two products of a pass are computed in; sums that cross panels of rows are in
        float64 always. "float32" becomes "float64" as soon as a view is float64. "bfloat16"
        rounds values and factors to eight bits where they are multiplied, which AMD's machines
        do about twice as fast from Zen 4 on; Intel's have a slower unit, where "float32" is
        faster, and others emulate it. Losses on the way take the
        rounding errors of the values for independent. "auto" does that while a pass still lowers
        the objective by more than 1e-4, and finishes in "float32"; where rounded products are not
        faster, on other CPUs than AMD's, it is "float32". The final W and
        `reconstruction_err_` are never rounded.
    acceleration : {"auto", "extrapolation"} or None, default="auto"
        "extrapolation" moves H on along its last step and takes that back when the objective
        rises (Ang and Gillis, arXiv:1805.06604). None is plain alternating least squares.
    alpha_W : float, default=0
        Penalty on W.
    alpha_H : float or "same", default="same"
        Penalty on every H_v; "same" is `alpha_W`.
    l1_ratio : float, default=0
        Share of the penalties that is linear, between 0 and 1.
    penalty : {None, "paper"}, default=None
        "paper" minimises ``sum_v w_v ||X_v - W H_v||^2 + 2 alpha_W ||W||_1 + alpha_W ||W||^2``, as
        Saini and Papalexakis do, with every row of every H_v at unit L2 norm. `alpha_W` is not
        scaled then; `alpha_H` and `l1_ratio` stay as they are by default.
    group_sparsity : float, default=0
        Penalty on the norm that a group of examples has in a component, which makes groups do
        without components. Needs `alpha_H` > 0, or the paper's penalty, since it could be scaled
        away otherwise. Majorised at the norms of the pass before, so the objective never rises.
    forget_factor : float or "auto", default="auto"
        What the examples before a call of :meth:`partial_fit` count after it, between 0 and 1; for
        data that changes, below 1. "auto" lets examples fade as more come: n of them count
        (n / m)^5 once there are m.
    n_threads : int or None, default=None
        Threads of the CPU backend. None: the limit of threadpoolctl, COFACTOR_NUM_THREADS,
        OMP_NUM_THREADS, then the CPUs that affinity and cgroup quota leave. The result does not
        depend on it.
    max_memory : str, int or None, default=None
        Memory that a fit may use beside the data of the caller, such as "2GB" or "500MiB", or a
        number of bytes: for factors and sums, for W unless it goes to a file, and for the blocks
        that a store is read in. None is half of what is available. The result does not depend on
        it.
    verify : bool, default=False
        Compute every loss from the residual, at the price of one more read of the data a pass,
        and not from sums that the fit has at hand. Losses too small for those are always
        computed so.
    callback : callable or None, default=None
        Called with a :class:`FitEvent` after every pass.

    Attributes
    ----------
    components_ : dict of str to ndarray of shape (n_components, n_columns)
        H_v of every view; float32, or float64 if a view is float64.
    W_ : ndarray of shape (n_examples, n_components)
        Example factor for the final H_v; with `W_path` a mapping of that file. Of several processes
        each has the rows of its own examples: see :mod:`cofactor.distributed`.
    weights_ : dict of str to float
        Weight of every view.
    n_iter_ : int
        Passes of the loop.
    n_passes_ : float
        Every read of the data: checking arrays, start, loop and the final W. A read of m of n
        examples counts m / n, and an iteration on compressed data its share of the numbers.
    n_reseeded_ : int
        Components that died, no example having any of them, and were given the values of the
        example of largest residual. Each time costs one read. Penalised fits leave them dead.
    loss_history_ : list of float
        ``sum_v w_v ||X_v - W H_v||^2 / sum_v w_v ||X_v||^2`` after every accepted pass.
    rejected_losses_ : list of float
        The same for extrapolations that were taken back.
    sample_losses_ : list of list of float
        The same for the compressed data or for every sample that the fit began with, relative to
        it.
    view_losses_ : dict of str to float
        ``||X_v - W H_v||^2 / ||X_v||^2`` after the last accepted pass.
    view_loss_history_ : dict of str to list of float
        The same after every accepted pass, as `loss_history_`.
    reconstruction_err_ : float
        ``sqrt(sum_v w_v ||X_v - W H_v||_F^2)`` of `W_` and `components_`.
    stop_reason_ : str
        "converged" or "max_iter".
    fingerprint_ : str or None
        Fingerprint of the store that was fitted.
    groups_ : ndarray of shape (n_groups,) or None
        Labels of the groups, ascending, where the fit was given groups.
    group_norms_ : ndarray of shape (n_groups, n_components) or None
        ``||W[g, r]||_2`` after the last accepted pass. Where it is less than two millionths of
        their root mean square, W is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import cofactor as cf
    >>> rng = np.random.default_rng(0)
    >>> W, H = rng.random((60, 3)), rng.random((3, 20))
    >>> X = {"pixels": W @ H[:, :8], "layer": W @ H[:, 8:]}
    >>> nmf = cf.CoupledNMF(n_components=3, random_state=0, tol=1e-6).fit(X)
    >>> nmf.components_["layer"].shape, nmf.W_.shape
    ((3, 12), (60, 3))
    >>> bool(nmf.loss_history_[-1] < 1e-3)
    True
    """

    def __init__(
        self,
        n_components: int,
        *,
        weights: str | Mapping[str, float] = "equal",
        init: Init | None = None,
        max_iter: int = 200,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        compute: Literal["float32", "bfloat16", "auto", "float64"] = "float32",
        acceleration: Literal["auto", "extrapolation"] | None = "auto",
        alpha_W: float = 0.0,
        alpha_H: float | Literal["same"] = "same",
        l1_ratio: float = 0.0,
        penalty: Literal["paper"] | None = None,
        group_sparsity: float = 0.0,
        forget_factor: float | Literal["auto"] = "auto",
        n_threads: int | None = None,
        max_memory: str | int | None = None,
        verify: bool = False,
        callback: Callable[[FitEvent], object] | None = None,
    ) -> None:
        self.n_components = n_components
        self.weights = weights
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.device = device
        self.compute = compute
        self.acceleration = acceleration
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.penalty = penalty
        self.group_sparsity = group_sparsity
        self.forget_factor = forget_factor
        self.n_threads = n_threads
        self.max_memory = max_memory
        self.verify = verify
        self.callback = callback

    @together
    def fit(
        self,
        X: Data,
        y: None = None,
        *,
        H: ViewMapping | None = None,
        fixed: Sequence[str] | None = None,
        groups: npt.ArrayLike | None = None,
        mask: ViewMapping | None = None,
        sample_weight: npt.ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 10,
        resume: bool = False,
        W_path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit all views of `X` together.

        Parameters
        ----------
        X : ActivationStore, mapping of str to array of shape (n_examples, n_columns), or iterable
            Non-negative views with the same examples: NumPy arrays, tensors of torch, anything with
            ``__dlpack__`` or ``__cuda_array_interface__``, or sparse matrices. Row-major arrays of
            uint8, float16, bfloat16, float32 and float64 are read in place, others block by block;
            anything in float64, or integers of more than 16 bits, makes the fit compute in float64.
            An iterable gives blocks of examples as such mappings, and the same ones every time that
            it is iterated over, which is once to check them, once or twice for the start, and once
            an iteration. On several processes a store is the same whole one on all, and anything
            else is what this process has: see :mod:`cofactor.distributed`.
        y : None
            Ignored.
        H : mapping of str to array of shape (n_components, n_columns), optional
            Start of every H_v, in place of `init`. After :meth:`partial_fit`, the fit starts from
            the components that it found.
        fixed : list of str, optional
            Views whose components stay as `H` gives them. `H` may leave out the others, which then
            start as fits to the W of the fixed ones.
        groups : array of shape (n_examples,), optional
            Label of every example's group, of any size, for `group_sparsity`.
        mask : mapping of str to array of bool of shape (n_examples,), optional
            False where an example lacks a view: what the array holds there is not looked at. Views
            that are not named have all examples, and every example has some view.
        sample_weight : array of shape (n_examples,), optional
            Factor of every example's terms in the objective: 2 is as good as having the example
            twice.
        checkpoint : str or path-like, optional
            Directory for ``checkpoint.safetensors``, which is replaced, as a whole, when the
            start is found, after each `checkpoint_every` iterations and after the last one.
        checkpoint_every : int, default=10
            Iterations from one checkpoint to the next.
        resume : bool, default=False
            Go on from the checkpoint, if there is one; the result has the bits that the fit would
            have had without a break, on as many processes. Parameters, data and the other arguments
            must be the same, except for `max_iter`, `n_threads`, `max_memory`, `callback` and
            `W_path`.
        W_path : str or path-like, optional
            A ``.npy`` file for W, which then is not held in memory. It is there when the fit
            is complete, and not before.

        Returns
        -------
        CoupledNMF
            This estimator.

        Raises
        ------
        ValueError
            For negative, infinite or missing values, views that do not fit together, or
            parameters out of range, or a checkpoint of another fit or other data.
        TypeError
            If `X` is neither a store nor a mapping, or can be iterated over only once.
        FileExistsError
            If there is a checkpoint and `resume` is false.
        OSError
            If a file of the store has become shorter or cannot be read, or the disk is full.
        """
        check_parameters(self)
        if resume and checkpoint is None:
            raise ValueError("resume=True needs checkpoint=, the directory to go on from")
        if checkpoint_every < 1:
            raise ValueError(f"checkpoint_every={checkpoint_every} must be at least 1")
        w_path = None if W_path is None else check_w_path(W_path)
        ranks = processes()
        views = load_views(X, caller="CoupledNMF.fit", processes=ranks, device=self.device)
        views = views.told(mask=mask, sample_weight=sample_weight, groups=groups)
        views = replace(views, reading=self._reading(views, self.n_components, w_path is None))
        fixed = check_fixed(fixed, H, views.names)
        check_groups(self, given=groups is not None, all_fixed=len(fixed) == len(views.names))
        online: OnlineState | None = getattr(self, "_online", None)
        if online is not None and H is None:
            H = online.start_for(views, self.n_components)
        given = None
        if H is not None:
            given = check_given(H, views.n_columns, self.n_components, some=bool(fixed))
        products = self._products(views)
        ranks.check_same(
            "CoupledNMF.fit",
            {
                **parameters_of(self.get_params(deep=False)),
                "device": self._device(),
                "products": products,
                "H": arrays_digest(given),
                "fixed": list(fixed),
                "whether there is a checkpoint": checkpoint is not None,
                "checkpoint_every": checkpoint_every,
                "resume": resume,
                "W_path": None if W_path is None else str(W_path),
            },
        )
        self.n_passes_ = 0.0 if views.have_statistics else 1.0
        views = views.with_statistics(self.n_threads)
        check_examples(views, "CoupledNMF.fit")
        views.check_values()
        squares = views.sums_of_squares
        self._online: OnlineState | None = None
        self.weights_ = resolve_weights(self.weights, views.names, squares)
        self._n_examples, self._n_columns = views.n_examples, views.n_columns
        self.sample_losses_: list[list[float]] = []

        keeper = None
        saved = None
        if checkpoint is not None:
            keeper = self._checkpoint(checkpoint, views, given, fixed)
            if ranks.rank == 0:
                keeper.prepare(resume)
            saved = keeper.load(ranks) if resume else None
        random_state = check_random_state(random_state_of(self.random_state, ranks))
        if saved is None:
            start = self._start(views, given, fixed, random_state)
            generator: dict[str, Any] = random_state.get_state(legacy=False)
            before = {"n_passes": self.n_passes_, "sample_losses": self.sample_losses_}
            unknown = np.full((views.terms.n_groups, self.n_components), np.inf)
            saved = SavedFit(_core.LoopState(), start, start, unknown, generator, before)
            if keeper is not None and ranks.rank == 0:
                keeper.save(saved)
        else:
            random_state.set_state(saved.random_state)
            self.n_passes_ = saved.before["n_passes"]
            self.sample_losses_ = saved.before["sample_losses"]
        engine = self._engine(views, [self.n_components], fixed=fixed)
        if views.terms.n_groups:
            engine.group_norms = saved.group_norms
        for v, factor in enumerate(saved.input):
            engine.set_h(v, factor)
            engine.set_previous_h(v, saved.previous[v])
        dtype = np.float64 if engine.float64 else np.float32
        result = engine.fit(
            squares,
            max_iterations=self.max_iter,
            tolerance=self.tol,
            extrapolate=self.acceleration is not None,
            compute=products,
            verify=self.verify,
            progress=self._progress(),
            state=saved.loop,
            checkpoint=self._saver(keeper, saved, engine) if keeper and ranks.rank == 0 else None,
            checkpoint_every=checkpoint_every,
        )
        trace = result.fits[0]

        self.components_ = {
            name: engine.h(v).astype(dtype, copy=False) for v, name in enumerate(views.names)
        }
        self.n_iter_ = trace.iterations
        self.loss_history_ = list(trace.losses)
        self.rejected_losses_ = list(trace.rejected_losses)
        by_view = zip(*trace.view_losses, strict=True)
        self.view_loss_history_ = dict(zip(views.names, map(list, by_view), strict=True))
        self.view_losses_ = {name: losses[-1] for name, losses in self.view_loss_history_.items()}
        self.n_reseeded_ = trace.reseeded
        self.stop_reason_ = trace.stop_reason
        self.fingerprint_ = views.fingerprint
        exact = self.verify or trace.losses[-1] < _core.identity_limit(engine.float64)
        norms = engine.group_norms if views.terms.n_groups else None
        final, self.W_ = self._encode(engine, views, exact, w_path, norms)
        self.groups_, self.group_norms_ = views.terms.labels, norms
        total = sum(w * s for w, s in zip(self.weights_.values(), squares, strict=True))
        self.reconstruction_err_ = float(np.sqrt(final.losses[0] * total))
        self.n_passes_ += result.passes + 1
        if self.stop_reason_ == "max_iter" and self.tol > 0:
            warnings.warn(
                f"Maximum number of iterations {self.max_iter} reached. Increase it to improve "
                "convergence.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def fit_transform(self, X: Data, y: None = None, **options: Any) -> Factor:
        """Fit `X` and return its example factor.

        Parameters
        ----------
        X, y, **options
            As for :meth:`fit`.

        Returns
        -------
        array of shape (n_examples, n_components)
            `W_`, equal to ``fit(X).transform(X)``, with the same mask and groups if any; of torch
            or CuPy if all views of a mapping are, unless it is on disk.
        """
        return like_views(self.fit(X, **options).W_, X)

    @together
    def partial_fit(
        self,
        X: ActivationStore | ViewMapping,
        y: None = None,
        *,
        H: ViewMapping | None = None,
        mask: ViewMapping | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from examples that never come back.

        Each call solves W of its examples and then H for the sums ``W^T W`` and ``W^T X_v`` of all
        examples so far, two times over; those before count `forget_factor` less with every call.
        Nothing of the size of the examples is kept. Blocks should have several times as many
        examples as there are components.

        Parameters
        ----------
        X : ActivationStore or mapping of str to array of shape (n_examples, n_columns)
            New examples, with the same views in every call.
        y : None
            Ignored.
        H : mapping of str to array of shape (n_components, n_columns), optional
            Start of every H_v in the first call; after a :meth:`fit` it is the fit's.
        mask, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        CoupledNMF
            This estimator. `loss_history_` and `reconstruction_err_` are of all examples so far,
            with the W that each was last solved with, and `W_` is empty: use :meth:`transform`.

        Raises
        ------
        ValueError
            As for :meth:`fit`, and for `group_sparsity`, which needs all examples of a group at
            once.

        Examples
        --------
        >>> import numpy as np, cofactor as cf
        >>> rng = np.random.default_rng(0)
        >>> H = rng.random((3, 20))
        >>> nmf = cf.CoupledNMF(n_components=3, random_state=0)
        >>> for _ in range(20):
        ...     nmf = nmf.partial_fit({"layer": rng.random((50, 3)) @ H})
        >>> bool(nmf.loss_history_[-1] < 1e-2)
        True
        """
        take_block(self, X, H=H, mask=mask, sample_weight=sample_weight)
        return self

    @together
    def transform(
        self,
        X: Data,
        *,
        mask: ViewMapping | None = None,
        groups: npt.ArrayLike | None = None,
        W_path: str | os.PathLike[str] | None = None,
    ) -> Factor:
        """Solve W for examples, with H fixed.

        Parameters
        ----------
        X : ActivationStore, mapping of str to array of shape (n_examples, n_columns), or iterable
            All views of the fit or some of them, as for :meth:`fit`. W minimises the fit's
            objective over these views, with the weights and penalties of the fit.
        mask : mapping of str to array of bool of shape (n_examples,), optional
            As for :meth:`fit`.
        groups : array of shape (n_examples,), optional
            Groups of the examples, of those that the fit knows; W is solved with the norms that
            their components had there. None leaves the penalty on groups out.
        W_path : str or path-like, optional
            A ``.npy`` file for W, which then is not held in memory.

        Returns
        -------
        array of shape (n_examples, n_components)
            Non-negative; a component that no given view knows is 0, with a warning. Of torch or
            CuPy if all views of a mapping are, and on the device that they are on, unless it is on
            disk.

        Raises
        ------
        ValueError
            For unknown views, other numbers of columns, or bad values.
        OSError
            If a file of the store has become shorter or cannot be read, or the disk is full.
        """
        check_is_fitted(self)
        w_path = None if W_path is None else check_w_path(W_path)
        ranks = processes()
        ranks.check_same(
            "CoupledNMF.transform",
            {
                **parameters_of(self.get_params(deep=False)),
                "device": self._device(),
                "the components": arrays_digest(self.components_),
                "W_path": None if W_path is None else str(W_path),
            },
        )
        views = load_views(
            X,
            expected=self._n_columns,
            caller="CoupledNMF.transform",
            processes=ranks,
            device=self.device,
        )
        if groups is not None and self.groups_ is None:
            raise ValueError("CoupledNMF.transform got groups, but the fit was given none")
        views = views.told(mask=mask, groups=groups, labels=self.groups_)
        views = replace(views, reading=self._reading(views, self.n_components, w_path is None))
        if not any(self.weights_[name] > 0 for name in views.names):
            raise ValueError(
                "CoupledNMF.transform got only views of weight 0, which say nothing about W; "
                "pass one of "
                + ", ".join(repr(name) for name, weight in self.weights_.items() if weight > 0)
            )
        views = views.with_statistics(self.n_threads)
        check_examples(views, "CoupledNMF.transform")
        views.check_values()
        engine = self._engine(views, [self.n_components])
        for v, name in enumerate(views.names):
            engine.set_h(v, self.components_[name])
        norms = self.group_norms_ if views.terms.n_groups else None
        if norms is not None:
            engine.group_norms = norms
        known = {
            name: self.components_[name].any(axis=1)
            for name, weight in self.weights_.items()
            if weight > 0
        }
        given = [known[name] for name in views.names if name in known]
        # A component that has died everywhere is missed by nobody.
        unknown = np.flatnonzero(~np.any(given, axis=0) & np.any(list(known.values()), axis=0))
        if len(unknown):
            warnings.warn(
                f"the given views know nothing of component(s) {unknown.tolist()}; their W is 0",
                UserWarning,
                stacklevel=3,
            )
        W = self._encode(engine, views, False, w_path, norms, given=views.like)[1]
        return like_views(W, X)

    def inverse_transform(self, W: npt.ArrayLike) -> dict[str, Factor]:
        """Reconstruct every view from an example factor.

        Parameters
        ----------
        W : array of shape (n_examples, n_components)
            Example factor.

        Returns
        -------
        dict of str to array of shape (n_examples, n_columns)
            ``W @ H_v`` by view, of the library and on the device that `W` is of.
        """
        check_is_fitted(self)
        return {name: times(W, H, "W") for name, H in self.components_.items()}

    @together
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit as a directory of ``fit.json``, ``H.safetensors`` and ``W.npy``.

        Parameters
        ----------
        path : str or path-like
            Directory; an earlier fit there is replaced, anything else is refused. Of several
            processes all make the call, and rank 0 writes `W_` of all.

        Raises
        ------
        FileExistsError
            If `path` holds something that is not a fit.

        Examples
        --------
        >>> import tempfile, numpy as np, cofactor as cf
        >>> X = {"pixels": np.random.default_rng(0).random((30, 6))}
        >>> nmf = cf.CoupledNMF(n_components=2, random_state=0, tol=1e-3).fit(X)
        >>> path = tempfile.mkdtemp()
        >>> nmf.save(path + "/run")
        >>> again = cf.load(path + "/run")
        >>> bool((again.transform(X) == nmf.W_).all())
        True
        """
        check_is_fitted(self)
        parameters = self.get_params(deep=False)
        parameters.pop("callback")
        if not isinstance(parameters["random_state"], int | np.integer):
            parameters["random_state"] = None
        learned = {name: getattr(self, name) for name in _SAVED}
        ranks = processes()
        lengths = ranks.gather(len(self.W_))
        # A fit that was opened from disk has all rows everywhere.
        is_whole = all(length == self._n_examples for length in lengths)

        def write_w(file: Path) -> None:
            shape = len(self.W_) if is_whole else sum(lengths), self.n_components
            with w_file(file, shape, self.W_.dtype) as opened, opened.rows() as W:
                (Processes() if is_whole else ranks).collect(self.W_, W)

        if ranks.rank == 0:
            write_run(Path(path), parameters, learned, self.components_, write_w)
        elif not is_whole:
            ranks.collect(self.W_, None)

    def _reading(self, views: Views, rank: int, in_memory: int) -> Reading:
        """Plan for stacked fits of `rank` components, and so many copies of W in memory."""
        number = 8 if views.is_float64 or self.compute == "float64" else 4
        width = sum(views.n_columns.values())
        # Of a view: three factors, what the products read and sum them in, and sums in float64;
        # twice the rank, and its directions a few times in float64, where the start is found.
        needed = 2 * rank * width * (5 * number + 8 + 4 * 8)
        # Sums, two norms and what they make the solver add.
        needed += views.terms.n_groups * rank * (3 * 8 + number)
        what = "factors and sums"
        if in_memory:
            needed += in_memory * views.rows.n_examples * rank * number
            what += " and W (W_path keeps it on disk)"
        return plan_reading(
            self.max_memory,
            row_bytes=views.row_bytes,
            threads=self.n_threads or _core.default_threads(),
            needed=needed,
            what=what,
            sharers=views.processes.here,
        )

    def _start(
        self,
        views: Views,
        given: dict[str, npt.NDArray[np.float64]] | None,
        fixed: Sequence[str],
        random_state: np.random.RandomState,
    ) -> list[Factor]:
        start: list[Factor]
        if fixed:
            assert given is not None
            start, passes = start_beside_fixed(
                views,
                self.weights_,
                self.n_components,
                given,
                fixed,
                random_state,
                engine_for=lambda data, weights: self._engine(
                    data, [self.n_components], weights=weights, fixed=fixed
                ),
            )
            self.n_passes_ += passes
        elif given is not None:
            start = [given[name] for name in views.names]
        else:
            found = make_start(
                views,
                self.weights_,
                self.n_components,
                self.init or "compressed",
                random_state,
                penalties=self._penalties(views),
                engine_for=self._engine,
                n_threads=self.n_threads,
                extrapolate=self.acceleration is not None,
                rounded=self._products(views) != "full",
            )
            self.sample_losses_ = found.sample_losses
            self.n_passes_ += found.passes
            start = list(found.factors)
        if self.penalty == "paper":
            unit = with_unit_rows(start)
            start = [
                h if name in fixed else u
                for name, h, u in zip(views.names, start, unit, strict=True)
            ]
        return [views.processes.share_array(h) for h in start]

    def _checkpoint(
        self,
        directory: str | os.PathLike[str],
        views: Views,
        given: dict[str, npt.NDArray[np.float64]] | None,
        fixed: Sequence[str],
    ) -> Checkpoint:
        data = {
            "n_examples": views.n_examples,
            "n_columns": views.n_columns,
            "views": views.names,
            "sums_of_squares": dict(zip(views.names, views.sums_of_squares, strict=True)),
            "fingerprint": views.fingerprint,
            "start": start_digest(given),
            "fixed": sorted(set(fixed)),
            "n_groups": views.terms.n_groups,
            "mask, sample_weight, groups": views.terms_digest,
        }
        return Checkpoint(directory, self.get_params(deep=False), data)

    def _saver(
        self, keeper: Checkpoint, saved: SavedFit, engine: _core.Engine
    ) -> Callable[[_core.LoopState], None]:
        views = range(len(self._n_columns))
        dtype = np.float64 if engine.float64 else np.float32

        def save(loop: _core.LoopState) -> None:
            keeper.save(
                replace(
                    saved,
                    loop=loop,
                    input=[engine.h(v).astype(dtype, copy=False) for v in views],
                    group_norms=engine.group_norms if saved.group_norms.size else saved.group_norms,
                    previous=[engine.previous_h(v).astype(dtype, copy=False) for v in views],
                )
            )

        return save

    def _encode(
        self,
        engine: _core.Engine,
        views: Views,
        exact: bool,
        w_path: Path | None,
        norms: npt.NDArray[np.float64] | None,
        *,
        given: Any = None,
    ) -> tuple[_core.EncodeResult, Any]:
        """Solve W, in memory or in a file; groups do without what `norms` says is gone.

        W of data on a CUDA device is put beside `given`, if that is there and no group asks for
        changes, and else into the CPU's memory.
        """
        own = slice(views.first, views.first + engine.n_rows)
        shape = engine.n_rows, self.n_components
        dtype = np.dtype(np.float64 if engine.float64 else np.float32)
        squares = views.sums_of_squares
        group = views.terms.group
        if views.on_device and given is not None and w_path is None and group is None:
            beside = empty_beside(given, shape, dtype)
            if beside is not None:
                return engine.encode_to_device(squares, exact=exact, w=beside[1]), beside[0]
        W: npt.NDArray[Any]
        if w_path is None:
            W = np.empty(shape, dtype)
            result = engine.encode(squares, exact=exact, w=W)
            if group is not None and norms is not None:
                clear_small_groups(W, group, norms)
            return result, W
        shape = views.n_examples, self.n_components
        with w_file(w_path, shape, dtype, views.processes, own) as file:
            result = engine.encode_to_file(
                squares,
                exact=exact,
                descriptor=file.descriptor,
                path=file.path,
                offset=file.offset,
            )
            if group is not None and norms is not None:
                with file.rows() as W:
                    clear_small_groups(W, group, norms)
        return result, open_w(w_path)[own]

    def _penalties(
        self, views: Views, past: float = 0.0, weights: Mapping[str, float] | None = None
    ) -> Penalties:
        examples = past + views.total_weight
        return Penalties.of(self, examples, self._n_columns, weights or self.weights_)

    def _engine(
        self,
        views: Views,
        ranks: Sequence[int],
        *,
        weights: Mapping[str, float] | None = None,
        fixed: Sequence[str] = (),
        past: float = 0.0,
    ) -> _core.Engine:
        """Set up the problem, for a fit of each rank."""
        weights = weights or self.weights_
        penalties = self._penalties(views, past, weights)
        names = views.names
        return _core.Engine(
            views.source,
            ranks=ranks,
            weights=[weights[name] for name in names],
            l1_w=penalties.l1_w,
            l2_w=penalties.l2_w,
            l1_h=[penalties.l1_h[name] for name in names],
            l2_h=[penalties.l2_h[name] for name in names],
            device=views.processes.device("cuda" if views.on_device else self._device()),
            float64=views.is_float64 or self.compute == "float64",
            threads=self.n_threads or 0,
            fixed=[name in fixed for name in names],
            unit_rows=penalties.unit_rows,
            group_penalty=float(self.group_sparsity),
            row_terms=views.terms.core(),
            reduce=views.processes.reduce,
            exchange=views.processes.exchange,
            reduce_on_device=views.processes.reduces_on_device,
        )

    def _device(self) -> str:
        if self.device == "auto":
            return "cuda" if _core.cuda_available() else "cpu"
        return self.device

    def _products(self, views: Views) -> Literal["full", "bfloat16", "auto"]:
        if self.compute in ("bfloat16", "auto") and views.terms.weight is not None:
            raise ValueError(
                f"compute={self.compute!r} does not take sample_weight, whose products with W "
                "bfloat16 does not hold; use compute='float32'"
            )
        if self.compute == "bfloat16" and views.is_float64:
            raise ValueError(
                "compute='bfloat16' got a float64 view; pass views of at most float32, or "
                "compute='float64'"
            )
        if views.is_float64:
            return "full"
        if self.compute == "bfloat16":
            return "bfloat16"
        on_cuda = views.on_device or self._device() == "cuda"
        if self.compute == "auto" and (on_cuda or _core.bfloat16_is_faster()):
            return "auto"
        return "full"

    def _progress(self) -> Callable[[_core.IterationInfo], None] | None:
        callback = self.callback
        if callback is None:
            return None

        def progress(info: _core.IterationInfo) -> None:
            callback(
                FitEvent(info.iteration, self.max_iter, info.loss, info.accepted, info.seconds)
            )

        return progress


_SAVED = (
    "weights_",
    "n_iter_",
    "n_passes_",
    "n_reseeded_",
    "loss_history_",
    "rejected_losses_",
    "sample_losses_",
    "view_losses_",
    "view_loss_history_",
    "reconstruction_err_",
    "stop_reason_",
    "fingerprint_",
    "groups_",
    "group_norms_",
)


def load(path: str | os.PathLike[str]) -> CoupledNMF:
    """Open a fit that :meth:`CoupledNMF.save` wrote.

    Parameters
    ----------
    path : str or path-like
        Directory of the fit.

    Returns
    -------
    CoupledNMF
        The fitted estimator. Nothing is unpickled.

    Raises
    ------
    FileNotFoundError
        If there is no fit at `path`.
    ValueError
        If a file is malformed or the files do not belong together.
    """
    run = read_run(Path(path), _SAVED)
    known = set(CoupledNMF(1).get_params(deep=False))
    unknown = set(run.parameters) - known
    if unknown:
        raise ValueError(
            f"{path}: fit.json holds unknown parameter(s) {', '.join(sorted(unknown))}; "
            "it was written by another version of cofactor"
        )
    nmf = CoupledNMF(**run.parameters)
    check_parameters(nmf)
    for name, value in run.learned.items():
        setattr(nmf, name, value)
    for name in ("groups_", "group_norms_"):
        if run.learned[name] is not None:
            setattr(nmf, name, np.asarray(run.learned[name]))
    _set_components(nmf, run.components, n_examples=len(run.W))
    nmf.W_ = run.W
    return nmf


def with_components(
    nmf: CoupledNMF, components: Mapping[str, Factor], weights: Mapping[str, float]
) -> CoupledNMF:
    """Make an estimator know components that no fit of its own found, so that it transforms.

    Parameters
    ----------
    nmf : CoupledNMF
        The estimator, changed in place.
    components : mapping of str to ndarray of shape (n_components, n_columns)
        H of every view.
    weights : mapping of str to float
        Weight of every view.

    Returns
    -------
    CoupledNMF
        `nmf`.
    """
    for name in _SAVED:
        setattr(nmf, name, None)
    nmf.weights_ = dict(weights)
    _set_components(nmf, components, n_examples=0)
    return nmf


def _set_components(nmf: CoupledNMF, components: Mapping[str, Factor], n_examples: int) -> None:
    nmf.components_ = dict(components)
    nmf._n_examples = n_examples
    nmf._n_columns = {name: H.shape[1] for name, H in components.items()}
