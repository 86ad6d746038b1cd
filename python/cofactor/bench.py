"""How fast this machine factorizes, against what it could do at most.

An iteration over n examples, d columns and k components takes 4 n d k operations (two products of
a multiply and an add each) and reads every stored byte once. So it takes at least the operations
over the machine's peak, and at least the bytes over its bandwidth; the larger of the two is the
*floor* of its time. Peak and bandwidth are measured in the same run. Times are medians, taken in
turn with those of scikit-learn, since machines are shared and noisy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import _core
from ._bench.checks import check_positive
from ._bench.data import Array, draw_start, relative_loss, synthetic_views
from ._bench.machine import Floor, Machine, measure_machine
from ._bench.timing import time_iterations, time_sklearn
from ._errors import require

__all__ = [
    "Bench",
    "Floor",
    "Machine",
    "Row",
    "draw_bench",
    "draw_start",
    "measure_machine",
    "relative_loss",
    "run_bench",
    "synthetic_views",
    "time_iterations",
    "time_sklearn",
]

# In place of a kind of arithmetic, for scikit-learn's fits.
_PEER = "scikit-learn"


@dataclass(frozen=True)
class Row:
    """One line of the table: a rank, a number of threads, a kind of arithmetic.

    Attributes
    ----------
    rank, threads : int
        Components and threads.
    compute : str
        Kind of arithmetic.
    operations : float
        Operations of an iteration, 4 n d k.
    seconds : float
        Median time of an iteration.
    floor : Floor
        What it takes at least.
    loss : float
        Relative loss after the iterations.
    sklearn_seconds, sklearn_loss : float or None
        The same of scikit-learn, from the same start after as many iterations.
    """

    rank: int
    threads: int
    compute: str
    operations: float
    seconds: float
    floor: Floor
    loss: float
    sklearn_seconds: float | None = None
    sklearn_loss: float | None = None

    @property
    def flops(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def share(self) -> float:
        """The floor over the time: 1 is the machine's limit."""
        return self.floor.seconds / self.seconds

    @property
    def speedup(self) -> float | None:
        """The time of scikit-learn over ours."""
        return None if self.sklearn_seconds is None else self.sklearn_seconds / self.seconds


@dataclass(frozen=True)
class Bench:
    """What a run found.

    Attributes
    ----------
    n_examples, n_columns : int
        Shape of the data, all views side by side.
    stored_bytes : int
        Bytes of the views as they are stored.
    machines : dict of int to Machine
        The machine by number of threads.
    rows : list of Row
        The table.
    """

    n_examples: int
    n_columns: int
    stored_bytes: int
    machines: dict[int, Machine]
    rows: list[Row]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as what JSON knows, derived numbers included."""
        derived = ("flops", "share", "speedup")
        return {
            **asdict(self),
            "machines": [asdict(machine) for machine in self.machines.values()],
            "rows": [
                asdict(row) | {name: getattr(row, name) for name in derived} for row in self.rows
            ],
        }


def run_bench(
    *,
    n_examples: int = 4096,
    n_columns: int = 8192,
    ranks: Sequence[int] = (20, 50, 128),
    threads: Sequence[int] | None = None,
    computes: Sequence[str] = ("float32",),
    peers: bool = True,
    n_iterations: int = 5,
    repeats: int = 3,
    random_state: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Bench:
    """Time iterations on synthetic views, against the machine's floors and scikit-learn.

    Parameters
    ----------
    n_examples, n_columns : int
        Shape of the data.
    ranks : sequence of int, default=(20, 50, 128)
        Numbers of components.
    threads : sequence of int or None, default=None
        Numbers of threads; None is one and all.
    computes : sequence of str, default=("float32",)
        Kinds of arithmetic.
    peers : bool, default=True
        Time scikit-learn too, with the most threads.
    n_iterations : int, default=5
        Iterations of a fit, at least 2; the first is not counted.
    repeats : int, default=3
        Fits of each kind, taken in turn.
    random_state : int, default=0
        Seed of data and starts.
    progress : callable or None, default=None
        Called with the number of fits done and their total.

    Returns
    -------
    Bench
        The machine and the table.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> bench = run_bench(n_examples=200, n_columns=64, ranks=[4], threads=[1], repeats=1)
    >>> row = bench.rows[0]
    >>> row.rank, row.threads, row.operations, abs(row.loss - row.sklearn_loss) < 0.1
    (4, 1, 204800.0, True)
    """
    every = sorted(set(threads or (1, _core.default_threads())))
    for name, values in [("ranks", ranks), ("threads", every), ("repeats", [repeats])]:
        for value in values:
            check_positive(name, value)
    if n_iterations < 2:
        raise ValueError(f"n_iterations must be at least 2, got {n_iterations}")
    views = synthetic_views(n_examples, n_columns, random_state=random_state)
    X = np.hstack([view.astype(np.float32) for view in views.values()])
    stored = sum(view.nbytes for view in views.values())
    machines = {count: measure_machine(count) for count in every}
    fits: dict[tuple[int, int, str], _Fits] = {}
    for rank in ranks:
        W, H = draw_start(X, rank, random_state)
        for count, compute in itertools.product(every, computes):
            settings = {"n_threads": count, "compute": compute}
            fits[rank, count, compute] = _Fits(time_iterations, views, H, **settings)
        if peers:
            fits[rank, every[-1], _PEER] = _Fits(time_sklearn, X, W, H, n_threads=every[-1])
    done = itertools.count(1)
    for rank in ranks:
        for case in [case for case in fits if case[0] == rank] * repeats:
            fits[case].run(n_iterations)
            if progress is not None:
                progress(next(done), repeats * len(fits))
    # Whoever else uses the machine may have left it meanwhile.
    machines = {count: machine.best(measure_machine(count)) for count, machine in machines.items()}
    rows = []
    for (rank, count, compute), found in fits.items():
        if compute == _PEER:
            continue
        operations = 4.0 * n_examples * n_columns * rank
        peer = fits.get((rank, count, _PEER))
        rows.append(
            Row(
                rank,
                count,
                compute,
                operations,
                found.seconds,
                machines[count].floor(operations, stored, compute),
                relative_loss(X, *found.factors),
                None if peer is None else peer.seconds,
                None if peer is None else relative_loss(X, *peer.factors),
            )
        )
    return Bench(n_examples, n_columns, stored, machines, rows)


def draw_bench(bench: Bench, path: str | Path) -> Path:
    """Draw operations per second by rank, against scikit-learn and the floor.

    Parameters
    ----------
    bench : Bench
        What a run found.
    path : str or Path
        File to write, of any kind that matplotlib knows (.png, .svg, .pdf).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingExtraError
        If matplotlib is absent; the extra ``report`` brings it.

    Examples
    --------
    >>> bench = run_bench(n_examples=200, n_columns=64, ranks=[4], repeats=1)
    >>> draw_bench(bench, "bench.png")  # doctest: +SKIP
    """
    require("matplotlib", "report", "the plot of a benchmark")
    from matplotlib.figure import Figure

    most = max(bench.machines)
    rows = [row for row in bench.rows if row.threads == most]
    rates = {
        "cofactor": [row.operations / row.seconds for row in rows],
        "scikit-learn": [row.operations / (row.sklearn_seconds or math.inf) for row in rows],
    }
    limits = np.array([row.operations / row.floor.seconds for row in rows])
    places = np.arange(len(rows))
    figure = Figure(figsize=(2.5 + len(rows), 3.4), layout="constrained")
    axes = figure.add_subplot()
    for side, (name, values) in zip((-0.2, 0.2), rates.items(), strict=True):
        axes.bar(places + side, np.array(values) / 1e9, 0.4, label=name)
    axes.hlines(limits / 1e9, places - 0.45, places + 0.45, "black", label="the machine's limit")
    axes.set_xticks(places, [f"rank {row.rank}\n{row.compute}" for row in rows])
    axes.set_ylabel("GFLOP/s")
    axes.set_title(
        f"An iteration on {bench.n_examples:,} x {bench.n_columns:,}: {most} threads, "
        f"{bench.machines[most].level}",
        fontsize=9,
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path)
    return Path(path)


class _Fits:
    """Fits of one kind from one start, which differ in their times alone."""

    def __init__(
        self, fit: Callable[..., tuple[list[float], Array, Array]], *data: Any, **settings: Any
    ) -> None:
        self._fit = partial(fit, *data, **settings)
        self._seconds: list[float] = []
        self.factors: list[Array] = []

    def run(self, n_iterations: int) -> None:
        """Fit once more; the first iteration, which comes with all preparation, is not counted."""
        seconds, *self.factors = self._fit(n_iterations=n_iterations)
        self._seconds += seconds[1:]

    @property
    def seconds(self) -> float:
        """Median time of an iteration."""
        return median(self._seconds)
