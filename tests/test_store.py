"""Activation stores: what is written is what is read, however it was batched and selected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofactor.store import ActivationStore, StoreError
from store_samples import VIEWS, N, content, make_data, values_of, write


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    attributes = {"class_names": np.array(["cat", "dog"]), "n": np.int64(3), "deep": {"a": (1, 2)}}
    return write(tmp_path_factory.mktemp("data") / "acts", attributes=attributes)


@pytest.fixture(scope="module")
def unbatched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("data") / "acts"
    write(path)
    return content(path)


class TestRoundTrip:
    def test_values(self, store: ActivationStore) -> None:
        assert list(store.views) == list(VIEWS)
        for name, options in VIEWS.items():
            view = store.views[name]
            assert (view.shape, view.dtype) == (options["shape"], options["dtype"])
            values = store.read(name)
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, values_of(name).astype(np.float32))

    def test_columns_and_attributes(self, store: ActivationStore) -> None:
        assert set(store.columns) == {"labels", "ids", "logits"}
        for name, values in make_data()[1].items():
            np.testing.assert_array_equal(store.columns[name], values)
        assert store.columns["labels"].dtype == np.int64
        assert store.attributes == {"class_names": ["cat", "dog"], "n": 3, "deep": {"a": [1, 2]}}
        with pytest.raises(KeyError, match="absent"):
            store.columns["absent"]

    def test_statistics(self, store: ActivationStore) -> None:
        for name, view in store.views.items():
            values = values_of(name)
            assert view.sum_of_squares == pytest.approx(np.square(values).sum(), rel=1e-12)
            assert view.minimum == pytest.approx(values.min(), rel=1e-12)
            assert view.maximum == pytest.approx(values.max(), rel=1e-12)
            assert view.n_nonfinite == 0
            assert store.statistics(name).sum_of_squares == view.sum_of_squares

    def test_sizes(self, store: ActivationStore) -> None:
        assert len(store) == store.n_examples == N
        assert store.views["layer3.1.conv2"].n_columns == 6
        assert store.views["double"].n_columns == 1
        assert store.nbytes == N * (4 + 12 + 10 + 8 + 8)

    def test_shards_are_plain_npy_files_of_whole_panels(self, store: ActivationStore) -> None:
        for name, dtype in (("input.0", "u1"), ("layer3.1.conv2", "f2"), ("wide", "u2")):
            files = sorted((store.path / name).iterdir())
            assert [file.name for file in files] == ["00000.npy", "00001.npy", "00002.npy"]
            shards = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
            assert [shard.shape[0] for shard in shards] == [512, 512, N - 1024]
            assert all(shard.dtype == dtype and shard.flags.c_contiguous for shard in shards)
            assert [shard.offset for shard in shards] == [128] * 3
            for shard, chunk in zip(shards, store.chunks(name), strict=True):
                np.testing.assert_array_equal(shard, chunk)

    def test_chunks_cannot_be_written(self, store: ActivationStore) -> None:
        with pytest.raises(ValueError, match="read-only"):
            store.chunks("single")[0][0, 0] = 1

    def test_default_shards_hold_about_64_mib(self, tmp_path: Path) -> None:
        views = {"layer3": {"shape": (256, 8, 8), "dtype": "float16"}}
        with ActivationStore.create(tmp_path / "acts", views) as writer:
            for _ in range(3):
                writer.append({"layer3": np.zeros((1000, 16384), np.float16)})
        assert [len(chunk) for chunk in ActivationStore(writer.path).chunks("layer3")] == [
            2048,
            952,
        ]

    def test_repr(self, store: ActivationStore) -> None:
        lines = repr(store).splitlines()
        assert lines[0].endswith("1,100 examples, 5 views, 46.2 kB")
        assert lines[1] == "  input.0         2 x 2, uint8, scale 0.00392157"
        assert lines[-2:] == [
            "  columns: labels, ids, logits",
            "  attributes: class_names, n, deep",
        ]

    def test_needs_no_torch(self) -> None:
        code = "import sys, cofactor.store, cofactor.capture; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestBatching:
    @settings(max_examples=8, deadline=None)
    @given(cuts=st.lists(st.integers(0, N), max_size=6).map(sorted))
    def test_bytes_do_not_depend_on_batches(
        self,
        cuts: list[int],
        unbatched: dict[str, bytes],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        path = tmp_path_factory.mktemp("batched") / "acts"
        write(path, cuts)
        assert content(path) == unbatched

    def test_columns_by_view_or_flat(self, tmp_path: Path) -> None:
        blocks = np.arange(12.0).reshape(2, 3, 2)
        views = {"a": {"shape": (3, 2), "dtype": "float32"}}
        with ActivationStore.create(tmp_path / "acts", views) as writer:
            writer.append({"a": blocks})
            writer.append({"a": blocks.reshape(2, 6)})
            writer.append({"a": np.asfortranarray(blocks)})
        read = ActivationStore(tmp_path / "acts").read("a")
        np.testing.assert_array_equal(read, np.vstack([blocks.reshape(2, 6)] * 3))

    def test_caller_may_reuse_arrays(self, tmp_path: Path) -> None:
        block, labels = np.zeros((2, 1), np.float32), np.zeros(2, int)
        views = {"a": {"shape": (1,), "dtype": "float32"}}
        with ActivationStore.create(tmp_path / "acts", views) as writer:
            for i in range(3):
                block[:], labels[:] = i, i
                writer.append({"a": block}, {"labels": labels})
        store = ActivationStore(tmp_path / "acts")
        assert store.read("a").ravel().tolist() == [0, 0, 1, 1, 2, 2]
        assert store.columns["labels"].tolist() == [0, 0, 1, 1, 2, 2]


selections = st.one_of(
    st.builds(
        slice,
        st.none() | st.integers(-1200, 1200),
        st.none() | st.integers(-1200, 1200),
        st.none() | st.integers(-700, 700).filter(bool),
    ),
    st.lists(st.integers(-20, 19), max_size=30).map(lambda rows: np.array(rows, dtype=int)),
)


class TestSelect:
    @settings(max_examples=60, deadline=None)
    @given(first=selections, second=selections)
    def test_as_numpy_selects(self, store: ActivationStore, first: Any, second: Any) -> None:
        narrowed = store.select(rows=first)
        expected = values_of("single").astype(np.float32)[first]
        if isinstance(second, np.ndarray):
            second = second % max(1, len(expected)) if len(expected) else second[:0]
        narrowed, expected = narrowed.select(rows=second), expected[second]
        assert len(narrowed) == len(expected)
        np.testing.assert_array_equal(narrowed.read("single"), expected)
        ids = make_data()[1]["ids"][first][second]
        np.testing.assert_array_equal(narrowed.columns["ids"], ids)
        for chunk in narrowed.chunks("wide"):
            assert chunk.dtype == np.uint16
            assert chunk.flags.c_contiguous
            assert not chunk.flags.writeable
        found = narrowed.statistics("single")
        assert found.sum_of_squares == pytest.approx(np.square(expected.astype(float)).sum())
        assert found.minimum == (expected.min() if expected.size else 0)

    def test_mask(self, store: ActivationStore) -> None:
        labels = store.columns["labels"]
        narrowed = store.select(rows=labels == 3, views=["wide", "single"])
        assert list(narrowed.views) == ["wide", "single"]
        np.testing.assert_array_equal(narrowed.read("wide"), values_of("wide")[labels == 3])
        assert set(narrowed.columns["labels"].tolist()) == {3}
        np.testing.assert_array_equal(store.read("wide", labels == 3), narrowed.read("wide"))

    def test_consecutive_rows_are_not_copied(self, store: ActivationStore) -> None:
        whole = store.chunks("wide")
        mask = np.zeros(N, bool)
        mask[500:600] = True
        for rows in (slice(500, 600), np.arange(500, 600), mask):
            part = store.select(rows=rows).chunks("wide")
            assert [len(chunk) for chunk in part] == [12, 88]
            assert all(np.shares_memory(a, b) for a, b in zip(part, whole, strict=False))

    def test_gathered_chunks_are_as_long_as_shards(self, store: ActivationStore) -> None:
        chunks = store.select(rows=np.arange(N)[::-1]).chunks("single")
        assert [len(chunk) for chunk in chunks] == [512, 512, N - 1024]

    def test_statistics_of_some_rows_are_not_those_of_all(self, store: ActivationStore) -> None:
        view = store.select(rows=slice(0, 10)).views["single"]
        assert view.sum_of_squares is view.minimum is view.maximum is view.n_nonfinite is None
        same = store.select(rows=slice(None), views="single").views["single"]
        assert same == store.views["single"]

    def test_fingerprints(self, store: ActivationStore) -> None:
        prints = [
            store.fingerprint,
            store.select(rows=slice(3, None)).fingerprint,
            store.select(rows=slice(None, None, 2)).fingerprint,
            store.select(views="wide").fingerprint,
        ]
        assert len(set(prints)) == 4
        assert ActivationStore(store.path).select(rows=range(N)).fingerprint == prints[0]
        twice = store.select(rows=slice(1, None)).select(rows=slice(2, None))
        assert twice.fingerprint == prints[1]

    @pytest.mark.parametrize(
        ("rows", "error", "message"),
        [
            ([0, N], IndexError, f"index {N}, expected indices from -{N} to {N - 1}"),
            ([-N - 1], IndexError, f"index -{N + 1}, expected"),
            (np.ones(3, bool), IndexError, f"mask of 3 entries, expected {N}"),
            (3, TypeError, "rows is int .* expected a slice"),
            ([0.5], TypeError, "dtype float64"),
            ([[0, 1]], TypeError, "2 dimensions"),
        ],
    )
    def test_wrong_rows(
        self, store: ActivationStore, rows: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            store.select(rows=rows)
        with pytest.raises(error, match=message):
            store.read("wide", rows)

    def test_wrong_views(self, store: ActivationStore) -> None:
        for call in (store.chunks, store.read, store.statistics):
            with pytest.raises(StoreError, match=r"no view 'layer5', expected one of input.0, lay"):
                call("layer5")
        with pytest.raises(StoreError, match="no view 'layer5'"):
            store.select(views=["layer5"])
        with pytest.raises(StoreError, match="views is empty"):
            store.select(views=[])
