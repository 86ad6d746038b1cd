"""Time to equal loss and peak memory, against other libraries on the same matrix and objective.

    python -m pytest benchmarks/test_fits.py -k "digits or planted"
    python -m pytest benchmarks/test_fits.py -k store --store acts/
    python -m pytest benchmarks/test_fits.py -k store --store acts/ --rank 128 \\
        --peers cofactor,scikit-learn

The goal is scikit-learn's loss after `--goal` iterations of coordinate descent. For every library
the iterations that reach it are looked for first, then whole fits of so many are timed, in turn:
all libraries once, all again. Losses are computed here, by one function, from the factors that a
library returns. One that would need a fit of more than `--limit` seconds is stopped, and the loss
of its longest fit told.
"""

from __future__ import annotations

import ctypes
import gc
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from peers import PEERS, Case, Peer, ScikitLearn

from cofactor.bench import relative_loss

CASES = ("digits", "planted", "store")
# A library that sums in another order, or in float64, ends a little beside the goal.
SLACK = 1e-4

Fit = Callable[[int], tuple[float, float]]


@dataclass
class Outcome:
    """What is known of a library on a case."""

    n_iter: int
    loss: float
    reached: bool
    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0


OUTCOMES: dict[tuple[str, str], Outcome] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = tuple(filter(None, metafunc.config.getoption("--peers").split(",")))
    peers = [peer for peer in PEERS if not chosen or peer.name.startswith(chosen)]
    metafunc.parametrize("case_name", CASES)
    metafunc.parametrize("turn", range(metafunc.config.getoption("--turns")))
    metafunc.parametrize("peer", peers, ids=lambda peer: peer.name)


@cache
def make_case(name: str, store: str | None) -> Case:
    if name == "digits":
        from sklearn.datasets import load_digits

        return Case.of_arrays(name, pixels=load_digits().data.astype(np.float32))
    if name == "planted":
        rng = np.random.default_rng(0)
        W = rng.random((20_000, 20), np.float32) * (rng.random((20_000, 20)) < 0.3)
        H = rng.random((20, 256), np.float32) * (rng.random((20, 256)) < 0.3)
        noise = 0.05 * np.abs(rng.standard_normal((20_000, 256), np.float32))
        return Case.of_arrays(name, features=(W @ H + noise).astype(np.float32))
    if store is None:
        pytest.skip("--store names no store of the paper's case")
    return Case.of_store(store)


@cache
def make_goal(name: str, store: str | None, rank: int, iterations: int) -> float:
    """The loss to reach, of scikit-learn's coordinate descent."""
    case = make_case(name, store)
    peer = ScikitLearn("cd")
    return relative_loss(case.X, *peer.fit(case.X, *case.start(rank), iterations))


def search(fit: Fit, goal: float, limit: float) -> Outcome:
    """Find the fewest iterations to the goal: doubled until it is reached, then interpolated.

    The loss is convex in practice, so that a line between two points lies above it: what is found
    so reaches the goal, and is drawn in again from there.
    """
    before, n_iter = (0, math.inf), 4
    while True:
        seconds, loss = fit(n_iter)
        if loss <= goal:
            break
        if 2 * seconds > limit:
            return Outcome(n_iter, loss, False, [seconds])
        before, n_iter = (n_iter, loss), 2 * n_iter
    for _ in range(4 if before[0] else 0):
        low, above = before
        guess = low + math.ceil((n_iter - low) * (above - goal) / (above - loss))
        if not low < guess < n_iter:
            break
        _, between = fit(guess)
        if between <= goal:
            n_iter, loss = guess, between
        else:
            before = guess, between
    return Outcome(n_iter, loss, True)


def status_megabytes(key: str) -> float:
    """A line of this process's memory, such as VmRSS."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else math.nan


def peak_megabytes(run: Callable[[], Any]) -> float:
    """What a run takes at most beyond what is there before it (Linux, glibc)."""
    gc.collect()
    # Memory that the allocator keeps would hide as much of what the run takes.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    before = status_megabytes("VmRSS")
    run()
    return status_megabytes("VmHWM") - before


def test_time_to_equal_loss(
    benchmark: Any,
    request: pytest.FixtureRequest,
    tables: dict[str, list[str]],
    case_name: str,
    turn: int,
    peer: Peer,
) -> None:
    option = request.config.getoption
    case = make_case(case_name, option("--store"))
    try:
        version = peer.version()
    except (ImportError, PackageNotFoundError, RuntimeError, AttributeError) as error:
        pytest.skip(f"{peer.package} cannot be used here: {error}")
    rank, iterations = option("--rank"), option("--goal")
    loss = option("--loss") or make_goal(case_name, option("--store"), rank, iterations)
    goal = loss * (1 + SLACK)
    data, start = peer.prepare(case), case.start(rank)

    def fit(n_iter: int) -> tuple[float, float]:
        started = time.perf_counter()
        W, H = peer.fit(data, *start, n_iter)
        return time.perf_counter() - started, relative_loss(case.X, np.asarray(W), np.asarray(H))

    key = (case_name, peer.name)
    if key not in OUTCOMES:
        # Where the goal comes from, the iterations are known.
        known = Outcome(iterations, loss, True) if peer.name == "scikit-learn cd" else None
        OUTCOMES[key] = known or search(fit, goal, option("--limit"))
    outcome = OUTCOMES[key]
    if outcome.reached:
        arguments = (data, *start, outcome.n_iter)
        memory = peak_megabytes(lambda: benchmark.pedantic(peer.fit, arguments, rounds=1))
        outcome.megabytes = max(outcome.megabytes, memory)
        outcome.seconds.append(benchmark.stats.stats.median)
    else:
        benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(
        version=version,
        n_iter=outcome.n_iter,
        loss=outcome.loss,
        goal=goal,
        reached=outcome.reached,
    )
    title = (
        f"{case_name}, {case.X.shape[0]:,} x {case.X.shape[1]:,}, rank {rank}: to relative loss "
        f"{goal:.4g} (scikit-learn's after {iterations} iterations)"
    )
    tables[title] = markdown(case_name)


def markdown(case_name: str) -> list[str]:
    """The table of a case so far, the fastest first."""
    rows = [(name, outcome) for (case, name), outcome in OUTCOMES.items() if case == case_name]
    rows.sort(key=lambda row: (not row[1].reached, median(row[1].seconds)))
    lines = [
        "| | seconds | iterations | seconds each | loss | memory beyond the matrix, MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, outcome in rows:
        seconds = median(outcome.seconds)
        memory = f"{outcome.megabytes:,.0f}" if outcome.reached else ""
        lines.append(
            f"| {name} | {'' if outcome.reached else 'not in '}{seconds:.3g} | {outcome.n_iter} "
            f"| {seconds / outcome.n_iter:.3g} | {outcome.loss:.4g} | {memory} |"
        )
    return lines
