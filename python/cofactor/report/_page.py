"""What the page shows, taken from the tables, and the page made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cofactor.concepts import Concepts, Table
from cofactor.report._images import Images
from cofactor.report._tables import file_names


def render(
    concepts: Concepts,
    tables: Mapping[str, Table],
    images: Images,
    metrics: Mapping[str, Any],
    *,
    title: str | None,
    n_classes: int,
) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "decimal": _decimal, "percent": _percent}
    fit = next(tables["fit"].rows())
    return environment.get_template("index.html").render(
        title=title or f"{fit['n_concepts']:,} concepts of {fit['n_examples']:,} examples",
        fit=fit,
        views=list(tables["views"].rows()),
        scores=list(tables["scores"].rows()) if "scores" in tables else [],
        class_counts={
            "class": len(concepts.class_names),
            "superclass": len(concepts.superclass_names),
        },
        cards=_cards(concepts, tables, images, n_classes),
        images=images,
        table_names=list(tables),
        metrics=metrics,
    )


def _cards(
    concepts: Concepts, tables: Mapping[str, Table], images: Images, n_classes: int
) -> list[dict[str, Any]]:
    """Return what the card of each concept shows, by falling weight."""
    overview = tables["concepts"]
    order = np.argsort(-overview["weight_share"], kind="stable").tolist()
    rows = list(overview.rows())
    examples = _grouped(tables["top_examples"])
    in_view = _grouped(tables["view_shares"])
    heaviest = max(overview["weight_share"].max(initial=0), 1e-9)
    groups = [
        _Bars(tables[f"{by}_shares"], by, shown)
        for by, shown in (("class", n_classes), ("superclass", (n_classes + 1) // 2))
        if f"{by}_shares" in tables
    ]
    layers = {
        layer: (_coordinates(table, concepts.shape(layer)), _grouped(table))
        for layer, slug in file_names(concepts.layers).items()
        for table in [tables[f"neurons-{slug}"]]
    }
    return [
        {
            **rows[r],
            "bar": rows[r]["weight_share"] / heaviest,
            "names": [name for place in (1, 2, 3) if (name := rows[r].get(f"class_{place}"))],
            "examples": [
                {**row, "image": images.examples.get(row["example"])} for row in examples.get(r, [])
            ],
            "image": images.concepts.get(r),
            "pixels": [row for row in in_view[r] if row["view"] in concepts.pixel_views],
            "groups": [group.of(r) for group in groups],
            "layers": [
                {
                    "name": layer,
                    "shape": concepts.shape(layer),
                    "share": next(row["share"] for row in in_view[r] if row["view"] == layer),
                    "positions": images.positions.get((r, layer)),
                    "channels": images.channels.get((r, layer)),
                    "coordinates": coordinates,
                    "neurons": of.get(r, []),
                }
                for layer, (coordinates, of) in layers.items()
            ],
        }
        for r in order
    ]


class _Bars:
    """The strongest classes of every concept, on one scale so that cards can be compared."""

    def __init__(self, table: Table, by: str, shown: int) -> None:
        self._by = by
        self._shown = shown
        self._rows = _grouped(table)
        self._largest = max(table["share"].max(initial=0), 1e-9)
        self._n_classes = len(np.unique(table[by]))

    def of(self, r: int) -> dict[str, Any]:
        rows = sorted(self._rows[r], key=lambda row: -row["share"])
        kept = [row for row in rows[: self._shown] if row["share"] > 0]
        return {
            "by": self._by,
            "threshold": 1 / self._n_classes / self._largest,
            "rows": [{**row, "bar": row["share"] / self._largest} for row in kept],
        }


def _grouped(table: Table) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in table.rows():
        groups.setdefault(row["concept"], []).append(row)
    return groups


def _coordinates(table: Table, shape: tuple[int, ...]) -> list[str]:
    """Return the columns that say where a neuron is; one where that is all."""
    if shape[1:] == (1, 1):
        return ["channel"]
    known = {"concept", "rank", "neuron", "weight", "share"}
    return [name for name in table.columns if name not in known] or ["neuron"]


def _count(value: float) -> str:
    """Write a number of things; passes over a sample count as fractions."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _decimal(value: float | None, digits: int = 3) -> str:
    return "n/a" if value is None or not np.isfinite(value) else f"{value:z.{digits}f}"


def _percent(value: float) -> str:
    return "<0.1%" if 0 < value < 0.0005 else f"{100 * value:.1f}%"
