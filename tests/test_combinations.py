"""Terms of examples and many fits, on data that is streamed and fits that are interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cofactor as cf
from cofactor.selection import bi_cross_validation

pytestmark = pytest.mark.usefixtures("auto_device")

N = 1000
# With this little, a store is read anew in every pass.
TIGHT = "500KB"


class Stopped(Exception):
    """The end of a fit that was not to end."""


def stop_after(iteration: int) -> Any:
    def callback(event: cf.FitEvent) -> None:
        if event.iteration == iteration:
            raise Stopped

    return callback


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    W = rng.random((N, 4)) * (rng.random((N, 4)) < 0.6)
    a = W @ rng.random((4, 300)) + 0.3 * rng.random((N, 300))
    b = 40 * (W @ rng.random((4, 150)) + 0.3 * rng.random((N, 150)))
    return {"a": a.astype(np.float16), "b": b.astype(np.uint8)}


@pytest.fixture(scope="module")
def store(
    arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> cf.ActivationStore:
    path = tmp_path_factory.mktemp("store") / "acts"
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in arrays.items()}
    with cf.ActivationStore.create(path, described, rows_per_shard=512) as writer:
        writer.append(arrays)
    return cf.ActivationStore(path)


@pytest.fixture(scope="module")
def terms() -> dict[str, Any]:
    rng = np.random.default_rng(6)
    return {
        "mask": {"b": rng.random(N) < 0.7},
        "sample_weight": rng.random(N) + 0.1,
        "groups": rng.integers(0, 5, N),
    }


class Blocks:
    """Blocks of examples, made anew whenever they are asked for."""

    def __init__(self, views: dict[str, np.ndarray], rows: int) -> None:
        self.views, self.rows = views, rows

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, len(next(iter(self.views.values()))), self.rows):
            yield {name: X[first : first + self.rows] for name, X in self.views.items()}


def nmf(**options: Any) -> cf.CoupledNMF:
    return cf.CoupledNMF(
        **{"n_components": 4, "random_state": 0, "tol": 0, "max_iter": 8} | options
    )


GROUPED = {"alpha_W": 1e-4, "group_sparsity": 2.0}


def assert_same(one: cf.CoupledNMF, other: cf.CoupledNMF) -> None:
    for name, H in one.components_.items():
        np.testing.assert_array_equal(H, other.components_[name], strict=True)
    np.testing.assert_array_equal(one.W_, other.W_, strict=True)
    assert one.loss_history_ == other.loss_history_
    assert one.rejected_losses_ == other.rejected_losses_
    assert one.reconstruction_err_ == other.reconstruction_err_
    assert one.n_iter_ == other.n_iter_
    if one.group_norms_ is not None:
        np.testing.assert_array_equal(one.group_norms_, other.group_norms_)


@pytest.mark.parametrize("names", [("mask",), ("sample_weight",), ("mask", "sample_weight")])
def test_terms_of_examples_of_a_store_larger_than_memory(
    arrays: dict[str, np.ndarray],
    store: cf.ActivationStore,
    terms: dict[str, Any],
    names: tuple[str, ...],
) -> None:
    given = {name: terms[name] for name in names}
    assert sum(x.nbytes for x in arrays.values()) == 750_000
    expected = nmf().fit(store, **given)
    assert_same(nmf(max_memory=TIGHT, n_threads=1).fit(store, **given), expected)
    of_arrays = nmf().fit(arrays, **given)
    assert of_arrays.loss_history_ == pytest.approx(expected.loss_history_, rel=1e-3)
    assert_same(nmf().fit(Blocks(arrays, 170), **given), of_arrays)
    # What lies where a view is missing is not looked at.
    if "mask" in names:
        broken = {"a": arrays["a"], "b": arrays["b"].copy()}
        broken["b"][~terms["mask"]["b"]] = 255
        assert_same(nmf().fit(Blocks(broken, 170), **given), of_arrays)


def test_samples_take_the_terms_of_their_examples(
    arrays: dict[str, np.ndarray], store: cf.ActivationStore, terms: dict[str, Any]
) -> None:
    # Ten times the examples, so that there are samples; copies of weight 0 count for nothing.
    views = {name: np.repeat(X[:300, :40], 10, axis=0) for name, X in arrays.items()}
    weight = np.zeros(3000)
    weight[::10] = 1.0
    spoiled = {name: X.copy() for name, X in views.items()}
    for X in spoiled.values():
        X[weight == 0] = 0
    one = nmf(init="sample").fit(views, sample_weight=weight)
    other = nmf(init="sample").fit(spoiled, sample_weight=weight)
    assert one.sample_losses_
    assert one.sample_losses_ == other.sample_losses_
    assert one.loss_history_ == other.loss_history_


@pytest.mark.parametrize("stop", [1, 4, 7])
@pytest.mark.parametrize(
    "options", [GROUPED, {"penalty": "paper", "alpha_W": 0.1, "group_sparsity": 1.0}], ids=str
)
def test_a_fit_with_groups_goes_on_where_it_was(
    arrays: dict[str, np.ndarray],
    terms: dict[str, Any],
    tmp_path: Path,
    stop: int,
    options: dict[str, Any],
) -> None:
    expected = nmf(**options).fit(arrays, **terms)
    with pytest.raises(Stopped):
        nmf(callback=stop_after(stop), **options).fit(
            arrays, checkpoint=tmp_path, checkpoint_every=2, **terms
        )
    again = nmf(**options).fit(
        arrays, checkpoint=tmp_path, resume=True, W_path=tmp_path / "W.npy", **terms
    )
    assert isinstance(again.W_, np.memmap)
    again.W_ = np.asarray(again.W_)
    assert_same(again, expected)


def test_a_fit_beside_fixed_components_goes_on_where_it_was(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    H = {"b": np.random.default_rng(0).random((4, 150)) * 40}
    given = {"H": H, "fixed": ["b"]}
    with pytest.raises(Stopped):
        nmf(callback=stop_after(5)).fit(arrays, checkpoint=tmp_path, checkpoint_every=2, **given)
    full = {**H, "a": np.ones((4, 300))}
    with pytest.raises(ValueError, match=r"fixed \['b'\] and not \[\]"):
        nmf().fit(arrays, H=full, checkpoint=tmp_path, resume=True)
    again = nmf().fit(arrays, checkpoint=tmp_path, resume=True, **given)
    assert_same(again, nmf().fit(arrays, **given))
    np.testing.assert_array_equal(again.components_["b"], H["b"].astype(np.float32))


@pytest.mark.parametrize("name", ["mask", "sample_weight", "groups"])
def test_a_checkpoint_of_other_terms_is_refused(
    arrays: dict[str, np.ndarray], terms: dict[str, Any], tmp_path: Path, name: str
) -> None:
    with pytest.raises(Stopped):
        nmf(callback=stop_after(3), **GROUPED).fit(
            arrays, checkpoint=tmp_path, checkpoint_every=1, **terms
        )
    other = dict(terms)
    if name == "mask":
        # The same sums of squares: an example of zeros does not tell.
        other["mask"] = {"b": ~terms["mask"]["b"]}
    else:
        other[name] = terms[name][::-1]
    with pytest.raises(ValueError, match=r"other data: .*mask, sample_weight, groups"):
        nmf(**GROUPED).fit(arrays, checkpoint=tmp_path, resume=True, **other)


def test_views_in_another_order_are_other_data(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        nmf(callback=stop_after(3)).fit(arrays, checkpoint=tmp_path)
    swapped = {"b": arrays["b"], "a": arrays["a"]}
    with pytest.raises(ValueError, match=r"views \['a', 'b'\] and not \['b', 'a'\]"):
        nmf().fit(swapped, checkpoint=tmp_path, resume=True)


def test_w_of_groups_on_disk_is_w_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 4, 400)
    W = rng.random((400, 4)) * (groups[:, np.newaxis] == np.arange(4))
    arrays = {"a": (W @ rng.random((4, 60)) + 0.05 * rng.random((400, 60))).astype(np.float32)}
    options = {"penalty": "paper", "alpha_W": 0.01, "group_sparsity": 3.0, "max_iter": 150}
    expected = nmf(**options).fit(arrays, groups=groups)
    assert expected.group_norms_ is not None
    gone = expected.group_norms_ <= 2e-6 * np.sqrt(np.mean(expected.group_norms_**2))
    assert gone.any()
    assert not gone.all()
    found = nmf(**options).fit(arrays, groups=groups, W_path=tmp_path / "W.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "W.npy"), expected.W_, strict=True)
    W = found.transform(arrays, groups=groups, W_path=tmp_path / "T.npy")
    np.testing.assert_array_equal(W, expected.W_)


def test_many_fits_of_a_store_larger_than_memory(
    arrays: dict[str, np.ndarray], store: cf.ActivationStore, terms: dict[str, Any]
) -> None:
    given = {"sample_weight": terms["sample_weight"], "mask": terms["mask"]}
    options = {"tol": 1e-3, "max_iter": 60}
    many = cf.fit_many(store, [2, 3], seeds=2, max_memory="1MB", **options, **given)
    # Larger than what sums in float32 tell: then losses are residuals, for all fits at once.
    assert many.losses.min() > cf._core.identity_limit(False)
    for fit in many.fits:
        alone = nmf(n_components=fit.n_components, random_state=fit.random_state, **options)
        assert_same(fit, alone.fit(store, **given))
    blocks = cf.fit_many(Blocks(arrays, 170), [2, 4], seeds=2, **options, **given)
    of_arrays = cf.fit_many(arrays, [2, 4], seeds=2, **options, **given)
    for one, other in zip(blocks.fits, of_arrays.fits, strict=True):
        assert_same(one, other)
    with pytest.raises(ValueError, match="max_memory='100KB' is too small"):
        cf.fit_many(store, [2, 4], seeds=2, max_memory="100KB", **options)


def test_many_fits_share_the_examples_that_stand_for_all(
    arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cofactor.init.compressed_examples", 400)
    many = cf.fit_many(arrays, [2, 3], seeds=2, tol=1e-3)
    assert many.fits[0].sample_losses_
    for fit in many.fits:
        alone = cf.CoupledNMF(fit.n_components, random_state=fit.random_state, tol=1e-3)
        assert_same(fit, alone.fit(arrays))


def test_held_out_blocks_of_a_store_are_those_of_arrays(
    arrays: dict[str, np.ndarray], store: cf.ActivationStore
) -> None:
    options = {"seeds": 2, "folds": (3, 2), "init": "random", "max_iter": 30}
    of_store = bi_cross_validation(store.select(rows=range(100, 900)), [2, 4], **options)
    part = {name: store.read(name, slice(100, 900)) for name in store.views}
    of_arrays = bi_cross_validation(part, [2, 4], **options)
    for name in ("n_components", "seed", "row_fold", "column_fold"):
        np.testing.assert_array_equal(of_store[name], of_arrays[name])
    np.testing.assert_allclose(of_store["held_out_loss"], of_arrays["held_out_loss"], rtol=1e-4)
    with pytest.raises(TypeError, match="bi_cross_validation got Blocks, whose blocks it cannot"):
        bi_cross_validation(Blocks(arrays, 170), 2)


def test_blocks_and_terms_of_another_number_of_examples(
    arrays: dict[str, np.ndarray], terms: dict[str, Any]
) -> None:
    for rows in (170, N):
        with pytest.raises(ValueError, match=r"examples in the blocks; mask, .* are of 999"):
            nmf().fit(Blocks(arrays, rows), sample_weight=terms["sample_weight"][:-1])
    with pytest.raises(ValueError, match=r"got 1000 examples in the blocks; .* are of 1001"):
        nmf().fit(Blocks(arrays, 170), mask={"a": np.ones(N + 1, bool)})
    with pytest.raises(TypeError, match="partial_fit got Blocks; give it the blocks one by one"):
        nmf().partial_fit(Blocks(arrays, 170))


def test_weights_do_not_go_with_rounded_starts(
    arrays: dict[str, np.ndarray], terms: dict[str, Any]
) -> None:
    for compute in ("bfloat16", "auto"):
        with pytest.raises(ValueError, match="does not take sample_weight"):
            nmf(compute=compute).fit(arrays, sample_weight=terms["sample_weight"])
