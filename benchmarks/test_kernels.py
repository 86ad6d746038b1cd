"""Time of an iteration by instruction set, dtype and rank, against the two floors.

    python -m pytest benchmarks/test_kernels.py

An iteration is a pass over the data with both products and both non-negative solves. The floors
are measured in the same run: 4 n d k operations over the peak of the level, and the stored bytes
over the bandwidth. `-k "avx512 and float16"` picks some.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cofactor as cf
from cofactor import _core
from cofactor._views import Views, load_views
from cofactor.bench import Machine, measure_machine, synthetic_views

N_EXAMPLES, N_COLUMNS = 2048, 8192
RANKS = (8, 20, 50, 128, 256)
# Bytes of a number by dtype; pixels are uint8 in any case.
DTYPES = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
# Plain kernels take seconds where the others take a hundredth.
ROUNDS = {"scalar": 2}
HEADER = (
    "| stored | computed | k | ms | GFLOP/s | operations, ms | bytes, ms | of the floor |",
    "|---|---|---|---|---|---|---|---|",
)


@cache
def machine(level: str) -> Machine:
    """Measured under the level that the environment names, hence once for each."""
    found = measure_machine()
    assert found.level == level
    return found


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The data by dtype; NumPy has no bfloat16, but a store has."""
    by_dtype: dict[str, Any] = {
        dtype: synthetic_views(N_EXAMPLES, N_COLUMNS, dtype=dtype)
        for dtype in DTYPES
        if dtype != "bfloat16"
    }
    by_dtype["bfloat16"] = bfloat16_store(tmp_path_factory.mktemp("kernels") / "acts")
    return by_dtype


def bfloat16_store(path: Path) -> cf.ActivationStore:
    arrays = synthetic_views(N_EXAMPLES, N_COLUMNS, dtype="float32")
    declared = {
        name: {"shape": array.shape[1:], "dtype": "uint8" if name == "pixels" else "bfloat16"}
        for name, array in arrays.items()
    }
    with cf.ActivationStore.create(path, declared) as writer:
        writer.append(arrays)
    return cf.ActivationStore(path)


def make_engine(data: Views, rank: int) -> _core.Engine:
    """What the estimator makes, so that single iterations can be timed."""
    nmf = cf.CoupledNMF(rank)
    nmf.weights_ = dict.fromkeys(data.names, 1.0)
    nmf._n_examples, nmf._n_columns = data.n_examples, data.n_columns
    engine = nmf._engine(data, [rank])
    rng = np.random.default_rng(0)
    for v, name in enumerate(data.names):
        engine.set_h(v, 0.1 * np.abs(rng.standard_normal((rank, data.n_columns[name]))))
    return engine


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", reversed(_core.simd_levels()))
def test_iteration(
    benchmark: Any,
    tables: dict[str, list[str]],
    views: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    dtype: str,
    rank: int,
    compute: str,
) -> None:
    monkeypatch.setenv("COFACTOR_SIMD", level)
    data = load_views(views[dtype], caller="benchmark").with_statistics(None)
    engine = make_engine(data, rank)

    def iterate() -> None:
        engine.fit(
            data.sums_of_squares,
            max_iterations=1,
            tolerance=0.0,
            extrapolate=False,
            compute="full" if compute == "float32" else compute,
            verify=False,
            progress=None,
        )

    benchmark.pedantic(iterate, rounds=ROUNDS.get(level, 5), warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    operations = 4.0 * N_EXAMPLES * N_COLUMNS * rank
    stored = N_EXAMPLES * sum(
        columns * (1 if name == "pixels" else DTYPES[dtype])
        for name, columns in data.n_columns.items()
    )
    floor = machine(level).floor(operations, stored, compute)
    benchmark.extra_info.update(
        gflops=operations / seconds / 1e9,
        floor_operations=floor.operations,
        floor_memory=floor.memory,
        share_of_floor=floor.seconds / seconds,
    )
    tables.setdefault(title(machine(level)), list(HEADER)).append(
        f"| {dtype} | {compute} | {rank} | {1e3 * seconds:.1f} | {operations / seconds / 1e9:.0f} "
        f"| {1e3 * floor.operations:.1f} | {1e3 * floor.memory:.1f} "
        f"| {floor.seconds / seconds:.0%} |"
    )


def title(limits: Machine) -> str:
    return (
        f"{N_EXAMPLES:,} x {N_COLUMNS:,}, {limits.threads} threads, {limits.level}: at most "
        f"{limits.peaks['float32'] / 1e9:.0f} GFLOP/s and {limits.bandwidth / 1e9:.0f} GB/s"
    )
