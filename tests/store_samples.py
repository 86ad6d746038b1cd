"""Small activation stores for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.store import ActivationStore

N = 1100
VIEWS: dict[str, dict[str, Any]] = {
    "input.0": {"shape": (2, 2), "dtype": "uint8", "scale": 1 / 255},
    "layer3.1.conv2": {"shape": (3, 2, 1), "dtype": "float16"},
    "wide": {"shape": (5,), "dtype": "bfloat16"},
    "single": {"shape": (2,), "dtype": "float32"},
    "double": {"shape": (), "dtype": "float64"},
}


def make_data(n: int = N, seed: int = 0) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Blocks of values that their dtypes hold exactly, and columns."""
    rng = np.random.default_rng(seed)
    halves = rng.standard_normal((n, 3, 2, 1)).astype(np.float16)
    eighths = rng.integers(-128, 128, (n, 5)) / 8
    blocks = {
        "input.0": rng.integers(0, 256, (n, 2, 2)).astype(np.uint8),
        "layer3.1.conv2": halves.astype(np.float32),
        "wide": eighths,
        "single": rng.standard_normal((n, 2)).astype(np.float32),
        "double": rng.standard_normal(n),
    }
    columns = {
        "labels": rng.integers(0, 10, n),
        "ids": np.array([f"image-{i}" for i in range(n)]),
        "logits": rng.standard_normal((n, 3)).astype(np.float32),
    }
    return blocks, columns


def write(
    path: Path,
    cuts: Sequence[int] = (),
    views: Mapping[str, Mapping[str, Any]] = VIEWS,
    n: int = N,
    **options: Any,
) -> ActivationStore:
    """Write the data in batches that end at the cuts."""
    blocks, columns = make_data(n)
    with ActivationStore.create(path, views, rows_per_shard=512, **options) as writer:
        for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
            writer.append(
                {name: blocks[name][start:stop] for name in views},
                {name: values[start:stop] for name, values in columns.items()},
            )
    return ActivationStore(path)


def values_of(name: str, n: int = N) -> NDArray[np.float64]:
    values = make_data(n)[0][name].reshape(n, -1).astype(np.float64)
    return values / 255 if name == "input.0" else values


def content(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def one_view(path: Path, dtype: str, block: Any, **options: Any) -> ActivationStore:
    shape = np.asarray(block).shape[1:]
    with ActivationStore.create(path, {"a": {"shape": shape, "dtype": dtype, **options}}) as writer:
        writer.append({"a": block})
    return ActivationStore(path)
