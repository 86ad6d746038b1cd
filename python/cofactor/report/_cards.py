"""What the page of every concept shows, taken from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cofactor.concepts import Concepts, Table
from cofactor.report._images import Images
from cofactor.report._rows import Row, grouped, rows_of
from cofactor.report._tables import file_names

# Classes that are named beside the importance of a concept.
N_SUFFERING = 3


def cards_of(
    concepts: Concepts, tables: Mapping[str, Table], images: Images, n_classes: int
) -> list[dict[str, Any]]:
    """Return a dict per concept, by number."""
    top = grouped(rows_of("top_examples", tables["top_examples"]), "concept")
    in_view = grouped(rows_of("view_shares", tables["view_shares"]), "concept")
    nearest = grouped(rows_of("nearest_concepts", tables["nearest_concepts"]), "concept")
    spread = _by_concept(tables, "saliency")
    worth = _by_concept(tables, "importance")
    of_classes = _by_concept(tables, "class_importance")
    groups = [
        _Bars(tables[f"{by}_shares"], by, shown)
        for by, shown in (("class", n_classes), ("superclass", (n_classes + 1) // 2))
        if f"{by}_shares" in tables
    ]
    layers = [
        _Layer(concepts, tables, images, layer, slug)
        for layer, slug in file_names(concepts.layers).items()
    ]
    cards = []
    for row in rows_of("concepts", tables["concepts"]):
        r = row["concept"]
        examples = _pictured(top.get(r, []), images.top.get(r, []))
        names = [name for place in (1, 2, 3) if (name := row.get(f"class_{place}"))]
        cards.append(
            {
                **row,
                "names": names,
                "search": "\n".join([str(r), *names, row.get("superclass_1", "")]),
                "top": examples,
                "masked": _pictured(top.get(r, []), images.masked.get(r, [])),
                "saliency": _salient(examples, images.saliency.get(r, {}), spread.get(r, [])),
                "image": images.concepts[r] if images.concepts else None,
                "pixels": [share for share in in_view[r] if share["view"] in concepts.pixel_views],
                "groups": [group.of(r) for group in groups],
                "layers": [layer.of(r, in_view[r]) for layer in layers],
                "nearest": nearest.get(r, []),
                "worth": _worth(worth.get(r, []), of_classes.get(r, [])),
                "most_worth": max(worth.get(r, []), key=lambda row: row["kl"], default=None),
            }
        )
    return cards


def _pictured(rows: list[Row], pictures: list[Any]) -> list[Row]:
    """Return as many of the rows as there are pictures, with them."""
    return [{**row, "picture": picture} for row, picture in zip(rows, pictures, strict=False)]


def _salient(
    examples: list[Row], pictures: Mapping[str, list[Any]], spread: list[Row]
) -> list[dict[str, Any]]:
    """Return the examples with the maps of every layer that has some of the concept."""
    return [
        {
            "layer": row["layer"],
            "spread": row,
            "examples": _pictured(examples, pictures[row["layer"]]),
        }
        for row in spread
        if pictures.get(row["layer"])
    ]


def _worth(rows: list[Row], of_classes: list[Row]) -> list[Row]:
    """Return the importance of a concept by layer, with the classes that lose most examples."""
    by_layer = grouped(of_classes, "layer")
    found = []
    for row in rows:
        suffer = [of for of in by_layer.get(row["layer"], []) if of.get("accuracy_drop", 0) > 0]
        suffer.sort(key=lambda of: -of["accuracy_drop"] * of["n_examples"])
        found.append({**row, "suffer": suffer[:N_SUFFERING]})
    return found


def _by_concept(tables: Mapping[str, Table], name: str) -> dict[int, list[Row]]:
    return grouped(rows_of(name, tables[name]), "concept") if name in tables else {}


class _Bars:
    """The strongest classes of every concept, on one scale so that concepts can be compared."""

    def __init__(self, table: Table, by: str, shown: int) -> None:
        self._by = by
        self._shown = shown
        self._rows = grouped(rows_of(f"{by}_shares", table), "concept")
        self._largest = max(table["share"].max(initial=0), 1e-9)
        self._n_classes = len(np.unique(table[by]))

    def of(self, r: int) -> dict[str, Any]:
        rows = sorted(self._rows[r], key=lambda row: -row["share"])
        kept = [row for row in rows[: self._shown] if row["share"] > 0]
        is_class = self._by == "class"
        return {
            "by": self._by,
            "n": "n_classes" if is_class else "n_superclasses",
            "n_in": "classes_in" if is_class else "superclasses_in",
            "entropy": "entropy" if is_class else "superclass_entropy",
            "threshold": 1 / self._n_classes / self._largest,
            "rows": [{**row, "bar": row["share"] / self._largest} for row in kept],
        }


class _Layer:
    """Where every concept is in one layer."""

    def __init__(
        self, concepts: Concepts, tables: Mapping[str, Table], images: Images, name: str, slug: str
    ) -> None:
        table = tables[f"neurons-{slug}"]
        self._known = {"name": name, "slug": slug, "shape": concepts.shape(name)}
        self._known["coordinates"] = _coordinates(table, concepts.shape(name))
        neurons = rows_of(f"neurons-{slug}", table)
        for row, picture in zip(neurons, images.neurons.get(name, []), strict=False):
            row["picture"] = picture
        self._neurons = grouped(neurons, "concept")
        self._positions = images.positions.get(name)
        self._channels = images.channels.get(name)

    def of(self, r: int, in_view: list[Row]) -> dict[str, Any]:
        return {
            **self._known,
            "in_view": next(row for row in in_view if row["view"] == self._known["name"]),
            "positions": self._positions[r] if self._positions else None,
            "channels": self._channels[r] if self._channels else None,
            "neurons": self._neurons.get(r, []),
        }


def _coordinates(table: Table, shape: tuple[int, ...]) -> list[str]:
    """Return the columns that say where a neuron is; one where that is all."""
    if shape[1:] == (1, 1):
        return ["channel"]
    known = {"concept", "rank", "neuron", "weight", "share"}
    return [name for name in table.columns if name not in known] or ["neuron"]
