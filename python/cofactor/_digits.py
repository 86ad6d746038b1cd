"""The demo's data and network: scikit-learn's digits at 32x32, and a small ResNet-18 on them.

Importing this file needs torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from cofactor.models import load_weights, resnet18

N_TRAIN = 1000
_SIZE = 32
_LARGEST_INK = 16


class Digits(NamedTuple):
    """Images and labels, apart for training and for all that is reported."""

    train_images: NDArray[np.uint8]  # (1000, 1, 32, 32)
    train_labels: NDArray[np.int64]  # (1000,)
    test_images: NDArray[np.uint8]  # (797, 1, 32, 32)
    test_labels: NDArray[np.int64]  # (797,)


@dataclass(frozen=True)
class Recipe:
    """All that the trained network depends on."""

    seed: int
    width: int = 16
    epochs: int = 4
    batch_size: int = 50
    peak_learning_rate: float = 0.1
    weight_decay: float = 5e-4
    n_train: int = N_TRAIN

    @property
    def n_steps(self) -> int:
        """Number of steps of the optimiser."""
        return self.epochs * (self.n_train // self.batch_size)


def read_digits(seed: int) -> Digits:
    """Enlarge the 8x8 digits to 32x32 and split them at random."""
    data = load_digits()
    small = torch.from_numpy(data.images).float()[:, None] * (255 / _LARGEST_INK)
    large = functional.interpolate(small, size=_SIZE, mode="bicubic", align_corners=False)
    images = large.round().clamp(0, 255).to(torch.uint8).numpy()
    labels = data.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return Digits(images[train], labels[train], images[test], labels[test])


def kept_network(recipe: Recipe, file: Path) -> nn.Module | None:
    """Return the network in `file` if that was trained by this recipe."""
    model = _network(recipe)
    try:
        with safe_open(file, framework="pt") as content:
            if (content.metadata() or {}).get("recipe") != _text(recipe):
                return None
        return load_weights(model, file)
    except (OSError, SafetensorError, ValueError):
        return None


def train_network(
    recipe: Recipe, digits: Digits, file: Path, progress: Callable[[float], None]
) -> nn.Module:
    """Train a network and keep it in `file`.

    Parameters
    ----------
    recipe : Recipe
        How.
    digits : Digits
        On what; the test images are not looked at.
    file : Path
        A safetensors file to write, with the recipe in its metadata.
    progress : callable
        Called with the loss after every step.

    Returns
    -------
    torch.nn.Module
        The network.
    """
    # The caller's random numbers go on as if nothing had been drawn here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = _network(recipe)
        _train(model, recipe, digits, progress)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file(model.state_dict(), unfinished, metadata={"recipe": _text(recipe)})
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return model


def _train(
    model: nn.Module, recipe: Recipe, digits: Digits, progress: Callable[[float], None]
) -> None:
    images = torch.from_numpy(digits.train_images).float() / 255
    labels = torch.from_numpy(digits.train_labels)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.peak_learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_learning_rate, total_steps=recipe.n_steps
    )
    model.train()
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(labels)).split(recipe.batch_size):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress(loss.item())


def _network(recipe: Recipe) -> nn.Module:
    return resnet18(num_classes=10, width=recipe.width, in_channels=1)


def _text(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)
