"""Fits of two or more networks, or of checkpoints of one, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cofactor.compare._summary import Tables, summary, table_of
from cofactor.concepts import Concepts, match_concepts


def compare_fits(fits: Mapping[str, Concepts]) -> Tables:
    """Match the concepts of fits to the same images, whatever networks they are of.

    Concepts are matched through W, by `match_concepts`: two are alike if they are strong in the
    same images. The layers need have nothing in common.

    Parameters
    ----------
    fits : mapping of str to Concepts
        At least two, each with the W of the same images in the same order. The others are compared
        with the first.

    Returns
    -------
    dict of str to Table
        ``fits``: a row per fit (``fit``, its name) with the values of `summary`, and with
        predictions the network's ``accuracy``. ``matches``: for every other fit, a row per pair of
        concepts: ``fit``, ``concept`` (of the first), ``match`` (of the other), ``cosine``; with
        labels ``class`` and ``match_class`` (the strongest of each), ``entropy`` and
        ``match_entropy`` (nats), ``hellinger`` (between their class shares). ``pairs``: a row per
        other fit with ``mean_cosine``, ``min_cosine``, ``n_above_0.9``.

    Raises
    ------
    ValueError
        If there are fewer than two fits, or their examples differ in number or labels.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> W = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    >>> early = Concepts(SimpleNamespace(W_=W, components_={"a": np.eye(2)}))
    >>> late = Concepts(SimpleNamespace(W_=W[:, ::-1], components_={"b": np.ones((2, 5))}))
    >>> compare_fits({"early": early, "late": late})["matches"]
     fit  concept  match  cosine
    late        0      1       1
    late        1      0       1
    """
    if len(fits) < 2:
        raise ValueError(f"{len(fits)} fits were given; expected at least two")
    (reference, first), *others = fits.items()
    rows, matches, pairs = [], [], []
    for name, concepts in fits.items():
        row = {"fit": name, **summary(concepts)}
        if concepts.labels is not None and concepts.predictions is not None:
            row["accuracy"] = float((concepts.labels == concepts.predictions).mean())
        rows.append(row)
    for name, other in others:
        _check_same_images(reference, first, name, other)
        table = match_concepts(first.W, other.W)
        details = _details(first, other)
        matches += [{"fit": name, **pair, **details(pair)} for pair in table.rows()]
        pairs.append(
            {
                "fit": name,
                "mean_cosine": float(table["cosine"].mean()),
                "min_cosine": float(table["cosine"].min()),
                "n_above_0.9": int((table["cosine"] > 0.9).sum()),
            }
        )
    return {"fits": table_of(rows), "pairs": table_of(pairs), "matches": table_of(matches)}


def _details(first: Concepts, other: Concepts) -> Any:
    """Return a function from a pair of concepts to what their classes say."""
    if first.labels is None or other.labels is None:
        return lambda pair: {}
    p, q = first.class_shares(), other.class_shares()
    entropies = first.entropies()["entropy"], other.entropies()["entropy"]

    def details(pair: Mapping[str, int]) -> dict[str, Any]:
        a, b = pair["concept"], pair["match"]
        distance = np.sqrt(((np.sqrt(p[a]) - np.sqrt(q[b])) ** 2).sum() / 2)
        return {
            "class": first.class_names[p[a].argmax()],
            "match_class": other.class_names[q[b].argmax()],
            "entropy": float(entropies[0][a]),
            "match_entropy": float(entropies[1][b]),
            "hellinger": float(distance),
        }

    return details


def _check_same_images(reference: str, first: Concepts, name: str, other: Concepts) -> None:
    if first.n_examples != other.n_examples:
        raise ValueError(
            f"{reference!r} has {first.n_examples} examples and {name!r} {other.n_examples}; "
            "expected the same images in the same order"
        )
    if (
        first.labels is not None
        and other.labels is not None
        and (first.class_names != other.class_names or (first.labels != other.labels).any())
    ):
        raise ValueError(
            f"{reference!r} and {name!r} have other labels; expected the same images in the same "
            "order"
        )
