"""CoupledNMF against independent implementations, and the laws it promises."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

import cofactor as cf
from cofactor import _core

pytestmark = pytest.mark.usefixtures("auto_device")

LEVELS = _core.simd_levels()


def odd_views(seed: int = 0, n: int = 1037) -> dict[str, np.ndarray]:
    """Random views of odd sizes, one for each way to store numbers in 32 bits or fewer."""
    rng = np.random.default_rng(seed)
    return {
        "single": rng.random((n, 37), dtype=np.float32),
        "half": rng.random((n, 129)).astype(np.float16),
        "bytes": rng.integers(0, 256, (n, 5), dtype=np.uint8),
        "wide": rng.random((n, 300), dtype=np.float32),
    }


def random_start(views: dict[str, np.ndarray], k: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.random((k, X.shape[1])).astype(np.float32) for name, X in views.items()}


def solve_rows(G: np.ndarray, B: np.ndarray) -> np.ndarray:
    """argmin over x >= 0 of x'Gx/2 - b'x for every row b, by scipy's active-set solver."""
    L = np.linalg.cholesky(G)
    right = np.linalg.solve(L, B.T)
    return np.stack([nnls(L.T, column)[0] for column in right.T])


def reference_losses(
    views: dict[str, np.ndarray],
    weights: dict[str, float],
    start: dict[str, np.ndarray],
    iterations: int,
) -> list[float]:
    """Relative losses of exact ALS in float64, residuals computed in full."""
    X = {name: x.astype(np.float64) for name, x in views.items()}
    H = {name: h.astype(np.float64) for name, h in start.items()}
    total = sum(weights[name] * (x**2).sum() for name, x in X.items())
    losses = []
    for _ in range(iterations):
        G = sum(weights[v] * H[v] @ H[v].T for v in X)
        W = solve_rows(G, sum(weights[v] * X[v] @ H[v].T for v in X))
        H = {v: solve_rows(W.T @ W, X[v].T @ W).T for v in X}
        losses.append(sum(weights[v] * ((X[v] - W @ H[v]) ** 2).sum() for v in X) / total)
    return losses


def plain(k: int = 7, **options: object) -> cf.CoupledNMF:
    return cf.CoupledNMF(k, **{"acceleration": None, "tol": 0, "random_state": 0, **options})


WEIGHTS = {"single": 1.0, "half": 0.5, "bytes": 2e-5, "wide": 1.3}


@pytest.fixture(scope="module")
def oracle() -> list[float]:
    views = odd_views()
    return reference_losses(views, WEIGHTS, random_start(views, 7), 50)


@pytest.mark.parametrize("level", LEVELS)
def test_losses_equal_a_float64_reference_at_every_iteration(
    level: str, oracle: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COFACTOR_SIMD", level)
    views = odd_views()
    nmf = plain(weights=WEIGHTS, max_iter=50).fit(views, H=random_start(views, 7))
    np.testing.assert_allclose(nmf.loss_history_, oracle, rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_float64_views_are_computed_in_float64(
    level: str, oracle: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COFACTOR_SIMD", level)
    views = odd_views()
    views["single"] = views["single"].astype(np.float64)
    nmf = plain(weights=WEIGHTS, max_iter=50).fit(views, H=random_start(views, 7))
    assert nmf.components_["wide"].dtype == np.float64
    # 50 solves to a tolerance of 1e-10 each, on losses that differ by their square.
    np.testing.assert_allclose(nmf.loss_history_, oracle, rtol=1e-8)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block_rows", [1, 7, 64, 0])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("compute", ["full", "bfloat16"])
def test_bits_do_not_depend_on_blocks_or_threads(
    level: str, block_rows: int, threads: int, compute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COFACTOR_SIMD", level)
    views = odd_views()

    def factors(block_rows: int, threads: int) -> tuple[list[np.ndarray], np.ndarray, list[float]]:
        source = _core.Source(
            [[x] for x in views.values()],
            [x.dtype.name for x in views.values()],
            [1.0] * 4,
            block_rows=block_rows,
        )
        engine = _core.Engine(
            source,
            ranks=[7],
            weights=list(WEIGHTS.values()),
            l1_w=0.0,
            l2_w=0.0,
            l1_h=[0.0] * 4,
            l2_h=[0.0] * 4,
            device="cpu",
            float64=False,
            threads=threads,
        )
        squares = [entry.sum_of_squares for entry in engine.scan()]
        for v, h in enumerate(random_start(views, 7).values()):
            engine.set_h(v, h)
        result = engine.fit(
            squares,
            max_iterations=4,
            tolerance=0,
            extrapolate=True,
            compute=compute,
            verify=False,
            progress=None,
        )
        W = np.empty((1037, 7), np.float32)
        engine.encode(squares, exact=False, w=W)
        return [engine.h(v) for v in range(4)], W, result.fits[0].losses

    H, W, losses = factors(block_rows, threads)
    expected_H, expected_W, expected_losses = factors(0, 1)
    assert losses == expected_losses
    assert np.array_equal(W, expected_W)
    assert all(np.array_equal(a, b) for a, b in zip(H, expected_H, strict=True))


def test_permuting_examples_permutes_w() -> None:
    views = odd_views(n=600)
    order = np.random.default_rng(2).permutation(600)
    start = random_start(views, 5)
    nmf = plain(5, weights=WEIGHTS, max_iter=5).fit(views, H=start)
    permuted = plain(5, weights=WEIGHTS, max_iter=5)
    W = permuted.fit_transform({name: x[order] for name, x in views.items()}, H=start)
    # Other sums of 512 rows: float32 rounding, amplified by five solves of condition below 100.
    scale = nmf.W_.max()
    np.testing.assert_allclose(W, nmf.W_[order], atol=2e-3 * scale)
    np.testing.assert_allclose(permuted.loss_history_, nmf.loss_history_, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    columns=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    extra=st.integers(0, 40),
    most=st.integers(1, 6),
)
def test_order_of_views_does_not_matter(
    seed: int, columns: list[int], extra: int, most: int
) -> None:
    rng = np.random.default_rng(seed)
    # Few components for the columns and examples, so that every minimiser is the only one.
    k = min(most, max(1, sum(columns) // 2))
    n = 2 * k + extra
    views = {f"v{i}": rng.random((n, d)) for i, d in enumerate(columns)}
    start = {name: rng.random((k, x.shape[1])) for name, x in views.items()}
    forward = plain(k, max_iter=3).fit(views, H=start)
    names = list(reversed(views))
    backward = plain(k, max_iter=3).fit(
        {v: views[v] for v in names}, H={v: start[v] for v in names}
    )
    np.testing.assert_allclose(forward.loss_history_, backward.loss_history_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_a_view_and_its_weight_changes_nothing(factor: float) -> None:
    rng = np.random.default_rng(3)
    views = {"a": rng.random((50, 12)), "b": rng.random((50, 9))}
    start = {name: rng.random((4, x.shape[1])) for name, x in views.items()}
    nmf = plain(4, max_iter=20).fit(views, H=start)
    scaled = plain(4, max_iter=20, weights={"b": factor**-2}).fit(
        {"a": views["a"], "b": factor * views["b"]}, H={"a": start["a"], "b": factor * start["b"]}
    )
    np.testing.assert_allclose(scaled.loss_history_, nmf.loss_history_, rtol=1e-8)
    np.testing.assert_allclose(scaled.W_, nmf.W_, atol=1e-5)


@pytest.mark.parametrize(
    "penalties",
    [
        {},
        {"alpha_W": 1e-3},
        {"alpha_W": 1e-3, "l1_ratio": 1.0},
        {"alpha_W": 1e-3, "alpha_H": 2e-3, "l1_ratio": 0.3},
    ],
)
def test_objective_is_scikit_learns_on_the_views_side_by_side(penalties: dict[str, float]) -> None:
    rng = np.random.default_rng(4)
    W, H = rng.random((80, 4)), rng.random((4, 30))
    X = W @ H + 0.1 * rng.random((80, 30))
    weights = {"a": 0.5, "b": 2.0}
    views = {"a": X[:, :13], "b": X[:, 13:]}
    side_by_side = np.hstack([np.sqrt(weights[v]) * views[v] for v in views])
    start = rng.random((4, 30))

    def split(H: np.ndarray) -> dict[str, np.ndarray]:
        return {"a": H[:, :13] / np.sqrt(0.5), "b": H[:, 13:] / np.sqrt(2.0)}

    def ours(H: np.ndarray, tol: float) -> tuple[np.ndarray, np.ndarray]:
        nmf = cf.CoupledNMF(4, weights=weights, tol=tol, max_iter=5000, **penalties)
        nmf.fit(views, H=split(H))
        return nmf.W_, np.hstack([np.sqrt(weights[v]) * nmf.components_[v] for v in views])

    def theirs(W: np.ndarray, H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nmf = NMF(4, init="custom", tol=1e-9, max_iter=5000, **penalties)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            W = nmf.fit_transform(side_by_side, W=W.copy(), H=H.copy())
        return W, nmf.components_

    def objective(factors: tuple[np.ndarray, np.ndarray]) -> float:
        W, H = factors
        alpha_W = penalties.get("alpha_W", 0.0)
        alpha_H = penalties.get("alpha_H", alpha_W)
        ratio = penalties.get("l1_ratio", 0.0)
        value = 0.5 * ((side_by_side - W @ H) ** 2).sum()
        value += 30 * alpha_W * (ratio * W.sum() + 0.5 * (1 - ratio) * (W**2).sum())
        return float(value + 80 * alpha_H * (ratio * H.sum() + 0.5 * (1 - ratio) * (H**2).sum()))

    # The same problem has the same stationary points: neither solver improves on the other's.
    found = ours(start, tol=1e-10)
    assert objective(theirs(*found)) == pytest.approx(objective(found), rel=1e-5)
    found = theirs(rng.random((80, 4)), start)
    assert objective(ours(found[1], tol=1e-6)) == pytest.approx(objective(found), rel=1e-5)


def test_extrapolation_needs_fewer_passes_and_never_accepts_a_rise() -> None:
    rng = np.random.default_rng(5)
    views = {"a": rng.random((200, 40)), "b": rng.random((200, 25))}
    start = {name: rng.random((8, x.shape[1])) for name, x in views.items()}
    fast = cf.CoupledNMF(8, tol=0, max_iter=60).fit(views, H=start)
    slow = plain(8, max_iter=60).fit(views, H=start)
    assert (np.diff(fast.loss_history_) <= 0).all()
    assert fast.loss_history_[-1] < slow.loss_history_[-1]
    assert fast.n_iter_ == 60 == len(fast.loss_history_) + len(fast.rejected_losses_)


def test_losses_from_sums_equal_the_residual() -> None:
    views = odd_views()
    start = random_start(views, 6)
    derived = plain(6, max_iter=3).fit(views, H=start)
    verified = plain(6, max_iter=3, verify=True).fit(views, H=start)
    # The identity is off by a few units of float32 of the data's norm, whatever the loss.
    bound = _core.identity_limit(False) / 100
    np.testing.assert_allclose(derived.loss_history_, verified.loss_history_, rtol=0, atol=bound)
    total = {name: (x.astype(np.float64) ** 2).sum() for name, x in views.items()}
    for name, loss in verified.view_losses_.items():
        share = total[name] / sum(total.values())
        assert derived.view_losses_[name] == pytest.approx(loss, rel=0, abs=bound / share)
    assert verified.n_passes_ == derived.n_passes_ + 3


def test_losses_by_view_add_up_to_the_loss_of_every_pass() -> None:
    views = odd_views()
    weights = dict(zip(views, (0.5, 2.0, 1e-4, 1.0), strict=True))
    nmf = cf.CoupledNMF(3, weights=weights, max_iter=4, tol=0).fit(views)
    power = {name: weights[name] * (x.astype(np.float64) ** 2).sum() for name, x in views.items()}
    total = sum(power.values())
    combined = sum(
        power[name] / total * np.array(losses) for name, losses in nmf.view_loss_history_.items()
    )
    # Sums of squares of the data are off by the rounding of float32 products, as losses are.
    np.testing.assert_allclose(combined, nmf.loss_history_, rtol=1e-6)
    assert nmf.view_losses_ == {name: h[-1] for name, h in nmf.view_loss_history_.items()}


def test_tiny_losses_come_from_the_residual() -> None:
    rng = np.random.default_rng(6)
    W, H = rng.random((300, 3)), rng.random((3, 50))
    X = (W @ H).astype(np.float32)
    nmf = cf.CoupledNMF(3, random_state=0, tol=0, max_iter=300).fit({"x": X})
    exact = ((X.astype(np.float64) - nmf.W_.astype(np.float64) @ nmf.components_["x"]) ** 2).sum()
    assert nmf.loss_history_[-1] < 1e-6
    assert nmf.reconstruction_err_ == pytest.approx(np.sqrt(exact), rel=0.05)


def test_reconstruction_error_and_final_w_belong_together() -> None:
    views = odd_views()
    nmf = plain(6, weights=WEIGHTS, max_iter=4).fit(views, H=random_start(views, 6))
    expected = sum(
        WEIGHTS[v] * ((x.astype(np.float64) - nmf.W_ @ nmf.components_[v]) ** 2).sum()
        for v, x in views.items()
    )
    assert nmf.reconstruction_err_ == pytest.approx(np.sqrt(expected), rel=1e-5)
    assert np.array_equal(nmf.transform(views), nmf.W_)
    again = plain(6, weights=WEIGHTS, max_iter=4)
    assert np.array_equal(again.fit_transform(views, H=random_start(views, 6)), nmf.W_)


def test_transform_from_some_views_minimises_their_part_of_the_objective() -> None:
    views = odd_views()
    nmf = plain(6, weights=WEIGHTS, max_iter=3).fit(views, H=random_start(views, 6))
    some = {name: views[name] for name in ("bytes", "half")}
    H = {name: nmf.components_[name].astype(np.float64) for name in some}
    G = sum(WEIGHTS[v] * H[v] @ H[v].T for v in some)
    expected = solve_rows(G, sum(WEIGHTS[v] * some[v].astype(np.float64) @ H[v].T for v in some))
    W = nmf.transform(some)

    def objective(W: np.ndarray) -> np.ndarray:
        return sum(WEIGHTS[v] * ((some[v] - W @ H[v]) ** 2).sum(axis=1) for v in some)

    np.testing.assert_allclose(objective(W.astype(np.float64)), objective(expected), rtol=1e-4)


def test_a_passive_view_does_not_shape_w() -> None:
    views = odd_views(n=200)
    start = random_start(views, 4)
    weights = {**WEIGHTS, "wide": 0.0}
    nmf = plain(4, weights=weights, alpha_W=1e-3, max_iter=4).fit(views, H=start)
    rest = {name: x for name, x in views.items() if name != "wide"}
    alone = plain(4, weights={v: WEIGHTS[v] for v in rest}, alpha_W=1e-3, max_iter=4)
    alone.fit(rest, H={name: start[name] for name in rest})
    assert np.array_equal(nmf.W_, alone.W_)
    assert nmf.loss_history_ == alone.loss_history_
    # Its factor is the unpenalised least-squares fit to the W of the last pass.
    assert 0 < nmf.view_losses_["wide"] < 0.5


def test_a_component_unknown_to_the_given_views_is_zero() -> None:
    rng = np.random.default_rng(7)
    a, b = np.zeros((40, 6)), np.zeros((40, 6))
    a[:20] = rng.random((20, 1)) * rng.random(6)
    b[20:] = rng.random((20, 1)) * rng.random(6)
    H = {"a": np.array([np.ones(6), np.zeros(6)]), "b": np.array([np.zeros(6), np.ones(6)])}
    nmf = plain(2, max_iter=10).fit({"a": a, "b": b}, H=H)
    with pytest.warns(UserWarning, match=r"component\(s\) \[1\]; their W is 0"):
        W = nmf.transform({"a": a})
    assert (W[:, 1] == 0).all()
    assert (W[:20, 0] > 0).all()


def test_store_and_mapping_give_the_same_bits(tmp_path) -> None:
    views = odd_views(n=700)
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in views.items()}
    path = tmp_path / "acts"
    with cf.ActivationStore.create(path, views=described, rows_per_shard=512) as writer:
        for i in range(0, 700, 33):
            writer.append({name: x[i : i + 33] for name, x in views.items()})
    store = cf.ActivationStore(path)
    from_store = plain(5, max_iter=4).fit(store)
    from_mapping = plain(5, max_iter=4).fit(views)
    assert from_store.fingerprint_ == store.fingerprint
    # The store keeps its own sums of squares, which scale the random start.
    np.testing.assert_allclose(from_store.loss_history_, from_mapping.loss_history_, rtol=1e-5)
    assert from_store.n_passes_ == from_mapping.n_passes_ - 1
    start = random_start(views, 5)
    assert np.array_equal(
        plain(5, max_iter=4).fit(store, H=start).W_, plain(5, max_iter=4).fit(views, H=start).W_
    )


def test_stops_when_the_objective_settles() -> None:
    views = odd_views(n=100)
    nmf = cf.CoupledNMF(3, random_state=0, tol=1e-3).fit(views)
    assert nmf.stop_reason_ == "converged"
    assert nmf.n_iter_ < 200
    with pytest.warns(ConvergenceWarning, match="number of iterations 2 reached"):
        short = cf.CoupledNMF(3, random_state=0, tol=1e-9, max_iter=2).fit(views)
    assert short.stop_reason_ == "max_iter"


def test_callback_hears_every_pass_and_may_raise() -> None:
    events: list[cf.FitEvent] = []
    nmf = cf.CoupledNMF(3, random_state=0, tol=0, max_iter=5, callback=events.append)
    nmf.fit(odd_views(n=100))
    assert [event.iteration for event in events] == [1, 2, 3, 4, 5]
    assert [event.loss for event in events if event.accepted] == nmf.loss_history_
    assert all(event.max_iter == 5 and event.seconds > 0 for event in events)

    def stop(event: cf.FitEvent) -> None:
        raise RuntimeError(f"enough at {event.iteration}")

    with pytest.raises(RuntimeError, match="enough at 1"):
        cf.CoupledNMF(3, callback=stop).fit(odd_views(n=100))


INTERRUPTED = """
import signal, threading, time, os
import numpy as np
import cofactor as cf
X = {"x": np.random.default_rng(0).random((2_000, 4_000), dtype=np.float32)}
sent = []
def interrupt():
    time.sleep(1.0)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    cf.CoupledNMF(64, tol=0, max_iter=10**6, random_state=0).fit(X)
except KeyboardInterrupt:
    print("stopped", time.perf_counter() - sent[0])
"""


def test_ctrl_c_stops_a_fit_within_a_second() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120
    )
    word, seconds = done.stdout.split()
    assert word == "stopped"
    assert float(seconds) < 1.0


def planted_parts(seed: int = 0) -> dict[str, np.ndarray]:
    """Four parts that do not overlap, each in a quarter of the examples, with some noise."""
    rng = np.random.default_rng(seed)
    W = np.kron(np.eye(4), np.ones((50, 1))) * rng.uniform(0.5, 1.5, (200, 1))
    H = np.kron(np.eye(4), np.ones((1, 15)))
    X = W @ H + 0.3 * rng.random((200, 60))
    return {"a": X[:, :20].astype(np.float16), "b": X[:, 20:].astype(np.float32)}


def test_a_dead_component_is_given_an_example() -> None:
    views = planted_parts()
    start = random_start(views, 4)
    for H in start.values():
        H[2] = 0.0
    nmf = plain(4, max_iter=30).fit(views, H=start)
    assert nmf.n_reseeded_ == 1
    # One read checks the arrays, one finds the example, one solves the final W.
    assert nmf.n_passes_ == 1 + 30 + 1 + 1
    assert nmf.n_iter_ == len(nmf.loss_history_) == 30
    assert all(H.any(axis=1).all() for H in nmf.components_.values())
    assert (np.diff(nmf.loss_history_) <= 1e-7).all()
    # All four parts are found, and no start does better.
    best = plain(4, max_iter=100).fit(views).loss_history_[-1]
    assert nmf.loss_history_[-1] == pytest.approx(best, rel=1e-3)
    assert plain(3, max_iter=100).fit(views).loss_history_[-1] > 1.5 * best


def test_all_components_may_be_dead() -> None:
    views = planted_parts()
    start = {name: np.zeros((4, X.shape[1])) for name, X in views.items()}
    nmf = plain(4, max_iter=30).fit(views, H=start)
    assert nmf.loss_history_[0] == 1
    assert nmf.n_reseeded_ == 4
    assert nmf.loss_history_[-1] < 0.5


def test_penalties_may_kill_components() -> None:
    views = planted_parts()
    start = random_start(views, 4)
    for H in start.values():
        H[2] = 0.0
    nmf = plain(4, max_iter=5, alpha_W=1e-4).fit(views, H=start)
    assert nmf.n_reseeded_ == 0
    assert not any(H[2].any() for H in nmf.components_.values())


def test_bfloat16_products_reach_the_loss_of_float32() -> None:
    views = planted_parts()
    start = random_start(views, 5)
    full = plain(5, max_iter=30).fit(views, H=start)
    rounded = plain(5, max_iter=30, compute="bfloat16").fit(views, H=start)
    # Rounding moves values by at most 2^-8 of their size, W and H likewise.
    assert rounded.reconstruction_err_ <= full.reconstruction_err_ + 3 * 2**-8 * np.sqrt(
        sum((x.astype(np.float64) ** 2).sum() for x in views.values())
    )
    assert not np.array_equal(rounded.W_, full.W_)
    assert rounded.W_.dtype == np.float32


@pytest.mark.usefixtures("fast_bfloat16")
def test_auto_finishes_in_float32() -> None:
    rng = np.random.default_rng(0)
    X = {"a": (rng.random((300, 3)) @ rng.random((3, 80))).astype(np.float32)}
    start = random_start(X, 3)
    error = {
        compute: plain(3, max_iter=200, acceleration="auto", compute=compute)
        .fit(X, H=start)
        .reconstruction_err_
        for compute in ("float32", "auto", "bfloat16")
    }
    assert error["auto"] < 2 * error["float32"]
    # Factors of eight bits do not give data of 24.
    assert error["bfloat16"] > 3 * error["auto"]


@pytest.mark.parametrize("init", ["compressed", "random"])
def test_auto_rounds_only_where_that_is_faster(init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    views = {"a": np.random.default_rng(0).random((1600, 2400), dtype=np.float32)}
    losses = {}
    for compute, faster in (("float32", True), ("auto", False), ("auto", True)):
        monkeypatch.setattr(_core, "bfloat16_is_faster", lambda faster=faster: faster)
        nmf = cf.CoupledNMF(
            3, compute=compute, init=init, max_iter=3, tol=0, random_state=0, device="cpu"
        ).fit(views)
        losses[compute, faster] = nmf.loss_history_
    assert losses["auto", False] == losses["float32", True]
    assert losses["auto", True] != losses["float32", True]


def test_compute_in_float64_of_float32_views() -> None:
    views = {"a": np.random.default_rng(0).random((50, 9), dtype=np.float32)}
    nmf = cf.CoupledNMF(2, random_state=0, compute="float64").fit(views)
    assert nmf.W_.dtype == np.float64
    double = cf.CoupledNMF(2, random_state=0).fit({"a": views["a"].astype(np.float64)})
    np.testing.assert_allclose(nmf.W_, double.W_, rtol=1e-6)


def test_float64_views_have_no_products_in_bfloat16() -> None:
    views = {"a": np.ones((50, 9))}
    with pytest.raises(ValueError, match="compute='bfloat16' got a float64 view"):
        cf.CoupledNMF(2, compute="bfloat16").fit(views)
    assert cf.CoupledNMF(2, compute="auto", tol=1e-3).fit(views).W_.dtype == np.float64
