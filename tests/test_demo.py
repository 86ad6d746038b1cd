"""The demo, from training to report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the demo trains a network")
for _module in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(_module, reason="the demo writes a report")

import cofactor  # noqa: E402
from cofactor._digits import Recipe, kept_network, read_digits, train_network  # noqa: E402
from cofactor.demo import run_demo  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo once, with one pass over the training images."""
    folder = tmp_path_factory.mktemp("demo")
    run_demo(folder / "out", work=folder / "work", n_components=6, epochs=1, quiet=True)
    return folder


@pytest.fixture
def untouched_generator() -> Iterator[None]:
    """Check that torch's random numbers go on as before."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_the_demo_leaves(folder: Path) -> None:
    assert (folder / "out" / "index.html").is_file()
    assert json.loads((folder / "out" / "metrics.json").read_text())["scores"]["class"]["nmi"] > 0
    store = cofactor.ActivationStore(folder / "work" / "activations")
    assert {name: view.shape for name, view in store.views.items()} == {
        "input.0": (32, 32),
        "layer3": (64, 8, 8),
        "layer4": (128, 4, 4),
        "avgpool": (128, 1, 1),
    }
    assert store.n_examples == 797
    assert cofactor.load(folder / "work" / "fit").W_.shape == (797, 6)


def test_a_second_run_trains_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cofactor._digits.train_network", None)
    page = run_demo(folder / "out", work=folder / "work", n_components=6, epochs=1)
    out, err = capsys.readouterr()
    assert "trained by an earlier run" in out
    assert "labels shuffled" in out
    assert page.resolve().as_uri() in out
    assert err == ""


def test_the_network_is_kept_for_its_recipe_alone(folder: Path) -> None:
    file = folder / "work" / "model.safetensors"
    assert kept_network(Recipe(0, epochs=1), file) is not None
    assert kept_network(Recipe(0, epochs=2), file) is None
    assert kept_network(Recipe(1, epochs=1), file) is None
    assert kept_network(Recipe(0, epochs=1), folder / "absent") is None
    damaged = folder / "damaged"
    damaged.write_bytes(file.read_bytes()[:-8])
    assert kept_network(Recipe(0, epochs=1), damaged) is None


@pytest.mark.usefixtures("untouched_generator")
def test_training_repeats_and_is_interrupted_cleanly(tmp_path: Path) -> None:
    digits = read_digits(3)
    small = digits._replace(
        train_images=digits.train_images[:100], train_labels=digits.train_labels[:100]
    )
    recipe = Recipe(3, width=4, epochs=1, n_train=100)
    losses: list[float] = []
    first, second = (
        train_network(recipe, small, tmp_path / name, losses.append).state_dict() for name in "ab"
    )
    assert len(losses) == 2 * recipe.n_steps
    assert all(torch.equal(first[name], second[name]) for name in first)

    def interrupt(loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(recipe, small, tmp_path / "c", interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_digits_are_split_without_overlap() -> None:
    digits = read_digits(0)
    assert digits.train_images.shape == (1000, 1, 32, 32)
    assert digits.test_images.shape == (797, 1, 32, 32)
    assert digits.train_images.dtype == np.uint8
    assert digits.train_images.max() == 255
    counts = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert not np.array_equal(digits.test_labels, read_digits(1).test_labels)


@pytest.mark.parametrize("name", ["n_components", "epochs"])
def test_counts_must_be_positive(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        run_demo(tmp_path / "out", work=tmp_path, **{name: 0})


@pytest.mark.slow
def test_the_network_learns_and_the_concepts_are_its_classes(tmp_path: Path) -> None:
    run_demo(tmp_path / "out", work=tmp_path / "work", quiet=True)
    columns = cofactor.ActivationStore(tmp_path / "work" / "activations").columns
    assert (columns["labels"] == columns["predictions"]).mean() > 0.95
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())["scores"]["class"]
    assert scores["nmi"] > 0.8
    assert scores["nmi_shuffled"] < 0.1
