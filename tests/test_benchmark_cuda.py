"""benchmarks/cuda.py, as far as it needs no device."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cofactor import _core

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    """Import a script, whose folder is no place to import from."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


cuda, floors, hals = load("cuda"), load("gpu_floors"), load("gpu_hals")


@pytest.mark.skipif(_core.cuda_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "cuda.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "needs a CUDA device" in done.stderr


def test_floors() -> None:
    # 1e12 bytes, 1e14 operations and 5e10 bytes a second; 1e6 x 1e4 halves are 2e10 bytes.
    device = floors.Floors("card", 1e12, 1e14, 5e10)
    assert device.seconds_of_reads(10**6, 10**4, 1) == pytest.approx(0.02)
    assert device.seconds_of_reads(10**6, 10**4, 2) == pytest.approx(0.04)
    assert device.seconds_of_operations(10**6, 10**4, 20) == pytest.approx(8e11 / 1e14)
    assert device.seconds_of_iteration(10**6, 10**4, 20) == pytest.approx(0.02)
    assert device.seconds_of_iteration(10**6, 10**4, 200) == pytest.approx(0.08)


def test_data_fits_the_card() -> None:
    n, d = cuda.LARGE
    assert cuda.rows_that_fit(n, d, 80 << 30) == n
    fitting = cuda.rows_that_fit(n, d, 8 << 30)
    assert 0 < fitting < n
    assert fitting % 512 == 0
    assert 2 * d * fitting <= 0.6 * (8 << 30)


def test_differences_of_losses() -> None:
    assert cuda.worst_difference([1.0, 0.5], [1.0, 0.5]) == 0
    assert cuda.worst_difference([1.0, 0.5], [1.01, 0.49]) == pytest.approx(0.02)
    assert cuda.worst_difference([1.0, 0.5], [1.0]) == float("inf")


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("...\n12 passed, 3 skipped, 9 deselected in 1.2s\n", {"passed": 12, "skipped": 3}),
        ("1 failed, 2 passed, 1 error in 3s", {"failed": 1, "passed": 2, "error": 1}),
        ("", {}),
        ("no tests ran in 0.1s", {}),
    ],
)
def test_counts_of_pytest(output: str, counts: dict[str, int]) -> None:
    assert cuda.count_tests(output) == counts


def test_the_table_is_last_and_says_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    report = cuda.Report(budget=100)

    def broken() -> list[object]:
        raise RuntimeError("no such kernel")

    report.run("fast", 1, lambda: [cuda.Row("fast", "2 ms", "3 ms", True)])
    assert report.all_met
    report.run("slow", 1000, broken)
    assert report.all_met, "what was left out is no miss"
    report.run("broken", 1, broken)
    assert not report.all_met
    lines = report.table().splitlines()
    assert lines[2] == "| fast | 2 ms | 3 ms | yes |"
    assert lines[3].startswith("| slow | left out: 100 s left, it takes 1000 |")
    assert lines[4] == "| broken | failed: RuntimeError: no such kernel |  | NO |"
    assert all(line.count("|") == 5 for line in lines)


def test_a_tool_that_is_not_there_is_no_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.shutil, "which", lambda *a, **o: None)
    (row,) = cuda.sanitizer_rows(10)
    assert (row.found, row.met) == ("not installed", None)


@pytest.mark.parametrize(
    ("script", "found", "met"),
    [
        ("echo '========= ERROR SUMMARY: 0 errors'", "ERROR SUMMARY: 0 errors", True),
        ("echo '========= ERROR SUMMARY: 3 errors'; exit 9", "ERROR SUMMARY: 3 errors", False),
        ("exit 1", "exit status 1", False),
        ("exec sleep 20", "not done after 1 s", None),
    ],
)
def test_a_tool_is_believed(
    script: str, found: str, met: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(cuda.shutil, "which", lambda *a, **o: str(tool))
    rows = cuda.sanitizer_rows(2)
    assert [row.what for row in rows] == [
        f"compute-sanitizer, {t}" for t in ("memcheck", "racecheck")
    ]
    assert all((row.found, row.met) == (found, met) for row in rows)


def sweep(factor: np.ndarray, other: np.ndarray, data: np.ndarray) -> float:
    """Minimise ||data - other' factor|| over one row after the other; the largest of its terms."""
    largest = 0.0
    for r in range(len(factor)):
        square = other[r] @ other[r]
        rest = data - np.delete(other, r, 0).T @ np.delete(factor, r, 0)
        factor[r] = np.maximum(0, other[r] @ rest / square)
        largest = max(largest, (other[r] @ data).max() / square)
    return largest


def test_hals_does_what_it_says() -> None:
    rng = np.random.default_rng(0)
    X = torch.from_numpy((rng.random((300, 5)) @ rng.random((5, 80))).astype(np.float32))
    peer = hals.TorchHals(X, 5)
    x, W, H = (a.numpy().astype(np.float64) for a in (X, peer.W, peer.H))
    peer.iterate()
    terms = sweep(W, H, x.T), sweep(H, W, x)
    # A component is the difference of two sums of at most 300 products, neither larger than
    # `terms`, in float32, and takes over the errors of at most four others.
    for found, expected, largest in zip((peer.W, peer.H), (W, H), terms, strict=True):
        np.testing.assert_allclose(
            found.numpy(), expected, rtol=0, atol=5 * 2 * 300 * 2**-24 * largest
        )
    before = peer.relative_loss()
    assert before == pytest.approx(float(((x - W.T @ H) ** 2).sum() / (x**2).sum()), rel=1e-3)
    for _ in range(200):
        peer.iterate()
    assert peer.relative_loss() < before / 10
