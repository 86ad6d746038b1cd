"""cofactor.NMF in place of scikit-learn's."""

from __future__ import annotations

import inspect
import pickle
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import sklearn.decomposition
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import cofactor as cf

pytestmark = pytest.mark.usefixtures("auto_device")

RNG = np.random.default_rng(0)
X = RNG.random((40, 12))
# On one factor alone, a penalty can be scaled away, and there would be no minimum.
PENALTIES = [
    {},
    {"alpha_W": 1e-3},
    {"alpha_W": 1e-3, "alpha_H": 2e-4, "l1_ratio": 1.0},
    {"alpha_W": 5e-4, "alpha_H": 2e-3, "l1_ratio": 0.5},
    {"alpha_W": 2e-3, "l1_ratio": 0.3},
]


def start(X: np.ndarray, k: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = np.sqrt(X.mean() / k)
    W = scale * np.abs(rng.standard_normal((X.shape[0], k)))
    H = scale * np.abs(rng.standard_normal((k, X.shape[1])))
    return {"W": W.astype(X.dtype), "H": H.astype(X.dtype)}


def objective(
    X: np.ndarray,
    W: np.ndarray,
    H: np.ndarray,
    alpha_W: float = 0.0,
    alpha_H: float | str = "same",
    l1_ratio: float = 0.0,
) -> float:
    """scikit-learn's documented objective, term by term."""
    n, d = X.shape
    alpha_H = alpha_W if alpha_H == "same" else alpha_H
    return float(
        0.5 * np.sum((X - W @ H) ** 2)
        + alpha_W * l1_ratio * d * np.abs(W).sum()
        + alpha_H * l1_ratio * n * np.abs(H).sum()
        + 0.5 * alpha_W * (1 - l1_ratio) * d * np.sum(W**2)
        + 0.5 * alpha_H * (1 - l1_ratio) * n * np.sum(H**2)
    )


def test_check_estimator() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        results = check_estimator(cf.NMF(), on_skip=None)
    assert len(results) > 40
    skipped = [result["check_name"] for result in results if result["status"] == "skipped"]
    # It runs where SCIPY_ARRAY_API is set before SciPy is imported.
    assert skipped in ([], ["check_array_api_input"])


@pytest.mark.parametrize("name", ["NMF", "non_negative_factorization"])
def test_signatures_are_scikit_learns(name: str) -> None:
    ours = inspect.signature(getattr(cf, name)).parameters
    for parameter in inspect.signature(getattr(sklearn.decomposition, name)).parameters.values():
        assert ours[parameter.name].default == parameter.default
        assert ours[parameter.name].kind == parameter.kind
    for method in ("fit", "fit_transform", "transform", "inverse_transform"):
        theirs = inspect.signature(getattr(sklearn.decomposition.NMF, method))
        assert list(inspect.signature(getattr(cf.NMF, method)).parameters) == list(
            theirs.parameters
        )


@pytest.mark.parametrize("penalties", PENALTIES)
def test_objective_is_scikit_learns(penalties: dict[str, float]) -> None:
    # From one start and in one basin both must end in the same objective, at a stationary point.
    given = start(X, 3, 1)
    ours = cf.NMF(3, init="custom", tol=0, max_iter=3000, **penalties)
    theirs = sklearn.decomposition.NMF(3, init="custom", tol=1e-10, max_iter=20_000, **penalties)
    W = ours.fit_transform(X, **given)
    W_theirs = theirs.fit_transform(X, W=given["W"].copy(), H=given["H"].copy())
    found = objective(X, W, ours.components_, **penalties)
    expected = objective(X, W_theirs, theirs.components_, **penalties)
    # Both are minima to first order, so that the gap is quadratic in what is left of the gradient.
    assert found == pytest.approx(expected, rel=1e-9)
    assert ours.reconstruction_err_ == pytest.approx(
        np.linalg.norm(X - W @ ours.components_), rel=1e-10
    )


@pytest.mark.parametrize("penalties", PENALTIES)
def test_transform_solves_for_w(penalties: dict[str, float]) -> None:
    nmf = cf.NMF(3, random_state=0, tol=1e-2, **penalties).fit(X)
    H = nmf.components_
    fresh = RNG.random((7, 12))
    alpha, ratio = nmf.alpha_W, nmf.l1_ratio
    # Each row of W is a non-negative least-squares problem, with the ridge as more rows.
    ridge = np.sqrt(12 * alpha * (1 - ratio))
    A = np.concatenate([H.T, ridge * np.eye(3)])
    for x, w in zip(fresh, nmf.transform(fresh), strict=True):
        if alpha * ratio == 0:
            expected, _ = scipy.optimize.nnls(A, np.concatenate([x, np.zeros(3)]))
            np.testing.assert_allclose(w, expected, rtol=1e-6, atol=1e-9)
        gradient = (H @ H.T + ridge**2 * np.eye(3)) @ w - H @ x + 12 * alpha * ratio
        assert np.abs(np.minimum(w, gradient)).max() < 1e-8


def test_fit_transform_is_fit_then_transform() -> None:
    nmf = cf.NMF(3, random_state=0)
    W = nmf.fit_transform(X)
    assert np.array_equal(nmf.transform(X), W)
    assert np.array_equal(cf.NMF(3, random_state=0).fit(X).components_, nmf.components_)
    np.testing.assert_allclose(nmf.inverse_transform(W), W @ nmf.components_)


@pytest.mark.parametrize("seed", range(3))
def test_no_worse_than_scikit_learn_at_equal_iterations(seed: int) -> None:
    digits = load_digits().data
    given = start(digits, 10, seed)
    ours = cf.NMF(10, init="custom", tol=0, max_iter=40)
    theirs = sklearn.decomposition.NMF(10, init="custom", tol=0, max_iter=40)
    ours.fit(digits, **{name: factor.copy() for name, factor in given.items()})
    theirs.fit(digits, **given)
    # 0.1 % of the objective, which is half the square of this.
    assert ours.reconstruction_err_**2 < 1.001 * theirs.reconstruction_err_**2


@pytest.mark.parametrize(
    "init", [None, "random", "nndsvd", "nndsvda", "nndsvdar", "compressed", "sample"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_start_fits(init: str | None, dtype: type) -> None:
    exact = (RNG.random((60, 3)) @ RNG.random((3, 20))).astype(dtype)
    nmf = cf.NMF(3, init=init, random_state=0, max_iter=1000)
    W = nmf.fit_transform(exact)
    assert W.dtype == nmf.components_.dtype == dtype
    assert nmf.reconstruction_err_ < 0.02 * np.linalg.norm(exact)


def test_none_is_nndsvda_as_long_as_it_can_be() -> None:
    fits = [cf.NMF(3, init=init, random_state=0).fit(X) for init in (None, "nndsvda")]
    assert np.array_equal(fits[0].components_, fits[1].components_)
    wide = [cf.NMF(5, init=init, random_state=0).fit(X[:4]) for init in (None, "random")]
    assert np.array_equal(wide[0].components_, wide[1].components_)
    with pytest.raises(ValueError, match="init='nndsvd' can only be used when n_components <= min"):
        cf.NMF(5, init="nndsvd").fit(X[:4])


def test_number_of_components() -> None:
    assert cf.NMF(max_iter=1, tol=0).fit(X).n_components_ == 12
    assert cf.NMF(None, max_iter=1, tol=0).fit(X).n_components_ == 12
    given = start(X, 4, 0)
    nmf = cf.NMF(init="custom", max_iter=2, tol=0).fit(X, **given)
    assert nmf.n_components_ == 4
    assert nmf.get_feature_names_out().tolist() == ["nmf0", "nmf1", "nmf2", "nmf3"]
    W, H, _ = cf.non_negative_factorization(X, **given, init="custom", tol=0, max_iter=2)
    assert W.shape == (40, 4)
    assert H.shape == (4, 12)


def test_attributes_and_history() -> None:
    nmf = cf.NMF(3, random_state=0, max_iter=15, tol=0).fit(X)
    assert nmf.n_iter_ == 15
    assert nmf.n_features_in_ == 12
    assert len(nmf.loss_history_) <= 15
    assert nmf.loss_history_[-1] == pytest.approx(
        nmf.reconstruction_err_**2 / np.sum(X**2), rel=1e-2
    )
    with pytest.raises(NotFittedError):
        cf.NMF(3).transform(X)


def test_warnings_are_scikit_learns() -> None:
    with pytest.warns(ConvergenceWarning, match="Maximum number of iterations 2 reached. Incre"):
        cf.NMF(3, max_iter=2).fit(X)
    with pytest.warns(RuntimeWarning, match="When init!='custom', provided W or H are ignored"):
        cf.NMF(3, max_iter=2, tol=0).fit(X, H=start(X, 3, 0)["H"])
    with pytest.warns(RuntimeWarning, match="When update_H=False, the provided initial W is not"):
        cf.non_negative_factorization(X, **start(X, 3, 0), update_H=False)


def test_the_function_with_h_fixed() -> None:
    H = start(X, 3, 0)["H"]
    W, same, n_iter = cf.non_negative_factorization(X, H=H, update_H=False)
    assert same is H
    assert n_iter == 1
    expected, _, _ = sklearn.decomposition.non_negative_factorization(
        X, H=H, update_H=False, tol=1e-12, max_iter=100_000
    )
    np.testing.assert_allclose(W, expected, atol=1e-6)


def test_custom_start_does_not_change_what_it_is_given() -> None:
    given = start(X, 3, 0)
    copies = {name: factor.copy() for name, factor in given.items()}
    for factor in given.values():
        factor.flags.writeable = False
    cf.NMF(3, init="custom", max_iter=3, tol=0).fit(X, **given)
    assert all(np.array_equal(given[name], copies[name]) for name in given)


def test_sparse_counts() -> None:
    counts = RNG.poisson(0.3, (200, 50)).astype(np.float64)
    dense = cf.NMF(4, random_state=0, max_iter=20, tol=0)
    W = dense.fit_transform(counts)
    for sparse in (scipy.sparse.csr_matrix, scipy.sparse.csc_array, scipy.sparse.coo_array):
        nmf = cf.NMF(4, random_state=0, max_iter=20, tol=0)
        assert np.array_equal(nmf.fit_transform(sparse(counts)), W)
        assert np.array_equal(nmf.transform(sparse(counts)), W)
    np.testing.assert_allclose(
        dense.inverse_transform(scipy.sparse.csr_array(W)), W @ dense.components_, atol=1e-12
    )


def test_pickles_clones_and_pipelines() -> None:
    nmf = cf.NMF(3, random_state=0, alpha_W=1e-4).fit(X)
    again = pickle.loads(pickle.dumps(nmf))
    assert np.array_equal(again.transform(X), nmf.transform(X))
    assert clone(nmf).get_params() == nmf.get_params()
    pipe = make_pipeline(MinMaxScaler(), cf.NMF(3, random_state=0))
    assert pipe.fit_transform(X).shape == (40, 3)
    assert list(pipe.get_feature_names_out()) == ["nmf0", "nmf1", "nmf2"]


def test_pandas_output() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"f{j}" for j in range(12)])
    W = cf.NMF(3, random_state=0).set_output(transform="pandas").fit_transform(frame)
    assert list(W.columns) == ["nmf0", "nmf1", "nmf2"]
    assert np.array_equal(W.to_numpy(), cf.NMF(3, random_state=0).fit_transform(X))


def test_verbose_prints_passes(capsys: pytest.CaptureFixture[str]) -> None:
    cf.NMF(3, random_state=0, verbose=1, max_iter=3, tol=0).fit(X)
    assert capsys.readouterr().out.startswith("pass 1: relative loss 0.")


def test_zeros_are_fitted() -> None:
    for init in (None, "random", "nndsvd", "compressed"):
        nmf = cf.NMF(2, init=init, random_state=0)
        assert not nmf.fit_transform(np.zeros((6, 4))).any()
        assert nmf.reconstruction_err_ == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"solver": "mu"}, ValueError, "solver='mu' is scikit-learn's multiplicative update"),
        (
            {"beta_loss": "kullback-leibler"},
            ValueError,
            "Invalid beta_loss parameter: solver 'cd' does not handle beta_loss = 'kull",
        ),
        ({"beta_loss": 1.5}, ValueError, "does not handle beta_loss = 1.5"),
        ({"n_components": 0}, ValueError, "'n_components' parameter of NMF must be an int in the"),
        ({"tol": -1}, ValueError, "The 'tol' parameter of NMF must be a float in the range"),
        ({"tol": float("inf")}, ValueError, r"range \[0.0, inf\). Got inf instead"),
        ({"init": "magic"}, ValueError, "The 'init' parameter of NMF must be a str among"),
        ({"device": "tpu"}, ValueError, "The 'device' parameter of NMF must be a str among"),
        (
            {"compute": "bfloat16"},
            ValueError,
            "compute='bfloat16' got a float64 view; pass views of at most float32",
        ),
    ],
)
def test_bad_parameters_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cf.NMF(**{"n_components": 2, **options}).fit(X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"H": None}, r"NMF \(input H\) is missing; expected one of shape"),
        ({"H": np.ones((2, 12))}, r"wrong first dimension passed to NMF \(input H\). Expected 3, "),
        ({"H": np.ones((3, 11))}, r"wrong second dimension passed to NMF \(input H\). Expected 12"),
        ({"W": np.ones((39, 3))}, r"wrong first dimension passed to NMF \(input W\). Expected 40"),
        ({"W": -np.ones((40, 3))}, r"Negative values in data passed to NMF \(input W\)"),
        ({"H": np.zeros((3, 12))}, r"Array passed to NMF \(input H\) is full of zeros"),
        ({"H": np.full((3, 12), np.nan)}, r"Input NMF \(input H\) contains NaN"),
    ],
)
def test_bad_starts_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cf.NMF(3, init="custom").fit(X, **{**start(X, 3, 0), **change})


def test_wrong_numbers_of_features_are_refused() -> None:
    nmf = cf.NMF(3, random_state=0).fit(X)
    with pytest.raises(ValueError, match="X has 11 features, but NMF is expecting 12 features"):
        nmf.transform(X[:, :11])
    with pytest.raises(ValueError, match=r"X has 2 features, but NMF\.inverse"):
        nmf.inverse_transform(np.ones((5, 2)))


def test_partial_fit_learns_from_blocks() -> None:
    rng = np.random.default_rng(0)
    H = rng.random((3, 12))
    exact = rng.random((400, 3)) @ H
    blocks = np.array_split(exact, 10)
    fresh = rng.random((100, 3)) @ H

    def error() -> float:
        left = fresh - nmf.inverse_transform(nmf.transform(fresh))
        return float(np.linalg.norm(left) / np.linalg.norm(fresh))

    nmf = cf.NMF(3, random_state=0, forget_factor=0.7)
    assert nmf.partial_fit(blocks[0]) is nmf
    first = error()
    for _ in range(5):
        for block in blocks:
            nmf.partial_fit(block)
    assert error() < 0.5 * first
    again = pickle.loads(pickle.dumps(nmf)).partial_fit(blocks[0])
    assert np.array_equal(again.components_, nmf.partial_fit(blocks[0]).components_)
    with pytest.raises(ValueError, match="X has 11 features, but NMF is expecting 12"):
        nmf.partial_fit(exact[:, :11])


def test_partial_fit_goes_on_from_a_fit_and_fit_starts_over() -> None:
    nmf = cf.NMF(3, random_state=0).fit(X)
    before = nmf.components_.copy()
    nmf.partial_fit(X)
    assert not np.array_equal(nmf.components_, before)
    np.testing.assert_allclose(nmf.components_, before, atol=0.5 * before.max())
    assert np.array_equal(nmf.fit(X).components_, before)
    H = start(X, 3, 0)
    first = cf.NMF(3, init="custom").partial_fit(X, **H)
    second = cf.CoupledNMF(3).partial_fit({"X": X}, H={"X": H["H"]})
    assert np.array_equal(first.components_, second.components_["X"])
