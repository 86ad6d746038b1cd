"""Starting factors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition._nmf import _initialize_nmf

import cofactor as cf
from cofactor.init import nndsvd_passes, random_start


def low_rank(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    W = rng.random((90, 6)) * (rng.random((90, 6)) > 0.5)
    H = rng.random((6, 70)) * (rng.random((6, 70)) > 0.5)
    X = W @ H + 0.01 * rng.random((90, 70))
    return {"a": X[:, :30], "b": X[:, 30:]}


def first_start(views: dict[str, np.ndarray], **options: object) -> dict[str, np.ndarray]:
    """The start that a fit makes, seen through an estimator that has not begun."""
    nmf = cf.CoupledNMF(4, random_state=0, **options)
    from cofactor import nmf as module

    data = module.load_views(views, caller="test")
    squares = [entry[0] for entry in module._statistics(data, None)]
    nmf.weights_ = module.resolve_weights(nmf.weights, data.names, squares)
    nmf._n_examples, nmf._n_columns = 90, data.n_columns
    return dict(zip(views, nmf._start(data, squares), strict=True))


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
