"""How concepts differ between clean and adversarial examples of one fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cofactor.concepts._checks import as_factor, as_labels
from cofactor.concepts._classes import class_shares, classes_in, share_entropy
from cofactor.concepts._table import Table


def concept_shift(W: ArrayLike, adversarial: ArrayLike, labels: ArrayLike, n_classes: int) -> Table:
    """Compare the clean and the adversarial examples of every concept of a fit to both.

    Parameters
    ----------
    W : array-like of shape (n, k)
        Example factor of a fit to clean and adversarial examples together.
    adversarial : array-like of bool, shape (n,)
        Which examples are adversarial.
    labels : array-like of int, shape (n,)
        True class of every example, 0 to ``n_classes - 1``.
    n_classes : int
        Number of classes.

    Returns
    -------
    Table
        A row per concept: ``concept``; ``clean_share`` and ``adversarial_share`` of its weight, of
        sum 1 (0 and 0 for a concept without weight); within each side, by the class shares of
        that side: ``clean_entropy`` and ``adversarial_entropy`` (nats), ``clean_classes`` and
        ``adversarial_classes``, the number of classes with a share of at least 1 / n_classes, and
        ``shared_classes``, the number that both sides put in the concept.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or one side has no examples.

    References
    ----------
    Section 4 of arXiv:2012.12516, on adversarial examples.

    Examples
    --------
    >>> W = [[3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> shift = concept_shift(W, [False, False, True, True], labels=[0, 1, 0, 1], n_classes=2)
    >>> shift["adversarial_share"], shift["shared_classes"]
    (array([0.4, 0.5]), array([1, 1]))
    """
    W = as_factor(W, "W")
    known = as_labels(labels, len(W), n_classes)
    attacked = np.asarray(adversarial)
    if attacked.shape != (len(W),) or attacked.dtype != bool:
        raise ValueError(
            f"adversarial has shape {attacked.shape} and dtype {attacked.dtype}; "
            f"expected ({len(W)},) and bool"
        )
    if attacked.all() or not attacked.any():
        raise ValueError(
            f"{int(attacked.sum())} of {len(W)} examples are adversarial; expected both kinds"
        )
    total = W.sum(axis=0, dtype=np.float64)
    divisor = np.where(total > 0, total, 1)
    columns: dict[str, NDArray[Any]] = {"concept": np.arange(W.shape[1])}
    inside = {}
    for side, rows in (("clean", ~attacked), ("adversarial", attacked)):
        shares = class_shares(W[rows], known[rows], n_classes)
        inside[side] = classes_in(shares)
        columns[f"{side}_share"] = W[rows].sum(axis=0, dtype=np.float64) / divisor
        columns[f"{side}_entropy"] = share_entropy(shares)
        columns[f"{side}_classes"] = inside[side].sum(axis=1)
    columns["shared_classes"] = (inside["clean"] & inside["adversarial"]).sum(axis=1)
    return Table(columns)
