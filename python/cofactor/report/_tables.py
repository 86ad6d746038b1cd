"""The tables of a report; the pages show no number that is not in one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table
from cofactor.report._cka import cka_tables
from cofactor.report._examples import example_tables
from cofactor.report._order import by_similarity
from cofactor.report._saliency import saliency_tables

# What the tables of views call the rows of W.
EXAMPLES = "W"
N_NEAREST = 5
N_PAIRS = 5


def tables_of(
    concepts: Concepts, n_top: int, n_neurons: int, n_examples: int, importance: Mapping[str, Table]
) -> dict[str, Table]:
    """Return every table by the name of its CSV file; those of `importance` among them."""
    k = range(concepts.n_concepts)
    similarity = concepts.similarity()
    in_w = _matrix(similarity, EXAMPLES, concepts.n_concepts)
    overview = concepts.table()
    order = by_similarity(in_w)
    of_examples = example_tables(concepts, n_examples)
    tables = {
        "fit": _fit(concepts, len(of_examples["examples"])),
        "views": _views(concepts),
        "concepts": overview,
        "concept_map": _concept_map(order, overview["weight_share"]),
        "view_shares": concepts.view_shares(),
        "top_examples": _by_concept(concepts.top_examples(r, n_top) for r in k),
        "nearest_concepts": _nearest(concepts, in_w),
        "coherence": concepts.coherence(),
        "eigenvalues": concepts.eigenvalues(),
        "cluster_sizes": concepts.cluster_sizes(),
        **_histories(concepts),
        **of_examples,
        **cka_tables(concepts),
        **saliency_tables(concepts),
        **importance,
    }
    tables["clusters"] = _clusters(tables["cluster_sizes"])
    tables["closest_pairs"] = _closest_pairs(similarity)
    if concepts.labels is not None:
        tables["scores"] = concepts.scores()
        tables["class_shares"] = concepts.class_table("class")
        tables["class_distances"] = concepts.distances("class")
        if concepts.superclass_of_class is not None:
            tables["superclass_shares"] = concepts.class_table("superclass")
    for layer, slug in file_names(concepts.layers).items():
        tables[f"neurons-{slug}"] = _by_concept(concepts.neurons(layer, r, n_neurons) for r in k)
    for view, slug in file_names([EXAMPLES, *concepts.views]).items():
        rows = similarity["view"] == view
        tables[f"similarity-{slug}"] = _ordered(_where(similarity, rows), order)
    return tables


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name one that is safe as part of a file name, all different."""
    taken: dict[str, str] = {}
    for number, name in enumerate(names):
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
        # Lower case, since file systems exist on which "Conv" and "conv" are one file.
        if not slug or slug.lower() in {other.lower() for other in taken.values()}:
            slug = f"{slug}-{number}"
        taken[name] = slug
    return taken


def _fit(concepts: Concepts, n_listed: int) -> Table:
    nmf = concepts.nmf
    history = _history(concepts)
    row: dict[str, Any] = {
        "n_examples": concepts.n_examples,
        "n_views": len(concepts.views),
        "n_columns": sum(prod(concepts.shape(view)) for view in concepts.views),
        "n_concepts": concepts.n_concepts,
        "n_classes": len(concepts.class_names),
        "n_superclasses": len(concepts.superclass_names),
        "n_listed": n_listed,
        "n_unclustered": int((concepts.clusters() < 0).sum()),
        "loss": float(history[-1]) if len(history) else None,
        "n_iter": getattr(nmf, "n_iter_", None),
        "n_passes": getattr(nmf, "n_passes_", None),
        "stop_reason": getattr(nmf, "stop_reason_", None),
    }
    if concepts.labels is not None and concepts.predictions is not None:
        row["accuracy"] = float((concepts.labels == concepts.predictions).mean())
    return Table({name: np.array([value]) for name, value in row.items() if value is not None})


def _history(concepts: Concepts) -> NDArray[np.float64]:
    history = getattr(concepts.nmf, "loss_history_", None)
    return np.asarray([] if history is None else history, np.float64)


def _histories(concepts: Concepts) -> dict[str, Table]:
    """Return the loss of all views together, and of each, over the passes of the fit."""
    tables = {}
    history = _history(concepts)
    if len(history):
        tables["loss"] = Table({"pass": np.arange(1, len(history) + 1), "loss": history})
    by_view = getattr(concepts.nmf, "view_loss_history_", None)
    if by_view:
        lengths = [len(losses) for losses in by_view.values()]
        losses = np.concatenate([np.asarray(losses, np.float64) for losses in by_view.values()])
        firsts = np.repeat([losses[0] for losses in by_view.values()], lengths)
        tables["view_loss"] = Table(
            {
                "view": np.repeat(np.array(list(by_view)), lengths),
                "pass": np.concatenate([np.arange(1, n + 1) for n in lengths]),
                "loss": losses,
                "of_first": losses / np.where(firsts > 0, firsts, 1),
            }
        )
    return tables


def _views(concepts: Concepts) -> Table:
    views = concepts.pixel_views + concepts.layers
    columns: dict[str, NDArray[Any]] = {
        "view": np.array(views),
        "is_pixels": np.isin(views, concepts.pixel_views),
        "shape": np.array(["x".join(map(str, concepts.shape(view))) for view in views]),
        "n_columns": np.array([prod(concepts.shape(view)) for view in views]),
    }
    losses = getattr(concepts.nmf, "view_losses_", None)
    if losses:
        columns["loss"] = np.array([losses.get(view, np.nan) for view in views], np.float64)
    return Table(columns)


def _concept_map(order: NDArray[np.intp], weight: NDArray[np.float64]) -> Table:
    """List the concepts so that like ones are near, with sides of squares whose areas compare."""
    shares = weight[order]
    return Table(
        {
            "position": np.arange(len(order)),
            "concept": order,
            "weight_share": shares,
            "side": np.sqrt(shares / (shares.max(initial=0) or 1)),
        }
    )


def _nearest(concepts: Concepts, similarity: NDArray[np.float64]) -> Table:
    """List for every concept those that are strong on the same examples."""
    k = len(similarity)
    others = similarity - 2 * np.eye(k)  # below every cosine, so that itself comes last
    order = np.argsort(-others, axis=1, kind="stable")[:, : min(N_NEAREST, k - 1)]
    count = order.shape[1]
    concept, other = np.repeat(np.arange(k), count), order.ravel()
    columns: dict[str, NDArray[Any]] = {
        "concept": concept,
        "rank": np.tile(np.arange(1, count + 1), k),
        "other": other,
        "cosine": similarity[concept, other],
    }
    if concepts.labels is not None:
        distances = concepts.distances("class")
        hellinger = np.zeros((k, k))
        hellinger[distances["concept"], distances["other"]] = distances["hellinger"]
        columns["hellinger"] = hellinger[concept, other]
    return Table(columns)


def _clusters(sizes: Table) -> Table:
    """Sum up the clusters of every view: the largest, and what is in none."""
    rows = []
    for view in dict.fromkeys(sizes["view"].tolist()):
        of_view = sizes["view"] == view
        concept, size = sizes["concept"][of_view], sizes["size"][of_view]
        best = int(np.where(concept >= 0, size, -1).argmax())
        rows.append(
            (
                view,
                int(size.sum()),
                int(size[concept < 0].sum()),
                int(((size > 0) & (concept >= 0)).sum()),
                int(concept[best]),
                int(size[best]),
                float(sizes["share"][of_view][best]),
            )
        )
    names = ("view", "n_items", "n_unassigned", "n_clusters", "largest", "largest_size",
             "largest_share")  # fmt: skip
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return Table({name: np.array(column) for name, column in columns})


def _closest_pairs(similarity: Table) -> Table:
    """List the pairs of concepts with the largest cosines, by view."""
    picked = []
    for view in dict.fromkeys(similarity["view"].tolist()):
        rows = np.flatnonzero(
            (similarity["view"] == view) & (similarity["concept"] < similarity["other"])
        )
        picked.append(rows[np.argsort(-similarity["cosine"][rows], kind="stable")[:N_PAIRS]])
    rows = np.concatenate(picked)
    ranks = np.concatenate([np.arange(1, len(part) + 1) for part in picked])
    return Table({"rank": ranks, **_where(similarity, rows).columns})


def _matrix(similarity: Table, view: str, k: int) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = similarity["cosine"][similarity["view"] == view]
    return cosines.reshape(k, k)


def _ordered(similarity: Table, order: NDArray[np.intp]) -> Table:
    """Sort the pairs of one view as the concept map has them."""
    place = np.argsort(order)
    rows = np.lexsort((place[similarity["other"]], place[similarity["concept"]]))
    return _where(similarity, rows)


def _where(table: Table, rows: NDArray[Any]) -> Table:
    return Table({name: column[rows] for name, column in table.columns.items()})


def _by_concept(tables: Iterable[Table]) -> Table:
    tables = list(tables)
    numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    names = tables[0].columns
    return Table({"concept": numbers, **{n: np.concatenate([t[n] for t in tables]) for n in names}})
