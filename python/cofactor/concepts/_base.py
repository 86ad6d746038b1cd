"""What all parts of `Concepts` share: the fit, its store, the classes, and their checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts import _neurons
from cofactor.concepts._checks import as_factor
from cofactor.concepts._inputs import Fit, Store, example_factor, resolve_classes, view_shapes

_PIXEL_VIEW = re.compile(r"input\.(\d+)")

By = Literal["class", "superclass"]


class ConceptsBase:
    """A fit, with what is known of its examples; see `Concepts`."""

    def __init__(
        self,
        nmf: Fit,
        store: Store | None = None,
        *,
        W: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        predictions: ArrayLike | None = None,
        class_names: Sequence[str] | None = None,
        superclass_of_class: ArrayLike | None = None,
        superclass_names: Sequence[str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.nmf = nmf
        self.store = store
        self._components = dict(nmf.components_)
        self.W = as_factor(example_factor(nmf, store) if W is None else W, "W")
        self._check_sizes()
        self._shapes = view_shapes(self._components, shapes or {}, store)
        known = resolve_classes(
            {
                "labels": labels,
                "predictions": predictions,
                "class_names": class_names,
                "superclass_of_class": superclass_of_class,
                "superclass_names": superclass_names,
            },
            store,
            self.n_examples,
        )
        self.labels = known.labels
        self.predictions = known.predictions
        self.class_names = known.class_names
        self.superclass_of_class = known.superclass_of_class
        self.superclass_names = known.superclass_names

    @property
    def n_concepts(self) -> int:
        """Number of concepts, k."""
        return int(self.W.shape[1])

    @property
    def n_examples(self) -> int:
        """Number of examples, n."""
        return len(self.W)

    @property
    def views(self) -> list[str]:
        """Names of all views of the fit."""
        return list(self._components)

    @property
    def pixel_views(self) -> list[str]:
        """Names of the input channels (`input.0`, `input.1`, ...), in order."""
        found = {v: m for v in self._components if (m := _PIXEL_VIEW.fullmatch(v))}
        return sorted(
            (v for v in found if len(self._shapes[v]) == 2), key=lambda v: int(found[v][1])
        )

    @property
    def layers(self) -> list[str]:
        """Names of the views that are not input channels."""
        pixels = set(self.pixel_views)
        return [view for view in self._components if view not in pixels]

    def shape(self, view: str) -> tuple[int, ...]:
        """Return the shape of one example in a view."""
        self._factor(view)
        return self._shapes[view]

    def concept_image(self, r: int) -> NDArray[np.float64]:
        """Return concept `r` as an image.

        Parameters
        ----------
        r : int
            Concept number.

        Returns
        -------
        ndarray of shape (height, width, n_channels), float64
            As the function `concept_image`: in [0, 1], each channel divided by its maximum.

        Raises
        ------
        ValueError
            If the fit has no pixel views.
        """
        if not self.pixel_views:
            raise ValueError(
                f"the fit has the views {', '.join(self.views)} and none of pixels; "
                "capture with pixels=True and fit the views input.0, input.1, ... too"
            )
        channels = [self._components[view] for view in self.pixel_views]
        return _neurons.concept_image(channels, r, self._shapes[self.pixel_views[0]])

    def _targets(self, by: By) -> tuple[NDArray[np.intp], list[str]]:
        if by not in ("class", "superclass"):
            raise ValueError(f"by = {by!r}; expected 'class' or 'superclass'")
        if self.labels is None:
            raise ValueError(
                "there are no labels; give labels=, or a store that has a column 'labels'"
            )
        if by == "class":
            return self.labels, self.class_names
        if self.superclass_of_class is None:
            raise ValueError(
                "there are no superclasses; give superclass_of_class=, or a store that has it "
                "among its attributes"
            )
        return self.superclass_of_class[self.labels], self.superclass_names

    def _factor(self, view: str) -> NDArray[Any]:
        if view not in self._components:
            raise ValueError(
                f"there is no view {view!r}; the fit has the views {', '.join(self._components)}"
            )
        return self._components[view]

    def _check_sizes(self) -> None:
        for view, H in self._components.items():
            if len(H) != self.n_concepts:
                raise ValueError(
                    f"W has {self.n_concepts} columns and components of {view!r} have {len(H)} "
                    "rows; expected one of each per concept"
                )
        if self.store is not None and self.store.n_examples != self.n_examples:
            raise ValueError(
                f"W has {self.n_examples} rows and the store {self.store.n_examples} examples; "
                "expected the W of this store, or leave W out to have it computed"
            )
