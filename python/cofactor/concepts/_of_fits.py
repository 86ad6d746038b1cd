"""`Concepts`: one fit beside others, and clean examples beside adversarial ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts import _matching, _shift
from cofactor.concepts._base import ConceptsBase
from cofactor.concepts._inputs import Fit
from cofactor.concepts._table import Table


class FitAnalyses(ConceptsBase):
    """The part of `Concepts` that compares."""

    def match(self, other: ConceptsBase, through: Literal["W", "H"] = "W") -> Table:
        """Pair these concepts with those of another fit.

        Parameters
        ----------
        other : Concepts
            Concepts of the same examples in the same order (through W), or of a fit to the same
            views (through H).
        through : {"W", "H"}
            What is compared: how strong the concepts are in the examples, which works across
            networks; or in the neurons and pixels, all views of the fits side by side, each times
            the square root of its weight in this fit.

        Returns
        -------
        Table
            As the function `match_concepts`: `concept`, `match`, `cosine`.

        Raises
        ------
        ValueError
            If the fits do not have the examples, or the views, in common.
        """
        if through == "W":
            return _matching.match_concepts(self.W, other.W)
        if through == "H":
            a, b = self._stacked(self.nmf), self._stacked(other.nmf)
            return _matching.match_concepts(a, b, component_axis=0)
        raise ValueError(f"through = {through!r}; expected 'W' or 'H'")

    def stability(self, others: Sequence[Fit]) -> Table:
        """Say how well every concept comes back in fits with other seeds.

        Parameters
        ----------
        others : sequence of CoupledNMF
            Fits to the same views. They are compared by their H, all views side by side, each
            times the square root of its weight in this fit.

        Returns
        -------
        Table
            A row per concept of this fit: `concept`, `mean_cosine`, `min_cosine`, `n_matched`, as
            the function `stability` with this fit and the others.

        Raises
        ------
        ValueError
            If no other fit is given, or one has other views.
        """
        table = _matching.stability(
            [self._stacked(nmf) for nmf in (self.nmf, *others)], component_axis=0
        )
        own = table["fit"] == 0
        return Table({name: c[own] for name, c in table.columns.items() if name != "fit"})

    def shift(self, adversarial: ArrayLike) -> Table:
        """Compare the clean and the adversarial examples of every concept.

        Parameters
        ----------
        adversarial : array-like of bool, shape (n,)
            Which examples are adversarial.

        Returns
        -------
        Table
            As the function `concept_shift`.

        Raises
        ------
        ValueError
            If there are no labels, or one side has no examples.
        """
        labels, names = self._targets("class")
        return _shift.concept_shift(self.W, adversarial, labels, len(names))

    def _stacked(self, nmf: Fit) -> NDArray[Any]:
        """Return the H of a fit with the views of this one side by side, weighted as here."""
        weights = getattr(self.nmf, "weights_", {})
        sizes = {view: H.shape[1] for view, H in self._components.items()}
        found = {view: H.shape[1] for view, H in nmf.components_.items()}
        if sizes != found:
            raise ValueError(
                f"the fits have the views {sizes} and {found} (with their columns); expected the "
                "same, or compare through W"
            )
        return np.concatenate(
            [weights.get(view, 1.0) ** 0.5 * nmf.components_[view] for view in sizes], axis=1
        )
