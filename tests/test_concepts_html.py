"""Concepts in a notebook."""

from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

from cofactor.concepts import Concepts
from cofactor.concepts._html import LARGEST_NUMBER
from fake_fit import planted

NAMES = ["<script>alert(1)</script>", '"x', "c&d", "dog"]


def pictures_of(html):
    found = re.findall(r'<img src="data:image/png;base64,([^"]*)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_a_row_per_concept_by_weight():
    concepts = Concepts(*planted())
    html = concepts._repr_html_()
    table = concepts.table()
    order = np.argsort(-table["weight_share"])
    assert re.findall(r'<th scope="row">(\d+)</th>', html) == [str(r) for r in order]
    for r in order:
        for text in (
            table["class_1"][r],
            f"{table['entropy'][r]:.2f}",
            f"{table['weight_share'][r]:.1%}",
            f">{table['cluster_size'][r]}<",
        ):
            assert text in html


def test_pictures_are_the_strongest_examples():
    concepts = Concepts(*planted())
    heaviest = int(np.argmax(concepts.table()["weight_share"]))
    rows = concepts.top_examples(heaviest, 5)["example"]
    expected = np.rint(255 * np.concatenate(list(concepts.images(rows)), axis=1))
    np.testing.assert_array_equal(pictures_of(concepts._repr_html_())[0], expected)


def test_names_are_text():
    html = Concepts(*planted(class_names=NAMES))._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "c&amp;d" in html


@pytest.mark.parametrize("absent", ["store", "pixels", "pillow"])
def test_without_pictures(absent, monkeypatch):
    fit, store = planted(shapes={"fc": (3,)} if absent == "pixels" else {"input.0": (4, 4)})
    if absent == "pillow":
        monkeypatch.setitem(sys.modules, "PIL", None)
    concepts = Concepts(fit) if absent == "store" else Concepts(fit, store)
    html = concepts._repr_html_()
    assert "<img" not in html
    assert html.count("<tr>") == 5


def test_of_many_concepts_the_heaviest_are_shown():
    html = Concepts(*planted(k=LARGEST_NUMBER + 3, shapes={"fc": (3,)}))._repr_html_()
    assert html.count('<th scope="row">') == LARGEST_NUMBER
    assert f"The {LARGEST_NUMBER} heaviest of {LARGEST_NUMBER + 3} concepts." in html


def test_an_empty_concept_has_no_picture():
    fit, store = planted()
    fit.W_[:, 2] = 0
    assert len(pictures_of(Concepts(fit, store)._repr_html_())) == 3
