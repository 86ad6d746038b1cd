"""Ranks that are killed: the others end, and a run that is started again has the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cofactor as cf
import distributed_tasks as tasks
from process_pool import free_port

pytest.importorskip("torch")

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
# Of the connections of a process that is killed the others hear at once; the rest is patience with
# a machine that has much else to do. Without a lost connection they would wait for half an hour.
SECONDS_TO_END = 60.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "acts"
    tasks.write_store(path, tasks.planted(12_288, {"a": 900, "b": 700}, 8, np.float16))
    return path


def fit_arguments(store: Path, out: Path) -> list[str]:
    return [
        "-m", "cofactor", "fit", str(store), "--rank", "8", "--tol", "0", "--max-iter", "80",
        "--checkpoint", str(out), "--checkpoint-every", "3", "--resume", "--overwrite",
        "--out", str(out),
    ]  # fmt: skip


def start_ranks(store: Path, out: Path) -> list[subprocess.Popen[str]]:
    """Start three ranks by hand, so that nobody ends the others when one has ended."""
    port = str(free_port())
    return [
        subprocess.Popen(
            [sys.executable, *fit_arguments(store, out)],
            env={
                **ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(3)
    ]  # fmt: skip


def start_torchrun(store: Path, out: Path) -> subprocess.Popen[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
    return subprocess.Popen(
        [sys.executable, *launch, "--max-restarts=3", *fit_arguments(store, out)],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def children_of(process: subprocess.Popen[str]) -> list[int]:
    found = []
    for file in Path(f"/proc/{process.pid}/task").glob("*/children"):
        found += [int(pid) for pid in file.read_text().split()]
    return found


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[cf.CoupledNMF, float]:
    """The fit that nobody kills, and how long it takes with all that starts before it."""
    out = tmp_path_factory.mktemp("whole") / "run"
    begun = time.monotonic()
    for process in start_ranks(store, out):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return cf.load(out), time.monotonic() - begun


def assert_same(out: Path, whole: cf.CoupledNMF) -> None:
    found = cf.load(out)
    for name, H in whole.components_.items():
        np.testing.assert_array_equal(found.components_[name], H)
    np.testing.assert_array_equal(found.W_, whole.W_)
    assert found.loss_history_ == whole.loss_history_


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "how"),
    [(0, signal.SIGKILL), (2, signal.SIGKILL), (1, signal.SIGINT)],
)
def test_when_one_rank_ends_all_do(
    store: Path, whole: tuple[cf.CoupledNMF, float], tmp_path: Path, victim: int, how: int
) -> None:
    out = tmp_path / "run"
    ranks = start_ranks(store, out)
    checkpoint = out / "checkpoint.safetensors"
    assert wait_for(checkpoint.exists, 10 * whole[1] + 60)
    time.sleep(0.3 * victim)
    ranks[victim].send_signal(how)
    begun = time.monotonic()
    for rank, process in enumerate(ranks):
        _, errors = process.communicate(timeout=SECONDS_TO_END)
        if rank == victim:
            assert process.returncode == (-how if how == signal.SIGKILL else 130)
            continue
        assert process.returncode == 2
        lines = [line for line in errors.splitlines() if line.startswith("cofactor: error: ")]
        assert len(lines) == 1
        reasons = ["cofactor fit lost another rank", "ended cofactor fit with DistributedError"]
        if how == signal.SIGINT:
            reasons = [f"rank {victim} ended cofactor fit with an interrupt"]
        assert any(reason in lines[0] for reason in reasons), lines[0]
    assert time.monotonic() - begun < SECONDS_TO_END
    for process in start_ranks(store, out):
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_same(out, whole[0])


@pytest.mark.slow
def test_torchrun_resumes_a_fit_of_which_ranks_are_killed(
    store: Path, whole: tuple[cf.CoupledNMF, float], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    resumed = 0
    for trial in range(10):
        out = tmp_path / str(trial)
        process = start_torchrun(store, out)
        assert wait_for(lambda p=process: len(children_of(p)) == 3, 120)
        moment, victim = rng.uniform(0, whole[1]), int(rng.integers(3))
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            children = children_of(process)
            # The first ones of a run that ends by itself may be gone.
            if len(children) == 3:
                os.kill(children[victim], signal.SIGKILL)
                resumed += 1
        _, errors = process.communicate(timeout=10 * whole[1] + 120)
        assert process.returncode == 0, errors
        assert_same(out, whole[0])
    assert resumed >= 5
