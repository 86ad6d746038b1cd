"""The hooks that record what layers return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import nn

from .append_queue import RecordedView
from .options import ViewOptions
from .outputs import convert, select_tensor
from .transfer import HostCopies

__all__ = ["LayerRecorder", "view_name"]


class LayerRecorder:
    """Forward hooks that keep a layer's output, pooled and converted; a context manager.

    Parameters
    ----------
    modules : mapping of str to Module
        What to record.
    options : ViewOptions
        What is kept of each view.
    copies : HostCopies
        Brings what is kept to the host.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], options: ViewOptions, copies: HostCopies
    ) -> None:
        self._modules = modules
        self._options = options
        self._copies = copies
        self._handles: list[Any] = []
        self._outputs: dict[str, RecordedView] = {}
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
        """From now on end the forward once as many calls were recorded as in the first one."""
        if self._stop_after is None:
            self._stop_after = self._n_calls

    def take(self) -> dict[str, RecordedView]:
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
        views = {
            view: self._outputs[view]
            for name, count in self._calls.items()
            for view in (view_name(name, call) for call in range(count))
        }
        self._outputs = {}
        return views

    def _make_hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            view = view_name(name, self._calls[name])
            self._calls[name] += 1
            self._n_calls += 1
            if view in self._outputs:
                raise ValueError(
                    f"view {view!r} would hold the outputs of two modules: a second call of "
                    f"{name!r} and a module of that name; capture them apart"
                )
            self._outputs[view] = self._record(view, module, output)
            if self._n_calls == self._stop_after:
                raise _Stop

        return keep

    def _record(self, view: str, module: nn.Module, output: Any) -> RecordedView:
        tensor = select_tensor(output, view, module, self._options.element(view))
        if tensor.ndim == 0 or tensor.shape[0] != self._n_rows:
            raise ValueError(
                f"layer {view!r} returns shape {tuple(tensor.shape)} for a batch of "
                f"{self._n_rows}; expected the examples along the first axis"
            )
        found = convert(tensor, view, self._options)
        bounds = None if found.bounds is None else self._copies.start(found.bounds)
        values = self._copies.start(found.values)
        return RecordedView(values, bounds, found.positions, self._options.dtype(view))


class _Stop(BaseException):
    """Ends a forward; no Exception, so that a model that catches those lets it pass."""


def view_name(layer: str, call: int) -> str:
    """Return the name of the view that keeps a call of a layer, the first being number 0."""
    return layer if call == 0 else f"{layer}_{call}"
