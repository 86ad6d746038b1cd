"""Rows of tables for templates, which know where in the CSV files they are."""

from __future__ import annotations

from typing import Any

from cofactor.concepts import Table

Row = dict[str, Any]


def rows_of(name: str, table: Table) -> list[Row]:
    """Return the rows as dicts; ``of`` is the name of the table and the row's number from 0."""
    return [{**row, "of": f"{name}/{number}"} for number, row in enumerate(table.rows())]


def grouped(rows: list[Row], by: str) -> dict[Any, list[Row]]:
    """Return the rows by their value in one column."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[by], []).append(row)
    return groups
