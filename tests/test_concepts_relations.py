"""Concepts against each other: distances, cosines, matches, layers, clean and adversarial."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine_similarity

from cofactor.concepts import (
    class_shares,
    concept_distances,
    concept_shift,
    concept_similarity,
    cosine_similarity,
    eigenvalue_profile,
    entropy_table,
    linear_cka,
    match_concepts,
    mutual_coherence,
    reconstruction_coordinates,
    share_entropy,
    share_table,
    stability,
)


@pytest.fixture
def random():
    return np.random.default_rng(7)


# Distances


def test_distances_by_hand(random):
    shares = random.dirichlet(np.full(6, 0.3), size=5)
    shares[0, 2] = 0
    shares[0] /= shares[0].sum()
    table = concept_distances(shares)
    assert len(table) == 20
    for row in table.rows():
        p, q = shares[row["concept"]], shares[row["other"]]
        b = sum(math.sqrt(x * y) for x, y in zip(p, q, strict=True))
        assert row["bhattacharyya_coefficient"] == pytest.approx(b)
        assert row["bhattacharyya_distance"] == pytest.approx(-math.log(b))
        assert row["hellinger"] == pytest.approx(math.sqrt(1 - b))
        kl = sum(x * math.log((x + 1e-9) / (y + 1e-9)) for x, y in zip(p, q, strict=True))
        assert row["kl"] == pytest.approx(kl)


def test_distances_of_equal_disjoint_and_empty_concepts():
    table = concept_distances([[0.3, 0.7, 0], [0.3, 0.7, 0], [0, 0, 1.0], [0, 0, 0]])
    rows = {(row["concept"], row["other"]): row for row in table.rows()}
    equal, disjoint, empty = rows[0, 1], rows[0, 2], rows[3, 0]
    assert (equal["hellinger"], equal["kl"]) == (0, 0)
    assert equal["bhattacharyya_distance"] == pytest.approx(0, abs=1e-15)
    assert (disjoint["hellinger"], disjoint["bhattacharyya_coefficient"]) == (1, 0)
    assert disjoint["bhattacharyya_distance"] == math.inf
    assert math.isfinite(disjoint["kl"])
    assert math.isnan(empty["hellinger"])
    assert math.isnan(empty["kl"])


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_hellinger_is_a_metric(seed):
    shares = np.random.default_rng(seed).dirichlet(np.full(4, 0.5), size=3)
    d = {(r["concept"], r["other"]): r["hellinger"] for r in concept_distances(shares).rows()}
    for a, b, c in permutations(range(3)):
        assert d[a, b] == d[b, a]
        assert 0 <= d[a, c] <= d[a, b] + d[b, c] + 1e-12


# Tables of shares


def test_share_and_entropy_tables(random):
    labels = random.integers(0, 4, 30)
    shares = class_shares(random.random((30, 3)) ** 4, labels, 4)
    table = share_table(shares, ["a", "b", "c", "d"], groups=["x", "x", "y", "y"])
    for row in table.rows():
        assert row["share"] == shares[row["concept"], row["class"]]
        assert row["is_in"] == (row["share"] >= 1 / 4)
        assert row["name"] == "abcd"[row["class"]]
        assert row["superclass"] == "xxyy"[row["class"]]
    counted = entropy_table(shares)
    assert counted["entropy"].tolist() == share_entropy(shares).tolist()
    assert counted["effective"] == pytest.approx(np.exp(share_entropy(shares)))
    assert counted["n_in"].tolist() == [int((row >= 0.25).sum()) for row in shares]
    with pytest.raises(ValueError, match="2 names for 4 classes"):
        share_table(shares, ["a", "b"])


# Similarity


def test_cosines_are_those_of_scikit_learn(random):
    W = random.gamma(0.5, size=(50, 6)).astype(np.float32)
    expected = sklearn_cosine_similarity(W.T.astype(np.float64))
    np.testing.assert_allclose(cosine_similarity(W), expected, atol=1e-12)
    np.testing.assert_allclose(cosine_similarity(W.T, component_axis=0), expected, atol=1e-12)


def test_cosines_do_not_depend_on_the_scale_of_components(random):
    W = random.gamma(0.5, size=(50, 3))
    scaled = W * np.array([1e-200, 1.0, 1e200])
    np.testing.assert_allclose(cosine_similarity(scaled), cosine_similarity(W), rtol=1e-12)


def test_similarity_of_views_and_examples(random):
    components = {"a": random.random((3, 8)), "b": random.random((3, 5))}
    W = random.random((20, 3))
    table = concept_similarity(components, W)
    assert len(table) == 3 * 9
    factors = {**components, "W": W.T}
    for row in table.rows():
        H = factors[row["view"]]
        assert row["cosine"] == pytest.approx(1 - cosine(H[row["concept"]], H[row["other"]]))


def test_eigenvalues_and_coherence(random):
    H = random.gamma(0.3, size=(5, 30))
    H[3] = 0
    unit = [row / math.sqrt(sum(x * x for x in row)) if row.any() else row for row in H]
    gram = np.array([[float(np.dot(a, b)) for b in unit] for a in unit])
    expected = sorted(np.linalg.eigvals(gram).real, reverse=True)
    profile = eigenvalue_profile({"fc": H})
    np.testing.assert_allclose(profile["eigenvalue"], expected, atol=1e-12)
    assert profile["eigenvalue"].sum() == pytest.approx(4)
    assert profile["cumulative_share"][-1] == pytest.approx(1)
    (row,) = mutual_coherence({"fc": H}).rows()
    cosines = [gram[a, b] for a in range(5) for b in range(5) if a != b and 3 not in (a, b)]
    assert row["max"] == pytest.approx(max(cosines))
    assert row["mean"] == pytest.approx(sum(cosines) / len(cosines))
    assert row["min"] == pytest.approx(min(cosines))
    assert row["largest_eigenvalue"] == pytest.approx(expected[0])
    assert row["mean_of_first_three"] == pytest.approx(sum(expected[:3]) / 3)
    assert row["n_empty"] == 1


def test_coherence_at_its_ends():
    apart, alike = np.eye(4), np.ones((4, 7))
    orthogonal, equal = mutual_coherence({"apart": apart, "alike": alike}).rows()
    assert (orthogonal["max"], orthogonal["largest_eigenvalue"]) == (0, 1)
    assert equal["min"] == pytest.approx(1)
    assert equal["largest_eigenvalue"] == pytest.approx(4)
    (single,) = mutual_coherence({}, np.ones((3, 1))).rows()
    assert math.isnan(single["max"])
    with pytest.raises(ValueError, match="at least one factor"):
        mutual_coherence({})


# Matching


def test_matches_are_the_best_of_all_permutations(random):
    A, B = random.gamma(0.4, size=(2, 30, 5))
    table = match_concepts(A, B)
    cosines = [[1 - cosine(A[:, r], B[:, s]) for s in range(5)] for r in range(5)]
    best = max(sum(cosines[r][p[r]] for r in range(5)) for p in permutations(range(5)))
    assert table["cosine"].sum() == pytest.approx(best)
    for row in table.rows():
        assert row["cosine"] == pytest.approx(cosines[row["concept"]][row["match"]])


def test_a_permuted_and_scaled_fit_is_matched_back(random):
    H = random.gamma(0.4, size=(6, 40))
    order = random.permutation(6)
    table = match_concepts(H, H[order] * random.random((6, 1)), component_axis=0)
    assert order[table["match"]].tolist() == list(range(6))
    assert table["cosine"] == pytest.approx(np.ones(6))


def test_the_smaller_fit_is_matched_whole(random):
    A, B = random.random((20, 3)), random.random((20, 5))
    assert match_concepts(A, B)["concept"].tolist() == [0, 1, 2]
    assert sorted(match_concepts(B, A)["match"].tolist()) == [0, 1, 2]
    with pytest.raises(ValueError, match="A has 20 items and B 19"):
        match_concepts(A, B[1:])


def test_stability_is_the_mean_over_the_other_fits(random):
    runs = list(random.gamma(0.4, size=(3, 30, 4)))
    table = stability(runs)
    for row in table.rows():
        found = []
        for other in set(range(3)) - {row["fit"]}:
            # Pairs are matched in one direction, whoever asks.
            a, b = sorted((row["fit"], other))
            side = "concept" if row["fit"] == a else "match"
            pairs = match_concepts(runs[a], runs[b])
            found.append(pairs["cosine"][pairs[side] == row["concept"]][0])
        assert row["mean_cosine"] == pytest.approx(sum(found) / 2)
        assert row["min_cosine"] == pytest.approx(min(found))
        assert row["n_matched"] == 2
    with pytest.raises(ValueError, match="1 fits were given"):
        stability(runs[:1])


def test_stability_of_fits_of_other_ranks(random):
    table = stability([random.random((10, 3)), random.random((10, 2))])
    assert table["n_matched"].sum() == 4
    assert np.isnan(table["mean_cosine"]).sum() == 1


# CKA


def hsic_by_tuples(K, L):
    """Unbiased HSIC as the mean over all ordered quadruples of different examples."""
    n = len(K)
    terms = [
        K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in permutations(range(n), 4)
    ]
    return sum(terms) / len(terms)


def test_cka_by_its_definitions(random):
    X = {"a": random.random((8, 3)), "b": random.random((8, 5)), "c": random.random((8, 20))}
    H = np.eye(8) - 1 / 8
    for row in linear_cka(X).rows():
        K, L = (X[row[side]] @ X[row[side]].T for side in ("view", "other"))
        centred = [np.trace(H @ A @ H @ B) for A, B in ((K, L), (K, K), (L, L))]
        assert row["cka"] == pytest.approx(centred[0] / math.sqrt(centred[1] * centred[2]))
        hsic = [hsic_by_tuples(A, B) for A, B in ((K, L), (K, K), (L, L))]
        debiased = hsic[0] / math.sqrt(hsic[1] * hsic[2])
        assert row["cka_debiased"] == pytest.approx(debiased, abs=1e-9)


def test_cka_over_several_tiles(random):
    X, Y = random.random((700, 4)), random.random((700, 6))
    K, L = ((A - A.mean(0)) @ (A - A.mean(0)).T for A in (X, Y))
    expected = np.vdot(K, L) / math.sqrt(np.vdot(K, K) * np.vdot(L, L))
    assert linear_cka({"a": X, "b": Y})["cka"][1] == pytest.approx(expected)


def test_cka_knows_rotations_and_unrelated_layers(random):
    X = random.standard_normal((100, 10))
    rotation = np.linalg.qr(random.standard_normal((10, 10)))[0]
    # Far more columns than examples: the biased one cannot tell this from a relation.
    noise = random.standard_normal((100, 3000))
    more_noise = random.standard_normal((100, 3000))
    same = linear_cka({"a": X, "b": 3 * X @ rotation})
    assert same["cka"] == pytest.approx(np.ones(3))
    unrelated = linear_cka({"a": noise, "b": more_noise})
    assert unrelated["cka"][1] > 0.9
    assert abs(unrelated["cka_debiased"][1]) < 0.05


def test_cka_of_a_reconstruction(random):
    X, W, H = random.random((40, 9)), random.random((40, 3)), random.random((3, 12))
    direct = linear_cka({"a": X, "b": W @ H})
    short = linear_cka({"a": X, "b": reconstruction_coordinates(W, H)})
    np.testing.assert_allclose(short["cka"], direct["cka"], rtol=1e-10)
    np.testing.assert_allclose(short["cka_debiased"], direct["cka_debiased"], rtol=1e-9)


def test_cka_names_what_is_wrong(random):
    with pytest.raises(ValueError, match="same examples in every view"):
        linear_cka({"a": random.random((5, 2)), "b": random.random((6, 2))})
    with pytest.raises(ValueError, match="at least 4"):
        linear_cka({"a": random.random((3, 2))})
    assert np.isnan(linear_cka({"a": np.ones((6, 2))})["cka"]).all()


# Clean and adversarial


def test_shift_by_loops(random):
    W, labels = random.gamma(0.3, size=(60, 4)), random.integers(0, 5, 60)
    attacked = random.random(60) < 0.4
    W[:, 2] = 0
    table = concept_shift(W, attacked, labels, 5)
    for row in table.rows():
        r = row["concept"]
        sides = {}
        for name, kind in (("clean", False), ("adversarial", True)):
            rows = [i for i in range(60) if attacked[i] == kind]
            weight = sum(W[i, r] for i in rows)
            assert row[f"{name}_share"] == pytest.approx(weight / (W[:, r].sum() or 1))
            shares = [
                sum(W[i, r] for i in rows if labels[i] == c) / (weight or 1) for c in range(5)
            ]
            sides[name] = {c for c in range(5) if shares[c] >= 1 / 5}
            assert row[f"{name}_classes"] == len(sides[name])
            entropy = sum(-p * math.log(p) for p in shares if p)
            assert row[f"{name}_entropy"] == pytest.approx(entropy)
        assert row["shared_classes"] == len(sides["clean"] & sides["adversarial"])


def test_shift_needs_both_sides(random):
    W, labels = random.random((4, 2)), [0, 1, 0, 1]
    with pytest.raises(ValueError, match="0 of 4 examples are adversarial"):
        concept_shift(W, np.zeros(4, bool), labels, 2)
    with pytest.raises(ValueError, match=r"dtype int64; expected \(4,\) and bool"):
        concept_shift(W, [0, 1, 0, 1], labels, 2)
