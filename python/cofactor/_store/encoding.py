"""The dtypes of a store: from values to stored numbers, back, and statistics of what is stored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import StoreError

__all__ = [
    "DTYPES",
    "LARGEST_SCALE",
    "OVERFLOW",
    "Statistics",
    "decode",
    "encode",
    "overflow_message",
    "statistics",
]

DTYPES: dict[str, np.dtype[Any]] = {
    "uint8": np.dtype("<u1"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}

# The smallest magnitudes that round to infinity: half a step above the largest number.
OVERFLOW: dict[str, float] = {
    "float16": 65520.0,
    "bfloat16": (2.0 - 2.0**-8) * 2.0**127,
    "float32": (2.0 - 2.0**-24) * 2.0**127,
    "float64": math.inf,
}

# 255 times this is a float32.
LARGEST_SCALE = 1e36

_LARGEST = {"float16": "65504", "bfloat16": "3.39e38", "float32": "3.40e38"}
_ROOMIER = {
    "float16": "bfloat16 or float32",
    "bfloat16": "float64 (float32 ends at 3.40e38, as bfloat16 does)",
    "float32": "float64",
}
_STEP_TOLERANCE = 1e-3
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of a view's values (after scaling), over the finite ones.

    Attributes
    ----------
    sum_of_squares : float
        Sum of the squares, accumulated in float64.
    minimum, maximum : float
        Smallest and largest value; 0.0 where no value is finite.
    n_nonfinite : int
        How many values are NaN or infinite.
    sum, positive_sum_of_squares : float or None
        Sum of the values, and sum of squares of those above 0, likewise; None where unknown.
    """

    sum_of_squares: float
    minimum: float
    maximum: float
    n_nonfinite: int
    sum: float | None = None
    positive_sum_of_squares: float | None = None


def encode(
    block: npt.ArrayLike, name: str, shape: tuple[int, ...], dtype: str, scale: float
) -> npt.NDArray[Any]:
    """Convert a block of examples to the stored dtype, rows x columns in C order.

    Raises
    ------
    StoreError
        If the block's shape does not fit, a value overflows the dtype, or a value of a uint8
        view is no multiple of its scale.
    """
    array = np.asarray(block)
    n_columns = math.prod(shape)
    if array.ndim == 0 or array.shape[1:] not in (shape, (n_columns,)):
        raise StoreError(
            f"view {name!r}: block has shape {array.shape}, expected (rows, "
            f"{', '.join(map(str, shape))}) or (rows, {n_columns})"
        )
    if array.dtype.kind not in "fiub":
        raise StoreError(
            f"view {name!r}: block has dtype {array.dtype}, expected real numbers "
            f"(a float dtype or {DTYPES[dtype].name})"
        )
    array = array.reshape(array.shape[0], n_columns)
    stored = DTYPES[dtype]
    if array.dtype == stored:
        return np.ascontiguousarray(array, dtype=stored)
    if dtype == "uint8":
        return _to_steps(array, name, scale)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    _check_overflow(array, name, dtype)
    if dtype == "bfloat16":
        return _to_bfloat16(array)
    # Signalling NaNs are quietened, which some processors report as an invalid operation.
    with np.errstate(invalid="ignore", under="ignore"):
        return np.ascontiguousarray(array, dtype=stored)


def decode(
    stored: npt.NDArray[Any], dtype: str, scale: float, out: npt.NDArray[np.floating[Any]]
) -> None:
    """Write the values of stored numbers into `out`, an array of the same shape."""
    if dtype == "uint8":
        table = (np.arange(256) * scale).astype(out.dtype)
        np.take(table, stored, out=out, mode="clip")
    elif dtype == "bfloat16":
        np.copyto(out, _from_bfloat16(stored))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(out, stored, casting="same_kind")


def statistics(pieces: Iterable[npt.NDArray[Any]], dtype: str, scale: float) -> Statistics:
    """Return the statistics of stored numbers.

    For dtypes of 8 and 16 bits they are computed from the counts of the bit patterns, hence
    do not depend on how the rows are cut; for the others sums run in pieces of each array.
    """
    if dtype in ("uint8", "float16", "bfloat16"):
        return _statistics_of_patterns(pieces, dtype, scale)
    squares: list[float] = []
    positive_squares: list[float] = []
    sums: list[float] = []
    minimum, maximum, n_nonfinite = math.inf, -math.inf, 0
    for array in pieces:
        flat = array.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            values = flat[start : start + _PIECE].astype(np.float64)
            finite = np.isfinite(values)
            if not finite.all():
                n_nonfinite += int(values.size - np.count_nonzero(finite))
                values = values[finite]
            if values.size:
                minimum = min(minimum, float(values.min()))
                maximum = max(maximum, float(values.max()))
                with np.errstate(over="ignore"):
                    squares.append(float(np.einsum("i,i->", values, values)))
                    sums.append(float(values.sum()))
                    np.maximum(values, 0.0, out=values)
                    positive_squares.append(float(np.einsum("i,i->", values, values)))
    if not squares:
        return Statistics(0.0, 0.0, 0.0, n_nonfinite, 0.0, 0.0)
    # Adding zero makes -0.0 positive: which of the two a minimum is depends on the order.
    return Statistics(
        _total(squares),
        minimum + 0.0,
        maximum + 0.0,
        n_nonfinite,
        _total(sums),
        _total(positive_squares),
    )


def _total(sums: list[float]) -> float:
    # fsum refuses to add up numbers whose sum overflows.
    return math.fsum(sums) if max(map(abs, sums)) < 1e300 else math.inf


def overflow_message(name: str, dtype: str, largest: float) -> str:
    """Say which dtype holds a value of this magnitude."""
    return (
        f"view {name!r}: a value of magnitude {largest:.6g} does not fit {dtype}, whose largest "
        f"is {_LARGEST[dtype]}; store this view as {_ROOMIER[dtype]}"
    )


def _check_overflow(array: npt.NDArray[Any], name: str, dtype: str) -> None:
    if array.size == 0 or np.finfo(array.dtype).max < OVERFLOW[dtype]:
        return
    with np.errstate(invalid="ignore"):
        low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = array[np.isfinite(array)]
        if finite.size == 0:
            return
        low, high = finite.min(), finite.max()
    largest = max(-float(low), float(high))
    if largest >= OVERFLOW[dtype]:
        raise StoreError(overflow_message(name, dtype, largest))


def _to_steps(array: npt.NDArray[Any], name: str, scale: float) -> npt.NDArray[np.uint8]:
    values: npt.NDArray[Any] = array.astype(np.float32 if array.dtype == np.float32 else np.float64)
    np.divide(values, scale, out=values)
    steps = np.rint(values)
    with np.errstate(invalid="ignore"):
        # Written so that NaN counts as wrong.
        right = (np.abs(values - steps) <= _STEP_TOLERANCE) & (steps >= 0) & (steps <= 255)
    if not right.all():
        row, column = (int(index[0]) for index in np.nonzero(~right))
        raise StoreError(
            f"view {name!r}: value {float(array[row, column]):.9g} (row {row} of the block, "
            f"column {column}) is not k * {scale:.9g} with an integer k of 0 to 255, as dtype "
            "uint8 requires; store this view as float16 or float32, or set its scale"
        )
    result: npt.NDArray[np.uint8] = steps.astype(np.uint8)
    return result


def _to_bfloat16(array: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    with np.errstate(invalid="ignore", under="ignore"):
        bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    result = rounded.astype("<u2")
    # Adding the rounding term would carry a NaN's payload into its exponent.
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    if nan.any():
        result[nan] = ((bits[nan] >> 16) | 0x40).astype("<u2")
    return result


def _from_bfloat16(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    bits = stored.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def _statistics_of_patterns(
    pieces: Iterable[npt.NDArray[Any]], dtype: str, scale: float
) -> Statistics:
    patterns = DTYPES["uint8" if dtype == "uint8" else "bfloat16"]
    n_patterns = 1 << (8 * patterns.itemsize)
    counts = np.zeros(n_patterns, dtype=np.int64)
    for array in pieces:
        flat = np.ascontiguousarray(array).view(patterns).reshape(-1)
        for start in range(0, flat.size, _PIECE):
            counts += np.bincount(flat[start : start + _PIECE], minlength=n_patterns)
    (found,) = np.nonzero(counts)
    counts = counts[found]
    values = np.empty(found.size, dtype=np.float64)
    decode(found.astype(patterns).view(DTYPES[dtype]), dtype, scale, values)
    finite = np.isfinite(values)
    n_nonfinite = int(counts[~finite].sum())
    values, counts = values[finite], counts[finite]
    if values.size == 0:
        return Statistics(0.0, 0.0, 0.0, n_nonfinite, 0.0, 0.0)
    squares = values * values * counts
    return Statistics(
        math.fsum(squares.tolist()),
        float(values.min()) + 0.0,
        float(values.max()) + 0.0,
        n_nonfinite,
        math.fsum((values * counts).tolist()),
        math.fsum(squares[values > 0].tolist()),
    )
