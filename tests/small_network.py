"""A small network to capture, and what its activations are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


class Net(nn.Module):
    """Two convolutions, one ReLU module that is called twice, in place, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 5)
        self.unused = nn.Identity()
        self.head_runs = 0

    def forward(self, x: Any) -> Any:
        x = self.relu(self.conv1(x))
        x = self.avgpool(self.relu(self.conv2(x)))
        self.head_runs += 1
        return self.fc(self.drop(x.flatten(1)))


def seeded() -> Any:
    return torch.Generator().manual_seed(0)


def batches(images: Any, size: int = 4) -> list[tuple[Any, Any]]:
    labels = torch.arange(len(images))
    return [(images[i : i + size], labels[i : i + size]) for i in range(0, len(images), size)]


def normalised(raw: Any) -> Any:
    mean, std = (torch.tensor(m).view(1, 3, 1, 1) for m in (MEAN, STD))
    return (raw.float() / 255 - mean) / std


def expected(model: Net, images: Any) -> dict[str, np.ndarray[Any, Any]]:
    with torch.no_grad():
        conv1 = model.conv1(images)
        conv2 = model.conv2(conv1.relu())
        pooled = conv2.relu().mean((2, 3))
        arrays = {
            "conv1": conv1,
            "conv2": conv2,
            "relu": conv1.relu(),
            "relu_1": conv2.relu(),
            "avgpool": pooled,
            "fc": model.fc(pooled),
        }
        return {name: a.flatten(1).half().float().numpy() for name, a in arrays.items()}
