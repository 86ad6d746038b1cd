"""Online fits: sums over all examples so far stand in for the examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from ._agreement import arrays_digest, parameters_of, random_state_of
from ._given import with_unit_rows
from ._parameters import check_parameters, check_start, resolve_weights
from ._views import Views, load_views
from .distributed import processes
from .init import make_start

if TYPE_CHECKING:
    from .nmf import CoupledNMF

__all__ = ["OnlineState", "take_block"]

# Solves of the new examples' W and of H: the first W is that of an H that has not seen them.
_ITERATIONS = 2

# By default the sums over n examples count (n / m)^5 once there are m: those of an early H fade and
# those of the last sixth of the examples stay, however many there are and however they come in
# blocks (Mairal et al., "Online learning for matrix factorization and sparse coding", JMLR 11,
# 2010, section 3.4). Of the powers 0 to 8, 5 gave the least error or close to it after one epoch of
# exact, noisy and digits data, in blocks of 10 to 480.
_FADING = 5.0


@dataclass(frozen=True)
class OnlineState:
    """What is kept of the examples so far.

    Attributes
    ----------
    columns : dict of str to int
        Number of columns of every view.
    sums : ndarray
        The core's sums over the examples, as one array.
    squares : list of float
        Sum of squares of every view.
    n_examples : float
        Number of examples, or sum of their weights, as far as they are not forgotten.
    n_seen : float
        The same of all examples there ever were.
    components : dict of str to ndarray
        H of every view.
    """

    columns: dict[str, int]
    sums: npt.NDArray[np.float64]
    squares: list[float]
    n_examples: float
    n_seen: float
    components: dict[str, npt.NDArray[Any]]

    def start_for(self, views: Views, n_components: int) -> dict[str, npt.NDArray[Any]]:
        """Give the components that a fit of `views` starts from."""
        if views.n_columns != self.columns:
            raise ValueError(
                f"CoupledNMF.fit starts from what partial_fit learned, of views {self.columns}, "
                f"but X has {views.n_columns}; clone the estimator to start afresh"
            )
        check_start(self.components, self.columns, n_components)
        return self.components

    def forgotten(self, factor: float | str, n_new: float) -> OnlineState:
        """Let every example count less, before so many new ones."""
        share = self.n_seen / (self.n_seen + n_new)
        kept = share**_FADING if isinstance(factor, str) else float(factor)
        return replace(
            self,
            sums=self.sums * kept,
            squares=[square * kept for square in self.squares],
            n_examples=self.n_examples * kept,
        )


def take_block(
    nmf: CoupledNMF,
    X: Any,
    *,
    H: Mapping[str, npt.ArrayLike] | None,
    mask: Mapping[str, npt.ArrayLike] | None,
    sample_weight: npt.ArrayLike | None,
) -> None:
    """Go on with new examples: see :meth:`CoupledNMF.partial_fit`."""
    check_parameters(nmf)
    if nmf.group_sparsity:
        raise ValueError(
            "partial_fit does not take group_sparsity, which needs all examples of a group at "
            "once; use fit"
        )
    if nmf.compute in ("bfloat16", "auto"):
        raise ValueError(
            f"partial_fit does not take compute={nmf.compute!r}; use 'float32' or 'float64'"
        )
    before: OnlineState | None = getattr(nmf, "_online", None)
    known = hasattr(nmf, "components_")
    ranks = processes()
    ranks.check_same(
        "CoupledNMF.partial_fit",
        {
            **parameters_of(nmf.get_params(deep=False)),
            "the components so far": arrays_digest(nmf.components_) if known else None,
        },
    )
    views = load_views(
        X,
        expected=nmf._n_columns if known else None,
        caller="CoupledNMF.partial_fit",
        processes=ranks,
    )
    if views.are_blocks:
        raise TypeError(
            f"CoupledNMF.partial_fit got {type(X).__name__}; give it the blocks one by one, each a "
            "mapping from view name to array, or a store"
        )
    if known and set(views.names) != set(nmf._n_columns):
        raise ValueError(
            f"CoupledNMF.partial_fit got views {', '.join(map(repr, views.names))}; expected all "
            "of " + ", ".join(map(repr, nmf._n_columns))
        )
    if known and H is not None:
        raise ValueError(
            "H starts a fit, and this one has begun; clone the estimator to start afresh"
        )
    views = views.in_order(list(nmf._n_columns)) if known else views
    views = views.told(mask=mask, sample_weight=sample_weight)
    # Every view has sums of its own from the first block on: a later one may lack some.
    terms = views.terms.with_every_view_apart(views.rows.n_examples, len(views.names))
    views = replace(views, terms=terms, reading=nmf._reading(views, nmf.n_components, 0))
    reads = 0.0 if views.have_statistics else 1.0
    views = views.with_statistics(nmf.n_threads)
    views.check_values()
    start: list[npt.NDArray[Any]]
    if known:
        start = [nmf.components_[name] for name in views.names]
    else:
        nmf.weights_ = resolve_weights(nmf.weights, views.names, views.sums_of_squares)
        nmf._n_columns = views.n_columns
        nmf.n_passes_, nmf.n_iter_, nmf.loss_history_ = 0.0, 0, []
        nmf.sample_losses_ = []
        if H is not None:
            start = [*check_start(H, views.n_columns, nmf.n_components)]
        else:
            found = make_start(
                views,
                nmf.weights_,
                nmf.n_components,
                nmf.init or "compressed",
                check_random_state(random_state_of(nmf.random_state, ranks)),
                penalties=nmf._penalties(views),
                engine_for=nmf._engine,
                n_threads=nmf.n_threads,
                extrapolate=nmf.acceleration is not None,
                rounded=False,
            )
            start, nmf.sample_losses_ = [*found.factors], found.sample_losses
            reads += found.passes
        if nmf.penalty == "paper":
            start = with_unit_rows(start)
    if before is None:
        before = OnlineState(views.n_columns, np.empty(0), [0.0] * len(views.names), 0.0, 0.0, {})
        nmf.loss_history_ = []
        nmf.view_loss_history_ = {name: [] for name in views.names}
    new = views.total_weight
    before = before.forgotten(nmf.forget_factor, new)
    engine = nmf._engine(views, [nmf.n_components], past=before.n_examples)
    for v, factor in enumerate(start):
        engine.set_h(v, factor)
    squares = [old + new for old, new in zip(before.squares, views.sums_of_squares, strict=True)]
    trace, sums = engine.online(squares, before.sums, iterations=_ITERATIONS)
    dtype = np.float64 if engine.float64 else np.float32
    nmf.components_ = {
        name: engine.h(v).astype(dtype, copy=False) for v, name in enumerate(views.names)
    }
    total = float(np.dot(list(nmf.weights_.values()), squares))
    nmf._online = OnlineState(
        views.n_columns,
        sums.ravel(),
        squares,
        before.n_examples + new,
        before.n_seen + new,
        nmf.components_,
    )
    nmf._n_examples = 0
    nmf.W_ = np.empty((0, nmf.n_components), dtype)
    nmf.n_iter_ += _ITERATIONS
    nmf.n_passes_ += reads + _ITERATIONS
    nmf.n_reseeded_ = 0
    nmf.loss_history_.append(trace.losses[-1])
    nmf.rejected_losses_ = []
    nmf.view_losses_ = dict(zip(views.names, trace.view_losses[-1], strict=True))
    for name, loss in nmf.view_losses_.items():
        nmf.view_loss_history_[name].append(loss)
    nmf.reconstruction_err_ = float(np.sqrt(trace.losses[-1] * total))
    nmf.stop_reason_ = "partial_fit"
    nmf.fingerprint_ = views.fingerprint
    nmf.groups_ = nmf.group_norms_ = None
