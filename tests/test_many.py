"""fit_many: many fits, one read of the data an iteration."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf
from cofactor._memory import Reading

pytestmark = pytest.mark.usefixtures("auto_device")


def make_views(seed: int = 0, n: int = 700) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    W = rng.random((n, 6)) * (rng.random((n, 6)) < 0.5)
    views = {
        "a": W @ rng.random((6, 130)) + 0.4 * rng.random((n, 130)),
        "b": W @ rng.random((6, 17)) + 0.4 * rng.random((n, 17)),
    }
    return {name: X.astype(np.float32) for name, X in views.items()}


def same(one: cf.CoupledNMF, other: cf.CoupledNMF) -> None:
    for name in one.components_:
        np.testing.assert_array_equal(one.components_[name], other.components_[name])
    np.testing.assert_array_equal(one.W_, other.W_)
    assert one.loss_history_ == other.loss_history_
    assert one.rejected_losses_ == other.rejected_losses_
    assert one.sample_losses_ == other.sample_losses_
    assert one.view_losses_ == other.view_losses_
    assert one.n_iter_ == other.n_iter_
    assert one.stop_reason_ == other.stop_reason_
    assert one.reconstruction_err_ == other.reconstruction_err_


@pytest.mark.parametrize("init", ["random", "sample", "compressed", "nndsvd", "nndsvdar"])
def test_each_fit_is_what_it_is_alone(init: str) -> None:
    # Large enough for samples, and for compressed data of two and of four components.
    views = make_views(n=3000) if init == "sample" else make_views()
    if init == "compressed":
        views["a"] = np.tile(views["a"], (1, 8))
    options = {"init": init, "tol": 1e-5, "max_iter": 200}
    many = cf.fit_many(views, [2, 4], seeds=[3, 5], **options)
    for fit in many.fits:
        alone = cf.CoupledNMF(fit.n_components, random_state=fit.random_state, **options)
        same(fit, alone.fit(views))
        assert bool(fit.sample_losses_) == (init in ("sample", "compressed"))
    # Starts on compressed data leave all of them little to do.
    if init != "compressed":
        assert len({fit.n_iter_ for fit in many.fits}) > 1, "no fit was dropped before the others"


def test_fits_that_have_converged_are_dropped() -> None:
    views = make_views()
    heard: list[tuple[int, int]] = []
    many = cf.fit_many(
        views,
        [2, 5],
        seeds=3,
        init="random",
        max_iter=300,
        callback=lambda fit, event: heard.append((fit, event.iteration)),
    )
    for number, fit in enumerate(many.fits):
        assert [i for f, i in heard if f == number] == list(range(1, fit.n_iter_ + 1))
    # Checking arrays, iterations of the slowest fit, and the final W.
    assert many.n_passes == 1 + max(fit.n_iter_ for fit in many.fits) + 1


def test_terms_of_examples_go_with_many_fits() -> None:
    views = make_views()
    rng = np.random.default_rng(1)
    terms = {
        "groups": rng.integers(0, 4, 700),
        "mask": {"b": rng.random(700) < 0.6},
        "sample_weight": rng.random(700),
    }
    options = {
        "alpha_W": 1e-3,
        "group_sparsity": 1.0,
        "init": "random",
        "max_iter": 30,
        "tol": 1e-4,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        many = cf.fit_many(views, [2, 4], seeds=2, **options, **terms)
        for fit in many.fits:
            alone = cf.CoupledNMF(fit.n_components, random_state=fit.random_state, **options)
            same(fit, alone.fit(views, **terms))
            np.testing.assert_array_equal(fit.group_norms_, alone.group_norms_)


@pytest.mark.usefixtures("fast_bfloat16")
@pytest.mark.parametrize(
    "options", [{"penalty": "paper", "alpha_W": 0.1}, {"compute": "auto"}, {"compute": "bfloat16"}]
)
def test_options_of_a_fit_go_with_many(options: dict[str, object]) -> None:
    views = make_views()
    many = cf.fit_many(views, 3, seeds=2, init="random", max_iter=200, **options)
    for fit in many.fits:
        alone = cf.CoupledNMF(3, random_state=fit.random_state, init="random", **options)
        alone.fit(views)
        # A fit that ends in bfloat16 waits for the others before it goes on in float32.
        if options.get("compute") == "auto":
            assert fit.loss_history_[-1] == pytest.approx(alone.loss_history_[-1], rel=1e-2)
        else:
            same(fit, alone)


def test_a_table_and_the_best_fit() -> None:
    many = cf.fit_many(make_views(), [2, 6], seeds=2, init="random", max_iter=500)
    table = many.table
    assert table["n_components"].tolist() == [2, 2, 6, 6]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    assert table["stop_reason"].tolist() == ["converged"] * 4
    assert table["loss"][2:].max() < table["loss"][:2].min()
    assert many.best(6) in many.of(6)
    assert many.losses[many.fits.index(many.best(6))] == many.losses[2:].min()
    with pytest.raises(ValueError, match="no fits of 3 components; expected one of 2, 6"):
        many.of(3)


class Counted:
    """Blocks of examples that count the bytes they give."""

    def __init__(self, views: dict[str, np.ndarray]) -> None:
        self.views, self.bytes = views, 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, len(self.views["a"]), 90):
            block = {name: X[first : first + 90] for name, X in self.views.items()}
            self.bytes += sum(X.nbytes for X in block.values())
            yield block


def test_bytes_read_are_those_of_one_fit() -> None:
    views = make_views()
    options = {"init": "random", "max_iter": 12, "tol": 0}
    one, many = Counted(views), Counted(views)
    cf.CoupledNMF(3, random_state=0, **options).fit(one)
    cf.fit_many(many, 3, seeds=10, **options)
    # Checking the blocks, iterations, and the final W.
    assert many.bytes == one.bytes == (1 + 12 + 1) * sum(X.nbytes for X in views.values())


def bytes_asked_of_files() -> int:
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="no /proc/self/io counts reads")
def test_stores_are_read_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = make_views(n=5000)
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in views.items()}
    with cf.ActivationStore.create(tmp_path / "acts", views=described) as writer:
        writer.append(views)
    # Rows that are picked out are read, and not mapped: the system counts that.
    rows = np.delete(np.arange(5000), 7)
    store = cf.ActivationStore(tmp_path / "acts").select(rows=rows)
    # No block stays in memory, as if the data was far larger.
    reading = Reading(block_bytes=300_000, kept_bytes=0, threads=1)
    monkeypatch.setattr("cofactor.nmf.plan_reading", lambda *_, **__: reading)
    options = {"init": "random", "max_iter": 12, "tol": 0}
    # Statistics of a selection, iterations, and the final W.
    size = (1 + 12 + 1) * sum(x[rows].nbytes for x in views.values())
    counts = [bytes_asked_of_files()]
    one = cf.CoupledNMF(3, random_state=0, **options).fit(store)
    counts.append(bytes_asked_of_files())
    many = cf.fit_many(store, 3, seeds=10, **options)
    counts.append(bytes_asked_of_files())
    assert many.n_passes == one.n_passes_ == 14
    # Beside the data: its metadata, and what Python reads of its own.
    np.testing.assert_allclose(np.diff(counts), size, rtol=0.02)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components=0 must be at least 1"),
        ({"n_components": 2.5}, TypeError, "n_components=2.5 must be an integer or a list"),
        ({"n_components": "abc"}, TypeError, "n_components='abc' must be an integer or a list"),
        ({"n_components": [2, True]}, TypeError, "n_components holds True; expected integers"),
        ({"n_components": []}, ValueError, "no seeds or no n_components"),
        ({"seeds": 0}, ValueError, "no seeds or no n_components"),
        ({"seeds": [0, 1.5]}, TypeError, "seeds holds 1.5; expected integers"),
        ({"tol": -1}, ValueError, "tol=-1 must be at least 0"),
        ({"groups": [0] * 700}, ValueError, "group_sparsity=0 makes no use of them"),
    ],
)
def test_bad_input_is_refused(given: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cf.fit_many(make_views(), **{"n_components": 2, "seeds": 2, **given})


def test_fits_that_end_early_warn_once() -> None:
    with pytest.warns(ConvergenceWarning, match="reached by 2 of 2 fits"):
        cf.fit_many(make_views(), 3, seeds=2, max_iter=1)
