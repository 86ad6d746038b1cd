"""Terms of examples that are spread over processes: the same patterns and groups everywhere."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ._examples import ExampleTerms
from ._processes import Processes

__all__ = ["digest_of_all", "share_terms", "weight_of_all"]


def share_terms(
    terms: ExampleTerms, n_examples: int, processes: Processes, *, labels_are_known: bool
) -> ExampleTerms:
    """Give the patterns and groups of this process the numbers that they have on all.

    Parameters
    ----------
    terms : ExampleTerms
        Of the examples of this process.
    n_examples : int
        Their number.
    processes : Processes
        Those that have the others.
    labels_are_known : bool
        Whether the labels are those of all processes already.

    Returns
    -------
    ExampleTerms
        With the patterns and labels of all processes.

    Raises
    ------
    ValueError
        If some processes have weights or groups and others do not, or labels of another kind.
    """
    processes.check_same(
        "the examples",
        {
            "whether there is a sample_weight": terms.weight is not None,
            "the kind of groups": None if terms.labels is None else terms.labels.dtype.kind,
        },
    )
    if terms.labels is not None and terms.group is not None and not labels_are_known:
        labels = np.unique(np.concatenate(_gather_arrays(terms.labels, processes)))
        own = np.searchsorted(labels, terms.labels)
        terms = replace(terms, labels=labels, group=own[terms.group].astype(np.int32))
    if not any(processes.gather(terms.patterns is not None)):
        return terms
    n_views = max(processes.gather(0 if terms.patterns is None else terms.patterns.shape[1]))
    pattern, given = terms.pattern, terms.patterns
    if given is None or pattern is None:
        given, pattern = np.ones((1, n_views), np.bool_), np.zeros(n_examples, np.int32)
    patterns = np.unique(np.concatenate(_gather_arrays(given, processes)), axis=0)
    numbers = np.array([int((patterns == one).all(axis=1).argmax()) for one in given], np.int32)
    return replace(terms, pattern=numbers[pattern], patterns=patterns)


def weight_of_all(terms: ExampleTerms, processes: Processes) -> float | None:
    """Sum the weights of all processes; None where examples have none.

    Raises
    ------
    ValueError
        If all are 0.
    """
    if terms.weight is None:
        return None
    weight = float(sum(processes.gather(float(terms.weight.sum()))))
    if not weight > 0:
        raise ValueError("sample_weight must hold finite weights of at least 0, not all 0")
    return weight


def digest_of_all(terms: ExampleTerms, processes: Processes) -> str | None:
    """Hash the terms of all processes; None where there are none."""
    digests = processes.gather(terms.digest())
    if len(digests) == 1 or not any(digests):
        return terms.digest()
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def _gather_arrays(array: npt.NDArray[Any], processes: Processes) -> list[npt.NDArray[Any]]:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return [
        np.load(io.BytesIO(data), allow_pickle=False)
        for data in processes.gather_bytes(buffer.getvalue())
    ]
