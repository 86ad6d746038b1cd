"""A CUDA device that is none: arrays in the CPU's memory say that they are elsewhere.

The CPU backend reads them. What is tested with it is how arrays are taken and given, not how a
device computes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from cofactor import _core

CUDA, MANAGED, ROCM = 2, 13, 10


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)

_CODES = {"i": 0, "u": 1, "f": 2, "b": 6, "c": 5}


@dataclass
class Capsules:
    """Makes capsules of DLPack, and knows which of them still hold their array."""

    held: dict[int, Any] = field(default_factory=dict)

    def make(
        self,
        values: np.ndarray,
        *,
        device: tuple[int, int] = (CUDA, 0),
        bfloat16: bool = False,
        version: tuple[int, int] | None = (1, 0),
        read_only: bool = False,
        compact: bool = False,
    ) -> Any:
        """Make one of `values`; bfloat16 are its bits, and `compact` leaves the strides out."""
        managed = _Managed() if version is None else _Versioned()
        tensor = managed.tensor
        shape = (ctypes.c_int64 * values.ndim)(*values.shape)
        strides = (ctypes.c_int64 * values.ndim)(*(s // values.itemsize for s in values.strides))
        # Not all of the address, so that the offset counts.
        tensor.data, tensor.byte_offset = values.ctypes.data - 64, 64
        tensor.device_type, tensor.device_id = device
        tensor.ndim = values.ndim
        tensor.code = 4 if bfloat16 else _CODES[values.dtype.kind]
        tensor.bits, tensor.lanes = 8 * values.itemsize, 1
        tensor.shape = shape
        if not compact:
            tensor.strides = strides
        address = ctypes.addressof(managed)
        deleter = _Deleter(lambda pointer: self.held.pop(pointer) and None)
        managed.deleter = deleter
        name = b"dltensor"
        if version is not None:
            managed.major, managed.minor = version
            managed.flags = int(read_only)
            name = b"dltensor_versioned"
        self.held[address] = managed, shape, strides, deleter, values, name
        return _new_capsule(address, name, None)


CAPSULES = Capsules()


class DeviceArray:
    """An array with ``__dlpack__``, as JAX and others give it."""

    def __init__(self, values: np.ndarray, *, device: int = 0, **options: Any) -> None:
        self.values, self.options = values, options
        self.place = options.pop("kind", CUDA), device
        self.streams: list[object] = []
        self.shape, self.ndim = values.shape, values.ndim

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, *, stream: object = None, max_version: object = None) -> Any:
        self.streams.append(stream)
        return CAPSULES.make(self.values, device=self.place, **self.options)


class OldDeviceArray(DeviceArray):
    """From before DLPack had versions."""

    def __dlpack__(self, stream: object = None) -> Any:  # type: ignore[override]
        self.streams.append(stream)
        return CAPSULES.make(self.values, device=self.place, version=None)


class InterfaceArray:
    """An array with ``__cuda_array_interface__`` alone, as Numba's."""

    def __init__(self, values: np.ndarray, **entries: Any) -> None:
        self.values = values
        self.__cuda_array_interface__ = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (values.ctypes.data, False),
            "strides": None if values.flags.c_contiguous else values.strides,
            "version": 3,
            **entries,
        }

    def copy_to_host(self) -> np.ndarray:
        return self.values.copy()


class CupyArray(DeviceArray):
    """As CuPy's: strided, with ``astype`` and fancy devices."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values)
        self.dtype, self.strides, self.device = values.dtype, values.strides, self

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def astype(self, dtype: str, order: str = "K") -> CupyArray:
        return CupyArray(self.values.astype(dtype, order=order))

    def view(self, dtype: str) -> CupyArray:
        return CupyArray(self.values.view(dtype))

    def get(self) -> np.ndarray:
        return self.values.copy()

    def __matmul__(self, other: CupyArray) -> CupyArray:
        return CupyArray(self.values @ other.values)

    def __array_namespace__(self) -> type[Cupy]:
        return Cupy


class Cupy:
    """As much of CuPy as is used."""

    ndarray = CupyArray

    @staticmethod
    def asarray(values: np.ndarray) -> CupyArray:
        return CupyArray(values)

    @staticmethod
    def empty(shape: tuple[int, int], dtype: Any) -> CupyArray:
        return CupyArray(np.full(shape, np.nan, dtype))


def on_host(matrix: _core.DeviceMatrix) -> np.ndarray:
    """Return the numbers of a matrix whose device is none, where they are."""
    bits = "uint16" if matrix.dtype == "bfloat16" else matrix.dtype
    dtype = np.dtype(bits)
    rows, columns = matrix.shape
    size = ((rows - 1) * matrix.row_stride + columns) * dtype.itemsize if rows * columns else 0
    memory = (ctypes.c_uint8 * size).from_address(matrix.address)
    values = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(
        values, matrix.shape, (matrix.row_stride * dtype.itemsize, dtype.itemsize)
    )


class _Engine:
    """An engine of the CPU that counts as one of the device."""

    def __init__(self, engine: _core.Engine) -> None:
        object.__setattr__(self, "engine", engine)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.engine, name, value)

    def encode_to_device(
        self, squares: Sequence[float], *, exact: bool, w: _core.DeviceMatrix
    ) -> _core.EncodeResult:
        return self.engine.encode(squares, exact=exact, w=on_host(w))


@dataclass
class FakeCuda:
    """What was asked of the device."""

    engines: list[str] = field(default_factory=list)
    """Devices that engines were asked for."""
    read: list[bool] = field(default_factory=list)
    """For every source of arrays or blocks, whether they were on the device."""
    waited: list[tuple[int, int]] = field(default_factory=list)
    """Devices and streams that were waited for."""
    fetched: int = 0
    """Rows that were copied to the host."""


def install(patch: pytest.MonkeyPatch) -> FakeCuda:
    """Make the core believe in a device, which is the CPU."""
    fake = FakeCuda()
    Source, Engine = _core.Source, _core.Engine
    part = _core.DeviceMatrix.__getitem__

    def near(arrays: Sequence[Any]) -> list[Any]:
        # The matrix goes with its numbers, which it keeps alive.
        return [
            _kept(on_host(array), array) if isinstance(array, _core.DeviceMatrix) else array
            for array in arrays
        ]

    def from_arrays(views: Sequence[Sequence[Any]], *described: Any, **options: Any) -> Any:
        # The real source checks what it is given.
        fake.read.append(Source(views, *described).device is not None)
        return Source([near(pieces) for pieces in views], *described, **options)

    def from_blocks(
        start: Callable[[], Iterator[list[Any]]], *described: Any, **options: Any
    ) -> Any:
        fake.read.append(options.pop("device") is not None)
        return Source.from_blocks(lambda: map(near, start()), *described, **options)

    def engine(source: Any, *, device: str, **options: Any) -> _Engine:
        fake.engines.append(device)
        return _Engine(Engine(source, device="cpu", **options))

    def rows(matrix: _core.DeviceMatrix, key: Any) -> Any:
        if isinstance(key, tuple):
            return part(matrix, key)
        fake.fetched += len(key)
        return on_host(matrix)[key].copy()

    from_arrays.from_blocks = from_blocks  # type: ignore[attr-defined]
    from_arrays.from_files = Source.from_files  # type: ignore[attr-defined]
    patch.setattr(_core, "Source", from_arrays)
    patch.setattr(_core, "Engine", engine)
    patch.setattr(_core.DeviceMatrix, "__getitem__", rows)
    patch.setattr(_core, "cuda_available", lambda: True)
    patch.setattr(_core, "cuda_device_of", lambda address: 0)
    patch.setattr(_core, "wait_for_cuda_stream", lambda *where: fake.waited.append(where))
    return fake


class _Kept(np.ndarray):
    owner: object


def _kept(values: np.ndarray, owner: object) -> np.ndarray:
    kept = values.view(_Kept)
    kept.owner = owner
    return kept
