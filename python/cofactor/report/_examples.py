"""The examples that can be looked up: what each is made of, and those like it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table

# Concepts and neighbours that are listed of every example.
N_CONCEPTS = 8
N_NEIGHBORS = 8
_DIGITS = 6


def example_tables(concepts: Concepts, n_examples: int) -> dict[str, Table]:
    """Return the tables `examples`, `example_concepts`, `neighbors` and `accuracy_by_impurity`.

    Of more than `n_examples` examples as many are listed, spread evenly over all. Memberships and
    distances are rounded to six digits: they are in the page too, hundreds of thousands of them.
    """
    n = concepts.n_examples
    impurity = _impurity(concepts)
    # Of very many examples only a draw has an impurity: those are listed, then.
    known = np.arange(n) if impurity is None else impurity["example"]
    spread = np.linspace(0, len(known), min(len(known), n_examples), endpoint=False)
    rows = known[spread.astype(np.intp)]
    memberships = concepts.memberships()[rows]
    found = concepts.clusters()[rows]
    best = memberships[np.arange(len(rows)), np.maximum(found, 0)]
    columns: dict[str, NDArray[Any]] = {"example": rows}
    for numbers, name in ((concepts.labels, "class"), (concepts.predictions, "predicted_class")):
        if numbers is not None:
            columns[name] = np.array(concepts.class_names)[numbers[rows]]
    if concepts.labels is not None and concepts.predictions is not None:
        columns["correct"] = (concepts.labels == concepts.predictions)[rows]
    columns |= {"concept": found, "membership": best.round(_DIGITS)}
    tables = {}
    if impurity is not None:
        values = np.full(n, np.nan)
        values[impurity["example"]] = impurity["impurity"]
        columns["impurity"] = values[rows].round(_DIGITS)
        if "correct" in impurity.columns:
            tables["accuracy_by_impurity"] = concepts.accuracy_by_impurity(impurity)
    tables["examples"] = Table(columns)
    tables["example_concepts"] = _strongest(rows, memberships)
    tables["neighbors"] = _neighbors(concepts, rows)
    return tables


def _impurity(concepts: Concepts) -> Table | None:
    """Return the impurity of the examples, or None where too few leave no neighbour to vote."""
    n_classes = len(concepts.class_names)
    n_voting = int((concepts.clusters() >= 0).sum())
    if not n_classes or concepts.n_examples < n_classes or n_voting < 2:
        return None
    return concepts.impurity()


def _strongest(rows: NDArray[np.intp], memberships: NDArray[np.float64]) -> Table:
    """List the strongest concepts of every example."""
    count = min(N_CONCEPTS, memberships.shape[1])
    order = np.argsort(-memberships, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(memberships, order, axis=1).round(_DIGITS)
    kept = values > 0
    return Table(
        {
            "example": np.repeat(rows, kept.sum(axis=1)),
            "rank": np.tile(np.arange(1, count + 1), len(rows))[kept.ravel()],
            "concept": order[kept],
            "membership": values[kept],
        }
    )


def _neighbors(concepts: Concepts, rows: NDArray[np.intp]) -> Table:
    """List the nearest of the listed examples, for each of them."""
    if len(rows) == concepts.n_examples:
        table = concepts.nearest_examples(N_NEIGHBORS)
    else:
        listed = Concepts(concepts.nmf, W=concepts.W[rows])
        table = listed.nearest_examples(N_NEIGHBORS)
        numbered = {name: rows[table[name]] for name in ("example", "neighbor")}
        table = Table({**table.columns, **numbered})
    return Table({**table.columns, "distance": table["distance"].round(_DIGITS)})
