"""Images as bytes that Pillow writes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 128


def to_picture(image: NDArray[Any], largest_side: int = LARGEST_SIDE) -> NDArray[np.uint8]:
    """Turn an image (height, width, channels) in [0, 1] into bytes, reduced where it is large."""
    from PIL import Image

    pixels: NDArray[np.uint8] = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    if pixels.shape[-1] == 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=-1)
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]
    if max(pixels.shape[:2]) <= largest_side:
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((largest_side, largest_side), Image.Resampling.LANCZOS)
    reduced: NDArray[np.uint8] = np.asarray(picture)
    return reduced
