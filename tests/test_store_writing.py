"""Writing of activation stores: dtypes, refusals, interruptions, overwriting."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cofactor._store.metadata import Metadata, write_metadata
from cofactor._store.shards import OpenShard
from cofactor.store import ActivationStore, StoreError
from store_samples import VIEWS, N, make_data, one_view, write


class TestDtypes:
    @settings(max_examples=25, deadline=None)
    @given(bits=hnp.arrays(np.uint32, (5, 7)))
    def test_bfloat16_rounds_to_nearest_even(
        self, bits: NDArray[np.uint32], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        torch = pytest.importorskip("torch")
        values = bits.view(np.float32)
        values[np.isfinite(values) & (np.abs(values) > 3.38e38)] = 0
        store = one_view(tmp_path_factory.mktemp("acts"), "bfloat16", values)
        expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
        np.testing.assert_array_equal(store.read("a"), expected)

    @settings(max_examples=25, deadline=None)
    @given(
        dtype=st.sampled_from(["float16", "float32", "float64"]),
        bits=hnp.arrays(np.uint16, (3, 4)),
    )
    def test_floats_pass_unchanged(
        self,
        dtype: str,
        bits: NDArray[np.uint16],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        with np.errstate(invalid="ignore"):
            block = bits.view(np.float16).astype(np.float64)
        store = one_view(tmp_path_factory.mktemp("acts"), dtype, block)
        np.testing.assert_array_equal(store.read("a"), block)
        finite = block[np.isfinite(block)]
        view = store.views["a"]
        assert view.n_nonfinite == block.size - finite.size
        assert view.sum_of_squares == pytest.approx(np.square(finite).sum(), rel=1e-12)
        extremes = (finite.min(), finite.max()) if finite.size else (0, 0)
        assert (view.minimum, view.maximum) == extremes

    @settings(max_examples=25, deadline=None)
    @given(
        codes=hnp.arrays(np.uint8, (4, 3)),
        scale=st.sampled_from([1.0, 1 / 255, 0.5, 3e-7]),
        dtype=st.sampled_from([np.float32, np.float64]),
    )
    def test_uint8_takes_codes_and_their_values(
        self,
        codes: NDArray[np.uint8],
        scale: float,
        dtype: type,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        views = {"a": {"shape": (3,), "dtype": "uint8", "scale": scale}}
        path = tmp_path_factory.mktemp("acts")
        with ActivationStore.create(path, views) as writer:
            writer.append({"a": codes})
            writer.append({"a": (codes * scale).astype(dtype)})
        store = ActivationStore(path)
        np.testing.assert_array_equal(np.vstack(store.chunks("a")), np.vstack([codes, codes]))
        expected = (codes * scale).astype(np.float32)
        np.testing.assert_array_equal(store.read("a")[:4], expected)

    def test_bfloat16_takes_bits_and_keeps_nonfinite(self, tmp_path: Path) -> None:
        store = one_view(tmp_path / "bits", "bfloat16", np.array([[0x3F80, 0x4000]], np.uint16))
        assert store.read("a").tolist() == [[1.0, 2.0]]
        odd = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
        odd.view(np.uint32)[0, 0] = 0x7FFFFFFF  # rounding this NaN would give -0.0
        store = one_view(tmp_path / "odd", "bfloat16", odd)
        np.testing.assert_array_equal(store.read("a"), odd)
        assert (store.views["a"].n_nonfinite, store.views["a"].sum_of_squares) == (3, 1.0)

    def test_extremes_ignore_shards_without_finite_values(self, tmp_path: Path) -> None:
        block = np.full((1536, 1), np.nan)
        block[512:1024] = 3.0
        views = {"a": {"shape": (1,), "dtype": "float32"}}
        with ActivationStore.create(tmp_path / "acts", views, rows_per_shard=512) as writer:
            writer.append({"a": block})
        view = ActivationStore(tmp_path / "acts").views["a"]
        assert (view.minimum, view.maximum, view.n_nonfinite) == (3.0, 3.0, 1024)

    @pytest.mark.parametrize(
        ("dtype", "value", "message"),
        [
            ("float16", 65520.0, "65520 does not fit float16, .* as bfloat16 or float32"),
            ("float16", -1e6, "1e\\+06 does not fit float16"),
            ("bfloat16", 1e39, "does not fit bfloat16, .* as float64"),
            ("float32", 1e39, "does not fit float32, .* as float64"),
            ("uint8", 1.5, "value 1.5 \\(row 1 of the block, column 2\\) is not k \\* 1 with"),
            ("uint8", 256.0, "value 256 .* store this view as float16"),
            ("uint8", -1.0, "value -1 "),
            ("uint8", np.nan, "value nan "),
        ],
    )
    def test_values_that_do_not_fit(
        self, tmp_path: Path, dtype: str, value: float, message: str
    ) -> None:
        block = np.zeros((2, 3))
        block[1, 2] = value
        with pytest.raises(StoreError, match=message):
            one_view(tmp_path, dtype, block)
        block[0, 0] = np.nan
        # A NaN in the block must not hide the overflow.
        with pytest.raises(StoreError, match="value nan" if dtype == "uint8" else message):
            one_view(tmp_path / "again", dtype, block)

    @pytest.mark.parametrize(
        ("dtype", "largest"), [("float16", 65519.99), ("bfloat16", 3.396e38), ("float32", 3.4e38)]
    )
    def test_largest_values_round_down(self, tmp_path: Path, dtype: str, largest: float) -> None:
        store = one_view(tmp_path, dtype, np.array([[largest, np.inf]]))
        assert store.read("a")[0, 0] == pytest.approx(largest, rel=2**-8)
        assert store.views["a"].n_nonfinite == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("views", "message"),
        [
            ({}, "views is empty"),
            ({"../up": {"shape": (1,), "dtype": "float16"}}, "view name '../up' cannot name"),
            ({".a": {"shape": (1,), "dtype": "float16"}}, "no leading dot"),
            ({"a/b": {"shape": (1,), "dtype": "float16"}}, "'a/b'"),
            ({"columns": {"shape": (1,), "dtype": "float16"}}, "none of columns, metadata.json"),
            ({"metadata.json": {"shape": (1,), "dtype": "float16"}}, "none of columns"),
            ({"a": {"shape": (0,), "dtype": "float16"}}, "shape is \\(0,\\), expected positive"),
            ({"a": {"shape": (True,), "dtype": "float16"}}, "expected positive integers"),
            ({"a": {"shape": (1,), "dtype": "int8"}}, "dtype is 'int8', expected one of uint8"),
            ({"a": {"shape": (1,)}}, "has the keys \\['shape'\\], expected shape, dtype"),
            ({"a": {"shape": (1,), "dtype": "uint8", "scale": -1}}, "scale is -1"),
            ({"a": {"shape": (1,), "dtype": "float16", "scale": 2.0}}, "only uint8 has a scale"),
        ],
    )
    def test_views(self, tmp_path: Path, views: dict[str, Any], message: str) -> None:
        with pytest.raises(StoreError, match=message):
            ActivationStore.create(tmp_path / "acts", views)
        assert not (tmp_path / "acts").exists()

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"a": {1: "x"}}, "attributes\\['a'\\]: key 1 is of type int"),
            ({"a": [float("nan")]}, "attributes\\['a'\\]\\[0\\]: nan of type float has no JSON"),
            ({"a": object()}, "has no JSON form"),
        ],
    )
    def test_attributes(self, tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
        with pytest.raises(StoreError, match=message):
            ActivationStore.create(tmp_path / "acts", VIEWS, attributes=attributes)

    @pytest.mark.parametrize("rows", [0, -512, 500, 512.0])
    def test_rows_per_shard(self, tmp_path: Path, rows: Any) -> None:
        with pytest.raises(StoreError, match="expected a positive multiple of 512"):
            ActivationStore.create(tmp_path / "acts", VIEWS, rows_per_shard=rows)

    @pytest.mark.parametrize(
        ("blocks", "columns", "message"),
        [
            ({"a": np.ones((2, 3))}, {}, "views are \\['a'\\], expected \\['a', 'b'\\]"),
            ({"a": np.ones((2, 2)), "b": np.ones((2, 1))}, {}, "'a': block has shape \\(2, 2\\)"),
            ({"a": 1.0, "b": np.ones((2, 1))}, {}, "block has shape \\(\\)"),
            ({"a": np.ones((2, 3)), "b": np.ones((3, 1))}, {}, "different numbers of rows"),
            ({"a": np.ones((2, 3), complex), "b": np.ones((2, 1))}, {}, "dtype complex128"),
            (None, {}, "columns are \\[\\], expected \\['labels'\\] in every block"),
            (None, {"labels": [1]}, "'labels': has shape \\(1,\\), expected \\(2,\\)"),
            (None, {"labels": ["x", "y"]}, "'labels': has dtype <U1, expected int64"),
            (None, {"labels": [0.5, 1.0]}, "'labels': has dtype float64, expected int64"),
        ],
    )
    def test_blocks(self, tmp_path: Path, blocks: Any, columns: Any, message: str) -> None:
        views = {name: {"shape": (d,), "dtype": "float16"} for name, d in (("a", 3), ("b", 1))}
        good = {"a": np.ones((2, 3)), "b": np.ones((2, 1))}
        with ActivationStore.create(tmp_path / "acts", views) as writer:
            writer.append(good, {"labels": [0, 1]})
            with pytest.raises(StoreError, match=message):
                writer.append(good if blocks is None else blocks, columns)
            writer.append(good, {"labels": np.array([2, 3], np.uint8)})
        assert ActivationStore(tmp_path / "acts").columns["labels"].tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"ids": np.array(["a", None], dtype=object)}, "expected numbers, booleans or strings"),
            ({"../ids": [1, 2]}, "column name '../ids' cannot name"),
            ({"ids": np.empty((2, 0))}, "expected no empty axis"),
        ],
    )
    def test_columns(self, tmp_path: Path, columns: Any, message: str) -> None:
        views = {"a": {"shape": (1,), "dtype": "float16"}}
        writer = ActivationStore.create(tmp_path / "acts", views)
        with pytest.raises(StoreError, match=message):
            writer.append({"a": np.ones((2, 1))}, columns)

    def test_no_examples(self, tmp_path: Path) -> None:
        with (
            pytest.raises(StoreError, match="no examples were appended"),
            ActivationStore.create(tmp_path / "acts", VIEWS),
        ):
            pass

    def test_closed(self, tmp_path: Path) -> None:
        views = {"a": {"shape": (1,), "dtype": "float16"}}
        with ActivationStore.create(tmp_path / "acts", views) as writer:
            writer.append({"a": np.ones((2, 1))})
        with pytest.raises(StoreError, match="the writer is closed"):
            writer.append({"a": np.ones((2, 1))})


class TestInterruption:
    def interrupt(self, path: Path) -> None:
        blocks, columns = make_data()
        with ActivationStore.create(path, VIEWS, rows_per_shard=512) as writer:
            writer.append(blocks, columns)
            raise RuntimeError("pulled the plug")

    def test_store_stays_incomplete(self, tmp_path: Path) -> None:
        path = tmp_path / "acts"
        with pytest.raises(RuntimeError, match="pulled the plug"):
            self.interrupt(path)
        message = "incomplete: .* after 1024 examples were on disk; go on with resume=True"
        with pytest.raises(StoreError, match=message):
            ActivationStore(path)
        assert not list(path.rglob("*.tmp"))
        assert [len(np.load(file)) for file in sorted((path / "wide").iterdir())] == [512, 512]
        with pytest.raises(StoreError, match="an incomplete store of 1024 examples is here"):
            ActivationStore.create(path, VIEWS)
        assert len(write(path, overwrite=True)) == N

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        blocks, columns = make_data()
        writer = ActivationStore.create(tmp_path / "acts", VIEWS)
        writer.append(blocks, columns)
        with monkeypatch.context() as patch:
            patch.setattr(OpenShard, "write", full)
            with pytest.raises(StoreError, match=r"cannot be written: No space left on device; th"):
                writer.append(blocks, columns)
        with pytest.raises(StoreError, match="the writer has failed; make a new one"):
            writer.append(blocks, columns)
        with pytest.raises(StoreError, match="an earlier write failed, the store stays incomplete"):
            writer.close()
        assert json.loads((tmp_path / "acts/metadata.json").read_text())["complete"] is False
        assert not list(tmp_path.rglob("*.tmp"))


class TestMetadata:
    def test_short_shards_are_part_of_complete_stores_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A writer may be killed between any two of these, and resumed then."""
        seen: list[tuple[bool, list[int]]] = []

        def look(root: Path, metadata: Metadata) -> None:
            seen.append((metadata.complete, [group.rows for group in metadata.shards]))
            write_metadata(root, metadata)

        for module in ("begin", "writer"):
            monkeypatch.setattr(f"cofactor._store.{module}.write_metadata", look)
        write(tmp_path / "short")
        assert seen == [
            (False, []),
            (False, [512]),
            (False, [512, 512]),
            (True, [512, 512, N - 1024]),
        ]
        seen.clear()
        write(tmp_path / "whole", n=512)
        assert seen == [(False, []), (False, [512]), (True, [512])]


class TestOverwriting:
    def test_needs_to_be_asked_for(self, tmp_path: Path) -> None:
        path = tmp_path / "acts"
        write(path)
        with pytest.raises(StoreError, match=r"a store of 1100 examples .* pass overwrite=True"):
            write(path)
        views = {"single": VIEWS["single"]}
        store = write(path, views=views, overwrite=True, source={"a": "b"})
        assert list(store.views) == ["single"]
        assert store.source == {"a": "b"}
        assert not (path / "wide").exists()

    def test_touches_stores_only(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(StoreError, match="holds no activation store; it is not touched"):
            write(tmp_path, overwrite=True)
        with pytest.raises(StoreError, match="is a file, expected a directory"):
            write(tmp_path / "notes.txt", overwrite=True)
        write(tmp_path / "acts")
        (tmp_path / "acts/notes.txt").write_text("mine")
        with pytest.raises(StoreError, match=r"holds notes.txt beside the store; move that away"):
            write(tmp_path / "acts", overwrite=True)
        assert len(ActivationStore(tmp_path / "acts")) == N

    def test_empty_directory_is_free(self, tmp_path: Path) -> None:
        assert len(write(tmp_path)) == N
