"""Which layers to record, and the hooks that record them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .._errors import StoreError
from .._store.encoding import OVERFLOW, overflow_message

__all__ = ["LayerRecorder", "LayerSpec", "first_tensor", "nearest", "resolve_layers", "to_numpy"]

LayerSpec: TypeAlias = str | nn.Module | Callable[[str, nn.Module], bool]

ROOT_NAME = "output"

_TORCH_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def resolve_layers(
    model: nn.Module, layers: LayerSpec | Iterable[LayerSpec]
) -> dict[str, nn.Module]:
    """Return the chosen modules by name: in the order given, those of one pattern in model order.

    Raises
    ------
    ValueError
        If a name, pattern or callable matches nothing, or a module is not in the model.
    TypeError
        If an entry is none of these.
    """
    if isinstance(layers, (str, nn.Module)) or not isinstance(layers, Iterable):
        layers = [layers]
    modules = dict(model.named_modules(remove_duplicate=False))
    root_name = ROOT_NAME
    while root_name in modules:
        root_name += "_"
    modules[root_name] = modules.pop("")
    chosen: dict[str, nn.Module] = {}
    for spec in layers:
        for name in _matches(model, modules, spec):
            # One module may be reachable by several names; its output is recorded once.
            if not any(modules[name] is module for module in chosen.values()):
                chosen[name] = modules[name]
    return chosen


def _matches(model: nn.Module, modules: Mapping[str, nn.Module], spec: object) -> list[str]:
    kind = type(model).__name__
    if isinstance(spec, str):
        if spec in modules:
            return [spec]
        names = [name for name in modules if modules[name] is not model]
        found = [name for name in names if fnmatchcase(name, spec)]
        if not found:
            raise ValueError(
                f"layer {spec!r} matches no module of {kind}; {nearest(spec, names)}. "
                "Names are those of model.named_modules()"
            )
        return found
    if isinstance(spec, nn.Module):
        found = [name for name, module in modules.items() if module is spec]
        if not found:
            raise ValueError(
                f"a module {type(spec).__name__} was given as layer that is not in {kind}; "
                "expected one of model.modules()"
            )
        return found[:1]
    if callable(spec):
        found = [name for name, module in modules.items() if module is not model]
        found = [name for name in found if spec(name, modules[name])]
        if not found:
            raise ValueError(f"the callable given as layer is true for no module of {kind}")
        return found
    raise TypeError(
        f"a layer is given as {type(spec).__name__}, expected a name or pattern, a module, or a "
        "callable of (name, module)"
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a phrase with the names most like one."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:5]
    return f"nearest: {', '.join(close)}" if close else "there is none"


class LayerRecorder:
    """Forward hooks that keep a layer's output, pooled and converted; a context manager.

    Parameters
    ----------
    modules : mapping of str to Module
        What to record.
    dtype_of, pool_of : callable
        Return for a view's name its dtype, and its pooling ("avg", "max" or None) with whether
        the pooling was asked for by that name.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        dtype_of: Callable[[str], str],
        pool_of: Callable[[str], tuple[str | None, bool]],
    ) -> None:
        self._modules = modules
        self._dtype_of = dtype_of
        self._pool_of = pool_of
        self._handles: list[Any] = []
        self._outputs: dict[str, torch.Tensor] = {}
        self._calls: dict[str, int] = {}
        self._n_rows = 0
        self._n_calls = 0
        self._stop_after: int | None = None

    def __enter__(self) -> LayerRecorder:
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._make_hook(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forward(self, model: nn.Module, images: torch.Tensor) -> Any:
        """Run the model and return its output, None if it was stopped early."""
        self._outputs = {}
        self._calls = dict.fromkeys(self._modules, 0)
        self._n_rows = images.shape[0]
        self._n_calls = 0
        if self._stop_after == 0:
            return None
        try:
            return model(images)
        except _Stop:
            return None

    def stop_early(self) -> None:
        """From now on end the forward once as many calls were recorded as in the last one."""
        self._stop_after = self._n_calls

    def take(self) -> dict[str, npt.NDArray[Any]]:
        """Return what the last forward recorded, in the order of the layers, and forget it.

        Raises
        ------
        ValueError
            If a layer did not run.
        """
        silent = [name for name, count in self._calls.items() if count == 0]
        if silent:
            raise ValueError(
                f"layers {', '.join(silent)} did not run in the model's forward; remove them from "
                "layers, or name the modules that run in their place"
            )
        blocks = {
            view: to_numpy(self._outputs[view])
            for name, count in self._calls.items()
            for view in (_view_name(name, call) for call in range(count))
        }
        self._outputs = {}
        return blocks

    def _make_hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            view = _view_name(name, self._calls[name])
            self._calls[name] += 1
            self._n_calls += 1
            if view in self._outputs:
                raise ValueError(
                    f"view {view!r} would hold the outputs of two modules: a second call of "
                    f"{name!r} and a module of that name; capture them apart"
                )
            self._outputs[view] = self._convert(view, module, output)
            if self._n_calls == self._stop_after:
                raise _Stop

        return keep

    def _convert(self, view: str, module: nn.Module, output: Any) -> torch.Tensor:
        tensor = first_tensor(output)
        if tensor is None or tensor.is_complex():
            what = type(output).__name__ if tensor is None else str(tensor.dtype)
            raise TypeError(
                f"layer {view!r} ({type(module).__name__}) returns {what}, expected a tensor of "
                "real numbers or a tuple that begins with one; name a module inside of it"
            )
        if tensor.ndim == 0 or tensor.shape[0] != self._n_rows:
            raise ValueError(
                f"layer {view!r} returns shape {tuple(tensor.shape)} for a batch of "
                f"{self._n_rows}; expected the examples along the first axis"
            )
        how, by_name = self._pool_of(view)
        if how is not None:
            if tensor.ndim == 4:
                tensor = tensor.mean((2, 3)) if how == "avg" else tensor.amax((2, 3))
            elif by_name:
                raise ValueError(
                    f"layer {view!r} returns shape {tuple(tensor.shape)}, which pool={how!r} "
                    "cannot pool; expected 4 axes: examples, channels, height, width"
                )
        dtype = self._dtype_of(view)
        _check_overflow(tensor, view, dtype)
        # Copied even if the dtype is right: what follows may overwrite it in place.
        return tensor.to(_TORCH_DTYPES[dtype], copy=True, memory_format=torch.contiguous_format)


class _Stop(BaseException):
    """Ends a forward; no Exception, so that a model that catches those lets it pass."""


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return a tensor, or the first entry of a tuple or list if that is one, else None."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array, bfloat16 as the uint16 of its bits."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.contiguous().view(torch.int16)
        bits: npt.NDArray[Any] = tensor.numpy().view(np.uint16)
        return bits
    array: npt.NDArray[Any] = tensor.numpy()
    return array


def _view_name(layer: str, call: int) -> str:
    return layer if call == 0 else f"{layer}_{call}"


def _check_overflow(tensor: torch.Tensor, view: str, dtype: str) -> None:
    limit = OVERFLOW[dtype]
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return
    if torch.finfo(tensor.dtype).max < limit:
        return
    low, high = (float(bound) for bound in torch.aminmax(tensor))
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = tensor[torch.isfinite(tensor)]
        if finite.numel() == 0:
            return
        low, high = (float(bound) for bound in torch.aminmax(finite))
    largest = max(-low, high)
    if largest >= limit:
        raise StoreError(overflow_message(view, dtype, largest))
