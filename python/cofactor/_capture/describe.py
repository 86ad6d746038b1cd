"""What every module of a network returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..capture import LayerDescription
from .inputs import ImageReader, unpack
from .layers import ROOT_NAME
from .network import evaluation, input_placement
from .outputs import describe_output, first_tensor
from .recorder import view_name

__all__ = ["describe"]


def describe(model: nn.Module, batch: Any) -> list[LayerDescription]:
    """Do what :func:`cofactor.capture.describe_layers` documents."""
    images, _ = unpack(batch)
    found: dict[str, list[LayerDescription]] = {}
    names = {module: name or ROOT_NAME for name, module in model.named_modules()}

    def make_hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            calls = found.setdefault(name, [])
            calls.append(_description(view_name(name, len(calls)), module, output))

        return look

    handles = [module.register_forward_hook(make_hook(name)) for module, name in names.items()]
    reader = ImageReader(pixels=False, normalize=None, dtype="float16", dtypes={})
    try:
        with evaluation(model, None), torch.inference_mode():
            model(reader.model_input(images, *input_placement(model, None)))
    finally:
        for handle in handles:
            handle.remove()
    silent = "does not run"
    return [
        description
        for module, name in names.items()
        for description in found.get(name)
        or [LayerDescription(name, type(module).__name__, silent, None, None, None)]
    ]


def _description(name: str, module: nn.Module, output: Any) -> LayerDescription:
    kind = type(module).__name__
    tensor = first_tensor(output)
    if tensor is None or tensor.ndim == 0 or tensor.is_complex():
        return LayerDescription(name, kind, describe_output(output), None, None, None)
    shape = tuple(tensor.shape[1:])
    returns = " x ".join(map(str, shape)) or "scalar"
    if tensor is not output:
        returns += f", first of {len(output)}"
    minimum = tensor.min().item() if tensor.numel() else 0.0
    return LayerDescription(name, kind, returns, shape, minimum >= 0, tensor[0].numel())
