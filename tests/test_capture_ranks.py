"""Captures by several processes write the store that one process writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cofactor.store import ActivationStore, StoreError
from store_samples import content

pytest.importorskip("torch")

import sharded_capture
from process_pool import Pool
from sharded_capture import N


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> dict[str, bytes]:
    """What one process writes; six shards, the last of 140 rows."""
    path = tmp_path_factory.mktemp("whole") / "acts"
    pool.run(1, sharded_capture.run, path)
    return content(path)


class TestSameStore:
    @pytest.mark.parametrize(
        ("size", "loader"),
        [
            (3, sharded_capture.iterated),
            (2, sharded_capture.data_loader),
            (3, sharded_capture.wrapped),
        ],
    )
    def test_bytes(
        self,
        pool: Pool,
        whole: dict[str, bytes],
        tmp_path: Path,
        size: int,
        loader: Callable[[], Any],
    ) -> None:
        prints = pool.run(size, sharded_capture.run, tmp_path / "acts", loader)
        assert content(tmp_path / "acts") == whole
        assert set(prints) == {ActivationStore(tmp_path / "acts").fingerprint}
        ActivationStore(tmp_path / "acts").verify()

    def test_files(self, pool: Pool, whole: dict[str, bytes], tmp_path: Path) -> None:
        sharded_capture.files(tmp_path / "data.npz")
        pool.run(2, sharded_capture.run_npz, tmp_path / "acts", tmp_path / "data.npz")
        assert content(tmp_path / "acts") == whole

    def test_positions(self, pool: Pool, tmp_path: Path) -> None:
        """Shards end within the rows of an image: maps have 6 x 6 positions."""
        options = {"layers": ["conv1"], "positions": True, "max_examples": 130}
        for size in (1, 3):
            pool.run(size, run_with, tmp_path / f"acts-{size}", options)
        assert content(tmp_path / "acts-3") == content(tmp_path / "acts-1")

    def test_pixels(self, pool: Pool, tmp_path: Path) -> None:
        options = {"pixels": True, "max_examples": 1300}
        for size in (1, 2):
            pool.run(size, run_with, tmp_path / f"acts-{size}", options)
        assert content(tmp_path / "acts-2") == content(tmp_path / "acts-1")

    def test_fewer_shards_than_processes(self, pool: Pool, tmp_path: Path) -> None:
        for size in (1, 3):
            pool.run(size, sharded_capture.first_examples, tmp_path / f"acts-{size}", 700)
        assert content(tmp_path / "acts-3") == content(tmp_path / "acts-1")

    def test_fewer_examples_than_were_expected(self, pool: Pool, tmp_path: Path) -> None:
        """The last of three processes finds no examples, the second ends within its shards."""
        for size in (1, 3):
            path = tmp_path / f"acts-{size}"
            pool.run(size, sharded_capture.first_examples, path, 2 * N)
        assert content(tmp_path / "acts-3") == content(tmp_path / "acts-1")

    def test_progress_is_told_once(self, pool: Pool, tmp_path: Path) -> None:
        pool.run(2, sharded_capture.say, tmp_path / "acts", tmp_path / "said")
        said = [(tmp_path / f"said-{rank}").read_text() for rank in (0, 1)]
        assert said[0].count("examples of 2 views need about") == 1
        assert said[1] == ""


def run_with(out: Path, options: dict[str, Any]) -> str:
    return sharded_capture.run(out, **options)


class TestGoesOn:
    @pytest.mark.parametrize("then", [1, 2, 3])
    def test_after_a_failure(
        self, pool: Pool, whole: dict[str, bytes], tmp_path: Path, then: int
    ) -> None:
        """Two processes, of which the second fails in its part; any number goes on."""
        path = tmp_path / "acts"
        ended = pool.try_run(2, sharded_capture.fail, path, (1,), 2500)
        assert ended[1].error == "ValueError"
        assert ended[0].error == "DistributedError"
        for end in ended:
            assert "the disk of images has failed" in end.message
        with pytest.raises(StoreError, match="the store is incomplete"):
            ActivationStore(path)
        pool.run(then, sharded_capture.run, path)
        assert content(path) == whole

    def test_shards_that_are_there_are_not_written_again(self, pool: Pool, tmp_path: Path) -> None:
        path = tmp_path / "acts"
        pool.try_run(2, sharded_capture.fail, path, (1,), 2500)
        before = {file: file.stat().st_mtime_ns for file in path.glob("conv1/0*.npy")}
        # Of rows 1536 to 2559, the second one's, 512 were written when row 2500 was not to be had.
        assert path / "conv1/00003.npy" in before
        pool.run(3, sharded_capture.run, path)
        # Each process writes the last shard of its part again, to compare it.
        again = [file for file, time in before.items() if file.stat().st_mtime_ns != time]
        assert len(again) <= 3

    @pytest.mark.parametrize("damage", ['{"rows": 51', "{}", "[]", '{"rows": "x"}'])
    def test_a_record_that_is_damaged_is_none(
        self, pool: Pool, whole: dict[str, bytes], tmp_path: Path, damage: str
    ) -> None:
        path = tmp_path / "acts"
        pool.try_run(2, sharded_capture.fail, path, (1,), 2500)
        (path / ".records/00003.json").write_text(damage)
        pool.run(2, sharded_capture.run, path)
        assert content(path) == whole

    def test_after_one_process_by_many(
        self, pool: Pool, whole: dict[str, bytes], tmp_path: Path
    ) -> None:
        path = tmp_path / "acts"
        assert pool.try_run(1, sharded_capture.fail, path, (0,), 1400)[0].error == "ValueError"
        pool.run(3, sharded_capture.run, path)
        assert content(path) == whole

    def test_a_complete_store_stays(
        self, pool: Pool, whole: dict[str, bytes], tmp_path: Path
    ) -> None:
        path = tmp_path / "acts"
        pool.run(2, sharded_capture.run, path)
        prints = pool.run(2, sharded_capture.run, path)
        assert content(path) == whole
        assert prints[0] == prints[1]

    def test_other_data(self, pool: Pool, tmp_path: Path) -> None:
        path = tmp_path / "acts"
        pool.try_run(2, sharded_capture.fail, path, (1,), 2500)
        ended = pool.try_run(2, run_with, path, {"dtype": "float32"})
        assert "its source is another: dtype was" in ended[0].message
        assert "its source is another: dtype was" in ended[1].message

    def test_is_not_replaced_unasked(self, pool: Pool, tmp_path: Path) -> None:
        path = tmp_path / "acts"
        pool.try_run(2, sharded_capture.fail, path, (1,), 2500)
        for end in pool.try_run(2, run_with, path, {"resume": False}):
            assert "an incomplete store" in end.message
            assert "is here already" in end.message


class TestOneErrorForAll:
    @pytest.mark.parametrize(
        ("what", "message"),
        [
            ("shuffled", "the first batch of rank 1 is not that of rank 0"),
            ("batch size", "the first batch of rank 1 is not that of rank 0"),
            ("path", r"out \(options\) is"),
            ("weights", r"weights \(source\) is"),
            ("layer", r"layers \(source\) is"),
            ("dtype", r"dtype \(source\) is"),
        ],
    )
    def test_processes_that_differ(
        self, pool: Pool, tmp_path: Path, what: str, message: str
    ) -> None:
        for end in pool.try_run(2, sharded_capture.differ, tmp_path / "acts", what):
            assert re.search(message, end.message)
        assert not (tmp_path / "acts").exists()

    def test_a_loader_without_length(self, pool: Pool, tmp_path: Path) -> None:
        for end in pool.try_run(2, sharded_capture.without_length, tmp_path / "acts"):
            assert "pass max_examples=" in end.message

    def test_both_fail(self, pool: Pool, tmp_path: Path) -> None:
        for end in pool.try_run(2, sharded_capture.fail, tmp_path / "acts", (0, 1), 0):
            assert "the disk of images has failed" in end.message
