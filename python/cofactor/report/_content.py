"""What the pages of a report are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cofactor.concepts import Concepts, Table
from cofactor.report._images import Images
from cofactor.report._plots import Plot
from cofactor.report._tables import EXAMPLES, file_names


@dataclass(frozen=True)
class Content:
    """What the pages show."""

    concepts: Concepts
    tables: Mapping[str, Table]
    images: Images
    plots: Mapping[str, Plot]
    title: str | None
    n_classes: int
    version: str


def view_slugs(concepts: Concepts) -> dict[str, str]:
    """Return how the examples and every view are called in file names and links."""
    return file_names([EXAMPLES, *concepts.views])
