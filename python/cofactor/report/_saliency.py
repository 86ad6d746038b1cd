"""Where in the image concepts are: the table behind the saliency maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table


def has_positions(shape: tuple[int, ...]) -> bool:
    """Whether a view is a feature map of more than one position."""
    return len(shape) == 3 and shape[1:] != (1, 1)


def saliency_tables(concepts: Concepts) -> dict[str, Table]:
    """Return the table `saliency`, or nothing for a fit without layers that have positions.

    A row per concept and layer where it has any weight: `concept`, `layer`, `n_positions`, and
    `half_area`, the least part of the positions that together hold half of that weight.
    """
    layers = [layer for layer in concepts.layers if has_positions(concepts.shape(layer))]
    rows = []
    for r in range(concepts.n_concepts):
        for layer in layers:
            weights = concepts.position_map(layer, r).ravel()
            if weights.any():
                rows.append((r, layer, len(weights), _half_area(weights)))
    if not rows:
        return {}
    names = ("concept", "layer", "n_positions", "half_area")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {"saliency": Table({name: np.array(column) for name, column in columns})}


def _half_area(weights: NDArray[Any]) -> float:
    held = np.cumsum(np.sort(weights)[::-1])
    return float((np.searchsorted(held, held[-1] / 2) + 1) / len(held))
