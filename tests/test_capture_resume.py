"""Captures that were interrupted go on, and end as if they had not been."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofactor.capture import capture
from cofactor.store import ActivationStore, StoreError
from small_network import Net, seeded
from store_samples import content

torch = pytest.importorskip("torch")

N = 1300


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 512 rows, since so few examples would fill no other."""
    monkeypatch.setattr("cofactor._store.declare._SHARD_BYTES", 1)


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.randint(0, 256, (N, 3, 8, 8), dtype=torch.uint8, generator=seeded())


class Loader:
    """Batches, of which the one number `stop_at` raises; counts what it yields."""

    def __init__(self, images: Any, stop_at: int | None = None, batch_size: int = 100) -> None:
        self.images, self.stop_at, self.batch_size = images, stop_at, batch_size

    def __iter__(self) -> Iterator[Any]:
        for i in range(0, len(self.images), self.batch_size):
            if self.stop_at is not None and i >= self.stop_at:
                raise KeyboardInterrupt
            yield (
                self.images[i : i + self.batch_size],
                np.arange(i, i + self.batch_size)[: len(self.images) - i],
            )


def network() -> Net:
    torch.manual_seed(0)
    return Net()


def run(images: Any, out: Path, stop_at: int | None = None, **options: Any) -> ActivationStore:
    arguments: dict[str, Any] = {
        "model": network(),
        "layers": ["conv1", "avgpool"],
        "pixels": True,
        "resume": True,
        "progress": False,
    }
    return capture(loader=Loader(images, stop_at), out=out, **(arguments | options))


@pytest.fixture(scope="module")
def whole(images: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cofactor._store.declare._SHARD_BYTES", 1)
        return content(run(images, tmp_path_factory.mktemp("whole") / "acts", resume=False).path)


class TestGoesOn:
    @pytest.mark.parametrize("stops", [[0], [100], [600], [1100], [700, 600, 1200]])
    def test_bytes_are_those_of_an_uninterrupted_one(
        self, images: Any, whole: dict[str, bytes], tmp_path: Path, stops: list[int]
    ) -> None:
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                run(images, tmp_path / "acts", stop)
        run(images, tmp_path / "acts")
        assert content(tmp_path / "acts") == whole

    def test_the_network_does_not_run_for_what_is_there(self, images: Any, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(images, tmp_path / "acts", 1100)
        model = network()
        run(images, tmp_path / "acts", model=model)
        # The first batch for its shapes, of the first 512 rows the last batch, and all behind.
        assert model.head_runs == 1 + 8

    def test_without_labels_and_predictions(self, images: Any, tmp_path: Path) -> None:
        for out, stop in (("a", None), ("b", 1100), ("b", None)):
            batches = [batch for batch, _ in Loader(images)]

            def loader(batches: Any = batches, stop: int | None = stop) -> Iterator[Any]:
                for i, batch in enumerate(batches):
                    if stop == 100 * i:
                        raise KeyboardInterrupt
                    yield batch

            options = {"predictions": False, "resume": True, "progress": False}
            try:
                capture(network(), loader(), ["relu"], out=tmp_path / out, **options)
            except KeyboardInterrupt:
                assert stop is not None
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_positions(self, images: Any, tmp_path: Path) -> None:
        options = {"layers": ["conv2"], "positions": True, "pixels": False}
        run(images, tmp_path / "a", **options)
        for stop in (300, 900):
            with pytest.raises(KeyboardInterrupt):
                run(images, tmp_path / "b", stop, **options)
        run(images, tmp_path / "b", **options)
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_leftovers_of_a_killed_writer(
        self, images: Any, whole: dict[str, bytes], tmp_path: Path
    ) -> None:
        path = tmp_path / "acts"
        with pytest.raises(KeyboardInterrupt):
            run(images, path, 700)
        for name in (
            ".metadata.json.tmp",
            ".writer.lock",
            "conv1/.00001.npy.tmp",
            "conv1/00001.npy",
            "columns/labels/00001.npy",
        ):
            (path / name).write_bytes(b"half of it")
        run(images, path)
        assert content(path) == whole

    def test_a_complete_store_is_returned(
        self, images: Any, whole: dict[str, bytes], tmp_path: Path
    ) -> None:
        run(images, tmp_path / "acts")
        model, seen = network(), []

        def loader() -> Iterator[Any]:
            for batch in Loader(images):
                seen.append(batch)
                yield batch

        capture(
            model,
            loader(),
            ["conv1", "avgpool"],
            pixels=True,
            resume=True,
            progress=False,
            out=tmp_path / "acts",
        )
        assert model.head_runs == 1
        assert len(seen) < 13
        assert content(tmp_path / "acts") == whole


def other_weights() -> dict[str, Any]:
    model = network()
    with torch.no_grad():
        model.fc.bias[0] += 1
    return {"model": model}


def other_structure() -> dict[str, Any]:
    model = network()
    model.drop = torch.nn.Dropout(0.1)
    return {"model": model}


class TestRefuses:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (other_weights, "weights has changed"),
            (other_structure, "model has changed"),
            (lambda: {"layers": ["conv1"]}, r'layers was \["conv1", "avgpool"\], is \["conv1"\]'),
            (lambda: {"dtype": "float32"}, r'dtype was \["float16", {}\], is \["float32", {}\]'),
            (lambda: {"pool": (2, 2)}, r"pool was \[null, {}\], is \[\[2, 2\], {}\]"),
            (lambda: {"negative": "relu"}, "negative was"),
            (lambda: {"normalize": (0.5, 0.5)}, r"normalize was none, is \(0.5, 0.5\)"),
            (lambda: {"max_examples": 900}, "max_examples was null, is 900"),
            (lambda: {"data_id": "b"}, 'data_id was null, is "b"'),
            (lambda: {"predictions": False}, "predictions was true, is false"),
            (lambda: {"attributes": {"a": 1}}, "attributes is another: a was not there, is 1"),
        ],
    )
    def test_names_what_changed(
        self, images: Any, tmp_path: Path, change: Callable[[], dict[str, Any]], message: str
    ) -> None:
        path = tmp_path / "acts"
        with pytest.raises(KeyboardInterrupt):
            run(images, path, 1100)
        before = content(path)
        with pytest.raises(StoreError, match=message) as caught:
            run(images, path, **change())
        assert str(caught.value).startswith(str(path))
        assert content(path) == before

    @pytest.mark.parametrize("complete", [False, True])
    @pytest.mark.parametrize("where", [3, 600])
    def test_data_order(self, images: Any, tmp_path: Path, complete: bool, where: int) -> None:
        path = tmp_path / "acts"
        if complete:
            run(images, path)
        else:
            with pytest.raises(KeyboardInterrupt):
                run(images, path, 1200)
        swapped = images.clone()
        swapped[[where, where + 1]] = images[[where + 1, where]]
        before = content(path)
        if complete and where > 512:
            run(swapped, path)  # documented: only the first shards of a complete store are compared
        else:
            first = 512 * (where // 512)
            message = f"inputs of rows {first} to {first + 511} are not those"
            with pytest.raises(StoreError, match=message):
                run(swapped, path)
        assert content(path) == before

    def test_fewer_examples(self, images: Any, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(images, tmp_path / "acts", 1200)
        with pytest.raises(StoreError, match="data ends after 600 examples, the store was begun w"):
            run(images[:600], tmp_path / "acts")

    def test_a_network_that_is_not_deterministic(self, images: Any, tmp_path: Path) -> None:
        class Noisy(torch.nn.Module):
            calls = 0

            def forward(self, x: Any) -> Any:
                self.calls += 1
                return x.flatten(1) + self.calls

        options = {"model": Noisy(), "layers": "output", "pixels": False}
        with pytest.raises(KeyboardInterrupt):
            run(images, tmp_path / "acts", 700, **options)
        with pytest.raises(StoreError, match="output of rows 0 to 511 came out otherwise than wh"):
            run(images, tmp_path / "acts", **options)

    def test_another_image_size(self, images: Any, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(images, tmp_path / "acts", 700)
        with pytest.raises(StoreError, match=r"its views is another: input.0 was .*8, 8.* is .*7"):
            run(images[..., :7], tmp_path / "acts")

    def test_overwrite_too(self, images: Any, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="overwrite and resume are both true"):
            run(images, tmp_path / "acts", overwrite=True)


def _hold(path: str, held: Any, done: Any) -> None:
    views = {"a": {"shape": (1,), "dtype": "float32"}}
    with ActivationStore.create(path, views) as writer:
        writer.append({"a": np.ones((1, 1))})
        held.set()
        done.wait(300)


class TestOneWriter:
    def test_another_process(self, images: Any, tmp_path: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        held, done = spawn.Event(), spawn.Event()
        process = spawn.Process(target=_hold, args=(str(tmp_path / "acts"), held, done))
        process.start()
        try:
            assert held.wait(300)
            with pytest.raises(StoreError, match="another writer is at work on this store"):
                run(images, tmp_path / "acts")
        finally:
            done.set()
            process.join()
        assert len(ActivationStore(tmp_path / "acts")) == 1

    def test_another_writer_of_this_process(self, tmp_path: Path) -> None:
        views = {"a": {"shape": (1,), "dtype": "float32"}}
        first = ActivationStore.create(tmp_path / "acts", views)
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(StoreError, match="another writer is at work"):
                ActivationStore.create(tmp_path / "acts", views, **options)
        first.append({"a": np.ones((1, 1))})
        first.close()
        assert sorted(p.name for p in (tmp_path / "acts").iterdir()) == [
            "a",
            "columns",
            "metadata.json",
        ]
        ActivationStore.create(tmp_path / "acts", views, overwrite=True)

    def test_a_writer_that_was_dropped_holds_nothing(self, tmp_path: Path) -> None:
        views = {"a": {"shape": (1,), "dtype": "float32"}}
        for _ in range(2):
            ActivationStore.create(tmp_path / "acts", views)


def test_the_source_is_kept(images: Any, tmp_path: Path) -> None:
    store = run(images, tmp_path / "acts", data_id="mine")
    assert store.source["data_id"] == '"mine"'
    assert len(store.source["weights"]) == 64
    document = json.loads((tmp_path / "acts/metadata.json").read_text())
    assert all(len(group["inputs"]) == 64 for group in document["shards"])
