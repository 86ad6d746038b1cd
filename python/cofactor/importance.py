"""What concepts are worth to the network: its output when one is taken out of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cofactor._errors import require
from cofactor.concepts import Concepts, Table

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from cofactor._capture.inputs import Normalize

__all__ = ["concept_importance", "reconstruction_importance"]

# Largest relative difference between the layer's output and what the store has of it: more than a
# bfloat16 may lose, far less than two images differ by.
_SAME_IMAGES = 0.02


def concept_importance(
    model: nn.Module,
    loader: Iterable[Any],
    concepts: Concepts,
    layer: str,
    *,
    by: Literal["concept", "class"] = "concept",
    which: Sequence[int] | None = None,
    normalize: Normalize | None = None,
    device: torch.device | str | None = None,
    max_examples: int | None = None,
) -> Table:
    """Take each concept out of a layer and see what the rest of the network makes of that.

    The output x_i of the layer for example i becomes ``max(x_i - W[i, r] H[r, :], 0)`` (negative
    entries stay as they are), and runs through the rest of the network. With p_i and q_i the
    network's class probabilities before and after, the importance of concept r is the mean rise of
    ``KL(p_i || q_i) = sum_c p_ic ln(p_ic / q_ic)`` in nats, and the drop of accuracy.

    Parameters
    ----------
    model : torch.nn.Module
        The network, which gives logits (n, n_classes). It runs in evaluation mode; its mode and
        hooks are restored.
    loader : iterable
        The images of the concepts' examples, in the same order; batches as for `cofactor.capture`.
    concepts : Concepts
        W, H and labels. Where it has a store with the layer, the first batch is compared with it.
    layer : str
        A view of the fit that is a layer of the network, captured without pooling.
    by : {"concept", "class"}
        One row per concept, or one per concept and class.
    which : sequence of int, optional
        Concepts to take out; all by default.
    normalize : (mean, std), optional
        As for `cofactor.capture`.
    device : torch.device or str, optional
        Where to run; by default where the model is.
    max_examples : int, optional
        Use so many of the first examples alone.

    Returns
    -------
    Table
        ``layer``, ``concept``, with ``by="class"`` also ``class`` (number) and ``name``,
        ``n_examples``, ``kl`` (mean over these, nats), ``changed`` (share of them whose predicted
        class changes) and, with labels, ``accuracy`` and ``accuracy_drop`` (from that of the
        unchanged network). Classes without examples are left out.

    Raises
    ------
    ValueError
        If the layer is no module of the network or has another size there, the images are not
        those of the store, their number is not that of W's rows, or there are no labels for
        ``by="class"``.
    IndexError
        If there is no such concept.
    MissingExtraError
        If torch is absent.

    Notes
    -----
    The network runs once per batch up to the layer and once per concept behind it, where nothing
    passes the layer by; a layer inside of a residual block costs a whole run per concept.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 2, bias=False))
    >>> _ = network[1].weight.data.copy_(torch.eye(2))
    >>> x = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    >>> nmf = SimpleNamespace(W_=x, components_={"0": np.eye(2, dtype=np.float32)})
    >>> concepts = Concepts(nmf, labels=[0, 1])
    >>> table = concept_importance(network, [x], concepts, "0", by="class")
    >>> table["concept"], table["class"], table["kl"].round(2)
    (array([0, 0, 1, 1]), array([0, 1, 0, 1]), array([0.5, 0. , 0. , 0.5]))
    """
    if by not in ("concept", "class"):
        raise ValueError(f"by = {by!r}; expected 'concept' or 'class'")
    if by == "class" and concepts.labels is None:
        raise ValueError("there are no labels to divide by; give the Concepts labels")
    chosen = list(range(concepts.n_concepts) if which is None else which)
    for r in chosen:
        if not 0 <= r < concepts.n_concepts:
            raise IndexError(
                f"concept {r} does not exist; the fit has concepts 0 to {concepts.n_concepts - 1}"
            )

    def without(W: Tensor, H: Tensor) -> Callable[[Tensor, int], Tensor]:
        def replace(x: Tensor, number: int) -> Tensor:
            r = chosen[number]
            # What the concept adds beyond the activation itself is not there to be taken out.
            return x - (W[:, r, None] * H[r]).minimum(x.clamp(min=0))

        return replace

    found = _run(
        model, loader, concepts, layer, without, len(chosen), normalize, device, max_examples
    )
    if by == "concept":
        groups = [np.arange(found.n_examples)] * len(chosen)
        numbers = np.arange(len(chosen))
        extra: dict[str, NDArray[Any]] = {}
    else:
        assert concepts.labels is not None
        known = concepts.labels[: found.n_examples]
        present = np.unique(known)
        groups = [np.flatnonzero(known == c) for _ in chosen for c in present]
        numbers = np.repeat(np.arange(len(chosen)), len(present))
        extra = {
            "class": np.tile(present, len(chosen)),
            "name": np.tile(np.array(concepts.class_names, dtype=str)[present], len(chosen)),
        }
    return Table(
        {
            "layer": np.full(len(groups), layer),
            "concept": np.array(chosen, np.intp)[numbers],
            **extra,
            **found.columns(numbers, groups),
        }
    )


def reconstruction_importance(
    model: nn.Module,
    loader: Iterable[Any],
    concepts: Concepts,
    layers: Sequence[str] | None = None,
    *,
    normalize: Normalize | None = None,
    device: torch.device | str | None = None,
    max_examples: int | None = None,
) -> Table:
    """Replace a layer by what the fit reconstructs of it, and run the rest of the network.

    The output of the layer for example i becomes ``W[i, :] H_v``. What the network still gets
    right is what the concepts hold of what it needs.

    Parameters
    ----------
    model, loader, concepts, normalize, device, max_examples
        As for `concept_importance`.
    layers : sequence of str, optional
        Layers to replace, one at a time; all views that are no pixels by default.

    Returns
    -------
    Table
        A row per layer: ``layer``, ``n_examples``, ``kl`` (mean, nats), ``changed`` (share of the
        examples whose predicted class changes), ``relative_error``
        (``||X - W H|| / ||X||``, Frobenius), and with labels ``accuracy`` and ``accuracy_drop``.

    Raises
    ------
    ValueError, MissingExtraError
        As for `concept_importance`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 2))
    >>> x = np.array([[3.0, 0.0], [0.0, 3.0]], np.float32)
    >>> nmf = SimpleNamespace(W_=x, components_={"0": np.eye(2, dtype=np.float32)})
    >>> reconstruction_importance(network, [x], Concepts(nmf))
    layer  n_examples  kl  changed  relative_error
        0           2   0        0               0
    """
    rows = []
    for layer in concepts.layers if layers is None else layers:
        squares: list[float] = []
        residuals: list[float] = []

        def rebuilt(
            W: Tensor, H: Tensor, squares: list[float] = squares, residuals: list[float] = residuals
        ) -> Callable[[Tensor, int], Tensor]:
            def replace(x: Tensor, number: int) -> Tensor:
                reconstruction = W @ H
                squares.append(float(x.double().square().sum()))
                residuals.append(float((x - reconstruction).double().square().sum()))
                return reconstruction

            return replace

        found = _run(model, loader, concepts, layer, rebuilt, 1, normalize, device, max_examples)
        columns = found.columns(np.zeros(1, np.intp), [np.arange(found.n_examples)])
        columns["relative_error"] = np.sqrt([sum(residuals) / (sum(squares) or 1)])
        rows.append({"layer": np.array([layer]), **columns})
    if not rows:
        raise ValueError("layers is empty; expected at least one layer")
    order = ["layer", "n_examples", "kl", "changed", "relative_error", "accuracy", "accuracy_drop"]
    return Table(
        {name: np.concatenate([row[name] for row in rows]) for name in order if name in rows[0]}
    )


class _Outcome:
    """What became of every example, by replacement."""

    def __init__(self, labels: NDArray[np.intp] | None, count: int) -> None:
        self._labels = labels
        self._kl: list[list[NDArray[Any]]] = [[] for _ in range(count)]
        self._predicted: list[list[NDArray[Any]]] = [[] for _ in range(count)]
        self._before: list[NDArray[Any]] = []
        self.n_examples = 0

    def add(self, logits: Tensor, replaced: Iterable[tuple[int, Tensor]]) -> None:
        """Note what a batch gave."""
        before = logits.double().log_softmax(1)
        self._before.append(logits.argmax(1).cpu().numpy())
        self.n_examples += len(logits)
        for number, changed in replaced:
            after = changed.double().log_softmax(1)
            # Nothing comes of a probability of 0, whose logarithm is not finite.
            terms = (before.exp() * (before - after)).where(before.exp() > 0, 0.0)
            self._kl[number].append(terms.sum(1).cpu().numpy())
            self._predicted[number].append(changed.argmax(1).cpu().numpy())

    def columns(
        self, numbers: NDArray[np.intp], groups: list[NDArray[np.intp]]
    ) -> dict[str, NDArray[Any]]:
        """Return a value per pair of a replacement and a group of examples."""
        before = np.concatenate(self._before)
        kl = [np.concatenate(part) for part in self._kl]
        after = [np.concatenate(part) for part in self._predicted]
        pairs = list(zip(numbers.tolist(), groups, strict=True))
        columns: dict[str, NDArray[Any]] = {
            "n_examples": np.array([len(rows) for rows in groups]),
            "kl": np.array([kl[v][rows].mean() for v, rows in pairs]),
            "changed": np.array([(after[v] != before)[rows].mean() for v, rows in pairs]),
        }
        if self._labels is not None:
            known = self._labels[: self.n_examples]
            accuracy = np.array([(after[v] == known)[rows].mean() for v, rows in pairs])
            whole = np.array([(before == known)[rows].mean() for _, rows in pairs])
            columns |= {"accuracy": accuracy, "accuracy_drop": whole - accuracy}
        return columns


def _run(
    model: nn.Module,
    loader: Iterable[Any],
    concepts: Concepts,
    layer: str,
    replacement: Callable[[Tensor, Tensor], Callable[[Tensor, int], Tensor]],
    count: int,
    normalize: Normalize | None,
    device: torch.device | str | None,
    max_examples: int | None,
) -> _Outcome:
    torch = require("torch", "capture", "importance")
    from cofactor._capture.inputs import ImageReader
    from cofactor._capture.network import evaluation, input_placement
    from cofactor._replacement import LayerReplacer

    concepts.shape(layer)
    if max_examples is not None and max_examples < 1:
        raise ValueError(f"max_examples = {max_examples}; expected a positive number or None")
    limit = min(concepts.n_examples, max_examples or concepts.n_examples)
    reader = ImageReader(False, normalize, "float16", {})
    place, dtype = input_placement(model, device)
    outcome = _Outcome(concepts.labels, count)
    with evaluation(model, device), torch.inference_mode():
        network = LayerReplacer(model, layer)
        H = torch.as_tensor(np.asarray(concepts.nmf.components_[layer]), device=place)
        for images in _images(loader, concepts.n_examples, limit):
            start = outcome.n_examples
            batch = reader.model_input(images, place, dtype)
            logits, output = network.plain(batch)
            if output.shape[1] != H.shape[1]:
                raise ValueError(
                    f"layer {layer!r} gives {output.shape[1]} numbers an example and the fit has "
                    f"{H.shape[1]}; expected a layer that was captured without pooling"
                )
            if start == 0:
                _check_images(concepts, layer, output.float().cpu().numpy())
            W = torch.as_tensor(np.asarray(concepts.W[start : start + len(output)]), device=place)
            replace = replacement(W.to(output.dtype), H.to(output.dtype))
            outcome.add(logits, network.replaced(batch, logits, output, replace, count))
    if outcome.n_examples < limit:
        raise ValueError(
            f"the loader yields {outcome.n_examples} images and W has {concepts.n_examples} rows; "
            "expected the images that W is of, in the same order"
        )
    return outcome


def _images(loader: Iterable[Any], n: int, limit: int) -> Iterator[Tensor]:
    """Yield batches of images up to a limit; fail where there are more than n."""
    from cofactor._capture.inputs import unpack

    done = 0
    for batch in loader:
        images, _ = unpack(batch)
        if done + len(images) > n:
            raise ValueError(
                f"the loader yields more images than W has rows ({n}); "
                "expected the images that W is of, in the same order"
            )
        images = images[: limit - done]
        done += len(images)
        if len(images):
            yield images
        if done == limit and limit < n:
            return


def _check_images(concepts: Concepts, layer: str, output: NDArray[Any]) -> None:
    store = concepts.store
    if store is None or layer not in store.views:
        return
    stored = store.read(layer, rows=np.arange(len(output)))
    difference = float(np.linalg.norm(stored - output))
    if difference > _SAME_IMAGES * (float(np.linalg.norm(stored)) or 1):
        raise ValueError(
            f"the first images give {layer!r} other values than the store has (they differ by "
            f"{difference / (float(np.linalg.norm(stored)) or 1):.2g} of its norm); expected the "
            "same network, and the same images in the same order"
        )
