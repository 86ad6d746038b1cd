import csv
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from cofactor._errors import MissingExtraError
from cofactor.concepts import Concepts
from cofactor.report import report
from fake_fit import SHAPES, FakeFit, FakeStore, planted


class Page(HTMLParser):
    """What the tests ask of a page: machine-readable numbers, links and text."""

    def __init__(self, path):
        super().__init__()
        self.numbers, self.links, self.tags = [], [], []
        self._text = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join("".join(self._text).split())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "data":
            self.numbers.append(found["value"])
        self.links += [found[name] for name in ("href", "src", "srcset") if name in found]

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] != "style":
            self._text.append(data)


def read_tables(folder):
    tables = {}
    for path in (folder / "tables").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            tables[path.stem] = list(csv.DictReader(file))
    return tables


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def concepts():
    return Concepts(*planted())


@pytest.fixture(scope="module")
def written(concepts, tmp_path_factory):
    return report(concepts, tmp_path_factory.mktemp("report") / "out", n_top=6).parent


def test_what_is_written(written):
    assert sorted(path.name for path in written.iterdir()) == [
        "images", "index.html", "metrics.json", "tables",
    ]  # fmt: skip
    assert set(read_tables(written)) == {
        "fit", "views", "loss", "scores", "concepts", "class_shares", "superclass_shares",
        "view_shares", "top_examples", "neurons-conv", "neurons-fc",
    }  # fmt: skip
    assert [path.name for path in written.parent.iterdir()] == ["out"]


def test_every_number_of_the_page_is_in_a_table(written):
    cells = {
        cell for rows in read_tables(written).values() for row in rows for cell in row.values()
    }
    numbers = Page(written / "index.html").numbers
    assert len(numbers) > 100
    assert set(numbers) <= cells


def test_every_link_leads_to_a_file_of_the_report(written):
    page = Page(written / "index.html")
    names = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in names
        elif link != "data:,":
            assert (written / link).is_file()
    shown = {link for link in page.links if link.startswith("images/")}
    assert shown == {name for name in contents(written) if name.startswith("images/")}


def test_nothing_is_loaded_from_elsewhere(written):
    text = (written / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|<script|fetch\(", text)


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
    ):
        expected = [{key: str(value) for key, value in row.items()} for row in table.rows()]
        assert tables[name] == expected
    assert [float(row["loss"]) for row in tables["loss"]] == concepts.nmf.loss_history_
    of_two = [int(row["neuron"]) for row in tables["neurons-conv"] if row["concept"] == "2"]
    assert of_two == concepts.neurons("conv", 2, 5)["neuron"].tolist()
    top = [int(row["example"]) for row in tables["top_examples"] if row["concept"] == "3"]
    assert top == concepts.top_examples(3, 6)["example"].tolist()


def test_cards_are_in_the_order_of_weight(written, concepts):
    cards = [attributes["id"] for tag, attributes in Page(written / "index.html").tags
             if tag == "article"]  # fmt: skip
    order = np.argsort(-concepts.table()["weight_share"])
    assert cards == [f"concept-{r}" for r in order]


def test_the_same_concepts_give_the_same_bytes(written, concepts, tmp_path):
    again = report(concepts, tmp_path / "out", n_top=6).parent
    assert contents(again) == contents(written)


def test_images_are_the_pixels_of_the_store(written, concepts):
    example = int(concepts.top_examples(0, 1)["example"][0])
    picture = pixels_of(written / f"images/examples/{example:06}.png")
    for c in range(3):
        expected = concepts.store.pixels[f"input.{c}"][example].reshape(6, 8)
        np.testing.assert_array_equal(picture[..., c], np.rint(255 * expected))
    image = pixels_of(written / "images/concepts/001.png")
    np.testing.assert_array_equal(image, np.rint(255 * concepts.concept_image(1)))


def test_maps_are_as_opaque_as_the_concept_is_strong(written, concepts):
    image = pixels_of(written / "images/maps/001-conv.png")
    positions = concepts.position_map("conv", 1)
    np.testing.assert_array_equal(image[..., 3], np.rint(255 * positions / positions.max()))
    strip = pixels_of(written / "images/maps/001-fc-channels.png")
    row = concepts.nmf.components_["fc"][1].astype(float)
    np.testing.assert_array_equal(strip[0, :, 3], np.rint(255 * row / row.max()))


def test_images_have_alternatives_and_sizes(written):
    for tag, attributes in Page(written / "index.html").tags:
        if tag == "img":
            assert "alt" in attributes
            assert int(attributes["width"]) > 0
            assert int(attributes["height"]) > 0


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels(channels, tmp_path):
    fit, store = planted(shapes={f"input.{c}": (6, 8) for c in range(channels)})
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    shape = (6, 8) if channels == 1 else (6, 8, 3)
    for path in (*folder.glob("images/examples/*"), *folder.glob("images/concepts/*")):
        assert pixels_of(path).shape == shape


def test_pixels_may_be_stored_as_bytes(tmp_path):
    fit, store = planted()
    store.pixels = {view: np.rint(255 * pixels) for view, pixels in store.pixels.items()}
    concepts = Concepts(fit, store)
    folder = report(concepts, tmp_path / "out").parent
    example = int(concepts.top_examples(0, 1)["example"][0])
    picture = pixels_of(folder / f"images/examples/{example:06}.png")
    np.testing.assert_array_equal(picture[..., 1], store.pixels["input.1"][example].reshape(6, 8))


def test_large_images_are_reduced(tmp_path):
    fit, store = planted(k=1, shapes={f"input.{c}": (100, 200) for c in range(3)})
    folder = report(Concepts(fit, store), tmp_path / "out", n_top=1).parent
    (path,) = folder.glob("images/examples/*")
    assert pixels_of(path).shape == (64, 128, 3)


def test_pooled_layers_have_channels_and_no_map(tmp_path):
    folder = report(Concepts(*planted(shapes={"pool": (9, 1, 1)})), tmp_path / "out").parent
    assert (folder / "images/maps/000-pool-channels.png").is_file()
    assert not (folder / "images/maps/000-pool.png").exists()
    headings = re.findall(r'<th scope="col">(\w+)</th>', (folder / "index.html").read_text())
    assert {"channel"} == set(headings) & {"channel", "row", "col", "neuron"}


def test_numbers_that_round_to_zero_have_no_sign(tmp_path):
    fit, store = planted()
    fit.loss_history_ = [-1e-9]
    text = Page(report(Concepts(fit, store), tmp_path / "out").parent / "index.html").text
    assert "0.000 relative loss" in text
    assert "-0.000" not in text


def test_long_profiles_keep_their_maxima(tmp_path):
    fit, store = planted(k=1, shapes={"fc": (1000,)})
    fit.components_["fc"][:] = 0
    fit.components_["fc"][0, 777] = 1
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    strip = pixels_of(folder / "images/maps/000-fc-channels.png")
    assert strip.shape == (1, 128, 4)
    assert np.flatnonzero(strip[0, :, 3]).tolist() == [777 * 128 // 1000]


def test_names_are_text(tmp_path):
    names = ["<script>alert(1)</script>", '"><img src=x>', "c&d", "e{{ 7 * 7 }}"]
    fit, store = planted(class_names=names, shapes={"<b>.conv": (2, 3, 3)})
    page = Page(
        report(Concepts(fit, store), tmp_path / "out", title="<i>T</i>").parent / "index.html"
    )
    assert all(tag != "script" for tag, _ in page.tags)
    assert all(attributes.get("src") != "x" for _, attributes in page.tags)
    for name in (*names, "<b>.conv", "<i>T</i>"):
        assert name in page.text


def test_layers_with_like_names_have_files_of_their_own(tmp_path):
    shapes = {"a/b": (2,), "a b": (3,), "A/B": (4,), "../..": (5,)}
    folder = report(Concepts(*planted(shapes=shapes)), tmp_path / "out").parent
    tables = [name for name in read_tables(folder) if name.startswith("neurons-")]
    assert sorted(tables) == ["neurons--3", "neurons-A-B-2", "neurons-a-b", "neurons-a-b-1"]


def test_what_is_not_known_is_left_out(tmp_path):
    fit, _ = planted()
    bare = FakeFit(fit.W_, fit.components_)
    folder = report(Concepts(bare), tmp_path / "out").parent
    text = Page(folder / "index.html").text
    assert "classes" not in text
    assert "relative loss" not in text
    assert not list(folder.rglob("images/examples")) + list(folder.rglob("*.svg"))
    assert "loss" not in json.loads((folder / "metrics.json").read_text())
    # With shapes there are images of concepts, but none of examples without a store.
    shaped = report(Concepts(bare, shapes=SHAPES), tmp_path / "shaped").parent
    assert list(shaped.rglob("images/concepts/*.png"))
    assert not list(shaped.rglob("images/examples"))


def test_a_store_without_pixels(tmp_path):
    fit, store = planted()
    store = FakeStore(60, {"conv": SHAPES["conv"]}, store.columns, store.attributes)
    folder = report(Concepts(fit, store, shapes=SHAPES), tmp_path / "out").parent
    assert not list(folder.rglob("images/examples"))
    assert "ant" in Page(folder / "index.html").text


@pytest.mark.parametrize("empty", [slice(2, 3), slice(None)])
def test_concepts_without_weight(tmp_path, empty):
    fit, store = planted()
    fit.W_[:, empty] = 0
    fit.loss_history_ = [math.nan, math.inf]
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    assert "This concept is empty" in Page(folder / "index.html").text
    metrics = json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["loss"] is None


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


def test_an_earlier_report_is_replaced_and_other_files_stay(concepts, tmp_path):
    out = tmp_path / "deep" / "out"
    report(Concepts(*planted(k=6)), out)
    (out / "notes.txt").write_text("mine")
    page = report(concepts, str(out), title="Second")
    assert page == out / "index.html"
    assert "Second" in page.read_text(encoding="utf-8")
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "images/concepts/005.png").exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_used(concepts, tmp_path):
    assert report(concepts, tmp_path).is_file()


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    fit, store = planted()
    out = report(Concepts(fit, store), tmp_path / "out").parent
    before = contents(tmp_path)
    del store.pixels["input.2"]
    with pytest.raises(KeyError):
        report(Concepts(fit, store), out)
    with pytest.raises(KeyError):
        report(Concepts(fit, store), tmp_path / "new")
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["n_top", "n_neurons", "n_classes"])
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
