"""Adversarial images, made by the Adversarial Robustness Toolbox, to set beside clean ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cofactor._errors import require
from cofactor.datasets import ImageSource

if TYPE_CHECKING:
    from torch import nn

    from cofactor._capture.inputs import Normalize

__all__ = ["Attacked", "CleanThenAdversarial"]

METHODS = ("fgsm", "pgd")
_PGD_STEPS = 10


class Attacked:
    """A loader's images, changed a little so that a network errs.

    "fgsm" is one step of size `eps` along the sign of the gradient of the cross-entropy
    (Goodfellow, Shlens and Szegedy, arXiv:1412.6572). "pgd" is ten steps of ``eps / 4``, each
    followed by the projection to within `eps` (Madry et al., arXiv:1706.06083), started at the
    image itself, so that nothing is random. Both are untargeted and leave every pixel in [0, 1] and
    within `eps` of what it was; then images are rounded to bytes, as a file would hold them.

    Parameters
    ----------
    model : torch.nn.Module
        The network, which gives logits (n, n_classes). A copy of it is attacked.
    loader : iterable
        Batches as for `cofactor.capture`, with uint8 images (n, channels, height, width) and, where
        there are any, class numbers: the loss is that of the class, else of the class that the
        network itself predicts.
    method : {"fgsm", "pgd"}
        The attack.
    eps : float
        Largest change of a pixel, in units of [0, 1].
    normalize : (mean, std), optional
        What the network's input is normalised with, as for `cofactor.capture`.
    device : str, optional
        "cpu" or "gpu"; by default where the model is.

    Raises
    ------
    ValueError
        For an unknown method, an `eps` outside (0, 1], or images that are not uint8.
    MissingExtraError
        If torch or the toolbox is absent.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    >>> images = np.full((2, 3, 2, 2), 128, np.uint8)
    >>> ((attacked, labels),) = Attacked(network, [(images, [0, 1])], "fgsm", eps=8 / 255)
    >>> np.unique(np.abs(attacked.astype(int) - images))
    array([8])
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        method: Literal["fgsm", "pgd"] = "fgsm",
        *,
        eps: float = 8 / 255,
        normalize: Normalize | None = None,
        device: str | None = None,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method = {method!r}; expected one of {', '.join(METHODS)}")
        if not 0 < eps <= 1:
            raise ValueError(f"eps = {eps}; expected a number above 0, at most 1 (8/255 is usual)")
        require("torch", "attack", "an attack")
        require("art", "attack", "an attack")
        self._model = copy.deepcopy(model)
        self._loader = loader
        self._method = method
        self._eps = float(eps)
        self._normalize = normalize
        self._device = device
        self._attack: Any = None

    def __len__(self) -> int:
        """Return the number of batches; a TypeError where the loader has no length."""
        return len(self._loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any] | None]]:
        """Yield (images, labels)."""
        from cofactor._capture.inputs import unpack

        for batch in self._loader:
            tensor, labels = unpack(batch)
            images = tensor.cpu().numpy()
            if images.dtype != np.uint8 or images.ndim != 4:
                raise ValueError(
                    f"an attack got images of dtype {images.dtype} and shape {images.shape}; "
                    "expected uint8 (n, channels, height, width), with normalize= for the network"
                )
            classes = None if labels is None or labels.dtype.kind not in "iu" else labels
            attacked = self._toolbox(images.shape[1:]).generate(
                (images / 255).astype(np.float32), classes
            )
            yield np.rint(255 * attacked).astype(np.uint8), labels

    def _toolbox(self, shape: tuple[int, ...]) -> Any:
        """Return the toolbox's attack, for images of a shape."""
        if self._attack is not None:
            return self._attack
        import torch
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        parameter = next(self._model.parameters(), torch.zeros(0))
        device = self._device or ("gpu" if parameter.device.type == "cuda" else "cpu")
        # The toolbox runs the network as it is; dropout must not tell it anything.
        self._model.eval()
        with torch.no_grad():
            logits = self._model(torch.zeros((1, *shape), device=parameter.device))
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
            raise ValueError("the network gives no matrix; an attack expects logits (n, n_classes)")
        preprocessing = None
        if self._normalize is not None:
            moments = [np.asarray(moment, np.float32).reshape(-1) for moment in self._normalize]
            preprocessing = tuple(np.broadcast_to(moment, shape[0]) for moment in moments)
            preprocessing = tuple(moment.reshape(-1, 1, 1) for moment in preprocessing)
        classifier = PyTorchClassifier(
            self._model,
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=shape,
            nb_classes=logits.shape[1],
            clip_values=(0.0, 1.0),
            preprocessing=preprocessing if preprocessing is not None else (0.0, 1.0),
            device_type=device,
        )
        # Batches are the loader's.
        whole = {"eps": self._eps, "batch_size": 1 << 20}
        if self._method == "fgsm":
            self._attack = FastGradientMethod(classifier, **whole)
        else:
            self._attack = ProjectedGradientDescent(
                classifier,
                eps_step=self._eps / 4,
                max_iter=_PGD_STEPS,
                num_random_init=0,
                verbose=False,
                **whole,
            )
        return self._attack


class CleanThenAdversarial(ImageSource):
    """All clean images, then all adversarial ones, for one capture of both.

    Parameters
    ----------
    clean, adversarial : iterable
        Batches of the same images in the same order, clean and adversarial, as for
        `cofactor.capture`.

    Attributes
    ----------
    n_clean : int
        Number of clean images, once all were read.

    Examples
    --------
    >>> images = np.zeros((3, 1, 2, 2), np.uint8)
    >>> both = CleanThenAdversarial([images], [images + 1])
    >>> [int(batch.max()) for batch, _ in both], both.n_clean
    ([0, 1], 3)
    """

    def __init__(self, clean: Iterable[Any], adversarial: Iterable[Any]) -> None:
        n = getattr(clean, "n_examples", None)
        super().__init__(
            clean,
            n_examples=None if n is None else 2 * n,
            attributes=getattr(clean, "attributes", None),
        )
        self._adversarial = adversarial
        self.n_clean = 0

    def __len__(self) -> int:
        """Return the number of batches; a TypeError where a loader has no length."""
        return super().__len__() + len(self._adversarial)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        """Yield (images, labels)."""
        from cofactor._capture.inputs import unpack

        n_clean = n_adversarial = 0
        for batch in super().__iter__():
            images, labels = unpack(batch)
            n_clean += len(images)
            yield images.numpy(), labels
        self.n_clean = n_clean
        for batch in self._adversarial:
            images, labels = unpack(batch)
            n_adversarial += len(images)
            yield images.numpy(), labels
        if n_clean != n_adversarial:
            raise ValueError(
                f"there are {n_clean} clean images and {n_adversarial} adversarial ones; "
                "expected the same images in the same order"
            )
