"""Write the page, its images, its tables and its metrics into one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from cofactor._errors import require
from cofactor._result_folder import staged
from cofactor.concepts import Concepts, Table
from cofactor.concepts._checks import check_count
from cofactor.report._content import Content, view_slugs
from cofactor.report._folder import INDEX, KIND, PARTS
from cofactor.report._images import write_images
from cofactor.report._importance import importance_tables
from cofactor.report._metrics import metrics_of
from cofactor.report._pages import write_pages
from cofactor.report._plots import draw_plots
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
    n_examples: int = 10_000,
    importance: Table | Sequence[Table] = (),
    reconstruction: Table | None = None,
) -> Path:
    """Write pages that show every concept: examples, pixels, classes and neurons.

    The folder holds all that the pages need and opens from disk, without server or network:

    - ``index.html``, the overview: loss, scores beside their baselines, a map of the concepts;
    - ``concepts/*.html``, a page per concept; ``layers.html``, how distinct the concepts are in
      every view, and what views have in common; ``examples.html``, every example with its
      concepts and its neighbours;
    - ``tables/*.csv``, a file per table; every number on a page is in one of them, and the plots
      are drawn from them;
    - ``metrics.json``, sizes, losses, scores, parameters and versions; no timestamps, and no
      numbers that are not finite;
    - ``images/``, sheets of examples, plain, masked and lit by the maps of a concept, of concepts
      and of maps of layers (PNG, WebP), plots (SVG);
    - ``assets/``, the style and the scripts that sort, filter and search.

    What is not known is left out: without pixel views there are no images of examples, without
    labels no classes, without a history no curve. What the concepts are worth to the network takes
    the network itself: it is shown where `importance` and `reconstruction` are given.

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
    n_examples : int
        Examples that can be looked up, at most; of more, as many are taken, evenly spread.
    importance : Table or sequence of Table, optional
        Results of `cofactor.importance.concept_importance` for some layers. With ``by="class"``
        the pages name the classes that lose most, too.
    reconstruction : Table, optional
        Result of `cofactor.importance.reconstruction_importance`.

    Returns
    -------
    Path
        ``out/index.html``. It is written last, so where it exists the report is complete.

    Raises
    ------
    ValueError
        If `out` is a file, or a folder that holds something other than a report; if a count is
        below 1; if `importance` or `reconstruction` is not of these concepts.
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
    ...     page.name, sorted(path.name for path in page.parent.glob("*.html"))
    ('index.html', ['examples.html', 'index.html', 'layers.html'])
    """
    for count, name in (
        (n_top, "n_top"),
        (n_neurons, "n_neurons"),
        (n_classes, "n_classes"),
        (n_examples, "n_examples"),
    ):
        check_count(count, name)
    given = [importance] if isinstance(importance, Table) else list(importance)
    of_network = importance_tables(concepts, given, reconstruction)
    for module in ("jinja2", "matplotlib", "PIL"):
        require(module, "report", "report()")

    out = Path(out)
    with staged(out, KIND, PARTS, index=INDEX) as folder:
        tables = tables_of(concepts, n_top, n_neurons, n_examples, of_network)
        (folder / "tables").mkdir()
        for name, table in tables.items():
            table.to_csv(folder / "tables" / f"{name}.csv")
        images = write_images(concepts, tables, folder)
        plots = draw_plots(folder, view_slugs(concepts))
        metrics = metrics_of(concepts, tables)
        (folder / "metrics.json").write_text(
            json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        shutil.copytree(Path(__file__).parent / "assets", folder / "assets")
        content = Content(
            concepts, tables, images, plots, title, n_classes, metrics["versions"]["cofactor"]
        )
        write_pages(content, folder)
    return out / INDEX
