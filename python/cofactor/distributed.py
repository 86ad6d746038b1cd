"""One fit on several processes: ``torchrun -m cofactor fit``, or a fit inside a process group.

Where torch.distributed has a default process group of more than one rank, ``fit``,
``partial_fit``, ``transform`` and ``save`` of :class:`cofactor.CoupledNMF`, and
:func:`cofactor.fit_many`, are work of all ranks: each of them makes the call, with the same
arguments, and reads its own part of the examples.

- A store is the whole store on every rank, and so are ``mask``, ``sample_weight`` and ``groups``.
  Each rank reads a run of its rows, in whole panels of 512 where there are as many as ranks.
- A mapping of arrays, or an iterable of blocks, is what this rank has, and so are those. The
  examples of all ranks are those of rank 0, then those of rank 1, and so on.

:class:`cofactor.NMF` works in its process alone; :func:`alone` makes calls of the above do so, too.

All ranks end with the same components, bit for bit. ``W_``, and what ``transform`` returns, are of
the rank's own examples; a file of `W_path` has all of them. Checkpoints and saved fits are written
by rank 0; a fit that is opened has all examples, as what analyses it wants. Callbacks are called on
every rank. The sums of a pass go around in one message an iteration; what else is sent is sent once
a fit.

As many ranks give the same bits every time, on machines of one kind. On another number the sums of
panels are added in another order: losses differ by their rounding, which is bounded by 1.3e-4 of
``||X||^2`` in float32 and 2.4e-13 in float64, until rounding decides that a fit takes an
extrapolation back or has converged.

An exception on one rank ends the call on all of them, as a :class:`DistributedError` on the others,
once these come to their next message. So does a process that is killed. One that is stuck, or whose
machine is gone, does when the timeout is over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ._errors import DistributedError, require
from ._meeting import meet
from ._processes import Processes

if TYPE_CHECKING:
    from ._torch_processes import TorchProcesses

__all__ = [
    "DistributedError",
    "alone",
    "barrier",
    "gather",
    "init_process_group",
    "processes",
    "rank",
    "size",
]

DEFAULT_TIMEOUT = 1800.0
"""Seconds that ranks wait for each other, as in torch."""

_ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

_ONE = Processes()


class _State:
    """What this module keeps: the ranks that work together, and how they shall."""

    current: TorchProcesses | None = None
    world: Any = None
    opened = 0
    alone = 0
    timeout = DEFAULT_TIMEOUT


def init_process_group(timeout: float = DEFAULT_TIMEOUT) -> bool:
    """Join the processes that torchrun has started, with gloo and, where there are GPUs, NCCL.

    Each process selects the GPU of its ``LOCAL_RANK`` with :func:`torch.cuda.set_device`, which a
    fit with ``device="cuda"`` then computes on.

    Parameters
    ----------
    timeout : float, default=1800
        Seconds that ranks wait for each other.

    Returns
    -------
    bool
        Whether there are others. Without the environment that torchrun gives its processes, or
        with one process, nothing happens and torch is not imported. Where the caller has made a
        process group, that is used, and only the timeout is taken.

    Raises
    ------
    ValueError
        If `timeout` is not positive.
    MissingExtraError
        If torch is not installed.
    DistributedError
        If the other processes cannot be reached.

    Examples
    --------
    >>> import cofactor.distributed
    >>> cofactor.distributed.init_process_group()
    False
    """
    if not timeout > 0:
        raise ValueError(f"timeout={timeout} must be a positive number of seconds")
    _State.timeout = float(timeout)
    if any(name not in os.environ for name in _ENVIRONMENT) or os.environ["WORLD_SIZE"] == "1":
        return False
    dist = require("torch.distributed", "capture", "work on several processes")
    if not dist.is_initialized():
        try:
            limit = timedelta(seconds=timeout)
            store, own_rank, world_size = next(dist.rendezvous("env://", timeout=limit))
            word = meet(store, own_rank, world_size, timeout, "the process group")
            dist.init_process_group(
                _select_gpu(),
                store=dist.PrefixStore(word, store),
                rank=own_rank,
                world_size=world_size,
                timeout=limit,
            )
        except (RuntimeError, ValueError) as error:
            raise DistributedError(
                f"rank {os.environ['RANK']} could not join the others at "
                f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {error}"
            ) from error
    return bool(dist.get_world_size() > 1)


def _select_gpu() -> str:
    """Select the GPU of this process, if torch knows any, and return the backends of the group."""
    torch = require("torch", "capture", "work on several processes")
    if not torch.cuda.is_available():
        return "gloo"
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return "cpu:gloo,cuda:nccl" if torch.distributed.is_nccl_available() else "gloo"


def processes() -> Processes:
    """Return the processes that work together: those of the default group, or this one alone."""
    torch = sys.modules.get("torch")
    dist = getattr(torch, "distributed", None)
    if _State.alone or dist is None or not dist.is_available() or not dist.is_initialized():
        return _ONE
    if dist.get_world_size() == 1:
        return _ONE
    world = dist.group.WORLD
    if _State.current is None or _State.current.has_failed or _State.world is not world:
        from ._torch_processes import TorchProcesses

        if _State.current is not None:
            _State.current.close()
        if _State.world is not world:
            _State.opened = 0
        _State.opened += 1
        _State.world = world
        _State.current = TorchProcesses(torch, _State.opened, _State.timeout)
    return _State.current


@contextmanager
def alone() -> Iterator[None]:
    """Work in this process alone, even if it is one of several.

    Examples
    --------
    >>> import cofactor.distributed
    >>> with cofactor.distributed.alone():
    ...     cofactor.distributed.size()
    1
    """
    _State.alone += 1
    try:
        yield
    finally:
        _State.alone -= 1


def rank() -> int:
    """Return the number of this process, from 0.

    Examples
    --------
    >>> import cofactor.distributed
    >>> cofactor.distributed.rank()
    0
    """
    return processes().rank


def size() -> int:
    """Return the number of processes that work together.

    Examples
    --------
    >>> import cofactor.distributed
    >>> cofactor.distributed.size()
    1
    """
    return processes().size


def barrier() -> None:
    """Wait until all processes are here.

    Raises
    ------
    DistributedError
        If another has ended, or does not come within the timeout.
    """
    processes().barrier()


def gather(value: Any) -> list[Any]:
    """Return the value of every process, by rank.

    Parameters
    ----------
    value : None, bool, int, float, str, or list or dict of these
        What JSON holds.

    Returns
    -------
    list
        One value a rank.

    Raises
    ------
    DistributedError
        If another has ended, or does not come within the timeout.

    Examples
    --------
    >>> import cofactor.distributed
    >>> cofactor.distributed.gather({"examples": 3})
    [{'examples': 3}]
    """
    return processes().gather(value)
