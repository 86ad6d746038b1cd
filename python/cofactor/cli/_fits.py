"""Fits on disk: where one may be written, opening one with a store, and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cofactor._terminal import Terminal
    from cofactor.nmf import CoupledNMF
    from cofactor.store import ActivationStore


def check_destination(out: Path, overwrite: bool, checkpoint: Path | None = None) -> None:
    """Check, before the work is done, that a fit may be written to `out`.

    Raises
    ------
    ValueError
        If something else is there, or a fit and `overwrite` is false.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file, expected a directory or a path that does not exist")
    if not any(out.iterdir()):
        return
    from cofactor._run_files import CHECKPOINT_FILE

    here = checkpoint is not None and checkpoint.resolve() == out.resolve()
    if here and all(CHECKPOINT_FILE in file.name for file in out.iterdir()):
        return
    if not (out / "fit.json").is_file():
        raise ValueError(f"{out} holds something other than a fit; choose another path")
    if not overwrite:
        raise ValueError(f"{out} holds a fit already; give --overwrite or choose another path")


def open_together(
    fit: Path, store: Path, views: list[str] | None = None
) -> tuple[CoupledNMF, ActivationStore]:
    """Open a fit and a store, the store narrowed to `views` or else to what the fit knows.

    Raises
    ------
    ValueError
        If one of them cannot be opened, or they have no view in common.
    """
    from cofactor.nmf import load
    from cofactor.store import ActivationStore

    nmf = load(fit)
    activations = ActivationStore(store)
    # In the order of the fit: the store then is the one that was fitted, if it is that one.
    known = views or [name for name in nmf.components_ if name in activations.views]
    if not known:
        raise ValueError(
            f"{store} has none of the views of {fit}: {', '.join(activations.views)} against "
            f"{', '.join(nmf.components_)}"
        )
    return nmf, activations.select(views=known)


def print_fit(screen: Terminal, nmf: CoupledNMF) -> None:
    """Print how a fit ended, and how well it gives each view."""
    screen.say(
        f"{nmf.n_components} components after {nmf.n_iter_} iterations and {nmf.n_passes_:.4g} "
        f"passes over the data; stopped by {nmf.stop_reason_}"
    )
    rows = [
        [view, f"{nmf.components_[view].shape[1]:,}", f"{loss:.6f}"]
        for view, loss in nmf.view_losses_.items()
    ]
    rows.append(
        [
            "all",
            f"{sum(h.shape[1] for h in nmf.components_.values()):,}",
            f"{nmf.loss_history_[-1]:.6f}",
        ]
    )
    screen.table(["view", "neurons", "relative loss"], rows)
