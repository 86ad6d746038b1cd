"""`cofactor info`."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cofactor._terminal import Terminal
from cofactor.cli._fits import print_fit
from cofactor.cli._help import Verb
from cofactor.cli._options import terminal

if TYPE_CHECKING:
    from cofactor.store import View

EXAMPLES = """\
cofactor info acts/
cofactor info run/
cofactor info
"""


@click.command("info", cls=Verb, examples=EXAMPLES)
@click.argument(
    "path", required=False, metavar="[STORE|FIT]", type=click.Path(exists=True, path_type=Path)
)
@click.pass_context
def command(context: click.Context, path: Path | None) -> None:
    """Say what a store, a fit or this installation is."""
    screen = terminal(context)
    # The answer is all that this verb is for, so -q does not silence it.
    screen.quiet = False
    if path is None:
        _installation(screen)
    elif (path / "metadata.json").is_file():
        _store(screen, path)
    elif (path / "fit.json").is_file():
        _fit(screen, path)
    else:
        raise ValueError(
            f"{path} is neither an activation store (metadata.json) nor a fit (fit.json)"
        )


def _installation(screen: Terminal) -> None:
    from cofactor import _core
    from cofactor._cuda import cuda_info

    facts = {
        "cofactor": metadata.version("cofactor"),
        "instruction set": f"{_core.simd_level()} (of {', '.join(_core.simd_levels())})",
        "threads": str(_core.default_threads()),
        "cuda": str(cuda_info()),
        "python": platform.python_version(),
    }
    for package, extra in [
        ("numpy", None),
        ("scikit-learn", None),
        ("torch", "capture"),
        ("matplotlib", "report"),
    ]:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = f"not installed: pip install 'cofactor[{extra}]'"
    width = max(map(len, facts))
    for name, fact in facts.items():
        screen.say(f"{name:<{width}}  {fact}")


def _store(screen: Terminal, path: Path) -> None:
    from cofactor._store.metadata_reader import read_metadata
    from cofactor.store import ActivationStore

    metadata = read_metadata(path)
    if not metadata.complete:
        screen.say(
            f"{path}: an activation store that is incomplete, with {metadata.n_examples:,} "
            f"examples of {', '.join(metadata.views)}; the capture that began it goes on with it"
        )
        return
    store = ActivationStore(path)
    screen.say(repr(store))
    rows = [
        [
            view.name,
            f"{view.n_columns:,}",
            _number(view.minimum),
            _number(view.maximum),
            _number(None if view.sum_of_squares is None else _root_mean_square(view, len(store))),
            _number(view.n_nonfinite),
        ]
        for view in store.views.values()
    ]
    screen.table(["view", "columns", "minimum", "maximum", "RMS", "NaN, infinite"], rows)
    if store.source:
        screen.say("")
        for name, value in store.source.items():
            screen.say(f"  {name}: {value}")


def _root_mean_square(view: View, n_rows: int) -> float:
    n_values = n_rows * view.n_columns
    return float((view.sum_of_squares or 0.0) / n_values) ** 0.5 if n_values else 0.0


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def _fit(screen: Terminal, path: Path) -> None:
    from cofactor.nmf import load

    print_fit(screen, load(path))
