"""What the folder of a report consists of."""

from __future__ import annotations

KIND = "cofactor report"
INDEX = "index.html"
PARTS = (
    "metrics.json",
    "tables",
    "images",
    "assets",
    "concepts",
    "layers.html",
    "examples.html",
)
