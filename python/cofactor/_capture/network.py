"""The network: its mode and device during a capture, and a hash of what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["evaluation", "fingerprint", "input_placement"]


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


def fingerprint(model: nn.Module, options: Mapping[str, Any]) -> str:
    """Return a sha256 over the model's state dict and the options of the capture."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name, value in model.state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            content = value.detach().cpu().contiguous().reshape(-1)
            digest.update(content.view(torch.uint8).numpy().data)
        else:
            # Extra state can be any object; its type is all that is the same in every process.
            digest.update(f"{name} {type(value).__qualname__}\n".encode())
    return digest.hexdigest()


def _device(model: nn.Module) -> torch.device | None:
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return None
