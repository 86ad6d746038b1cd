"""``metadata.json`` of an activation store: its fields and its atomic writing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import StoreError
from .encoding import DTYPES

__all__ = [
    "COLUMNS_DIRECTORY",
    "COLUMN_DTYPES",
    "FORMAT",
    "LOCK_FILE",
    "METADATA_FILE",
    "METADATA_TEMPORARY",
    "PANEL_ROWS",
    "RECORDS_DIRECTORY",
    "VERSION",
    "Column",
    "Metadata",
    "ShardGroup",
    "View",
    "check_name",
    "plain_json",
    "shard_file",
    "sync_directory",
    "write_metadata",
]

FORMAT = "cofactor activation store"
VERSION = 1
PANEL_ROWS = 512
METADATA_FILE = "metadata.json"
METADATA_TEMPORARY = ".metadata.json.tmp"
LOCK_FILE = ".writer.lock"
COLUMNS_DIRECTORY = "columns"
RECORDS_DIRECTORY = ".records"
COLUMN_DTYPES = (
    "str",
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
)

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_RESERVED = (COLUMNS_DIRECTORY, METADATA_FILE)


@dataclass(frozen=True, slots=True)
class View:
    """One matrix of a store: what its rows hold and the statistics of its values.

    `ActivationStore.views` describes values as they are read, that is, after `negative`.

    Attributes
    ----------
    name : str
        Name of the view, also of its directory.
    shape : tuple of int
        Shape of one example, such as (channels, height, width).
    dtype : {"uint8", "float16", "bfloat16", "float32", "float64"}
        Dtype of the numbers.
    scale : float
        A value is a number times this; 1.0 unless the dtype is uint8.
    negative : {"relu", "shift", "split"} or None
        What is done to negative values while the view is read.
    sum_of_squares, minimum, maximum : float or None
        Of the finite values, after scaling. None in a store narrowed to some of its rows; there
        :meth:`ActivationStore.statistics` computes them.
    n_nonfinite : int or None
        How many values are NaN or infinite; None as above.
    sum, positive_sum_of_squares : float or None
        Sum of the finite values, and sum of squares of those above 0; None as above, and in
        stores that do not say.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    sum_of_squares: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    n_nonfinite: int | None = None
    sum: float | None = None
    positive_sum_of_squares: float | None = None
    negative: str | None = None

    @property
    def n_columns(self) -> int:
        """Number of values of one example, the product of `shape`."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Stored bytes of one example."""
        return self.n_columns * DTYPES[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class Column:
    """A per-example column: a NumPy dtype name or "str", and the shape of one entry."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShardGroup:
    """Files that hold the same rows.

    `checksums` are by directory, such as "columns/labels"; `inputs` is the sha256 of what the
    rows were computed from, where the writer was told.
    """

    rows: int
    checksums: Mapping[str, str]
    inputs: str | None = None


@dataclass(slots=True)
class Metadata:
    """Contents of ``metadata.json``."""

    views: dict[str, View]
    attributes: dict[str, Any]
    source: dict[str, str] = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    shards: list[ShardGroup] = field(default_factory=list)
    complete: bool = False

    @property
    def n_examples(self) -> int:
        """Number of rows written."""
        return sum(group.rows for group in self.shards)

    @property
    def source_fingerprint(self) -> str | None:
        """The sha256 of `source`, None if nothing is said of it."""
        return _sha256_of_json(self.source) if self.source else None

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as a JSON object."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "complete": self.complete,
            "n_examples": self.n_examples,
            "source": self.source,
            "attributes": self.attributes,
            "views": [
                {
                    "name": view.name,
                    "shape": list(view.shape),
                    "dtype": view.dtype,
                    "scale": view.scale,
                    "negative": view.negative,
                    "sum_of_squares": view.sum_of_squares,
                    "minimum": view.minimum,
                    "maximum": view.maximum,
                    "n_nonfinite": view.n_nonfinite,
                    "sum": view.sum,
                    "positive_sum_of_squares": view.positive_sum_of_squares,
                }
                for view in self.views.values()
            ],
            "columns": [
                {"name": column.name, "dtype": column.dtype, "shape": list(column.shape)}
                for column in self.columns.values()
            ],
            "shards": [
                {"rows": group.rows, "inputs": group.inputs, "sha256": dict(group.checksums)}
                for group in self.shards
            ],
        }

    def fingerprint(self) -> str:
        """Return the sha256 of the metadata in canonical form, in hexadecimal."""
        return _sha256_of_json(self.to_json())


def check_name(name: object, what: str) -> str:
    """Return a name that is safe as the name of a directory, or raise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        raise StoreError(
            f"{what} name {name!r} cannot name a directory of the store; expected 1 to 200 of the "
            f"characters A-Z a-z 0-9 _ . -, no leading dot, and none of {', '.join(_RESERVED)}"
        )
    return name


def shard_file(root: Path, directory: str, index: int) -> Path:
    """Return the path of a shard."""
    return root / directory / f"{index:05d}.npy"


def plain_json(value: Any, where: str) -> Any:
    """Return a value as JSON has it, with NumPy scalars and arrays as numbers and lists.

    Raises
    ------
    StoreError
        If the value has no exact JSON form: an object, a key that is no string, NaN.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [plain_json(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise StoreError(
                    f"{where}: key {key!r} is of type {type(key).__name__}; JSON objects have "
                    "string keys only, use a list or convert the keys"
                )
        return {key: plain_json(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    raise StoreError(
        f"{where}: {value!r} of type {type(value).__name__} has no JSON form; use None, bool, "
        "int, finite float, str, list, dict or NumPy arrays of these"
    )


def write_metadata(root: Path, metadata: Metadata) -> None:
    """Replace ``metadata.json`` by a complete and synced new one."""
    temporary = root / METADATA_TEMPORARY
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(metadata.to_json(), file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(root / METADATA_FILE)
    sync_directory(root)


def _sha256_of_json(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
