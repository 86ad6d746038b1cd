"""What concepts are worth to the network: the tables a report was given, checked and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofactor.concepts import Concepts, Table

_OF_CONCEPTS = ("layer", "concept", "n_examples", "kl", "changed", "accuracy", "accuracy_drop")
_OF_CLASSES = ("layer", "concept", "class", "name", *_OF_CONCEPTS[2:])
_OF_LAYERS = ("layer", "n_examples", "kl", "changed", "relative_error", "accuracy", "accuracy_drop")
_MAY_LACK = {"accuracy", "accuracy_drop"}


def importance_tables(
    concepts: Concepts, importance: Sequence[Table], reconstruction: Table | None
) -> dict[str, Table]:
    """Return the tables `importance`, `class_importance` and `reconstruction`, of those given.

    What is known by class is summed up by concept: all values are means over examples.
    """
    by_concept, by_class = [], []
    for table in importance:
        if "class" in table.columns:
            _check(table, _OF_CLASSES, "importance", "concept_importance", concepts)
            by_class.append(table)
            table = _over_classes(table)
        _check(table, _OF_CONCEPTS, "importance", "concept_importance", concepts)
        by_concept.append(table)
    tables = {}
    for name, parts, columns in (
        ("importance", by_concept, _OF_CONCEPTS),
        ("class_importance", by_class, _OF_CLASSES),
    ):
        if parts:
            tables[name] = _joined(parts, columns)
    if "importance" in tables:
        pairs = list(
            zip(*(tables["importance"][n].tolist() for n in _OF_CONCEPTS[:2]), strict=True)
        )
        if len(set(pairs)) < len(pairs):
            raise ValueError("importance has a concept of a layer twice; expected each once")
    if reconstruction is not None:
        _check(reconstruction, _OF_LAYERS, "reconstruction", "reconstruction_importance", concepts)
        tables["reconstruction"] = reconstruction
    return tables


def _check(
    table: Table, columns: tuple[str, ...], argument: str, source: str, concepts: Concepts
) -> None:
    missing = set(columns) - _MAY_LACK - set(table.columns)
    if missing:
        raise ValueError(
            f"{argument} has the columns {', '.join(table.columns)} and lacks "
            f"{', '.join(sorted(missing))}; expected a table of {source}()"
        )
    unknown = set(table["layer"].tolist()) - set(concepts.layers)
    if unknown:
        raise ValueError(
            f"{argument} is of {', '.join(sorted(unknown))} and the fit has the layers "
            f"{', '.join(concepts.layers)}; expected a table of these concepts"
        )
    if "concept" in columns and not np.isin(table["concept"], np.arange(concepts.n_concepts)).all():
        raise ValueError(
            f"{argument} has concepts up to {table['concept'].max()} and the fit "
            f"{concepts.n_concepts}; expected a table of these concepts"
        )


def _over_classes(table: Table) -> Table:
    """Average over the classes of every concept of every layer, weighted by their examples."""
    order = np.lexsort((table["concept"], table["layer"]))
    layer, concept = table["layer"][order], table["concept"][order]
    new = (layer[1:] != layer[:-1]) | (concept[1:] != concept[:-1])
    starts = np.flatnonzero(np.concatenate([[True], new]))
    counts: NDArray[Any] = table["n_examples"][order]
    totals = np.add.reduceat(counts, starts)
    columns: dict[str, NDArray[Any]] = {
        "layer": layer[starts],
        "concept": concept[starts],
        "n_examples": totals,
    }
    for name in _OF_CONCEPTS[3:]:
        if name in table.columns:
            columns[name] = np.add.reduceat(counts * table[name][order], starts) / totals
    return Table(columns)


def _joined(tables: list[Table], order: tuple[str, ...]) -> Table:
    names = [name for name in order if all(name in table.columns for table in tables)]
    return Table({name: np.concatenate([table[name] for table in tables]) for name in names})
