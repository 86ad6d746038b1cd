"""`Concepts`: the examples, their clusters, neighbours and images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts import _examples, _images, _impurity
from cofactor.concepts._base import ConceptsBase
from cofactor.concepts._table import Table


class ExampleAnalyses(ConceptsBase):
    """The part of `Concepts` that speaks of examples."""

    def top_examples(self, r: int, n: int = 16) -> Table:
        """List the examples in which concept `r` is strongest.

        Parameters
        ----------
        r : int
            Concept number.
        n : int
            At most this many.

        Returns
        -------
        Table
            As the function `top_examples`, with `label` and `class` where there are labels and
            `prediction` and `predicted_class` where there are predictions.
        """
        table = _examples.top_examples(self.W, r, n)
        return Table({**table.columns, **self._known_of(table["example"])})

    def impurity(
        self,
        n_neighbors: int | None = None,
        *,
        max_examples: int = _impurity.LARGEST_SAMPLE,
        random_state: int = 0,
    ) -> Table:
        """Say how mixed the concepts around every example are.

        Parameters
        ----------
        n_neighbors : int, optional
            Neighbours that vote; floor(n / number of classes) if not given.
        max_examples : int
            Above so many examples, as many are drawn and looked at alone.
        random_state : int
            Seed of the draw.

        Returns
        -------
        Table
            As the function `knn_impurity` (`example`, `concept`, `impurity`, `agreement`,
            `n_neighbors`), with `label` and `class` where there are labels, `prediction`,
            `predicted_class` where there are predictions, and `correct` where there are both.

        Raises
        ------
        ValueError
            If there are no labels and no `n_neighbors`.
        """
        if n_neighbors is None and not self.class_names:
            raise ValueError(
                "there are no classes, whose number gives that of the neighbours; give n_neighbors"
            )
        table = _impurity.knn_impurity(
            self.W,
            len(self.class_names) if n_neighbors is None else None,
            n_neighbors=n_neighbors,
            max_examples=max_examples,
            random_state=random_state,
        )
        columns = {**table.columns, **self._known_of(table["example"])}
        if self.labels is not None and self.predictions is not None:
            columns["correct"] = columns["label"] == columns["prediction"]
        return Table(columns)

    def accuracy_by_impurity(self, impurity: Table | None = None) -> Table:
        """Give the network's accuracy over the purest examples, for every part of them.

        Parameters
        ----------
        impurity : Table, optional
            Result of `impurity`, where it is at hand; it is computed if not given.

        Returns
        -------
        Table
            As the function `accuracy_by_impurity`: `impurity`, `n_examples`, `share`, `accuracy`.

        Raises
        ------
        ValueError
            If there are no labels or no predictions.
        """
        if self.labels is None or self.predictions is None:
            raise ValueError(
                "accuracy needs labels and predictions; give both, or a store that has them as "
                "columns"
            )
        table = self.impurity() if impurity is None else impurity
        return _impurity.accuracy_by_impurity(table["impurity"], table["correct"])

    def nearest_examples(self, n: int = 8, *, examples: ArrayLike | None = None) -> Table:
        """List the nearest other examples, in the space of the concepts.

        Parameters
        ----------
        n : int
            Number of neighbours.
        examples : array-like of int, optional
            Rows of W to answer for; all by default.

        Returns
        -------
        Table
            As the function `nearest_examples`: `example`, `rank`, `neighbor`, `distance`.
        """
        return _impurity.nearest_examples(self.W, n, examples=examples)

    def images(self, examples: ArrayLike) -> NDArray[np.float64]:
        """Return examples as images, from the pixel views of the store.

        Parameters
        ----------
        examples : array-like of int
            Rows of W.

        Returns
        -------
        ndarray of shape (len(examples), height, width, n_channels), float64
            In [0, 1]: what is stored as bytes, 0 to 255, is divided by 255.

        Raises
        ------
        ValueError
            If there is no store with pixel views.
        """
        store, views = self.store, self.pixel_views
        if store is None or not views or not all(view in store.views for view in views):
            raise ValueError(
                "images need a store with the pixel views input.0, input.1, ..., and a fit of "
                "them; capture with pixels=True"
            )
        rows = np.asarray(examples, np.intp)
        shape = (len(rows), *self.shape(views[0]))
        channels = [np.reshape(store.read(view, rows=rows), shape) for view in views]
        pixels = np.stack(channels, axis=-1).astype(np.float64)
        return pixels / 255 if pixels.max(initial=0) > 1.5 else pixels

    def masked_examples(self, r: int, n: int = 16) -> NDArray[np.float64]:
        """Return the top examples of concept `r` with what the concept has above its median.

        Parameters
        ----------
        r : int
            Concept number.
        n : int
            At most this many.

        Returns
        -------
        ndarray of shape (at most n, height, width, n_channels), float64
            As the function `mask_examples`, in the order of `top_examples`.

        Raises
        ------
        ValueError
            If there is no store with pixel views.
        """
        rows = _examples.top_examples(self.W, r, n)["example"]
        return _images.mask_examples(self.images(rows), self.concept_image(r))

    def _known_of(self, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Return label and prediction of some examples, as columns."""
        columns: dict[str, NDArray[Any]] = {}
        for numbers, column, named in (
            (self.labels, "label", "class"),
            (self.predictions, "prediction", "predicted_class"),
        ):
            if numbers is not None:
                columns[column] = numbers[rows]
                columns[named] = np.array(self.class_names)[columns[column]]
        return columns
