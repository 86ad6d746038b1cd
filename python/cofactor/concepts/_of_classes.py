"""`Concepts`: which classes the concepts are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import _classes, _clusters, _distances, _scores, _weights
from cofactor.concepts._base import By, ConceptsBase
from cofactor.concepts._table import Table


class ClassAnalyses(ConceptsBase):
    """The part of `Concepts` that speaks of classes."""

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
        found = _clusters.hard_clusters(self.W)
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
        groups = None
        if by == "class" and self.superclass_of_class is not None:
            groups = [self.superclass_names[group] for group in self.superclass_of_class]
        return _classes.share_table(
            self.class_shares(by), self._targets(by)[1], by=by, groups=groups
        )

    def entropies(self, by: By = "class") -> Table:
        """Say of every concept how many classes, or superclasses, it has.

        Parameters
        ----------
        by : {"class", "superclass"}
            What to count.

        Returns
        -------
        Table
            As the function `entropy_table`.

        Raises
        ------
        ValueError
            If there are no labels, or no superclasses.
        """
        return _classes.entropy_table(self.class_shares(by))

    def distances(self, by: By = "class") -> Table:
        """Compare the class shares of every two concepts.

        Parameters
        ----------
        by : {"class", "superclass"}
            Which shares.

        Returns
        -------
        Table
            As the function `concept_distances`: `concept`, `other`, `hellinger`,
            `bhattacharyya_coefficient`, `bhattacharyya_distance`, `kl`.

        Raises
        ------
        ValueError
            If there are no labels, or no superclasses.
        """
        return _distances.concept_distances(self.class_shares(by))

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
        found = _clusters.hard_clusters(self.W)
        scores = [
            vars(
                _scores.clustering_scores(
                    found, self._targets(by)[0], n_shuffles=n_shuffles, random_state=random_state
                )
            )
            for by in targets
        ]
        columns = {name: np.array([score[name] for score in scores]) for name in scores[0]}
        return Table({"target": np.array(targets), **columns})

    def _class_columns(self, by: By, prefix: str) -> dict[str, NDArray[Any]]:
        shares = self.class_shares(by)
        counted = _classes.entropy_table(shares)
        plural = "superclasses" if by == "superclass" else "classes"
        columns: dict[str, NDArray[Any]] = {
            f"{prefix}entropy": counted["entropy"],
            f"effective_{plural}": counted["effective"],
            f"{plural}_in": counted["n_in"],
        }
        names = np.array(self._targets(by)[1])
        order = np.argsort(-shares, axis=1, kind="stable")
        for place in range(min(3, len(names))):
            best = order[:, place]
            share = shares[np.arange(len(shares)), best]
            columns[f"{by}_{place + 1}"] = np.where(share > 0, names[best], "")
            columns[f"{by}_{place + 1}_share"] = share
        return columns
