"""What a loader yields: images and labels, the model's input, and pixels as views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["ImageReader", "Normalize", "unpack"]

Normalize = tuple[float | Sequence[float], float | Sequence[float]]

_IMAGE_KEYS = ("images", "image", "pixel_values", "x", "input")
_LABEL_KEYS = ("labels", "label", "y", "target")
_PIXEL_SCALE = 1.0 / 255.0
_STEP_TOLERANCE = 1e-3
# A pixel step: undoing the normalisation of half precision images is that inexact.
_RANGE_TOLERANCE = 4e-3


def unpack(batch: Any) -> tuple[torch.Tensor, npt.NDArray[Any] | None]:
    """Return the images of a batch and its labels, None if it has none.

    Raises
    ------
    TypeError
        If the batch has no form that is understood.
    ValueError
        If there is not one label for each image.
    """
    labels: Any = None
    if isinstance(batch, Mapping):
        image_key = next((key for key in _IMAGE_KEYS if key in batch), None)
        if image_key is None:
            raise TypeError(
                f"the loader yields a mapping with the keys {sorted(map(str, batch))}, expected "
                f"one of {', '.join(_IMAGE_KEYS)} for the images"
            )
        images = batch[image_key]
        labels = next((batch[key] for key in _LABEL_KEYS if key in batch), None)
    elif isinstance(batch, (tuple, list)) and batch:
        images = batch[0]
        labels = batch[1] if len(batch) > 1 else None
    else:
        images = batch
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, torch.Tensor) or images.ndim == 0:
        raise TypeError(
            f"the loader yields images of type {type(images).__name__}, expected a tensor (or "
            "array) whose first axis is the batch, a tuple (images, labels), or a mapping"
        )
    if labels is None:
        return images, None
    values = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else labels
    try:
        column = np.array(values)
    except ValueError:
        column = np.empty(0, dtype=object)
    if column.dtype.kind not in "biufU" or column.ndim == 0:
        raise TypeError(
            f"the loader yields labels of type {type(labels).__name__}, expected an array of "
            "numbers or strings with one entry for each image"
        )
    if column.shape[0] != images.shape[0]:
        raise ValueError(
            f"the loader yields {images.shape[0]} images with {column.shape[0]} labels; expected "
            "one label for each image"
        )
    return images, column


class ImageReader:
    """Turns a loader's images into the model's input and into pixel views.

    Parameters
    ----------
    pixels : bool
        Whether pixel views are wanted.
    normalize : (mean, std) or None
        By channel; applied to uint8 images, and to be undone in the pixels of others.
    dtype : str
        Dtype of pixel views that are not of the form k / 255.
    dtypes : mapping of str to str
        Dtypes by name of view, which take precedence.
    """

    def __init__(
        self,
        pixels: bool,
        normalize: Normalize | None,
        dtype: str,
        dtypes: Mapping[str, str],
    ) -> None:
        self._pixels = pixels
        self._moments = None if normalize is None else _check_normalize(normalize)
        self._dtype = dtype
        self._dtypes = dtypes
        self._raw: bool | None = None
        self._views: dict[str, dict[str, Any]] = {}

    @property
    def views(self) -> dict[str, dict[str, Any]]:
        """Shape, dtype and scale of the pixel views, known after the first batch."""
        return self._views

    def model_input(
        self, images: torch.Tensor, device: torch.device, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return images as the model takes them: on its device, uint8 scaled and normalised."""
        images = images.to(device, non_blocking=True)
        if images.dtype == torch.uint8:
            values = images.to(torch.float32).div_(255.0)
            if self._moments is not None:
                mean, std = self._by_channel(values)
                values = values.sub_(mean).div_(std)
            return values.to(dtype)
        return images.to(dtype) if images.is_floating_point() else images

    def pixel_blocks(self, images: torch.Tensor) -> dict[str, npt.NDArray[Any]]:
        """Return the channels of a batch by name of view, none if they are not wanted.

        Raises
        ------
        ValueError
            If the images are not what `capture` documents for ``pixels=True``.
        """
        if not self._pixels:
            return {}
        images = images.detach().cpu()
        raw = images.dtype == torch.uint8
        if images.ndim != 4 or not (raw or images.is_floating_point()):
            raise ValueError(
                f"pixels=True with images of shape {tuple(images.shape)} and dtype "
                f"{images.dtype}; expected (examples, channels, height, width), uint8 or float"
            )
        if self._raw not in (None, raw):
            raise ValueError("the loader yields uint8 images and float images; expected one kind")
        self._raw = raw
        values = images if raw else self._undo(images)
        if not self._views:
            self._declare(values)
        blocks: dict[str, npt.NDArray[Any]] = {}
        for channel, (name, view) in enumerate(self._views.items()):
            # A copy, since a loader may fill the same memory with its next batch.
            copied = values[:, channel].clone(memory_format=torch.contiguous_format)
            block: npt.NDArray[Any] = copied.numpy()
            if raw and view["dtype"] != "uint8":
                block = block * np.float32(_PIXEL_SCALE)
            blocks[name] = block
        return blocks

    def _undo(self, images: torch.Tensor) -> torch.Tensor:
        values = images.to(torch.float32)
        tolerance = 0.0
        if self._moments is not None:
            mean, std = self._by_channel(values)
            undone = values * std + mean
            if not self._views and _is_steps(values) and not _is_steps(undone):
                raise ValueError(
                    "normalize is given, which pixels=True undoes for float images, but the "
                    "loader's images are k / 255 as if nothing was normalized; leave normalize "
                    "out and normalize inside the model, or let the loader yield uint8"
                )
            values, tolerance = undone, _RANGE_TOLERANCE
        low, high = (float(bound) for bound in torch.aminmax(values))
        # Written so that NaN counts as wrong.
        if not (low >= -tolerance and high <= 1.0 + tolerance):
            state = "are" if self._moments is None else "are, with normalize undone,"
            raise ValueError(
                f"pixels=True needs uint8 images, or floats in [0, 1], or floats with the "
                f"normalize=(mean, std) that made them; the images {state} floats from "
                f"{low:.4g} to {high:.4g}"
            )
        return values.clamp(0.0, 1.0)

    def _declare(self, values: torch.Tensor) -> None:
        for channel in range(values.shape[1]):
            name = f"input.{channel}"
            exact = values.dtype == torch.uint8 or _is_steps(values[:, channel])
            dtype = self._dtypes.get(name, "uint8" if exact else self._dtype)
            view: dict[str, Any] = {"shape": tuple(values.shape[2:]), "dtype": dtype}
            if dtype == "uint8":
                view["scale"] = _PIXEL_SCALE
            self._views[name] = view

    def _by_channel(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert self._moments is not None
        mean, std = self._moments
        n_channels = images.shape[1] if images.ndim == 4 else 0
        for moment in (mean, std):
            if images.ndim != 4 or moment.numel() not in (1, n_channels):
                raise ValueError(
                    f"normalize has {moment.numel()} numbers for images of shape "
                    f"{tuple(images.shape)}; expected images (examples, channels, height, width) "
                    "and one number, or one for each channel"
                )
        shape = (1, -1, 1, 1)
        return mean.to(images.device).view(shape), std.to(images.device).view(shape)


def _is_steps(values: torch.Tensor) -> bool:
    steps = values * 255.0
    return bool(((steps - steps.round()).abs() <= _STEP_TOLERANCE).all())


def _check_normalize(normalize: Normalize) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        mean, std = normalize
        moments = [
            torch.as_tensor(moment, dtype=torch.float32).detach().cpu().reshape(-1)
            for moment in (mean, std)
        ]
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"normalize is {normalize!r}, expected (mean, std), each a number or one for each "
            "channel"
        ) from error
    if not all(bool(torch.isfinite(moment).all()) for moment in moments) or bool(
        (moments[1] <= 0).any()
    ):
        raise ValueError(f"normalize is {normalize!r}, expected finite means and positive std")
    return moments[0], moments[1]
