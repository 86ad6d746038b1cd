"""What the processes of a fit must have in common, as JSON values that they compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from ._processes import Processes
from .distributed import processes

__all__ = ["arrays_digest", "parameters_of", "random_state_of", "together"]

# What each process may have for itself: none of it changes a bit of the result.
_OWN = ("callback", "n_threads", "max_memory")

Options = ParamSpec("Options")
Result = TypeVar("Result")


def together(method: Callable[Options, Result]) -> Callable[Options, Result]:
    """Make a method the work of all processes, which ends on all of them together."""

    @wraps(method)
    def call(*args: Options.args, **kwargs: Options.kwargs) -> Result:
        with processes().call(method.__qualname__):
            return method(*args, **kwargs)

    return call


def parameters_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an estimator's parameters that must be the same on all processes."""
    return {name: _plain(value) for name, value in parameters.items() if name not in _OWN}


def arrays_digest(arrays: Mapping[str, npt.NDArray[Any]] | None) -> str | None:
    """Hash arrays by name; None for none."""
    if arrays is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def random_state_of(given: Any, ranks: Processes) -> Any:
    """Return what `check_random_state` takes: the same on all processes where none was given."""
    if given is not None or ranks.size == 1:
        return given
    return int(ranks.share(int(np.random.randint(np.iinfo(np.int32).max))))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, np.random.RandomState):
        kind, key, position, *gauss = value.get_state(legacy=True)
        return [str(kind), arrays_digest({"key": np.asarray(key)}), int(position), *gauss]
    return repr(value)
