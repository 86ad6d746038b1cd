"""Choosing a number of components, agreement of seeds, and consensus."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import NMF

import cofactor as cf
from cofactor.selection import bi_cross_validation, consensus, cophenetic, stability

pytestmark = pytest.mark.usefixtures("auto_device")


def planted(seed: int = 0, n: int = 240, noise: float = 0.2) -> dict[str, np.ndarray]:
    """Four components that data of this noise still shows, in two views."""
    rng = np.random.default_rng(seed)
    W = rng.random((n, 4)) * (rng.random((n, 4)) < 0.5)
    H = rng.random((4, 60)) * (rng.random((4, 60)) < 0.5)
    X = W @ H + noise * rng.random((n, 60))
    return {"a": X[:, :40], "b": X[:, 40:]}


def test_held_out_loss_is_least_at_the_planted_rank() -> None:
    ranks = [2, 4, 5, 10]
    table = bi_cross_validation(planted(), ranks, seeds=2, max_iter=300)
    assert len(table) == 4 * 2 * 4
    means = {k: table["held_out_loss"][table["n_components"] == k].mean() for k in ranks}
    # Four planted components, and the mean of the noise.
    assert min(means, key=means.get) == 5


def test_held_out_loss_is_that_of_the_definition() -> None:
    """Fits of the rest by the estimator itself, and plain arithmetic for the block."""
    views = {name: X.astype(np.float32) for name, X in planted(1, n=50).items()}
    weights = {"a": 1.0, "b": 0.5}
    options = {"max_iter": 40, "tol": 0, "init": "random"}
    table = bi_cross_validation(views, 3, seeds=[7], folds=(2, 2), weights=weights, **options)
    rows = np.arange(50) % 2
    found = []
    for row_fold in range(2):
        for column_fold in range(2):
            blocks, held = {}, []
            for name, X in views.items():
                half = X.shape[1] // 2
                for part, own in enumerate([slice(0, half), slice(half, None)]):
                    blocks[f"{name}{part}"] = X[:, own]
                    held += [f"{name}{part}"] if part == column_fold else []
            order = sorted(blocks, key=lambda block: block in held)
            shaping = {b: 0.0 if b in held else weights[b[0]] for b in order}
            nmf = cf.CoupledNMF(3, random_state=7, weights=shaping, **options)
            nmf.fit({b: np.ascontiguousarray(blocks[b][rows != row_fold]) for b in order})
            inside = {b: blocks[b][rows == row_fold] for b in order}
            W = nmf.transform({b: X for b, X in inside.items() if b not in held})
            rest = total = 0.0
            for block in held:
                X = inside[block].astype(np.float64)
                rest += weights[block[0]] * ((X - W @ nmf.components_[block]) ** 2).sum()
                total += weights[block[0]] * (X**2).sum()
            found.append(rest / total)
    # The same fits on rows that lie elsewhere in memory: residuals in float32.
    np.testing.assert_allclose(table["held_out_loss"], found, rtol=1e-4)


def test_parts_of_stores_are_those_of_arrays(tmp_path) -> None:
    views = planted(2, n=130)
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in views.items()}
    with cf.ActivationStore.create(tmp_path / "a", views=described, rows_per_shard=512) as writer:
        writer.append(views)
    options = {"seeds": 1, "folds": (3, 2), "max_iter": 10, "tol": 0}
    stored = bi_cross_validation(cf.ActivationStore(tmp_path / "a"), [2, 3], **options)
    held = bi_cross_validation(views, [2, 3], **options)
    np.testing.assert_array_equal(stored["held_out_loss"], held["held_out_loss"])


@pytest.fixture(scope="module")
def many() -> cf.ManyFits:
    return cf.fit_many(planted(noise=0.05), [4, 9], seeds=5, max_iter=1000, tol=1e-6)


def test_seeds_agree_at_the_planted_rank_and_not_beyond(many: cf.ManyFits) -> None:
    table = stability(many)
    assert table["n_components"].tolist() == [4, 9]
    assert table["pairs"].tolist() == [10, 10]
    assert table["mean"][0] > 0.95
    assert table["mean"][0] > table["mean"][1] + 0.02
    assert (table["minimum"] <= table["mean"]).all()


def test_the_matching_finds_permuted_components() -> None:
    fits = cf.fit_many(planted(), 4, seeds=2, max_iter=300)
    first, second = fits.fits
    order = [2, 0, 3, 1]
    second.components_ = {name: 3 * h[order] for name, h in first.components_.items()}
    assert stability(fits)["mean"][0] == pytest.approx(1.0, rel=1e-6)
    assert stability(fits)["std"][0] == 0


def test_cophenetic_correlation_falls_beyond_the_planted_clusters() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(150) % 3
    X = {"x": np.eye(3)[labels] @ rng.random((3, 30)) + 0.05 * rng.random((150, 30))}
    table = cophenetic(cf.fit_many(X, [3, 7], seeds=6, max_iter=1000, tol=1e-6))
    assert table["correlation"][0] > 0.99
    assert table["correlation"][1] < table["correlation"][0]
    assert table["dispersion"][0] > table["dispersion"][1]
    few = cophenetic(cf.fit_many(X, 3, seeds=3, max_iter=1000), max_examples=20)
    assert few["correlation"][0] > 0.99


def test_consensus_components_are_the_planted_ones(many: cf.ManyFits) -> None:
    found = consensus(many, 4)
    assert {name: h.shape for name, h in found.items()} == {"a": (4, 40), "b": (4, 20)}
    best = many.best(4)
    one = np.hstack([found["a"], found["b"]])
    other = np.hstack([best.components_["a"], best.components_["b"]])
    cosines = (one / np.linalg.norm(one, axis=1, keepdims=True)) @ (
        other / np.linalg.norm(other, axis=1, keepdims=True)
    ).T
    assert (cosines.max(axis=1) > 0.95).all()
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2, 3]
    # A start from it is as good as the best seed, and so is one by scikit-learn.
    views = planted(noise=0.05)
    nmf = cf.CoupledNMF(4, max_iter=1000, tol=1e-6).fit(views, H=found)
    assert nmf.reconstruction_err_ < 1.02 * best.reconstruction_err_
    peer = NMF(4, random_state=0, max_iter=2000, tol=1e-6).fit(np.hstack(list(views.values())))
    assert nmf.reconstruction_err_ < 1.02 * peer.reconstruction_err_


def test_remote_components_do_not_reach_the_consensus() -> None:
    fits = cf.fit_many(planted(noise=0.05), 4, seeds=5, max_iter=1000, tol=1e-6)
    clean = consensus(fits, 4)
    for H in fits.fits[0].components_.values():
        H[0] = 0
        H[0, 0] = 1e6
    kept = consensus(fits, 4)

    def directions(found: dict[str, np.ndarray]) -> np.ndarray:
        stacked = np.hstack(list(found.values()))
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)

    assert ((directions(kept) @ directions(clean).T).max(axis=1) > 0.98).all()


def test_what_cannot_be_compared_is_refused() -> None:
    views = planted(n=20)
    one = cf.fit_many(views, 2, seeds=1, max_iter=300)
    for function in (stability, cophenetic):
        with pytest.raises(ValueError, match="one fit of 2 components, and agreement needs two"):
            function(one)
    with pytest.raises(ValueError, match="needs two seeds or more"):
        consensus(one, 2)
    with pytest.raises(ValueError, match="no fits of 3 components"):
        consensus(one, 3)
    with pytest.raises(ValueError, match=r"outliers=1.0 must be at least 0 and below 1"):
        consensus(one, 2, outliers=1.0)
    for folds in ((1, 2), (2, 100), (21, 2), (2,)):
        with pytest.raises(ValueError, match=r"must be the numbers of parts"):
            bi_cross_validation(views, 2, folds=folds)
