"""Stores with bytes changed at random, or changed by somebody who knows the format."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cofactor.store import ActivationStore

VIEWS = {
    "a": {"shape": (2, 2), "dtype": "float16"},
    "b": {"shape": (3,), "dtype": "uint8", "scale": 0.5},
    "c": {"shape": (2,), "dtype": "float32", "negative": "shift"},
}

ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    511,
    512,
    513,
    600,
    2**31,
    2**32 + 1,
    2**53,
    2**61,
    2**62,
    2**63,
    2**64,
    10**100,
    0.0,
    -0.0,
    1e-320,
    0.5,
    1e36,
    1e38,
    1.7e308,
    -1e308,
    "",
    "a",
    "b",
    "columns",
    "columns/ids",
    "../a",
    "/etc/passwd",
    "a/../../b",
    "\x00",
    "\ud800",
    "é" * 300,
    "float16",
    "bfloat16",
    "float64",
    "uint8",
    "object",
    "str",
    "bool",
    "int64",
    "relu",
    "shift",
    "split",
    "0" * 64,
    "f" * 64,
    [],
    [1],
    [1] * 20,
    [2**40, 2**40],
    {},
    {"a": "0" * 64},
    {"deep": [[[[[[[[[]]]]]]]]]},
]

DESCRIPTIONS = [
    "'<f2'",
    "'>f2'",
    "'|u1'",
    "'<f4'",
    "'<f8'",
    "'<u2'",
    "'|b1'",
    "'|O'",
    "'<U0'",
    "'<U2'",
    "'>U2'",
    "'<U9999999'",
    "'<i8'",
    "'|V2'",
    "'|S4'",
    "'<c16'",
    "'<M8[s]'",
    "[('x', '<f2')]",
    "('<f2', (2,))",
    "'2<f2'",
    "'" + "f" * 500 + "'",
    "1",
    "(" * 200,
]
SHAPES = [
    "()",
    "(512,)",
    "(512, 4)",
    "(88, 4)",
    "(512, 3)",
    "(512, 2)",
    "(512, 0)",
    "(0, 4)",
    "(-512, 4)",
    "(512, -4)",
    "(512L, 4)",
    "(True, 4)",
    "(512.0, 4)",
    "(2**62, 4)",
    "(9223372036854775807, 9223372036854775807)",
    "(" + "9" * 3000 + ",)",
    "512",
    "'x'",
]
ORDERS = ["False", "True", "0", "None"]
PAYLOADS = ["kept", "empty", "cut", "longer", "nan", "infinite", "ones", "not text"]


def write(path: Path) -> dict[str, bytes]:
    """Write a small store and return its files by name."""
    rng = np.random.default_rng(0)
    with ActivationStore.create(path, VIEWS, rows_per_shard=512, attributes={"n": [1]}) as writer:
        writer.append(
            {
                "a": rng.random((600, 4)),
                "b": rng.integers(0, 256, (600, 3)).astype(np.uint8),
                "c": rng.standard_normal((600, 2)).astype(np.float32),
            },
            {"labels": np.arange(600), "ids": np.array(["x", "yz"] * 300)},
            np.zeros((600, 16), np.uint8),
        )
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


class Changes(dict[str, bytes | None]):
    """New contents by name of file, None for one that is removed; printed without payloads."""

    def __repr__(self) -> str:
        return repr(
            {name: new and new[: None if "json" in name else 160] for name, new in self.items()}
        )


@st.composite
def random_bytes(draw: st.DrawFn, files: dict[str, bytes]) -> Changes:
    """Change bytes of one or two files, wherever they are."""
    changed = Changes()
    for name in draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2, unique=True)):
        content = bytearray(files[name])
        how = draw(st.sampled_from(["set", "set", "set", "insert", "delete", "cut", "remove"]))
        if how == "remove":
            changed[name] = None
            continue
        # Headers are at the beginning, and more often worth it.
        last = draw(st.sampled_from([16, 160, len(content)]))
        for _ in range(draw(st.integers(1, 6))):
            where = draw(st.integers(0, min(last, max(len(content) - 1, 0))))
            if how == "set":
                content[where : where + 1] = draw(st.binary(min_size=1, max_size=4))
            elif how == "insert":
                content[where:where] = draw(st.binary(min_size=1, max_size=64))
            elif how == "delete":
                del content[where : where + draw(st.integers(1, 64))]
            else:
                del content[where:]
        changed[name] = bytes(content)
    return changed


@st.composite
def knowing(draw: st.DrawFn, files: dict[str, bytes]) -> Changes:
    """Change fields of the metadata and of headers, and compute the checksums again."""
    changed = Changes()
    shards = sorted(name for name in files if name.endswith(".npy"))
    document = json.loads(files["metadata.json"])
    n_files = draw(st.integers(0, 2))
    for name in draw(st.lists(st.sampled_from(shards), max_size=n_files, unique=True)):
        changed[name] = _shard(draw, files[name])
    for _ in range(draw(st.integers(0 if changed else 1, 3))):
        document = _document(draw, document)
    for name, content in changed.items():
        assert content is not None
        _set_checksum(document, name, content)
    text = json.dumps(document)
    if draw(st.integers(0, 19)) == 0:
        text = text.replace("{", '{"rows": 512, "rows": 88, ', draw(st.integers(1, 3)))
    changed["metadata.json"] = text.encode()
    return changed


def _shard(draw: st.DrawFn, content: bytes) -> bytes:
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, order, dtype = np.lib.format.read_array_header_1_0(stream)
    payload = bytearray(content[stream.tell() :])
    fields = {"descr": repr(dtype.str), "fortran_order": str(order), "shape": str(shape)}
    for field, values in draw(
        st.lists(
            st.sampled_from(
                [("descr", DESCRIPTIONS), ("shape", SHAPES), ("fortran_order", ORDERS)]
            ),
            max_size=2,
        )
    ):
        fields[field] = draw(st.sampled_from(values))
    what = draw(st.sampled_from(PAYLOADS))
    if what == "empty":
        payload.clear()
    elif what == "cut":
        del payload[draw(st.integers(0, len(payload))) :]
    elif what == "longer":
        payload += bytes(draw(st.integers(1, 5000)))
    elif what == "nan":
        payload[:8] = b"\xff" * 8
    elif what == "infinite":
        payload[:8] = b"\x00\x7c\x00\xfc\x00\x00\x80\x7f"
    elif what == "ones":
        payload[:] = b"\xff" * len(payload)
    elif what == "not text":
        payload[:4] = draw(st.sampled_from([b"\x00\xd8\x00\x00", b"\xff\xff\xff\x7f"]))
    text = "{" + ", ".join(f"'{key}': {value}" for key, value in fields.items()) + ", }"
    version = draw(st.sampled_from([1, 1, 1, 2, 3]))
    start = b"\x93NUMPY" + bytes([version, 0])
    length = len(start) + (2 if version == 1 else 4) + len(text) + 1
    padding = draw(st.sampled_from([-length % 128, -length % 64, 0, 1]))
    header = text.encode() + b" " * padding + b"\n"
    said = len(header) if draw(st.integers(0, 9)) else draw(st.sampled_from([0, 1, 65535]))
    return start + said.to_bytes(2 if version == 1 else 4, "little") + header + bytes(payload)


def _document(draw: st.DrawFn, document: Any) -> Any:
    document = copy.deepcopy(document)
    places = list(_places(document))
    holder, key = draw(st.sampled_from(places))
    how = draw(st.sampled_from(["set", "set", "set", "near", "remove", "twice", "swap"]))
    value = holder[key]
    if how == "remove":
        del holder[key]
    elif how == "twice" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(value))
    elif how == "twice":
        holder[draw(st.sampled_from(["a", "x", "columns/labels", "rows"]))] = copy.deepcopy(value)
    elif how == "swap":
        other, place = draw(st.sampled_from(places))
        holder[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(value)
    elif how == "near" and type(value) in (int, float):
        holder[key] = value + draw(st.sampled_from([1, -1, 512, -512, 0.5]))
    else:
        holder[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
    return document


def _places(value: Any) -> Any:
    """Yield every place of a document, as its holder and the key or index in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def _set_checksum(document: Any, name: str, content: bytes) -> None:
    directory, _, file = name.rpartition("/")
    try:
        checksums = document["shards"][int(file.removesuffix(".npy"))]["sha256"]
        checksums[directory] = hashlib.sha256(content).hexdigest()
    except (KeyError, IndexError, TypeError):
        pass  # the document has no such place any more
