"""Views whose negative values are taken care of while they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import cofactor as cf
from cofactor.store import ActivationStore, StoreError
from store_samples import one_view

WAYS = ["relu", "shift", "split"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]


def reference(values: NDArray[np.float64], negative: str) -> NDArray[np.float64]:
    if negative == "relu":
        return np.maximum(values, 0)
    if negative == "split":
        return np.hstack([np.maximum(values, 0), np.maximum(-values, 0)])
    finite = values[np.isfinite(values)]
    return values - min(finite.min(initial=0), 0)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(FLOATS),
    negative=st.sampled_from(WAYS),
    halves=hnp.arrays(np.float16, (5, 3), elements=st.floats(-100, 100, width=16)),
)
def test_values_and_statistics(
    dtype: str,
    negative: str,
    halves: NDArray[np.float16],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values = halves.astype(np.float64)
    if dtype == "bfloat16":
        values = np.round(values)  # which 8 bits hold
    store = one_view(tmp_path_factory.mktemp("acts"), dtype, values, negative=negative)
    expected = reference(values, negative)
    found = store.read("a")
    # Exact but for the rounding of a shift to float32.
    tolerance = 2.0**-23 * np.abs(values).max() if negative == "shift" else 0
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=0, atol=tolerance)
    view = store.views["a"]
    assert view.n_columns == expected.shape[1]
    assert view.negative == negative
    statistics = store.statistics("a")
    assert statistics.sum_of_squares == pytest.approx(np.square(expected).sum(), rel=1e-6)
    assert statistics.minimum == pytest.approx(expected.min(), abs=1e-5)
    assert statistics.maximum == pytest.approx(expected.max(), rel=1e-6)
    some = store.select(rows=[4, 0, 0])
    np.testing.assert_array_equal(some.read("a"), found[[4, 0, 0]])
    counted = some.statistics("a")
    assert counted.sum_of_squares == pytest.approx(np.square(found[[4, 0, 0]].astype(float)).sum())


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(tmp_path: Path, dtype: str) -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, -0.0, 0.0, -1.5, 1.5]])
    odd = np.concatenate([odd, -odd])
    store = one_view(tmp_path / "acts", dtype, odd)
    relu = store.select(negative="relu").read("a")
    np.testing.assert_array_equal(relu, np.maximum(odd, 0))
    assert not np.signbit(relu[np.isfinite(relu)]).any()
    split = store.select(negative={"a": "split"}).read("a")
    np.testing.assert_array_equal(split, reference(odd, "split"))
    assert store.select(negative="split").views["a"].n_nonfinite == 2 * 6
    np.testing.assert_array_equal(store.read("a"), odd)


def test_split_doubles_the_channels(tmp_path: Path) -> None:
    block = np.random.default_rng(0).standard_normal((4, 2, 3, 3))
    store = one_view(tmp_path / "acts", "float32", block, negative="split")
    assert store.views["a"].shape == (4, 3, 3)
    maps = store.read("a").reshape(4, 4, 3, 3)
    np.testing.assert_array_equal(maps[:, :2] - maps[:, 2:], block.astype(np.float32))
    assert "4 x 3 x 3, float32, negative split" in repr(store)


def test_what_is_stored_stays_signed(tmp_path: Path) -> None:
    block = np.array([[-1.0, 2.0]])
    store = one_view(tmp_path / "acts", "float32", block, negative="relu")
    np.testing.assert_array_equal(np.load(tmp_path / "acts/a/00000.npy"), block)
    np.testing.assert_array_equal(store.stored_chunks("a")[0], block)
    np.testing.assert_array_equal(store.chunks("a")[0], [[0, 2]])
    back = store.select(negative={"a": None})
    np.testing.assert_array_equal(back.read("a"), block)
    assert back.views["a"].minimum == -1
    assert back.fingerprint != store.fingerprint
    assert ActivationStore(store.path).fingerprint == store.fingerprint


def test_a_shift_that_cancels_is_counted(tmp_path: Path) -> None:
    values = -1000 + np.array([[0.0, 0.25, 0.5, 0.25]])
    store = one_view(tmp_path / "acts", "float64", values, negative="shift")
    found = store.statistics("a").sum_of_squares
    assert found == pytest.approx(0.375, rel=1e-12)


@pytest.mark.parametrize(
    ("negative", "message"),
    [
        ("abs", "view 'a': negative is 'abs' with dtype float16, expected None, or for other"),
        ({"b": "relu"}, "negative names the view 'b', expected one of a"),
    ],
)
def test_ways_that_there_are_not(tmp_path: Path, negative: Any, message: str) -> None:
    store = one_view(tmp_path / "acts", "float16", np.ones((1, 1)))
    with pytest.raises(StoreError, match=message):
        store.select(negative=negative)


def test_uint8_has_no_negative_values(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="negative is 'relu' with dtype uint8"):
        one_view(tmp_path / "no", "uint8", np.ones((1, 1), np.uint8), negative="relu")
    store = one_view(tmp_path / "acts", "uint8", np.ones((1, 1), np.uint8))
    assert store.select(negative="relu").views["a"].negative is None
    with pytest.raises(StoreError, match="with dtype uint8"):
        store.select(negative={"a": "relu"})


@pytest.mark.parametrize("negative", WAYS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_fit_sees_what_is_read(tmp_path: Path, dtype: str, negative: str) -> None:
    block = np.random.default_rng(0).standard_normal((600, 7))
    store = one_view(tmp_path / "acts", dtype, block)
    with pytest.raises(ValueError, match="'a' has minimum -"):
        cf.CoupledNMF(2, max_iter=2).fit(store)
    options = {"init": "random", "max_iter": 3, "tol": 0, "random_state": 0}
    found = cf.CoupledNMF(2, **options).fit(store.select(negative=negative))
    values = store.select(negative=negative).read("a")
    expected = cf.CoupledNMF(2, **options).fit({"a": values})
    np.testing.assert_allclose(
        found.components_["a"], expected.components_["a"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("negative", WAYS)
def test_bits_do_not_depend_on_the_memory(tmp_path: Path, negative: str) -> None:
    block = np.random.default_rng(0).standard_normal((5000, 40)).astype(np.float16)
    views = {"a": {"shape": (40,), "dtype": "float16", "negative": negative}}
    with ActivationStore.create(tmp_path / "acts", views, rows_per_shard=512) as writer:
        writer.append({"a": block})
    store = ActivationStore(tmp_path / "acts")
    options = {"init": "random", "max_iter": 3, "tol": 0, "random_state": 0}
    whole, cut = (
        cf.CoupledNMF(3, max_memory=memory, **options).fit(store) for memory in (None, "32MB")
    )
    np.testing.assert_array_equal(whole.components_["a"], cut.components_["a"])
    np.testing.assert_array_equal(whole.W_, cut.W_)
    some = np.flatnonzero(block[:, 0] > 0)
    W = whole.transform(store.select(rows=some))
    np.testing.assert_array_equal(W, whole.transform(store)[some])
