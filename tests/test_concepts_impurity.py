"""Neighbours of examples, their votes, and accuracy by them."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from cofactor.concepts import (
    _impurity,
    accuracy_by_impurity,
    hard_clusters,
    knn_impurity,
    nearest_examples,
)


def neighbours_by_loop(W):
    """Other examples by rising distance, for every example that is not zero."""
    unit = np.array(W, np.float64)
    for r in range(W.shape[1]):
        unit[:, r] /= math.sqrt(sum(w * w for w in unit[:, r])) or 1
    alive = [i for i in range(len(W)) if W[i].any()]
    return {
        i: sorted((j for j in alive if j != i), key=lambda j: math.dist(unit[i], unit[j]))
        for i in alive
    }, unit


@pytest.fixture
def W():
    W = np.random.default_rng(3).gamma(0.5, size=(50, 4)).astype(np.float32)
    W[[7, 30]] = 0
    return W


@pytest.mark.parametrize("held", [60, 1 << 20])
def test_impurity_is_the_entropy_of_the_votes(W, held, monkeypatch):
    monkeypatch.setattr(_impurity, "_HELD", held)
    table = knn_impurity(W, n_classes=6)
    neighbours, _ = neighbours_by_loop(W)
    concepts = hard_clusters(W)
    assert table["example"].tolist() == list(range(50))
    assert table["concept"].tolist() == concepts.tolist()
    assert set(table["n_neighbors"].tolist()) == {8}
    for row in table.rows():
        i = row["example"]
        if i in (7, 30):
            assert row["concept"] == -1
            assert math.isnan(row["impurity"])
            continue
        votes = Counter(concepts[j] for j in neighbours[i][:8])
        shares = [count / 8 for count in votes.values()]
        assert row["impurity"] == pytest.approx(sum(-p * math.log2(p) for p in shares))
        assert row["agreement"] == votes[concepts[i]] / 8


def test_nearest_examples_by_loop(W):
    table = nearest_examples(W, 5, examples=[4, 7, 49])
    neighbours, unit = neighbours_by_loop(W)
    assert table["example"].tolist() == [4] * 5 + [49] * 5
    for row in table.rows():
        assert row["neighbor"] == neighbours[row["example"]][row["rank"] - 1]
        expected = math.dist(unit[row["example"]], unit[row["neighbor"]])
        assert row["distance"] == pytest.approx(expected)
    assert len(nearest_examples(W, 5)) == 48 * 5


def test_an_example_is_not_its_own_neighbour_among_equal_ones():
    W = np.ones((9, 2))
    table = nearest_examples(W, 3)
    assert (table["neighbor"] != table["example"]).all()
    for i in range(9):
        assert len(set(table["neighbor"][table["example"] == i].tolist())) == 3


def test_few_examples_have_few_neighbours():
    table = nearest_examples([[1.0], [2.0], [0.0]], 8)
    assert table["neighbor"].tolist() == [1, 0]
    assert len(nearest_examples([[1.0], [0.0]], 8)) == 0


def test_a_sample_votes_alone_and_is_stated():
    W = np.random.default_rng(0).random((300, 3))
    table = knn_impurity(W, n_classes=10, max_examples=100, random_state=1)
    drawn = table["example"]
    assert len(set(drawn.tolist())) == 100
    assert set(table["n_neighbors"].tolist()) == {10}
    alone = knn_impurity(W[drawn], n_classes=10)
    np.testing.assert_array_equal(table["impurity"], alone["impurity"])
    again = knn_impurity(W, n_classes=10, max_examples=100, random_state=1)
    assert drawn.tolist() == again["example"].tolist()


def test_pure_and_mixed_surroundings():
    W = np.concatenate([np.tile([1.0, 0], (20, 1)), np.tile([0, 1.0], (20, 1))])
    assert not knn_impurity(W, n_neighbors=19)["impurity"].any()
    assert knn_impurity(W, n_neighbors=39)["impurity"] == pytest.approx(
        np.full(40, -19 / 39 * math.log2(19 / 39) - 20 / 39 * math.log2(20 / 39))
    )


def test_memory_does_not_grow_with_the_square_of_the_examples():
    W = np.random.default_rng(0).random((8_000, 5), np.float32)
    tracemalloc.start()
    try:
        knn_impurity(W, n_classes=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A matrix of all distances would take 512 MB, the indices of all 2,000 neighbours 128 MB.
    assert peak < 100e6


def test_numbers_of_neighbours_are_checked(W):
    with pytest.raises(ValueError, match=r"floor\(50 / 51\) = 0 neighbours"):
        knn_impurity(W, n_classes=51)
    with pytest.raises(ValueError, match="expected one of the two"):
        knn_impurity(W)
    with pytest.raises(ValueError, match="expected one of the two"):
        knn_impurity(W, 5, n_neighbors=3)
    with pytest.raises(ValueError, match="n_neighbors = 0"):
        knn_impurity(W, n_neighbors=0)
    with pytest.raises(ValueError, match="1 of 3 examples have a concept"):
        knn_impurity(np.array([[1.0], [0], [0]]), n_neighbors=1)
    with pytest.raises(IndexError, match="expected 0 to 49"):
        nearest_examples(W, examples=[50])


def test_accuracy_over_the_purest():
    random = np.random.default_rng(5)
    impurity = random.integers(0, 6, 200) / 2
    impurity[[3, 90]] = np.nan
    correct = random.random(200) < 0.7
    table = accuracy_by_impurity(impurity, correct)
    assert table["impurity"].tolist() == sorted({x for x in impurity.tolist() if x == x})
    for row in table.rows():
        purest = [bool(c) for x, c in zip(impurity, correct, strict=True) if x <= row["impurity"]]
        assert row["n_examples"] == len(purest)
        assert row["share"] == len(purest) / 198
        assert row["accuracy"] == pytest.approx(sum(purest) / len(purest))


def test_accuracy_of_nothing_and_of_what_does_not_fit():
    assert len(accuracy_by_impurity([np.nan], [True])) == 0
    assert len(accuracy_by_impurity([], [])) == 0
    with pytest.raises(ValueError, match=r"shape \(2,\) and correct \(1,\)"):
        accuracy_by_impurity([0.0, 1.0], [True])
