"""What CoupledNMF accepts, and how it refuses the rest."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import cofactor as cf
from cofactor import _core

GOOD = {"a": np.random.default_rng(0).random((12, 5)), "b": np.ones((12, 3), np.float32)}


def changed(**views: object) -> dict[str, object]:
    return {**GOOD, **views}


NAN = GOOD["a"].copy()
NAN[3, 2] = np.nan
NEGATIVE = GOOD["a"].copy()
NEGATIVE[3, 2] = -0.5


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (GOOD["a"], TypeError, "got ndarray; expected an ActivationStore or a mapping"),
        ({}, ValueError, "got no views; expected at least one"),
        (changed(c=np.ones((11, 2))), ValueError, "'a' has 12, 'b' has 12, 'c' has 11"),
        (changed(c=np.ones(12)), ValueError, r"'c' has shape \(12,\); expected \(n_examples"),
        (changed(c=np.ones((12, 2, 2))), ValueError, r"flatten it with x.reshape\(len\(x\), -1\)"),
        (changed(c=np.ones((12, 0))), ValueError, r"'c' with 0 feature\(s\)"),
        ({"a": np.ones((0, 3))}, ValueError, r"0 example\(s\) while a minimum of 1"),
        (changed(c=np.array([["x"]] * 12)), TypeError, "'c' has dtype <U1; expected real numbers"),
        (changed(c=np.ones((12, 2), complex)), TypeError, "expected real numbers"),
        ({1: np.ones((12, 2))}, TypeError, "view names must be strings, got 1"),
        (changed(c=NAN), ValueError, r"'c' contains NaN or infinity \(1 values\)"),
        (changed(c=NEGATIVE), ValueError, r"Negative values .* view 'c' has minimum -0.5"),
    ],
)
def test_bad_data_is_refused(X: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cf.CoupledNMF(2).fit(X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components=0 must be at least 1"),
        ({"n_components": 2.5}, TypeError, "n_components=2.5 must be an integer"),
        ({"n_components": True}, TypeError, "n_components=True must be an integer"),
        ({"max_iter": -1}, ValueError, "max_iter=-1 must be at least 1"),
        ({"tol": -1e-3}, ValueError, "tol=-0.001 must be at least 0"),
        ({"tol": "small"}, TypeError, "tol='small' must be a number"),
        ({"alpha_W": float("nan")}, ValueError, "alpha_W=nan must be at least 0"),
        ({"alpha_H": float("inf")}, ValueError, "alpha_H=inf must be at least 0"),
        ({"l1_ratio": 1.5}, ValueError, "l1_ratio=1.5 must be between 0 and 1"),
        (
            {"init": "magic"},
            ValueError,
            "init='magic' is unknown; expected one of None, 'compressed'",
        ),
        ({"device": "tpu"}, ValueError, "device='tpu' is unknown"),
        ({"acceleration": "warp"}, ValueError, "acceleration='warp' is unknown"),
        ({"n_threads": 0}, ValueError, "n_threads=0 must be at least 1"),
        ({"callback": 3}, TypeError, "callback=3 is not callable"),
        ({"weights": "fair"}, ValueError, "weights='fair' is unknown"),
        ({"weights": 2}, TypeError, "weights has type int"),
        ({"weights": {"c": 1}}, ValueError, r"unknown view\(s\) 'c'; the data has 'a', 'b'"),
        ({"weights": {"a": -1}}, ValueError, r"weights\['a'\]=-1 must be at least 0"),
        ({"weights": {"a": 0, "b": 0}}, ValueError, "every view has weight 0"),
    ],
)
def test_bad_parameters_are_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cf.CoupledNMF(**{"n_components": 2, **options}).fit(GOOD)


@pytest.mark.skipif(_core.cuda_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(RuntimeError, match=r"device='cuda' was asked for.*use device='cpu'"):
        cf.CoupledNMF(2, device="cuda").fit(GOOD)


@pytest.mark.parametrize(
    ("H", "message"),
    [
        ({"a": np.ones((2, 5))}, "H has views 'a'; expected 'a', 'b'"),
        ({"a": np.ones((2, 4)), "b": np.ones((2, 3))}, r"H\['a'\] has shape \(2, 4\); expected"),
        ({"a": -np.ones((2, 5)), "b": np.ones((2, 3))}, "must hold finite values of at least 0"),
    ],
)
def test_bad_starts_are_refused(H: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cf.CoupledNMF(2).fit(GOOD, H=H)


def test_transform_checks_its_views() -> None:
    nmf = cf.CoupledNMF(2, random_state=0, weights={"b": 0.0}, tol=1e-2)
    with pytest.raises(NotFittedError):
        nmf.transform(GOOD)
    nmf.fit(GOOD)
    with pytest.raises(ValueError, match=r"unknown view\(s\) 'c'; the fit knows 'a', 'b'"):
        nmf.transform({"c": np.ones((2, 2))})
    with pytest.raises(ValueError, match="'a' has 4 features, but CoupledNMF is expecting 5"):
        nmf.transform({"a": np.ones((2, 4))})
    with pytest.raises(ValueError, match=r"only views of weight 0.*pass one of 'a'"):
        nmf.transform({"b": np.ones((2, 3))})


@pytest.mark.parametrize(
    "same",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f8"),
        lambda x: x.tolist(),
    ],
)
def test_layout_does_not_matter(same: object) -> None:
    start = {"a": np.full((2, 5), 0.5), "b": np.eye(2, 3)}
    options = {"tol": 0, "max_iter": 3}
    expected = cf.CoupledNMF(2, **options).fit(GOOD, H=start)
    given = {"a": same(GOOD["a"]), "b": GOOD["b"]}
    assert np.array_equal(cf.CoupledNMF(2, **options).fit(given, H=start).W_, expected.W_)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64])
def test_other_real_dtypes_are_converted(dtype: type) -> None:
    X = np.random.default_rng(0).integers(0, 2, (20, 6))
    nmf = cf.CoupledNMF(2, random_state=0, tol=0, max_iter=3).fit({"x": X.astype(dtype)})
    reference = cf.CoupledNMF(2, random_state=0, tol=0, max_iter=3)
    reference.fit({"x": X.astype(np.float64)})
    np.testing.assert_allclose(nmf.loss_history_, reference.loss_history_, rtol=1e-5)


def test_inputs_are_never_changed() -> None:
    views = {name: x.copy() for name, x in GOOD.items()}
    start = {"a": np.full((2, 5), 0.5), "b": np.eye(2, 3)}
    for x in (*views.values(), *start.values()):
        x.flags.writeable = False
    cf.CoupledNMF(2, tol=1e-2).fit(views, H=start)
    assert all(np.array_equal(views[name], GOOD[name]) for name in GOOD)
    assert (start["a"] == 0.5).all()


@pytest.mark.parametrize(
    "X",
    [
        {"zeros": np.zeros((6, 4)), "a": np.ones((6, 2))},
        {"constant": np.full((5, 3), 7.0)},
        {"one": np.ones((1, 1))},
        {"zeros": np.zeros((6, 4))},
    ],
)
@pytest.mark.parametrize("k", [1, 3])
def test_degenerate_data_is_fitted(X: dict[str, np.ndarray], k: int) -> None:
    for weights in ("equal", "balanced"):
        nmf = cf.CoupledNMF(k, random_state=0, weights=weights, tol=0, max_iter=5)
        if weights == "balanced" and not any(x.any() for x in X.values()):
            with pytest.raises(ValueError, match="every view is all zero"):
                nmf.fit(X)
            continue
        nmf.fit(X)
        assert np.isfinite(nmf.W_).all()
        assert all(np.isfinite(H).all() for H in nmf.components_.values())
        for name, x in nmf.inverse_transform(nmf.W_).items():
            if nmf.weights_[name] > 0:
                np.testing.assert_allclose(x, X[name], atol=2e-2)


def test_clones_and_reports_its_parameters() -> None:
    nmf = cf.CoupledNMF(3, weights={"a": 2.0}, alpha_W=0.1)
    assert clone(nmf).get_params() == nmf.get_params()
    assert "n_components=3" in repr(nmf)


BASE_IMPORT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "matplotlib", "cupy", "jinja2", "PIL"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Absent())
import cofactor as cf
from cofactor import _core
for call, extra in [
    (lambda: cf.capture(None, [], ["layer4"], out="nowhere"), "capture"),
    (lambda: cf.report(None, "nowhere"), "report"),
]:
    try:
        call()
    except cf.MissingExtraError as error:
        assert f"pip install 'cofactor[{extra}]'" in str(error), error
    else:
        raise AssertionError(extra)
print("fine")
"""


def test_imports_without_extras_and_names_the_missing_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BASE_IMPORT], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "fine", done.stderr
