"""Arrays on a CUDA device, read by the core where they lie, and results put beside them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _core
from ._arrays import device_kind, is_foreign, kind_of

__all__ = ["are_on_device", "empty_beside", "is_on_device", "one_device", "to_device_matrix"]

# Of DLPack: memory of a CUDA device, and memory that moves between it and the host.
_CUDA_DEVICES = (2, 13)

# The device's default stream, as DLPack numbers it, on which producers make their data ready.
_DEFAULT_STREAM = 1

_KEPT = ("uint8", "float16", "bfloat16", "float32", "float64")


def is_on_device(array: Any) -> bool:
    """Whether an array says that it lies on a CUDA device.

    Parameters
    ----------
    array : object
        Anything; what has neither ``__dlpack__`` nor ``__cuda_array_interface__`` does not.

    Examples
    --------
    >>> import numpy as np
    >>> is_on_device(np.ones((2, 3)))
    False
    """
    if not is_foreign(array):
        return False
    if hasattr(array, "__dlpack_device__"):
        return device_kind(array) in _CUDA_DEVICES
    return hasattr(array, "__cuda_array_interface__")


def are_on_device(arrays: Mapping[str, Any], device: str, caller: str) -> bool:
    """Whether the views of a call are to be read on a CUDA device, where they are.

    Parameters
    ----------
    arrays : mapping of str to array
        The views.
    device : {"auto", "cpu", "cuda"}
        Where to compute. With "cpu", and with "auto" where there is no CUDA to compute with, they
        are copied to the host instead.
    caller : str
        Name for error messages.

    Raises
    ------
    ValueError
        If some are on a device and others are not.
    """
    if device == "cpu" or (device == "auto" and not _core.cuda_available()):
        return False
    there = {name: is_on_device(array) for name, array in arrays.items()}
    if len(set(there.values())) > 1:
        near = ", ".join(repr(name) for name, far in there.items() if not far)
        away = ", ".join(repr(name) for name, far in there.items() if far)
        raise ValueError(
            f"{caller} got view(s) {away} on a CUDA device and {near} in the CPU's memory; move "
            "all to one of them, or pass device='cpu', which copies them to the CPU's"
        )
    return any(there.values())


def one_device(matrices: Mapping[str, _core.DeviceMatrix]) -> None:
    """Raise ValueError unless all matrices are on one CUDA device."""
    if len({matrix.device for matrix in matrices.values()}) > 1:
        raise ValueError(
            "the views are on several GPUs: "
            + ", ".join(f"{name!r} on cuda:{m.device}" for name, m in matrices.items())
            + "; a fit uses one: move all views to it"
        )


def to_device_matrix(array: Any, name: str) -> _core.DeviceMatrix:
    """Give the core an array on a CUDA device, and wait until it is ready to be read.

    The array's library is told to have its data ready for the device's default stream, and that
    stream is waited for, once. No copy is made of uint8, bool, float16, bfloat16, float32 and
    float64 with contiguous rows; torch, CuPy and whoever has ``astype`` convert other integers, of
    at most 16 bits to float32 and wider ones to float64, and copy other layouts.

    Parameters
    ----------
    array : array of shape (n_examples, n_columns)
        On a CUDA device: a torch tensor, or anything with ``__dlpack__`` or
        ``__cuda_array_interface__``.
    name : str
        Name for error messages.

    Returns
    -------
    _core.DeviceMatrix
        The rows, which keep their owner alive.

    Raises
    ------
    TypeError
        For a sparse tensor, a dtype or a layout that can be neither read nor converted.
    ValueError
        For masked values.
    """
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(array, torch.Tensor):
            return _from_dlpack(_readable_tensor(array, torch, name))
        if hasattr(array, "astype"):
            array = _readable_array(array, name)
        if hasattr(array, "__dlpack__"):
            return _from_dlpack(array)
        return _from_interface(array, name)
    except (BufferError, TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        raise TypeError(
            f"{name} is {kind_of(array)} on a CUDA device, which cannot be read there ({error}); "
            "pass a matrix of float32 with contiguous rows, or device='cpu'"
        ) from error


def empty_beside(
    array: Any, shape: tuple[int, int], dtype: np.dtype[Any]
) -> tuple[Any, _core.DeviceMatrix] | None:
    """Make a matrix for the core to write, on the CUDA device and of the library of `array`.

    Parameters
    ----------
    array : array
        On a CUDA device.
    shape : tuple of int
        Rows and columns.
    dtype : numpy.dtype
        float32 or float64.

    Returns
    -------
    tuple of array and _core.DeviceMatrix, or None
        The array and its memory; None for other libraries than torch and CuPy, whose arrays may
        not be written to, and for arrays of no numbers.
    """
    made = None
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if 0 in shape:
        return None
    if torch is not None and isinstance(array, torch.Tensor):
        made = torch.empty(shape, dtype=getattr(torch, dtype.name), device=array.device)
    elif cupy is not None and isinstance(array, cupy.ndarray):
        with array.device:
            made = cupy.empty(shape, dtype)
    if made is None:
        return None
    # What the library still does with memory that it now gives again is waited for, too.
    return made, _from_dlpack(made)


def _readable_tensor(tensor: Any, torch: Any, name: str) -> Any:
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name} is a torch tensor of layout {tensor.layout}; expected a dense one: pass "
            "tensor.to_dense()"
        )
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype is torch.bool:
        tensor = tensor.view(torch.uint8)
    dtype = _read_as(str(tensor.dtype).removeprefix("torch."), name)
    tensor = tensor.to(getattr(torch, dtype))
    apart = len(tensor) <= 1 or tensor.stride(0) >= tensor.shape[1]
    return tensor if tensor.stride(1) == 1 and apart else tensor.contiguous()


def _readable_array(array: Any, name: str) -> Any:
    given = str(array.dtype)
    if given == "bool":
        array, given = array.view("uint8"), "uint8"
    dtype = _read_as(given, name)
    size, strides = int(array.dtype.itemsize), getattr(array, "strides", None)
    # Without strides there are no gaps.
    readable = strides is None or (
        (strides[1] == size or array.shape[1] <= 1)
        and (strides[0] >= array.shape[1] * size or array.shape[0] <= 1)
    )
    if not readable:
        return array.astype(dtype, order="C")
    return array if dtype == given else array.astype(dtype)


def _read_as(dtype: str, name: str) -> str:
    """Name of the dtype in which the core reads an array of another, as it does on the host."""
    if dtype in _KEPT:
        return dtype
    if dtype.startswith(("int", "uint")):
        return "float64" if int(dtype.lstrip("uint")) > 16 else "float32"
    raise TypeError(f"{name} has dtype {dtype}; expected real numbers")


def _from_dlpack(array: Any) -> _core.DeviceMatrix:
    try:
        capsule = array.__dlpack__(stream=_DEFAULT_STREAM, max_version=(1, 0))
    except TypeError:  # from before DLPack had versions
        capsule = array.__dlpack__(stream=_DEFAULT_STREAM)
    matrix = _core.DeviceMatrix.from_dlpack(capsule)
    _core.wait_for_cuda_stream(matrix.device, _DEFAULT_STREAM)
    return matrix


def _from_interface(array: Any, name: str) -> _core.DeviceMatrix:
    given = array.__cuda_array_interface__
    if given.get("mask") is not None:
        raise ValueError(f"{name} has masked values; fill them or leave those rows out")
    dtype = np.dtype(given["typestr"])
    if not dtype.isnative:
        raise TypeError(f"{name} has numbers of another byte order; expected this machine's")
    size = dtype.itemsize
    rows, columns = given["shape"]
    row_bytes, column_bytes = given.get("strides") or (columns * size, size)
    if (column_bytes != size and columns > 1) or row_bytes % size:
        raise ValueError(f"strides of {row_bytes} and {column_bytes} bytes")
    kind = "uint8" if dtype.kind == "b" else dtype.name
    if kind not in _KEPT:
        raise TypeError(f"dtype {kind}")
    address, is_read_only = given["data"]
    device = _core.cuda_device_of(address) if rows * columns else 0
    matrix = _core.DeviceMatrix.at(
        address,
        rows=rows,
        columns=columns,
        row_stride=row_bytes // size,
        dtype=kind,
        device=device,
        writable=not is_read_only,
        owner=array,
    )
    # Since version 3 the producer names the stream that its data is ready on, and None where that
    # is past; before, it said nothing.
    stream = given.get("stream", _DEFAULT_STREAM)
    if stream is not None:
        _core.wait_for_cuda_stream(device, int(stream))
    return matrix
