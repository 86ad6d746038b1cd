"""All that is to be shown of the CUDA backend on a GPU, in one command, with one table last.

    python benchmarks/cuda.py

has a budget of eight minutes: the tests that need a device, agreement with the CPU backend,
compute-sanitizer where it is installed, and how fast iterations are against what the device can do
and against HALS in torch, with the data on the device and streamed from the host. What does not fit
into the device's memory is made smaller, and what there is no time left for is left out; the table
says so. The exit status is 0 if all targets are met, 1 if not, and 2, with one line, where there is
no device.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

# This file has the name of NVIDIA's package, which must be found first.
if sys.path[0] == str(Path(__file__).parent):
    sys.path.append(sys.path.pop(0))

import numpy as np

import cofactor as cf
from cofactor import _core

ROOT = Path(__file__).parents[1]
BUDGET = 460.0
RANKS = (20, 64, 128)
PAPER = 10_000, 28_160
LARGE = 1_000_000, 8_192

# Two views with a mask, so that most kernels run; small, since the sanitizer is slow.
SMALL_FIT = """
import numpy as np, cofactor as cf
rng = np.random.default_rng(0)
X = {"a": rng.random((700, 90)).astype(np.float16), "b": rng.random((700, 33)).astype(np.float32)}
mask = {"b": rng.random(700) < 0.8}
nmf = cf.CoupledNMF(5, device="cuda", init="random", max_iter=3, tol=0, random_state=0)
nmf.fit(X, mask=mask).transform(X, mask=mask)
"""


class Enough(Exception):
    """Ends a fit after the iterations that are timed."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    found: str
    target: str = ""
    met: bool | None = None
    """None where there is no target, or nothing was measured."""

    def __str__(self) -> str:
        verdict = {None: "", True: "yes", False: "NO"}[self.met]
        return f"| {self.what} | {self.found} | {self.target} | {verdict} |"


@dataclass
class Report:
    """Rows so far, and the time that is left."""

    budget: float = BUDGET
    rows: list[Row] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.budget - (time.monotonic() - self.begun)

    def run(self, what: str, needed: float, part: Callable[[], list[Row]]) -> None:
        """Add what a part finds, if it can be done in the time that is left."""
        if self.left < needed:
            self.rows.append(Row(what, f"left out: {self.left:.0f} s left, it takes {needed:.0f}"))
            return
        print(f"{what} ...", file=sys.stderr, flush=True)
        try:
            self.rows += part()
        except Exception as error:  # the other parts are worth having
            self.rows.append(Row(what, f"failed: {type(error).__name__}: {error}", "", False))

    def table(self) -> str:
        """Make Markdown of it."""
        head = "| what | found | target | met |\n|---|---|---|---|\n"
        return head + "\n".join(map(str, self.rows))

    @property
    def all_met(self) -> bool:
        """Whether no target was missed."""
        return all(row.met is not False for row in self.rows)


def missing() -> str | None:
    """Say what there is no device for; None if there is one."""
    if not _core.cuda_available():
        return "cofactor finds none, or was built without CUDA (cofactor info)"
    try:
        import torch
    except ImportError:
        return "torch, which makes the data and measures the device, is not installed"
    return None if torch.cuda.is_available() else "torch finds none"


def gpu_tests(seconds: float) -> list[Row]:
    """Run the tests that need a device."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests",
        "-q",
        "-k",
        "cuda",
        "-p",
        "no:cacheprovider",
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return [Row("GPU tests", f"not done after {seconds:.0f} s", "all pass", False)]
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    counts = count_tests(done.stdout)
    found = ", ".join(f"{n} {what}" for what, n in counts.items()) or "none found"
    met = done.returncode == 0 and counts.get("passed", 0) > 0
    return [Row("GPU tests, `pytest -k cuda`", found, "all pass", met)]


def count_tests(output: str) -> dict[str, int]:
    """Read the counts of pytest's last line."""
    last = output.strip().splitlines()[-1] if output.strip() else ""
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?)", last)
    return {what: int(n) for n, what in found}


def sanitizer_rows(seconds: float) -> list[Row]:
    """Run a small fit under compute-sanitizer's tools."""
    home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    path = os.pathsep.join([os.environ.get("PATH", ""), str(home / "bin")])
    tool = shutil.which("compute-sanitizer", path=path)
    if tool is None:
        return [Row("compute-sanitizer", "not installed")]
    rows = []
    for check in ("memcheck", "racecheck"):
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, "-c", SMALL_FIT]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds / 2, check=False
            )
        except subprocess.TimeoutExpired:
            rows.append(Row(f"compute-sanitizer, {check}", f"not done after {seconds / 2:.0f} s"))
            continue
        summary = re.findall(r"={3,} ((?:ERROR|RACECHECK) SUMMARY.*)", done.stdout)
        found = summary[-1] if summary else f"exit status {done.returncode}"
        clean = done.returncode == 0
        rows.append(Row(f"compute-sanitizer, {check}", found, "clean", clean))
    return rows


def agreement() -> list[Row]:
    """Compare the losses of every iteration with the CPU backend's."""
    rng = np.random.default_rng(0)
    W = rng.gamma(0.5, size=(3000, 20))
    rows = []
    for dtype in ("float16", "float32", "float64"):
        views = {
            name: (W @ rng.gamma(0.5, size=(20, d)) / 20 + rng.random((3000, d))).astype(dtype)
            for name, d in {"a": 700, "b": 129}.items()
        }
        for compute in ("float32", "bfloat16") if dtype != "float64" else ("float64",):
            losses = {
                device: cf.CoupledNMF(
                    20, device=device, compute=compute, init="random", max_iter=30, tol=0,
                    random_state=0,
                ).fit(views).loss_history_
                for device in ("cpu", "cuda")
            }  # fmt: skip
            worst = worst_difference(losses["cpu"], losses["cuda"])
            rows.append(
                Row(
                    f"losses against the CPU's, {dtype} in {compute}",
                    f"{worst:.1e} at most",
                    "1e-4",
                    worst <= 1e-4,
                )
            )
    return rows


def worst_difference(expected: list[float], found: list[float]) -> float:
    """Return the largest relative difference; infinity for histories of other lengths."""
    if len(expected) != len(found):
        return float("inf")
    return max(abs(a - b) / abs(a) for a, b in zip(expected, found, strict=True))


def rows_that_fit(examples: int, columns: int, free_bytes: int) -> int:
    """Whole panels of float16 rows that leave two fifths of the memory free."""
    fitting = int(0.6 * free_bytes) // (2 * columns) // 512 * 512
    return min(examples, fitting)


# In the first passes sizes of chunks are tried, and then a graph is recorded.
WARM_UP = 12


def iteration_seconds(views: Mapping[str, Any], rank: int, iterations: int = 10) -> float:
    """Median seconds of an iteration after those that find out how to go on."""
    seconds: list[float] = []

    def callback(event: cf.nmf.FitEvent) -> None:
        seconds.append(event.seconds)
        if len(seconds) == iterations + WARM_UP:
            raise Enough

    nmf = cf.CoupledNMF(
        rank, device="cuda", init="random", acceleration=None, tol=0, random_state=0,
        callback=callback,
    )  # fmt: skip
    with contextlib.suppress(Enough):
        nmf.fit(views)
    return median(seconds[WARM_UP:])


def without_graphs(views: Mapping[str, Any], rank: int) -> Row:
    """Time iterations whose work is given to the device kernel by kernel."""
    os.environ["COFACTOR_CUDA_GRAPHS"] = "0"
    try:
        seconds = iteration_seconds(views, rank)
    finally:
        del os.environ["COFACTOR_CUDA_GRAPHS"]
    return Row(f"the same without graphs, k = {rank}", f"{1e3 * seconds:.2f} ms")


def speed(name: str, views: Mapping[str, Any], floors: Any) -> list[Row]:
    """Time iterations on data that is on the device, and HALS on the same."""
    import torch
    from gpu_hals import TorchHals

    n = len(next(iter(views.values())))
    d = sum(view.shape[1] for view in views.values())
    rows = []
    for rank in RANKS:
        torch.cuda.empty_cache()
        seconds = iteration_seconds(views, rank)
        floor = floors.seconds_of_iteration(n, d, rank)
        parts = {
            "one read": floors.seconds_of_reads(n, d, 1),
            "two reads": floors.seconds_of_reads(n, d, 2),
            "operations": floors.seconds_of_operations(n, d, rank),
        }
        found = f"{1e3 * seconds:.2f} ms; " + ", ".join(
            f"{part} {1e3 * bound:.2f} ms ({bound / seconds:.0%})" for part, bound in parts.items()
        )
        what = f"{name}, {n:,} x {d:,}, k = {rank}"
        rows.append(Row(what, found, "70 % of the floor", floor / seconds >= 0.7))
        rows.append(without_graphs(views, rank))
        X = torch.cat([view.half() for view in views.values()], 1) if len(views) > 1 else None
        hals = TorchHals(next(iter(views.values())) if X is None else X, rank).seconds(5)
        ratio = hals / seconds
        rows.append(
            Row(
                f"torch HALS, k = {rank}",
                f"{1e3 * hals:.2f} ms, {ratio:.1f} times",
                "5",
                ratio >= 5,
            )
        )
        del X
    return rows


def streaming(floors: Any) -> list[Row]:
    """Time iterations on data of the host, most of which the device has no room for."""
    import torch

    columns = LARGE[1]
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    size = min(16 << 30, host // 3)
    X = np.empty((size // (2 * columns) // 512 * 512, columns), np.float16)
    for first in range(0, len(X), 8192):
        part = torch.rand(len(X[first : first + 8192]), columns, device="cuda").half()
        X[first : first + 8192] = part.cpu().numpy()
    torch.cuda.empty_cache()
    # A ballast takes the memory in which the data would stay.
    room = 3 << 30
    free = torch.cuda.mem_get_info()[0]
    ballast = torch.empty(max(0, free - room), dtype=torch.uint8, device="cuda")
    free = torch.cuda.mem_get_info()[0]
    seconds = iteration_seconds({"x": X}, 20, 5)
    del ballast
    # What is free at most stays on the device, and all else is copied in every iteration.
    rate = (X.nbytes - free) / seconds
    share = rate / floors.bus_bytes_per_second
    found = (
        f"{rate / 1e9:.1f} GB/s at least, bus {floors.bus_bytes_per_second / 1e9:.1f} ({share:.0%})"
    )
    what = f"streaming {X.nbytes / 1e9:.1f} GB from pageable memory, k = 20"
    return [Row(what, found, "85 % of the bus", share >= 0.85)]


def paper_views(store: Path | None) -> dict[str, Any]:
    """Read a store's views onto the device, or draw data of the same size."""
    import torch

    if store is None:
        return {"x": torch.rand(*PAPER, device="cuda", dtype=torch.float16)}
    opened = cf.ActivationStore(store)
    return {
        name: torch.from_numpy(np.concatenate(opened.stored_chunks(name))).cuda()
        for name in opened.views
    }


def measure(report: Report, store: Path | None) -> None:
    """Do all parts, the ones that others depend on first."""
    import torch
    from gpu_floors import measure_floors

    floors = measure_floors(torch.cuda.mem_get_info()[0])
    free, total = torch.cuda.mem_get_info()
    report.rows += [
        Row("device", f"{floors.name}, {total / 1e9:.0f} GB, {free / 1e9:.0f} GB of it free"),
        Row("reads of its memory", f"{floors.bytes_per_second / 1e9:.0f} GB/s"),
        Row("products of float16", f"{floors.operations_per_second / 1e12:.0f} TFLOP/s"),
        Row("copies from pinned memory", f"{floors.bus_bytes_per_second / 1e9:.1f} GB/s"),
    ]
    report.run("agreement with the CPU", 10, agreement)
    report.run("paper's case", 20, lambda: speed("paper's case", paper_views(store), floors))

    def large() -> list[Row]:
        torch.cuda.empty_cache()
        n = rows_that_fit(*LARGE, torch.cuda.mem_get_info()[0])
        X = torch.empty(n, LARGE[1], device="cuda", dtype=torch.float16).uniform_()
        return speed("large" if n == LARGE[0] else "large, as far as it fits", {"x": X}, floors)

    report.run("large case", 60, large)
    report.run("streaming", 60, lambda: streaming(floors))
    report.run("GPU tests", 30, lambda: gpu_tests(min(150.0, report.left - 20)))
    report.run("sanitizer", 30, lambda: sanitizer_rows(report.left - 5))


def main(arguments: list[str] | None = None) -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="the paper's case as a store; else random data")
    options = parser.parse_args(arguments)
    lacking = missing()
    if lacking is not None:
        print(f"benchmarks/cuda.py needs a CUDA device: {lacking}", file=sys.stderr)
        return 2
    report = Report()
    measure(report, options.store)
    print(report.table())
    print(f"\n{time.monotonic() - report.begun:.0f} s in all")
    return 0 if report.all_met else 1


if __name__ == "__main__":
    sys.exit(main())
