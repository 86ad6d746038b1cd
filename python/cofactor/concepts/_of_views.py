"""`Concepts`: the neurons and pixels of every view, and what views have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts import _cka, _clusters, _images, _impurity, _neurons, _similarity, _weights
from cofactor.concepts._base import ConceptsBase
from cofactor.concepts._table import Table


class ViewAnalyses(ConceptsBase):
    """The part of `Concepts` that speaks of layers and pixels."""

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

    def cluster_table(self, view: str | None = None) -> Table:
        """List the cluster of every example, or of every neuron of a view.

        Parameters
        ----------
        view : str, optional
            A layer or pixel view; the examples if not given.

        Returns
        -------
        Table
            As the function `cluster_table`: `item`, `cluster`, `membership`, `second`,
            `second_membership`, `entropy`.
        """
        if view is None:
            return _clusters.cluster_table(self.W)
        return _clusters.cluster_table(self._factor(view), component_axis=0)

    def cluster_sizes(self) -> Table:
        """Count the neurons of every view, and the examples, by their strongest concept.

        Returns
        -------
        Table
            As the function `cluster_sizes`: `view` (``W`` for the examples), `concept` (-1 for
            none), `size`, `share`.
        """
        return _clusters.cluster_sizes(self._components, self.W)

    def similarity(self) -> Table:
        """List the cosines between concepts, in every view and in W.

        Returns
        -------
        Table
            As the function `concept_similarity`: `view`, `concept`, `other`, `cosine`.
        """
        return _similarity.concept_similarity(self._components, self.W)

    def coherence(self) -> Table:
        """Sum up how alike the concepts are, in every view and in W.

        Returns
        -------
        Table
            As the function `mutual_coherence`: `view`, `max`, `mean`, `min`,
            `largest_eigenvalue`, `mean_of_first_three`, `n_empty`.
        """
        return _similarity.mutual_coherence(self._components, self.W)

    def eigenvalues(self) -> Table:
        """List the eigenvalues of the cosines between concepts, in every view and in W.

        Returns
        -------
        Table
            As the function `eigenvalue_profile`: `view`, `rank`, `eigenvalue`, `share`,
            `cumulative_share`.
        """
        return _similarity.eigenvalue_profile(self._components, self.W)

    def saliency(self, r: int, layer: str, examples: ArrayLike) -> NDArray[np.float64]:
        """Say where on the images of some examples concept `r` of a layer is.

        Parameters
        ----------
        r : int
            Concept number.
        layer : str
            A convolution.
        examples : array-like of int
            Rows of W.

        Returns
        -------
        ndarray of shape (len(examples), height, width), float64
            As the function `saliency_maps`, at the size of the images where the fit has pixel
            views, else at that of the layer.
        """
        position_map = self.position_map(layer, r)
        size = self._shapes[self.pixel_views[0]] if self.pixel_views else position_map.shape
        weights = self.W[np.asarray(examples, np.intp), r]
        return _images.saliency_maps(weights, position_map, size)

    def cka(self, *, max_examples: int = 2000, random_state: int = 0) -> Table:
        """Compare what views say of the examples: as captured, and as the fit gives them back.

        Parameters
        ----------
        max_examples : int
            Above so many examples, as many are drawn; the cost grows with their square.
        random_state : int
            Seed of the draw.

        Returns
        -------
        Table
            A row per unordered pair: `view` and `other`, each with `view_is` and `other_is`
            "captured" (those of the store alone) or "reconstructed" (``W H_v``); `cka`,
            `cka_debiased` as the function `linear_cka`; `n_examples` that it is of.

        Raises
        ------
        ValueError
            If there is no store, or fewer than four examples.
        """
        store = self.store
        if store is None:
            raise ValueError("CKA needs the activations; give a store")
        rows = _impurity.drawn_rows(self.n_examples, max_examples, random_state)
        sources: dict[str, ArrayLike] = {}
        kinds: dict[str, tuple[str, str]] = {}
        for kind in ("captured", "reconstructed"):
            for view, H in self._components.items():
                if kind == "captured" and view not in store.views:
                    continue
                name = f"{len(kinds)}"
                kinds[name] = (view, kind)
                sources[name] = (
                    store.read(view, rows=rows)
                    if kind == "captured"
                    else _cka.reconstruction_coordinates(self.W[rows], H)
                )
        table = _cka.linear_cka(sources)
        pairs = [(kinds[a], kinds[b]) for a, b in zip(table["view"], table["other"], strict=True)]
        return Table(
            {
                "view": np.array([a[0] for a, _ in pairs]),
                "view_is": np.array([a[1] for a, _ in pairs]),
                "other": np.array([b[0] for _, b in pairs]),
                "other_is": np.array([b[1] for _, b in pairs]),
                "cka": table["cka"],
                "cka_debiased": table["cka_debiased"],
                "n_examples": np.full(len(pairs), len(rows)),
            }
        )
