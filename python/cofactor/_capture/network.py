"""The network: its mode and device during a capture, and hashes of what it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["evaluation", "input_placement", "source_of"]

# Of an object without a repr of its own; another in every process.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@contextmanager
def evaluation(model: nn.Module, device: torch.device | str | None) -> Iterator[None]:
    """Put the model in evaluation mode and on a device, and put everything back at the end."""
    training = [(module, module.training) for module in model.modules()]
    home = _device(model)
    try:
        model.eval()
        if device is not None:
            model.to(device)
        yield
    finally:
        for module, flag in training:
            module.training = flag
        if device is not None and home is not None:
            model.to(home)


def input_placement(
    model: nn.Module, device: torch.device | str | None
) -> tuple[torch.device, torch.dtype]:
    """Return the device and the dtype in which the model takes its input."""
    place = torch.device(device) if device is not None else _device(model) or torch.device("cpu")
    dtypes = (value.dtype for value in model.parameters() if value.is_floating_point())
    return place, next(dtypes, torch.float32)


def source_of(model: nn.Module, options: Mapping[str, str]) -> dict[str, str]:
    """Return what a capture depends on: hashes of the network, and its options as they are."""
    structure = _ADDRESS.sub("", f"{type(model).__qualname__} {model!r}")
    weights = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            weights.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            content = value.detach().cpu().contiguous().reshape(-1)
            weights.update(content.view(torch.uint8).numpy().data)
        else:
            # Extra state can be any object; its type is all that is the same in every process.
            weights.update(f"{name} {type(value).__qualname__}\n".encode())
    return {
        "model": hashlib.sha256(structure.encode()).hexdigest(),
        "weights": weights.hexdigest(),
        **options,
    }


def _device(model: nn.Module) -> torch.device | None:
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return None
