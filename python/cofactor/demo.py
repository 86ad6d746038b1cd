"""The whole way on small data: train, capture, fit, report."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cofactor._errors import require
from cofactor._result_folder import check_destination
from cofactor._terminal import Terminal

if TYPE_CHECKING:
    from torch import nn

    from cofactor._digits import Digits, Recipe
    from cofactor.concepts import Concepts
    from cofactor.nmf import CoupledNMF
    from cofactor.store import ActivationStore

__all__ = ["run_demo"]

_LAYERS = ["layer3", "layer4", "avgpool"]
_CLASS_NAMES = [str(digit) for digit in range(10)]


def run_demo(
    out: str | Path,
    *,
    work: str | Path | None = None,
    n_components: int = 10,
    random_state: int = 0,
    epochs: int = 4,
    quiet: bool = False,
) -> Path:
    """Train a small network on handwritten digits and report the concepts in it.

    A ResNet-18 of the CIFAR form, 16 channels wide, learns 1,000 of the 1,797 digits that
    scikit-learn brings, enlarged to 32x32. The others go through it; their pixels and the
    activations of its last two stages and its pooled layer are factorized together.

    Parameters
    ----------
    out : str or Path
        Folder for the report, as `cofactor.report.report` takes it.
    work : str or Path, optional
        Folder for the network (``model.safetensors``), the store (``activations/``) and the fit
        (``fit/``). A network that was trained with the same options is used again. By default
        ``cofactor/demo`` in ``$XDG_CACHE_HOME``, or else in ``~/.cache``.
    n_components : int
        Number of concepts.
    random_state : int
        Seed of the split, of training and of the fit.
    epochs : int
        Passes over the training images.
    quiet : bool
        Print nothing.

    Returns
    -------
    Path
        The page, ``out/index.html``.

    Raises
    ------
    MissingExtraError
        If torch, or what a report needs, is absent; the extra ``demo`` brings all of it.
    ValueError
        If `out` holds something other than a report, or a number is out of range.

    Examples
    --------
    >>> from cofactor.demo import run_demo
    >>> page = run_demo("demo/")  # doctest: +SKIP
    """
    for module in ("torch", "jinja2", "matplotlib", "PIL"):
        require(module, "demo", "the demo")
    for name, value in [("n_components", n_components), ("epochs", epochs)]:
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    from cofactor._digits import Recipe, read_digits
    from cofactor._images import ArrayBatches
    from cofactor.capture import capture
    from cofactor.concepts import Concepts
    from cofactor.datasets import ImageSource
    from cofactor.report import report
    from cofactor.report._folder import KIND

    check_destination(Path(out), KIND)
    screen = Terminal(quiet)
    folder = _cache() if work is None else Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    digits = read_digits(random_state)
    model = _network(screen, Recipe(random_state, epochs=epochs), digits, folder)
    store = capture(
        model,
        ImageSource(ArrayBatches(digits.test_images, digits.test_labels, 256)),
        _LAYERS,
        pixels=True,
        out=folder / "activations",
        attributes={"class_names": _CLASS_NAMES},
        overwrite=True,
        progress=screen.shows_progress,
    )
    accuracy = (store.columns["labels"] == store.columns["predictions"]).mean()
    screen.say(f"accuracy   {accuracy:.3f} on {store.n_examples} digits it has not seen")
    nmf = _fit(screen, store, n_components, random_state)
    nmf.save(folder / "fit")
    concepts = Concepts(nmf, store)
    with screen.busy("report"):
        page = report(concepts, out, title="Concepts of a network for handwritten digits")
    _print_concepts(screen, concepts)
    screen.say(f"\nkept in    {folder}")
    screen.say(f"report     {page.resolve().as_uri()}")
    return page


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cofactor" / "demo"


def _network(screen: Terminal, recipe: Recipe, digits: Digits, folder: Path) -> nn.Module:
    from cofactor._digits import kept_network, train_network

    file = folder / "model.safetensors"
    model = kept_network(recipe, file)
    if model is not None:
        screen.say("network    ResNet-18, trained by an earlier run")
        return model
    started = time.perf_counter()
    with screen.progress("loss {task.fields[loss]}") as progress:
        task = progress.add_task("train", total=recipe.n_steps, loss="")

        def show(loss: float) -> None:
            progress.update(task, advance=1, loss=f"{loss:.3f}")

        model = train_network(recipe, digits, file, show)
    seconds = time.perf_counter() - started
    screen.say(f"network    ResNet-18, trained on {recipe.n_train:,} digits in {seconds:.0f} s")
    return model


def _fit(
    screen: Terminal, store: ActivationStore, n_components: int, random_state: int
) -> CoupledNMF:
    from cofactor.nmf import CoupledNMF

    started = time.perf_counter()
    with screen.fit_progress() as callback:
        nmf = CoupledNMF(n_components, random_state=random_state, callback=callback).fit(store)
    seconds = time.perf_counter() - started
    screen.say(
        f"fit        {n_components} concepts, {nmf.n_iter_} iterations in {seconds:.1f} s, "
        f"loss {nmf.loss_history_[-1]:.4f}"
    )
    return nmf


def _print_concepts(screen: Terminal, concepts: Concepts) -> None:
    """Print what each concept is, by falling weight, and how the whole fits the classes."""
    rows = sorted(concepts.table().rows(), key=lambda row: -row["weight_share"])
    screen.table(
        ["concept", "classes", "weight", "examples"],
        [
            [
                str(row["concept"]),
                _strongest_classes(row),
                f"{row['weight_share']:.0%}",
                str(row["cluster_size"]),
            ]
            for row in rows
        ],
        text_columns=2,
    )
    row = next(iter(concepts.scores().rows()))
    names = ["nmi", "ari", "purity"]
    screen.table(
        ["concepts against classes", *(name.upper() for name in names)],
        [
            ["found", *(f"{row[name]:.3f}" for name in names)],
            ["labels shuffled", *(f"{row[f'{name}_shuffled']:.3f}" for name in names)],
        ],
    )


def _strongest_classes(row: dict[str, Any]) -> str:
    """Name the three strongest classes of a concept with their shares, as of its weight."""
    return ", ".join(
        f"{row[f'class_{place}']} ({row[f'class_{place}_share']:.0%})" for place in (1, 2, 3)
    )
