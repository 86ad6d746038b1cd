"""Captures that are killed, or run out of disk, at any moment go on to the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cofactor._store.metadata_reader import read_metadata
from cofactor.store import ActivationStore, StoreError
from store_samples import content

pytest.importorskip("torch")

import killed_capture

N_KILLS = 50

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole") / "acts"
    killed_capture.run(path)
    return content(path)


def n_shards(path: Path) -> int:
    try:
        return len(read_metadata(path).shards)
    except StoreError:
        return 0


def test_kill_at_random_moments(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes are forked from one that has imported torch, for which it needs to find this.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["killed_capture"])

    def start(path: Path) -> multiprocessing.process.BaseProcess:
        process = server.Process(target=killed_capture.run, args=(path,))
        process.start()
        return process

    def seconds() -> float:
        began = time.monotonic()
        process = start(tmp_path / "timed")
        process.join()
        shutil.rmtree(tmp_path / "timed")
        return time.monotonic() - began

    seconds()  # starts the server, which imports torch
    duration = seconds()
    moments = random.Random(0)
    n_killed, found = 0, list[int]()
    path = tmp_path / "acts"
    while n_killed < N_KILLS:
        process = start(path)
        process.join(moments.uniform(0, duration))
        if process.is_alive():
            process.kill()
            process.join()
            n_killed += 1
            found.append(n_shards(path))
            # One in three is killed once more, when it has gone on.
            if moments.random() < 1 / 3:
                continue
            process = start(path)
            process.join()
        assert process.exitcode == 0
        assert content(path) == whole
        shutil.rmtree(path)
    print("whole shards when killed:", sorted(found))
    assert len(set(found)) > 5, "the moments were not spread over the capture"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(whole: dict[str, bytes], small_disk: Path) -> None:
    path = small_disk / "acts"
    size = sum(map(len, whole.values()))
    for megabytes in range(3, 2 + size // 1_000_000):
        with pytest.raises(StoreError, match="No space left on device; the store stays incomplet"):
            killed_capture.run(path)
        assert not list(path.rglob("*.tmp"))
        with pytest.raises(StoreError, match="the store is incomplete"):
            ActivationStore(path)
        if metadata := read_metadata(path).shards:
            assert all((path / f"conv1/{i:05d}.npy").exists() for i in range(len(metadata)))
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", small_disk], check=True)
    subprocess.run(["mount", "-o", f"remount,size={2 * size}", small_disk], check=True)
    killed_capture.run(path)
    assert content(path) == whole
