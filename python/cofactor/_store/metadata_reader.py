"""Reading of ``metadata.json``: every field is checked before anything uses it."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from .._errors import StoreError
from .encoding import DTYPES, LARGEST_SCALE
from .metadata import (
    COLUMN_DTYPES,
    COLUMNS_DIRECTORY,
    FORMAT,
    METADATA_FILE,
    PANEL_ROWS,
    VERSION,
    Column,
    Metadata,
    ShardGroup,
    View,
    check_name,
)
from .negative import NEGATIVE
from .regular import check_inside, open_regular

__all__ = ["read_metadata"]

_MAX_METADATA_BYTES = 64 << 20
# A value in memory takes up to some hundred bytes, a comma one byte of the file.
_MAX_VALUES = 4_000_000
_MAX_DIMENSIONS = 16
_MAX_DEPTH = 32
_SHA256 = re.compile(r"[0-9a-f]{64}")


_short = reprlib.Repr()
_short.maxstring = _short.maxlong = _short.maxother = 80


def read_metadata(root: Path) -> Metadata:
    """Read and check ``metadata.json``.

    Raises
    ------
    StoreError
        If there is no store, or the first field that is not as the format has it.
    """
    path = root / METADATA_FILE
    try:
        with open_regular(path) as file:
            check_inside(path, root.resolve())
            content = _read_all(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{root}: no activation store here ({METADATA_FILE} is missing); expected a directory "
            "that cofactor.capture or ActivationStore.create has written"
        ) from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _MAX_METADATA_BYTES:
        raise StoreError(f"{path}: has more than {_MAX_METADATA_BYTES} bytes, expected fewer")
    if sum(map(content.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise StoreError(f"{path}: has more than {_MAX_VALUES} values, expected fewer")

    def not_json(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        document = json.loads(
            content.decode(), parse_constant=not_json, object_pairs_hook=_object_of_pairs
        )
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{path}: is not valid JSON ({error}); restore it or write the store again"
        ) from error
    return _Reader(path).metadata(document)


def _read_all(file: BinaryIO) -> bytes:
    # An unbuffered read may return less than is there.
    parts: list[bytes] = []
    left = _MAX_METADATA_BYTES + 1
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the key {name[:80]!r} occurs twice in one object")
        result[name] = value
    return result


class _Reader:
    """Checks of one document; every failure names the file, the field and what it should be."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _fail(self, where: str, found: object, expected: str) -> NoReturn:
        text = _short.repr(found)
        raise StoreError(f"{self._path}: {where} is {text}, expected {expected}")

    def _get(self, record: object, key: str, where: str) -> Any:
        if not isinstance(record, dict):
            self._fail(where or "the document", record, "an object")
        if key not in record:
            raise StoreError(f"{self._path}: {(where + '.' + key).lstrip('.')} is missing")
        return record[key]

    def _optional(self, record: object, key: str) -> Any:
        return record.get(key) if isinstance(record, dict) else None

    def _list(self, value: object, where: str) -> list[Any]:
        if not isinstance(value, list):
            self._fail(where, value, "a list")
        return value

    def _integer(self, value: object, where: str, low: int, high: int = 2**62) -> int:
        if type(value) is not int or not low <= value <= high:
            self._fail(where, value, f"an integer from {low} to {high}")
        return value

    def _number(self, value: object, where: str) -> float:
        # An integer of a thousand digits is JSON too, and no float.
        if type(value) not in (int, float) or not abs(value) <= 1.7976931348623157e308:  # type: ignore[arg-type]
            self._fail(where, value, "a finite number")
        return float(value)  # type: ignore[arg-type]

    def _shape(self, value: object, where: str) -> tuple[int, ...]:
        lengths = self._list(value, where)
        if len(lengths) > _MAX_DIMENSIONS:
            self._fail(where, value, f"at most {_MAX_DIMENSIONS} lengths")
        shape = tuple(self._integer(n, f"{where}[{i}]", 1) for i, n in enumerate(lengths))
        if math.prod(shape) >= 2**62:
            self._fail(where, value, "lengths whose product is below 2**62")
        return shape

    def _name(self, value: object, where: str, taken: Mapping[str, object]) -> str:
        try:
            name = check_name(value, where)
        except StoreError as error:
            raise StoreError(f"{self._path}: {error}") from None
        if name in taken:
            self._fail(where, name, "a name that occurs once")
        return name

    def metadata(self, document: object) -> Metadata:
        kind = self._get(document, "format", "")
        if kind != FORMAT:
            self._fail("format", kind, repr(FORMAT))
        version = self._integer(self._get(document, "version", ""), "version", 1)
        if version > VERSION:
            raise StoreError(
                f"{self._path}: format version is {version}, this cofactor reads up to {VERSION}; "
                "upgrade cofactor"
            )
        complete = self._get(document, "complete", "")
        if type(complete) is not bool:
            self._fail("complete", complete, "true or false")
        source = self._optional(document, "source") or {}
        if not isinstance(source, dict) or not all(isinstance(v, str) for v in source.values()):
            self._fail("source", source, "an object of strings")
        attributes = self._get(document, "attributes", "")
        if not isinstance(attributes, dict):
            self._fail("attributes", attributes, "an object")
        self._check_json(source, "source", 0)
        self._check_json(attributes, "attributes", 0)
        columns = self._columns(self._get(document, "columns", ""))
        n_examples = self._integer(self._get(document, "n_examples", ""), "n_examples", 0)
        views: dict[str, View] = {}
        for i, record in enumerate(self._list(self._get(document, "views", ""), "views")):
            view = self._view(record, f"views[{i}]", views, n_examples)
            views[view.name] = view
        if not views:
            self._fail("views", [], "at least one view")
        shards = self._shards(self._get(document, "shards", ""), views, columns)
        result = Metadata(views, attributes, source, columns, shards, complete)
        if result.n_examples != n_examples:
            self._fail("n_examples", n_examples, f"{result.n_examples}, the rows of the shards")
        if complete and not shards:
            self._fail("shards", [], "at least one in a complete store")
        return result

    def _check_json(self, value: object, where: str, depth: int) -> None:
        """Check that what nobody looks into can be printed and written again."""
        if depth > _MAX_DEPTH:
            raise StoreError(f"{self._path}: {where} is more than {_MAX_DEPTH} levels deep")
        if isinstance(value, dict):
            for key, entry in value.items():
                self._check_json(key, where, depth + 1)
                self._check_json(entry, where, depth + 1)
        elif isinstance(value, list):
            for entry in value:
                self._check_json(entry, where, depth + 1)
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                self._fail(where, value, "text without lone surrogates")
        elif isinstance(value, float) and not math.isfinite(value):
            self._fail(where, value, "finite numbers")

    def _view(self, record: object, where: str, taken: Mapping[str, View], n_examples: int) -> View:
        name = self._name(self._get(record, "name", where), f"{where}.name", taken)
        shape = self._shape(self._get(record, "shape", where), f"{where}.shape")
        dtype = self._get(record, "dtype", where)
        if not isinstance(dtype, str) or dtype not in DTYPES:
            self._fail(f"{where}.dtype", dtype, f"one of {', '.join(DTYPES)}")
        scale = self._number(self._get(record, "scale", where), f"{where}.scale")
        if not 0 < scale <= LARGEST_SCALE or (dtype != "uint8" and scale != 1.0):
            self._fail(f"{where}.scale", scale, "a positive number, 1.0 unless dtype is uint8")
        negative = self._optional(record, "negative")
        if negative not in (None, *NEGATIVE) or (negative is not None and dtype == "uint8"):
            self._fail(
                f"{where}.negative", negative, f"null, or with floats one of {', '.join(NEGATIVE)}"
            )
        squares = self._number(
            self._get(record, "sum_of_squares", where), f"{where}.sum_of_squares"
        )
        minimum = self._number(self._get(record, "minimum", where), f"{where}.minimum")
        maximum = self._number(self._get(record, "maximum", where), f"{where}.maximum")
        nonfinite = self._get(record, "n_nonfinite", where)
        n_nonfinite = self._integer(
            nonfinite, f"{where}.n_nonfinite", 0, n_examples * math.prod(shape)
        )
        if squares < 0:
            self._fail(f"{where}.sum_of_squares", squares, "zero or more")
        if minimum > maximum:
            self._fail(f"{where}.minimum", minimum, f"at most maximum {maximum}")
        total, positive = (
            None if value is None else self._number(value, f"{where}.{key}")
            for key in ("sum", "positive_sum_of_squares")
            for value in [self._optional(record, key)]
        )
        # Both are rounded, each in its own way.
        if positive is not None and not 0 <= positive <= squares * (1 + 1e-9):
            self._fail(f"{where}.positive_sum_of_squares", positive, f"0 to {squares}")
        return View(
            name,
            shape,
            dtype,
            scale,
            squares,
            minimum,
            maximum,
            n_nonfinite,
            total,
            positive,
            negative,
        )

    def _columns(self, value: object) -> dict[str, Column]:
        columns: dict[str, Column] = {}
        for i, record in enumerate(self._list(value, "columns")):
            where = f"columns[{i}]"
            name = self._name(self._get(record, "name", where), f"{where}.name", columns)
            dtype = self._get(record, "dtype", where)
            if not isinstance(dtype, str) or dtype not in COLUMN_DTYPES:
                self._fail(f"{where}.dtype", dtype, f"one of {', '.join(COLUMN_DTYPES)}")
            shape = self._shape(self._get(record, "shape", where), f"{where}.shape")
            columns[name] = Column(name, dtype, shape)
        return columns

    def _shards(
        self, value: object, views: Mapping[str, View], columns: Mapping[str, Column]
    ) -> list[ShardGroup]:
        directories = [*views, *(f"{COLUMNS_DIRECTORY}/{name}" for name in columns)]
        records = self._list(value, "shards")
        shards: list[ShardGroup] = []
        for i, record in enumerate(records):
            where = f"shards[{i}]"
            rows = self._integer(self._get(record, "rows", where), f"{where}.rows", 1)
            if rows % PANEL_ROWS and i + 1 < len(records):
                self._fail(f"{where}.rows", rows, f"a multiple of {PANEL_ROWS} before the last")
            found = self._get(record, "sha256", where)
            checksums: dict[str, str] = {}
            for directory in directories:
                checksum = self._get(found, directory, f"{where}.sha256")
                if not isinstance(checksum, str) or not _SHA256.fullmatch(checksum):
                    self._fail(f"{where}.sha256[{directory!r}]", checksum, "64 hexadecimal digits")
                checksums[directory] = checksum
            if len(found) != len(checksums):
                self._fail(f"{where}.sha256", sorted(found), "one entry per view and column")
            inputs = self._optional(record, "inputs")
            if inputs is not None and not (isinstance(inputs, str) and _SHA256.fullmatch(inputs)):
                self._fail(f"{where}.inputs", inputs, "64 hexadecimal digits or null")
            shards.append(ShardGroup(rows, checksums, inputs))
        return shards
