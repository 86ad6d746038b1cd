"""Layouts, dtypes and sparse matrices: read as they lie, with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import cofactor as cf
from cofactor import _core
from cofactor._views import load_views

pytestmark = pytest.mark.usefixtures("auto_device")

RNG = np.random.default_rng(0)
# More rows than a packed block of the second shape holds.
SHAPES = [(1, 1), (5, 3), (130, 40_000), (3000, 17)]
Array = np.ndarray


def padded_rows(x: Array) -> Array:
    return np.pad(x, ((0, 0), (0, 3)))[:, : x.shape[1]]


def misaligned(x: Array) -> Array:
    memory = np.empty(x.nbytes + 1, np.uint8)
    out = memory[1:].view(x.dtype).reshape(x.shape)
    out[...] = x
    return out


LAYOUTS: dict[str, Callable[[Array], object]] = {
    "columns": np.asfortranarray,
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "padded rows": padded_rows,
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "other byte order by columns": lambda x: np.asfortranarray(x.astype(x.dtype.newbyteorder())),
    "misaligned": misaligned,
    "sparse rows": scipy.sparse.csr_array,
    "sparse columns": scipy.sparse.csc_matrix,
    "sparse, 64-bit": lambda x: wide(scipy.sparse.csr_matrix(x)),
}


def wide(x: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    x.indptr, x.indices = x.indptr.astype(np.int64), x.indices.astype(np.int64)
    return x


def fit(views: dict[str, object]) -> tuple[cf.CoupledNMF, Array]:
    k = 2
    start = {name: 0.5 + np.arange(k * x.shape[1]).reshape(k, -1) % 7 for name, x in views.items()}
    nmf = cf.CoupledNMF(k, tol=0, max_iter=3)
    return nmf, nmf.fit_transform(views, H=start)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layouts_give_the_same_bits(layout: str, dtype: str) -> None:
    for shape in SHAPES:
        x = np.maximum(RNG.standard_normal(shape), 0).astype(dtype) + np.eye(*shape, dtype=dtype)
        other = np.ones((shape[0], 2), np.float32)
        expected, W = fit({"x": x, "other": other})
        found, W_found = fit({"x": LAYOUTS[layout](x), "other": other})
        assert np.array_equal(W_found, W)
        assert np.array_equal(found.components_["x"], expected.components_["x"])
        assert found.loss_history_ == expected.loss_history_
        assert np.array_equal(found.transform({"x": LAYOUTS[layout](x)}), found.transform({"x": x}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_of_any_layout_give_the_same_bits(layout: str) -> None:
    # The second is packed in several pieces, since its rows are long.
    for shape, size in [((300, 17), 70), ((130, 40_000), 110)]:
        x = np.maximum(RNG.standard_normal(shape), 0).astype(np.float32)
        blocks = [{"x": LAYOUTS[layout](x[i : i + size])} for i in range(0, shape[0], size)]
        nmf = cf.CoupledNMF(2, random_state=0, max_iter=3, tol=0)
        W = nmf.fit_transform({"x": x})
        assert np.array_equal(nmf.transform(blocks), W)
        assert np.array_equal(nmf.fit_transform(blocks), W)


@pytest.mark.parametrize("init", ["sample", "compressed"])
def test_blocks_may_differ_in_layout(init: Any) -> None:
    x = RNG.integers(0, 100, (3000, 17)).astype(np.float32)
    layouts = [np.asarray, scipy.sparse.csr_array, np.asfortranarray, LAYOUTS["sparse, 64-bit"]]
    layouts += [LAYOUTS["other byte order"], lambda block: block.astype(np.int16)]
    blocks = [{"x": layouts[i](x[500 * i : 500 * i + 500])} for i in range(6)]
    nmf = [
        cf.CoupledNMF(3, init=init, random_state=0, max_iter=3, tol=0).fit(given)
        for given in ({"x": x}, blocks)
    ]
    assert nmf[0].sample_losses_ == nmf[1].sample_losses_ != []
    assert np.array_equal(nmf[0].W_, nmf[1].W_)


def test_the_core_checks_the_columns_of_blocks() -> None:
    def source(*blocks: list[Array]) -> _core.Source:
        return _core.Source.from_blocks(lambda: iter(blocks), [3], ["float64"], [1.0], n_rows=0)

    def scan(source: _core.Source) -> object:
        return _core.Engine(
            source, ranks=[1], weights=[0.0], l1_w=0.0, l2_w=0.0, l1_h=[0.0], l2_h=[0.0],
            device="cpu", float64=True, threads=1,
        ).scan()  # fmt: skip

    x = np.ones((4, 3))
    given = source([x], [np.asfortranarray(x)])
    scan(given)
    assert given.n_rows == 8
    with pytest.raises(ValueError, match="blocks of a view differ in their number of columns"):
        scan(source([x], [x[:, :2]]))
    with pytest.raises(ValueError, match="a block needs one array a view"):
        scan(source([x], [x, x]))


@pytest.mark.parametrize("dtype", [bool, "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
def test_integers_are_read_as_floats(dtype: str) -> None:
    x = RNG.integers(0, 2 if dtype is bool else 100, (40, 9))
    given = x.astype(dtype)
    read_as = load_views({"x": given}, caller="test").views[0].dtype
    expected = {1: "float32", 2: "float32", 4: "float64", 8: "float64"}[given.dtype.itemsize]
    assert read_as == ("uint8" if given.dtype.kind in "b" or dtype == "u1" else expected)
    assert np.array_equal(fit({"x": given})[1], fit({"x": x.astype(expected)})[1])
    assert np.array_equal(fit({"x": given.T.copy().T})[1], fit({"x": x.astype(expected)})[1])


def test_half_and_extended_precision() -> None:
    x = RNG.random((40, 9)).astype(np.float16)
    assert np.array_equal(fit({"x": np.asfortranarray(x)})[1], fit({"x": x})[1])
    assert np.array_equal(
        fit({"x": x.astype(np.longdouble)})[1], fit({"x": x.astype(np.float64)})[1]
    )


def test_samples_of_any_layout_are_the_same() -> None:
    # Narrow and tall enough to begin on samples of the examples.
    x = RNG.random((3000, 17))
    nmf = [
        cf.CoupledNMF(3, init="sample", random_state=0, max_iter=3, tol=0).fit({"x": given})
        for given in (x, np.asfortranarray(x), scipy.sparse.csr_array(x))
    ]
    assert nmf[0].sample_losses_
    for other in nmf[1:]:
        assert other.sample_losses_ == nmf[0].sample_losses_
        assert np.array_equal(other.W_, nmf[0].W_)


@pytest.mark.parametrize("threads", [1, 3])
def test_packing_takes_the_threads_of_the_fit(threads: int) -> None:
    x = np.asfortranarray(RNG.random((300, 30)))
    nmf = cf.CoupledNMF(2, random_state=0, n_threads=threads, max_iter=3, tol=0)
    one = cf.CoupledNMF(2, random_state=0, n_threads=1, max_iter=3, tol=0)
    assert np.array_equal(nmf.fit_transform({"x": x}), one.fit_transform({"x": x.copy(order="C")}))


def test_sparse_values_are_checked() -> None:
    for value, message in [(-1.0, "Negative values"), (np.inf, "NaN or infinity")]:
        x = scipy.sparse.csr_array(np.diag([value, 1, 2]))
        with pytest.raises(ValueError, match=message):
            cf.CoupledNMF(1).fit({"x": x})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": np.array([0, 7], np.int32)}, "3 columns has an entry in column 7"),
        ({"indices": np.array([0, -1], np.int32)}, "3 columns has an entry in column -1"),
        ({"indptr": np.array([0, 1, 9], np.int32)}, "do not ascend from 0 to its 2 entries"),
        ({"indptr": np.array([0, 2, 1], np.int32)}, "do not ascend from 0 to its 2 entries"),
    ],
)
def test_broken_sparse_matrices_are_refused(change: dict[str, Array], message: str) -> None:
    x = scipy.sparse.csr_array(np.array([[1.0, 0, 0], [0, 2.0, 0]]))
    for name, value in change.items():
        setattr(x, name, value)
    with pytest.raises(ValueError, match=message):
        cf.CoupledNMF(1).fit({"x": x})


@pytest.mark.parametrize(
    ("piece", "dtype", "error", "message"),
    [
        (np.ones((2, 2)), "float32", TypeError, "8 bytes and kind 'f', which its dtype has not"),
        (np.ones((2, 2), complex), "float64", TypeError, "16 bytes and kind 'c'"),
        (np.ones((2, 2), np.int64), "float32", TypeError, "not stored as its dtype says"),
        (np.ones(2), "float64", ValueError, "1 dimensions; expected rows x columns"),
        (scipy.sparse.csr_array(np.ones((2, 2))), "float32", TypeError, "its parts do not make"),
    ],
)
def test_the_core_checks_pieces(
    piece: object, dtype: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _core.Source([[piece]], [dtype], [1.0])


@pytest.mark.parametrize("kind", ["columns", "integers", "swapped", "sparse", "mixed"])
def test_parts_of_any_layout_are_parts_of_the_rows(kind: str) -> None:
    x = np.random.default_rng(5).integers(0, 9, (301, 14)).astype(np.float64)
    given = {
        "columns": np.asfortranarray(x),
        "integers": x.astype(np.int64),
        "swapped": x.astype(">f8"),
        "sparse": scipy.sparse.csr_array(x),
        "mixed": x[:, ::-1],
    }[kind]
    expected = x[:, ::-1] if kind == "mixed" else x
    columns = {"b": ("x", slice(9, 14)), "a": ("x", slice(0, 4)), "y": ("y", slice(1, 3))}
    views = load_views({"x": given, "y": x}, caller="fit").part(columns, 3, [2, 0])
    rows = np.concatenate([np.arange(2, 301, 3), np.arange(0, 301, 3)])
    wanted = {"b": expected[rows, 9:14], "a": expected[rows, :4], "y": x[rows, 1:3]}
    h = {name: np.random.default_rng(6).random((2, v.shape[1])) for name, v in wanted.items()}
    found = []
    for data in (views, load_views(wanted, caller="fit")):
        engine = _core.Engine(
            data.source, ranks=[2], weights=[1.0] * 3, l1_w=0.0, l2_w=0.0, l1_h=[0.0] * 3,
            l2_h=[0.0] * 3, device="cpu", float64=True, threads=2,
        )  # fmt: skip
        for v, name in enumerate(data.names):
            engine.set_h(v, h[name])
        W = np.empty((len(rows), 2))
        engine.encode([1.0] * 3, exact=False, w=W)
        found.append(W)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_pieces_of_a_view_may_differ_in_layout() -> None:
    x = np.ones((4, 3))
    source = _core.Source(
        [[x, np.asfortranarray(x), scipy.sparse.csr_array(x)]], ["float64"], [1.0]
    )
    assert source.n_rows == 12
    with pytest.raises(ValueError, match="differ in their number of columns"):
        _core.Source([[x, np.asfortranarray(x[:, :2])]], ["float64"], [1.0])
