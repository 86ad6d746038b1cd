"""Running a network with the output of one layer replaced; importing this file needs torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cofactor._capture.layers import first_tensor, resolve_layers

# Numbers that the replacements of a layer may hold at once.
_HELD = 1 << 25
_SAME = 1e-3

Replace = Callable[[Tensor, int], Tensor]


class LayerReplacer:
    """Runs a network once as it is, then with other outputs of one layer.

    What the network does before the layer is the same for every replacement. So the batch is
    multiplied at the layer: several replacements of its output go through the rest of the network
    as one larger batch. That fails where something passes the layer by, as the shortcut of a
    residual block does; such a layer is replaced in a run of its own each time.

    Parameters
    ----------
    model : torch.nn.Module
        The network, which gives one matrix of logits (n, n_classes).
    view : str
        Name of the layer's view in a capture: of a module, or ``name_1`` and so on for a later call
        of the module `name`.
    """

    def __init__(self, model: nn.Module, view: str) -> None:
        self._model = model
        self._view = view
        self._module, self._call = _find(model, view)
        self._multiplies: bool | None = None

    def plain(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (n, n_classes) and the layer's output, flat, (n, d)."""
        kept: list[Tensor] = []

        def keep(output: Tensor) -> Tensor:
            # What follows may overwrite it in place.
            kept.append(output.flatten(1).clone())
            return output

        logits = self._run(images, keep)
        return logits, kept[0]

    def replaced(
        self, images: Tensor, logits: Tensor, output: Tensor, replace: Replace, count: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield, for each of `count` replacements, its number and the logits.

        Parameters
        ----------
        images : Tensor
            A batch.
        logits, output : Tensor
            What `plain` gave for it.
        replace : callable
            Gives the flat output (n, d) that stands in for `output`, by number.
        count : int
            Number of replacements.
        """
        if self._multiplies is None and count > 1:
            self._multiplies = self._can_multiply(images, logits, output)
        at_once = max(1, _HELD // max(output.numel(), 1)) if self._multiplies else 1
        for start in range(0, count, at_once):
            numbers = range(start, min(start + at_once, count))
            stacked = torch.cat([replace(output, number) for number in numbers])
            found = self._run(images, partial(_shaped, stacked))
            yield from zip(numbers, found.chunk(len(numbers)), strict=True)

    def _can_multiply(self, images: Tensor, logits: Tensor, output: Tensor) -> bool:
        twice = torch.cat([output, output])
        try:
            found = self._run(images, partial(_shaped, twice))
        except Exception:
            # Whatever a network raises when it meets a batch of another size on the way.
            return False
        if len(found) != 2 * len(logits):
            return False
        scale = float(logits.abs().max()) or 1.0
        return bool((found - logits.repeat(2, 1)).abs().max() <= _SAME * scale)

    def _run(self, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        with _hooked(self._module, self._call, self._view, change):
            result = first_tensor(self._model(images))
        if result is None or result.ndim != 2:
            shape = "no tensor" if result is None else f"shape {tuple(result.shape)}"
            raise ValueError(f"the network returns {shape}; expected logits (n, n_classes)")
        return result


@contextmanager
def _hooked(
    module: nn.Module, call: int, view: str, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    calls = 0

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != call + 1:
            return None
        tensor = first_tensor(output)
        if tensor is None:
            raise TypeError(f"layer {view!r} returns {type(output).__name__}, expected a tensor")
        changed = change(tensor)
        if isinstance(output, tuple | list):
            return (changed, *output[1:])
        return changed

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    if calls <= call:
        raise ValueError(f"layer {view!r} ran {calls} times in the network's forward")


def _shaped(flat: Tensor, like: Tensor) -> Tensor:
    return flat.reshape(len(flat), *like.shape[1:]).to(like.dtype)


def _find(model: nn.Module, view: str) -> tuple[nn.Module, int]:
    """Return the module of a view, and which of its calls the view is."""
    names = dict(model.named_modules(remove_duplicate=False))
    name, _, number = view.rpartition("_")
    if view not in names and name in names and number.isdecimal():
        return names[name], int(number)
    # Names the nearest ones where there is none.
    (module,) = resolve_layers(model, [view]).values()
    return module, 0
