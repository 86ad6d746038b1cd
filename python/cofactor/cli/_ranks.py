"""A verb on the processes that torchrun has started."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from cofactor.cli._options import terminal


def timeout_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--timeout`."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=1800.0,
        metavar="SECONDS",
        help="How long processes that torchrun has started wait for each other.",
    )(function)


@contextmanager
def ranks(context: click.Context, timeout: float) -> Iterator[int]:
    """Work on all processes, if there are several; gives the rank, and only rank 0 prints."""
    from cofactor import distributed

    if not distributed.init_process_group(timeout):
        yield 0
        return
    import torch.distributed as dist

    processes = distributed.processes()
    if processes.rank:
        terminal(context).quiet = True
        warnings.simplefilter("ignore")
    with processes.call(context.command_path):
        yield processes.rank
    dist.destroy_process_group()
