"""Fits of data that is read a block at a time: from stores, from iterables, with W on disk."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cofactor as cf
from cofactor._views import load_views

N = 1600
FITTED = ("components_", "W_", "loss_history_", "view_losses_", "reconstruction_err_")


def arrays(n: int = N) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    W = rng.gamma(0.5, size=(n, 5))
    wide = W @ rng.gamma(0.5, size=(5, 400)) + 0.2 * rng.random((n, 400))
    bytes_ = np.minimum(W @ rng.gamma(0.5, size=(5, 12)) * 10, 255)
    return {"wide": wide.astype(np.float16), "pixels": bytes_.astype(np.uint8)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> cf.ActivationStore:
    path = tmp_path_factory.mktemp("streaming") / "acts"
    data = arrays()
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in data.items()}
    with cf.ActivationStore.create(path, described, rows_per_shard=512) as writer:
        writer.append(data)
    return cf.ActivationStore(path)


class Blocks:
    """Makes its blocks anew whenever it is iterated over, and counts that."""

    def __init__(self, data: dict[str, np.ndarray], sizes: list[int]) -> None:
        self.data, self.sizes, self.passes = data, sizes, 0

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        self.passes += 1
        first = 0
        for size in self.sizes:
            yield {name: x[first : first + size].copy() for name, x in self.data.items()}
            first += size


def nmf(**options: Any) -> cf.CoupledNMF:
    return cf.CoupledNMF(4, random_state=0, tol=0, max_iter=5, **options)


def assert_same(a: cf.CoupledNMF, b: cf.CoupledNMF) -> None:
    for name in FITTED:
        for x, y in zip(*(as_arrays(getattr(fit, name)) for fit in (a, b)), strict=True):
            np.testing.assert_array_equal(x, y, strict=True)


def as_arrays(value: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in (value.values() if isinstance(value, dict) else [value])]


@pytest.fixture(scope="module")
def whole(store: cf.ActivationStore) -> cf.CoupledNMF:
    """A fit of the store in memory, which knows its statistics as the store does."""
    return nmf().fit(store)


@pytest.mark.parametrize("max_memory", [None, "1MB", "2MB", "1GB", "tight"])
def test_no_bit_depends_on_memory(
    store: cf.ActivationStore, whole: cf.CoupledNMF, max_memory: str | int | None
) -> None:
    if max_memory == "tight":
        with pytest.raises(ValueError, match="give at least") as refused:
            nmf(max_memory=1).fit(store)
        max_memory = str(refused.value).rpartition(" ")[2]
    fitted = nmf(max_memory=max_memory).fit(store)
    assert_same(fitted, whole)
    np.testing.assert_array_equal(fitted.transform(store), whole.W_)


@pytest.mark.parametrize("init", ["compressed", "sample", "random", "nndsvd"])
def test_a_selection_of_rows_is_read_as_its_array(store: cf.ActivationStore, init: Any) -> None:
    rng = np.random.default_rng(1)
    for rows in (rng.choice(N, 700, replace=False), slice(100, 1500), rng.integers(0, N, 1300)):
        expected = nmf(init=init).fit({name: x[rows] for name, x in arrays().items()})
        found = nmf(init=init, max_memory="1MB").fit(store.select(rows=rows))
        assert_same(found, expected)
        # Both read everything once to check it.
        assert found.n_passes_ == expected.n_passes_


@pytest.mark.parametrize("sizes", [[N], [1, 511, 0, 600, N - 1112], [0, 64] + [256] * 6])
@pytest.mark.parametrize("init", ["compressed", "sample", "random"])
def test_blocks_are_fitted_as_their_array(sizes: list[int], init: Any) -> None:
    expected = nmf(init=init).fit(arrays())
    blocks = Blocks(arrays(), sizes)
    found = nmf(init=init).fit(blocks)
    assert_same(found, expected)
    # One to check and count, one for samples, one for compression, the iterations, the final W.
    before = {"compressed": 3, "sample": 1, "random": 1}[init]
    assert blocks.passes == before + 5 + 1
    assert found.n_passes_ == expected.n_passes_ + (init == "compressed")
    np.testing.assert_array_equal(found.transform(blocks), expected.W_)
    assert nmf(verify=True, init="random").fit(blocks).n_iter_ == 5


def test_samples_of_blocks_cost_one_read() -> None:
    rng = np.random.default_rng(2)
    data = {"narrow": rng.random((6000, 20), np.float32)}
    blocks = Blocks(data, [1000] * 6)
    found = cf.CoupledNMF(3, random_state=0, tol=0, max_iter=3).fit(blocks)
    expected = cf.CoupledNMF(3, random_state=0, tol=0, max_iter=3).fit(data)
    assert len(found.sample_losses_) == 2
    assert_same(found, expected)
    assert blocks.passes == 1 + 1 + 3 + 1
    assert found.n_passes_ == expected.n_passes_ + 1


def test_any_re_iterable_of_blocks() -> None:
    data = arrays(300)
    expected = nmf().fit(data)
    blocks = list(Blocks(data, [100, 200]))
    assert_same(nmf().fit(blocks), expected)
    turned = [dict(reversed(block.items())) if i else block for i, block in enumerate(blocks)]
    assert_same(nmf().fit(tuple(turned)), expected)
    torch = pytest.importorskip("torch")
    tensors = [{name: torch.from_numpy(x) for name, x in block.items()} for block in blocks]
    assert_same(nmf().fit(tensors), expected)


GOOD = {"a": np.ones((3, 2)), "b": np.ones((3, 4), np.float32)}


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        (iter([GOOD]), TypeError, "an iterator, which can be read only once.*such as a list"),
        ((GOOD for _ in range(2)), TypeError, "got generator, an iterator"),
        ([], ValueError, "got no blocks; expected at least one"),
        ([{}], ValueError, "got no views"),
        ([np.ones((3, 2))], TypeError, "got list of ndarray; expected an ActivationStore"),
        ([GOOD, np.ones((3, 2))], TypeError, "block 1 has type ndarray"),
        ([GOOD, {"a": GOOD["a"]}], ValueError, "block 1 has views 'a'; the first has 'a', 'b'"),
        ([GOOD | {"b": np.ones((2, 4))}], ValueError, "block 0 differ .* 'a' has 3, 'b' has 2"),
        ([GOOD, GOOD | {"a": np.ones((3, 5))}], ValueError, "'a' of block 1 has 5 features of"),
        ([GOOD, GOOD | {"b": np.ones((3, 4))}], ValueError, "of float64; .* first has 4 of float3"),
        ([GOOD, GOOD | {"a": np.full((3, 2), -1.0)}], ValueError, "'a' has minimum -1"),
        ([GOOD, GOOD | {"a": np.full((3, 2), np.nan)}], ValueError, r"'a' contains NaN .*\(6 val"),
        ([{"a": np.ones((0, 2))}], ValueError, r"0 example\(s\) while a minimum of 1"),
        ([{"a": np.ones(3)}], ValueError, r"'a' has shape \(3,\)"),
        ("ab", TypeError, "got str; expected"),
    ],
)
def test_bad_blocks_are_refused(blocks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cf.CoupledNMF(2).fit(blocks)


def test_blocks_that_change_between_passes_are_an_error() -> None:
    class Growing(Blocks):
        def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
            yield from super().__iter__()
            if self.passes > 3:
                yield GOOD

    growing = Growing({"a": np.ones((9, 2)), "b": np.ones((9, 4), np.float32)}, [9])
    with pytest.raises(ValueError, match="12 examples in one pass over the blocks and 9 in anoth"):
        cf.CoupledNMF(2, tol=0, init="random").fit(growing)


def test_an_error_of_the_iterable_is_what_the_caller_sees() -> None:
    class Broken(Blocks):
        def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
            yield from super().__iter__()
            raise RuntimeError("the loader broke")

    with pytest.raises(RuntimeError, match="the loader broke"):
        nmf().fit(Broken(arrays(20), [20]))


def test_w_on_disk_is_w_in_memory(
    store: cf.ActivationStore, whole: cf.CoupledNMF, tmp_path: Path
) -> None:
    of_arrays = nmf().fit(arrays())
    for X, expected in ((store, whole), (arrays(), of_arrays), (Blocks(arrays(), [N]), of_arrays)):
        path = tmp_path / "W.npy"
        found = nmf(max_memory="1GB").fit(X, W_path=path)
        assert isinstance(found.W_, np.memmap)
        assert_same(found, expected)
        np.testing.assert_array_equal(np.load(path), expected.W_, strict=True)
        W = found.transform(X, W_path=tmp_path / "T.npy")
        np.testing.assert_array_equal(W, expected.W_)
        found.save(tmp_path / "run")
        np.testing.assert_array_equal(cf.load(tmp_path / "run").W_, expected.W_)
        assert sorted(file.name for file in tmp_path.iterdir()) == ["T.npy", "W.npy", "run"]


def test_w_in_float64_on_disk(tmp_path: Path) -> None:
    data = {"a": np.random.default_rng(0).random((50, 8))}
    found = nmf().fit(data, W_path=tmp_path / "W.npy")
    assert found.W_.dtype == np.float64
    assert_same(found, nmf().fit(data))


def test_where_w_cannot_be_written(tmp_path: Path) -> None:
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "no/W", FileNotFoundError)):
        with pytest.raises(error, match="W_path="):
            nmf().fit(arrays(20), W_path=path)


def test_a_failed_fit_leaves_no_w(tmp_path: Path) -> None:
    class Breaks(Blocks):
        def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
            yield from super().__iter__()
            if self.passes == 7:
                raise RuntimeError("no more")

    blocks = Breaks(arrays(40), [20, 20])
    with pytest.raises(RuntimeError, match="no more"):
        nmf(init="random").fit(blocks, W_path=tmp_path / "W.npy")
    assert blocks.passes == 7
    assert list(tmp_path.iterdir()) == []


def cut(path: Path, size: int) -> Callable[[object], None]:
    def callback(_: object) -> None:
        os.truncate(path, size)

    return callback


@pytest.mark.parametrize("max_memory", ["1MB", None])
def test_a_shard_that_is_cut_during_a_fit_is_an_error(
    tmp_path: Path, max_memory: str | None
) -> None:
    data = {"a": np.random.default_rng(0).random((2048, 300), np.float32)}
    with cf.ActivationStore.create(
        tmp_path / "s", {"a": {"shape": (300,), "dtype": "float32"}}, rows_per_shard=1024
    ) as writer:
        writer.append(data)
    opened = cf.ActivationStore(tmp_path / "s")
    shard = tmp_path / "s" / "a" / "00001.npy"
    full = shard.stat().st_size
    for size in (full - 4, full // 2, 0):
        content = shard.read_bytes()
        options = {"max_memory": max_memory, "init": "random", "tol": 0}
        with pytest.raises(OSError, match=r"00001.npy: the file has become shorter"):
            cf.CoupledNMF(3, callback=cut(shard, size), **options).fit(opened)  # type: ignore[arg-type]
        shard.write_bytes(content)
    shard.unlink()
    with pytest.raises(OSError, match=r"00001.npy: cannot be opened: No such file"):
        cf.CoupledNMF(3, init="random").fit(opened)


def test_samples_of_many_examples_are_of_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = arrays()
    expected = nmf().fit(data)
    monkeypatch.setattr("cofactor.init.compressed_examples", 400)
    capped = nmf().fit(data)
    assert capped.n_passes_ < expected.n_passes_
    # A quarter of the examples, of other sizes, tells as much: within a few per cent.
    assert capped.loss_history_[0] < 1.05 * expected.loss_history_[0]
    assert capped.sample_losses_[0][-1] == pytest.approx(expected.sample_losses_[0][-1], rel=0.2)
    monkeypatch.setattr("cofactor.init.largest_sample", 300)
    assert cf.init.sample_sizes(100_000, 4) == [250]


def _fit_in_child(path: str, queue: Any) -> None:
    queue.put(nmf(max_memory="1MB").fit(cf.ActivationStore(path)).W_)


def test_a_forked_child_reads_for_itself(store: cf.ActivationStore, whole: cf.CoupledNMF) -> None:
    views = load_views(store, caller="test")
    views.source  # noqa: B018
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_fit_in_child, args=(str(store.path), queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), whole.W_)
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.slow
def test_rows_beyond_two_to_the_32_are_read_right(tmp_path: Path) -> None:
    columns = 1 << 16
    rows = (1 << 16) + 3000  # 4.5e9 numbers, of which few are not holes in the file
    path = tmp_path / "holes.npy"
    marks = {0: 1.0, (1 << 31) // columns: 2.0, (1 << 32) // columns + 7: 3.0, rows - 1: 4.0}
    big = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, columns))
    for row, value in marks.items():
        big[row, row % columns] = value
    big.flush()
    offset = big.offset
    views = [np.load(path, mmap_mode="r")]
    sources = [
        cf._core.Source([views], ["uint8"], [1.0]),
        cf._core.Source.from_files(
            [[(str(path), offset, rows)]],
            [columns],
            ["uint8"],
            [1.0],
            negative=[("keep", 0.0)],
            selection=None,
            block_rows=1000,
            kept_bytes=0,
        ),
    ]
    for source in sources:
        assert source.n_rows == rows
        engine = cf._core.Engine(
            source,
            ranks=[1],
            weights=[1.0],
            l1_w=0.0,
            l2_w=0.0,
            l1_h=[0.0],
            l2_h=[0.0],
            device="cpu",
            float64=False,
            threads=0,
        )
        assert engine.scan()[0].sum_of_squares == 1 + 4 + 9 + 16
        engine.set_h(0, np.ones((1, columns)))
        y = np.empty((rows, 1), np.float32)
        c, (s,) = engine.power(y)
        assert {int(i): float(y[i, 0]) for i in np.flatnonzero(y)} == marks
        assert c.tolist() == [[30.0]]
        expected = np.zeros(columns)
        for row, value in marks.items():
            expected[row % columns] += value**2
        np.testing.assert_array_equal(s[0], expected)
