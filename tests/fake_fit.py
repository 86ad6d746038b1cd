"""A fit and a store of planted concepts, with the attributes that the analyses read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

SHAPES = {
    "input.0": (6, 8),
    "input.1": (6, 8),
    "input.2": (6, 8),
    "conv": (5, 3, 4),
    "fc": (7,),
}


class FakeStore:
    """Reads rows of its views as a store does."""

    def __init__(
        self,
        n_examples: int,
        views: dict[str, tuple[int, ...]],
        columns: dict[str, Any] | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self.n_examples = n_examples
        self.views = {
            name: SimpleNamespace(shape=shape, n_columns=int(np.prod(shape)))
            for name, shape in views.items()
        }
        self.columns = columns or {}
        self.attributes = attributes or {}
        self.fingerprint = "the store"
        random = np.random.default_rng(5)
        self.arrays = {
            name: random.random((n_examples, view.n_columns), np.float32)
            for name, view in self.views.items()
        }

    def read(self, view, rows=None):
        return self.arrays[view][rows]


class FakeFit:
    """A fitted estimator; counts its calls of `transform`."""

    def __init__(self, W, components, **attributes):
        self.W_ = W
        self.components_ = components
        self.n_components = len(next(iter(components.values())))
        self.fingerprint_ = "the store"
        self.transforms = 0
        for name, value in attributes.items():
            setattr(self, name, value)

    def get_params(self, deep=True):
        return {"n_components": self.n_components, "weights": {"fc": 2.0}, "callback": print}

    def transform(self, store):
        self.transforms += 1
        return np.full((store.n_examples, self.n_components), 0.5, np.float32)


def planted(n_examples=60, k=4, shapes=SHAPES, class_names=None, seed=0):
    """Return (fit, store) in which class c is mostly in concept c."""
    random = np.random.default_rng(seed)
    names = class_names or ["ant", "bee", "cat", "dog"]
    labels = np.arange(n_examples) % len(names)
    W = random.gamma(0.4, size=(n_examples, k)).astype(np.float32)
    W[np.arange(n_examples), labels % k] += 3
    components = {
        view: random.gamma(0.4, size=(k, int(np.prod(shape)))).astype(np.float32)
        for view, shape in shapes.items()
    }
    fit = FakeFit(
        W,
        components,
        loss_history_=[0.5, 0.41, 0.4012345678901234],
        view_loss_history_={
            view: [0.1 * (place + 1) * part for part in (1.2, 1.1, 1.0)]
            for place, view in enumerate(shapes)
        },
        view_losses_={view: 0.1 * (place + 1) for place, view in enumerate(shapes)},
        n_iter_=3,
        n_passes_=5.5,
        stop_reason_="tol",
    )
    store = FakeStore(
        n_examples,
        shapes,
        columns={"labels": labels, "predictions": (labels + 1) % len(names)},
        attributes={
            "class_names": names,
            "superclass_of_class": [c // 2 for c in range(len(names))],
            "superclass_names": [f"group {g}" for g in range((len(names) + 1) // 2)],
        },
    )
    return fit, store
