"""Starting factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition._nmf import _initialize_nmf

import cofactor as cf
from cofactor._parameters import resolve_weights
from cofactor._views import load_views
from cofactor.init import (
    compressed_iterations,
    compressed_rank,
    make_start,
    nndsvd_passes,
    random_start,
    sample_iterations,
    sample_sizes,
)


def low_rank(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    W = rng.random((90, 6)) * (rng.random((90, 6)) > 0.5)
    H = rng.random((6, 70)) * (rng.random((6, 70)) > 0.5)
    X = W @ H + 0.01 * rng.random((90, 70))
    return {"a": X[:, :30], "b": X[:, 30:]}


def first_start(views: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    """The start of a fit, before its first pass over all of the data."""
    nmf = cf.CoupledNMF(4, random_state=0, **options)
    data = load_views(views, caller="test").with_statistics(None)
    nmf.weights_ = resolve_weights(nmf.weights, data.names, data.sums_of_squares)
    nmf._n_columns = data.n_columns
    start = make_start(
        data,
        nmf.weights_,
        4,
        nmf.init,
        np.random.RandomState(0),
        penalties=nmf._penalties(data),
        engine_for=nmf._engine,
        n_threads=None,
        extrapolate=True,
        rounded=False,
    )
    return dict(zip(views, start.factors, strict=True))


@pytest.mark.parametrize("weights", ["equal", {"a": 0.3, "b": 2.0}])
def test_nndsvd_is_scikit_learns_on_the_views_side_by_side(weights: object) -> None:
    views = low_rank()
    w = {"a": 1.0, "b": 1.0} if weights == "equal" else weights
    side_by_side = np.hstack([np.sqrt(w[v]) * views[v] for v in views])
    _, expected = _initialize_nmf(side_by_side, 4, init="nndsvd", random_state=0)
    start = first_start(views, init="nndsvd", weights=weights)
    found = np.hstack([np.sqrt(w[v]) * start[v] for v in views])
    # Both are randomized SVDs of a matrix with a gap behind its sixth singular value.
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())


def test_nndsvda_fills_zeros_with_the_mean() -> None:
    views = low_rank()
    mean = np.hstack(list(views.values())).mean()
    plain, filled = first_start(views, init="nndsvd"), first_start(views, init="nndsvda")
    for name in views:
        zeros = plain[name] == 0
        assert zeros.any()
        np.testing.assert_allclose(filled[name][zeros], mean, rtol=0.02)
        assert np.array_equal(filled[name][~zeros], plain[name][~zeros])


def test_nndsvdar_fills_zeros_with_small_numbers() -> None:
    views = low_rank()
    plain, filled = first_start(views, init="nndsvd"), first_start(views, init="nndsvdar")
    mean = np.hstack(list(views.values())).mean()
    for name in views:
        small = filled[name][plain[name] == 0]
        assert (small > 0).all()
        assert small.max() < 0.1 * mean


@pytest.mark.parametrize("init", ["random", "nndsvd", "nndsvda", "nndsvdar"])
def test_every_start_fits_and_its_reads_are_counted(init: str) -> None:
    views = low_rank()
    nmf = cf.CoupledNMF(4, init=init, random_state=0, tol=0, max_iter=10).fit(views)
    start_passes = 0 if init == "random" else nndsvd_passes
    # One read checks the arrays, one solves the final W.
    assert nmf.n_passes_ == 1 + start_passes + 10 + 1
    assert nmf.loss_history_[-1] < 0.1
    again = cf.CoupledNMF(4, init=init, random_state=0, tol=0, max_iter=10).fit(views)
    assert again.loss_history_ == nmf.loss_history_


def test_nndsvd_beats_random_after_one_pass() -> None:
    views = low_rank()
    losses = {
        init: cf.CoupledNMF(4, init=init, random_state=0, tol=0, max_iter=1)
        .fit(views)
        .loss_history_[0]
        for init in ("random", "nndsvd")
    }
    assert losses["nndsvd"] < losses["random"]


def test_nndsvd_with_a_passive_view() -> None:
    views = {**low_rank(), "c": np.random.default_rng(1).random((90, 5))}
    start = first_start(views, init="nndsvd", weights={"c": 0.0})
    np.testing.assert_allclose(start["a"], first_start(low_rank(), init="nndsvd")["a"], rtol=0.05)
    assert (start["c"] > 0).all()


def test_nndsvd_refuses_more_components_than_the_data_has() -> None:
    with pytest.raises(ValueError, match=r"min\(n_examples, n_columns\) = 3, got 4"):
        cf.CoupledNMF(4, init="nndsvd").fit({"a": np.ones((3, 9))})


def test_random_start_has_the_scale_of_its_view() -> None:
    start = random_start(5, [2000, 2000], [1.0, 100.0], np.random.RandomState(0))
    for h, rms in zip(start, (1.0, 100.0), strict=True):
        assert np.sqrt((h**2).mean()) == pytest.approx(rms / np.sqrt(5), rel=0.05)
        assert (h >= 0).all()


def many_examples(order: str) -> dict[str, np.ndarray]:
    """5,000 examples of ten kinds, kind by kind or mixed."""
    rng = np.random.default_rng(2)
    kinds = np.repeat(np.arange(10), 500)
    if order == "mixed":
        kinds = rng.permutation(kinds)
    X = np.eye(10)[kinds] @ rng.random((10, 60)) + rng.random((5000, 60))
    return {"a": X[:, :25].astype(np.float32), "b": X[:, 25:].astype(np.float16)}


@pytest.mark.parametrize("order", ["sorted", "mixed"])
def test_samples_save_passes(order: str) -> None:
    views = many_examples(order)
    options = {"random_state": 0, "tol": 0, "max_iter": 1}
    sampled = cf.CoupledNMF(10, **options).fit(views)
    at_random = cf.CoupledNMF(10, init="random", **options).fit(views)
    sizes = sample_sizes(5000, 10)
    assert sizes == [250, 500]
    assert [len(losses) for losses in sampled.sample_losses_] == [sample_iterations] * 2
    best = cf.CoupledNMF(10, random_state=0, tol=0, max_iter=50).fit(views).loss_history_[-1]
    assert sampled.loss_history_[0] - best < 0.1 * (at_random.loss_history_[0] - best)
    # Checking the arrays, one pass and the final W; a sample is also read for its statistics.
    assert at_random.n_passes_ == 3
    assert sampled.n_passes_ == pytest.approx(3 + (sample_iterations + 1) * sum(sizes) / 5000)
    again = cf.CoupledNMF(10, **options).fit(views)
    assert again.loss_history_ == sampled.loss_history_


def test_samples_of_a_store_are_those_of_its_arrays(tmp_path: Path) -> None:
    views = many_examples("sorted")
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in views.items()}
    with cf.ActivationStore.create(tmp_path / "s", described, rows_per_shard=512) as writer:
        writer.append(views)
    rows = np.array([0, 1, 511, 512, 1700, 4999])
    taken = load_views(cf.ActivationStore(tmp_path / "s"), caller="test").take([rows])[0]
    expected = load_views(views, caller="test").take([rows])[0]
    for found in (taken, expected):
        assert found.n_examples == len(rows)
    assert (
        taken.with_statistics(None).sums_of_squares
        == expected.with_statistics(None).sums_of_squares
    )


def test_sample_sizes_cost_at_most_two_passes() -> None:
    for n in (100, 2_499, 2_500, 10_000, 123_456, 10**9):
        for k in (1, 20, 64, 512):
            sizes = sample_sizes(n, k)
            assert sample_iterations * sum(sizes) <= 2 * n
            assert all(size >= 12 * k for size in sizes)
    assert sample_sizes(2_499, 20) == []


def wide_views(seed: int = 0) -> dict[str, np.ndarray]:
    """Views wide enough to be compressed at rank 4, with noise that is not of low rank."""
    rng = np.random.default_rng(seed)
    W = rng.gamma(0.3, 1.0, (1500, 6))
    X = W @ rng.gamma(0.3, 1.0, (6, 2400)) + 0.5 * rng.standard_exponential((1500, 2400))
    return {"a": X[:, :900].astype(np.float32), "b": X[:, 900:].astype(np.float16)}


@pytest.mark.parametrize("weights", ["equal", {"a": 3.0, "b": 0.1}, {"a": 0.0, "b": 1.0}])
def test_compressed_data_save_passes(weights: object) -> None:
    views = wide_views()
    options = {"weights": weights, "random_state": 0, "tol": 0, "max_iter": 1}
    compressed = cf.CoupledNMF(4, **options).fit(views)
    (losses,) = compressed.sample_losses_
    assert 0.5 * compressed_iterations(4) < len(losses) <= compressed_iterations(4)
    at_random = cf.CoupledNMF(4, init="random", **options).fit(views)
    best = min(
        cf.CoupledNMF(4, init=init, **{**options, "max_iter": 60}).fit(views).loss_history_[-1]
        for init in ("compressed", "random")
    )
    assert compressed.loss_history_[0] - best < 0.02 * (at_random.loss_history_[0] - best)


def test_reads_of_compressed_data_are_counted() -> None:
    views = wide_views()
    nmf = cf.CoupledNMF(4, random_state=0, tol=0, max_iter=3).fit(views)
    assert compressed_rank(1500, 2400, 4) == 28
    # Checking the arrays, 500 examples twice, the projection, iterations on 28 of 1,500 columns and
    # 28 of 2,400 rows, the loop, and the final W.
    shares = compressed_iterations(4) * 28 * (1 / 1500 + 1 / 2400)
    assert nmf.n_passes_ == pytest.approx(1 + 2 * 500 / 1500 + 1 + shares + 3 + 1)
    assert nmf.n_iter_ == 3


@pytest.mark.parametrize("threads", [1, 2])
def test_a_compressed_start_does_not_depend_on_threads(threads: int) -> None:
    views = wide_views()
    options = {"random_state": 0, "tol": 0, "max_iter": 2}
    nmf = cf.CoupledNMF(4, n_threads=threads, **options).fit(views)
    expected = cf.CoupledNMF(4, n_threads=3, **options).fit(views)
    assert nmf.loss_history_ == expected.loss_history_
    assert np.array_equal(nmf.W_, expected.W_)


def test_a_compressed_start_knows_the_penalties() -> None:
    views = wide_views()
    options = {"alpha_W": 0.05, "l1_ratio": 0.5, "random_state": 0, "tol": 0, "weights": {"b": 0.3}}
    nmf = cf.CoupledNMF(4, max_iter=40, **options).fit(views)
    without = cf.CoupledNMF(4, **{**options, "alpha_W": 0.0}, max_iter=1).fit(views)
    # The penalised minimum has the higher loss, and the fit begins there.
    assert nmf.loss_history_[-1] > 1.05 * without.loss_history_[0]
    assert nmf.loss_history_[0] == pytest.approx(nmf.loss_history_[-1], rel=1e-3)


@pytest.mark.usefixtures("fast_bfloat16")
@pytest.mark.parametrize("compute", ["auto", "bfloat16"])
def test_a_rounded_compression_begins_as_well(compute: str) -> None:
    views = wide_views()
    exact = cf.CoupledNMF(4, random_state=0, tol=0, max_iter=2).fit(views)
    rounded = cf.CoupledNMF(4, random_state=0, tol=0, max_iter=2, compute=compute).fit(views)
    assert rounded.sample_losses_ != exact.sample_losses_
    # Rounding moves a number by 2^-9 at most, and a residual of a few per cent by less.
    assert rounded.loss_history_[-1] == pytest.approx(exact.loss_history_[-1], rel=1e-2)


def test_data_that_cannot_be_compressed_start_at_random() -> None:
    nothing = cf.CoupledNMF(4, random_state=0, tol=0, max_iter=1).fit(
        {"a": np.zeros((1500, 2400), np.float32)}
    )
    assert nothing.sample_losses_ == []
    assert nothing.reconstruction_err_ == 0
    huge = {"a": np.full((1500, 2400), 1e25, np.float32)}
    with pytest.raises(ValueError, match="too large for products in float32"):
        cf.CoupledNMF(4, random_state=0, tol=0, max_iter=1).fit(huge)


def test_data_are_compressed_where_that_is_small() -> None:
    for n, d, k in ((10_000, 28_160, 20), (10_000, 512, 20), (10**6, 481, 20)):
        rank = compressed_rank(n, d, k)
        assert rank == 60
        assert 8 * rank * (n + d) <= n * d
    assert compressed_rank(10**6, 480, 20) == 0
    assert compressed_rank(1797, 64, 10) == 0
