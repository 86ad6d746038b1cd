"""What a report shows of the network: concepts taken out, layers replaced, views compared."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cofactor.concepts import Concepts, Table
from cofactor.report import report
from fake_fit import FakeStore, planted
from report_pages import Page, contents, of_network, read_tables


@pytest.fixture(scope="module")
def concepts():
    return Concepts(*planted())


@pytest.fixture(scope="module")
def given(concepts):
    return of_network(concepts)


@pytest.fixture(scope="module")
def written(concepts, given, tmp_path_factory):
    return report(concepts, tmp_path_factory.mktemp("report") / "out", n_top=6, **given).parent


def changed(table, **columns):
    return Table({**table.columns, **{name: np.array(c) for name, c in columns.items()}})


def without(table, name):
    return Table({key: column for key, column in table.columns.items() if key != name})


def test_importance_by_class_is_averaged_over_the_examples(written, given):
    by_class, by_concept = given["importance"]
    rows = read_tables(written)["importance"]
    assert [(row["layer"], row["concept"]) for row in rows] == [
        (layer, str(r)) for layer in ("conv", "fc") for r in range(4)
    ]
    for row in rows[:4]:
        parts = [part for part in by_class.rows() if part["concept"] == int(row["concept"])]
        assert int(row["n_examples"]) == sum(part["n_examples"] for part in parts) == 60
        for name in ("kl", "changed", "accuracy", "accuracy_drop"):
            mean = sum(part[name] * part["n_examples"] for part in parts) / 60
            assert float(row[name]) == pytest.approx(mean, rel=1e-12)
    assert [float(row["kl"]) for row in rows[4:]] == by_concept["kl"].tolist()


def test_a_concept_names_the_classes_that_lose_most(written, given):
    by_class = given["importance"][0]
    for r in range(4):
        lost = {
            row["name"]: row["accuracy_drop"] * row["n_examples"]
            for row in by_class.rows()
            if row["concept"] == r and row["accuracy_drop"] > 0
        }
        expected = sorted(lost, key=lambda name: -lost[name])[:3]
        shown = re.search(
            r'<th scope="row">conv</th>(.*?)</tr>', Page(written / f"concepts/{r:03}.html").source,
            re.S,
        )[1]  # fmt: skip
        assert re.findall(r"\b(ant|bee|cat|dog)\b", shown) == expected


def test_the_most_important_concept_is_named(written):
    tables = read_tables(written)
    best = max(tables["importance"], key=lambda row: float(row["kl"]))
    sentence = re.search(r"; concept (\d+) counts most of all", Page(written / "index.html").text)
    assert sentence[1] == best["concept"]
    worst = max(tables["reconstruction"], key=lambda row: float(row["kl"]))
    assert f"It misses most in {worst['layer']}," in Page(written / "layers.html").text


def test_half_of_a_concept_is_in_the_area_that_is_said(written, concepts):
    rows = read_tables(written)["saliency"]
    assert [(row["concept"], row["layer"]) for row in rows] == [(str(r), "conv") for r in range(4)]
    for row in rows:
        weights = sorted(concepts.position_map("conv", int(row["concept"])).ravel(), reverse=True)
        held, count = 0.0, 0
        while held < sum(weights) / 2:
            held, count = held + weights[count], count + 1
        assert float(row["half_area"]) == count / 12
        assert int(row["n_positions"]) == 12


def test_nothing_is_said_of_what_is_not_given(concepts, written, tmp_path):
    folder = report(concepts, tmp_path / "out", n_top=6).parent
    tables = read_tables(folder)
    assert set(read_tables(written)) - set(tables) == {
        "importance", "class_importance", "reconstruction",
    }  # fmt: skip
    for name in ("index.html", "layers.html", "concepts/000.html"):
        text = Page(folder / name).text
        assert "mportance" not in text
        assert "taken out" not in text
        assert "replaced" not in text


def test_without_labels_there_are_no_accuracies(concepts, given, tmp_path):
    bare = Concepts(concepts.nmf, W=concepts.W, shapes={"conv": (5, 3, 4)})
    part = without(without(given["importance"][1], "accuracy"), "accuracy_drop")
    replaced = without(without(given["reconstruction"], "accuracy"), "accuracy_drop")
    folder = report(bare, tmp_path / "out", importance=part, reconstruction=replaced).parent
    tables = read_tables(folder)
    assert list(tables["importance"][0]) == ["layer", "concept", "n_examples", "kl", "changed"]
    assert "cka" not in tables
    assert "accuracy" not in Page(folder / "concepts/000.html").text


def test_cka_of_the_views_that_a_store_has(tmp_path):
    fit, store = planted()
    part = FakeStore(60, {"fc": (7,)}, store.columns, store.attributes)
    folder = report(Concepts(fit, part), tmp_path / "out").parent
    kinds = {(row["view"], row["view_is"]) for row in read_tables(folder)["cka"]}
    assert kinds == {("fc", "captured"), *((view, "reconstructed") for view in fit.components_)}


def test_three_examples_are_too_few_for_cka(tmp_path):
    folder = report(Concepts(*planted(n_examples=3, k=2)), tmp_path / "out").parent
    assert not [name for name in contents(folder) if "cka" in name]


@pytest.mark.parametrize(
    ("argument", "change", "message"),
    [
        ("importance", lambda t: without(t, "kl"), r"lacks kl; expected a table of concept_imp"),
        ("importance", lambda t: changed(t, layer=["x"] * 4), "is of x and the fit has the layers"),
        (
            "importance",
            lambda t: changed(t, concept=[0, 1, 2, 4]),
            "concepts up to 4 and the fit 4",
        ),
        ("importance", lambda t: changed(t, concept=[0, 1, 2, 2]), "a concept of a layer twice"),
        ("reconstruction", lambda t: t, "lacks relative_error; expected a table of reconstruction"),
    ],
)
def test_tables_of_something_else_are_refused(concepts, given, tmp_path, argument, change, message):
    table = change(given["importance"][1])
    with pytest.raises(ValueError, match=message):
        report(concepts, tmp_path / "out", **{argument: table})
    assert not (tmp_path / "out").exists()
