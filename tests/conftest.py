"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cofactor import _core
from process_pool import Pool


class Cifar100(NamedTuple):
    """The CIFAR-100 test set and the network that was trained for the project."""

    npz: Path
    weights: Path
    images: NDArray[np.uint8]  # (10000, 32, 32, 3)
    labels: NDArray[Any]  # (10000,)


@pytest.fixture(scope="session")
def cifar100() -> Cifar100:
    """Read the data; skips where it is absent."""
    beside_the_repository = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("COFACTOR_TEST_DATA", beside_the_repository))
    folder = root / "cifar100"
    npz, weights = folder / "test.npz", folder / "resnet18.safetensors"
    for file in (npz, weights):
        if not file.is_file():
            pytest.skip(f"{file} is absent (COFACTOR_TEST_DATA names the folder above cifar100)")
    with np.load(npz) as content:
        return Cifar100(npz, weights, content["images"], content["labels"])


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Four processes for distributed work."""
    workers = Pool(4)
    yield workers
    workers.close()


@pytest.fixture
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let compute="auto" round, whatever the CPU is."""
    monkeypatch.setattr(_core, "bfloat16_is_faster", lambda: True)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def auto_device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test on every device, as what device="auto" stands for; skips CUDA without a device.

    A module says ``pytestmark = pytest.mark.usefixtures("auto_device")``.
    """
    if request.param == "cuda" and not _core.cuda_available():
        pytest.skip("there is no CUDA device, or the build is without CUDA")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "cpu":
            patch.setattr(_core, "cuda_available", lambda: False)
        yield request.param


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many kB; skips where that is not permitted."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        path = tmp_path / "disk"
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no small file system: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)
