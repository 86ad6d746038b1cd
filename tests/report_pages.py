"""What the tests of a report ask of its pages and tables."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from cofactor.concepts import Table

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}
HIDDEN = {"style", "script", "title"}


class Page(HTMLParser):
    """A page by its tags, links, numbers with their places in the tables, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict]] = []
        self.links: list[str] = []
        self.numbers: list[tuple[str, str, str]] = []  # text, value, table/row/column
        self.prose: list[str] = []  # what sentences say apart from <data>
        self._open: list[tuple[str, dict]] = []
        self._text: list[str] = []
        self.feed(self.source)
        self.text = " ".join("".join(self._text).split())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag not in VOID:
            self._open.append((tag, found))
        self.links += [found[name] for name in ("href", "src", "srcset") if name in found]
        self.links += re.findall(r"url\(([^)]*)\)", found.get("style", ""))
        if tag == "data":
            self.numbers.append(("", found["value"], found["data-of"]))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag, f"{tag} closes another tag"

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        if not HIDDEN & set(tags):
            self._text.append(data)
        if tags and tags[-1] == "data":
            text, value, of = self.numbers[-1]
            self.numbers[-1] = (text + data, value, of)
        elif any(
            tag == "figcaption" or attributes.get("class") in ("how", "lede")
            for tag, attributes in self._open
        ):
            self.prose.append(data)


def pages_of(folder: Path) -> list[Page]:
    return [Page(path) for path in sorted(folder.rglob("*.html"))]


def read_tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    tables = {}
    for path in (folder / "tables").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            tables[path.stem] = list(csv.DictReader(file))
    return tables


def is_rounded(text: str, value: float) -> bool:
    """Whether a text as a page shows it is the value to as many digits as it has."""
    if text == "<0.1%":
        return 0 < value < 0.0005
    if text == "n/a":
        return not np.isfinite(value)
    plain = text.replace(",", "").removesuffix("%")
    decimals = len(plain.partition(".")[2])
    scale = 100 if text.endswith("%") else 1
    return abs(float(plain) - scale * value) <= 0.5000001 * 10**-decimals


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def sprite_of(path: Path, place: int, height: int, width: int) -> np.ndarray:
    """Cut one picture out of a sheet."""
    sheet = pixels_of(path)
    columns = sheet.shape[1] // width
    y, x = place // columns * height, place % columns * width
    return sheet[y : y + height, x : x + width]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def of_network(concepts) -> dict:
    """Return tables as `cofactor.importance` makes them, by class and by concept, of a draw."""
    random = np.random.default_rng(7)
    by_class, by_concept = [], []
    sizes = np.bincount(concepts.labels)
    for r in range(concepts.n_concepts):
        for c, name in enumerate(concepts.class_names):
            by_class.append(("conv", r, c, name, sizes[c], *random.random(2), *_accuracy(random)))
        by_concept.append(("fc", r, sizes.sum(), *random.random(2), *_accuracy(random)))
    values = ["n_examples", "kl", "changed", "accuracy", "accuracy_drop"]
    replaced = [(layer, 60, *random.random(3), *_accuracy(random)) for layer in ("conv", "fc")]
    return {
        "importance": [
            _table(["layer", "concept", "class", "name", *values], by_class),
            _table(["layer", "concept", *values], by_concept),
        ],
        "reconstruction": _table(["layer", *values[:3], "relative_error", *values[3:]], replaced),
    }


def _accuracy(random) -> tuple[float, float]:
    return random.random(), random.uniform(-0.2, 0.8)


def _table(names, rows) -> Table:
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return Table({name: np.array(column) for name, column in columns})
