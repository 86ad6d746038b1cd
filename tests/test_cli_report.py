"""`cofactor report` with the network: which examples run through it, and how bad input ends."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

import cofactor as cf
from cofactor.cli import main

torch = pytest.importorskip("torch")
for module in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(module)

from cofactor.importance import concept_importance, reconstruction_importance  # noqa: E402

N = 23
NETWORK = """
import torch
from torch import nn
def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(36, 3))
"""
NORMALIZE = ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
MOMENTS = ["--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.2"]
# In a folder of images they would lie by class: what is looked at must be spread.
LABELS = np.arange(N) * 3 // N


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write a network, images, their activations and a fit to these; return their folder."""
    folder = tmp_path_factory.mktemp("cli-report")
    (folder / "reported_network.py").write_text(NETWORK)
    images = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8), dtype=np.uint8)
    np.savez(folder / "d.npz", images=images, labels=LABELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        from reported_network import build

        store = cf.capture(
            build(), [(images, LABELS)], ["1", "2"], out=folder / "acts", normalize=NORMALIZE,
            progress=False,
        )  # fmt: skip
    cf.CoupledNMF(3, random_state=0).fit(store).save(folder / "run")
    return folder


@pytest.fixture
def run(capsys, monkeypatch, made, tmp_path):
    """Run the command in an empty directory; return status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(made), *sys.path])
    monkeypatch.setattr("warnings.showwarning", None)

    def call(*arguments):
        command = ["report", made / "run", made / "acts", "--out", "out", *arguments]
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in command])
        return exit_info.value.code, *capsys.readouterr()

    return call


def network_of(made):
    return ["--model", "reported_network:build", "--data", made / "d.npz", *MOMENTS]


def table(name):
    with Path(f"out/tables/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("options", "rows"), [
    ([], np.arange(N)),
    (["--n-examples", "5", "--batch-size", "4"], np.array([0, 4, 9, 13, 18])),
])  # fmt: skip
def test_examples_that_run_through_the_network_are_spread(run, made, options, rows):
    status, _, errors = run(*network_of(made), *options)
    assert (status, errors) == (0, "")
    from reported_network import build

    images = np.load(made / "d.npz")["images"][rows]
    nmf, store = cf.load(made / "run"), cf.ActivationStore(made / "acts")
    part = cf.Concepts(nmf, store.select(rows=rows), W=nmf.W_[rows])
    for layer in ("1", "2"):
        of_layer = [row for row in table("importance") if row["layer"] == layer]
        expected = concept_importance(build(), [images], part, layer, normalize=NORMALIZE)
        assert {int(row["n_examples"]) for row in of_layer} == {len(rows)}
        for name in ("kl", "changed", "accuracy_drop"):
            values = [float(row[name]) for row in of_layer]
            np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-6)
    expected = reconstruction_importance(build(), [images], part, normalize=NORMALIZE)
    values = [float(row["relative_error"]) for row in table("reconstruction")]
    np.testing.assert_allclose(values, expected["relative_error"], rtol=1e-5)


def test_one_layer(run, made):
    assert run(*network_of(made), "--layers", "2")[0] == 0
    assert {row["layer"] for row in table("importance")} == {"2"}
    assert [row["layer"] for row in table("reconstruction")] == ["2"]
    assert {row["class"] for row in table("class_importance")} == {"0", "1", "2"}


def test_without_a_network_nothing_is_said_of_it(run):
    assert run()[0] == 0
    assert not Path("out/tables/importance.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "reported_network:build"], "--model and --data go together"),
        (["--data", "d.npz"], "--model and --data go together"),
        (["--layers", "1"], "--layers needs --model and --data"),
        (["--model-arg", "a=1"], "--model-arg needs --model and --data"),
        (["--n-examples", "3"], "--n-examples needs --model and --data"),
        (["--n-examples", "0"], "0 is not in the range x>=1"),
        (["--mean", "0.5"], "--mean and --std go together"),
    ],
)  # fmt: skip
def test_options_of_no_network(run, options, message):
    status, _, errors = run(*options)
    assert status == 2
    assert message in errors
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "3"], "there is no view '3'; the fit has the views 1, 2"),
        (["--max-examples", "7"], "--data gives 7 images and the store has 23 examples"),
        (["--mean", "0,0,0"], "the first images give '1' other values than the store has"),
    ],
)
def test_another_network_or_other_images(run, made, options, message):
    status, _, errors = run(*network_of(made), *options)
    assert status == 2
    assert message in errors
    assert not Path("out").exists()


def test_a_loader_of_fewer_images(run, made):
    """Of a loader the number is not known before its end."""
    (made / "short_loader.py").write_text(
        "import numpy as np\n"
        f"def images(): return iter_(np.load({str(made / 'd.npz')!r})['images'])\n"
        "class iter_:\n"
        "    def __init__(self, images): self.images = images\n"
        "    def __iter__(self): return iter([self.images[:9], self.images[9:20]])\n"
    )
    status, _, errors = run(
        "--model", "reported_network:build", "--data", "short_loader:images", *MOMENTS
    )
    assert status == 2
    assert "--data gives 20 images and the store has 23 examples" in errors
