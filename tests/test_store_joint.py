"""The account of a store that several processes write; test_capture_ranks.py has the processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofactor._store.joint import JointStore, PartWriter, split_groups
from cofactor._store.metadata import Column
from cofactor.store import ActivationStore, StoreError
from store_samples import content

VIEWS: dict[str, dict[str, Any]] = {"a": {"shape": (3,), "dtype": "float32"}}
COLUMNS = {"labels": Column("labels", "int64", ())}
N = 1300


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 512 rows, since so few examples would fill no other."""
    monkeypatch.setattr("cofactor._store.declare._SHARD_BYTES", 1)


def begin(path: Path, n_rows: int = N, resume: bool = False) -> JointStore:
    return JointStore(
        path,
        VIEWS,
        columns=COLUMNS,
        attributes={},
        source={"x": "1"},
        overwrite=False,
        resume=resume,
        n_rows=n_rows,
        n_parts=1,
    )


def rows(start: int, stop: int) -> tuple[dict[str, Any], dict[str, Any], None]:
    numbers = np.arange(start, stop)
    values = np.repeat(numbers[:, None], 3, axis=1).astype(np.float32)
    return {"a": values}, {"labels": numbers}, None


def test_the_store_is_that_of_one_writer(tmp_path: Path) -> None:
    with ActivationStore.create(tmp_path / "one", VIEWS, source={"x": "1"}) as writer:
        writer.append(*rows(0, N))
    with begin(tmp_path / "joint") as store:
        with PartWriter(tmp_path / "joint", VIEWS, COLUMNS, store.plan, 0) as part:
            part.rows.append(*rows(0, N))
        assert sorted(part.finished) == [0, 1, 2]
        store.complete(part.finished)
    assert content(tmp_path / "joint") == content(tmp_path / "one")


def test_rows_that_nobody_wrote(tmp_path: Path) -> None:
    with begin(tmp_path / "acts") as store:
        with PartWriter(tmp_path / "acts", VIEWS, COLUMNS, store.plan, 0) as part:
            part.rows.append(*rows(0, N))
        del part.finished[1]
        with pytest.raises(StoreError, match="have not written all rows before shard 2: their dat"):
            store.complete(part.finished)


def test_a_short_group_that_is_not_the_last(tmp_path: Path) -> None:
    """As when the data of one process ends before that of the next."""
    with begin(tmp_path / "acts") as store:
        with PartWriter(tmp_path / "acts", VIEWS, COLUMNS, store.plan, 0) as part:
            part.rows.append(*rows(0, N))
        part.finished[3] = part.finished[0]
        with pytest.raises(StoreError, match="have not written all rows: their data ended"):
            store.complete(part.finished)


def test_no_rows(tmp_path: Path) -> None:
    with begin(tmp_path / "acts") as store, pytest.raises(StoreError, match="not written all rows"):
        store.complete({})


def test_a_directory_that_is_another(tmp_path: Path) -> None:
    """As on hosts that each have a /tmp of their own."""
    with begin(tmp_path / "here") as here, begin(tmp_path / "there"):
        with pytest.raises(StoreError, match="is not the directory that rank 0 writes to"):
            PartWriter(tmp_path / "there", VIEWS, COLUMNS, here.plan, 1)
        with pytest.raises(StoreError, match="is not the directory that rank 0 writes to"):
            PartWriter(tmp_path / "nowhere", VIEWS, COLUMNS, here.plan, 1)


def test_data_that_ends_before_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "acts"
    with begin(path) as store, PartWriter(path, VIEWS, COLUMNS, store.plan, 0) as part:
        part.rows.append(*rows(0, 1100))
    with (
        begin(path, resume=True) as store,
        pytest.raises(StoreError, match="the data ends after 600 examples, the store was begun wi"),
        PartWriter(path, VIEWS, COLUMNS, store.plan, 0) as part,
    ):
        part.rows.append(*rows(0, 600))


def test_one_writer_goes_on_with_what_follows(tmp_path: Path) -> None:
    """A record with a gap before it is dropped, and its files with it."""
    path = tmp_path / "acts"
    with begin(path) as store, PartWriter(path, VIEWS, COLUMNS, store.plan, 0) as part:
        part.rows.append(*rows(0, N))
    (path / ".records/00001.json").unlink()
    with pytest.raises(StoreError, match="an incomplete store of 0 examples is here already"):
        ActivationStore.create(path, VIEWS, source={"x": "1"})
    writer = ActivationStore.create(path, VIEWS, source={"x": "1"}, resume=True)
    assert writer.n_to_compare is None
    assert not (path / ".records").exists()
    assert sorted(file.name for file in (path / "a").iterdir()) == ["00000.npy"]
    with writer:
        writer.append(*rows(0, N))
    assert len(ActivationStore(path)) == N


def test_parts_have_equal_numbers_of_groups_to_write() -> None:
    assert split_groups(8, (), 4) == (0, 2, 4, 6)
    assert split_groups(7, (), 2) == (0, 3)
    assert split_groups(8, {0, 1, 2, 3}, 2) == (0, 6)
    assert split_groups(8, {1, 6}, 3) == (0, 3, 5)
    assert split_groups(1, (), 3) == (0, 0, 0)
    assert split_groups(2, {0, 1}, 2) == (0, 2)
