"""The pages of a report: their numbers, links and names."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pytest

from cofactor.concepts import Concepts
from cofactor.report import report
from fake_fit import SHAPES, FakeFit, FakeStore, planted
from report_pages import Page, contents, is_rounded, of_network, pages_of, read_tables

NAMES = ["<script>alert(1)</script>", '"><img src=x>', "c&d", "e{{ 7 * 7 }}</script>"]


@pytest.fixture(scope="module")
def concepts():
    return Concepts(*planted())


@pytest.fixture(scope="module")
def written(concepts, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "out"
    return report(concepts, out, n_top=6, **of_network(concepts)).parent


def test_every_number_is_that_of_its_cell(written):
    tables = read_tables(written)
    count, shown = 0, set()
    for page in pages_of(written):
        for text, value, of in page.numbers:
            table, row, column = of.split("/")
            assert tables[table][int(row)][column] == value, (page.path, of)
            assert is_rounded(text, float(value)), (page.path, of, text, value)
            count += 1
            shown.add(table)
    assert count > 400
    assert {"cka", "saliency", "importance", "class_importance", "reconstruction"} <= shown


def test_sentences_have_no_other_numbers(written):
    """Only the ends of scales and "8 to 8"-like sizes may be written out."""
    for page in pages_of(written):
        spelled = set(re.findall(r"\d+", " ".join(page.prose)))
        assert spelled <= {"0", "1", "100"}, (page.path, spelled)


def test_every_figure_has_a_sentence(written):
    for page in pages_of(written):
        figures = sum(tag == "figure" for tag, _ in page.tags)
        assert figures == sum(tag == "figcaption" for tag, _ in page.tags)


def test_every_link_leads_to_a_file_of_the_report(written):
    for page in pages_of(written):
        for link in page.links:
            file, _, anchor = link.partition("#")
            if link == "data:,":
                continue
            target = page.path if not file else (page.path.parent / file).resolve()
            assert target.is_relative_to(written)
            assert target.is_file(), link
            if anchor and target.name != "examples.html":
                ids = {found["id"] for _, found in Page(target).tags if "id" in found}
                assert anchor in ids, link


def test_every_image_is_shown(written):
    shown = {
        str((page.path.parent / link).resolve().relative_to(written))
        for page in pages_of(written)
        for link in page.links
        if "images/" in link
    }
    data = json.loads(embedded(written))
    shown |= {sheet["path"] for sheet in data["sheets"]["files"]}
    assert shown == {name for name in contents(written) if name.startswith("images/")}


def test_nothing_is_loaded_from_elsewhere(written):
    for name, content in contents(written).items():
        if name.endswith((".html", ".css", ".js")):
            assert not re.search(rb"https?:|@import|fetch\(|XMLHttp|import\(", content), name


def test_a_page_per_concept_in_the_order_of_weight(written, concepts):
    order = np.argsort(-concepts.table()["weight_share"]).tolist()
    assert len(list((written / "concepts").iterdir())) == concepts.n_concepts
    for before, after in itertools.pairwise(order):
        links = {found.get("rel"): found["href"] for tag, found in
                 Page(written / f"concepts/{before:03}.html").tags if tag == "a"}  # fmt: skip
        assert links["next"] == f"{after:03}.html"
    page = Page(written / "index.html")
    rows = re.findall(r'<th scope="row" data-sort="(\d+)"', page.source)
    assert [int(row) for row in rows] == order


def test_the_map_is_in_the_order_of_its_table(written):
    tiles = re.findall(
        r'<li data-text="[^"]*"><a href="concepts/(\d+).html"', Page(written / "index.html").source
    )
    rows = read_tables(written)["concept_map"]
    assert [int(tile) for tile in tiles] == [int(row["concept"]) for row in rows]
    sides = np.array([float(row["side"]) for row in rows])
    weights = np.array([float(row["weight_share"]) for row in rows])
    np.testing.assert_allclose(sides**2, weights / weights.max())


def embedded(folder):
    source = (folder / "examples.html").read_text(encoding="utf-8")
    return re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.S)[1]


def test_the_embedded_data_is_the_tables(written):
    data, tables = json.loads(embedded(written)), read_tables(written)
    columns = data["examples"]
    for row, cells in enumerate(tables["examples"]):
        assert set(cells) == set(columns)
        for name, cell in cells.items():
            value = columns[name][row]
            if name in ("class", "predicted_class"):
                value = data["classes"][value]
            assert str(value) == cell
    starts = data["concepts"]["start"]
    for table, name, columns in (
        ("example_concepts", "concepts", ("concept", "membership")),
        ("neighbors", "neighbors", ("distance",)),
    ):
        starts = data[name]["start"]
        owners = np.repeat(data["examples"]["example"], np.diff(starts))
        assert [int(row["example"]) for row in tables[table]] == owners.tolist()
        for column in columns:
            assert [str(v) for v in data[name][column]] == [row[column] for row in tables[table]]
    numbers = np.array(data["examples"]["example"])
    assert numbers[data["neighbors"]["place"]].tolist() == [
        int(row["neighbor"]) for row in tables["neighbors"]
    ]


def test_fewer_examples_are_listed_where_so_asked(concepts, tmp_path):
    folder = report(concepts, tmp_path / "out", n_examples=7).parent
    data, tables = json.loads(embedded(folder)), read_tables(folder)
    listed = data["examples"]["example"]
    assert len(listed) == 7
    assert listed[0] == 0
    assert set(np.diff(listed)) <= {8, 9}
    assert {int(row["neighbor"]) for row in tables["neighbors"]} <= set(listed)
    page = Page(folder / "examples.html")
    assert "7 of them, spread evenly, are listed." in page.text


def test_names_are_text(tmp_path):
    fit, store = planted(class_names=NAMES, shapes={"<b>.conv": (2, 3, 3), "$x_1": (3,)})
    folder = report(Concepts(fit, store), tmp_path / "out", title="<i>T</i>").parent
    for page in pages_of(folder):
        scripts = [found for tag, found in page.tags if tag == "script"]
        assert all("src" in found or found["type"] == "application/json" for found in scripts)
        assert all(found.get("src") != "x" for _, found in page.tags)
        assert (
            not {"b", "i"} & {tag for tag, found in page.tags if not found}
            or "<b>.conv" in page.text
        )
    index = Page(folder / "index.html")
    for name in (*NAMES, "<b>.conv", "$x_1", "<i>T</i>"):
        assert name in index.text
    assert "<" not in embedded(folder)
    assert json.loads(embedded(folder))["classes"] == NAMES


def test_layers_with_like_names_have_files_of_their_own(tmp_path):
    shapes = {"a/b": (2,), "a b": (3,), "A/B": (4,), "../..": (5,)}
    folder = report(Concepts(*planted(shapes=shapes)), tmp_path / "out").parent
    tables = [name for name in read_tables(folder) if name.startswith("neurons-")]
    assert sorted(tables) == ["neurons--3", "neurons-A-B-2", "neurons-a-b", "neurons-a-b-1"]


def test_what_is_not_known_is_left_out(tmp_path):
    fit, _ = planted()
    bare = FakeFit(fit.W_, fit.components_)
    folder = report(Concepts(bare), tmp_path / "out").parent
    for page in pages_of(folder):
        assert "classes" not in page.text
        assert "relative loss" not in page.text
        assert "mpurity" not in page.text
    assert not [
        name for name in contents(folder) if re.search(r"webp|loss|images.top|accuracy", name)
    ]
    assert "loss" not in json.loads((folder / "metrics.json").read_text())
    # With shapes there are images of concepts, but none of examples without a store.
    shaped = contents(report(Concepts(bare, shapes=SHAPES), tmp_path / "shaped").parent)
    assert "images/concepts.png" in shaped
    assert not [name for name in shaped if re.search(r"images/(top|examples|masked)", name)]


def test_a_store_without_pixels(tmp_path):
    fit, store = planted()
    store = FakeStore(60, {"conv": SHAPES["conv"]}, store.columns, store.attributes)
    folder = report(Concepts(fit, store, shapes=SHAPES), tmp_path / "out").parent
    assert not [name for name in contents(folder) if "images/top" in name]
    assert "ant" in Page(folder / "index.html").text


@pytest.mark.parametrize("k", [1, 2])
def test_few_concepts(tmp_path, k):
    folder = report(Concepts(*planted(k=k, shapes={"fc": (3,)})), tmp_path / "out").parent
    assert len(pages_of(folder)) == 3 + k


@pytest.mark.parametrize("empty", [slice(2, 3), slice(None)])
def test_concepts_without_weight(tmp_path, empty):
    fit, store = planted(shapes={"input.0": (4, 4), "fc": (3,)})
    fit.W_[:, empty] = 0
    fit.loss_history_ = [math.nan, math.inf]
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    assert "This concept is empty" in Page(folder / "concepts/002.html").text
    metrics = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["loss"] is None
    json.loads(embedded(folder), parse_constant=pytest.fail)


def test_pooled_layers_have_channels_and_no_map(tmp_path):
    folder = report(Concepts(*planted(shapes={"pool": (9, 1, 1)})), tmp_path / "out").parent
    assert (folder / "images/channels/pool.png").is_file()
    assert not (folder / "images/positions").exists()
    headings = re.findall(r'<th scope="col">(\w+)</th>', (folder / "concepts/000.html").read_text())
    assert {"channel"} == set(headings) & {"channel", "row", "col", "neuron"}


def test_numbers_that_round_to_zero_have_no_sign(tmp_path):
    fit, store = planted(shapes={"fc": (3,)})
    fit.loss_history_ = [-1e-9]
    text = Page(report(Concepts(fit, store), tmp_path / "out").parent / "index.html").text
    assert "0.000 relative loss" in text
    assert "-0.000" not in text
