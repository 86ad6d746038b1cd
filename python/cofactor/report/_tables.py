"""The tables of a report; the page shows no number that is not in one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table


def tables_of(concepts: Concepts, n_top: int, n_neurons: int) -> dict[str, Table]:
    """Return every table by the name of its CSV file."""
    k = range(concepts.n_concepts)
    tables = {
        "fit": _fit(concepts),
        "views": _views(concepts),
        "concepts": concepts.table(),
        "view_shares": concepts.view_shares(),
        "top_examples": _by_concept(concepts.top_examples(r, n_top) for r in k),
    }
    if concepts.labels is not None:
        tables["scores"] = concepts.scores()
        tables["class_shares"] = concepts.class_table("class")
        if concepts.superclass_of_class is not None:
            tables["superclass_shares"] = concepts.class_table("superclass")
    for layer, slug in file_names(concepts.layers).items():
        tables[f"neurons-{slug}"] = _by_concept(concepts.neurons(layer, r, n_neurons) for r in k)
    history = _history(concepts)
    if len(history):
        tables["loss"] = Table({"pass": np.arange(1, len(history) + 1), "loss": history})
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


def _fit(concepts: Concepts) -> Table:
    nmf = concepts.nmf
    history = _history(concepts)
    row: dict[str, Any] = {
        "n_examples": concepts.n_examples,
        "n_views": len(concepts.views),
        "n_columns": sum(prod(concepts.shape(view)) for view in concepts.views),
        "n_concepts": concepts.n_concepts,
        "n_unclustered": int((concepts.clusters() < 0).sum()),
        "loss": float(history[-1]) if len(history) else None,
        "n_iter": getattr(nmf, "n_iter_", None),
        "n_passes": getattr(nmf, "n_passes_", None),
        "stop_reason": getattr(nmf, "stop_reason_", None),
    }
    return Table({name: np.array([value]) for name, value in row.items() if value is not None})


def _history(concepts: Concepts) -> NDArray[np.float64]:
    history = getattr(concepts.nmf, "loss_history_", None)
    return np.asarray([] if history is None else history, np.float64)


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


def _by_concept(tables: Iterable[Table]) -> Table:
    tables = list(tables)
    numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    names = tables[0].columns
    return Table({"concept": numbers, **{n: np.concatenate([t[n] for t in tables]) for n in names}})
