"""Captures of several processes of which one is killed end, and go on to the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from process_pool import free_port
from store_samples import content

pytest.importorskip("torch")

import sharded_capture

N_KILLS = 10
SIZE = 3

pytestmark = pytest.mark.slow


def test_one_is_killed_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Processes are forked from one that has imported torch, for which it needs to find this.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["sharded_capture"])

    def start(path: Path) -> list[multiprocessing.process.BaseProcess]:
        port = free_port()
        ranks = [
            server.Process(target=sharded_capture.rank_of, args=(rank, SIZE, port, path))
            for rank in range(SIZE)
        ]
        for process in ranks:
            process.start()
        return ranks

    def finish(path: Path) -> float:
        began = time.monotonic()
        for process in start(path):
            process.join()
            assert process.exitcode == 0
        return time.monotonic() - began

    finish(tmp_path / "first")  # starts the server, which imports torch
    duration = finish(tmp_path / "whole")
    whole = content(tmp_path / "whole")
    moments = random.Random(0)
    n_killed, seconds = 0, list[float]()
    while n_killed < N_KILLS:
        path = tmp_path / f"acts-{n_killed}"
        ranks = start(path)
        time.sleep(moments.uniform(0.3, 1.0) * duration)
        victim = ranks.pop(moments.randrange(SIZE))
        if not victim.is_alive():
            continue
        victim.kill()
        began = time.monotonic()
        victim.join()
        for process in ranks:
            process.join(sharded_capture.SECONDS_TO_MEET + 60)
            # Either it had heard of the end of the step, or it has the error.
            assert process.exitcode in (0, 1, 3)
        seconds.append(time.monotonic() - began)
        n_killed += 1
        finish(path)
        assert content(path) == whole
    print("seconds until the others had ended:", [round(number, 1) for number in sorted(seconds)])


def test_torchrun_starts_again(tmp_path: Path) -> None:
    options = ["--model", "small_network:Net", "--layers", "conv1,avgpool", "--out"]
    capture = ["-m", "cofactor", "capture", "--data", "sharded_capture:Deadly", *options]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent),
        "DEADLY_MARKER": str(tmp_path / "marker"),
        "OMP_NUM_THREADS": "1",
    }
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    # The weights, too, must be the same in every process.
    weights = tmp_path / "weights.pt"
    sharded_capture.torch.save(sharded_capture.Net().state_dict(), weights)
    for launcher, out in ((torchrun, "two"), ([], "one")):
        done = subprocess.run(
            [sys.executable, *launcher, *capture, str(tmp_path / out), "--weights", str(weights)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("2,700 examples") == 1
    assert (tmp_path / "marker").exists()
    assert content(tmp_path / "two") == content(tmp_path / "one")
