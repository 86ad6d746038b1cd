"""Which layers to record: names, patterns, modules or callables."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn

__all__ = ["ROOT_NAME", "LayerSpec", "nearest", "resolve_layers"]

LayerSpec: TypeAlias = str | nn.Module | Callable[[str, nn.Module], bool]

ROOT_NAME = "output"


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
