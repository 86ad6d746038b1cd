"""A capture for processes that are killed: small shards, a network that always gives the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cofactor._store import declare
from cofactor.capture import capture
from small_network import Net

N = 6000
BATCH = 100


class Images:
    """Batches without a length, so that no disk space is asked for beforehand."""

    def __iter__(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(1)
        for first in range(0, N, BATCH):
            images = torch.randint(0, 256, (BATCH, 3, 8, 8), dtype=torch.uint8, generator=generator)
            yield images, torch.arange(first, first + BATCH)


def run(out: Path) -> None:
    """Capture to `out`, or go on there."""
    torch.set_num_threads(1)
    declare._SHARD_BYTES = 1  # 512 rows
    torch.manual_seed(0)
    layers = ["conv1", "relu", "avgpool"]
    capture(Net(), Images(), layers, pixels=True, resume=True, progress=False, out=out)
