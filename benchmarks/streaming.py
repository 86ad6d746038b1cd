"""How fast a store is fitted that does not fit into memory, and how much memory that takes.

    python benchmarks/streaming.py /big/disk --gigabytes 20 --max-memory 2GB

writes a store of that size and prints Markdown: the speed of ``cat`` and of an iteration on files
dropped from the page cache, in turn, of iterations on warm files and with as much mapped as memory
allows, and the peak resident memory of whole fits of n, 2n and 4n examples. To limit memory, run it
in a cgroup.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import cofactor as cf

COLUMNS = 4096
SHARD_ROWS = 8192


class Enough(Exception):
    """Ends a fit after the iterations that are timed."""


def write_store(path: Path, gigabytes: float) -> cf.ActivationStore:
    """Write activations of rank 40 with noise, the same shard again and again."""
    rng = np.random.default_rng(0)
    W = rng.gamma(0.3, size=(SHARD_ROWS, 40)).astype(np.float32)
    H = rng.gamma(0.3, size=(40, COLUMNS)).astype(np.float32)
    noise = 0.5 * rng.standard_normal((SHARD_ROWS, COLUMNS), dtype=np.float32)
    block = np.maximum(W @ H + noise - 1, 0).astype(np.float16)
    shards = max(4, round(gigabytes * 1e9 / block.nbytes))
    described = {"layer": {"shape": (COLUMNS,), "dtype": "float16"}}
    with cf.ActivationStore.create(path, described, rows_per_shard=SHARD_ROWS) as writer:
        for _ in range(shards):
            writer.append({"layer": block})
    return cf.ActivationStore(path)


def shards(store: cf.ActivationStore) -> list[Path]:
    return sorted((store.path / "layer").glob("*.npy"))


def drop_from_cache(store: cf.ActivationStore) -> None:
    for path in shards(store):
        descriptor = os.open(path, os.O_RDONLY)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def cat(store: cf.ActivationStore) -> float:
    """Seconds that it takes to read all files once."""
    begun = time.perf_counter()
    for path in shards(store):
        subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def iterations(store: cf.ActivationStore, max_memory: str | None, rank: int, n: int) -> list[float]:
    """Seconds of the first `n` iterations."""
    seconds: list[float] = []

    def callback(event: cf.nmf.FitEvent) -> None:
        seconds.append(event.seconds)
        if len(seconds) == n:
            raise Enough

    nmf = cf.CoupledNMF(
        rank, init="random", max_memory=max_memory, tol=0, random_state=0, callback=callback
    )
    with contextlib.suppress(Enough):
        nmf.fit(store)
    return seconds


def peak_of_fit(path: Path, rows: int, max_memory: str, rank: int) -> dict[str, float]:
    """Fit some of the rows in a process of its own, and return its peak resident memory."""
    program = (
        "import json, sys, tempfile, cofactor as cf\n"
        "path, rows, memory, rank = sys.argv[1], *map(eval, sys.argv[2:])\n"
        "store = cf.ActivationStore(path).select(rows=slice(0, rows))\n"
        "with tempfile.TemporaryDirectory(dir=path + '/..') as folder:\n"
        "    nmf = cf.CoupledNMF(rank, max_memory=memory, max_iter=2, tol=0, random_state=0)\n"
        "    nmf.fit(store, W_path=folder + '/W.npy')\n"
        "status = open('/proc/self/status').read()\n"
        "peak = int(status.split('VmHWM:')[1].split()[0]) * 1024\n"
        "print(json.dumps({'peak': peak, 'passes': nmf.n_passes_}))\n"
    )
    arguments = [sys.executable, "-c", program, str(path), str(rows), repr(max_memory), str(rank)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--max-memory", default="2GB")
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="streaming-", dir=options.directory))
    try:
        store = write_store(folder / "acts", options.gigabytes)
        size = store.nbytes / 1e9
        print(f"{len(store):,} examples, {size:.1f} GB, rank {options.rank}\n")
        print("| what | GB/s |\n|---|---|")
        plain, cold = [], []
        for _ in range(options.rounds):
            drop_from_cache(store)
            plain.append(cat(store))
            drop_from_cache(store)
            cold += iterations(store, options.max_memory, options.rank, 1)
        print(f"| `cat`, cold | {size / median(plain):.2f} |")
        print(f"| iteration, cold, {options.max_memory} | {size / median(cold):.2f} |")
        ratio = median(a / b for a, b in zip(plain, cold, strict=True))
        print(f"| iteration over `cat`, median of {options.rounds} rounds | {ratio:.2f} |")
        warm = min(iterations(store, options.max_memory, options.rank, 3)[1:])
        print(
            f"| iteration, what of it is in the cache, {options.max_memory} | {size / warm:.2f} |"
        )
        kept = min(iterations(store, None, options.rank, 3)[1:])
        print(f"| iteration, as much as possible kept | {size / kept:.2f} |")
        print("\n| examples | reads | peak resident memory, MB |\n|---|---|---|")
        for part in (4, 2, 1):
            found = peak_of_fit(store.path, len(store) // part, options.max_memory, options.rank)
            print(f"| {len(store) // part:,} | {found['passes']:.2f} | {found['peak'] / 1e6:.0f} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
