"""The concepts of one fit, with everything that can be said about them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts import _classes, _clusters, _examples, _neurons, _weights
from cofactor.concepts._checks import as_factor
from cofactor.concepts._inputs import Fit, Store, example_factor, resolve_classes, view_shapes
from cofactor.concepts._table import Table

_PIXEL_VIEW = re.compile(r"input\.(\d+)")

By = Literal["class", "superclass"]


class Concepts:
    """The concepts of a fit: clusters, classes, examples, neurons, images and scores.

    W is `W` where given; else that of the fit if it was made on this store, or if there is no
    store; else ``nmf.transform(store)``, which reads the store once.

    Parameters
    ----------
    nmf : CoupledNMF
        A fitted estimator.
    store : ActivationStore, optional
        The examples to look at: shapes of the layers, labels, predictions and names of classes
        are taken from it, and images are rebuilt from its pixel views.
    W : array-like of shape (n, k), optional
        Example factor.
    labels, predictions : array-like of int, shape (n,), optional
        Class of every example, true and predicted; the store's if not given.
    class_names : sequence of str, optional
        Name of each class; the store's if not given, else the class numbers.
    superclass_of_class : sequence of int, optional
        Superclass of each class; the store's if not given.
    superclass_names : sequence of str, optional
        Name of each superclass; the store's if not given, else the superclass numbers.
    shapes : mapping of str to tuple of int, optional
        Shape of one example by view, for a fit without a store; a view that is not in it counts
        as a vector.

    Attributes
    ----------
    nmf, store
        As given.
    W : ndarray of shape (n, k)
        Example factor.
    labels, predictions : ndarray of shape (n,), intp, or None
        Classes of the examples.
    class_names, superclass_names : list of str
        Empty where nothing is known of them.
    superclass_of_class : ndarray of shape (n_classes,), intp, or None
        Superclass of each class.

    Raises
    ------
    ValueError
        If there is neither a store nor a W, or W, labels, names or shapes do not fit together.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> nmf = SimpleNamespace(
    ...     W_=np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]),
    ...     components_={"fc": np.array([[1.0, 0.0], [0.5, 2.0]])},
    ... )
    >>> concepts = Concepts(nmf, labels=[0, 0, 1], class_names=["cat", "tree"])
    >>> concepts
    Concepts(2 concepts, 3 examples, layers: fc; 2 classes)
    >>> concepts.clusters()
    array([0, 0, 1])
    >>> concepts.top_examples(0, n=1)
    rank  example  weight   share  cumulative_share  label  class
       1        0       2  0.6667            0.6667      0    cat
    """

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

    def clusters(self, view: str | None = None) -> NDArray[np.intp]:
        """Assign every example, or every neuron of a view, to its strongest concept.

        Parameters
        ----------
        view : str, optional
            A layer or pixel view; the examples if not given.

        Returns
        -------
        ndarray of shape (n,) or (d_v,), intp
            As `hard_clusters`: -1 where nothing is active.
        """
        if view is None:
            return _clusters.hard_clusters(self.W)
        return _clusters.hard_clusters(self._factor(view), component_axis=0)

    def memberships(self, view: str | None = None) -> NDArray[np.float64]:
        """Say how much of every example, or neuron of a view, belongs to each concept.

        Parameters
        ----------
        view : str, optional
            A layer or pixel view; the examples if not given.

        Returns
        -------
        ndarray of shape (n, k) or (d_v, k), float64
            As `soft_memberships`, a row per example or neuron.
        """
        if view is None:
            return _clusters.soft_memberships(self.W)
        return _clusters.soft_memberships(self._factor(view), component_axis=0).T

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
        extra: dict[str, NDArray[Any]] = {}
        for numbers, column, named in (
            (self.labels, "label", "class"),
            (self.predictions, "prediction", "predicted_class"),
        ):
            if numbers is not None:
                extra[column] = numbers[table["example"]]
                extra[named] = np.array(self.class_names)[extra[column]]
        return Table({**table.columns, **extra})

    def neurons(self, layer: str, r: int, n: int = 10) -> Table:
        """List the neurons of a layer in which concept `r` is strongest.

        Parameters
        ----------
        layer : str
            Any view.
        r : int
            Concept number.
        n : int
            At most this many.

        Returns
        -------
        Table
            As the function `neurons`.
        """
        return _neurons.neurons(self._factor(layer), r, self._shapes[layer], n)

    def position_map(self, layer: str, r: int) -> NDArray[np.float64]:
        """Return where in the image concept `r` is, (height, width), as the function."""
        return _neurons.position_map(self._factor(layer), r, self._shapes[layer])

    def channel_profile(self, layer: str, r: int) -> NDArray[np.float64]:
        """Return which channels carry concept `r`, (channels,), as the function."""
        return _neurons.channel_profile(self._factor(layer), r, self._shapes[layer])

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

    def class_shares(self, by: By = "class") -> NDArray[np.float64]:
        """Divide every concept's weight among the classes, or superclasses, of its examples.

        Parameters
        ----------
        by : {"class", "superclass"}
            What to divide by.

        Returns
        -------
        ndarray of shape (k, n_classes) or (k, n_superclasses), float64
            As the functions `class_shares` and `superclass_shares`.

        Raises
        ------
        ValueError
            If there are no labels, or no superclasses.
        """
        labels, names = self._targets(by)
        return _classes.class_shares(self.W, labels, len(names))

    def class_table(self, by: By = "class") -> Table:
        """List the share of every class, or superclass, in every concept.

        Parameters
        ----------
        by : {"class", "superclass"}
            What to divide by.

        Returns
        -------
        Table
            A row per concept and class: `concept`, `class` (number) and its `name`, `superclass`
            (name, where there are superclasses), `share`, and `is_in`, whether the share is at
            least 1 / #classes.

        Raises
        ------
        ValueError
            If there are no labels, or no superclasses.
        """
        shares = self.class_shares(by)
        k, n_classes = shares.shape
        _, names = self._targets(by)
        columns: dict[str, NDArray[Any]] = {
            "concept": np.repeat(np.arange(k), n_classes),
            by: np.tile(np.arange(n_classes), k),
            "name": np.tile(np.array(names), k),
        }
        if by == "class" and self.superclass_of_class is not None:
            groups = np.array(self.superclass_names)[self.superclass_of_class]
            columns["superclass"] = np.tile(groups, k)
        columns["share"] = shares.ravel()
        columns["is_in"] = _classes.classes_in(shares).ravel()
        return Table(columns)

    def view_shares(self) -> Table:
        """List the share of every concept in what the fit reconstructs of every view.

        Returns
        -------
        Table
            A row per concept and view: `concept`, `view`, `share` (as the function
            `view_shares`).
        """
        shares = _weights.view_shares(self.W, self._components)
        return Table(
            {
                "concept": np.repeat(np.arange(self.n_concepts), len(shares)),
                "view": np.tile(np.array(list(shares)), self.n_concepts),
                "share": np.stack(list(shares.values()), axis=1).ravel(),
            }
        )

    def scores(self, *, n_shuffles: int = 10, random_state: int = 0) -> Table:
        """Compare the clusters of examples with the classes, and with the superclasses.

        Parameters
        ----------
        n_shuffles : int
            Number of shuffles of the labels behind the baseline.
        random_state : int
            Seed of the shuffles.

        Returns
        -------
        Table
            A row for `class` and, where there are superclasses, one for `superclass` (column
            `target`), with the values of `ClusteringScores`.

        Raises
        ------
        ValueError
            If there are no labels.
        """
        targets: list[By] = ["class"]
        if self.superclass_of_class is not None:
            targets.append("superclass")
        found = self.clusters()
        scores = [
            vars(
                _clusters.clustering_scores(
                    found, self._targets(by)[0], n_shuffles=n_shuffles, random_state=random_state
                )
            )
            for by in targets
        ]
        columns = {name: np.array([score[name] for score in scores]) for name in scores[0]}
        return Table({"target": np.array(targets), **columns})

    def table(self) -> Table:
        """Give an overview, a row per concept.

        Returns
        -------
        Table
            `concept`, `weight_share` (of what the fit reconstructs, as the function
            `weight_shares`), `cluster_size` and `cluster_share` (examples that are strongest in
            it). With labels: `entropy` of the class shares (nats), `effective_classes`
            (``exp(entropy)``), `classes_in` and the three strongest classes with their shares as
            `class_1`, `class_1_share`, ...; the same for superclasses where given.
        """
        found = self.clusters()
        size = np.bincount(found[found >= 0], minlength=self.n_concepts)
        view_weights = getattr(self.nmf, "weights_", None)
        columns: dict[str, NDArray[Any]] = {
            "concept": np.arange(self.n_concepts),
            "weight_share": _weights.weight_shares(self.W, self._components, view_weights),
            "cluster_size": size,
            "cluster_share": size / max(self.n_examples, 1),
        }
        if self.labels is not None:
            columns |= self._class_columns("class", "")
        if self.superclass_of_class is not None:
            columns |= self._class_columns("superclass", "superclass_")
        return Table(columns)

    def __repr__(self) -> str:
        """Return the numbers of concepts, examples and classes, and the layers."""
        parts = f"{self.n_concepts} concepts, {self.n_examples:,} examples"
        parts += f", layers: {', '.join(self.layers) or 'none'}"
        if self.pixel_views:
            parts += "; with pixels"
        if self.class_names:
            parts += f"; {len(self.class_names)} classes"
        return f"Concepts({parts})"

    def _class_columns(self, by: By, prefix: str) -> dict[str, NDArray[Any]]:
        shares = self.class_shares(by)
        entropy = _classes.share_entropy(shares)
        plural = "superclasses" if by == "superclass" else "classes"
        columns: dict[str, NDArray[Any]] = {
            f"{prefix}entropy": entropy,
            f"effective_{plural}": np.where(shares.any(axis=1), np.exp(entropy), 0),
            f"{plural}_in": _classes.classes_in(shares).sum(axis=1),
        }
        names = np.array(self._targets(by)[1])
        order = np.argsort(-shares, axis=1, kind="stable")
        for place in range(min(3, len(names))):
            best = order[:, place]
            share = shares[np.arange(len(shares)), best]
            columns[f"{by}_{place + 1}"] = np.where(share > 0, names[best], "")
            columns[f"{by}_{place + 1}_share"] = share
        return columns

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
