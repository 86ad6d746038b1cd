"""What a concept looks like on images: the part of them that is its own, and where it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_factor


def mask_examples(images: ArrayLike, concept_image: ArrayLike) -> NDArray[np.float64]:
    """Keep of images what a concept has above its median, channel by channel.

    A pixel of a channel is set to zero where the concept image of that channel is at or below its
    median over the positions.

    Parameters
    ----------
    images : array-like of shape (n, height, width, n_channels)
        Examples.
    concept_image : array-like of shape (height, width, n_channels)
        Result of `concept_image`.

    Returns
    -------
    ndarray of shape (n, height, width, n_channels), float64
        The images, masked.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    Section 4 of arXiv:2012.12516.

    Examples
    --------
    >>> image = [[[0.2], [0.4], [0.9]]]
    >>> mask_examples([image], [[[1.0], [0.5], [0.1]]])[0, :, :, 0]
    array([[0.2, 0. , 0. ]])
    """
    pixels = np.asarray(images, np.float64)
    concept = np.asarray(concept_image, np.float64)
    if concept.ndim != 3 or pixels.ndim != 4 or pixels.shape[1:] != concept.shape:
        raise ValueError(
            f"images have shape {pixels.shape} and the concept image {concept.shape}; expected "
            "(n, height, width, channels) and (height, width, channels)"
        )
    masked: NDArray[np.float64] = pixels * (concept > np.median(concept, axis=(0, 1)))
    return masked


def saliency_maps(
    weights: ArrayLike, position_map: ArrayLike, size: Sequence[int]
) -> NDArray[np.float64]:
    """Say where on images a concept of a layer is.

    ``W[i, r]`` times the concept's map over the layer's positions, brought to the size of the
    images by linear interpolation between the centres of the layer's positions.

    Parameters
    ----------
    weights : array-like of shape (n,)
        ``W[:, r]`` for the images.
    position_map : array-like of shape (rows, columns)
        Result of `position_map` for the layer.
    size : (int, int)
        Height and width of the images.

    Returns
    -------
    ndarray of shape (n, height, width), float64
        Maps in the units of W times H. All have one pattern: the factorization places a concept in
        a layer once for all examples, and says of an example only how much of it there is.

    Raises
    ------
    ValueError
        If the arguments do not have these shapes, or hold negative or non-finite values.

    Examples
    --------
    >>> saliency_maps([1.0, 0.5], [[0.0, 4.0]], size=(1, 4))
    array([[[0. , 1. , 3. , 4. ]],
    <BLANKLINE>
           [[0. , 0.5, 1.5, 2. ]]])
    """
    from scipy.ndimage import zoom

    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size = {tuple(size)}; expected (height, width) of the images")
    maps = as_factor(position_map, "position_map").astype(np.float64)
    strength = as_factor(np.asarray(weights)[None], "weights")[0].astype(np.float64)
    if not maps.size:
        raise ValueError(f"position_map has shape {maps.shape}; expected at least one position")
    factors = (size[0] / maps.shape[0], size[1] / maps.shape[1])
    large: NDArray[np.float64] = zoom(maps, factors, order=1, mode="nearest", grid_mode=True)
    placed: NDArray[np.float64] = strength[:, None, None] * large
    return placed
