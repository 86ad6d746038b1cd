"""What one fit is worth, in a row; and rows as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from cofactor.concepts import Concepts, Table

Tables: TypeAlias = dict[str, Table]

_SCORES = ("nmi", "nmi_shuffled", "ari", "purity", "purity_shuffled")


def summary(concepts: Concepts, *, impurity: bool = False) -> dict[str, Any]:
    """Sum up a fit and what it says of the classes.

    Parameters
    ----------
    concepts : Concepts
        A fit with its examples.
    impurity : bool
        Also the mean k-NN impurity, which takes longer than the rest.

    Returns
    -------
    dict
        ``n_components``, ``n_examples``; ``loss`` (relative, of the fit to its own data) and
        ``n_passes`` where the fit knows them; ``n_unassigned`` (examples in no concept); with
        labels ``nmi``, ``nmi_shuffled``, ``ari``, ``purity``, ``purity_shuffled`` of the clusters
        of examples, ``entropy`` (nats, mean over the concepts that have weight), the same for
        superclasses with the prefix ``superclass_`` where there are any, and ``impurity`` (bits,
        mean over the examples) where asked for.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> nmf = SimpleNamespace(
    ...     W_=np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), components_={"fc": np.eye(2)}
    ... )
    >>> row = summary(Concepts(nmf, labels=[0, 0, 1]))
    >>> row["nmi"], row["entropy"]
    (1.0, 0.0)
    """
    nmf = concepts.nmf
    row: dict[str, Any] = {
        "n_components": concepts.n_concepts,
        "n_examples": concepts.n_examples,
    }
    history = getattr(nmf, "loss_history_", None)
    if history:
        row["loss"] = float(history[-1])
        row["n_passes"] = float(getattr(nmf, "n_passes_", np.nan))
    row["n_unassigned"] = int((concepts.clusters() < 0).sum())
    if concepts.labels is None:
        return row
    for scores in concepts.scores().rows():
        prefix = "" if scores["target"] == "class" else "superclass_"
        row |= {f"{prefix}{name}": scores[name] for name in _SCORES}
        counted = concepts.entropies(scores["target"])
        alive = counted["effective"] > 0
        row[f"{prefix}entropy"] = float(counted["entropy"][alive].mean()) if alive.any() else 0.0
    if impurity:
        row["impurity"] = float(np.nanmean(concepts.impurity()["impurity"]))
    return row


def table_of(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Make a table of rows; its columns are those of all rows, NaN or empty where one has none."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        present = [row[name] for row in rows if name in row]
        absent = "" if isinstance(present[0], str) else np.nan
        columns[name] = np.array([row.get(name, absent) for row in rows])
    return Table(columns)


def spread(rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> Table:
    """Return mean and standard deviation of every number, over the rows that agree in `by`.

    Parameters
    ----------
    rows : sequence of mapping
        As `summary` gives them, with the values of `by` added.
    by : sequence of str
        What makes a group; a value ``seed`` is left out.

    Returns
    -------
    Table
        A row per group: the values of `by`, ``n_fits``, and by value its mean, under its name, and
        its sample standard deviation (divisor n - 1; NaN for one row), as ``..._sd``.

    Examples
    --------
    >>> spread([{"rank": 5, "loss": 0.25}, {"rank": 5, "loss": 0.75}], ["rank"])
    rank  n_fits  loss  loss_sd
       5       2   0.5   0.3536
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    summed = []
    for key, members in groups.items():
        whole: dict[str, Any] = {**dict(zip(by, key, strict=True)), "n_fits": len(members)}
        for name in members[0]:
            if name in (*by, "seed") or isinstance(members[0][name], str):
                continue
            values = np.array([member[name] for member in members], np.float64)
            whole[name] = float(values.mean())
            whole[f"{name}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        summed.append(whole)
    return table_of(summed)
