"""What a report says of the network: the options for it, and running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from cofactor.cli._options import model_arguments_option, names_option, numbers_option

if TYPE_CHECKING:
    from torch import Tensor

    from cofactor.concepts import Concepts
    from cofactor.datasets import ImageSource
    from cofactor.store import ActivationStore

Function = Callable[..., Any]


def network_options(function: Function) -> Function:
    """Add the options that say which network to run, and on what."""
    decorators: list[Callable[[Function], Function]] = [
        click.option("--model", metavar="SPEC", help="As for `cofactor capture`."),
        model_arguments_option,
        click.option("--weights", metavar="FILE", help="Weights of the model."),
        click.option("--data", metavar="SPEC", help="The images of STORE, in its order."),
        click.option("--image-size", type=int, help="As for `cofactor capture`."),
        click.option("--max-examples", type=int, help="As for `cofactor capture`."),
        numbers_option("--mean", "Mean per channel, in units of [0, 1], as for the capture."),
        numbers_option("--std", "Standard deviation per channel, likewise."),
        names_option(
            "--layers",
            "--layer",
            help_text="Layers to take concepts out of: such as were captured without pooling.  "
            "[default: all of FIT]",
        ),
        click.option(
            "--n-examples",
            type=click.IntRange(1),
            help="Examples that run through the network, evenly spread.  [default: 500]",
        ),
        click.option("--batch-size", type=int, help="Images that run at once.  [default: 256]"),
        click.option("--device", help="Where the model runs, such as cuda.  [default: cpu]"),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def checked_network(context: click.Context, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return what `network_options` gave, or None where no network is named."""
    if (given["model"] is None) != (given["data"] is None):
        raise click.UsageError("--model and --data go together", context)
    if (given["mean"] is None) != (given["std"] is None):
        raise click.UsageError("--mean and --std go together", context)
    if given["model"] is not None:
        return given
    idle = [name for name, value in given.items() if value]
    if idle:
        flag = "--model-arg" if idle[0] == "model_arguments" else f"--{idle[0].replace('_', '-')}"
        raise click.UsageError(f"{flag} needs --model and --data", context)
    return None


def ask_network(
    concepts: Concepts,
    store: ActivationStore,
    network: dict[str, Any],
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Return what `cofactor.report` takes: what the concepts of a store are worth to a network.

    Raises
    ------
    ValueError
        If the images or the network are not those of the store.
    """
    from cofactor._errors import require

    require("torch", "capture", "cofactor report --model")
    from cofactor.concepts import Concepts
    from cofactor.datasets import load_images
    from cofactor.importance import concept_importance, reconstruction_importance
    from cofactor.models import load_model

    layers = network["layers"] or concepts.layers
    for layer in layers:
        concepts.shape(layer)
    images = load_images(
        network["data"],
        batch_size=network["batch_size"] or 256,
        max_examples=network["max_examples"],
        image_size=network["image_size"],
    )
    model = load_model(network["model"], network["weights"], **network["model_arguments"])
    n = concepts.n_examples
    rows = np.linspace(0, n, min(n, network["n_examples"] or 500), endpoint=False).astype(np.intp)
    part = Concepts(concepts.nmf, store.select(rows=rows), W=concepts.W[rows])
    chosen = _Rows(images, rows, n)
    normalize = None if network["mean"] is None else (network["mean"], network["std"])
    options = {"normalize": normalize, "device": network["device"]}
    importance = []
    for layer in layers:
        say(f"concepts out of {layer}")
        importance.append(
            concept_importance(
                model,
                chosen,
                part,
                layer,
                by="concept" if part.labels is None else "class",
                **options,
            )
        )
    say("layers replaced")
    replaced = reconstruction_importance(model, chosen, part, layers, **options)
    return {"importance": importance, "reconstruction": replaced}


class _Rows:
    """Some rows of the images, which are read in order."""

    def __init__(self, images: ImageSource, rows: NDArray[np.intp], n: int) -> None:
        self._images = images
        self._rows = rows
        self._n = n
        if images.n_examples not in (None, n):
            raise self._error(images.n_examples)

    def __iter__(self) -> Iterator[Tensor]:
        from cofactor._capture.inputs import unpack

        done = 0
        for batch in self._images:
            images, _ = unpack(batch)
            inside = (done <= self._rows) & (self._rows < done + len(images))
            kept = self._rows[inside] - done
            done += len(images)
            if len(kept):
                yield images[kept]
        if done != self._n:
            raise self._error(done)

    def _error(self, found: int | None) -> ValueError:
        return ValueError(
            f"--data gives {found} images and the store has {self._n} examples; expected the "
            "images that were captured, in the same order: give --max-examples as there"
        )
