"""The tables of the examples as columns, for the script of their page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Table
from cofactor.report._images import Images


def example_data(
    tables: Mapping[str, Table], images: Images, class_names: Sequence[str]
) -> dict[str, Any]:
    """Return what the page of examples embeds: JSON values only.

    ``examples`` holds the columns of the table, classes as places in ``classes`` and None for what
    is not known. The tables with several rows per example become columns too: those of example i
    are from ``start[i]`` to ``start[i + 1]``.
    """
    examples = tables["examples"]
    classes = {name: place for place, name in enumerate(class_names)}
    columns: dict[str, list[Any]] = {}
    for name, column in examples.columns.items():
        values = column.tolist()
        if name in ("class", "predicted_class"):
            values = [classes[value] for value in values]
        elif column.dtype.kind == "f":
            values = [value if np.isfinite(value) else None for value in values]
        columns[name] = values
    numbers = examples["example"]
    strongest, neighbors = tables["example_concepts"], tables["neighbors"]
    return {
        "examples": columns,
        "concepts": {
            "start": _starts(numbers, strongest["example"]),
            "concept": strongest["concept"].tolist(),
            "membership": strongest["membership"].tolist(),
        },
        "neighbors": {
            "start": _starts(numbers, neighbors["example"]),
            "place": np.searchsorted(numbers, neighbors["neighbor"]).tolist(),
            "distance": neighbors["distance"].tolist(),
        },
        "classes": list(class_names),
        "sheets": _sheets(images),
    }


def _starts(numbers: NDArray[np.intp], owners: NDArray[np.intp]) -> list[int]:
    """Return where the rows of every example begin, and last where they end."""
    starts: list[int] = np.searchsorted(owners, numbers).tolist()
    return [*starts, len(owners)]


def _sheets(images: Images) -> dict[str, Any]:
    sheets = images.thumbnails
    files = [
        {"path": s.path, "columns": s.columns, "rows": s.rows, "width": s.width, "height": s.height}
        for s in sheets
    ]
    return {"files": files, "size": sheets[0].columns * sheets[0].rows if sheets else 1}
