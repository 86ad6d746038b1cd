"""Checkpoints: a fit that goes on from one has the bits of a fit that was never stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array

import cofactor as cf
from cofactor.cli import main

pytestmark = pytest.mark.usefixtures("auto_device")

FITTED = (
    "components_",
    "W_",
    "weights_",
    "n_iter_",
    "n_passes_",
    "n_reseeded_",
    "loss_history_",
    "rejected_losses_",
    "sample_losses_",
    "view_losses_",
    "reconstruction_err_",
    "stop_reason_",
)


def data(n: int = 300, d: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    X = rng.gamma(0.5, size=(n, 4)) @ rng.gamma(0.5, size=(4, d)) + 0.3 * rng.random((n, d))
    return {"a": X[:, : d // 3].astype(np.float16), "b": X[:, d // 3 :].astype(np.float32)}


class Stopped(Exception):
    """The end of a fit that was not to end."""


def stop_after(iteration: int) -> Any:
    def callback(event: cf.nmf.FitEvent) -> None:
        if event.iteration == iteration:
            raise Stopped

    return callback


def nmf(**options: Any) -> cf.CoupledNMF:
    return cf.CoupledNMF(
        **{"n_components": 4, "random_state": 0, "tol": 0, "max_iter": 12} | options
    )


def assert_same(a: cf.CoupledNMF, b: cf.CoupledNMF) -> None:
    for name in FITTED:
        x, y = getattr(a, name), getattr(b, name)
        for left, right in zip(
            *(list(v.items()) if isinstance(v, dict) else [("", v)] for v in (x, y)), strict=True
        ):
            assert left[0] == right[0]
            if name == "sample_losses_":
                assert left[1] == right[1]
            else:
                np.testing.assert_array_equal(left[1], right[1], strict=True)


CASES: list[dict[str, Any]] = [
    {},
    {"acceleration": None, "verify": True},
    {"init": "sample", "n_components": 3},
    {"compute": "auto", "max_iter": 40},
    {"compute": "float64", "weights": "balanced"},
    {"tol": 1e-3, "max_iter": 200},
    {"alpha_W": 1e-3, "l1_ratio": 0.5, "weights": {"a": 0.5}},
]


@pytest.mark.usefixtures("fast_bfloat16")
@pytest.mark.parametrize("options", CASES, ids=str)
def test_a_fit_goes_on_where_it_was(tmp_path: Path, options: dict[str, Any]) -> None:
    X = data()
    expected = nmf(**options).fit(X)
    assert_same(nmf(**options).fit(X, checkpoint=tmp_path / "whole"), expected)
    assert expected.n_iter_ > 8
    for stop, every in ((1, 1), (2, 5), (7, 3), (expected.n_iter_, 1)):
        path = tmp_path / f"run{stop}"
        with pytest.raises(Stopped):
            nmf(callback=stop_after(stop), **options).fit(
                X, checkpoint=path, checkpoint_every=every
            )
        assert [file.name for file in path.iterdir()] == ["checkpoint.safetensors"]
        seen: list[int] = []
        found = nmf(callback=lambda event, seen=seen: seen.append(event.iteration), **options)
        assert_same(found.fit(X, checkpoint=path, resume=True), expected)
        assert seen[0] == (stop - 1) // every * every + 1


def test_it_may_stop_again_and_again(tmp_path: Path) -> None:
    X = data()
    expected = nmf().fit(X)
    for stop in range(1, 12):
        with pytest.raises(Stopped):
            nmf(callback=stop_after(stop)).fit(
                X, checkpoint=tmp_path, checkpoint_every=1, resume=True
            )
    assert_same(nmf().fit(X, checkpoint=tmp_path, resume=True), expected)


def test_blocks_stores_and_packed_arrays_too(tmp_path: Path) -> None:
    X = data()
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in X.items()}
    with cf.ActivationStore.create(tmp_path / "acts", described) as writer:
        writer.append(X)
    blocks = [{name: x[i : i + 100] for name, x in X.items()} for i in range(0, 300, 100)]
    packed = {"a": np.asfortranarray(X["a"]), "b": csr_array(X["b"])}
    for number, source in enumerate((cf.ActivationStore(tmp_path / "acts"), blocks, packed)):
        path = tmp_path / str(number)
        with pytest.raises(Stopped):
            nmf(callback=stop_after(9)).fit(source, checkpoint=path, checkpoint_every=4)
        again = nmf(max_memory="1MB", n_threads=1).fit(
            source, checkpoint=path, resume=True, W_path=tmp_path / "W.npy"
        )
        assert_same(again, nmf().fit(X if source is packed else source))


def test_a_finished_fit_is_there_again_and_may_go_further(tmp_path: Path) -> None:
    X = data()
    first = nmf().fit(X, checkpoint=tmp_path)
    calls: list[object] = []
    again = nmf(callback=calls.append).fit(X, checkpoint=tmp_path, resume=True)
    assert_same(again, first)
    assert calls == []
    further = nmf(max_iter=20).fit(X, checkpoint=tmp_path, resume=True)
    assert_same(further, nmf(max_iter=20).fit(X))


def test_the_generator_of_the_caller_is_where_it_would_be(tmp_path: Path) -> None:
    X = data()
    expected = np.random.RandomState(3)
    whole = nmf(random_state=expected).fit(X)
    with pytest.raises(Stopped):
        nmf(random_state=np.random.RandomState(3), callback=stop_after(2)).fit(
            X, checkpoint=tmp_path
        )
    found = np.random.RandomState(77)
    assert_same(nmf(random_state=found).fit(X, checkpoint=tmp_path, resume=True), whole)
    assert found.random_sample() == expected.random_sample()


def test_a_start_of_the_callers_own(tmp_path: Path) -> None:
    X = data()
    H = {"a": np.ones((4, 20)) + np.eye(4, 20), "b": np.ones((4, 40))}
    with pytest.raises(Stopped):
        nmf(callback=stop_after(6)).fit(X, H=H, checkpoint=tmp_path, checkpoint_every=2)
    with pytest.raises(ValueError, match="other data: start"):
        nmf().fit(X, checkpoint=tmp_path, resume=True)
    assert_same(nmf().fit(X, H=H, checkpoint=tmp_path, resume=True), nmf().fit(X, H=H))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint")
    with pytest.raises(Stopped):
        nmf(callback=stop_after(5)).fit(data(), checkpoint=path, checkpoint_every=4)
    return path


@pytest.mark.parametrize(
    ("options", "X", "message"),
    [
        ({"n_components": 5}, data(), "other parameters: n_components 4 and not 5; pass the same"),
        ({"tol": 0.1, "random_state": 1}, data(), "random_state 0 and not 1.*tol 0 and not 0.1"),
        ({"weights": {"a": 0.1}}, data(), "weights 'equal' and not {'a': 0.1}"),
        ({}, data(301), "other data: n_examples 300 and not 301"),
        ({}, {"a": data()["a"], "b": 2 * data()["b"]}, "other data: sums_of_squares"),
        ({}, {"b": data()["b"]}, "other data: n_columns"),
    ],
)
def test_another_fit_is_refused(
    checkpoint: Path, options: dict[str, Any], X: dict[str, np.ndarray], message: str
) -> None:
    before = (checkpoint / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ValueError, match=message):
        nmf(**options).fit(X, checkpoint=checkpoint, resume=True)
    assert (checkpoint / "checkpoint.safetensors").read_bytes() == before


def test_a_checkpoint_is_not_overwritten_unasked(checkpoint: Path) -> None:
    with pytest.raises(FileExistsError, match="pass resume=True to go on from it, or remove it"):
        nmf().fit(data(), checkpoint=checkpoint)


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        nmf().fit(data(), resume=True)
    with pytest.raises(ValueError, match="checkpoint_every=0 must be at least 1"):
        nmf().fit(data(), checkpoint=tmp_path, checkpoint_every=0)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file; checkpoint= names a directory"):
        nmf().fit(data(), checkpoint=tmp_path / "file")


def test_without_a_checkpoint_yet_a_fit_begins(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".checkpoint.safetensors.part").write_bytes(b"half of")
    found = nmf().fit(data(), checkpoint=tmp_path / "run", resume=True)
    assert_same(found, nmf().fit(data()))
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["checkpoint.safetensors"]


def test_a_damaged_checkpoint_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    content = (checkpoint / "checkpoint.safetensors").read_bytes()
    path = tmp_path / "checkpoint.safetensors"
    rng = np.random.default_rng(0)
    damaged = [content[:size] for size in (0, 7, 100, len(content) // 2, len(content) - 1)]
    for _ in range(60):
        # Of the header, where every byte counts.
        at = int(rng.integers(8 + int.from_bytes(content[:8], "little")))
        damaged.append(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
    for wrong in damaged:
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"checkpoint.safetensors (cannot be read|is )"):
            nmf().fit(data(), checkpoint=tmp_path, resume=True)
    for change in ({"input.0": np.ones((4, 7), np.float32)}, {"input.1": None}, {"input.0": -1.0}):
        rewrite(checkpoint, path, arrays=change)
        with pytest.raises(ValueError, match="is damaged"):
            nmf().fit(data(), checkpoint=tmp_path, resume=True)
    for document in ({"loop": {}}, {"random_state": None}, {"version": 99}, {"data": []}):
        rewrite(checkpoint, path, document=document)
        with pytest.raises(ValueError, match=r"is damaged|another version"):
            nmf().fit(data(), checkpoint=tmp_path, resume=True)


def rewrite(
    checkpoint: Path, path: Path, arrays: dict[str, Any] | None = None, document: Any = None
) -> None:
    """Write a checkpoint with some of its content changed, and its checksum with it."""
    with safe_open(checkpoint / "checkpoint.safetensors", framework="numpy") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = file.metadata()["cofactor-checkpoint"]
    for name, value in (arrays or {}).items():
        if value is None:
            del found[name]
        else:
            found[name] = np.broadcast_to(value, np.shape(value) or found[name].shape).copy()
    text = json.dumps(json.loads(text) | (document or {}))
    digest = cf._checkpoint._digest(text, found)
    save_file(found, path, {"cofactor-checkpoint": text, "sha256": digest})


def test_another_instruction_set_is_said(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    rewrite(checkpoint, path, document={"simd_level": "abacus"})
    with pytest.warns(UserWarning, match="was made at the instruction-set level abacus"):
        nmf().fit(data(), checkpoint=tmp_path, resume=True)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Stand in for a full disk: no file of this process may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    X = data(300, 3000)
    with pytest.raises(Stopped):
        nmf(callback=stop_after(3)).fit(X, checkpoint=tmp_path, checkpoint_every=2)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with (
        files_of_at_most(len(before) // 2),
        pytest.raises(OSError, match=r"the last checkpoint is as it was.*checkpoint.safetensors"),
    ):
        nmf().fit(X, checkpoint=tmp_path, checkpoint_every=2, resume=True)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    with files_of_at_most(300 * 4 * 4), pytest.raises(OSError, match=r"W needs .* bytes.*W.npy"):
        nmf().fit(X, W_path=tmp_path / "W.npy")
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    assert_same(nmf().fit(X, checkpoint=tmp_path, resume=True), nmf().fit(X))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    X = data()
    store, out = tmp_path / "acts", tmp_path / "run"
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in X.items()}
    with cf.ActivationStore.create(store, described) as writer:
        writer.append(X)
    options = {"init": None, "tol": 1e-4, "max_iter": 200}
    with pytest.raises(Stopped):
        nmf(callback=stop_after(8), **options).fit(
            cf.ActivationStore(store), checkpoint=out, checkpoint_every=3
        )
    fit = ("fit", store, "--rank", 4, "--checkpoint", out, "--out", out)
    assert run(*fit) == 2
    assert "give --resume to go on from it" in capsys.readouterr().err
    assert run(*fit, "--resume", "--rank", 5) == 2
    assert "n_components 4 and not 5" in capsys.readouterr().err
    assert run(*fit, "--resume", "--checkpoint-every", 2, "--max-memory", "100MB") == 0
    expected = nmf(**options).fit(cf.ActivationStore(store))
    assert_same(cf.load(out), expected)
    assert sorted(file.name for file in out.iterdir()) == ["H.safetensors", "W.npy", "fit.json"]
    assert run("fit", store, "--rank", 4, "--resume", "--out", tmp_path / "other") == 2
    assert "--resume needs --checkpoint" in capsys.readouterr().err


def _fit(store: str, directory: str, done: Any) -> None:
    found = cf.CoupledNMF(8, random_state=0, tol=0, max_iter=40, max_memory="20MB").fit(
        cf.ActivationStore(store), checkpoint=directory, checkpoint_every=1, resume=True
    )
    found.save(f"{directory}/fit")
    done.set()


@pytest.mark.slow
def test_a_fit_that_is_killed_ends_with_the_same_bits(tmp_path: Path) -> None:
    X = data(4000, 900)
    described = {n: {"shape": (x.shape[1],), "dtype": x.dtype.name} for n, x in X.items()}
    with cf.ActivationStore.create(tmp_path / "acts", described, rows_per_shard=512) as writer:
        writer.append(X)
    context = multiprocessing.get_context("fork")

    def run(directory: Path, seconds: float | None) -> bool:
        done = context.Event()
        process = context.Process(target=_fit, args=(str(tmp_path / "acts"), str(directory), done))
        process.start()
        process.join(seconds)
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        return done.is_set()

    begun = time.perf_counter()
    assert run(tmp_path / "whole", None)
    whole = time.perf_counter() - begun
    expected = cf.load(tmp_path / "whole" / "fit")
    rng = np.random.default_rng(0)
    kills = 0
    for trial in range(1000):
        directory = tmp_path / str(trial)
        while not run(directory, float(rng.uniform(0, whole))):
            kills += 1
        assert_same(cf.load(directory / "fit"), expected)
        if kills >= 50:
            break
    assert kills >= 50


@pytest.mark.slow
def test_a_disk_that_is_full(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(512)
    X = data(300, 3000)
    with pytest.raises(Stopped):
        nmf(callback=stop_after(3)).fit(X, checkpoint=disk, checkpoint_every=2)
    before = (disk / "checkpoint.safetensors").read_bytes()
    filler = disk / "filler"
    with filler.open("wb") as file:
        statistics = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, statistics.f_bavail * statistics.f_frsize)
    with pytest.raises(OSError, match="No space left on device; the last checkpoint is as it was"):
        nmf().fit(X, checkpoint=disk, checkpoint_every=2, resume=True)
    with pytest.raises(OSError, match=r"No space left on device.*W.npy"):
        nmf().fit(X, W_path=disk / "W.npy")
    with pytest.raises(OSError, match="No space left"):
        nmf(max_iter=1).fit(X).save(disk / "fit")
    names = {file.name for file in disk.iterdir()}
    assert names == {"checkpoint.safetensors", "filler"}
    assert (disk / "checkpoint.safetensors").read_bytes() == before
    filler.unlink()
    assert_same(nmf().fit(X, checkpoint=disk, resume=True), nmf().fit(X))
