"""The folder of a report, its tables and its metrics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cofactor._errors import MissingExtraError
from cofactor.concepts import Concepts
from cofactor.report import report
from fake_fit import SHAPES, planted
from report_pages import contents, read_tables

SMALL = {"fc": (3,)}


@pytest.fixture(scope="module")
def concepts():
    return Concepts(*planted())


@pytest.fixture(scope="module")
def written(concepts, tmp_path_factory):
    return report(concepts, tmp_path_factory.mktemp("report") / "out", n_top=6).parent


@pytest.fixture(scope="module")
def small():
    return Concepts(*planted(shapes=SMALL))


def test_what_is_written(written):
    assert sorted(path.name for path in written.iterdir()) == [
        "assets", "concepts", "examples.html", "images", "index.html", "layers.html",
        "metrics.json", "tables",
    ]  # fmt: skip
    assert set(read_tables(written)) == {
        "fit", "views", "loss", "view_loss", "scores", "concepts", "concept_map",
        "nearest_concepts", "class_shares", "class_distances", "superclass_shares", "view_shares",
        "top_examples", "neurons-conv", "neurons-fc", "coherence", "eigenvalues", "clusters",
        "cluster_sizes", "closest_pairs", "examples", "example_concepts", "neighbors",
        "accuracy_by_impurity", "cka", "saliency",
        *(f"similarity-{view}" for view in ("W", *SHAPES)),
    }  # fmt: skip
    assert [path.name for path in written.parent.iterdir()] == ["out"]


def test_metrics_are_those_of_the_tables(written, concepts):
    metrics = json.loads((written / "metrics.json").read_text(), parse_constant=pytest.fail)
    tables = read_tables(written)
    (fit,) = tables["fit"]
    assert metrics["loss"] == float(fit["loss"]) == concepts.nmf.loss_history_[-1]
    assert (metrics["n_examples"], metrics["n_concepts"], metrics["n_passes"]) == (60, 4, 5.5)
    assert metrics["view_losses"] == concepts.nmf.view_losses_
    assert metrics["view_shapes"] == {view: list(shape) for view, shape in SHAPES.items()}
    assert metrics["parameters"] == {
        "n_components": 4, "weights": {"fc": 2.0}, "callback": "builtin_function_or_method",
    }  # fmt: skip
    assert metrics["versions"]["numpy"] == np.__version__
    for row in tables["scores"]:
        of_target = metrics["scores"][row.pop("target")]
        assert of_target == {name: json.loads(value) for name, value in row.items()}


def test_tables_are_those_of_the_concepts(written, concepts):
    tables = read_tables(written)
    for name, table in (
        ("concepts", concepts.table()),
        ("scores", concepts.scores()),
        ("class_shares", concepts.class_table()),
        ("view_shares", concepts.view_shares()),
        ("cka", concepts.cka()),
    ):
        expected = [{key: str(value) for key, value in row.items()} for row in table.rows()]
        assert tables[name] == expected
    assert [float(row["loss"]) for row in tables["loss"]] == concepts.nmf.loss_history_
    of_two = [int(row["neuron"]) for row in tables["neurons-conv"] if row["concept"] == "2"]
    assert of_two == concepts.neurons("conv", 2, 5)["neuron"].tolist()
    top = [int(row["example"]) for row in tables["top_examples"] if row["concept"] == "3"]
    assert top == concepts.top_examples(3, 6)["example"].tolist()


def test_the_same_concepts_give_the_same_bytes(written, concepts, tmp_path):
    again = report(concepts, tmp_path / "out", n_top=6).parent
    assert contents(again) == contents(written)


# The folder


@pytest.mark.parametrize("make", ["folder", "metrics", "broken"])
def test_a_folder_of_something_else_is_refused(concepts, tmp_path, make):
    out = tmp_path / "out"
    out.mkdir()
    (out / ("thesis.tex" if make == "folder" else "metrics.json")).write_text(
        '{"kind": "another"}' if make == "metrics" else "{"
    )
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="holds files that are not a report's; expected an empty"):
        report(concepts, out)
    assert contents(tmp_path) == before


def test_a_file_is_refused(concepts, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        report(concepts, tmp_path / "out")


def test_an_earlier_report_is_replaced_and_other_files_stay(small, tmp_path):
    out = tmp_path / "deep" / "out"
    report(Concepts(*planted(k=6, shapes=SMALL)), out)
    (out / "notes.txt").write_text("mine")
    page = report(small, str(out), title="Second")
    assert page == out / "index.html"
    assert "Second" in page.read_text(encoding="utf-8")
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "concepts/005.html").exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_used(small, tmp_path):
    assert report(small, tmp_path).is_file()


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    fit, store = planted()
    out = report(Concepts(fit, store), tmp_path / "out").parent
    before = contents(tmp_path)
    del store.arrays["input.2"]
    with pytest.raises(KeyError):
        report(Concepts(fit, store), out)
    with pytest.raises(KeyError):
        report(Concepts(fit, store), tmp_path / "new")
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["n_top", "n_neurons", "n_classes", "n_examples"])
def test_counts_are_positive(concepts, tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} = 0; expected at least 1"):
        report(concepts, tmp_path / "out", **{name: 0})


@pytest.mark.parametrize("module", ["jinja2", "matplotlib", "PIL"])
def test_absent_modules_name_the_extra(concepts, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"cofactor\[report\]"):
        report(concepts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_importing_needs_no_extra():
    code = (
        "import sys\n"
        "for name in ('jinja2', 'matplotlib', 'PIL'): sys.modules[name] = None\n"
        "import cofactor.report\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.slow
def test_a_full_disk_leaves_the_earlier_report(concepts, written, small_disk):
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    files = sum(1 for path in written.rglob("*"))
    disk = small_disk(size * 3 // 2 // 1024 + 4 * files)
    page = report(concepts, disk / "out", n_top=6)
    before = {path: path.read_bytes() for path in (disk / "out").rglob("*") if path.is_file()}
    with pytest.raises(OSError, match="No space left on device"):
        report(concepts, disk / "out", n_top=6)
    found = {path: path.read_bytes() for path in (disk / "out").rglob("*") if path.is_file()}
    assert found == before
    assert [path.name for path in disk.iterdir()] == ["out"]
    shutil.rmtree(disk / "out")
    assert report(concepts, disk / "out", n_top=6) == page
