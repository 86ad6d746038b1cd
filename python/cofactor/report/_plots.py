"""The plots of a report, drawn with matplotlib from its CSV files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Text and lines of a light page and what they are on a dark one. Lines are told apart by people who
# do not see all colours, and by lightness: after Okabe and Ito's set.
_INK = "#5a626d"
_ACCENT = "#e8590c"
_LINES = ("#0072b2", "#009e73", "#cc79a7", "#b07d00", "#3a9bd9", "#8b5cb8")
_ON_DARK = {
    _INK: "#9ba5b1",
    _ACCENT: "#ff8038",
    **dict(
        zip(
            _LINES,
            ("#4aa8e8", "#2cc79a", "#e59ac4", "#e6b02e", "#9bd0f5", "#b99ae0"),
            strict=True,
        )
    ),
}
_DASHES = ("-", "--", ":")
# Text stays text, in the fonts of the page. A fixed salt and no date: the same fit, the same file.
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "cofactor",
}


class Plot(NamedTuple):
    """A drawing for a light page and one for a dark page, of one size in CSS pixels."""

    light: str
    dark: str
    width: int
    height: int


class _Columns(dict[str, list[str]]):
    """A CSV file by column."""

    def numbers(self, name: str) -> NDArray[np.float64]:
        return np.array(self[name], np.float64)

    def where(self, name: str, value: str) -> _Columns:
        kept = [row for row, cell in enumerate(self[name]) if cell == value]
        return _Columns({name: [cells[row] for row in kept] for name, cells in self.items()})


def draw_plots(folder: Path, slugs: dict[str, str]) -> dict[str, Plot]:
    """Draw what the tables in `folder` have, below ``folder/images/plots``, by name.

    `slugs` are the names of the views in file names. The names of plots are `loss`, `view_loss`,
    `accuracy_by_impurity`, `cka-captured` and `cka-reconstructed`, by view `similarity-*`,
    `eigenvalues-*` and `clusters-*`, and by layer of which it is known `importance-*`.
    """
    tables = folder / "tables"
    (folder / "images" / "plots").mkdir()
    plots = {}
    for name, draw in (
        ("loss", _loss),
        ("view_loss", _view_loss),
        ("accuracy_by_impurity", _accuracy),
    ):
        columns = _known(tables / f"{name}.csv")
        if len(next(iter(columns.values()), ())) > 1:
            plots[name] = _save(folder, name, draw(columns))
    eigenvalues, sizes = _read(tables / "eigenvalues.csv"), _read(tables / "cluster_sizes.csv")
    cka, importance = _known(tables / "cka.csv"), _known(tables / "importance.csv")
    for kind in ("captured", "reconstructed") if cka else ():
        plots[f"cka-{kind}"] = _save(folder, f"cka-{kind}", _cka(cka, kind))
    for view, slug in slugs.items():
        of_layer = importance.where("layer", view) if importance else _Columns()
        if of_layer.get("layer"):
            name = f"importance-{slug}"
            plots[name] = _save(folder, name, _importance(of_layer))
        for name, drawing in (
            ("similarity", _similarity(_read(tables / f"similarity-{slug}.csv"))),
            ("eigenvalues", _eigenvalues(eigenvalues, view)),
            ("clusters", _clusters(sizes.where("view", view))),
        ):
            plots[f"{name}-{slug}"] = _save(folder, f"{name}-{slug}", drawing)
    return plots


class _Drawing(NamedTuple):
    """How to fill the axes of a figure of some size, with room below for a legend, in inches."""

    size: tuple[float, float]
    fill: Callable[[Any], None]
    legend: float = 0.0


def _loss(columns: _Columns) -> _Drawing:
    passes, loss = columns.numbers("pass"), columns.numbers("loss")

    def fill(axes: Any) -> None:
        axes.plot(passes, loss, color=_ACCENT, linewidth=1.8, solid_capstyle="round")
        axes.plot(passes[-1:], loss[-1:], "o", color=_ACCENT, markersize=4.5)
        _label(axes, "pass over the data", "relative loss")
        _whole_numbers(axes)
        axes.margins(x=0.03, y=0.12)

    return _Drawing((3.7, 1.75), fill)


def _view_loss(columns: _Columns) -> _Drawing:
    views = list(dict.fromkeys(columns["view"]))

    def fill(axes: Any) -> None:
        for number, view in enumerate(views):
            part = columns.where("view", view)
            axes.plot(
                part.numbers("pass"),
                100 * part.numbers("of_first"),
                color=_LINES[number % len(_LINES)],
                linestyle=_DASHES[number // len(_LINES) % len(_DASHES)],
                linewidth=1.5,
                label=_plain(view),
            )
        _label(axes, "pass over the data", "loss, % of first pass")
        _whole_numbers(axes)
        axes.margins(x=0.03, y=0.12)
        axes.figure.legend(
            loc="lower left", ncols=3, frameon=False, labelcolor=_INK, fontsize=8, borderaxespad=0
        )

    legend = 0.08 + 0.17 * -(-len(views) // 3)
    return _Drawing((3.7, 1.75 + legend), fill, legend)


def _accuracy(columns: _Columns) -> _Drawing:
    share, accuracy = 100 * columns.numbers("share"), 100 * columns.numbers("accuracy")

    def fill(axes: Any) -> None:
        axes.plot(share, accuracy, color=_ACCENT, linewidth=1.8)
        axes.axhline(accuracy[-1], color=_INK, linewidth=1, linestyle=":")
        _label(axes, "% of examples, purest first", "accuracy, %")
        axes.set_xlim(0, 102)
        axes.margins(y=0.12)

    return _Drawing((5.2, 2.3), fill)


def _similarity(columns: _Columns) -> _Drawing:
    order = list(dict.fromkeys(columns["concept"]))
    k = len(order)
    cosines = columns.numbers("cosine").reshape(k, k)

    def fill(axes: Any) -> None:
        _heat_map(axes, cosines)
        step = -(-k // 20)
        axes.set_xticks(range(0, k, step), order[::step], rotation=90 if k > 10 else 0)
        axes.set_yticks(range(0, k, step), order[::step])
        _label(axes, "concept", "concept")

    return _Drawing((4.0, 3.05), fill)


def _cka(columns: _Columns, kind: str) -> _Drawing:
    """Draw one kind of view against itself; the table has each pair once."""
    pairs = columns.where("view_is", kind).where("other_is", kind)
    views = list(dict.fromkeys([*pairs["view"], *pairs["other"]]))
    a, b = ([views.index(view) for view in pairs[name]] for name in ("view", "other"))
    values = np.full((len(views), len(views)), np.nan)
    values[a, b] = values[b, a] = pairs.numbers("cka_debiased")

    def fill(axes: Any) -> None:
        _heat_map(axes, values)
        names = [_plain(_shortened(view)) for view in views]
        axes.set_xticks(range(len(views)), names, rotation=90)
        axes.set_yticks(range(len(views)), names)

    # Room below for names that stand upright.
    return _Drawing((4.0, 3.4), fill, 0.35)


def _heat_map(axes: Any, values: NDArray[np.float64]) -> None:
    """Draw values from 0 to 1 as the depth of one colour, with its scale."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    solid = to_rgba(_ACCENT)
    colours = LinearSegmentedColormap.from_list("heat", [(*solid[:3], 0.0), solid])
    image = axes.imshow(values, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, aspect=14)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK, length=0)
    bar.solids.set_edgecolor("none")


def _importance(columns: _Columns) -> _Drawing:
    def fill(axes: Any) -> None:
        axes.bar(columns.numbers("concept"), columns.numbers("kl"), color=_ACCENT, width=0.8)
        _label(axes, "concept taken out", "mean KL, nats")
        _whole_numbers(axes)
        axes.margins(x=0.01)

    return _Drawing((3.7, 1.9), fill)


def _eigenvalues(columns: _Columns, view: str) -> _Drawing:
    views = list(dict.fromkeys(columns["view"]))

    def fill(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for other in views:
            part = columns.where("view", other)
            style: dict[str, Any] = {"color": _INK, "linewidth": 0.9, "alpha": 0.4}
            if other == view:
                style = {"color": _ACCENT, "linewidth": 1.8, "zorder": 3}
                axes.plot(
                    part.numbers("rank")[:3],
                    part.numbers("eigenvalue")[:3],
                    "o",
                    color=_ACCENT,
                    markersize=4,
                    zorder=3,
                )
            axes.plot(part.numbers("rank"), part.numbers("eigenvalue"), **style)
        axes.axhline(1, color=_INK, linewidth=1, linestyle=":")
        axes.set_yscale("log", nonpositive="mask")
        # What lies lower is rounding of a matrix of lower rank.
        axes.set_ylim(1e-3, 1.3 * len(columns["rank"]) / len(views))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _label(axes, "rank", "eigenvalue")

    return _Drawing((3.7, 1.9), fill)


def _clusters(columns: _Columns) -> _Drawing:
    kept = [row for row, concept in enumerate(columns["concept"]) if int(concept) >= 0]
    numbers = columns.numbers("concept")[kept]
    shares = 100 * columns.numbers("share")[kept]

    def fill(axes: Any) -> None:
        axes.bar(numbers, shares, color=_ACCENT, width=0.8)
        axes.axhline(100 / len(numbers), color=_INK, linewidth=1, linestyle=":")
        _label(axes, "concept", "% of the view")
        _whole_numbers(axes)
        axes.margins(x=0.01)

    return _Drawing((3.7, 1.9), fill)


def _plain(name: str) -> str:
    """Keep matplotlib from reading a name as a formula, or as one that is to be hidden."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _shortened(name: str, length: int = 11) -> str:
    """Leave out the middle of a long name: paths of layers differ at their ends."""
    if len(name) <= length:
        return name
    return f"{name[:3]}…{name[4 - length :]}"


def _label(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _whole_numbers(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _save(folder: Path, name: str, drawing: _Drawing) -> Plot:
    """Write a drawing as SVG for a light page, and recoloured for a dark one."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        width, height = drawing.size
        figure = Figure(figsize=drawing.size)
        axes = figure.add_subplot()
        # Room for numbers of six characters: a layout that looks for less costs as much time
        # again as the drawing.
        left, right, top, bottom = 0.74, 0.14, 0.08, 0.45 + drawing.legend
        figure.subplots_adjust(
            left=left / width,
            right=1 - right / width,
            top=1 - top / height,
            bottom=bottom / height,
        )
        drawing.fill(axes)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        axes.tick_params(colors=_INK, which="both", length=0)
        if not axes.images:
            axes.grid(axis="y", color=_INK, alpha=0.2, linewidth=0.7)
        axes.spines[:].set_visible(False)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    light = drawn.getvalue()
    dark = light
    for colour, on_dark in _ON_DARK.items():
        dark = dark.replace(colour, on_dark)
    paths = (f"images/plots/{name}-light.svg", f"images/plots/{name}-dark.svg")
    for path, text in zip(paths, (light, dark), strict=True):
        (folder / path).write_text(text, encoding="utf-8")
    return Plot(*paths, round(72 * width), round(72 * height))


def _known(path: Path) -> _Columns:
    return _read(path) if path.exists() else _Columns()


def _read(path: Path) -> _Columns:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return _Columns(dict(zip(header, _transposed(rows, len(header)), strict=True)))


def _transposed(rows: Iterable[list[str]], n_columns: int) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(n_columns)]
