"""partial_fit: examples that never come back."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.datasets import load_digits
from sklearn.decomposition import MiniBatchNMF

import cofactor as cf

pytestmark = pytest.mark.usefixtures("auto_device")


def make_views(seed: int, n: int, noise: float = 0.02) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    H = {"a": rng.random((4, 30)), "b": rng.random((4, 12))}
    rng = np.random.default_rng(seed)
    W = rng.random((n, 4)) * (rng.random((n, 4)) < 0.6)
    return {v: W @ h + noise * rng.random((n, h.shape[1])) for v, h in H.items()}


def rows(views: dict[str, np.ndarray], part: slice) -> dict[str, np.ndarray]:
    return {name: X[part] for name, X in views.items()}


def test_one_block_is_two_plain_iterations() -> None:
    views = make_views(0, 700)
    start = {v: np.random.default_rng(1).random((4, X.shape[1])) for v, X in views.items()}
    online = cf.CoupledNMF(4, alpha_W=1e-3).partial_fit(views, H=start)
    whole = cf.CoupledNMF(4, alpha_W=1e-3, acceleration=None, tol=0, max_iter=2)
    whole.fit(views, H=start)
    for name in views:
        np.testing.assert_array_equal(online.components_[name], whole.components_[name])
    assert online.loss_history_ == [whole.loss_history_[-1]]
    assert online.view_losses_ == whole.view_losses_


def test_sums_are_those_of_a_plain_reference() -> None:
    def solve(G: np.ndarray, right: np.ndarray) -> np.ndarray:
        L = np.linalg.cholesky(G)
        return np.stack([nnls(L.T, np.linalg.solve(L, b))[0] for b in right])

    views = make_views(2, 120)
    weights = np.random.default_rng(3).random(120)
    start = {v: np.random.default_rng(4).random((3, X.shape[1])) for v, X in views.items()}
    nmf = cf.CoupledNMF(3, forget_factor=0.8)
    H = {v: h.copy() for v, h in start.items()}
    C, S = np.zeros((3, 3)), {v: np.zeros_like(h) for v, h in H.items()}
    for first in range(0, 120, 40):
        part = slice(first, first + 40)
        block = rows(views, part)
        nmf.partial_fit(block, H=start if first == 0 else None, sample_weight=weights[part])
        for _ in range(2):
            G = sum(h @ h.T for h in H.values())
            W = solve(G, sum(block[v] @ H[v].T for v in H))
            weighted = W.T * weights[part]
            new_C = 0.8 * C + weighted @ W
            new_S = {v: 0.8 * S[v] + weighted @ block[v] for v in H}
            H = {v: solve(new_C, new_S[v].T).T for v in H}
        C, S = new_C, new_S
    for name, h in H.items():
        np.testing.assert_allclose(nmf.components_[name], h, atol=1e-7)


def test_learns_from_blocks_and_a_later_fit_goes_on_from_there() -> None:
    views = make_views(5, 3000)
    nmf = cf.CoupledNMF(4, random_state=0, forget_factor=0.9)
    for first in range(0, 3000, 100):
        nmf.partial_fit(rows(views, slice(first, first + 100)))
    assert len(nmf.loss_history_) == 30
    assert nmf.W_.shape == (0, 4)
    fresh = make_views(6, 500)

    def error(model: cf.CoupledNMF) -> float:
        back = model.inverse_transform(model.transform(fresh))
        return sum(((fresh[v] - back[v]) ** 2).sum() for v in fresh)

    batch = cf.CoupledNMF(4, random_state=0).fit(views)
    # Of the same blocks, scikit-learn's online method makes far less.
    peer = MiniBatchNMF(4, random_state=0, forget_factor=0.9)
    for first in range(0, 3000, 100):
        peer.partial_fit(np.hstack([X[first : first + 100] for X in views.values()]))
    side_by_side = np.hstack(list(fresh.values()))
    back = peer.inverse_transform(peer.transform(side_by_side))
    assert error(batch) < error(nmf) < 0.2 * ((side_by_side - back) ** 2).sum()
    found = {name: h.copy() for name, h in nmf.components_.items()}
    nmf.fit(views)
    again = cf.CoupledNMF(4, random_state=0, forget_factor=0.9).fit(views, H=found)
    np.testing.assert_array_equal(nmf.W_, again.W_)
    # The fit has used it up: the next one starts afresh.
    np.testing.assert_array_equal(nmf.fit(views).W_, batch.W_)


@pytest.mark.parametrize("rows_per_block", [40, 150])
@pytest.mark.parametrize("data", ["exact", "noisy", "digits"])
def test_by_default_error_is_below_that_of_scikit_learn(data: str, rows_per_block: int) -> None:
    """After half an epoch and a whole one, on the same blocks, with the defaults of both."""
    rng = np.random.default_rng(13)
    if data == "digits":
        X = rng.permutation(load_digits().data)
    else:
        W = rng.random((1200, 4)) * (rng.random((1200, 4)) < 0.6)
        X = W @ rng.random((4, 30)) + (0.05 if data == "noisy" else 0.0) * rng.random((1200, 30))
    k = 10 if data == "digits" else 4
    ours, peer = cf.NMF(k, random_state=0), MiniBatchNMF(k, random_state=0)

    def error(model: cf.NMF | MiniBatchNMF) -> float:
        return float(((X - model.inverse_transform(model.transform(X))) ** 2).sum())

    starts = range(0, len(X) - rows_per_block + 1, rows_per_block)
    for number, first in enumerate(starts, start=1):
        block = X[first : first + rows_per_block]
        ours.partial_fit(block)
        peer.partial_fit(block)
        if number in (len(starts) // 2, len(starts)):
            assert error(ours) <= error(peer)


def test_by_default_examples_fade_as_more_come() -> None:
    views = make_views(14, 120)
    start = {v: np.random.default_rng(4).random((3, X.shape[1])) for v, X in views.items()}
    weight = np.random.default_rng(5).random(120)
    faded, by_hand = cf.CoupledNMF(3), cf.CoupledNMF(3)
    seen = 0.0
    for first, last in ((0, 20), (20, 90), (90, 120)):
        part = slice(first, last)
        given = {"H": start if first == 0 else None, "sample_weight": weight[part]}
        faded.partial_fit(rows(views, part), **given)
        new = weight[part].sum()
        by_hand.set_params(forget_factor=(seen / (seen + new)) ** 5)
        by_hand.partial_fit(rows(views, part), **given)
        seen += new
    for name, H in faded.components_.items():
        np.testing.assert_allclose(H, by_hand.components_[name], rtol=1e-9, atol=1e-12)


def test_forgetting_follows_data_that_changes() -> None:
    rng = np.random.default_rng(8)
    old, new = rng.random((2, 3, 20))
    errors = {}
    for factor in (1.0, 0.5):
        nmf = cf.CoupledNMF(3, random_state=0, forget_factor=factor)
        for H in [old] * 30 + [new] * 10:
            nmf.partial_fit({"x": rng.random((50, 3)) @ H})
        X = {"x": rng.random((200, 3)) @ new}
        errors[factor] = ((X["x"] - nmf.inverse_transform(nmf.transform(X))["x"]) ** 2).sum()
    assert errors[0.5] < 0.5 * errors[1.0]


def test_blocks_may_lack_views_and_states_may_be_pickled() -> None:
    views = make_views(9, 600)
    mask = {"b": np.random.default_rng(10).random(600) < 0.5}
    views["b"][~mask["b"]] = np.nan
    nmf, copied = cf.CoupledNMF(4, random_state=0), None
    for first in range(0, 600, 150):
        part = slice(first, first + 150)
        nmf.partial_fit(rows(views, part), mask=rows(mask, part))
        if copied is not None:
            copied.partial_fit(rows(views, part), mask=rows(mask, part))
        copied = pickle.loads(pickle.dumps(nmf))
    np.testing.assert_array_equal(copied.components_["b"], nmf.components_["b"])
    full = make_views(11, 100)
    nmf.partial_fit({"b": full["b"], "a": full["a"]})
    assert nmf.loss_history_[-1] < 0.02


def test_online_fits_take_the_papers_penalty() -> None:
    nmf = cf.CoupledNMF(4, random_state=0, penalty="paper", alpha_W=0.01)
    for seed in range(5):
        nmf.partial_fit(make_views(seed, 100))
    for h in nmf.components_.values():
        np.testing.assert_allclose(np.linalg.norm(h, axis=1), 1.0, rtol=1e-12)


def test_what_cannot_be_online_is_refused() -> None:
    views = make_views(12, 40)
    with pytest.raises(ValueError, match="does not take group_sparsity"):
        cf.CoupledNMF(2, group_sparsity=1.0, alpha_W=1.0).partial_fit(views)
    with pytest.raises(ValueError, match="does not take compute='auto'"):
        cf.CoupledNMF(2, compute="auto").partial_fit(views)
    nmf = cf.CoupledNMF(2, random_state=0).partial_fit(views)
    with pytest.raises(ValueError, match="expected all of 'a', 'b'"):
        nmf.partial_fit({"a": views["a"]})
    with pytest.raises(ValueError, match="H starts a fit, and this one has begun"):
        nmf.partial_fit(views, H=nmf.components_)
    with pytest.raises(ValueError, match="starts from what partial_fit learned"):
        nmf.fit({"a": views["a"]})
