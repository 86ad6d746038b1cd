"""How many components, and which: held-out loss, agreement of seeds, and consensus.

All of it works on the fits of :func:`cofactor.fit_many`, save for bi-cross-validation, which makes
fits of its own on parts of the data.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import average, cophenet
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ._parameters import resolve_weights
from ._views import Views, load_views
from .concepts import Table
from .many import ManyFits, fit_loaded, new_fits, reading_of
from .nmf import CoupledNMF, ViewMapping
from .store import ActivationStore

__all__ = ["bi_cross_validation", "consensus", "cophenetic", "stability"]

FloatArray = npt.NDArray[np.floating[Any]]


def bi_cross_validation(
    X: ActivationStore | ViewMapping,
    n_components: int | Sequence[int],
    *,
    seeds: int | Sequence[int] = 3,
    folds: tuple[int, int] = (2, 2),
    **parameters: Any,
) -> Table:
    """Loss on blocks of rows and columns that no fit has seen, by number of components.

    Examples are dealt into `folds[0]` parts, and columns of every view cut into `folds[1]` runs:
    neighbours in a feature map say much of each other, so that single columns left out would be
    easy. For each pair of parts, H is fitted to the examples outside, W of the examples inside is
    solved from the columns outside, H of the columns inside comes from the examples outside, and
    ``W H`` is compared with the block inside (Owen and Perry, "Bi-cross-validation of the SVD and
    the nonnegative matrix factorization", Annals of Applied Statistics 3(2), 2009). Too few
    components miss what is common, too many follow noise: the loss has a minimum.

    Fits of all numbers of components and seeds are made at once; no part of the data is copied.

    Parameters
    ----------
    X : ActivationStore or mapping of str to array of shape (n_examples, n_columns)
        As for :meth:`CoupledNMF.fit`.
    n_components : int or sequence of int
        Numbers of components to compare.
    seeds : int or sequence of int, default=3
        Seeds, or their number.
    folds : tuple of int, default=(2, 2)
        Parts of the examples and of the columns, 2 or more each.
    **parameters
        Other parameters of :class:`CoupledNMF`.

    Returns
    -------
    Table
        One row a fit and pair of parts: n_components, seed, row_fold, column_fold, and
        held_out_loss, ``sum_v w_v ||X_v - W H_v||^2 / sum_v w_v ||X_v||^2`` over the block.

    Raises
    ------
    ValueError
        For fewer than 2 parts, or more than there are examples or columns.

    Examples
    --------
    >>> import numpy as np
    >>> from cofactor.selection import bi_cross_validation
    >>> rng = np.random.default_rng(0)
    >>> W, H = rng.random((200, 3)) ** 3, rng.random((3, 40)) ** 3
    >>> X = {"layer": W @ H + 0.1 * rng.random((200, 40))}
    >>> table = bi_cross_validation(X, [1, 4, 12], max_iter=300)
    >>> mean = [table["held_out_loss"][table["n_components"] == k].mean() for k in (1, 4, 12)]
    >>> int(np.argmin(mean))
    1
    """
    (estimator, *_) = fits = new_fits(n_components, seeds, parameters)
    views = load_views(X, caller="bi_cross_validation", device=estimator.device)
    if views.are_blocks:
        raise TypeError(
            f"bi_cross_validation got {type(X).__name__}, whose blocks it cannot divide; pass a "
            "store or a mapping from view name to array"
        )
    row_folds, column_folds = _check_folds(folds, views)
    views = replace(views, reading=reading_of(fits, views))
    views = views.with_statistics(estimator.n_threads)
    views.check_values()
    weights = resolve_weights(estimator.weights, views.names, views.sums_of_squares)
    rows: list[dict[str, Any]] = []
    for row_fold, column_fold in itertools.product(range(row_folds), range(column_folds)):
        held: dict[str, tuple[str, slice]] = {}
        rest: dict[str, tuple[str, slice]] = {}
        block_weights: dict[str, float] = {}
        for name, columns in views.n_columns.items():
            edges = np.linspace(0, columns, column_folds + 1).astype(int)
            for part, (first, last) in enumerate(itertools.pairwise(edges)):
                if first == last:
                    continue
                inside = part == column_fold
                block = f"{name}[{first}:{last}]"
                (held if inside else rest)[block] = (name, slice(first, last))
                block_weights[block] = weights[name]
        # What is held out has no weight: it does not shape W, and its H is fitted all the same.
        shaping = {block: block_weights[block] if block in rest else 0.0 for block in block_weights}
        outside = views.part(
            {**rest, **held}, row_folds, [i for i in range(row_folds) if i != row_fold]
        )
        inside_rows = views.part({**rest, **held}, row_folds, [row_fold])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            many = fit_loaded(
                new_fits(n_components, seeds, {**parameters, "weights": shaping}),
                outside.with_statistics(estimator.n_threads),
            )
        losses = _losses_of_block(
            many, inside_rows.with_statistics(estimator.n_threads), list(held), block_weights
        )
        rows += [
            {
                "n_components": fit.n_components,
                "seed": fit.random_state,
                "row_fold": row_fold,
                "column_fold": column_fold,
                "held_out_loss": loss,
            }
            for fit, loss in zip(many.fits, losses, strict=True)
        ]
    return Table({name: np.array([row[name] for row in rows]) for name in rows[0]})


def _check_folds(folds: tuple[int, int], views: Views) -> tuple[int, int]:
    limits = views.n_examples, max(views.n_columns.values())
    if len(folds) != 2 or not all(2 <= n <= limit for n, limit in zip(folds, limits, strict=True)):
        raise ValueError(
            f"folds={folds!r} must be the numbers of parts of examples and of columns, of at least "
            f"2 and at most {limits}"
        )
    return folds


def _losses_of_block(
    many: ManyFits, views: Views, held: Sequence[str], weights: dict[str, float]
) -> list[float]:
    """Relative losses of what is held out, of examples that are solved from the rest."""
    first = many.fits[0]
    engine = first._engine(views, [fit.n_components for fit in many.fits])
    for v, name in enumerate(views.names):
        engine.set_h(v, np.concatenate([fit.components_[name] for fit in many.fits]))
    encoded = engine.encode(views.sums_of_squares, exact=True, w=None)
    squares = dict(zip(views.names, views.sums_of_squares, strict=True))
    total = sum(weights[name] * squares[name] for name in held)
    losses = []
    for of_fit in encoded.view_losses:
        by_view = dict(zip(views.names, of_fit, strict=True))
        rest = sum(weights[name] * squares[name] * by_view[name] for name in held)
        losses.append(rest / total if total > 0 else 0.0)
    return losses


def stability(many: ManyFits) -> Table:
    """How well the components of different seeds agree, by number of components.

    Components are the rows of ``hstack([sqrt(w_v) * H_v])``. Two fits are matched one to one so
    that the cosines between their components have the largest sum (Hungarian method).

    Parameters
    ----------
    many : ManyFits
        Two seeds or more for each number of components.

    Returns
    -------
    Table
        One row a number of components: n_components, pairs of seeds, and over them and all
        components the mean, the least, and the standard deviation between pairs of the cosine.

    Examples
    --------
    >>> import numpy as np, cofactor as cf
    >>> from cofactor.selection import stability
    >>> rng = np.random.default_rng(0)
    >>> X = {"layer": rng.random((200, 3)) ** 4 @ rng.random((3, 30)) ** 4}
    >>> table = stability(cf.fit_many(X, [3], seeds=4, max_iter=2000))
    >>> int(table["pairs"][0]), bool(table["mean"][0] > 0.95)
    (6, True)
    """
    rows = []
    for k, fits in _by_rank(many):
        directions = [_directions(fit) for fit in fits]
        means, least = [], 1.0
        for one, other in itertools.combinations(directions, 2):
            cosines = one @ other.T
            matched = cosines[linear_sum_assignment(cosines, maximize=True)]
            means.append(float(matched.mean()))
            least = min(least, float(matched.min()))
        rows.append((k, len(means), float(np.mean(means)), least, float(np.std(means))))
    columns = zip(*rows, strict=True)
    names = ("n_components", "pairs", "mean", "minimum", "std")
    return Table({name: np.array(column) for name, column in zip(names, columns, strict=True)})


def cophenetic(many: ManyFits, *, max_examples: int = 1000, random_state: int = 0) -> Table:
    """Cophenetic correlation of the consensus of seeds, by number of components.

    Each fit puts every example into the cluster of its largest component, columns of W at unit
    norm. The consensus of two examples is the share of seeds that put them together; the
    correlation is that between 1 - consensus and the heights at which average linkage joins them:
    1 where seeds agree (Brunet et al., "Metagenes and molecular pattern discovery using matrix
    factorization", PNAS 101(12), 2004).

    Parameters
    ----------
    many : ManyFits
        Two seeds or more for each number of components.
    max_examples : int, default=1000
        Examples to compare, drawn from all: memory and time grow with the square.
    random_state : int, default=0
        Seed of the draw.

    Returns
    -------
    Table
        One row a number of components: n_components, correlation, and dispersion,
        ``mean((2 consensus - 1)^2)``, which is 1 where every pair is always or never together.

    Examples
    --------
    >>> import numpy as np, cofactor as cf
    >>> from cofactor.selection import cophenetic
    >>> rng = np.random.default_rng(0)
    >>> X = {"layer": np.repeat(np.eye(3), 20, axis=0) @ rng.random((3, 30))}
    >>> table = cophenetic(cf.fit_many(X, [3], seeds=4, max_iter=500))
    >>> bool(table["correlation"][0] > 0.99)
    True
    """
    rows = []
    for k, fits in _by_rank(many):
        n = len(fits[0].W_)
        chosen = np.arange(n)
        if n > max_examples:
            chosen = np.sort(
                check_random_state(random_state).choice(n, max_examples, replace=False)
            )
        together = np.zeros((len(chosen), len(chosen)))
        for fit in fits:
            norms = np.linalg.norm(fit.W_, axis=0)
            labels = np.argmax(fit.W_[chosen] / np.where(norms > 0, norms, 1.0), axis=1)
            together += labels[:, np.newaxis] == labels
        together /= len(fits)
        distances = squareform(1.0 - together, checks=False)
        dispersion = float(np.mean((2.0 * together - 1.0) ** 2))
        # Where all distances are alike there is no tree to compare them with.
        alike = len(distances) == 0 or np.ptp(distances) == 0
        correlation = 1.0 if alike else float(cophenet(average(distances), distances)[0])
        rows.append((k, correlation, dispersion))
    columns = zip(*rows, strict=True)
    names = ("n_components", "correlation", "dispersion")
    return Table({name: np.array(column) for name, column in zip(names, columns, strict=True)})


def consensus(
    many: ManyFits,
    n_components: int,
    *,
    outliers: float = 0.1,
    random_state: int = 0,
) -> dict[str, FloatArray]:
    """Components that seeds have in common, to start a fit or to be fixed in one.

    The components of all seeds, each at unit norm as a row of ``hstack([sqrt(w_v) * H_v])``, are
    ranked by their mean distance to their nearest neighbours, of which a common component has one a
    seed; the most remote ones are left out, k-means finds `n_components` clusters of the others,
    and the median of a cluster, at the median of its norms, is a consensus component (Kotliar et
    al., "Identifying gene expression programs of cell-type identity and cellular activity with
    single-cell RNA-Seq", eLife 8, 2019).

    Parameters
    ----------
    many : ManyFits
        Two seeds or more.
    n_components : int
        Which fits, and the number of consensus components.
    outliers : float, default=0.1
        Share of the components to leave out.
    random_state : int, default=0
        Seed of k-means.

    Returns
    -------
    dict of str to ndarray of shape (n_components, n_columns)
        Components by view: pass them to :meth:`CoupledNMF.fit` as `H`.

    Raises
    ------
    ValueError
        If there are no or too few such fits, or `outliers` is not in [0, 1).

    Examples
    --------
    >>> import numpy as np, cofactor as cf
    >>> from cofactor.selection import consensus
    >>> rng = np.random.default_rng(0)
    >>> X = {"layer": rng.random((200, 3)) @ rng.random((3, 30))}
    >>> H = consensus(cf.fit_many(X, 3, seeds=5, max_iter=500), 3)
    >>> nmf = cf.CoupledNMF(3).fit(X, H=H)
    >>> bool(nmf.loss_history_[0] < 0.01)
    True
    """
    if not 0 <= outliers < 1:
        raise ValueError(f"outliers={outliers} must be at least 0 and below 1")
    fits = many.of(n_components)
    if len(fits) < 2:
        raise ValueError("consensus needs two seeds or more; pass seeds= to fit_many")
    directions = np.concatenate([_directions(fit) for fit in fits])
    alive = np.flatnonzero(directions.any(axis=1))
    cosines = directions[alive] @ directions[alive].T
    distances = np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0))
    neighbours = min(len(fits), len(alive)) - 1
    remoteness = np.sort(distances, axis=1)[:, 1 : neighbours + 1].mean(axis=1)
    kept = max(n_components, int(np.ceil((1.0 - outliers) * len(alive))))
    if len(alive) < n_components:
        raise ValueError(
            f"only {len(alive)} components of the fits are not all zero; consensus needs "
            f"{n_components}"
        )
    chosen = alive[np.sort(np.argsort(remoteness, kind="stable")[:kept])]
    clusters = KMeans(n_components, n_init=10, random_state=random_state).fit(directions[chosen])
    stacked = {
        name: np.concatenate([fit.components_[name] for fit in fits])
        for name in fits[0].components_
    }
    norms = np.concatenate([_norms(fit) for fit in fits])
    found: dict[str, list[FloatArray]] = {name: [] for name in stacked}
    for cluster in range(n_components):
        members = chosen[clusters.labels_ == cluster]
        size = np.median(norms[members])
        for name, H in stacked.items():
            found[name].append(np.median(H[members] / norms[members, np.newaxis], axis=0) * size)
    return {name: np.stack(rows) for name, rows in found.items()}


def _by_rank(many: ManyFits) -> list[tuple[int, list[CoupledNMF]]]:
    ranks = sorted({fit.n_components for fit in many.fits})
    groups = [(k, many.of(k)) for k in ranks]
    for k, fits in groups:
        if len(fits) < 2:
            raise ValueError(
                f"there is one fit of {k} components, and agreement needs two seeds or more; pass "
                "seeds= to fit_many"
            )
    return groups


def _weighted(fit: CoupledNMF) -> FloatArray:
    return np.hstack([np.sqrt(fit.weights_[name]) * H for name, H in fit.components_.items()])


def _norms(fit: CoupledNMF) -> FloatArray:
    norms: FloatArray = np.linalg.norm(_weighted(fit), axis=1)
    return norms


def _directions(fit: CoupledNMF) -> FloatArray:
    norms = _norms(fit)[:, np.newaxis]
    directions: FloatArray = _weighted(fit) / np.where(norms > 0, norms, 1.0)
    return directions
