"""What the page of layers shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cofactor.concepts import Concepts, Table
from cofactor.report._content import Content, view_slugs
from cofactor.report._rows import Row, grouped, rows_of
from cofactor.report._tables import EXAMPLES


def layer_page(content: Content) -> dict[str, Any]:
    """Return what the template of the page shows."""
    concepts, tables = content.concepts, content.tables
    coherence = {row["view"]: row for row in rows_of("coherence", tables["coherence"])}
    clusters = {row["view"]: row for row in rows_of("clusters", tables["clusters"])}
    eigenvalues = grouped(rows_of("eigenvalues", tables["eigenvalues"]), "view")
    pairs = grouped(rows_of("closest_pairs", tables["closest_pairs"]), "view")
    worth = _by(tables, "importance", "layer")
    facts = {row["view"]: row for row in rows_of("views", tables["views"])}
    views = [
        {
            "name": view,
            "slug": slug,
            "is_examples": view == EXAMPLES and view not in facts,
            "facts": facts.get(view),
            "called": _called(concepts, view),
            "coherence": coherence[view],
            "clusters": clusters[view],
            "first": eigenvalues[view][0],
            "pairs": pairs.get(view, [])[:3],
            "similarity": content.plots[f"similarity-{slug}"],
            "eigenvalues": content.plots[f"eigenvalues-{slug}"],
            "sizes": content.plots[f"clusters-{slug}"],
            "worth": content.plots.get(f"importance-{slug}"),
            "most_important": max(worth.get(view, []), key=lambda row: row["kl"], default=None),
        }
        for view, slug in view_slugs(concepts).items()
    ]
    of_views = [row for view, row in coherence.items() if view in facts]
    known = [row for row in of_views if np.isfinite(row["mean"])]
    similarities = [name for name in tables if name.startswith("similarity-")]
    return {
        "views": views,
        "most_distinct": min(known, key=lambda row: row["mean"], default=None),
        "cka": _cka(tables),
        "reconstruction": _reconstruction(tables),
        "table_names": [
            *("coherence", "eigenvalues", "clusters", "cluster_sizes", "closest_pairs"),
            *(name for name in ("cka", "importance", "reconstruction") if name in tables),
            *similarities,
        ],
    }


def _cka(tables: Mapping[str, Table]) -> dict[str, Any] | None:
    """Return how each view's reconstruction is like it, and the two views that are most alike."""
    if "cka" not in tables:
        return None
    rows = [row for row in rows_of("cka", tables["cka"]) if np.isfinite(row["cka_debiased"])]
    kept = [
        row for row in rows if row["view"] == row["other"] and row["view_is"] != row["other_is"]
    ]
    pairs = [
        row
        for row in rows
        if row["view"] != row["other"] and row["view_is"] == row["other_is"] == "captured"
    ]
    return {
        "any": next(iter(rows_of("cka", tables["cka"]))),
        "kept": kept,
        "least_kept": min(kept, key=lambda row: row["cka_debiased"], default=None),
        "most_alike": max(pairs, key=lambda row: row["cka_debiased"], default=None),
    }


def _reconstruction(tables: Mapping[str, Table]) -> dict[str, Any] | None:
    if "reconstruction" not in tables:
        return None
    rows = rows_of("reconstruction", tables["reconstruction"])
    return {"rows": rows, "worst": max(rows, key=lambda row: row["kl"])}


def _by(tables: Mapping[str, Table], name: str, column: str) -> dict[Any, list[Row]]:
    return grouped(rows_of(name, tables[name]), column) if name in tables else {}


def _called(concepts: Concepts, view: str) -> str:
    if view not in concepts.views:
        return "examples"
    return "pixels" if view in concepts.pixel_views else "neurons"
