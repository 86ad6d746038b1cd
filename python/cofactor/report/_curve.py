"""The loss over the passes of a fit, drawn with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cofactor.concepts import Table

# Text and line of the style sheet, by colour scheme.
_COLOURS = {"light": ("#5a626d", "#e8590c"), "dark": ("#9ba5b1", "#ff8038")}
# Text stays text, in the fonts of the page. A fixed salt and no date: the same fit, the same file.
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "cofactor",
}


def draw_loss(table: Table, folder: Path) -> dict[str, str]:
    """Write the curve as SVG for a light and for a dark page; return the paths by scheme."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    passes, loss = table["pass"], table["loss"]
    paths = {}
    for scheme, (ink, accent) in _COLOURS.items():
        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=(3.7, 1.75), layout="constrained")
            axes = figure.add_subplot()
            axes.plot(passes, loss, color=accent, linewidth=1.8, solid_capstyle="round")
            axes.plot(passes[-1:], loss[-1:], "o", color=accent, markersize=4.5)
            axes.set_xlabel("pass over the data", color=ink)
            axes.set_ylabel("relative loss", color=ink)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.tick_params(colors=ink, length=0)
            axes.grid(axis="y", color=ink, alpha=0.2, linewidth=0.7)
            axes.spines[:].set_visible(False)
            axes.margins(x=0.03, y=0.12)
            paths[scheme] = f"images/loss-{scheme}.svg"
            figure.savefig(folder / paths[scheme], transparent=True, metadata={"Date": None})
    return paths
