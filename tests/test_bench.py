"""The benchmark: what it measures, what its table says, and its command. No test is of speed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cofactor import CoupledNMF, _core
from cofactor.bench import (
    Bench,
    Floor,
    Machine,
    Row,
    draw_bench,
    draw_start,
    measure_machine,
    relative_loss,
    run_bench,
    synthetic_views,
    time_iterations,
    time_sklearn,
)
from cofactor.cli import main

Run = Callable[..., tuple[int, str, str]]

SMALL = ("--examples", "60", "--columns", "40", "--rank", "2,3", "--threads", "1,2")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `cofactor bench` in this process, in an empty directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main(["bench", *arguments])
        assert isinstance(exit_info.value.code, int)
        return exit_info.value.code, *capsys.readouterr()

    return call


# The machine


@pytest.mark.parametrize("level", _core.simd_levels())
def test_every_level_is_measured(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_SIMD", level)
    machine = measure_machine(2)
    assert machine.level == level
    assert machine.threads == 2
    assert machine.peaks["float32"] > 0
    assert machine.bandwidth > 0
    assert set(machine.peaks) <= {"float32", "bfloat16"}
    assert ("bfloat16" in machine.peaks) == (level == "avx512bf16")


def test_all_threads_are_the_default() -> None:
    assert measure_machine().threads == _core.default_threads()


def test_threads_must_be_positive() -> None:
    with pytest.raises(ValueError, match="n_threads must be at least 1, got 0"):
        measure_machine(0)
    with pytest.raises(ValueError, match="threads must be at least 1, or 0 for all, got -1"):
        _core.measure_peak(-1)


def test_the_floor_is_the_larger_of_two_times() -> None:
    machine = Machine(1, "scalar", {"float32": 100.0, "bfloat16": 200.0}, 10.0)
    assert machine.floor(400, 20) == Floor(4.0, 2.0)
    assert machine.floor(400, 20).seconds == 4.0
    assert machine.floor(400, 20, "bfloat16") == Floor(2.0, 2.0)
    assert machine.floor(400, 80).seconds == 8.0
    plain = Machine(1, "scalar", {"float32": 150.0}, 5.0)
    assert plain.floor(300, 5, "bfloat16") == Floor(2.0, 1.0)


def test_the_better_of_two_measurements() -> None:
    one = Machine(2, "avx2", {"float32": 150.0}, 5.0)
    other = Machine(2, "avx2", {"float32": 100.0}, 10.0)
    assert one.best(other) == other.best(one) == Machine(2, "avx2", {"float32": 150.0}, 10.0)


# The data


def test_views_are_like_activations() -> None:
    views = synthetic_views(300, 160, random_state=3)
    assert sum(view.shape[1] for view in views.values()) == 160
    assert {view.shape[0] for view in views.values()} == {300}
    for view in views.values():
        assert view.min() == 0
        assert 0.3 < (view == 0).mean() < 0.7
    again = synthetic_views(300, 160, random_state=3)
    assert all(np.array_equal(views[name], again[name]) for name in views)
    assert not np.array_equal(views["layer3"], synthetic_views(300, 160)["layer3"])


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_views_of_every_dtype(dtype: str) -> None:
    views = synthetic_views(20, 9, dtype=dtype)
    assert [str(view.dtype) for view in views.values()] == ["uint8", dtype, dtype]


def test_a_loss_is_that_of_the_residual() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((30, 20), np.float32)
    W, H = draw_start(X, 4, 1)
    expected = np.linalg.norm(X - W @ H) ** 2 / np.linalg.norm(X) ** 2
    assert relative_loss(X, W, H) == pytest.approx(expected, rel=1e-5)
    assert W.dtype == H.dtype == np.float32
    assert (W @ H).mean() == pytest.approx(X.mean(), rel=0.5)


# The fits


def test_iterations_are_those_of_the_estimator() -> None:
    views = synthetic_views(90, 64)
    X = np.hstack([view.astype(np.float32) for view in views.values()])
    _, H = draw_start(X, 3)
    seconds, W, found = time_iterations(views, H, n_iterations=4, n_threads=1)
    assert len(seconds) == 4
    assert min(seconds) > 0
    nmf = CoupledNMF(3, tol=0, max_iter=4, acceleration=None)
    nmf.fit(views, H={"pixels": H[:, :8], "layer3": H[:, 8:48], "layer4": H[:, 48:]})
    assert np.array_equal(W, nmf.W_)
    assert np.array_equal(found, np.hstack(list(nmf.components_.values())))
    # W is solved once more after the last pass.
    assert relative_loss(X, W, found) <= nmf.loss_history_[-1] * (1 + 1e-5)


def test_scikit_learn_is_timed_by_iteration() -> None:
    X = np.hstack(list(synthetic_views(90, 64, dtype="float32").values())).astype(np.float32)
    start = draw_start(X, 3)
    kept = [factor.copy() for factor in start]
    losses = []
    for n_iterations in (1, 20):
        seconds, W, H = time_sklearn(X, *start, n_iterations=n_iterations, n_threads=1)
        assert len(seconds) == n_iterations
        assert min(seconds) > 0
        losses.append(relative_loss(X, W, H))
    assert losses[1] < losses[0] < relative_loss(X, *start)
    assert all(np.array_equal(a, b) for a, b in zip(start, kept, strict=True))


def test_the_table_of_a_run() -> None:
    seen = []
    bench = run_bench(
        n_examples=60,
        n_columns=40,
        ranks=[2, 3],
        threads=[2, 1],
        repeats=2,
        progress=lambda *counts: seen.append(counts),
    )
    assert [(row.rank, row.threads, row.compute) for row in bench.rows] == [
        (2, 1, "float32"),
        (2, 2, "float32"),
        (3, 1, "float32"),
        (3, 2, "float32"),
    ]
    assert seen == [(done, 12) for done in range(1, 13)]
    assert set(bench.machines) == {1, 2}
    assert bench.stored_bytes == 60 * (5 + 2 * 35)
    for row in bench.rows:
        assert row.operations == 4 * 60 * 40 * row.rank
        assert row.flops == row.operations / row.seconds
        assert row.floor == bench.machines[row.threads].floor(row.operations, bench.stored_bytes)
        assert 0 < row.share == row.floor.seconds / row.seconds
        assert 0 < row.loss < 1
        # scikit-learn is timed with the most threads alone, and solves the same problem.
        assert (row.sklearn_seconds is None) == (row.speedup is None) == (row.threads == 1)
        if row.sklearn_loss is not None:
            assert row.loss == pytest.approx(row.sklearn_loss, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_examples": 0}, "n_examples must be at least 1, got 0"),
        ({"n_columns": 7}, "n_columns must be at least 8, got 7"),
        ({"ranks": [3, 0]}, "ranks must be at least 1, got 0"),
        ({"threads": [0]}, "threads must be at least 1, got 0"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"n_iterations": 1}, "n_iterations must be at least 2, got 1"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_bench(**arguments)


def test_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [Row(20, 1, "float32", 1e9, 0.1, Floor(0.05, 0.01), 0.5)]
    bench = Bench(10, 20, 400, {1: Machine(1, "avx2", {"float32": 2e10}, 1e10)}, rows)
    assert draw_bench(bench, tmp_path / "bench.svg").read_text().startswith("<?xml")


# The command


def test_the_command_times_both_kinds_of_products(run: Run) -> None:
    status, out, err = run(
        *SMALL, "--repeats", "1", "--no-peers", "--compute", "float32", "--compute", "bfloat16"
    )
    assert (status, err) == (0, "")
    kinds = [line.split()[2] for line in out.splitlines() if line.split()[:1] == ["3"]]
    assert sorted(set(kinds)) == ["bfloat16", "float32"]


def test_the_command_prints_two_tables(run: Run) -> None:
    status, out, err = run(*SMALL, "--repeats", "1")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("60 x 40 in uint8 and float16")
    assert lines[1].startswith("at most, 1 thread: ")
    assert lines[2].startswith("at most, 2 threads: ")
    assert lines[4].split()[:5] == ["rank", "threads", "compute", "ms", "GFLOP/s"]
    assert "scikit-learn ms" in out
    assert max(map(len, lines)) <= 90


def test_the_command_without_peers_and_with_json(run: Run) -> None:
    status, out, _ = run(*SMALL, "--repeats", "1", "--no-peers", "--json", "bench.json")
    assert status == 0
    assert "scikit-learn" not in out
    found = json.loads(Path("bench.json").read_text())
    assert [row["rank"] for row in found["rows"]] == [2, 2, 3, 3]
    assert found["rows"][0]["share"] > 0
    assert found["rows"][0]["floor"]["memory"] > 0
    assert found["machines"][1]["threads"] == 2


def test_quiet_prints_nothing(run: Run) -> None:
    assert run(*SMALL, "--repeats", "1", "-q", "--json", "bench.json") == (0, "", "")
    assert Path("bench.json").is_file()


def test_the_command_draws(run: Run) -> None:
    pytest.importorskip("matplotlib")
    assert run(*SMALL, "--repeats", "1", "--plot", "bench.png")[0] == 0
    assert Path("bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "7"], "Invalid value for '--columns': 7 is not in the range x>=8"),
        (["--rank", "20,x"], "Invalid value for '--rank': '20,x' is not like 20,50,128"),
        (["--threads", "0"], "Invalid value for '--threads': '0' is not like 20,50,128"),
        (["--json", "absent/bench.json"], "there is no directory absent for bench.json"),
    ],
)
def test_bad_input_is_one_line(run: Run, arguments: list[str], message: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"cofactor: error: {message}")


def test_a_plot_of_no_known_kind(run: Run) -> None:
    pytest.importorskip("matplotlib")
    status, _, err = run("--plot", "bench.xyz")
    assert status == 2
    assert err == "cofactor: error: --plot bench.xyz: name a .png, .svg or .pdf file\n"


def test_a_plot_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = run("--plot", "bench.png")
    assert (status, out) == (2, "")
    assert err == (
        "cofactor: error: --plot needs matplotlib, which is not installed; install it with: "
        "pip install 'cofactor[report]'\n"
    )


def test_settings_that_slow_numpy_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert "OPENBLAS_CORETYPE may slow scikit-learn" in run(*SMALL, "--repeats", "1")[1]
    assert "OPENBLAS" not in run(*SMALL, "--repeats", "1", "--no-peers")[1]
