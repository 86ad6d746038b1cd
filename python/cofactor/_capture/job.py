"""What a capture is: the network, its options and where it goes, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .._store.destination import check_destination
from .._store.resume import check_source
from .append_queue import Batch, RecordedView
from .inputs import ImageReader, Normalize, unpack
from .layers import LayerSpec, resolve_layers
from .network import evaluation, input_placement, source_of
from .options import ViewOptions
from .outputs import first_tensor
from .recorder import LayerRecorder
from .transfer import HostCopies, HostCopy

__all__ = ["Job", "Network", "batches", "count_examples", "make_job"]


@dataclass(frozen=True)
class Job:
    """The arguments of a capture; :func:`make_job` checks them."""

    model: nn.Module
    loader: Iterable[Any]
    modules: Mapping[str, nn.Module]
    options: ViewOptions
    pixels: bool
    normalize: Normalize | None
    out: Path
    device: torch.device | str | None
    predictions: bool
    max_examples: int | None
    attributes: Mapping[str, Any]
    source: Mapping[str, str]
    resume: bool
    overwrite: bool
    progress: bool

    @contextmanager
    def network(self) -> Iterator[Network]:
        """Give the network, ready to run; put everything back at the end."""
        reader = ImageReader(
            self.pixels, self.normalize, self.options.default_dtype, self.options.named_dtypes
        )
        with evaluation(self.model, self.device):
            network = Network(
                self.model, self.modules, self.options, reader, self.predictions, self.device
            )
            with network.recorder:
                yield network


def make_job(
    model: nn.Module,
    loader: Iterable[Any],
    layers: LayerSpec | Iterable[LayerSpec],
    *,
    options: ViewOptions,
    pixels: bool,
    normalize: Normalize | None,
    out: Path,
    device: torch.device | str | None,
    predictions: bool,
    max_examples: int | None,
    attributes: Mapping[str, Any],
    data_id: str | None,
    resume: bool,
    overwrite: bool,
    progress: bool,
) -> Job:
    """Check the arguments of :func:`cofactor.capture`, and that the store may be written."""
    modules = resolve_layers(model, layers)
    if not modules and not pixels:
        raise ValueError("layers is empty and pixels is false, expected at least one layer")
    if max_examples is not None and max_examples < 1:
        raise ValueError(f"max_examples is {max_examples}, expected a positive number or None")
    if options.positions and (pixels or len(modules) != 1):
        raise ValueError(
            f"positions=True with {len(modules)} layers{' and pixels=True' if pixels else ''}, "
            "expected one layer alone: its positions become the examples"
        )
    check_destination(out, overwrite, resume)
    source = source_of(
        model,
        {
            "layers": json.dumps(list(modules)),
            **options.described(),
            "pixels": json.dumps(pixels),
            "normalize": "none" if normalize is None else repr(normalize),
            "predictions": json.dumps(predictions),
            "max_examples": json.dumps(max_examples),
            "data_id": json.dumps(data_id),
        },
    )
    if resume:
        check_source(out, source)
    return Job(
        model,
        loader,
        modules,
        options,
        pixels,
        normalize,
        out,
        device,
        predictions,
        max_examples,
        {"model": type(model).__name__, "layers": list(modules), **attributes},
        source,
        resume,
        overwrite,
        progress,
    )


class Network:
    """Runs the network on batches and collects what is kept of each."""

    def __init__(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        options: ViewOptions,
        reader: ImageReader,
        predictions: bool,
        device: torch.device | str | None,
    ) -> None:
        self._model = model
        self._options = options
        self._reader = reader
        self._predictions = predictions
        self._place, self._dtype = input_placement(model, device)
        self._copies = HostCopies()
        self._positions: tuple[int, ...] | None = None
        self.recorder = LayerRecorder(modules, options, self._copies)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store should say of the views, known after the first batch."""
        return {"positions": list(self._positions)} if self._positions else {}

    def views(self, batch: Batch) -> dict[str, dict[str, Any]]:
        """Describe the views of a store, known after the first batch, which is given."""
        self._options.check_used([*batch.blocks, *batch.layers])
        return self._reader.views | {
            name: {
                "shape": view.values.shape[1:],
                "dtype": view.dtype,
                "negative": self._options.negative(name),
            }
            for name, view in batch.layers.items()
        }

    def run(
        self,
        images: torch.Tensor,
        labels: npt.NDArray[Any] | None,
        inputs: Callable[[], npt.NDArray[np.uint8]],
        first: int,
    ) -> Batch:
        """Run one batch, whose first image is number `first`."""
        blocks = self._reader.pixel_blocks(images)
        columns: dict[str, npt.NDArray[Any] | HostCopy] = {}
        if labels is not None:
            columns["labels"] = labels
        # Not around the loader: a data set that keeps its tensors could not train with them.
        with torch.inference_mode():
            model_input = self._reader.model_input(images, self._place, self._dtype)
            output = first_tensor(self.recorder.forward(self._model, model_input))
            recorded = self.recorder.take()
            if self._predictions and output is not None and output.ndim == 2:
                columns["predictions"] = self._copies.start(output.argmax(1))
        if not self._predictions:
            self.recorder.stop_early()
        _check_apart(blocks, recorded)
        rows_each = 1
        if self._options.positions:
            rows_each = self._check_positions(recorded)
            numbers = np.arange(first, first + images.shape[0])
            columns["example"] = numbers
            columns["position"] = np.tile(np.arange(rows_each), len(numbers))
        return Batch(inputs, rows_each, blocks, recorded, columns)

    def _check_positions(self, recorded: Mapping[str, RecordedView]) -> int:
        if len(recorded) != 1:
            raise ValueError(
                f"positions=True with the views {', '.join(recorded)}, all calls of one module; "
                "expected a module that is called once"
            )
        (view,) = recorded.values()
        if self._positions not in (None, view.positions):
            raise ValueError(
                f"the layer returns feature maps of {view.positions} positions after such of "
                f"{self._positions}; positions=True expects images of one size"
            )
        self._positions = view.positions
        return math.prod(view.positions)


def batches(
    loader: Iterable[Any], max_examples: int | None
) -> Iterator[tuple[torch.Tensor, npt.NDArray[Any] | None]]:
    """Yield images and labels, none of them empty, up to a number of examples."""
    left = max_examples
    for batch in loader:
        images, labels = unpack(batch)
        if left is not None and images.shape[0] >= left:
            yield images[:left], None if labels is None else labels[:left]
            return
        if left is not None:
            left -= images.shape[0]
        if images.shape[0]:
            yield images, labels


def _check_apart(pixel_blocks: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    clash = pixel_blocks.keys() & recorded.keys()
    if clash:
        raise ValueError(
            f"the views {', '.join(sorted(clash))} are layers and, by pixels=True, channels of "
            "the input; capture them apart"
        )


def count_examples(loader: Any, n_rows: int, max_examples: int | None) -> int | None:
    """Return how many examples will come, at most; None if the loader does not say."""
    counts: list[int] = []
    with suppress(TypeError, AttributeError, NotImplementedError):
        counts.append(len(loader.dataset))
    with suppress(TypeError, NotImplementedError):
        counts.append(len(loader) * n_rows)
    if counts and max_examples is not None:
        counts.append(max_examples)
    return min(counts, default=None)
