"""The model of docs/scale.md: seconds of an iteration on P processes, from measured costs.

    python benchmarks/messages.py --columns 3840 100352 1792 --rank 100 100 256 > costs.jsonl
    python benchmarks/scale_model.py costs.jsonl --latency 50e-6 --bandwidth 1.1e9

prints what it says of sets of the sizes of ImageNet and LAION. Its parameters are those of one
process (:class:`Process`) and of a step of a message (:class:`Link`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = [
    "Link",
    "Process",
    "fit_line",
    "fit_link",
    "iteration_seconds",
    "message_bytes",
    "message_seconds",
]

BYTES = 8  # sums cross processes in float64
RANKS = (1, 8, 64, 1024)


@dataclass(frozen=True)
class Set:
    """A set of data: float16, one view."""

    name: str
    n_examples: int
    n_columns: int
    n_components: int


SETS = (
    Set("ImageNet, pooled layers 1 to 4 of a ResNet-50", 1_281_167, 3_840, 100),
    Set("ImageNet, maps of its layer 4", 1_281_167, 100_352, 100),
    Set("LAION-400M, embedding and last block of a ViT-L/14", 400_000_000, 1_792, 256),
    Set("LAION-2B, the same", 2_000_000_000, 1_792, 256),
)


@dataclass(frozen=True)
class Process:
    """What an iteration costs one process.

    An example costs what is longer, its arithmetic or its read: the next block is read meanwhile.
    """

    seconds_per_example: float
    """Both products and the solve of W, of one example."""
    fixed_seconds: float
    """The Gram matrices and the solve of H, which every process does in whole."""
    bytes_per_example: int = 0
    read_bytes_per_second: float = float("inf")

    def seconds(self, n_examples: float) -> float:
        """Return the seconds of an iteration over so many examples, without messages."""
        read = self.bytes_per_example / self.read_bytes_per_second
        return n_examples * max(self.seconds_per_example, read) + self.fixed_seconds


@dataclass(frozen=True)
class Link:
    """What a step of a message costs: its latency, and the bytes that it carries."""

    latency: float
    bytes_per_second: float


def message_bytes(n_components: int, n_columns: int, n_scalars: int) -> int:
    """Return the bytes of the one message of an iteration: C, all S_v and scalars."""
    return BYTES * (n_components**2 + n_components * n_columns + n_scalars)


def message_seconds(n_bytes: float, n_processes: int, link: Link) -> float:
    """Return the seconds of an all-reduce by a ring: 2 (P - 1) steps of 1 / P of the bytes."""
    steps = 2 * (n_processes - 1)
    return steps * (link.latency + n_bytes / n_processes / link.bytes_per_second)


def iteration_seconds(
    n_examples: float, n_processes: int, n_bytes: float, process: Process, link: Link
) -> float:
    """Return the seconds of an iteration: the slowest part, then the message."""
    part = -(-n_examples // n_processes)
    return process.seconds(part) + message_seconds(n_bytes, n_processes, link)


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return slope and intercept by least squares of the relative errors, neither below 0."""
    ys = np.asarray(y, float)
    design = np.column_stack([np.asarray(x, float), np.ones(len(ys))]) / ys[:, None]
    scale = np.abs(design).max(axis=0)
    (slope, intercept), *_ = np.linalg.lstsq(design / scale, np.ones(len(ys)), rcond=None)
    slope, intercept = slope / scale[0], intercept / scale[1]
    if intercept < 0:
        # The best line through 0.
        slope, intercept = design[:, 0].sum() / (design[:, 0] ** 2).sum(), 0.0
    return float(slope), float(intercept)


def fit_link(n_bytes: Sequence[float], seconds: Sequence[float], n_processes: int) -> Link:
    """Return the link whose messages take these times best."""
    slope, intercept = fit_line(n_bytes, seconds)
    steps = 2 * (n_processes - 1)
    return Link(intercept / steps, steps / n_processes / slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("costs", type=Path)
    parser.add_argument("--latency", type=float, required=True, help="Seconds of a step.")
    parser.add_argument("--bandwidth", type=float, required=True, help="Bytes per second.")
    options = parser.parse_args()
    measured = [json.loads(line) for line in options.costs.read_text().splitlines()]
    link = Link(options.latency, options.bandwidth)
    print("| set | examples | d | k | data | message | " + " | ".join(map(str, RANKS)) + " |")
    print("|---" * (6 + len(RANKS)) + "|")
    for data in SETS:
        process = next(
            Process(**cost["process"])
            for cost in measured
            if (cost["columns"], cost["k"]) == (data.n_columns, data.n_components)
        )
        n_bytes = message_bytes(data.n_components, data.n_columns, 3)
        cells = []
        for ranks in RANKS:
            whole = iteration_seconds(data.n_examples, ranks, n_bytes, process, link)
            share = message_seconds(n_bytes, ranks, link) / whole
            cells.append(f"{whole:.3g} s ({share:.0%})")
        print(
            f"| {data.name} | {data.n_examples / 1e6:,.4g} M | {data.n_columns:,} | "
            f"{data.n_components} | {data.n_examples * process.bytes_per_example / 1e12:.2g} TB | "
            f"{n_bytes / 1e6:.3g} MB | {' | '.join(cells)} |"
        )


if __name__ == "__main__":
    main()
