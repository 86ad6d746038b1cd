"""The pictures of a report: sheets of examples, concepts and maps, and plots."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from PIL import Image

from cofactor.concepts import Concepts
from cofactor.report import report
from cofactor.report._order import by_similarity
from cofactor.report._plots import draw_plots
from cofactor.report._sprites import write_sheet
from fake_fit import planted
from report_pages import contents, pages_of, pixels_of, sprite_of


@pytest.fixture(scope="module")
def concepts():
    return Concepts(*planted())


@pytest.fixture(scope="module")
def written(concepts, tmp_path_factory):
    return report(concepts, tmp_path_factory.mktemp("report") / "out", n_top=6).parent


def test_sheets_hold_the_pixels_of_the_store(written, concepts):
    store, size = concepts.store, (6, 8)
    expected = np.stack([store.arrays[f"input.{c}"].reshape(-1, *size) for c in range(3)], axis=-1)
    expected = np.rint(255 * expected)
    for r in range(4):
        for place, example in enumerate(concepts.top_examples(r, 6)["example"]):
            shown = sprite_of(written / f"images/top/{r:03}.png", place, *size)
            np.testing.assert_array_equal(shown, expected[example])
            if place < 4:
                shown = sprite_of(written / "images/mosaics.png", 4 * r + place, *size)
                np.testing.assert_array_equal(shown, expected[example])
        image = sprite_of(written / "images/concepts.png", r, *size)
        np.testing.assert_array_equal(image, np.rint(255 * concepts.concept_image(r)))
        masked = concepts.masked_examples(r, 6)
        for place, picture in enumerate(masked):
            shown = sprite_of(written / f"images/masked/{r:03}.png", place, *size)
            np.testing.assert_array_equal(shown, np.rint(255 * picture))


def test_examples_are_lit_by_the_maps_of_a_concept(written, concepts):
    """A row of the sheet per layer with positions; all examples are on one scale."""
    for r in range(4):
        examples = concepts.top_examples(r, 6)["example"]
        maps = concepts.saliency(r, "conv", examples)
        pictures = np.rint(255 * concepts.images(examples))
        for place, (picture, light) in enumerate(zip(pictures, maps / maps.max(), strict=True)):
            shown = sprite_of(written / f"images/saliency/{r:03}.png", place, 6, 8)
            for y, x, channel in np.ndindex(shown.shape):
                dark = picture[y, x].mean() / 4
                expected = dark + light[y, x] * (picture[y, x, channel] - dark)
                assert abs(shown[y, x, channel] - expected) <= 0.5 + 1e-9


def test_grey_examples_are_lit_too(tmp_path):
    fit, store = planted(shapes={"input.0": (6, 8), "conv": (2, 3, 4)})
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    assert pixels_of(folder / "images/saliency/000.png").shape == (6, 8 * 8)


def test_thumbnails_are_in_the_order_of_the_examples(tmp_path):
    """WebP rounds: flat pictures of different grey come back within a few steps."""
    fit, store = planted(n_examples=300, shapes={"input.0": (6, 8)})
    grey = np.linspace(0, 1, 300, dtype=np.float32)
    store.arrays = {view: np.repeat(grey[:, None], 48, axis=1) for view in store.arrays}
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    sheets = sorted((folder / "images/examples").iterdir())
    assert [sheet.name for sheet in sheets] == ["000.webp", "001.webp"]
    for example in (0, 17, 255, 256, 299):
        shown = sprite_of(sheets[example // 256], example % 256, 6, 8)
        assert abs(shown.mean() - 255 * grey[example]) < 3


def test_maps_are_as_opaque_as_the_concept_is_strong(written, concepts):
    for r in range(4):
        image = sprite_of(written / "images/positions/conv.png", r, 3, 4)
        positions = concepts.position_map("conv", r)
        np.testing.assert_array_equal(image[..., 3], np.rint(255 * positions / positions.max()))
        strip = sprite_of(written / "images/channels/fc.png", r, 1, 7)
        row = concepts.nmf.components_["fc"][r].astype(float)
        np.testing.assert_array_equal(strip[0, :, 3], np.rint(255 * row / row.max()))


def test_neurons_have_the_map_of_their_channel(written, concepts):
    place = 0
    for r in range(4):
        maps = concepts.nmf.components_["conv"][r].reshape(5, 3, 4).astype(float)
        for channel in concepts.neurons("conv", r, 5)["channel"]:
            image = sprite_of(written / "images/neurons/conv.png", place, 3, 4)
            expected = np.rint(255 * maps[channel] / maps[channel].max())
            np.testing.assert_array_equal(image[..., 3], expected)
            place += 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels(channels, tmp_path):
    fit, store = planted(shapes={f"input.{c}": (6, 8) for c in range(channels)})
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    for path in (*folder.glob("images/top/*"), folder / "images/concepts.png"):
        assert pixels_of(path).shape[2:] == (() if channels == 1 else (3,))


def test_pixels_may_be_stored_as_bytes(tmp_path):
    fit, store = planted(shapes={f"input.{c}": (6, 8) for c in range(2)})
    store.arrays = {view: np.rint(255 * pixels) for view, pixels in store.arrays.items()}
    concepts = Concepts(fit, store)
    folder = report(concepts, tmp_path / "out").parent
    example = int(concepts.top_examples(0, 1)["example"][0])
    picture = sprite_of(folder / "images/top/000.png", 0, 6, 8)
    np.testing.assert_array_equal(picture[..., 1], store.arrays["input.1"][example].reshape(6, 8))


def test_large_images_are_reduced(tmp_path):
    fit, store = planted(k=1, shapes={f"input.{c}": (100, 200) for c in range(3)})
    folder = report(Concepts(fit, store), tmp_path / "out", n_top=1).parent
    assert pixels_of(folder / "images/top/000.png").shape == (64, 128, 3)
    assert pixels_of(folder / "images/examples/000.webp").shape == (4 * 32, 16 * 64, 3)


def test_long_profiles_keep_their_maxima(tmp_path):
    fit, store = planted(k=1, shapes={"fc": (1000,)})
    fit.components_["fc"][:] = 0
    fit.components_["fc"][0, 777] = 1
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    strip = pixels_of(folder / "images/channels/fc.png")
    assert strip.shape == (1, 128, 4)
    assert np.flatnonzero(strip[0, :, 3]).tolist() == [777 * 128 // 1000]


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_sheets_of_any_number(tmp_path, count):
    pictures = [np.full((2, 3), 10 * place + 5, np.uint8) for place in range(count)]
    sprites = write_sheet(pictures, "deep/sheet.png", tmp_path, columns=4)
    sheet = sprites[0].sheet
    assert (sheet.columns, sheet.rows) == (min(4, count), -(-count // 4))
    for place, sprite in enumerate(sprites):
        np.testing.assert_array_equal(
            sprite_of(tmp_path / "deep/sheet.png", place, 2, 3), pictures[place]
        )
        # CSS places the picture so that the part x of it lies on the part x of the box.
        left = sprite.x / 100 * (sheet.columns - 1)
        top = sprite.y / 100 * (sheet.rows - 1)
        assert (round(top), round(left)) == divmod(place, sheet.columns)
    assert write_sheet([], "none.png", tmp_path, columns=4) == []


def test_images_have_alternatives_and_sizes(written):
    for page in pages_of(written):
        for tag, found in page.tags:
            if tag == "img":
                assert found["alt"]
                assert int(found["width"]) > 0
                assert int(found["height"]) > 0
            if "sprite" in found.get("class", ""):
                assert found.get("aria-label") or found.get("aria-hidden") == "true"


# Plots


def lines_of(path):
    """Points of the paths that a plot draws, by colour, in the units of the SVG."""
    lines = {}
    for points, style in re.findall(r'<path d="(M [^"]*)" [^>]*style="([^"]*)"', path.read_text()):
        colour = re.search(r"stroke: (#\w+)", style)
        if colour:
            numbers = np.array(re.findall(r"-?\d+(?:\.\d+)?", points), float).reshape(-1, 2)
            lines.setdefault(colour[1], []).append(numbers)
    return lines


def test_plots_are_drawn_from_the_csv_files(written, tmp_path):
    """A curve has the shape of its column, also after the file was edited."""
    (tmp_path / "images").mkdir()
    for name, content in contents(written / "tables").items():
        (tmp_path / "tables" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "tables" / name).write_bytes(content)
    edited = np.array([0.9, 0.7, 0.75, 0.2, 0.1])
    with (tmp_path / "tables/loss.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pass", "loss"])
        writer.writerows(zip(range(1, 6), edited, strict=True))
    plots = draw_plots(tmp_path, {"conv": "conv"})
    (line,) = [
        part for part in lines_of(tmp_path / plots["loss"].light)["#e8590c"] if len(part) == 5
    ]
    drawn = (line[:, 1] - line[0, 1]) / (line[-1, 1] - line[0, 1])
    np.testing.assert_allclose(drawn, (edited - edited[0]) / (edited[-1] - edited[0]), atol=1e-5)


def test_dark_plots_differ_in_colours_alone(written):
    for path in (written / "images/plots").glob("*-light.svg"):
        light = path.read_text()
        dark = path.with_name(path.name.replace("-light", "-dark")).read_text()
        assert light != dark
        assert re.sub(r"#[0-9a-f]{6}", "", light) == re.sub(r"#[0-9a-f]{6}", "", dark)


def test_names_are_no_formulas(tmp_path):
    views = {"_private": (3,), "$a$": (4,), "plain": (2,)}
    fit, store = planted(shapes=views)
    folder = report(Concepts(fit, store), tmp_path / "out").parent
    drawing = (folder / "images/plots/view_loss-light.svg").read_text()
    for name in views:
        assert re.search(rf">\s*{re.escape(name)}</text>", drawing)


# The order of the map


def test_like_concepts_are_neighbours():
    random = np.random.default_rng(3)
    blocks = np.repeat(np.arange(4), 5)
    shuffled = random.permutation(20)
    similarity = np.where(blocks[:, None] == blocks, 0.8, 0.1) + 0.05 * random.random((20, 20))
    similarity = (similarity + similarity.T) / 2
    order = by_similarity(similarity[np.ix_(shuffled, shuffled)])
    assert sorted(order) == list(range(20))
    assert (np.diff(blocks[shuffled][order]) != 0).sum() == 3


@pytest.mark.parametrize("k", [1, 2])
def test_orders_of_few(k):
    assert by_similarity(np.eye(k)).tolist() == list(range(k))


def test_pictures_of_a_sheet_are_files_that_open(written):
    for name in contents(written / "images"):
        if not name.endswith(".svg"):
            with Image.open(written / "images" / name) as image:
                image.verify()
