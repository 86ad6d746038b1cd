"""The images of a report: examples, concepts, maps of layers and the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table
from cofactor.report._curve import draw_loss
from cofactor.report._tables import file_names

# Read by eye on white and on near-black alike; the style sheet's bars have it too.
HEAT = (232, 89, 12)
LARGEST_SIDE = 128
_EXAMPLES_AT_ONCE = 256
_LARGEST_STRIP = 128


@dataclass
class Images:
    """Paths relative to the page, by what they show."""

    examples: dict[int, str] = field(default_factory=dict)
    concepts: dict[int, str] = field(default_factory=dict)
    positions: dict[tuple[int, str], str] = field(default_factory=dict)
    channels: dict[tuple[int, str], str] = field(default_factory=dict)
    loss: dict[str, str] = field(default_factory=dict)
    width: int = 0
    height: int = 0


def write_images(concepts: Concepts, tables: Mapping[str, Table], folder: Path) -> Images:
    """Write all images below ``folder/images`` and return their paths."""
    images = Images()
    (folder / "images").mkdir()
    if concepts.pixel_views:
        images.height, images.width = concepts.shape(concepts.pixel_views[0])
        _write_concepts(concepts, folder, images)
        _write_examples(concepts, np.unique(tables["top_examples"]["example"]), folder, images)
    _write_maps(concepts, folder, images)
    if len(tables.get("loss", ())) > 1:
        images.loss = draw_loss(tables["loss"], folder)
    return images


def _write_concepts(concepts: Concepts, folder: Path, images: Images) -> None:
    (folder / "images" / "concepts").mkdir()
    for r in range(concepts.n_concepts):
        images.concepts[r] = f"images/concepts/{r:03}.png"
        _save_pixels(concepts.concept_image(r), folder / images.concepts[r])


def _write_examples(
    concepts: Concepts, rows: NDArray[np.intp], folder: Path, images: Images
) -> None:
    store = concepts.store
    if store is None or not all(view in store.views for view in concepts.pixel_views):
        return
    (folder / "images" / "examples").mkdir()
    shape = concepts.shape(concepts.pixel_views[0])
    for start in range(0, len(rows), _EXAMPLES_AT_ONCE):
        part = rows[start : start + _EXAMPLES_AT_ONCE]
        channels = [store.read(view, rows=part) for view in concepts.pixel_views]
        pixels = np.stack([np.reshape(c, (len(part), *shape)) for c in channels], axis=-1)
        # Stored either as [0, 1] or as the bytes 0 to 255.
        largest = 255 if pixels.max(initial=0) > 1.5 else 1
        for row, image in zip(part.tolist(), pixels / largest, strict=True):
            images.examples[row] = f"images/examples/{row:06}.png"
            _save_pixels(image, folder / images.examples[row])


def _write_maps(concepts: Concepts, folder: Path, images: Images) -> None:
    (folder / "images" / "maps").mkdir()
    for layer, slug in file_names(concepts.layers).items():
        shape = concepts.shape(layer)
        for r in range(concepts.n_concepts):
            if len(shape) == 3 and shape[1:] != (1, 1):
                images.positions[r, layer] = f"images/maps/{r:03}-{slug}.png"
                _save_heat(concepts.position_map(layer, r), folder / images.positions[r, layer])
            if len(shape) in (1, 3):
                profile = (
                    concepts.channel_profile(layer, r)
                    if len(shape) == 3
                    else concepts.nmf.components_[layer][r]
                )
                images.channels[r, layer] = f"images/maps/{r:03}-{slug}-channels.png"
                _save_heat(_strip(profile), folder / images.channels[r, layer])


def _strip(profile: NDArray[Any]) -> NDArray[Any]:
    """Return one row of at most 128 pixels; neighbours that share a pixel show their maximum."""
    n = len(profile)
    starts = np.unique(np.linspace(0, n, min(n, _LARGEST_STRIP), endpoint=False).astype(np.intp))
    return np.maximum.reduceat(np.asarray(profile, np.float64), starts)[None]


def _save_heat(values: NDArray[Any], path: Path) -> None:
    """Save a map as one colour, the more opaque the larger the value, for any background."""
    from PIL import Image

    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = HEAT
    pixels[..., 3] = np.rint(255 * values / (values.max() or 1))
    Image.fromarray(pixels).save(path, optimize=True)


def _save_pixels(image: NDArray[Any], path: Path) -> None:
    """Save an image (height, width, channels) in [0, 1], at most 128 pixels on a side."""
    from PIL import Image

    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    if pixels.shape[-1] == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3].copy())
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    picture.save(path, optimize=True)
