"""What an iteration costs one process, and what a message between processes costs.

    python benchmarks/messages.py --columns 8192 --rank 20 --threads 2
    python benchmarks/messages.py --store acts/ --rank 20 --threads 2
    torchrun --nproc-per-node 2 benchmarks/messages.py

The first two measure the arithmetic of an example and what every process does in whole (iterations
over a quarter, a half and all of the examples, from memory, by least squares), and the speed at
which cold files are read, on made-up data or on a store. The third, started on every host as the
fit would be, measures an all-reduce at several sizes, through the same call as a fit, and prints
latency and bandwidth of a step, by least squares. All print the parameters of the model of
docs/scale.md as lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
from scale_model import Link, Process, fit_line, fit_link, message_seconds

import cofactor as cf
from cofactor import distributed

SIZES = [1 << size for size in (10, 14, 17, 20, 22)]


class Enough(Exception):
    """Ends a fit after the iterations that are timed."""


def iteration_times(
    store: cf.ActivationStore, rank: int, threads: int | None, n: int
) -> list[float]:
    """Seconds of iterations from the second on, of plain ALS; the first finds the disk cold."""
    seconds: list[float] = []

    def callback(event: cf.FitEvent) -> None:
        seconds.append(event.seconds)

    cf.CoupledNMF(
        rank,
        init="random",
        acceleration=None,
        tol=0,
        max_iter=n + 1,
        random_state=0,
        n_threads=threads,
        callback=callback,
    ).fit(store)
    return seconds[1:]


def write_store(path: Path, columns: int, examples: int) -> cf.ActivationStore:
    """Write activations of rank 40 with noise, in one view of float16."""
    rng = np.random.default_rng(0)
    H = rng.gamma(0.3, size=(40, columns)).astype(np.float32)
    described = {"layer": {"shape": (columns,), "dtype": "float16"}}
    with cf.ActivationStore.create(path, described) as writer:
        for first in range(0, examples, 512):
            rows = min(512, examples - first)
            W = rng.gamma(0.3, size=(rows, 40)).astype(np.float32)
            writer.append({"layer": W @ H + rng.random((rows, columns), dtype=np.float32)})
    return cf.ActivationStore(path)


def read_speed(store: cf.ActivationStore) -> float:
    """Bytes per second of files that are not in the page cache, read from end to end."""
    files = [file for view in store.views for file in (store.path / view).glob("*.npy")]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    buffer = bytearray(8 << 20)
    begun = time.perf_counter()
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass
    return sum(file.stat().st_size for file in files) / (time.perf_counter() - begun)


def measure_process(
    store: cf.ActivationStore, rank: int, threads: int | None, n: int, rounds: int
) -> Process:
    """Measure what an iteration costs this process, alone."""
    speed = read_speed(store)
    rows = [len(store) // 4, len(store) // 2, len(store)]
    times: dict[int, list[float]] = {count: [] for count in rows}
    for _ in range(rounds):
        for count in rows:
            part = store.select(rows=slice(0, count))
            times[count] += iteration_times(part, rank, threads, n)
    slope, fixed = fit_line(rows, [median(times[count]) for count in rows])
    return Process(slope, fixed, sum(view.nbytes for view in store.views.values()), speed)


def time_messages(sizes: Iterable[int], turns: int, pause: float) -> dict[int, float]:
    """Median seconds of an all-reduce of so many bytes; every process calls it.

    Between two messages all are silent for as long as a fit computes: TCP begins slowly again after
    silence.
    """
    ranks = distributed.processes()
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    with ranks.call("messages"):
        for turn in range(turns + 1):
            for size, times in seconds.items():
                sums = np.ones(size // 8)
                time.sleep(pause)
                ranks.barrier()
                time.sleep(pause)
                begun = time.perf_counter()
                ranks.all_reduce(sums)
                # The first turn opens connections.
                if turn:
                    times.append(time.perf_counter() - begun)
    return {size: median(times) for size, times in seconds.items()}


def measure_link(sizes: Iterable[int], turns: int, pause: float) -> tuple[Link, dict[int, float]]:
    """Measure what a step of a message costs; every process calls it."""
    found = time_messages(sizes, turns, pause)
    return fit_link(list(found), list(found.values()), distributed.size()), found


def leave() -> None:
    """End the process group, on all ranks at a time."""
    import torch.distributed as dist

    distributed.barrier()
    dist.destroy_process_group()


def show_link(options: argparse.Namespace) -> None:
    link, found = measure_link(options.sizes, options.turns, options.pause)
    if distributed.rank():
        return
    print("| bytes | median seconds | by the fitted line |\n|---|---|---|")
    for size, seconds in found.items():
        fitted = message_seconds(size, distributed.size(), link)
        print(f"| {size:,} | {seconds:.6f} | {fitted:.6f} |")
    print(json.dumps({"processes": distributed.size(), "link": asdict(link)}))


def show_process(store: cf.ActivationStore, k: int, options: argparse.Namespace) -> None:
    process = measure_process(store, k, options.threads, options.iterations, options.rounds)
    columns = sum(view.n_columns for view in store.views.values())
    described = {"k": k, "columns": columns, "threads": options.threads}
    print(json.dumps(described | {"process": asdict(process)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--columns", type=int, nargs="+", default=[])
    parser.add_argument("--examples", type=int, nargs="+", default=[8192])
    parser.add_argument("--rank", type=int, nargs="+", default=[20])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--pause", type=float, default=0.1)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="BYTES")
    options = parser.parse_args()
    if distributed.init_process_group():
        show_link(options)
        leave()
        return
    if options.store is not None:
        for k in options.rank:
            show_process(cf.ActivationStore(options.store), k, options)
    for columns, examples, k in zip(
        options.columns, cycle(options.examples), cycle(options.rank), strict=False
    ):
        with tempfile.TemporaryDirectory(prefix="messages-") as folder:
            show_process(write_store(Path(folder, "acts"), columns, examples), k, options)


if __name__ == "__main__":
    main()
