"""What `Concepts` is made of: W, the shapes of the views, and the classes of the examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts._checks import as_labels
from cofactor.distributed import alone

_COLUMNS = ("labels", "predictions")


class Store(Protocol):
    """What is read of an activation store."""

    @property
    def n_examples(self) -> int:
        """Number of examples."""

    @property
    def views(self) -> Mapping[str, Any]:
        """By name, an object with `shape`, the shape of one example."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """Per-example arrays: `labels` and `predictions` are used where present."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """`class_names`, `superclass_of_class` and `superclass_names` are used where present."""

    def read(self, view: str, rows: Any) -> NDArray[np.float32]:
        """Return rows of a view, (len(rows), d_v)."""


class Fit(Protocol):
    """What is read of a fitted `CoupledNMF`."""

    @property
    def components_(self) -> Mapping[str, NDArray[Any]]:
        """H_v, (k, d_v), by view."""

    @property
    def W_(self) -> NDArray[Any] | None:
        """W of the data of the fit, (n, k)."""

    def transform(self, X: Any) -> NDArray[Any]:
        """Return W, (n, k), of a store."""


@dataclass(frozen=True)
class Classes:
    """Classes of the examples; everything is optional."""

    labels: NDArray[np.intp] | None
    predictions: NDArray[np.intp] | None
    class_names: list[str]
    superclass_of_class: NDArray[np.intp] | None
    superclass_names: list[str]


def example_factor(nmf: Fit, store: Store | None) -> NDArray[Any]:
    """Return the W of the fit if it belongs to the store, else compute it."""
    fitted = nmf.W_
    if store is None:
        if fitted is None:
            raise ValueError("the fit keeps no W and there is no store; give W= or a store")
        return fitted
    made_on = getattr(nmf, "fingerprint_", None)
    if fitted is not None and made_on is not None:
        same = made_on == getattr(store, "fingerprint", None)
        if same and len(fitted) == store.n_examples:
            return fitted
    # Of all examples, also where a process group would give those of this process.
    with alone():
        return nmf.transform(store)


def view_shapes(
    components: Mapping[str, NDArray[Any]],
    given: Mapping[str, Sequence[int]],
    store: Store | None,
) -> dict[str, tuple[int, ...]]:
    """Return the shape of one example in every view: given, of the store, or a vector."""
    known = {} if store is None else store.views
    shapes = {}
    for view, H in components.items():
        if view in given:
            shape = tuple(given[view])
        elif view in known:
            shape = tuple(known[view].shape)
        else:
            shape = (H.shape[1],)
        if prod(shape) != H.shape[1]:
            raise ValueError(
                f"view {view!r} has the shape {shape} and {H.shape[1]} columns in the fit; "
                f"expected a shape of product {H.shape[1]}"
            )
        shapes[view] = shape
    return shapes


def resolve_classes(given: Mapping[str, Any], store: Store | None, n_examples: int) -> Classes:
    """Return what is given of the fields of `Classes`, else what the store knows."""
    known = {name: value for name, value in given.items() if value is not None}
    # A column is read when it is asked for: only those that are needed are.
    if store is not None:
        for name in set(given) - set(known):
            source = store.columns if name in _COLUMNS else store.attributes
            if name in source:
                known[name] = source[name]

    names = known.get("class_names")
    n_classes = None if names is None else len(names)
    numbers = {
        column: as_labels(known[column], n_examples, n_classes)
        for column in _COLUMNS
        if known.get(column) is not None
    }
    class_names = _names(names, *numbers.values())
    groups, group_names = known.get("superclass_of_class"), known.get("superclass_names")
    if groups is None or not class_names:
        group_names, groups = [], None
    else:
        n_groups = None if group_names is None else len(group_names)
        groups = as_labels(groups, len(class_names), n_groups, name="superclass_of_class")
        group_names = _names(group_names, groups)
    return Classes(
        labels=numbers.get("labels"),
        predictions=numbers.get("predictions"),
        class_names=class_names,
        superclass_of_class=groups,
        superclass_names=group_names,
    )


def _names(names: Any, *numbers: NDArray[np.intp]) -> list[str]:
    if names is None:
        n_classes = max((int(array.max(initial=-1)) + 1 for array in numbers), default=0)
        return [str(number) for number in range(n_classes)]
    return [str(name) for name in names]
