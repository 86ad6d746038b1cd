"""Write the page, its images, its tables and its metrics into one folder."""

from __future__ import annotations

import json
from pathlib import Path

from cofactor._errors import require
from cofactor.concepts import Concepts
from cofactor.concepts._checks import check_count
from cofactor.report._folder import staged
from cofactor.report._images import write_images
from cofactor.report._metrics import metrics_of
from cofactor.report._page import render
from cofactor.report._tables import tables_of

__all__ = ["report"]


def report(
    concepts: Concepts,
    out: str | Path,
    *,
    title: str | None = None,
    n_top: int = 24,
    n_neurons: int = 5,
    n_classes: int = 8,
) -> Path:
    """Write a page that shows every concept: examples, pixels, classes and neurons.

    The folder holds all that the page needs and opens without a network:

    - ``index.html``, the page;
    - ``tables/*.csv``, a file per table; every number on the page is in one of them;
    - ``metrics.json``, sizes, losses, scores, parameters and versions; no timestamps, and no
      numbers that are not finite;
    - ``images/``, top examples, concepts as images and maps of layers (PNG), the loss (SVG).

    What is not known is left out: without pixel views there are no images of examples, without
    labels no classes, without a history no curve.

    Parameters
    ----------
    concepts : Concepts
        The concepts of a fit. Images of examples need its store, for its pixel views.
    out : str or Path
        Folder to write; made if absent. An earlier report in it is replaced, other files stay.
    title : str, optional
        Heading of the page.
    n_top : int
        Examples shown per concept.
    n_neurons : int
        Neurons shown per concept and layer.
    n_classes : int
        Classes shown per concept, and half as many superclasses.

    Returns
    -------
    Path
        ``out/index.html``. It is written last, so where it exists the report is complete.

    Raises
    ------
    ValueError
        If `out` is a file, or a folder that holds something other than a report; if a count is
        below 1.
    MissingExtraError
        If Jinja, matplotlib or Pillow are absent; the extra ``report`` brings them.

    Examples
    --------
    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> nmf = SimpleNamespace(
    ...     W_=np.array([[2.0, 0.0], [0.0, 3.0]]),
    ...     components_={"fc": np.array([[1.0, 0.0], [0.5, 2.0]])},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = report(Concepts(nmf), Path(folder) / "out")
    ...     page.name, sorted(path.name for path in page.parent.iterdir())
    ('index.html', ['images', 'index.html', 'metrics.json', 'tables'])
    """
    for count, name in ((n_top, "n_top"), (n_neurons, "n_neurons"), (n_classes, "n_classes")):
        check_count(count, name)
    for module in ("jinja2", "matplotlib", "PIL"):
        require(module, "report", "report()")

    out = Path(out)
    with staged(out) as folder:
        tables = tables_of(concepts, n_top, n_neurons)
        (folder / "tables").mkdir()
        for name, table in tables.items():
            table.to_csv(folder / "tables" / f"{name}.csv")
        images = write_images(concepts, tables, folder)
        metrics = metrics_of(concepts, tables)
        (folder / "metrics.json").write_text(
            json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        page = render(concepts, tables, images, metrics, title=title, n_classes=n_classes)
        (folder / "index.html").write_text(page, encoding="utf-8")
    return out / "index.html"
