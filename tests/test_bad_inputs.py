"""Thousands of bad inputs: ValueError or TypeError, and nothing given is changed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cofactor as cf
from cofactor import selection

QUICK = {"max_iter": 2, "tol": 0, "n_threads": 1}
REFUSED = (ValueError, TypeError)
many = settings(
    max_examples=450,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
Draw = Callable[[st.SearchStrategy[Any]], Any]

sizes = st.integers(1, 6)
dtypes = st.sampled_from(["f2", "f4", "f8", ">f4", ">f8", "u1", "i2", "i8"])


@st.composite
def good_matrices(draw: Draw) -> np.ndarray:
    shape = (draw(st.integers(2, 6)), draw(st.integers(2, 5)))
    dtype = draw(dtypes)
    values = draw(hnp.arrays("u1", shape, elements=st.integers(0, 9)))
    return np.asarray(values, dtype=dtype, order=draw(st.sampled_from("CF")))


@st.composite
def bad_values(draw: Draw) -> Any:
    """A matrix with a value that no factorization can have."""
    x = draw(good_matrices())
    bad = draw(st.sampled_from([np.nan, np.inf, -np.inf, -1.0, -1e-3, -1e30]))
    if x.dtype.kind != "f":
        x = x.astype(draw(st.sampled_from(["f4", "f8"])))
    if x.dtype == np.float16 and abs(bad) > 1e4 and np.isfinite(bad):
        bad = -9.0
    i, j = draw(st.integers(0, x.shape[0] - 1)), draw(st.integers(0, x.shape[1] - 1))
    x[i, j] = bad
    form = draw(st.sampled_from(["array", "list", "read-only", "sparse", "matrix of objects"]))
    if form == "list":
        return x.tolist()
    if form == "read-only":
        x.flags.writeable = False
    elif form == "sparse":
        return scipy.sparse.csr_array(x.astype("f8" if x.dtype.itemsize == 8 else "f4"))
    elif form == "matrix of objects":
        return x.astype(object)
    return x


bad_arrays = st.one_of(
    bad_values(),
    hnp.arrays("f4", hnp.array_shapes(min_dims=3, max_dims=4, max_side=3), elements=st.just(1.0)),
    hnp.arrays("f8", sizes, elements=st.just(1.0)),
    st.builds(lambda n: np.ones((0, n)), sizes),
    st.builds(lambda n: np.ones((n, 0), "f4"), sizes),
    st.builds(lambda n: np.ones((n, 3), complex), sizes),
    st.builds(lambda n: np.full((n, 2), "x"), sizes),
    st.builds(lambda n: np.full((n, 2), "2020-01-01", "M8[D]"), sizes),
    st.builds(lambda n: np.ma.masked_equal(np.arange(2.0 * n).reshape(n, 2), 1), sizes),
    st.builds(lambda n: [[1.0] * i for i in range(1, n + 2)], sizes),
    st.builds(lambda n: np.array([[None, {}]] * n, dtype=object), sizes),
    st.builds(lambda n: np.zeros((n, 2), [("a", "f4")]), sizes),
    st.builds(lambda n: scipy.sparse.csr_array(np.ones((n, 2), complex)), sizes),
    st.sampled_from([None, "X", b"X", 3, 2.5, True, object(), len, iter([[1.0]]), {1.0}]),
)

not_numbers = st.sampled_from(["many", None, [1], {}, object(), 1j, b"1"])
bad_options = st.one_of(
    st.fixed_dictionaries({"n_components": st.sampled_from([0, -1, 2.5, "two", [2], np.nan])}),
    st.fixed_dictionaries({"max_iter": st.sampled_from([0, -3, 1.5, None, "all", np.inf])}),
    st.fixed_dictionaries({"init": st.sampled_from(["magic", 3, "", b"random", [1]])}),
    st.fixed_dictionaries({"l1_ratio": st.sampled_from([-0.1, 1.1, np.nan, np.inf, "half"])}),
    st.fixed_dictionaries({"device": st.sampled_from(["tpu", "cuda:one", 0, None, ["cpu"]])}),
    st.fixed_dictionaries({"compute": st.sampled_from(["float8", 32, None, ["float32"]])}),
    st.fixed_dictionaries({"n_threads": st.sampled_from([0, -1, 1.5, "all"])}),
    st.fixed_dictionaries({"random_state": st.sampled_from([-1, "seed", 1.5, [1]])}),
    *(
        st.fixed_dictionaries({name: st.one_of(not_numbers, st.floats(max_value=-1e-12))})
        for name in ("tol", "alpha_W", "alpha_H")
    ),
    *(
        st.fixed_dictionaries({name: st.sampled_from([np.nan, np.inf, -np.inf])})
        for name in ("tol", "alpha_W", "alpha_H")
    ),
)


def refused(call: Callable[..., object], *given: Any) -> None:
    """Make the call, which must fail and leave alone what it was given."""
    before = [snapshot(x) for x in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(REFUSED) as caught:
            call(*given)
    assert str(caught.value)
    assert [snapshot(x) for x in given] == before


def snapshot(x: Any) -> Any:
    if scipy.sparse.issparse(x):
        return [snapshot(part) for part in (x.indptr, x.indices, x.data)]
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype, x.strides, x.tobytes() if x.dtype != object else repr(x.tolist())
    if isinstance(x, dict):
        return {name: snapshot(value) for name, value in x.items()}
    return copy.copy(x) if isinstance(x, list) else x


@many
@given(X=bad_arrays, fitted=st.booleans())
def test_nmf_refuses_bad_data(X: Any, fitted: bool) -> None:
    nmf = cf.NMF(1, init="random", random_state=0, **QUICK)
    if fitted:
        refused(nmf.fit(np.ones((3, 2), "f4")).transform, X)
    else:
        refused(nmf.fit, X)


@many
@given(X=good_matrices(), options=bad_options, function=st.booleans())
def test_nmf_refuses_bad_parameters(X: Any, options: dict[str, Any], function: bool) -> None:
    if function and not options.keys() & {"device", "compute", "n_threads"}:
        refused(lambda X: cf.non_negative_factorization(X, **{"n_components": 1, **options}), X)
    else:
        refused(cf.NMF(**{"n_components": 1, "init": "random", **options}).fit, X)


@many
@given(data=st.data(), x=good_matrices())
def test_nmf_refuses_bad_starts(data: st.DataObject, x: np.ndarray) -> None:
    X, k = x + 1.0, 2
    start = {"W": np.ones((X.shape[0], k)), "H": np.ones((k, X.shape[1]))}
    which = data.draw(st.sampled_from(["W", "H"]))
    rows, columns = start[which].shape
    bad = data.draw(
        st.one_of(
            bad_arrays,
            st.sampled_from([np.ones((rows + 1, columns)), np.ones((rows, columns + 1))]),
            st.just(np.zeros((rows, columns))),
        )
    )
    # A column of ones may well be a start; what is drawn for data need not be bad here.
    start[which] = bad
    refused(lambda X, W, H: cf.NMF(k, init="custom", **QUICK).fit(X, W=W, H=H), X, *start.values())


@many
@given(data=st.data(), x=good_matrices(), bad=bad_arrays)
def test_coupled_nmf_refuses_bad_views(data: st.DataObject, x: np.ndarray, bad: Any) -> None:
    good = np.ones((len(x), 3), "f4")
    views: Any = data.draw(
        st.sampled_from(
            [
                {"a": good, "b": bad},
                {"b": bad},
                {"a": good, "b": good[1:]},
                {"a": good, 3: good},
                {None: good},
                {},
                good,
                [good],
                None,
                "views",
                bad,
            ]
        )
    )
    nmf = cf.CoupledNMF(1, random_state=0, **QUICK)
    if data.draw(st.booleans()):
        nmf.fit({"a": np.ones((4, 3), "f4"), "b": np.ones((4, 2), "f4")})
        unknown = st.sampled_from([views, {"c": good}, {"a": good[:, :2]}, {"a": good, "c": good}])
        refused(nmf.transform, data.draw(unknown))
    else:
        refused(nmf.fit, views)


bad_coupled_options = st.one_of(
    bad_options,
    st.fixed_dictionaries(
        {
            "weights": st.one_of(
                st.sampled_from(["fair", 2, None, [1], {"c": 1}, {"a": 0, "b": 0}, {1: 1}]),
                st.builds(
                    lambda weight: {"a": weight},
                    st.sampled_from([-1, np.nan, np.inf, "one", None, [1]]),
                ),
            )
        }
    ),
    st.fixed_dictionaries({"penalty": st.sampled_from(["newspaper", 1, True, ["paper"]])}),
    st.fixed_dictionaries(
        {
            "group_sparsity": st.one_of(
                not_numbers, st.floats(max_value=-1e-12), st.sampled_from([np.nan, np.inf, 1.0])
            )
        }
    ),
    st.fixed_dictionaries(
        {"forget_factor": st.sampled_from([-0.1, 1.1, np.nan, np.inf, "never", None, [1], True])}
    ),
    st.fixed_dictionaries({"max_memory": st.sampled_from([0, -1, 2.5, "much", "2 XB", [1]])}),
    st.just({"penalty": "paper", "alpha_H": 1.0}),
    st.just({"penalty": "paper", "l1_ratio": 0.5}),
    st.fixed_dictionaries({"acceleration": st.sampled_from(["warp", 1, ["auto"]])}),
    st.fixed_dictionaries({"callback": st.sampled_from([3, "print", [print]])}),
)


@many
@given(x=good_matrices(), options=bad_coupled_options)
def test_coupled_nmf_refuses_bad_parameters(x: np.ndarray, options: dict[str, Any]) -> None:
    views = {"a": x + 1.0, "b": np.ones((len(x), 3), "f4")}
    refused(cf.CoupledNMF(**{"n_components": 1, **options}).fit, views)


N = 6
GOOD_VIEWS = {"a": np.ones((N, 3), "f4"), "b": np.ones((N, 2), "f4")}
wrong_lengths = st.integers(0, 9).filter(lambda n: n != N)
no_columns = st.one_of(
    st.sampled_from(["x", b"x", 3, 2.5, object(), len, {}, {1.0}, [[1.0]] * N, [None] * N]),
    st.builds(lambda n: np.ones(n), wrong_lengths),
    st.builds(lambda n: np.ones((N, n)), st.integers(0, 3)),
    st.just(np.ones(N, complex)),
    st.just(np.full(N, "2020-01-01", "M8[D]")),
    st.just(np.array([{}] * N, dtype=object)),
)


@st.composite
def with_bad_entry(draw: Draw, bad: st.SearchStrategy[float]) -> np.ndarray:
    values = np.ones(N)
    values[draw(st.integers(0, N - 1))] = draw(bad)
    return values


bad_terms = st.one_of(
    st.fixed_dictionaries(
        {
            "sample_weight": st.one_of(
                no_columns,
                with_bad_entry(st.one_of(st.floats(max_value=-5e-324), st.just(np.nan))),
                with_bad_entry(st.sampled_from([np.inf, -np.inf])),
                st.just(np.zeros(N)),
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "mask": st.one_of(
                no_columns.filter(lambda mask: not (isinstance(mask, dict) and not mask)),
                st.builds(lambda column: {"a": column}, no_columns),
                st.builds(lambda column: {"c": column}, no_columns),
                st.just({"a": np.ones(N)}),
                st.just({"a": [1] * N}),
                st.builds(
                    lambda i: {"a": np.arange(N) != i, "b": np.arange(N) != i},
                    st.integers(0, N - 1),
                ),
            )
        }
    ),
    st.fixed_dictionaries({"groups": no_columns}),
    st.just({"groups": np.ones(N)}),
    st.fixed_dictionaries(
        {"fixed": st.sampled_from([["a"], ["c"], "a", 3, [3], [None], ["a", "a"], [["a"]], len])}
    ),
    st.fixed_dictionaries(
        {
            "H": st.one_of(
                bad_arrays.filter(lambda H: H is not None),
                st.builds(lambda bad: {"a": bad, "b": np.ones((1, 2))}, bad_arrays),
                st.sampled_from([{}, {"a": np.ones((1, 3))}, {"c": np.ones((1, 3))}]),
                st.just({"a": np.ones((2, 3)), "b": np.ones((2, 2))}),
            )
        }
    ),
)


@many
@given(given=bad_terms, how=st.sampled_from(["fit", "partial_fit", "fit_many", "fit_transform"]))
def test_bad_terms_of_examples_are_refused(given: dict[str, Any], how: str) -> None:
    only_fit = given.keys() & {"fixed"} or (how == "fit_many" and "H" in given)
    if only_fit or (how == "partial_fit" and "groups" in given):
        how = "fit"
    options = {"alpha_W": 0.1, "group_sparsity": 1.0} if "groups" in given else {}
    nmf = cf.CoupledNMF(1, random_state=0, **QUICK, **options)

    def call(terms: dict[str, Any]) -> None:
        if how == "fit_many":
            cf.fit_many(GOOD_VIEWS, 1, seeds=1, **QUICK, **options, **terms)
        else:
            getattr(nmf, how)(GOOD_VIEWS, **terms)

    refused(call, given)


bad_many = st.one_of(
    bad_coupled_options.filter(
        lambda options: not options.keys() & {"n_components", "random_state", "callback"}
    ),
    st.fixed_dictionaries(
        {"n_components": st.sampled_from([0, [], [0], [2, -1], 2.5, "two", [2, "x"], None, {2: 3}])}
    ),
    st.fixed_dictionaries(
        {"seeds": st.sampled_from([0, -1, [], [0.5], "all", None, [True], [-1], {1: 2}, [2**40]])}
    ),
    st.fixed_dictionaries({"clusters": st.just(3)}),
)


@many
@given(options=bad_many)
def test_many_fits_refuse_bad_parameters(options: dict[str, Any]) -> None:
    given = {"n_components": 1, "seeds": 1, "init": "random", **options}
    refused(lambda views: cf.fit_many(views, **given), GOOD_VIEWS)


@pytest.fixture(scope="module")
def fits() -> cf.ManyFits:
    rng = np.random.default_rng(0)
    return cf.fit_many({"a": rng.random((20, 4))}, [2], seeds=2, max_iter=3, tol=0)


@settings(many, max_examples=120, suppress_health_check=list(HealthCheck))
@given(
    outliers=st.one_of(st.floats(max_value=-1e-9), st.floats(min_value=1.0)),
    rank=st.sampled_from([0, 1, 3, -2, "two", None]),
    folds=st.sampled_from([(1, 2), (2, 1), (21, 2), (2, 5), (2,), (2, 2, 2), (0, 0), (-2, 2)]),
)
def test_selection_refuses_bad_parameters(
    fits: cf.ManyFits, outliers: float, rank: Any, folds: Any
) -> None:
    refused(lambda: selection.consensus(fits, 2, outliers=outliers))
    refused(lambda: selection.consensus(fits, rank))
    refused(lambda X: selection.bi_cross_validation(X, 2, folds=folds), {"a": np.ones((20, 4))})


floats = {
    "f4": st.floats(width=32) | st.sampled_from([0.0, 1.0, 2.0**-149, 2.0**127]),
    "f8": st.floats() | st.sampled_from([0.0, 1e-300, 1e300, 5e-324]),
}


@many
@given(
    X=st.sampled_from(["f4", "f8"]).flatmap(
        lambda dtype: hnp.arrays(dtype, st.tuples(sizes, sizes), elements=floats[dtype])
    ),
    k=st.integers(1, 7),
    init=st.sampled_from([None, "random", "nndsvd", "nndsvdar", "compressed", "sample"]),
)
def test_any_numbers_are_fitted_or_refused(X: np.ndarray, k: int, init: str | None) -> None:
    before = X.tobytes()
    nmf = cf.NMF(k, init=init, random_state=0, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            W = nmf.fit_transform(X)
        except REFUSED:
            pass
        else:
            assert np.isfinite(X).all()
            assert (X >= 0).all()
            for factor in (W, nmf.components_):
                assert np.isfinite(factor).all()
                assert (factor >= 0).all()
    assert X.tobytes() == before
