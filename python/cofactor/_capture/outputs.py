"""What a layer returned, turned into the numbers of a view on the layer's device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from .._errors import StoreError
from .._store.encoding import OVERFLOW, overflow_message
from .options import ViewOptions

__all__ = [
    "Converted",
    "check_overflow",
    "convert",
    "describe_output",
    "first_tensor",
    "select_tensor",
]

_TORCH_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return a tensor, or the first entry of a tuple or list if that is one, else None."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def select_tensor(output: Any, view: str, module: nn.Module, element: int | str | None) -> Any:
    """Return the tensor of real numbers that is kept of an output.

    Raises
    ------
    TypeError, ValueError
        If there is none, or no such element.
    """
    kind = type(module).__name__
    if element is None:
        tensor = first_tensor(output)
    else:
        try:
            tensor = output[element]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"element of {view!r} is {element!r}, but {kind} returns {describe_output(output)}"
            ) from error
    if not isinstance(tensor, torch.Tensor) or tensor.is_complex():
        what = str(tensor.dtype) if isinstance(tensor, torch.Tensor) else describe_output(output)
        raise TypeError(
            f"layer {view!r} ({kind}) returns {what}, expected a tensor of real numbers or a tuple "
            f"that begins with one; say which is wanted with element={{{view!r}: ...}}, or name a "
            "module inside of it"
        )
    return tensor


@dataclass(frozen=True)
class Converted:
    """An output in the stored dtype; the extremes of its values where those may not fit.

    `values` has rows x the shape of one row; `positions` is the shape of the feature map whose
    positions are the rows, and empty where rows are examples.
    """

    values: torch.Tensor
    bounds: torch.Tensor | None
    positions: tuple[int, ...]


def convert(tensor: torch.Tensor, view: str, options: ViewOptions) -> Converted:
    """Pool an output, take it apart by position if asked for, and bring it to its dtype.

    The result is a copy in any case, since what follows in the network may overwrite the output in
    place. Nothing of it is looked at, so that a device is not waited for.

    Raises
    ------
    ValueError
        If the output has not the axes that pooling or positions need.
    """
    tensor = _pooled(tensor, view, options)
    positions: tuple[int, ...] = ()
    if options.positions:
        tensor = _by_position(tensor, view)
        positions = tuple(tensor.shape[1:-1])
    dtype = options.dtype(view)
    bounds = _bounds(tensor, dtype)
    values = tensor.to(_TORCH_DTYPES[dtype], copy=True, memory_format=torch.contiguous_format)
    return Converted(values.flatten(0, -2) if positions else values, bounds, positions)


def _bounds(tensor: torch.Tensor, dtype: str) -> torch.Tensor | None:
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return None
    if torch.finfo(tensor.dtype).max < OVERFLOW[dtype]:
        return None
    finite = torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0)
    return torch.stack(torch.aminmax(finite))


def check_overflow(bounds: npt.NDArray[Any], view: str, dtype: str) -> None:
    """Raise StoreError if the bounds of a conversion show a value that does not fit."""
    largest = float(abs(bounds.astype(np.float64)).max())
    if largest >= OVERFLOW[dtype]:
        raise StoreError(overflow_message(view, dtype, largest))


def _pooled(tensor: torch.Tensor, view: str, options: ViewOptions) -> torch.Tensor:
    how = options.pool(view)
    if how is None:
        return tensor
    if tensor.ndim != 4:
        if not options.must_pool(view):
            return tensor
        raise ValueError(
            f"layer {view!r} returns shape {tuple(tensor.shape)}, which pool={how!r} "
            "cannot pool; expected 4 axes: examples, channels, height, width"
        )
    if how == "avg":
        return tensor.mean((2, 3))
    if how == "max":
        return tensor.amax((2, 3))
    return functional.adaptive_avg_pool2d(tensor, tuple(how))


def _by_position(tensor: torch.Tensor, view: str) -> torch.Tensor:
    if tensor.ndim == 4:
        return tensor.permute(0, 2, 3, 1)
    if tensor.ndim == 3:
        return tensor
    raise ValueError(
        f"layer {view!r} returns shape {tuple(tensor.shape)}, which positions=True cannot take "
        "apart; expected (examples, channels, height, width) or (examples, positions, channels)"
    )


def describe_output(output: Any) -> str:
    """Return of what type an output is, and what is in it."""
    if isinstance(output, Mapping):
        return f"{type(output).__name__} with the keys {', '.join(map(str, output))}"
    if isinstance(output, (tuple, list)):
        kinds = ", ".join(type(entry).__name__ for entry in output)
        return f"{type(output).__name__} of {kinds or 'nothing'}"
    return type(output).__name__
