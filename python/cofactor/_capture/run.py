"""One capture from beginning to end."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .._errors import StoreError
from .._store.destination import check_destination
from .._store.encoding import DTYPES
from .._store.resume import check_source
from ..store import ActivationStore, format_bytes
from .append_queue import AppendQueue, Batch, RecordedView
from .digests import row_digests
from .inputs import ImageReader, Normalize, unpack
from .layers import LayerSpec, resolve_layers
from .network import evaluation, input_placement, source_of
from .options import ViewOptions
from .outputs import first_tensor
from .progress import progress_bar
from .recorder import LayerRecorder
from .transfer import HostCopies, HostCopy

__all__ = ["run"]


def run(
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
) -> ActivationStore:
    """Do what :func:`cofactor.capture` documents."""
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
    described = {"model": type(model).__name__, "layers": list(modules), **attributes}
    image_reader = ImageReader(pixels, normalize, options.default_dtype, options.named_dtypes)
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar(progress))
        stack.enter_context(evaluation(model, device))
        network = _Network(model, modules, options, image_reader, predictions, device)
        stack.enter_context(network.recorder)
        queue: AppendQueue | None = None
        total, n_done, rows_each = None, 0, 1
        for images, labels in _batches(loader, max_examples):
            n_images = images.shape[0]
            inputs = row_digests(images, labels)
            if queue is not None and (n_done + n_images) * rows_each <= queue.writer.n_to_skip:
                queue.put(Batch(inputs, rows_each))
            else:
                batch = network.run(images, labels, inputs, n_done)
                if queue is None:
                    options.check_used([*batch.blocks, *batch.layers])
                    views = image_reader.views | _layer_views(batch.layers, options)
                    rows_each = batch.rows_each
                    total = _count_examples(loader, n_images, max_examples)
                    show.say(_disk_estimate(out, views, total, rows_each))
                    writer = ActivationStore.create(
                        out,
                        views,
                        attributes={**network.attributes, **described},
                        overwrite=overwrite,
                        resume=resume,
                        source=source,
                    )
                    queue = stack.enter_context(AppendQueue(stack.enter_context(writer)))
                    if writer.n_to_skip:
                        show.say(f"{out}: {writer.n_to_skip // rows_each} examples are there")
                queue.put(batch)
            n_done += n_images
            show(n_done, total)
            needed = queue.writer.n_to_compare
            if needed is not None and n_done * rows_each >= needed:
                break
        if queue is None:
            raise ValueError("the loader yields no images, expected at least one batch")
    return ActivationStore(out)


class _Network:
    """Runs the network on batches and collects what is kept of each."""

    def __init__(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        options: ViewOptions,
        image_reader: ImageReader,
        predictions: bool,
        device: torch.device | str | None,
    ) -> None:
        self._model = model
        self._options = options
        self._image_reader = image_reader
        self._predictions = predictions
        self._place, self._dtype = input_placement(model, device)
        self._copies = HostCopies()
        self._positions: tuple[int, ...] | None = None
        self.recorder = LayerRecorder(modules, options, self._copies)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the store should say of the views, known after the first batch."""
        return {"positions": list(self._positions)} if self._positions else {}

    def run(
        self,
        images: torch.Tensor,
        labels: npt.NDArray[Any] | None,
        inputs: Callable[[], npt.NDArray[np.uint8]],
        first: int,
    ) -> Batch:
        """Run one batch, whose first image is number `first`."""
        blocks = self._image_reader.pixel_blocks(images)
        columns: dict[str, npt.NDArray[Any] | HostCopy] = {}
        if labels is not None:
            columns["labels"] = labels
        # Not around the loader: a data set that keeps its tensors could not train with them.
        with torch.inference_mode():
            model_input = self._image_reader.model_input(images, self._place, self._dtype)
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


def _batches(
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


def _layer_views(
    recorded: Mapping[str, RecordedView], options: ViewOptions
) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "shape": view.values.shape[1:],
            "dtype": view.dtype,
            "negative": options.negative(name),
        }
        for name, view in recorded.items()
    }


def _check_apart(pixel_blocks: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    clash = pixel_blocks.keys() & recorded.keys()
    if clash:
        raise ValueError(
            f"the views {', '.join(sorted(clash))} are layers and, by pixels=True, channels of "
            "the input; capture them apart"
        )


def _count_examples(loader: Any, n_rows: int, max_examples: int | None) -> int | None:
    """Return how many examples will come, at most; None if the loader does not say."""
    counts: list[int] = []
    with suppress(TypeError, AttributeError, NotImplementedError):
        counts.append(len(loader.dataset))
    with suppress(TypeError, NotImplementedError):
        counts.append(len(loader) * n_rows)
    if counts and max_examples is not None:
        counts.append(max_examples)
    return min(counts, default=None)


def _disk_estimate(
    out: Path,
    views: Mapping[str, Mapping[str, Any]],
    total: int | None,
    rows_each: int,
) -> str:
    """Compare the estimated size with the free disk space and return what to say of it."""
    row_bytes = sum(
        math.prod(view["shape"]) * DTYPES[view["dtype"]].itemsize for view in views.values()
    )
    folders = (out.absolute(), *out.absolute().parents)
    free = shutil.disk_usage(next(folder for folder in folders if folder.exists())).free
    if total is None:
        return (
            f"{out}: {format_bytes(row_bytes * rows_each)} for each example of a loader that does "
            f"not say how many there are; {format_bytes(free)} are free"
        )
    n_bytes = total * rows_each * row_bytes
    there = sum(file.stat().st_size for file in out.rglob("*.npy")) if out.is_dir() else 0
    # What is there is replaced, or is part of what is needed.
    if n_bytes > free + there:
        raise StoreError(
            f"{out}: {total} examples of {len(views)} views need {format_bytes(n_bytes)}, but "
            f"{format_bytes(free + there)} are free; choose another disk, fewer layers, pool=, or "
            "max_examples="
        )
    return (
        f"{out}: {total:,} examples of {len(views)} views need about {format_bytes(n_bytes)}; "
        f"{format_bytes(free)} are free"
    )
