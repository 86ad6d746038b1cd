"""The pictures of a report: examples, concepts and maps of layers, as sheets of sprites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table, mask_examples, saliency_maps
from cofactor.concepts._pictures import to_picture
from cofactor.report._saliency import has_positions
from cofactor.report._sprites import Sheet, Sprite, write_sheet
from cofactor.report._tables import file_names

# Read by eye on white and on near-black alike; the style sheet's bars have it too.
HEAT = (232, 89, 12)
LARGEST_THUMBNAIL = 64
N_MASKED = 8
N_SALIENT = 8
N_MOSAIC = 4
_LARGEST_STRIP = 128
_DARK = 0.25
# Examples of one sheet of thumbnails: few enough that those in sight load at once.
_PER_SHEET = 256
_PER_ROW = 16


@dataclass
class Images:
    """Sprites by what they show; empty where there is nothing to show."""

    top: dict[int, list[Sprite]] = field(default_factory=dict)
    masked: dict[int, list[Sprite]] = field(default_factory=dict)
    saliency: dict[int, dict[str, list[Sprite]]] = field(default_factory=dict)
    mosaics: dict[int, list[Sprite]] = field(default_factory=dict)
    concepts: list[Sprite] = field(default_factory=list)
    positions: dict[str, list[Sprite]] = field(default_factory=dict)
    channels: dict[str, list[Sprite]] = field(default_factory=dict)
    neurons: dict[str, list[Sprite]] = field(default_factory=dict)
    thumbnails: list[Sheet] = field(default_factory=list)


def write_images(concepts: Concepts, tables: Mapping[str, Table], folder: Path) -> Images:
    """Write all sheets below ``folder/images``."""
    images = Images()
    (folder / "images").mkdir()
    if concepts.pixel_views:
        pictures = [to_picture(concepts.concept_image(r)) for r in range(concepts.n_concepts)]
        images.concepts = write_sheet(pictures, "images/concepts.png", folder, 10)
        if _has_pixels(concepts):
            _write_top_examples(concepts, tables["top_examples"], folder, images)
            _write_thumbnails(concepts, tables["examples"]["example"], folder, images)
    for layer, slug in file_names(concepts.layers).items():
        _write_maps(concepts, layer, slug, folder, images)
        _write_neurons(concepts, layer, slug, tables[f"neurons-{slug}"], folder, images)
    return images


def _has_pixels(concepts: Concepts) -> bool:
    store = concepts.store
    return store is not None and all(view in store.views for view in concepts.pixel_views)


def _write_top_examples(concepts: Concepts, top: Table, folder: Path, images: Images) -> None:
    """Write the strongest examples of every concept: plain, masked, lit, and as a tile."""
    rows = np.unique(top["example"])
    known: dict[int, NDArray[np.float64]] = {}
    for part, pixels in _in_blocks(concepts, rows):
        known |= dict(zip(part.tolist(), pixels, strict=True))
    mosaics: list[NDArray[np.uint8]] = []
    owners: list[int] = []
    for r in range(concepts.n_concepts):
        shown = [known[row] for row in top["example"][top["concept"] == r].tolist()]
        pictures = [to_picture(image) for image in shown]
        images.top[r] = write_sheet(pictures, f"images/top/{r:03}.png", folder, 8)
        masked = []
        if shown:
            kept = mask_examples(np.stack(shown[:N_MASKED]), concepts.concept_image(r))
            masked = [to_picture(image) for image in kept]
        images.masked[r] = write_sheet(masked, f"images/masked/{r:03}.png", folder, 8)
        weights = top["weight"][top["concept"] == r][:N_SALIENT]
        _write_saliency(concepts, r, pictures[:N_SALIENT], weights, folder, images)
        mosaics += [to_picture(image, LARGEST_THUMBNAIL) for image in shown[:N_MOSAIC]]
        owners += [r] * len(shown[:N_MOSAIC])
    for r, sprite in zip(
        owners, write_sheet(mosaics, "images/mosaics.png", folder, 20), strict=True
    ):
        images.mosaics.setdefault(r, []).append(sprite)


def _write_saliency(
    concepts: Concepts,
    r: int,
    pictures: list[NDArray[np.uint8]],
    weights: NDArray[Any],
    folder: Path,
    images: Images,
) -> None:
    """Write examples lit by the maps of a concept, a row of the sheet per layer."""
    layers = [layer for layer in concepts.layers if has_positions(concepts.shape(layer))]
    size = pictures[0].shape[:2] if pictures else ()
    drawn = []
    for layer in layers if pictures else ():
        maps = saliency_maps(weights, concepts.position_map(layer, r), size)
        maps /= maps.max() or 1
        drawn += [_lit(*pair) for pair in zip(pictures, maps, strict=True)]
    sprites = write_sheet(drawn, f"images/saliency/{r:03}.png", folder, max(len(pictures), 1))
    images.saliency[r] = {
        layer: sprites[place * len(pictures) : (place + 1) * len(pictures)]
        for place, layer in enumerate(layers if pictures else ())
    }


def _lit(picture: NDArray[np.uint8], saliency: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Light a picture by a map in [0, 1]: where that is 0, it is grey and dark."""
    colours = picture[..., None] if picture.ndim == 2 else picture
    light = saliency[..., None]
    dark = _DARK * colours.mean(axis=2, keepdims=True)
    drawn: NDArray[np.uint8] = np.rint(light * colours + (1 - light) * dark).astype(np.uint8)
    return drawn[..., 0] if picture.ndim == 2 else drawn


def _write_thumbnails(
    concepts: Concepts, rows: NDArray[np.intp], folder: Path, images: Images
) -> None:
    for number, (_, pixels) in enumerate(_in_blocks(concepts, rows)):
        pictures = [to_picture(image, LARGEST_THUMBNAIL) for image in pixels]
        path = f"images/examples/{number:03}.webp"
        images.thumbnails.append(write_sheet(pictures, path, folder, _PER_ROW)[0].sheet)


def _in_blocks(
    concepts: Concepts, rows: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Yield up to 256 rows at a time and their images (m, height, width, channels) in [0, 1]."""
    for start in range(0, len(rows), _PER_SHEET):
        part = rows[start : start + _PER_SHEET]
        yield part, concepts.images(part)


def _write_maps(concepts: Concepts, layer: str, slug: str, folder: Path, images: Images) -> None:
    shape = concepts.shape(layer)
    every = range(concepts.n_concepts)
    if has_positions(shape):
        maps = [_heat(concepts.position_map(layer, r)) for r in every]
        path = f"images/positions/{slug}.png"
        images.positions[layer] = write_sheet(maps, path, folder, 10)
    if len(shape) in (1, 3):
        profiles: Sequence[NDArray[Any]] = (
            [concepts.channel_profile(layer, r) for r in every]
            if len(shape) == 3
            else list(concepts.nmf.components_[layer])
        )
        strips = [_heat(_strip(profile)) for profile in profiles]
        images.channels[layer] = write_sheet(strips, f"images/channels/{slug}.png", folder, 1)


def _write_neurons(
    concepts: Concepts, layer: str, slug: str, table: Table, folder: Path, images: Images
) -> None:
    """Write the map of the channel of every neuron in the table, for layers with positions."""
    if layer not in images.positions:
        return
    H = concepts.nmf.components_[layer]
    shape = concepts.shape(layer)
    maps = [
        _heat(np.asarray(H[r].reshape(shape)[channel], np.float64))
        for r, channel in zip(table["concept"].tolist(), table["channel"].tolist(), strict=True)
    ]
    images.neurons[layer] = write_sheet(maps, f"images/neurons/{slug}.png", folder, 20)


def _strip(profile: NDArray[Any]) -> NDArray[Any]:
    """Return one row of at most 128 pixels; neighbours that share a pixel show their maximum."""
    n = len(profile)
    starts = np.unique(np.linspace(0, n, min(n, _LARGEST_STRIP), endpoint=False).astype(np.intp))
    return np.maximum.reduceat(np.asarray(profile, np.float64), starts)[None]


def _heat(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw a map in one colour, the more opaque the larger the value, for any background."""
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = HEAT
    pixels[..., 3] = np.rint(255 * values / (values.max() or 1))
    return pixels
