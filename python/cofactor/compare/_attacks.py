"""Clean and adversarial examples in one fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from cofactor.compare._summary import Tables, summary, table_of
from cofactor.concepts import Concepts, Table, class_shares
from cofactor.nmf import CoupledNMF
from cofactor.store import ActivationStore


def compare_attack(
    store: ActivationStore, n_components: int, *, seed: int = 0, **options: Any
) -> Tables:
    """Fit clean and adversarial examples together and see how the concepts shift.

    Parameters
    ----------
    store : ActivationStore
        A capture of `cofactor.attacks.CleanThenAdversarial`: the clean examples are the first half,
        the adversarial ones the second, in the same order; with labels.
    n_components : int
        Number of concepts.
    seed : int
        Seed of the fit.
    **options
        For `CoupledNMF`.

    Returns
    -------
    dict of str to Table
        ``shift``: a row per concept as the function `concept_shift`, with the strongest class of
        each side, ``clean_class`` and ``adversarial_class``. ``sides``: a row each for clean and
        adversarial examples: ``side``, the values of `summary` for them, ``nmi_predictions`` (of
        the clusters with what the network predicts) and ``accuracy`` of the network where there are
        predictions. ``pairs``: one row: ``moved`` (share of the images whose adversarial version is
        in another concept than the clean one), ``mean_cosine`` (between the two rows of W, columns
        at unit L2 norm), ``mean_classes``, ``mean_shared_classes`` (over the concepts).

    Raises
    ------
    ValueError
        If the halves differ in their labels, there are none, or an option is out of range.
    """
    nmf = CoupledNMF(n_components, random_state=seed, **options).fit(store)
    return attack_tables(Concepts(nmf, store))


def attack_tables(concepts: Concepts) -> Tables:
    """Return the tables of `compare_attack` for a fit that is there already.

    Parameters
    ----------
    concepts : Concepts
        A fit to clean and adversarial examples, with their store.

    Returns
    -------
    dict of str to Table
        As `compare_attack`.

    Raises
    ------
    ValueError
        As `compare_attack`, or without a store.
    """
    store, labels = concepts.store, concepts.labels
    half, odd = divmod(concepts.n_examples, 2)
    if not isinstance(store, ActivationStore) or labels is None:
        raise ValueError("a comparison of clean and adversarial examples needs labels")
    if odd or (labels[:half] != labels[half:]).any():
        raise ValueError(
            f"the two halves of the {concepts.n_examples} examples differ in their labels; "
            "expected all clean images, then their adversarial versions in the same order"
        )
    adversarial = np.arange(concepts.n_examples) >= half
    names = np.array(concepts.class_names)
    shift = concepts.shift(adversarial)
    columns = dict(shift.columns)
    sides = []
    for side, rows in (("clean", ~adversarial), ("adversarial", adversarial)):
        shares = class_shares(concepts.W[rows], labels[rows], len(names))
        columns[f"{side}_class"] = np.where(shares.any(axis=1), names[shares.argmax(axis=1)], "")
        part = Concepts(concepts.nmf, store.select(rows=np.flatnonzero(rows)), W=concepts.W[rows])
        row = {"side": side, **summary(part, impurity=True)}
        # That of the fit to both sides says nothing of one.
        row.pop("loss", None)
        row.pop("n_passes", None)
        if part.predictions is not None:
            predicted = Concepts(concepts.nmf, W=part.W, labels=part.predictions)
            row["nmi_predictions"] = float(predicted.scores()["nmi"][0])
            row["accuracy"] = float((part.predictions == part.labels).mean())
        sides.append(row)
    clusters = concepts.clusters()
    norms = np.linalg.norm(concepts.W, axis=0)
    unit = concepts.W / np.where(norms > 0, norms, 1)
    lengths = np.linalg.norm(unit, axis=1)
    both = lengths[:half] * lengths[half:]
    cosines = (unit[:half] * unit[half:]).sum(axis=1)[both > 0] / both[both > 0]
    classes = shift["clean_classes"] + shift["adversarial_classes"]
    pairs = {
        "moved": float((clusters[:half] != clusters[half:]).mean()),
        "mean_cosine": float(cosines.mean()) if len(cosines) else np.nan,
        "mean_classes": float(classes.mean() / 2),
        "mean_shared_classes": float(shift["shared_classes"].mean()),
    }
    return {"shift": Table(columns), "sides": table_of(sides), "pairs": table_of([pairs])}
