"""Concepts as a notebook shows them."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from cofactor._errors import MissingExtraError, require
from cofactor.concepts._pictures import to_picture

if TYPE_CHECKING:
    from cofactor.concepts._concepts import Concepts

LARGEST_NUMBER = 50
_N_EXAMPLES = 5
_SIDE = 40
_NUMBERS = {"entropy", "weight", "cluster"}


def overview_html(concepts: Concepts) -> str:
    """Return a table of the heaviest concepts as HTML, which holds all that it shows.

    A row per concept, by falling weight: its strongest examples where the store has pixels and
    Pillow is installed, its strongest classes where there are labels, its weight and its cluster.
    """
    table = concepts.table()
    rows = sorted(table.rows(), key=lambda row: -row["weight_share"])[:LARGEST_NUMBER]
    strips = _strips(concepts, [row["concept"] for row in rows])
    has_classes = "entropy" in table.columns
    heads = ["concept", *(["strongest examples"] if strips else [])]
    heads += ["strongest classes", "entropy"] if has_classes else []
    heads += ["weight", "cluster"]
    lines = [
        f"<p>{escape(repr(concepts))}</p>",
        "<table><thead><tr>",
        *(f'<th scope="col" style="{_style(head)}">{head}</th>' for head in heads),
        "</tr></thead><tbody>",
    ]
    for row in rows:
        cells = [strips[row["concept"]]] if strips else []
        if has_classes:
            names = [row.get(f"class_{place}", "") for place in (1, 2, 3)]
            cells += [escape(", ".join(filter(None, names))), f"{row['entropy']:.2f}"]
        cells += [f"{row['weight_share']:.1%}", f"{row['cluster_size']:,}"]
        filled = "".join(
            f'<td style="{_style(head)}">{cell}</td>'
            for head, cell in zip(heads[1:], cells, strict=True)
        )
        lines.append(f'<tr><th scope="row">{row["concept"]}</th>{filled}</tr>')
    lines.append("</tbody></table>")
    told = "Weight: part of all that the fit reconstructs. Cluster: examples strongest in it."
    if has_classes:
        told += " Entropy: of its weight over the classes, in nats; 0 is a single class."
    lines.append(f"<p>{told}</p>")
    if len(rows) < concepts.n_concepts:
        lines.append(f"<p>The {len(rows)} heaviest of {concepts.n_concepts} concepts.</p>")
    return "\n".join(lines)


def _style(head: str) -> str:
    return f"text-align:{'right' if head in _NUMBERS else 'left'};padding:2px 10px"


def _strips(concepts: Concepts, numbers: list[int]) -> dict[int, str]:
    """Return the strongest examples of every concept side by side; nothing without pixels."""
    store = concepts.store
    if store is None or not concepts.pixel_views:
        return {}
    if not all(view in store.views for view in concepts.pixel_views):
        return {}
    try:
        require("PIL", "report", "images of examples")
    except MissingExtraError:
        return {}
    return {r: _strip(concepts, r) for r in numbers}


def _strip(concepts: Concepts, r: int) -> str:
    from PIL import Image

    rows = concepts.top_examples(r, _N_EXAMPLES)["example"]
    if not len(rows):
        return ""
    pictures = [to_picture(image, 2 * _SIDE) for image in concepts.images(rows)]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(pictures, axis=1)).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/png;base64,{data}" height="{_SIDE}" '
        f'alt="The {len(rows)} strongest examples of concept {r}">'
    )
