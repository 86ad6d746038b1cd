"""One capture from beginning to end."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from .._errors import StoreError
from .._store.destination import check_destination
from .._store.encoding import DTYPES
from ..store import ActivationStore, format_bytes
from .append_queue import AppendQueue
from .inputs import ImageReader, Normalize, unpack
from .layers import (
    LayerRecorder,
    LayerSpec,
    first_tensor,
    nearest,
    resolve_layers,
    to_numpy,
)
from .network import evaluation, fingerprint, input_placement
from .progress import progress_bar

__all__ = ["run"]

_DEFAULT_DTYPE = "float16"
_LAYER_DTYPES = tuple(name for name in DTYPES if name != "uint8")


def run(
    model: nn.Module,
    loader: Iterable[Any],
    layers: LayerSpec | Iterable[LayerSpec],
    *,
    pixels: bool,
    normalize: Normalize | None,
    dtype: str | Mapping[str, str],
    out: Path,
    device: torch.device | str | None,
    predictions: bool,
    max_examples: int | None,
    attributes: Mapping[str, Any],
    overwrite: bool,
    progress: bool,
    pool: str | Mapping[str, str | None] | None,
) -> ActivationStore:
    """Do what :func:`cofactor.capture` documents."""
    modules = resolve_layers(model, layers)
    if not modules and not pixels:
        raise ValueError("layers is empty and pixels is false, expected at least one layer")
    if max_examples is not None and max_examples < 1:
        raise ValueError(f"max_examples is {max_examples}, expected a positive number or None")
    default_dtype, dtypes = _check_dtype(dtype)
    default_pool, pools = _check_pool(pool)
    check_destination(out, overwrite)
    options = {
        "layers": list(modules),
        "pixels": pixels,
        "normalize": None if normalize is None else repr(normalize),
        "dtype": [default_dtype, dtypes],
        "pool": [default_pool, pools],
        "max_examples": max_examples,
    }
    source = fingerprint(model, options)
    described = {"model": type(model).__name__, "layers": list(modules), **attributes}

    def dtype_of(view: str) -> str:
        return dtypes.get(view, default_dtype)

    def pool_of(view: str) -> tuple[str | None, bool]:
        return pools.get(view, default_pool), view in pools

    image_reader = ImageReader(pixels, normalize, default_dtype, dtypes)
    place, input_dtype = input_placement(model, device)
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar(progress))
        stack.enter_context(evaluation(model, device))
        recorder = stack.enter_context(LayerRecorder(modules, dtype_of, pool_of))
        queue: AppendQueue | None = None
        note, total, n_done = "", None, 0
        for batch in loader:
            images, labels = unpack(batch)
            n_rows = images.shape[0]
            if max_examples is not None and n_rows > max_examples - n_done:
                n_rows = max_examples - n_done
                images = images[:n_rows]
                labels = None if labels is None else labels[:n_rows]
            if n_rows == 0:
                continue
            pixel_blocks = image_reader.pixel_blocks(images)
            # Not around the loader: a data set that keeps its tensors could not train with them.
            with torch.inference_mode():
                model_input = image_reader.model_input(images, place, input_dtype)
                output = first_tensor(recorder.forward(model, model_input))
                layer_blocks = recorder.take()
                columns = {} if labels is None else {"labels": labels}
                if predictions and output is not None and output.ndim == 2:
                    columns["predictions"] = to_numpy(output.argmax(1))
            blocks = _join(pixel_blocks, layer_blocks)
            if queue is None:
                _check_options_used(blocks, {"dtype": dtypes, "pool": pools})
                views = image_reader.views | {
                    name: {"shape": block.shape[1:], "dtype": dtype_of(name)}
                    for name, block in layer_blocks.items()
                }
                total = _count_examples(loader, n_rows, max_examples)
                note = _check_space(out, views, total, overwrite)
                writer = ActivationStore.create(
                    out, views, attributes=described, overwrite=overwrite, fingerprint=source
                )
                queue = stack.enter_context(AppendQueue(stack.enter_context(writer)))
                if not predictions:
                    recorder.stop_early()
            queue.put(blocks, columns)
            n_done += n_rows
            show(note, n_done, total)
            if n_done == max_examples:
                break
        if queue is None:
            raise ValueError("the loader yields no images, expected at least one batch")
    return ActivationStore(out)


def _check_dtype(dtype: str | Mapping[str, str]) -> tuple[str, dict[str, str]]:
    default, named = (dtype, {}) if isinstance(dtype, str) else (_DEFAULT_DTYPE, dict(dtype))
    for view, chosen in (("", default), *named.items()):
        allowed = tuple(DTYPES) if view.startswith("input.") else _LAYER_DTYPES
        if chosen not in allowed:
            of_view = f" of {view!r}" if view else ""
            raise ValueError(f"dtype{of_view} is {chosen!r}, expected one of {', '.join(allowed)}")
    return default, named


def _check_pool(
    pool: str | Mapping[str, str | None] | None,
) -> tuple[str | None, dict[str, str | None]]:
    default, named = (None, dict(pool)) if isinstance(pool, Mapping) else (pool, {})
    for chosen in (default, *named.values()):
        if chosen not in (None, "avg", "max"):
            raise ValueError(f"pool is {chosen!r}, expected 'avg', 'max' or None")
    return default, named


def _join(
    pixel_blocks: Mapping[str, npt.NDArray[Any]], layer_blocks: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    clash = pixel_blocks.keys() & layer_blocks.keys()
    if clash:
        raise ValueError(
            f"the views {', '.join(sorted(clash))} are layers and, by pixels=True, channels of "
            "the input; capture them apart"
        )
    return {**pixel_blocks, **layer_blocks}


def _check_options_used(views: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    for option, named in options.items():
        for name in named:
            if name not in views:
                raise ValueError(
                    f"{option} names the view {name!r}, which is not captured; "
                    f"{nearest(name, views)}"
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


def _check_space(
    out: Path, views: Mapping[str, Mapping[str, Any]], total: int | None, overwrite: bool
) -> str:
    """Compare the estimated size with the free disk space and return what to say of it."""
    if total is None:
        return "capture"
    n_bytes = 0
    for view in views.values():
        size: int = DTYPES[view["dtype"]].itemsize
        for length in view["shape"]:
            size *= length
        n_bytes += total * size
    existing = next(
        folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists()
    )
    free = shutil.disk_usage(existing).free
    if overwrite and out.is_dir():
        free += sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    if n_bytes > free:
        raise StoreError(
            f"{out}: {total} examples of {len(views)} views need {format_bytes(n_bytes)}, but "
            f"{format_bytes(free)} are free; choose another disk, fewer layers, pool=, or "
            "max_examples="
        )
    return f"capture ({format_bytes(n_bytes)})"
