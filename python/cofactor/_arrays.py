"""Arrays of other libraries as NumPy arrays on the same memory, and back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "HostArray",
    "device_kind",
    "is_foreign",
    "kind_of",
    "like",
    "real_numbers",
    "times",
    "to_host",
]

# Of DLPack: memory that the CPU reads as its own.
_HOST_DEVICES = (1, 3, 11)


@dataclass(frozen=True)
class HostArray:
    """Values in memory that the core can read."""

    values: Any
    """NumPy array, or what it was where it is no array; bfloat16 as its 16 bits."""
    dtype: str | None = None
    """Name of the dtype where NumPy has none for it."""


def is_foreign(array: Any) -> bool:
    """Whether `array` is another library's, with memory that it hands over."""
    if isinstance(array, np.ndarray | np.generic):
        return False
    return hasattr(array, "__dlpack__") or hasattr(array, "__cuda_array_interface__")


def device_kind(array: Any) -> int | None:
    """Kind of memory that an array lies in, by DLPack's numbers; None where it does not say."""
    try:
        return int(array.__dlpack_device__()[0])
    except (AttributeError, BufferError, RuntimeError, ValueError):
        return None


def to_host(array: Any, name: str = "X") -> HostArray:
    """Take an array as it comes, without a copy if it lies in the CPU's memory.

    Parameters
    ----------
    array : array
        NumPy array, or anything with ``__dlpack__`` (torch, CuPy, JAX) or
        ``__cuda_array_interface__``. An array on another device is copied to this one. Anything
        else is returned as it is.
    name : str
        Name for error messages.

    Returns
    -------
    HostArray
        The values; writing to them would write to `array`.

    Raises
    ------
    TypeError
        For a sparse torch tensor, a dtype that NumPy has not, or memory that cannot be reached.
    ValueError
        For a masked array with masked values.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.ones((2, 3))
    >>> to_host(x).values is x
    True
    """
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array):
            raise ValueError(
                f"{name} is a masked array with {int(np.ma.getmaskarray(array).sum())} masked "
                "values; fill them (X.filled(0)) or leave those rows out"
            )
        return HostArray(np.ma.getdata(array))
    if not is_foreign(array):
        return HostArray(array)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _from_torch(array, torch, name)
    try:
        if not hasattr(array, "__dlpack__"):
            # Numba's arrays, and others that only have an interface, say this of themselves.
            return HostArray(array.copy_to_host())
        if device_kind(array) in _HOST_DEVICES:
            return HostArray(np.from_dlpack(array))
        if hasattr(array, "get"):  # CuPy's way to host memory, from versions before DLPack's
            return HostArray(array.get())
        return HostArray(np.from_dlpack(array, device="cpu", copy=True))
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name} is {kind_of(array)} whose memory NumPy cannot take ({error}); pass it as a "
            "NumPy array of float32"
        ) from error


def real_numbers(given: Any, name: str) -> npt.NDArray[np.float64]:
    """Take real numbers of any kind as float64.

    Parameters
    ----------
    given : array-like
        As for :func:`to_host`, or a list.
    name : str
        Name for error messages.

    Returns
    -------
    ndarray of float64
        A copy, unless `given` is one.

    Raises
    ------
    TypeError
        For anything else, such as complex numbers, dates, text or lists of unequal length.

    Examples
    --------
    >>> real_numbers([1, 2], "sample_weight")
    array([1., 2.])
    """
    try:
        values = np.asarray(to_host(given, name).values)
    except ValueError as error:
        raise TypeError(f"{name} holds no array of real numbers: {error}") from None
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} holds no real numbers, but has dtype {values.dtype}")
    return np.asarray(values, dtype=np.float64)


def _from_torch(tensor: Any, torch: Any, name: str) -> HostArray:
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} is a torch tensor of layout {tensor.layout}; expected a dense one: pass "
            "tensor.to_dense()"
        )
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        return HostArray(tensor.view(torch.uint16).numpy(), "bfloat16")
    try:
        return HostArray(tensor.resolve_conj().resolve_neg().numpy())
    except TypeError as error:
        raise TypeError(
            f"{name} is a torch tensor of dtype {tensor.dtype}; expected real numbers of at least "
            "8 bits that NumPy has too, or bfloat16"
        ) from error


def like(result: Any, given: Any) -> Any:
    """Bring a result into the library and onto the device that the input came from.

    Parameters
    ----------
    result : array
        What was computed; not copied where it stays on the CPU, nor if it is no ndarray, and so
        already where it belongs.
    given : object
        The input.

    Returns
    -------
    array
        A torch tensor for a torch tensor, a CuPy array for a CuPy array, and so on; the ndarray
        itself for anything without ``__dlpack__``.

    Examples
    --------
    >>> import numpy as np
    >>> like(np.ones(2), [[1, 2]])
    array([1., 1.])
    """
    if not is_foreign(given) or not isinstance(result, np.ndarray):
        return result
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(given, torch.Tensor):
        return torch.from_numpy(result).to(given.device)
    namespace = getattr(given, "__array_namespace__", None)
    if namespace is None:
        return result
    device: Any = getattr(given, "device", None)
    if hasattr(device, "__enter__"):  # CuPy's devices are contexts, and no argument
        with device:
            return namespace().asarray(result)
    return namespace().asarray(result, device=device)


def times(W: Any, H: npt.NDArray[Any], name: str) -> Any:
    """Multiply a caller's factor by components, in the library and on the device that it is of.

    Parameters
    ----------
    W : array of shape (n_examples, n_components)
        The factor. One on another device is multiplied there, if its library can.
    H : ndarray of shape (n_components, n_columns)
        Components.
    name : str
        Name of `W` for error messages.

    Returns
    -------
    array of shape (n_examples, n_columns)
        ``W @ H``.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> times(np.ones((1, 2)), np.ones((2, 3)), "W")
    array([[2., 2., 2.]])
    """
    is_near = not is_foreign(W) or device_kind(W) in _HOST_DEVICES
    if is_near or not hasattr(W, "__matmul__"):
        return like(np.asarray(to_host(W, name).values) @ H, W)
    if len(W.shape) != 2 or W.shape[1] != len(H):
        raise ValueError(
            f"{name} has shape {tuple(W.shape)}; expected (n_examples, {len(H)}), one column a "
            "component"
        )
    components = like(H, W)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(W, torch.Tensor):
        dtype = torch.promote_types(W.dtype, components.dtype)
        return W.detach().to(dtype) @ components.to(dtype)
    return W @ components


def kind_of(array: Any) -> str:
    """Name of an array's library and class, for error messages."""
    return f"{type(array).__module__.split('.')[0]}.{type(array).__qualname__}"
