"""Rows of the views: pieces one after the other, samples, and parts for cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse

from cofactor import _core
from cofactor._memory import Reading
from cofactor._rows import ArrayRows


@dataclass
class Columns:
    """Layout of a view in memory."""

    dtype: str
    n_columns: int
    scale: float = 1.0


def pieces_of(X: np.ndarray, lengths: list[int], kind: str) -> list[object]:
    """Consecutive rows, each piece laid out in its own way."""
    parts = np.split(X, np.cumsum(lengths)[:-1])
    if kind == "sparse":
        return [scipy.sparse.csr_array(part) for part in parts]
    if kind == "columns":
        return [np.asfortranarray(part) for part in parts]
    if kind == "reversed":
        return [part[::-1].copy()[::-1] for part in parts]
    return [part.copy() for part in parts]


def dense(pieces: list[object]) -> np.ndarray:
    return np.concatenate([p.toarray() if scipy.sparse.issparse(p) else p for p in pieces])


KINDS = ["rows", "columns", "reversed", "sparse"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[1], [7], [1, 1, 5], [513, 2, 90], [64, 448, 1, 600]])
def test_the_core_reads_pieces_as_one_array(kind: str, lengths: list[int]) -> None:
    rng = np.random.default_rng(0)
    n = sum(lengths)
    views = {"a": rng.random((n, 33), np.float32), "b": rng.random((n, 5), np.float32)}
    for X in views.values():
        X[rng.random(X.shape) < 0.3] = 0
    layouts = [Columns("float32", X.shape[1]) for X in views.values()]
    start = [rng.random((2, X.shape[1])) for X in views.values()]

    def result(rows: ArrayRows) -> list[np.ndarray]:
        engine = _core.Engine(
            rows.source(layouts, Reading(threads=2)),
            ranks=[2],
            weights=[1.0, 0.5],
            l1_w=0.0,
            l2_w=0.0,
            l1_h=[0.0] * 2,
            l2_h=[0.0] * 2,
            device="cpu",
            float64=False,
            threads=2,
        )
        squares = [found.sum_of_squares for found in engine.scan()]
        for v, h in enumerate(start):
            engine.set_h(v, h)
        W = np.empty((n, 2), np.float32)
        engine.encode(squares, exact=True, w=W)
        return [np.array(squares), W]

    whole = result(ArrayRows([[X] for X in views.values()]))
    for one, other in zip(
        result(ArrayRows([pieces_of(X, lengths, kind) for X in views.values()])),
        whole,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folds", [2, 3, 7])
def test_parts_are_those_of_a_plain_loop(kind: str, folds: int) -> None:
    rng = np.random.default_rng(1)
    lengths = [1, 4, 10, 2]
    views = [rng.random((17, 6)), rng.random((17, 3))]
    rows = ArrayRows([pieces_of(X, lengths, kind) for X in views])
    columns = [(1, slice(0, 2)), (0, slice(2, 6)), (0, slice(0, 1))]
    for kept in ([0], [folds - 1], [f for f in range(folds) if f != 1]):
        part = rows.part(columns, folds, kept)
        assert isinstance(part, ArrayRows)
        order = [i for fold in kept for i in range(17) if i % folds == fold]
        for (number, own), pieces in zip(columns, part.pieces, strict=True):
            np.testing.assert_array_equal(dense(pieces), views[number][order, own])
        assert part.n_examples == len(order)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_and_other_orders_of_views(kind: str) -> None:
    rng = np.random.default_rng(2)
    views = [rng.random((17, 6)), rng.random((17, 3))]
    rows = ArrayRows([pieces_of(X, [3, 14], kind) for X in views])
    samples = [np.array([0, 2, 3, 16]), np.arange(17)]
    for chosen, taken in zip(samples, rows.take(samples), strict=True):
        assert isinstance(taken, ArrayRows)
        for X, pieces in zip(views, taken.pieces, strict=True):
            np.testing.assert_array_equal(dense(pieces), X[chosen])
    swapped = rows.in_order([1, 0])
    assert isinstance(swapped, ArrayRows)
    np.testing.assert_array_equal(dense(swapped.pieces[0]), views[1])
