"""cofactor behind the interfaces of libraries that explain networks by non-negative factors.

Each stands in for its namesake in the other library, with the same shapes, and does not need that
library. Options go to :class:`cofactor.NMF`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ._arrays import like, to_host
from ._errors import require
from ._sklearn_nmf import NMF

__all__ = ["ChannelReducer", "NMFFactorizer", "OvercompleteNMF", "deep_feature_factorization"]

Array = npt.NDArray[Any]


class OvercompleteNMF:
    """A dictionary of concepts, as ``overcomplete.optimization.NMF`` is one.

    A ~ Z D with codes Z and dictionary D, both non-negative.

    Parameters
    ----------
    nb_concepts : int
        Number of concepts k.
    device : str or torch.device, default="cpu"
        Where results are put.
    **options
        For :class:`cofactor.NMF`.

    Attributes
    ----------
    model : NMF
        The estimator.
    fitted : bool
        Whether :meth:`fit` has been called.

    Examples
    --------
    >>> import torch
    >>> from cofactor.adapters import OvercompleteNMF
    >>> A = torch.rand(30, 8, generator=torch.Generator().manual_seed(0))
    >>> concepts = OvercompleteNMF(3, random_state=0)
    >>> Z, D = concepts.fit(A)
    >>> Z.shape, D.shape, torch.equal(Z, concepts.encode(A))
    (torch.Size([30, 3]), torch.Size([3, 8]), True)
    """

    def __init__(self, nb_concepts: int, device: Any = "cpu", **options: Any) -> None:
        self._torch: Any = require("torch", "capture", "OvercompleteNMF")
        self.nb_concepts = nb_concepts
        self.device = device
        self.model = NMF(nb_concepts, **options)
        self.fitted = False

    def fit(self, A: Any) -> tuple[Any, Any]:
        """Fit activations.

        Parameters
        ----------
        A : array of shape (n_samples, n_features), or iterable of such batches
            Non-negative activations. Of a batch that is a tuple, the first member counts.

        Returns
        -------
        Z : torch.Tensor of shape (n_samples, nb_concepts)
            Codes.
        D : torch.Tensor of shape (nb_concepts, n_features)
            Dictionary.
        """
        Z = self.model.fit_transform(self._activations(A))
        self.fitted = True
        return self._tensor(Z), self.get_dictionary()

    def encode(self, A: Any) -> Any:
        """Solve the codes of activations, as given to :meth:`fit`: (n_samples, nb_concepts)."""
        self._check_fitted()
        return self._tensor(self.model.transform(self._activations(A)))

    def decode(self, Z: Any) -> Any:
        """Give the activations ``Z D`` of codes: (n_samples, n_features)."""
        return self._tensor(Z) @ self.get_dictionary()

    def get_dictionary(self) -> Any:
        """Give the dictionary D: (nb_concepts, n_features)."""
        self._check_fitted()
        return self._tensor(self.model.components_)

    def _activations(self, A: Any) -> Any:
        if hasattr(A, "shape"):
            return A
        batches = [batch[0] if isinstance(batch, tuple | list) else batch for batch in A]
        return self._torch.cat(batches)

    def _tensor(self, values: Any) -> Any:
        return self._torch.as_tensor(values, dtype=self._torch.float32, device=self.device)

    def _check_fitted(self) -> None:
        if not self.fitted:
            raise ValueError("Model must be fitted before calling this method.")


class NMFFactorizer:
    """A concept factorizer of xplique, for the ``factorizer=`` of its ``HolisticCraft``.

    Activations ~ U W with coefficients U and a concept bank W, both non-negative.

    Parameters
    ----------
    n_components : int, default=20
        Number of concepts k.
    **options
        For :class:`cofactor.NMF`.

    Examples
    --------
    >>> import numpy as np
    >>> from cofactor.adapters import NMFFactorizer
    >>> activations = np.random.default_rng(0).random((30, 8), np.float32)
    >>> factorizer = NMFFactorizer(3, random_state=0)
    >>> bank, coefficients = factorizer.fit(activations)
    >>> bank.shape, coefficients.shape
    ((3, 8), (30, 3))
    """

    requires_positive_activations = True

    def __init__(self, n_components: int = 20, **options: Any) -> None:
        self.n_components = n_components
        self.model = NMF(n_components, **options)

    def fit(self, activations: Any) -> tuple[Array, Any]:
        """Fit activations.

        Parameters
        ----------
        activations : array of shape (n_samples, n_features)
            Non-negative values.

        Returns
        -------
        concept_bank_w : ndarray of shape (n_components, n_features)
            The concepts.
        coeffs_u : array of shape (n_samples, n_components)
            Coefficients.
        """
        coefficients = self.model.fit_transform(activations)
        return self.model.components_, coefficients

    def encode(self, activations: Any) -> Any:
        """Solve the coefficients of activations, with the concepts fixed."""
        self._check_fitted("encoding")
        return self.model.transform(activations)

    def encode_differentiable(self, activations: Any) -> Any:
        """Solve the coefficients, so that gradients flow to the activations.

        A coefficient that is zero stays zero under small changes; the others solve a linear system
        in the activations, which torch differentiates. The values are those of :meth:`encode`, and
        the derivative is that of the exact solution.

        Parameters
        ----------
        activations : torch.Tensor of shape (n_samples, n_features)
            Non-negative values.

        Returns
        -------
        torch.Tensor of shape (n_samples, n_components)
            Coefficients.
        """
        self._check_fitted("encoding")
        torch: Any = require("torch", "capture", "NMFFactorizer.encode_differentiable")
        activations = torch.as_tensor(activations)
        held = (self.model.transform(activations.detach()) > 0).to(activations)
        bank = self._bank_like(activations, torch)
        penalty = bank.shape[1] * self.model.alpha_W
        k = torch.eye(len(bank)).to(activations)
        gram = bank @ bank.T + penalty * (1 - self.model.l1_ratio) * k
        right = activations @ bank.T - penalty * self.model.l1_ratio
        # Rows and columns of zeros are replaced by those of the identity.
        system = held[:, :, None] * gram * held[:, None, :] + (1 - held)[:, :, None] * k
        return torch.linalg.solve(system, held * right)

    def decode(self, coefficients: Any) -> Any:
        """Give the activations of coefficients; gradients of a tensor flow through."""
        self._check_fitted("decoding")
        if isinstance(coefficients, np.ndarray):
            return coefficients @ self.model.components_
        torch: Any = require("torch", "capture", "NMFFactorizer.decode of tensors")
        return coefficients @ self._bank_like(coefficients, torch)

    def get_concept_bank(self) -> Array:
        """Give the concepts: (n_components, n_features)."""
        self._check_fitted("getting concept bank")
        return self.model.components_

    @property
    def is_fitted(self) -> bool:
        """Whether :meth:`fit` has been called."""
        return hasattr(self.model, "components_")

    def _bank_like(self, tensor: Any, torch: Any) -> Any:
        return torch.from_numpy(self.model.components_).to(tensor)

    def _check_fitted(self, purpose: str) -> None:
        if not self.is_fitted:
            raise ValueError(f"Factorizer must be fitted before {purpose}")


class ChannelReducer:
    """A reducer of the last axis of activations, as lucid's and lucent's ``ChannelReducer``.

    Parameters
    ----------
    n_components : int, default=3
        Number of channels to keep.
    **options
        For :class:`cofactor.NMF`.

    Examples
    --------
    >>> import numpy as np
    >>> from cofactor.adapters import ChannelReducer
    >>> acts = np.random.default_rng(0).random((2, 7, 7, 16), np.float32)
    >>> reducer = ChannelReducer(3, random_state=0)
    >>> reducer.fit_transform(acts).shape, reducer.components.shape
    ((2, 7, 7, 3), (3, 16))
    """

    def __init__(self, n_components: int = 3, **options: Any) -> None:
        self.n_components = n_components
        self.model = NMF(n_components, **options)

    @property
    def components(self) -> Array:
        """The channels kept, in terms of those given: (n_components, n_channels)."""
        return self.model.components_

    def fit(self, acts: Any) -> ChannelReducer:
        """Fit activations of shape (..., n_channels)."""
        self.model.fit(_flat(acts))
        return self

    def fit_transform(self, acts: Any) -> Any:
        """Fit activations of shape (..., n_channels) and reduce them to (..., n_components)."""
        return self._reduced(self.model.fit_transform, acts)

    def transform(self, acts: Any) -> Any:
        """Reduce activations of shape (..., n_channels) to (..., n_components)."""
        return self._reduced(self.model.transform, acts)

    def inverse_transform(self, reduced: Any) -> Any:
        """Give activations of shape (..., n_channels) for reduced ones."""
        return self._reduced(self.model.inverse_transform, reduced)

    def __call__(self, acts: Any) -> Any:
        """Fit and reduce the first time, and reduce from then on."""
        return self.transform(acts) if hasattr(self.model, "components_") else (
            self.fit_transform(acts)
        )  # fmt: skip

    @staticmethod
    def _reduced(reduce: Callable[[Any], Any], acts: Any) -> Any:
        reduced = reduce(_flat(acts))
        return reduced.reshape(*acts.shape[:-1], reduced.shape[-1])


def _flat(acts: Any) -> Any:
    if not hasattr(acts, "reshape") or acts.ndim < 2:
        raise ValueError(
            f"activations have shape {getattr(acts, 'shape', None)}; expected an array of at least "
            "two axes, channels last"
        )
    return acts.reshape(-1, acts.shape[-1])


def deep_feature_factorization(
    activations: Any, n_components: int = 5, **options: Any
) -> tuple[Any, Any]:
    """Factorize activations of images into concepts and heat maps, as pytorch-grad-cam's ``dff``.

    The channels of all positions are factorized (Collins, Achanta and Süsstrunk, arXiv:1806.10206),
    each less its minimum, which is added to the concepts again. NaN counts as 0.

    Parameters
    ----------
    activations : array of shape (n_images, n_channels, height, width)
        Activations of one layer, of any sign. They are not changed.
    n_components : int, default=5
        Number of concepts k.
    **options
        For :class:`cofactor.NMF`; ``init="random"`` and ``random_state=0`` unless given.

    Returns
    -------
    concepts : array of shape (n_channels, n_components)
        What each concept is in terms of channels.
    explanations : array of shape (n_images, n_components, height, width)
        Where each concept is.

    Raises
    ------
    ValueError
        If `activations` has not four axes, or holds infinity.

    Examples
    --------
    >>> import numpy as np
    >>> from cofactor.adapters import deep_feature_factorization
    >>> activations = np.random.default_rng(0).standard_normal((2, 16, 7, 7))
    >>> concepts, explanations = deep_feature_factorization(activations, n_components=3)
    >>> concepts.shape, explanations.shape
    ((16, 3), (2, 3, 7, 7))
    """
    values = np.asarray(to_host(activations, "activations").values)
    if values.ndim != 4:
        raise ValueError(
            f"activations have shape {values.shape}; expected (n_images, n_channels, height, width)"
        )
    n_images, n_channels, height, width = values.shape
    by_channel = values.transpose(1, 0, 2, 3).reshape(n_channels, -1)
    if np.isnan(by_channel).any():
        by_channel = np.nan_to_num(by_channel, nan=0.0, posinf=np.inf, neginf=-np.inf)
    offset = by_channel.min(axis=1, keepdims=True)
    model = NMF(n_components, **{"init": "random", "random_state": 0, **options})
    concepts = model.fit_transform(by_channel - offset) + offset
    maps = model.components_.reshape(n_components, n_images, height, width).swapaxes(0, 1)
    return like(concepts, activations), like(maps, activations)
