"""Capture of a network's activations into a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import require
from .store import ActivationStore

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ._capture.layers import LayerSpec
    from ._capture.options import Pool

__all__ = ["LayerDescription", "capture", "describe_layers"]


@dataclass(frozen=True)
class LayerDescription:
    """What a module returned in one call.

    Attributes
    ----------
    name : str
        Name of the view that :func:`capture` would make of it.
    kind : str
        Class of the module.
    returns : str
        What it returned, in words; the first entry where that is a tuple or list.
    shape : tuple of int or None
        Shape of the output for one example, None if it is no tensor or the module did not run.
    is_nonnegative : bool or None
        Whether no value was below 0.
    n_values : int or None
        Number of values of one example.
    """

    name: str
    kind: str
    returns: str
    shape: tuple[int, ...] | None
    is_nonnegative: bool | None
    n_values: int | None


def describe_layers(model: nn.Module, batch: Any) -> list[LayerDescription]:
    """Run a batch through a network and describe what every module returns.

    Parameters
    ----------
    model : torch.nn.Module
        The network. Its mode and hooks are restored.
    batch : tensor, tuple or mapping
        Images, as a loader for :func:`capture` yields them.

    Returns
    -------
    list of LayerDescription
        In the order of ``model.named_modules()``, the network itself first; several for a module
        that was called several times.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    TypeError, ValueError
        If the batch is not of a form that a loader may yield.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    >>> for layer in describe_layers(model, torch.randn(2, 3, 8, 8)):
    ...     print(layer.name, layer.kind, layer.shape, layer.is_nonnegative)
    output Sequential (4, 6, 6) True
    0 Conv2d (4, 6, 6) False
    1 ReLU (4, 6, 6) True
    """
    require("torch", "capture", "describing layers")
    from ._capture.describe import describe

    return describe(model, batch)


def capture(
    model: nn.Module,
    loader: Iterable[Any],
    layers: LayerSpec | Iterable[LayerSpec],
    *,
    pixels: bool = False,
    normalize: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    dtype: str | Mapping[str, str] = "float16",
    out: str | os.PathLike[str],
    device: torch.device | str | None = None,
    predictions: bool = True,
    max_examples: int | None = None,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    pool: Pool | Mapping[str, Pool] = None,
    negative: str | Mapping[str, str | None] | None = None,
    positions: bool = False,
    element: Mapping[str, int | str] | None = None,
    data_id: str | None = None,
    resume: bool = False,
) -> ActivationStore:
    """Run images through a network once and keep the activations of some layers on disk.

    Activations are stored with their sign, as the layer returned them (a layer's output is
    copied at once, so that an in-place operation behind it does not change it). The model runs
    in evaluation mode under ``torch.inference_mode``; its mode, device and hooks are restored.
    A thread writes, and copies from a GPU are made while the next batch runs. What is on disk
    survives whatever ends the process: see `resume`.

    Inside a process group of several ranks (see :mod:`cofactor.distributed`) all of them capture
    together: each makes this call with the same arguments and the whole loader, runs the batches
    that hold its part of the rows, and writes whole shards of them to `out`, which must be one
    directory for all. The store is the one that a single process would have written, byte for byte
    where the network is deterministic, and so has its fingerprint. Any number of processes may
    resume it. Parts are equal in shards to be written. A rank reads none of the others' examples if
    the loader is a torch ``DataLoader`` without shuffling, or comes from
    :func:`cofactor.datasets.load_images`; from another it passes over them, without running the
    network.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    loader : iterable
        Yields batches: a tensor of images, a tuple (images, labels, ...), or a mapping with the
        images under "images", "image", "pixel_values", "x" or "input" and, optionally, labels
        under "labels", "label", "y" or "target". The first axis of images is the batch. uint8
        images are fed to the model as float: divided by 255, then normalised if `normalize` is
        given. Float images are fed as they are. Both are cast to the dtype of the model's
        parameters.
    layers : str, Module, callable, or iterable of these
        Which layers: a name of ``model.named_modules()``, an fnmatch pattern such as
        "layer?.*.conv2", a module of the model, or a callable of (name, module). The views are
        called by these names (the model itself "output"); a module called several times in one
        forward gives views `name`, `name_1`, and so on. Of an output that is a tuple or list the
        first entry is taken, unless `element` says otherwise.
    pixels : bool, default False
        Keep the input too, as a view `input.c` of shape (height, width) for each channel c. The
        images must be (examples, channels, height, width) and one of these:

        - uint8: stored exactly, as uint8 with scale 1 / 255.
        - floats with `normalize`: taken to be normalised by the loader already; the pixels are
          ``image * std + mean``, which must lie in [0, 1] (up to one step of 1 / 255, then they
          are clipped).
        - floats without `normalize`: must lie in [0, 1].

        Floats that are k / 255 in the first batch (within 1e-3 of a step) are stored as uint8
        with scale 1 / 255, and must then be so in all batches; others are stored in `dtype`.
    normalize : (mean, std), optional
        Numbers, one for all channels or one for each, in units of [0, 1] pixels. Applied to
        uint8 images before the model sees them. Float images are never changed by it: there it
        says what the loader did, for `pixels` to undo.
    dtype : str or mapping of str to str, default "float16"
        Dtype of the views: "float16", "bfloat16", "float32" or "float64"; or by name of view,
        float16 for those not named. A pixel view may be named too, and then "uint8" also.
    out : str or path-like
        Directory of the store.
    device : torch.device or str, optional
        Where to run; by default where the model is.
    predictions : bool, default True
        Keep the arg-max of the model's output as column "predictions", if the output is a matrix
        (examples, classes). If false, the forward ends after the last of the layers, from the
        second batch on.
    max_examples : int, optional
        Stop after so many.
    attributes : mapping, optional
        JSON attributes to keep, such as ``{"class_names": [...]}``. "model" (name of the class)
        and "layers" are added unless given.
    overwrite : bool, default False
        Replace a store that is at `out`.
    progress : bool, default True
        Say on stderr how much disk space is needed and how much is free, and show a progress bar
        if stderr is a terminal.
    pool : {"avg", "max"}, (height, width), or mapping of str to these, optional
        Reduce outputs (examples, channels, height, width): to (examples, channels) by mean or
        maximum over positions, or to feature maps of this size by the mean over areas, as
        ``torch.nn.AdaptiveAvgPool2d`` does. Of all layers with such outputs, or by name of view.
    negative : {"relu", "shift", "split"} or mapping of str to these, optional
        What reading does to negative values of layers, for a factorization, which takes none; see
        :meth:`ActivationStore.create`. They are stored as they are in any case, and
        :meth:`ActivationStore.select` can choose another way later.
    positions : bool, default False
        Make every position of the feature map an example, with the channels as its columns. For
        one layer alone, whose outputs are (examples, channels, height, width) or (examples,
        positions, channels). The store then has the columns "example" and "position" (row-major),
        "labels" and "predictions" repeated, and the attribute "positions", the map's shape.
    element : mapping of str to int or str, optional
        By name of view, the index or key of what to keep of an output that is a tuple, list or
        mapping.
    data_id : str, optional
        A name of the data, kept with the store. One with another name is not resumed.
    resume : bool, default False
        Go on with a capture to `out` that was interrupted, after the last shards that are whole.
        The loader is read from its beginning, without running the network for what is there; of
        the last shards it is run again, and the numbers are compared. With a deterministic network
        and loader, the same batch size and as many threads, the store is that of an uninterrupted
        capture byte for byte. A complete store is returned as it is once the inputs of its first
        shards were compared.

    Returns
    -------
    ActivationStore
        The store, with columns "labels" and "predictions" where there are any.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    ValueError, TypeError
        If a layer is not found or did not run, a layer returns no tensor, the loader yields
        something else, or an option is not as described.
    StoreError
        If `out` is taken, another process is writing there, the disk has not enough space, a value
        overflows its dtype, or the store to resume came from another model, other options or other
        data; the message names what has changed. Also if ranks were given different captures.
    DistributedError
        If another rank has failed or is gone, on all others.

    Examples
    --------
    >>> import tempfile, torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    >>> images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    >>> loader = [(images, torch.arange(5))]
    >>> out = tempfile.mkdtemp()
    >>> store = capture(model, loader, layers=["1"], pixels=True, out=out, progress=False)
    >>> [(view.name, view.shape, view.dtype) for view in store.views.values()][2:]
    [('input.2', (8, 8), 'uint8'), ('1', (4, 6, 6), 'float16')]
    >>> sorted(store.columns)
    ['labels', 'predictions']
    """
    require("torch", "capture", "capture")
    from ._capture.options import make_options
    from ._capture.run import run

    return run(
        model,
        loader,
        layers,
        options=make_options(dtype, pool, negative, element, positions),
        pixels=pixels,
        normalize=normalize,
        out=Path(out),
        device=device,
        predictions=predictions,
        max_examples=max_examples,
        attributes=attributes or {},
        data_id=data_id,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
