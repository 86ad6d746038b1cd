"""Captures by one process, or by all of a process group."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..distributed import processes
from ..store import ActivationStore
from .alone import run_alone
from .job import Job, make_job
from .sharded import run_sharded

__all__ = ["run"]


def run(*arguments: Any, **options: Any) -> ActivationStore:
    """Do what :func:`cofactor.capture` documents; the arguments are those of `make_job`."""
    job: Callable[[], Job] = partial(make_job, *arguments, **options)
    ranks = processes()
    if ranks.size == 1:
        return run_alone(job())
    with ranks.call("capture"):
        return run_sharded(ranks, job)
