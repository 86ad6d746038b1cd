"""`cofactor compare`: what it writes and prints, and how bad input ends."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest

import cofactor as cf
from cofactor.cli import main

VERBS = ["views", "seeds", "fits", "classes", "grid", "attack"]
CLASSES = ["ant", "bee", "cat"]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty directory; return status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("warnings.showwarning", None)

    def call(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main(["compare", *map(str, arguments)])
        return exit_info.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli-compare") / "acts"
    random = np.random.default_rng(0)
    labels = np.arange(45) % 3
    views = {"input.0": (4,), "conv": (6,), "fc": (5,)}
    attributes = {
        "class_names": CLASSES,
        "superclass_of_class": [0, 0, 1],
        "superclass_names": ["insect", "mammal"],
    }
    with cf.ActivationStore.create(
        path,
        {name: {"shape": shape, "dtype": "float32"} for name, shape in views.items()},
        attributes=attributes,
    ) as writer:
        blocks = {}
        for name, (d,) in views.items():
            X = 0.1 * random.random((45, d)) + (labels[:, None] == np.arange(d) % 3)
            blocks[name] = X.astype(np.float32)
        writer.append(blocks, {"labels": labels})
    return path


def rows_of(folder, table):
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(run, verb):
    status, out, _ = run(verb, "--help")
    assert status == 0
    assert "\nExamples:\n" in out
    assert f"  cofactor compare {verb}" in out


def test_the_comparisons_are_listed(run):
    status, out, _ = run("--help")
    assert status == 0
    listed = out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == VERBS
    assert not any(line.endswith("...") for line in listed)


def test_views(run, store, tmp_path):
    status, out, _ = run("views", store, "--rank", 3, "--seeds", 2, "--tol", "1e-3", "--out", "new")
    assert status == 0
    assert [row["views"] for row in rows_of(tmp_path / "new", "mean")] == [
        "coupled", "conv", "fc", "pixels",
    ]  # fmt: skip
    assert len(rows_of(tmp_path / "new", "fits")) == 8
    document = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert document["what"] == "views"
    assert document["arguments"]["rank"] == 3
    assert "new: fits.csv, mean.csv, matches.csv, metrics.json" in out
    assert "coupled" in out
    # Again, and in silence.
    assert run("views", store, "--rank", 2, "--seeds", 1, "-q", "--out", "new") == (0, "", "")


def test_seeds(run, store, tmp_path):
    status, out, _ = run(
        "seeds", store, "--rank", "2,3", "--seeds", 2, "--views", "conv,fc", "--alpha-h", "0.001",
        "--tol", "1e-2", "--out", "out",
    )  # fmt: skip
    assert status == 0
    assert [row["rank"] for row in rows_of(tmp_path / "out", "ranks")] == ["2", "3"]
    assert "stability" in out


def test_grid(run, store, tmp_path):
    status, _, _ = run(
        "grid", store, "--rank", 2, "--alpha-w", "0,0.01", "--l1-ratio", "0,1", "--out", "out"
    )
    assert status == 0
    grid = rows_of(tmp_path / "out", "grid")
    assert [(row["alpha_W"], row["l1_ratio"]) for row in grid] == [
        ("0.0", "0.0"), ("0.0", "1.0"), ("0.01", "0.0"), ("0.01", "1.0"),
    ]  # fmt: skip


def test_classes_by_name_number_and_superclass(run, store, tmp_path):
    status, _, _ = run(
        "classes", store, "--classes", "insect", "--classes", "cat,1", "--rank", 2, "--out", "out"
    )
    assert status == 0
    fits = rows_of(tmp_path / "out", "fits")
    assert [(row["subset"], row["n_examples"]) for row in fits[::2]] == [
        ("insect", "30"), ("cat,1", "30"),
    ]  # fmt: skip
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert document["arguments"]["subsets"] == {"insect": [0, 1], "cat,1": [2, 1]}


def test_fits(run, store, tmp_path):
    for name, views in (("a", "conv"), ("b", "fc")):
        part = cf.ActivationStore(store).select(views=[views])
        cf.CoupledNMF(3, random_state=0).fit(part).save(tmp_path / name)
    status, out, _ = run("fits", "--fit", "a", store, "--fit", "b", store, "--out", "out")
    assert status == 0
    matches = rows_of(tmp_path / "out", "matches")
    assert len(matches) == 3
    assert all(row["class"] == row["match_class"] for row in matches)
    assert "mean cosine" in out


ATTACK = [
    "attack", "--model", "cofactor:resnet18", "--model-arg", "num_classes=3", "--model-arg",
    "width=4", "--data", "images.npz", "--layers", "avgpool", "--rank", 2, "--out", "out",
]  # fmt: skip


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 16, 16, 3)).astype(np.uint8)
    labels = np.arange(12) % 3
    for name, content in (("images", images), ("changed", 255 - images)):
        np.savez(tmp_path / f"{name}.npz", images=content, labels=labels, class_names=CLASSES)


@pytest.mark.parametrize(
    "chosen",
    [
        ["--attack", "pgd", "--eps", "4/255"],
        ["--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2", "--pixels"],
        ["--adversarial", "changed.npz"],
    ],
)
def test_attack(run, images, tmp_path, chosen):
    pytest.importorskip("torch")
    pytest.importorskip("art")
    before = set(tmp_path.iterdir())
    status, out, err = run(*ATTACK, *chosen)
    assert status == 0, err
    assert [row["side"] for row in rows_of(tmp_path / "out", "sides")] == ["clean", "adversarial"]
    assert len(rows_of(tmp_path / "out", "shift")) == 2
    assert "adversarial share" in out
    arguments = json.loads((tmp_path / "out" / "metrics.json").read_text())["arguments"]
    if "--attack" in chosen:
        assert (arguments["attack"], arguments["eps"]) == ("pgd", 4 / 255)
    # The activations are gone.
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["views", "STORE", "--rank", 0, "--out", "out"], "n_components"),
        (["views", "STORE", "--rank", 2, "--seeds", 0, "--out", "out"], "seeds is empty"),
        (["views", "STORE", "--rank", 2, "--out", "."], "not a comparison's"),
        (["seeds", "STORE", "--rank", "2,x", "--out", "out"], "is not like 20,50,128"),
        (["seeds", "STORE", "--seeds", 1, "--out", "out"], "expected at least two"),
        (["fits", "--fit", "STORE", "STORE", "--out", "out"], "needed twice at least"),
        (["fits", *["--fit", "STORE", "STORE"] * 2, "--out", "out"], "the same fit is given twice"),
        (["classes", "STORE", "--classes", "yak", "--rank", 2, "--out", "out"],
         "'yak' is neither a class nor a superclass"),
        (["classes", "STORE", "--classes", "7", "--rank", 2, "--out", "out"], "has no examples"),
        (["grid", "STORE", "--alpha-w", "-1", "--out", "out"], "alpha_W"),
        ([*ATTACK, "--attack", "fgsm", "--adversarial", "x"], "exclude each other"),
        ([*ATTACK, "--mean", "0.5"], "--mean and --std go together"),
        ([*ATTACK, "--eps", "8/0"], "'8/0' is not like 8/255"),
        ([*ATTACK, "--eps", "8"], "eps = 8.0; expected a number above 0, at most 1"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_line(run, store, images, tmp_path, arguments, message):
    (tmp_path / "mine.txt").write_text("x")
    before = sorted(tmp_path.iterdir())
    status, out, err = run(*(store if a == "STORE" else a for a in arguments))
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("cofactor: error: ")
    assert message in err
    assert sorted(tmp_path.iterdir()) == before
