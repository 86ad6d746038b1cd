"""Weights of examples, missing views, groups, fixed components and the paper's penalty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

import cofactor as cf
from cofactor import _core

pytestmark = pytest.mark.usefixtures("auto_device")

Views = dict[str, np.ndarray]


def some_views(seed: int, n: int, columns: list[int], noise: float = 0.3) -> Views:
    rng = np.random.default_rng(seed)
    W = rng.random((n, 3))
    return {
        f"v{i}": W @ rng.random((3, d)) + noise * rng.random((n, d)) for i, d in enumerate(columns)
    }


def start_for(views: Views, k: int, seed: int = 1) -> Views:
    rng = np.random.default_rng(seed)
    return {name: rng.random((k, X.shape[1])) for name, X in views.items()}


def plain(k: int, **options: object) -> cf.CoupledNMF:
    return cf.CoupledNMF(k, **{"acceleration": None, "tol": 0, "random_state": 0, **options})


def solve(G: np.ndarray, b: np.ndarray) -> np.ndarray:
    """argmin over x >= 0 of x'Gx/2 - b'x, by scipy's active-set solver."""
    L = np.linalg.cholesky(G)
    return nnls(L.T, np.linalg.solve(L, b))[0]


# Solves are to 1e-10, and a pass is a minimum over its factor: losses differ by the square of that,
# times the condition of the problems, which is far below 1e6 here, and by rounding.
RTOL = 1e-8

problems = {
    "seed": st.integers(0, 2**31),
    "n": st.integers(8, 40),
    # Wider than k, so that no component dies: which example it is given then is another matter.
    "columns": st.lists(st.integers(6, 20), min_size=1, max_size=4),
    "k": st.integers(1, 3),
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**problems, penalised=st.booleans())
def test_weight_two_is_as_good_as_having_an_example_twice(
    seed: int, n: int, columns: list[int], k: int, penalised: bool
) -> None:
    views, rng = some_views(seed, n, columns), np.random.default_rng(seed)
    twice = rng.random(n) < 0.5
    order = np.concatenate([np.arange(n), np.flatnonzero(twice)])
    options = {"alpha_W": 1e-2, "alpha_H": 2e-2, "l1_ratio": 0.4} if penalised else {}
    groups = None
    if penalised:
        options["group_sparsity"] = 0.3
        groups = rng.integers(0, 4, n)
    start = start_for(views, k)
    weighted = plain(k, max_iter=6, **options)
    weighted.fit(views, H=start, sample_weight=1.0 + twice, groups=groups)
    repeated = plain(k, max_iter=6, **options)
    repeated.fit(
        {name: X[order] for name, X in views.items()},
        H=start,
        groups=None if groups is None else groups[order],
    )
    np.testing.assert_allclose(
        weighted.loss_history_, repeated.loss_history_, rtol=RTOL, atol=1e-12
    )
    np.testing.assert_allclose(
        weighted.reconstruction_err_, repeated.reconstruction_err_, rtol=RTOL, atol=1e-7
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**problems, dead=st.integers(1, 2))
def test_dead_components_do_not_tell_weight_two_from_two_examples(
    seed: int, n: int, columns: list[int], k: int, dead: int
) -> None:
    views, rng = some_views(seed, n, columns), np.random.default_rng(seed)
    weight = rng.integers(0, 3, n).astype(float)
    weight[0] = 2.0
    order = np.repeat(np.arange(n), weight.astype(int))
    start = start_for(views, k + dead)
    for h in start.values():
        h[:dead] = 0
    weighted = plain(k + dead, max_iter=2).fit(views, H=start, sample_weight=weight)
    repeated = plain(k + dead, max_iter=2).fit({v: X[order] for v, X in views.items()}, H=start)
    assert weighted.n_reseeded_ == repeated.n_reseeded_
    assert weighted.n_reseeded_ == dead
    np.testing.assert_allclose(
        weighted.loss_history_, repeated.loss_history_, rtol=RTOL, atol=1e-12
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**problems, penalised=st.booleans())
def test_order_of_examples_and_views_does_not_matter(
    seed: int, n: int, columns: list[int], k: int, penalised: bool
) -> None:
    views, rng = some_views(seed, n, columns), np.random.default_rng(seed)
    start = start_for(views, k)
    terms = {"sample_weight": rng.random(n) + 0.1, "mask": {"v0": rng.random(n) < 0.8}}
    if len(columns) == 1:
        del terms["mask"]
    options = {}
    if penalised:
        options = {"alpha_W": 1e-2, "alpha_H": 2e-2, "group_sparsity": 0.3}
        terms["groups"] = rng.integers(0, 4, n)
    one = plain(k, max_iter=6, **options).fit(views, H=start, **terms)
    order, names = rng.permutation(n), list(rng.permutation(list(views)))
    moved = {name: term[order] for name, term in terms.items() if name != "mask"}
    if "mask" in terms:
        moved["mask"] = {"v0": terms["mask"]["v0"][order]}
    other = plain(k, max_iter=6, **options).fit(
        {name: views[name][order] for name in names}, H=start, **moved
    )
    np.testing.assert_allclose(other.loss_history_, one.loss_history_, rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(
        other.reconstruction_err_, one.reconstruction_err_, rtol=RTOL, atol=1e-7
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**problems, scale=st.sampled_from([2.0**-20, 0.3, 3.0, 1e4]), penalised=st.booleans())
def test_scale_of_a_view_is_scale_of_its_weight(
    seed: int, n: int, columns: list[int], k: int, scale: float, penalised: bool
) -> None:
    """c X_v at w_v / c^2 is the problem of c H_v: penalties on H_v go with sqrt(w_v)."""
    views = some_views(seed, n, columns)
    start = start_for(views, k)
    options = {"alpha_W": 1e-2, "alpha_H": 2e-2, "l1_ratio": 0.4} if penalised else {}
    one = plain(k, max_iter=6, weights={"v0": 0.7}, **options).fit(views, H=start)
    scaled = {**views, "v0": scale * views["v0"]}
    other = plain(k, max_iter=6, weights={"v0": 0.7 / scale**2}, **options).fit(
        scaled, H={**start, "v0": scale * start["v0"]}
    )
    np.testing.assert_allclose(other.loss_history_, one.loss_history_, rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(
        other.reconstruction_err_, one.reconstruction_err_, rtol=RTOL, atol=1e-7
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**problems)
def test_a_view_may_be_split_into_two(seed: int, n: int, columns: list[int], k: int) -> None:
    views = some_views(seed, n, columns)
    start = start_for(views, k)
    whole = plain(k, max_iter=6, alpha_W=1e-3).fit(views, H=start)
    at = columns[0] // 2

    def split(factors: Views) -> Views:
        rest = {name: X for name, X in factors.items() if name != "v0"}
        return {"left": factors["v0"][:, :at], "right": factors["v0"][:, at:], **rest}

    parts = plain(k, max_iter=6, alpha_W=1e-3).fit(split(views), H=split(start))
    np.testing.assert_allclose(parts.loss_history_, whole.loss_history_, rtol=RTOL, atol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(**problems)
def test_order_of_columns_and_components_does_not_matter(
    seed: int, n: int, columns: list[int], k: int
) -> None:
    views, rng = some_views(seed, n, columns), np.random.default_rng(seed)
    start = start_for(views, k)
    orders = {name: rng.permutation(X.shape[1]) for name, X in views.items()}
    components = rng.permutation(k)
    one = plain(k, max_iter=6).fit(views, H=start)
    other = plain(k, max_iter=6).fit(
        {name: X[:, orders[name]] for name, X in views.items()},
        H={name: h[components][:, orders[name]] for name, h in start.items()},
    )
    np.testing.assert_allclose(other.loss_history_, one.loss_history_, rtol=RTOL, atol=1e-12)


def masked_reference(
    views: Views,
    mask: Views,
    weights: dict[str, float],
    samples: np.ndarray,
    start: Views,
    iterations: int,
) -> tuple[list[float], np.ndarray]:
    """Exact ALS on sums over the entries that are there, row by row and column by column."""
    n = len(samples)
    H = {name: h.copy() for name, h in start.items()}
    k = len(next(iter(H.values())))
    losses: list[float] = []
    rows = {name: np.flatnonzero(mask[name]) for name in views}

    def residual(name: str, W: np.ndarray) -> float:
        i = rows[name]
        return float((samples[i] * ((views[name][i] - W[i] @ H[name]) ** 2).sum(axis=1)).sum())

    def solve_w() -> np.ndarray:
        W = np.zeros((n, k))
        for i in range(n):
            there = [name for name in views if mask[name][i]]
            G = sum(weights[v] * H[v] @ H[v].T for v in there)
            W[i] = solve(G, sum(weights[v] * H[v] @ views[v][i] for v in there))
        return W

    total = sum(
        weights[v] * (samples[rows[v]] * (views[v][rows[v]] ** 2).sum(axis=1)).sum() for v in views
    )
    for _ in range(iterations):
        W = solve_w()
        for v, X in views.items():
            i = rows[v]
            C = (W[i].T * samples[i]) @ W[i]
            S = (W[i].T * samples[i]) @ X[i]
            H[v] = np.stack([solve(C, S[:, j]) for j in range(X.shape[1])], axis=1)
        losses.append(sum(weights[v] * residual(v, W) for v in views) / total)
    return losses, solve_w()


@pytest.mark.parametrize("shape", ["random", "blocks"])
def test_missing_views_are_left_out(shape: str) -> None:
    n, k = 700, 3
    views = some_views(3, n, [9, 40, 5])
    rng = np.random.default_rng(4)
    if shape == "random":
        mask = {"v1": rng.random(n) < 0.5, "v2": rng.random(n) < 0.8}
    else:
        mask = {"v1": np.arange(n) < 400, "v2": np.arange(n) >= 150}
    weights = {"v0": 1.0, "v1": 0.3, "v2": 2.0}
    samples = rng.integers(0, 4, n).astype(float)
    start = start_for(views, k)
    full = {"v0": np.ones(n, bool), **mask}
    losses, W = masked_reference(views, full, weights, samples, start, 8)
    holes = {name: X.copy() for name, X in views.items()}
    for name, there in mask.items():
        holes[name][~there] = np.nan
    nmf = plain(k, weights=weights, max_iter=8)
    nmf.fit(holes, H=start, mask=mask, sample_weight=samples)
    np.testing.assert_allclose(nmf.loss_history_, losses, rtol=RTOL)
    np.testing.assert_allclose(nmf.W_, W, atol=1e-6)
    np.testing.assert_array_equal(nmf.transform(holes, mask=mask), nmf.W_)
    squared = sum(
        weights[v]
        * (samples * full[v] * ((views[v] - nmf.W_ @ nmf.components_[v]) ** 2).sum(axis=1)).sum()
        for v in views
    )
    assert nmf.reconstruction_err_ == pytest.approx(np.sqrt(squared), rel=1e-9)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_missing_views_in_single_precision(compute: str) -> None:
    n = 700
    views = {name: X.astype(np.float32) for name, X in some_views(5, n, [300, 40]).items()}
    mask = {"v1": np.random.default_rng(6).random(n) < 0.5}
    start = start_for(views, 3)
    full = {"v0": np.ones(n, bool), **mask}
    losses, _ = masked_reference(views, full, {"v0": 1.0, "v1": 1.0}, np.ones(n), start, 4)
    nmf = plain(3, max_iter=4, compute=compute).fit(views, H=start, mask=mask)
    # What the identity that losses come from may be off by, as for fits without a mask; eight bits
    # of every value, whose errors average out over 700 x 340 of them.
    rtol = 1e-4 if compute == "float32" else 1e-2
    np.testing.assert_allclose(nmf.loss_history_, losses, rtol=rtol)


@pytest.mark.parametrize("level", _core.simd_levels())
def test_bits_do_not_depend_on_blocks_or_threads(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COFACTOR_SIMD", level)
    n = 1037
    views = {name: X.astype(np.float32) for name, X in some_views(20, n, [40, 300]).items()}
    rng = np.random.default_rng(21)
    present = np.array([[True, True], [True, False], [False, True]])
    terms = _core.RowTerms(
        weight=rng.random(n),
        pattern=rng.integers(0, 3, n),
        patterns=present.tolist(),
        group=rng.integers(0, 5, n),
        n_groups=5,
    )
    results = []
    for block_rows, threads in ((0, 1), (1, 2), (7, 3), (64, 2), (600, 1)):
        source = _core.Source(
            [[X] for X in views.values()], ["float32"] * 2, [1.0] * 2, block_rows=block_rows
        )
        engine = _core.Engine(
            source,
            ranks=[3, 4],
            weights=[1.0, 0.5],
            l1_w=0.1,
            l2_w=0.2,
            l1_h=[0.0] * 2,
            l2_h=[0.0] * 2,
            device="cpu",
            float64=False,
            threads=threads,
            unit_rows=True,
            group_penalty=0.5,
            row_terms=terms,
        )
        squares = [found.sum_of_squares for found in engine.scan()]
        start = np.random.default_rng(22)
        for v, X in enumerate(views.values()):
            engine.set_h(v, start.random((7, X.shape[1])))
        result = engine.fit(
            squares,
            max_iterations=4,
            tolerance=0,
            extrapolate=True,
            verify=False,
            progress=None,
            drop_finished=True,
        )
        W = np.empty((n, 7), np.float32)
        losses = engine.encode(squares, exact=False, w=W).losses
        results.append(
            [*(fit.losses for fit in result.fits), losses, W, engine.h(0), engine.group_norms]
        )
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_full_mask_and_equal_weights_change_no_bit() -> None:
    views = some_views(7, 600, [30, 11])
    plainly = plain(3, max_iter=5).fit(views)
    masked = plain(3, max_iter=5).fit(
        views, mask={"v1": np.ones(600, bool)}, sample_weight=np.ones(600)
    )
    assert masked.loss_history_ == plainly.loss_history_
    np.testing.assert_array_equal(masked.W_, plainly.W_)


def test_starts_see_weights_and_masks() -> None:
    # Wide enough for compressed data: 15 * 20 * (n + d) <= n d.
    n = 900
    views = some_views(8, n, [300, 300], noise=0.05)
    rng = np.random.default_rng(9)
    mask = {"v1": rng.random(n) < 0.7}
    views["v1"][~mask["v1"]] = np.nan
    weights = rng.random(n)
    for init in (None, "sample", "nndsvda"):
        nmf = cf.CoupledNMF(3, random_state=0, init=init, tol=1e-5)
        nmf.fit(views, mask=mask, sample_weight=weights)
        assert nmf.loss_history_[-1] < 0.01, init


def group_objective(
    views: Views, W: np.ndarray, H: Views, groups: np.ndarray, mu: float, alpha: float
) -> float:
    width = sum(X.shape[1] for X in views.values())
    value = 0.5 * sum(((X - W @ H[v]) ** 2).sum() for v, X in views.items())
    norms = sum(np.linalg.norm(W[groups == g], axis=0).sum() for g in np.unique(groups))
    return float(value + 0.5 * width * alpha * (W**2).sum() + mu * norms)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mu", [0.5, 4.0])
def test_group_penalty_agrees_with_a_convex_solver(seed: int, mu: float) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(seed)
    groups = np.repeat(["a", "b", "c", "d"], [1, 4, 7, 12])[rng.permutation(24)]
    H = {"v0": rng.random((3, 6)), "v1": rng.random((3, 4))}
    truth = (
        rng.random((24, 3)) * (rng.random((4, 3)) < 0.6)[np.unique(groups, return_inverse=True)[1]]
    )
    views = {v: truth @ h + 0.1 * rng.random((24, h.shape[1])) for v, h in H.items()}
    alpha = 1e-3
    nmf = plain(3, alpha_W=alpha, alpha_H=1e-3, group_sparsity=mu, max_iter=3000, tol=1e-13)
    nmf.fit(views, H=H, fixed=list(H), groups=groups)
    W = cvxpy.Variable((24, 3), nonneg=True)
    objective = sum(0.5 * cvxpy.sum_squares(X - W @ H[v]) for v, X in views.items())
    objective += 0.5 * 10 * alpha * cvxpy.sum_squares(W)
    for g in np.unique(groups):
        for r in range(3):
            objective += mu * cvxpy.norm(W[np.flatnonzero(groups == g), r])
    cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver="CLARABEL")
    ours = group_objective(views, nmf.W_, H, groups, mu, alpha)
    theirs = group_objective(views, np.maximum(W.value, 0), H, groups, mu, alpha)
    # The majoriser is smooth below a millionth of the norms, which costs 12 groups that much times
    # mu; the solver's own gap is 1e-8 of the objective.
    assert ours == pytest.approx(theirs, rel=2e-6)
    assert ours <= theirs * (1 + 1e-6)
    # Both agree on which groups do without which components.
    for g, label in enumerate(nmf.groups_):
        for r in range(3):
            solved = np.linalg.norm(W.value[groups == label, r])
            if not 1e-6 < solved < 1e-2:
                assert (nmf.group_norms_[g, r] < 1e-3) == (solved < 1e-3)
    assert (nmf.W_ == 0).any()


def test_group_sparsity_lowers_its_objective_at_every_pass() -> None:
    views = some_views(10, 300, [20, 12])
    groups = np.random.default_rng(11).integers(0, 6, 300)
    start = start_for(views, 4)
    last = np.inf
    for passes in range(1, 15):
        nmf = plain(4, alpha_W=1e-3, group_sparsity=2.0, max_iter=passes, l1_ratio=0.0)
        # The pair after both half-steps is that of the last W, not of the final solve.
        nmf.fit(views, H=start, groups=groups)
        value = group_objective(views, nmf.W_, nmf.components_, groups, 2.0, 1e-3)
        value += 0.5 * 300 * 1e-3 * sum((h**2).sum() for h in nmf.components_.values())
        assert value <= last * (1 + 1e-9)
        last = value
    np.testing.assert_array_equal(nmf.transform(views, groups=groups), nmf.W_)


def test_a_strong_group_penalty_frees_groups_of_components() -> None:
    rng = np.random.default_rng(12)
    n = 240
    groups = np.arange(n) % 3
    W = rng.random((n, 3)) * (groups[:, np.newaxis] == np.arange(3))
    views = {"v0": W @ rng.random((3, 30)) + 0.05 * rng.random((n, 30))}
    loose = cf.CoupledNMF(3, random_state=0, alpha_W=1e-4).fit(views)
    tight = cf.CoupledNMF(3, random_state=0, alpha_W=1e-4, group_sparsity=3.0, tol=0, max_iter=600)
    tight.fit(views, groups=groups)
    assert (loose.W_.reshape(-1, 3, 3).any(axis=0)).sum() == 9
    assert (tight.W_.reshape(-1, 3, 3).any(axis=0)).sum() < 9


def test_the_papers_penalty_has_unit_rows_and_never_rises() -> None:
    views = some_views(13, 400, [25, 600, 1])
    start = start_for(views, 4)
    last = np.inf
    for passes in range(1, 12):
        nmf = plain(4, penalty="paper", alpha_W=0.2, max_iter=passes).fit(views, H=start)
        value = sum(((X - nmf.W_ @ nmf.components_[v]) ** 2).sum() for v, X in views.items())
        value += 0.4 * nmf.W_.sum() + 0.2 * (nmf.W_**2).sum()
        assert value <= last * (1 + 1e-9)
        last = value
        for h in nmf.components_.values():
            np.testing.assert_allclose(np.linalg.norm(h, axis=1), 1.0, rtol=1e-12)
            assert (h >= 0).all()


def test_rows_of_the_papers_penalty_are_minimisers() -> None:
    """Projected gradient on the sphere finds nothing better near a fit that has ended."""
    views = some_views(14, 200, [40])
    nmf = plain(3, penalty="paper", alpha_W=0.05, tol=1e-12, max_iter=3000).fit(views)
    X, W, H = views["v0"], nmf.W_, nmf.components_["v0"]
    gradient = W.T @ W @ H - W.T @ X
    for r in range(3):
        t = -(gradient[r] - (W[:, r] @ W[:, r]) * H[r])
        best = np.maximum(t, 0) / np.linalg.norm(np.maximum(t, 0))
        np.testing.assert_allclose(H[r], best, atol=1e-4)


def test_fixed_components_stay_and_the_others_are_fitted() -> None:
    rng = np.random.default_rng(15)
    W, H = rng.random((300, 4)), {"a": rng.random((4, 12)), "b": rng.random((4, 20))}
    views = {v: W @ h + 0.01 * rng.random((300, h.shape[1])) for v, h in H.items()}
    nmf = cf.CoupledNMF(4, random_state=0, tol=1e-8, max_iter=500)
    nmf.fit(views, H={"a": H["a"]}, fixed=["a"])
    np.testing.assert_array_equal(nmf.components_["a"], H["a"])
    assert np.abs(nmf.components_["b"] - H["b"]).max() < 0.1
    assert nmf.loss_history_[-1] < 1e-4
    # A component that the fixed view does not know is free in the others.
    less = {"a": np.vstack([H["a"][:3], np.zeros((1, 12))])}
    nmf.fit(views, H=less, fixed=["a"])
    np.testing.assert_array_equal(nmf.components_["a"], less["a"])
    assert nmf.components_["b"][3].any()
    # With everything fixed, a fit is a transform.
    full = plain(4, max_iter=2).fit(views, H=H, fixed=["a", "b"])
    np.testing.assert_array_equal(full.transform(views), full.W_)
    np.testing.assert_array_equal(full.components_["b"], H["b"])


def test_everything_at_once_lowers_its_objective() -> None:
    n = 400
    views = some_views(16, n, [30, 20, 10])
    rng = np.random.default_rng(17)
    mask = {"v1": rng.random(n) < 0.6}
    groups, samples = rng.integers(0, 5, n), rng.random(n)
    H = {"v2": rng.random((4, 10))}
    nmf = cf.CoupledNMF(
        4,
        random_state=0,
        penalty="paper",
        alpha_W=0.01,
        group_sparsity=0.1,
        weights={"v0": 0.5},
        max_iter=40,
        tol=0,
    )
    nmf.fit(views, H=H, fixed=["v2"], groups=groups, mask=mask, sample_weight=samples)
    np.testing.assert_array_equal(nmf.components_["v2"], H["v2"])
    np.testing.assert_array_equal(nmf.transform(views, mask=mask, groups=groups), nmf.W_)
    np.testing.assert_allclose(np.linalg.norm(nmf.components_["v0"], axis=1), 1.0, rtol=1e-12)
    assert nmf.loss_history_[-1] < nmf.loss_history_[0]


def test_a_fit_with_groups_is_saved(tmp_path) -> None:
    views = some_views(18, 60, [8])
    groups = np.array(["cat", "dog", "eel"])[np.arange(60) % 3]
    nmf = plain(2, alpha_W=1e-2, group_sparsity=0.5, max_iter=5).fit(views, groups=groups)
    nmf.save(tmp_path / "run")
    again = cf.load(tmp_path / "run")
    np.testing.assert_array_equal(again.transform(views, groups=groups), nmf.W_)
    with pytest.raises(ValueError, match=r"label\(s\) 'fox' that the fit does not know"):
        again.transform(views, groups=np.where(groups == "eel", "fox", groups))


GOOD = some_views(19, 12, [5, 3])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"mask": np.ones(12, bool)}, TypeError, "mask has type ndarray; expected a mapping"),
        ({"mask": {"x": np.ones(12, bool)}}, ValueError, "mask names unknown view"),
        (
            {"mask": {"v0": np.ones(12)}},
            TypeError,
            r"mask\['v0'\] has dtype float64; expected bool",
        ),
        ({"mask": {"v0": np.ones(11, bool)}}, ValueError, r"shape \(11,\); expected one entry"),
        (
            {"mask": {"v0": np.arange(12) > 1, "v1": np.arange(12) > 1}},
            ValueError,
            r"leaves 2 example\(s\) without any view",
        ),
        ({"sample_weight": np.ones(11)}, ValueError, "one weight an example"),
        ({"sample_weight": -np.ones(12)}, ValueError, "finite weights of at least 0"),
        ({"sample_weight": np.zeros(12)}, ValueError, "not all 0"),
        ({"sample_weight": ["x"] * 12}, TypeError, "holds no real numbers"),
        ({"groups": np.zeros(12, int)}, ValueError, "group_sparsity=0 makes no use of them"),
        ({"fixed": ["v0"]}, ValueError, "'v0', whose components H does not give"),
        ({"fixed": ["x"]}, ValueError, "fixed names unknown view"),
        ({"fixed": "v0"}, TypeError, "must be a list of view names"),
        (
            {"H": {"v0": np.ones((2, 5)), "x": np.ones((2, 5))}, "fixed": ["v0"]},
            ValueError,
            "H names unknown",
        ),
    ],
)
def test_bad_terms_are_refused(given: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cf.CoupledNMF(2).fit(GOOD, **given)


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"group_sparsity": 1.0}, {}, "needs groups"),
        ({"group_sparsity": 1.0}, {"groups": np.zeros(12, int)}, "needs alpha_H > 0"),
        ({"penalty": "paper", "l1_ratio": 0.5}, {}, "penalty='paper' gives the rows"),
        ({"penalty": "paper", "alpha_H": 0.5}, {}, "penalty='paper' gives the rows"),
        ({"penalty": "other"}, {}, "penalty='other' is unknown"),
        ({"forget_factor": 1.5}, {}, "forget_factor=1.5 must be between 0 and 1"),
        (
            {"group_sparsity": 1.0, "alpha_W": 1.0},
            {"groups": np.zeros((12, 1), int)},
            "one label an example",
        ),
    ],
)
def test_bad_combinations_are_refused(options: dict, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cf.CoupledNMF(2, **options).fit(GOOD, **given)


def test_groups_need_labels() -> None:
    with pytest.raises(TypeError, match="groups has dtype float64; expected integers or strings"):
        cf.CoupledNMF(2, group_sparsity=1.0, alpha_W=1.0).fit(GOOD, groups=np.zeros(12))


def test_weights_of_examples_do_not_go_with_bfloat16() -> None:
    views = {name: X.astype(np.float32) for name, X in GOOD.items()}
    with pytest.raises(ValueError, match="does not take sample_weight"):
        cf.CoupledNMF(2, compute="auto").fit(views, sample_weight=np.ones(12))
