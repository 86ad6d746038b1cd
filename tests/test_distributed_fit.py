"""Fits on several processes: the same as on one, to within rounding, and all or none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cofactor as cf
import distributed_tasks as tasks
from cofactor import _core
from process_pool import Ended, Pool

pytest.importorskip("torch")

X = tasks.planted(2500, {"a": 40, "b": 70}, 4, np.float32)
# Whether an extrapolation is taken back is a matter of rounding once a fit has converged.
PLAIN: dict[str, Any] = {
    "n_components": 4, "random_state": 0, "tol": 0, "max_iter": 8, "acceleration": None,
}  # fmt: skip


def tolerance(float64: bool) -> float:
    """By how much losses on several processes may differ from those on one.

    A loss comes from sums whose roundings are bounded by a hundredth of what the loss must have to
    be trusted with them (csrc/als/loss.cpp). Two fits that round otherwise may each be off by that.
    """
    return 2 * _core.identity_limit(float64) / 100


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("store") / "acts"
    tasks.write_store(path, X)
    return str(path)


def assert_same_fit(alone: dict[str, Any], ranks: list[dict[str, Any]], float64: bool) -> None:
    for found in ranks:
        for name in tasks.LEARNED:
            # Every rank has learned the same, bit for bit.
            np.testing.assert_equal(found[name], ranks[0][name], name)
        np.testing.assert_allclose(
            found["loss_history_"], alone["loss_history_"], rtol=0, atol=tolerance(float64)
        )
        assert found["stop_reason_"] == alone["stop_reason_"]
        assert found["n_passes_"] == alone["n_passes_"]
        assert found["same_W"]
    W = np.concatenate([found["W"] for found in ranks])
    assert W.shape == alone["W"].shape


@pytest.mark.parametrize(
    ("init", "dtype"),
    [("compressed", "float16"), ("sample", "float32"), ("random", "float64"), ("nndsvda", "uint8")],
)
def test_a_store_on_one_two_and_four_processes(
    pool: Pool, tmp_path: Path, init: str, dtype: str
) -> None:
    """Compression pays where data is wide, samples where it is long."""
    columns = {"a": 500, "b": 700} if init == "compressed" else {"a": 40, "b": 70}
    data = tasks.planted(2600, columns, 4, np.float64)
    scaled = {name: (x * 20 if dtype == "uint8" else x).astype(dtype) for name, x in data.items()}
    tasks.write_store(tmp_path / "acts", scaled)
    parameters = {**PLAIN, "init": init, "acceleration": "auto" if init == "random" else None}
    given = ((str(tmp_path / "acts"), slice(None)), parameters, {})
    (alone,) = pool.run(1, tasks.fit, *given)
    assert bool(alone["sample_losses_"]) == (init in ("compressed", "sample"))
    for size in (2, 4):
        ranks = pool.run(size, tasks.fit, *given)
        assert_same_fit(alone, ranks, dtype == "float64")
        # One message an iteration, whatever the number of views.
        assert np.diff(ranks[0]["counts"]).tolist() == [1] * (PLAIN["max_iter"] - 1)
        if dtype == "float64":
            # Panels are whole: only their sums are added in another order.
            W = np.concatenate([found["W"] for found in ranks])
            np.testing.assert_allclose(W, alone["W"], rtol=1e-8, atol=1e-8 * alone["W"].max())
    assert_bits(pool.run(4, tasks.fit, *given), ranks)


def assert_bits(again: list[dict[str, Any]], ranks: list[dict[str, Any]]) -> None:
    for one, other in zip(again, ranks, strict=True):
        np.testing.assert_equal(one, other)


def test_arrays_selected_rows_and_blocks(pool: Pool, store: str) -> None:
    (alone,) = pool.run(1, tasks.fit, X, PLAIN, {})
    assert_same_fit(alone, pool.run(3, tasks.fit, X, PLAIN, {}), False)
    rows = np.random.default_rng(0).permutation(2500)[:2100]
    (alone,) = pool.run(1, tasks.fit, (store, rows), PLAIN, {})
    assert_same_fit(alone, pool.run(2, tasks.fit, (store, rows), PLAIN, {}), False)
    for losses in pool.run(2, tasks.fit_blocks, X, PLAIN):
        np.testing.assert_allclose(
            losses, pool.run(1, tasks.fit_blocks, X, PLAIN)[0], rtol=0, atol=tolerance(False)
        )


def test_processes_may_have_no_examples(pool: Pool) -> None:
    few = {name: x[[0, 800, 1600]].astype(np.float64) for name, x in X.items()}
    parameters = {**PLAIN, "n_components": 2, "max_iter": 4}
    (alone,) = pool.run(1, tasks.fit, few, parameters, {})
    ranks = pool.run(4, tasks.fit, few, parameters, {})
    assert [len(found["W"]) for found in ranks] == [0, 1, 1, 1]
    assert_same_fit(alone, ranks, True)


def terms() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    weight = rng.random(2500)
    weight[:600] = 0.0  # all that rank 0 of four has
    has_b = rng.random(2500) < 0.7
    has_b[1200:] = True  # the last rank knows of no missing view
    groups = np.array([f"g{i}" for i in np.arange(2500) // 400])
    return {"sample_weight": weight, "mask": {"b": has_b}, "groups": groups}


@pytest.mark.parametrize("from_store", [True, False])
def test_weights_masks_groups_and_penalties(pool: Pool, tmp_path: Path, from_store: bool) -> None:
    double = {name: x.astype(np.float64) for name, x in X.items()}
    tasks.write_store(tmp_path / "acts", double)
    data = (str(tmp_path / "acts"), slice(None)) if from_store else double
    parameters = {
        **PLAIN, "alpha_W": 1e-4, "alpha_H": 1e-4, "l1_ratio": 0.3, "group_sparsity": 2.0,
    }  # fmt: skip
    (alone,) = pool.run(1, tasks.fit, data, parameters, terms())
    ranks = pool.run(4, tasks.fit, data, parameters, terms())
    assert_same_fit(alone, ranks, True)
    assert ranks[0]["groups_"].tolist() == [f"g{i}" for i in range(7)]
    np.testing.assert_allclose(
        ranks[0]["group_norms_"], alone["group_norms_"], rtol=1e-6, atol=1e-6
    )


def test_a_dead_component_gets_the_row_of_largest_residual_of_all(pool: Pool) -> None:
    H = {name: np.random.default_rng(1).random((4, x.shape[1])) for name, x in X.items()}
    for h in H.values():
        h[2] = 0.0
    double = {name: x.astype(np.float64) for name, x in X.items()}
    double["a"][1700] *= 30.0  # of the second or the third rank
    parameters = {**PLAIN, "max_iter": 5}
    (alone,) = pool.run(1, tasks.fit, double, parameters, {"H": H})
    assert alone["n_reseeded_"] == 1
    for size in (2, 4):
        ranks = pool.run(size, tasks.fit, double, parameters, {"H": H})
        assert_same_fit(alone, ranks, True)
        np.testing.assert_allclose(
            ranks[0]["components_"]["a"], alone["components_"]["a"], rtol=1e-8, atol=1e-8
        )


def test_many_fits_and_online_fits(pool: Pool, store: str) -> None:
    (alone,) = pool.run(1, tasks.fit_many, store)
    ranks = pool.run(2, tasks.fit_many, store)
    for i, (_, W, loss) in enumerate(alone):
        np.testing.assert_array_equal(ranks[0][i][0], ranks[1][i][0])
        assert sum(len(found[i][1]) for found in ranks) == len(W)
        assert ranks[0][i][2] == pytest.approx(loss, abs=tolerance(False))
    ((_, losses),) = pool.run(1, tasks.fit_online, X)
    online = pool.run(2, tasks.fit_online, X)
    np.testing.assert_array_equal(online[0][0], online[1][0])
    np.testing.assert_allclose(online[0][1], losses, rtol=0, atol=tolerance(False))


def test_the_seed_of_rank_0_is_that_of_all(pool: Pool) -> None:
    first, second = pool.run(2, tasks.fit_unseeded, X)
    np.testing.assert_array_equal(first, second)


def test_the_one_view_estimator_works_alone(pool: Pool) -> None:
    expected = cf.NMF(2, random_state=0, max_iter=5, tol=0, n_threads=1).fit(X["a"]).components_
    np.testing.assert_array_equal(pool.run(2, tasks.fit_sklearn, X["a"])[1], expected)


def test_results_on_disk_have_all_rows(pool: Pool, store: str, tmp_path: Path) -> None:
    ranks = pool.run(3, tasks.write_results, store, str(tmp_path))
    W = np.concatenate([found["W"] for found in ranks])
    assert W.shape == (2500, 3)
    for found in ranks:
        assert found["equal"]
        np.testing.assert_array_equal(found["loaded"], W)
    for name in ("W.npy", "encoded.npy", "run/W.npy", "again/W.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / name), W)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "W.npy", "again", "encoded.npy", "run",
    ]  # fmt: skip


def test_a_fit_goes_on_from_the_checkpoint_of_rank_0(
    pool: Pool, store: str, tmp_path: Path
) -> None:
    assert pool.run(3, tasks.stop_and_resume, store, str(tmp_path / "one")) == [True] * 3
    # On another number of processes it goes on, too: a whole store says what it is.
    pool.run(2, tasks.resume, store, str(tmp_path / "two"), 4)
    (one,) = pool.run(1, tasks.resume, store, str(tmp_path / "two"), 8)
    (whole,) = pool.run(1, tasks.resume, store, str(tmp_path / "three"), 8)
    np.testing.assert_allclose(one, whole, rtol=0, atol=tolerance(False))


def errors(ended: list[Ended]) -> list[str]:
    for end in ended:
        assert end.error is not None
    return [f"{end.error}: {end.message}" for end in ended]


def test_what_differs_between_ranks_is_said_on_all(pool: Pool, store: str, tmp_path: Path) -> None:
    changed = {name: x.copy() for name, x in X.items()}
    changed["a"][0, 0] += 1
    tasks.write_store(tmp_path / "changed", changed)
    tasks.write_store(tmp_path / "half", {name: x.astype(np.float16) for name, x in X.items()})
    tasks.write_store(tmp_path / "views", {"a": X["a"], "c": X["b"]})

    def said(expected: str, paths: Any = (), options: Any = (), calls: Any = ()) -> None:
        ended = pool.try_run(
            2,
            tasks.fit_own,
            [store, str(tmp_path / paths) if paths else store],
            [{}, options or {}],
            [{}, calls or {}],
        )
        for text in errors(ended):
            assert text.startswith("ValueError: the ranks of "), text
            assert expected in text

    said("the fingerprint of the store is '", "changed")
    said("the dtypes of the views is ['float32', 'float32'] on rank 0 and", "half")
    said("the names of the views is ['a', 'b'] on rank 0 and ['a', 'c'] on rank 1", "views")
    said("cofactor is '", options={"version": "0.0.1"})
    said("n_components is 2 on rank 0 and 3 on rank 1", options={"n_components": 3})
    said("random_state is 0 on rank 0 and 1 on rank 1", options={"random_state": 1})
    said("tol is 0 on rank 0 and 0.5 on rank 1", options={"tol": 0.5})
    said("W_path is None on rank 0 and", calls={"W_path": str(tmp_path / "W.npy")})
    said("sample_weight or groups is None on rank 0", calls={"sample_weight": np.ones(2500)})


def test_bad_data_on_one_rank_ends_all(pool: Pool, store: str, tmp_path: Path) -> None:
    good = {"a": X["a"][:100]}
    broken = {"a": X["a"][100:200].copy()}
    for value, what in ((np.nan, "contains NaN or infinity (1 values)"), (-3.0, "minimum -3;")):
        broken["a"][5, 5] = value
        for text in errors(pool.try_run(2, tasks.fit_arrays, [good, broken], [{}, {}])):
            assert text.startswith("ValueError")
            assert what in text
    weights = [{"sample_weight": np.ones(100)}, {}]
    for text in errors(pool.try_run(2, tasks.fit_arrays, [good, good], weights)):
        assert "whether there is a sample_weight is True on rank 0 and False on rank 1" in text
    none = [{"sample_weight": np.zeros(100)}] * 2
    for text in errors(pool.try_run(2, tasks.fit_arrays, [good, good], none)):
        assert "at least 0, not all 0" in text


def test_a_file_that_one_rank_cannot_read_ends_all(pool: Pool, store: str, tmp_path: Path) -> None:
    copy = tmp_path / "acts"
    shutil.copytree(store, copy)
    texts = errors(pool.try_run(2, tasks.lose_a_file, [store, str(copy)]))
    assert texts[0].startswith("DistributedError: rank 1 ended CoupledNMF.fit with ")
    assert texts[0].endswith(texts[1])
    assert str(copy) in texts[1]


def test_the_command_line_on_two_processes(pool: Pool, store: str, tmp_path: Path) -> None:
    run, W = str(tmp_path / "run"), str(tmp_path / "W.npy")
    fit = ["fit", store, "--rank", "3", "--max-iter", "5", "--tol", "0", "--out", run]
    (first, out, err), other = pool.run(2, tasks.command, fit)
    assert (first, other) == (0, (0, "", ""))
    assert "3 components after 5 iterations" in out
    assert not err
    (first, out, _), other = pool.run(2, tasks.command, ["encode", run, store, "--out", W])
    assert (first, other) == (0, (0, "", ""))
    assert "2,500 examples x 3 components" in out
    np.testing.assert_array_equal(np.load(W), cf.load(run).W_)
    for status, _, err in pool.run(2, tasks.command, fit):
        assert status == 2
        assert "holds a fit already; give --overwrite" in err


def test_torchrun(store: str, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    fit = ["fit", store, "--rank", "3", "--max-iter", "5", "--tol", "0", "--out", "run"]
    done = subprocess.run(
        [*launch, "-m", "cofactor", *fit],
        capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 components after 5 iterations") == 1
    nmf = cf.load(tmp_path / "run")
    assert nmf.W_.shape == (2500, 3)
    assert nmf.n_iter_ == 5
