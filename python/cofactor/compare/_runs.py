"""Several fits to one store: views together and alone, ranks and seeds, classes, penalties."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.compare._summary import Tables, spread, summary, table_of
from cofactor.concepts import Concepts, Table, match_concepts, mutual_coherence, stability
from cofactor.nmf import CoupledNMF
from cofactor.store import ActivationStore

Report = Callable[[str], object]


def compare_views(
    store: ActivationStore,
    n_components: int,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    seeds: Sequence[int] = (0,),
    report: Report | None = None,
    **options: Any,
) -> Tables:
    """Fit all views together, and parts of them alone.

    Parameters
    ----------
    store : ActivationStore
        The activations.
    n_components : int
        Number of concepts of every fit.
    groups : mapping of str to sequence of str, optional
        Names of the views of each fit, by a name for it. By default ``coupled`` (all views), every
        layer alone, and ``pixels`` (the input channels) where there are several views of them.
    seeds : sequence of int
        Seeds; every group is fitted with each.
    report : callable, optional
        Told what is done next.
    **options
        For `CoupledNMF`.

    Returns
    -------
    dict of str to Table
        ``fits``: a row per group and seed: ``views`` (name of the group), ``seed`` and the values
        of `summary`, mean impurity included. ``mean``: the same by group, with the standard
        deviation of each value as ``..._sd``. ``matches``: for the first seed, the concepts of the
        first group and, by the cosine of their W, their matches in every other: ``views``,
        ``concept``, ``match``, ``cosine``.

    Raises
    ------
    ValueError
        If a group names views that the store does not have, or an option is out of range.

    Examples
    --------
    >>> import tempfile, cofactor as cf
    >>> rng, path = np.random.default_rng(0), tempfile.mkdtemp() + "/acts"
    >>> views = {name: {"shape": (6,), "dtype": "float32"} for name in ("conv", "fc")}
    >>> with cf.ActivationStore.create(path, views) as writer:
    ...     block = {name: rng.random((40, 6), np.float32) for name in views}
    ...     writer.append(block, {"labels": np.arange(40) % 4})
    >>> tables = compare_views(cf.ActivationStore(path), 2, tol=1e-3)
    >>> tables["fits"]["views"].tolist()
    ['coupled', 'conv', 'fc']
    """
    rows: list[dict[str, Any]] = []
    first: dict[str, NDArray[Any]] = {}
    for name, views in _groups(store, groups).items():
        part = store.select(views=list(views))
        for seed in _checked("seeds", seeds):
            concepts = _fit(part, n_components, seed, report, name, options)
            rows.append({"views": name, "seed": seed, **summary(concepts, impurity=True)})
            first.setdefault(name, concepts.W)
    whole, *others = first
    matches = []
    for name in others:
        for pair in match_concepts(first[whole], first[name]).rows():
            matches.append({"views": name, **pair})
    tables = {"fits": table_of(rows), "mean": spread(rows, ["views"])}
    return tables | ({"matches": table_of(matches)} if matches else {})


def compare_seeds(
    store: ActivationStore,
    ranks: Sequence[int],
    seeds: Sequence[int] = range(5),
    *,
    report: Report | None = None,
    **options: Any,
) -> Tables:
    """Fit with several ranks and seeds, and see which concepts come back.

    Parameters
    ----------
    store : ActivationStore
        The activations.
    ranks : sequence of int
        Numbers of concepts.
    seeds : sequence of int
        At least two.
    report : callable, optional
        Told what is done next.
    **options
        For `CoupledNMF`.

    Returns
    -------
    dict of str to Table
        ``fits``: a row per rank and seed, with the values of `summary`. ``ranks``: the same by
        rank, with standard deviations (``..._sd``), and ``stability``, the mean over all concepts
        of their mean cosine with their matches in the other seeds, and ``stability_min``.
        ``stability``: a row per rank, seed and concept: ``mean_cosine``, ``min_cosine``, as the
        function `stability`, by the H of all views side by side.

    Raises
    ------
    ValueError
        If there are fewer than two seeds, or an option is out of range.
    """
    if len(_checked("seeds", seeds)) < 2:
        raise ValueError(f"seeds are {list(seeds)}; expected at least two")
    rows, stable, by_rank = [], [], {}
    for rank in _checked("ranks", ranks):
        runs = []
        for seed in seeds:
            concepts = _fit(store, rank, seed, report, "", options)
            rows.append({"rank": rank, "seed": seed, **summary(concepts)})
            runs.append(_stacked(concepts))
        found = stability(runs, component_axis=0)
        by_rank[rank] = found["mean_cosine"]
        stable += [
            {
                "rank": rank,
                "seed": seeds[row["fit"]],
                "concept": row["concept"],
                "mean_cosine": row["mean_cosine"],
                "min_cosine": row["min_cosine"],
            }
            for row in found.rows()
        ]
    mean = spread(rows, ["rank"])
    cosines = [by_rank[rank] for rank in mean["rank"].tolist()]
    mean = Table(
        {
            **mean.columns,
            "stability": np.array([c.mean() for c in cosines]),
            "stability_min": np.array([c.min() for c in cosines]),
        }
    )
    return {"ranks": mean, "fits": table_of(rows), "stability": table_of(stable)}


def compare_classes(
    store: ActivationStore,
    n_components: int,
    subsets: Mapping[str, Sequence[int]],
    *,
    seed: int = 0,
    report: Report | None = None,
    **options: Any,
) -> Tables:
    """Fit some classes alone, and set that beside what the fit to all classes says of them.

    Parameters
    ----------
    store : ActivationStore
        Activations with a column ``labels``.
    n_components : int
        Number of concepts of every fit.
    subsets : mapping of str to sequence of int
        Class numbers of each subset, by a name for it.
    seed : int
        Seed of every fit.
    report : callable, optional
        Told what is done next.
    **options
        For `CoupledNMF`.

    Returns
    -------
    dict of str to Table
        ``fits``: a row per subset and per fit of it, with the values of `summary` for the examples
        of the subset: ``subset``, ``fitted`` (``alone``, or ``all classes``). ``matches``: the
        concepts of the fit alone and their matches in the fit to all classes, by the cosine of
        their W over the subset: ``subset``, ``concept``, ``match``, ``cosine``.

    Raises
    ------
    ValueError
        If there are no labels, a subset has no examples, or an option is out of range.
    """
    labels = store.columns.get("labels")
    if labels is None:
        raise ValueError("the store has no column 'labels'; expected a capture with labels")
    if not subsets:
        raise ValueError("no subset was given; expected at least one")
    whole = _fit(store, n_components, seed, report, "all classes", options)
    rows, matches = [], []
    for name, classes in subsets.items():
        kept = np.flatnonzero(np.isin(labels, list(classes)))
        if not len(kept):
            raise ValueError(f"subset {name!r} has no examples; its classes are {list(classes)}")
        part = store.select(rows=kept)
        alone = _fit(part, n_components, seed, report, name, options)
        restricted = Concepts(whole.nmf, part, W=whole.W[kept])
        rows.append({"subset": name, "fitted": "alone", **summary(alone)})
        rows.append({"subset": name, "fitted": "all classes", **summary(restricted)})
        for pair in match_concepts(alone.W, restricted.W).rows():
            matches.append({"subset": name, **pair})
    return {"fits": table_of(rows), "matches": table_of(matches)}


def compare_grid(
    store: ActivationStore,
    ranks: Sequence[int],
    *,
    alpha_W: Sequence[float] = (0.0,),
    alpha_H: Sequence[float] | None = None,
    l1_ratio: Sequence[float] = (0.0,),
    seed: int = 0,
    report: Report | None = None,
    **options: Any,
) -> Tables:
    """Fit on a grid of ranks and penalties.

    Parameters
    ----------
    store : ActivationStore
        The activations.
    ranks : sequence of int
        Numbers of concepts.
    alpha_W, alpha_H, l1_ratio : sequence of float
        Penalties, as for `CoupledNMF`; every combination is fitted. Without `alpha_H` it is that on
        W each time.
    seed : int
        Seed of every fit.
    report : callable, optional
        Told what is done next.
    **options
        For `CoupledNMF`.

    Returns
    -------
    dict of str to Table
        ``grid``: a row per fit: ``alpha_W``, ``alpha_H``, ``l1_ratio``, the values of `summary`,
        ``zeros_W`` and ``zeros_H`` (shares of exact zeros), ``n_dead`` (concepts without weight in
        any example), ``coherence`` (largest cosine between two concepts, by the H of all views
        side by side).

    Raises
    ------
    ValueError
        If an option is out of range.
    """
    rows = []
    grid = product(
        _checked("ranks", ranks),
        _checked("alpha_W", alpha_W),
        _checked("alpha_H", [None] if alpha_H is None else alpha_H),
        _checked("l1_ratio", l1_ratio),
    )
    for rank, on_W, on_H, ratio in grid:
        on_H = on_W if on_H is None else on_H
        chosen = {**options, "alpha_W": on_W, "alpha_H": on_H, "l1_ratio": ratio}
        said = f"alpha_W {on_W:g}, alpha_H {on_H:g}, l1_ratio {ratio:g}"
        concepts = _fit(store, rank, seed, report, said, chosen)
        H = _stacked(concepts)
        rows.append(
            {
                "alpha_W": on_W,
                "alpha_H": on_H,
                "l1_ratio": ratio,
                **summary(concepts),
                "zeros_W": float((concepts.W == 0).mean()),
                "zeros_H": float((H == 0).mean()),
                "n_dead": int((~concepts.W.any(axis=0)).sum()),
                "coherence": float(mutual_coherence({"all": H})["max"][0]),
            }
        )
    return {"grid": table_of(rows)}


def _groups(
    store: ActivationStore, given: Mapping[str, Sequence[str]] | None
) -> Mapping[str, Sequence[str]]:
    if given is not None:
        if not given:
            raise ValueError("groups is empty; expected at least one")
        return given
    names = list(store.views)
    pixels = [name for name in names if name.startswith("input.")]
    groups: dict[str, Sequence[str]] = {"coupled": names}
    if len(names) > 1:
        groups |= {name: [name] for name in names if name not in pixels}
        if pixels and len(pixels) < len(names):
            groups["pixels"] = pixels
    return groups


def _fit(
    store: ActivationStore,
    rank: int,
    seed: int,
    report: Report | None,
    what: str,
    options: Mapping[str, Any],
) -> Concepts:
    if report is not None:
        report(", ".join(part for part in (what, f"rank {rank}", f"seed {seed}") if part))
    nmf = CoupledNMF(rank, random_state=seed, **options).fit(store)
    return Concepts(nmf, store)


def _stacked(concepts: Concepts) -> NDArray[Any]:
    """Return the H of all views side by side, each times the square root of its weight."""
    weights = concepts.nmf.weights_  # type: ignore[attr-defined]
    return np.concatenate(
        [weights[view] ** 0.5 * H for view, H in concepts.nmf.components_.items()], axis=1
    )


def _checked(name: str, values: Iterable[Any]) -> list[Any]:
    found = list(values)
    if not found:
        raise ValueError(f"{name} is empty; expected at least one")
    return found
