import csv
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from cofactor.concepts import (
    Table,
    channel_profile,
    class_shares,
    classes_in,
    cluster_sizes,
    cluster_table,
    clustering_scores,
    concept_image,
    hard_clusters,
    neurons,
    position_map,
    share_entropy,
    soft_memberships,
    superclass_shares,
    top_examples,
    view_shares,
    weight_shares,
)

factors = arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.integers(1, 4)),
    elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 7.0]),
)


@pytest.fixture
def W():
    W = np.random.default_rng(1).gamma(0.5, size=(40, 5)).astype(np.float32)
    W[3] = 0
    W[:, 2] = 0
    return W


@pytest.fixture
def labels():
    return np.random.default_rng(2).integers(0, 3, 40)


# Clusters


def unit_columns(W):
    W = np.array(W, np.float64)
    for r in range(W.shape[1]):
        norm = math.sqrt(sum(w * w for w in W[:, r]))
        if norm:
            W[:, r] /= norm
    return W


@given(factors)
@settings(deadline=None, max_examples=60)
def test_hard_clusters_are_the_largest_entry_at_unit_norm(W):
    clusters = hard_clusters(W)
    for cluster, row in zip(clusters, unit_columns(W), strict=True):
        if not any(row):
            assert cluster == -1
        else:
            assert row[cluster] == pytest.approx(max(row))


@given(factors)
@settings(deadline=None, max_examples=60)
def test_soft_memberships_are_the_rows_at_unit_norm_over_their_sum(W):
    memberships = soft_memberships(W)
    for row, scaled in zip(memberships, unit_columns(W), strict=True):
        expected = scaled / sum(scaled) if any(scaled) else scaled
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_components_along_the_other_axis(W):
    np.testing.assert_array_equal(hard_clusters(W.T, component_axis=0), hard_clusters(W))
    np.testing.assert_allclose(soft_memberships(W.T, component_axis=0).T, soft_memberships(W))


def test_clusters_do_not_depend_on_the_scale_of_components(W):
    scale = np.array([1e-20, 1.0, 3.0, 1e6, 1e20], np.float32)
    np.testing.assert_array_equal(hard_clusters(W * scale), hard_clusters(W))
    np.testing.assert_allclose(soft_memberships(W * scale), soft_memberships(W), rtol=1e-5)


def test_of_equal_maxima_the_first_concept_counts():
    assert hard_clusters(np.ones((3, 2))).tolist() == [0, 0, 0]


def test_no_items_give_no_clusters():
    assert hard_clusters(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_factor_must_be_finite_and_non_negative(W, value):
    W[5, 1] = value
    with pytest.raises(ValueError, match="non-negative factor"):
        hard_clusters(W)


def test_a_factor_has_two_dimensions():
    with pytest.raises(ValueError, match=r"shape \(3,\); expected two dimensions"):
        hard_clusters(np.ones(3))


def test_cluster_table_names_the_two_strongest(W):
    table = cluster_table(W)
    memberships = soft_memberships(W)
    for row, values in zip(table.rows(), memberships.tolist(), strict=True):
        order = sorted(range(5), key=lambda r: (-values[r], r))
        if not any(values):
            assert (row["cluster"], row["second"], row["membership"]) == (-1, -1, 0)
            continue
        assert row["cluster"] == order[0]
        assert row["membership"] == values[order[0]]
        assert row["second"] == (order[1] if values[order[1]] else -1)
        assert row["second_membership"] == values[order[1]]
        assert row["entropy"] == pytest.approx(sum(-p * math.log(p) for p in values if p))
    transposed = cluster_table(W.T, component_axis=0)
    assert transposed["second"].tolist() == table["second"].tolist()


def test_cluster_sizes_count_what_is_in_no_concept(W):
    table = cluster_sizes({"fc": W.T[:, :7]}, W)
    for view, factor in (("fc", W[:7]), ("W", W)):
        counts = Counter(hard_clusters(factor).tolist())
        for row in table.rows():
            if row["view"] == view:
                assert row["size"] == counts[row["concept"]]
                assert row["share"] == row["size"] / len(factor)
    assert table["concept"].tolist() == [-1, 0, 1, 2, 3, 4] * 2
    with pytest.raises(ValueError, match="at least one factor"):
        cluster_sizes({})


# Scores


def purity_by_loop(clusters, labels):
    right = 0
    for cluster in set(clusters):
        members = Counter(y for c, y in zip(clusters, labels, strict=True) if c == cluster)
        right += max(members.values())
    return right / len(labels)


def test_scores_are_those_of_scikit_learn_without_the_items_left_out(W, labels):
    clusters = hard_clusters(W)
    scores = clustering_scores(clusters, labels, n_shuffles=3, random_state=7)
    kept = clusters >= 0
    found, known = clusters[kept], labels[kept]
    assert scores.n_left_out == 1
    assert scores.n_scored == 39
    assert scores.nmi == normalized_mutual_info_score(known, found)
    assert scores.ari == adjusted_rand_score(known, found)
    assert scores.purity == pytest.approx(purity_by_loop(found, known))
    random = np.random.RandomState(7)
    shuffles = [random.permutation(known) for _ in range(3)]
    for name, score in (
        ("nmi", normalized_mutual_info_score),
        ("ari", adjusted_rand_score),
        ("purity", lambda known, found: purity_by_loop(found, known)),
    ):
        mean = np.mean([score(shuffled, found) for shuffled in shuffles])
        assert getattr(scores, f"{name}_shuffled") == pytest.approx(mean)


def test_scores_repeat_with_the_seed(W, labels):
    clusters = hard_clusters(W)
    again = [clustering_scores(clusters, labels, random_state=seed) for seed in (1, 1, 2)]
    assert again[0] == again[1]
    assert again[0].nmi_shuffled != again[2].nmi_shuffled


def test_a_perfect_clustering_beats_the_baseline():
    labels = np.repeat(np.arange(5), 20)
    scores = clustering_scores(4 - labels, labels)
    assert (scores.nmi, scores.ari, scores.purity) == (1, 1, 1)
    assert scores.nmi_shuffled < 0.2
    assert abs(scores.ari_shuffled) < 0.05


def test_nothing_to_score_scores_nothing():
    scores = clustering_scores([-1, -1], [0, 1])
    assert (scores.nmi, scores.purity_shuffled, scores.n_left_out) == (0, 0, 2)


def test_scores_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"labels has shape \(3,\); expected \(2,\)"):
        clustering_scores([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="labels has dtype float64; expected integers"):
        clustering_scores([0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match="labels runs from -1 to 0; expected at least 0"):
        clustering_scores([0, 1], [0, -1])
    with pytest.raises(ValueError, match="n_shuffles = 0"):
        clustering_scores([0, 1], [0, 1], n_shuffles=0)


# Classes


def test_class_shares(W, labels):
    shares = class_shares(W, labels, 4)
    for r in range(5):
        total = float(W[:, r].astype(float).sum())
        for c in range(4):
            weight = sum(float(W[i, r]) for i in range(40) if labels[i] == c)
            assert shares[r, c] == pytest.approx(weight / total if total else 0)


def test_superclass_shares(W, labels):
    shares = class_shares(W, labels, 3)
    by_superclass = superclass_shares(shares, [1, 0, 1], 3)
    np.testing.assert_allclose(by_superclass[:, 0], shares[:, 1])
    np.testing.assert_allclose(by_superclass[:, 1], shares[:, 0] + shares[:, 2])
    assert not by_superclass[:, 2].any()


def test_share_entropy(W, labels):
    shares = class_shares(W, labels, 4)
    for row, entropy in zip(shares, share_entropy(shares), strict=True):
        assert entropy == pytest.approx(sum(-p * math.log(p) for p in row if p))
    assert share_entropy(np.full((1, 8), 1 / 8))[0] == pytest.approx(math.log(8))


@pytest.mark.parametrize("n_classes", [1, 3, 10, 49, 100])
def test_all_classes_are_in_a_concept_that_has_them_alike(n_classes):
    W = np.full((3 * n_classes, 1), 0.1, np.float32)
    shares = class_shares(W, np.arange(3 * n_classes) % n_classes, n_classes)
    assert classes_in(shares).all()


def test_classes_in(W, labels):
    shares = class_shares(W, labels, 4)
    expected = [[p >= 1 / 4 for p in row] for row in shares]
    np.testing.assert_array_equal(classes_in(shares), expected)


def test_labels_must_be_classes(W, labels):
    with pytest.raises(ValueError, match="labels runs from 0 to 2; expected 0 to 1"):
        class_shares(W, labels, 2)


# Examples


def test_top_examples(W):
    table = top_examples(W, 1, n=7)
    weights = [float(w) for w in W[:, 1]]
    order = sorted(range(40), key=lambda i: (-weights[i], i))[:7]
    assert table["example"].tolist() == order
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert table["share"].tolist() == pytest.approx([weights[i] / sum(weights) for i in order])
    assert table["cumulative_share"][-1] == pytest.approx(
        sum(weights[i] for i in order) / sum(weights)
    )


def test_top_examples_leaves_out_those_without_the_concept(W):
    assert len(top_examples(W, 2)) == 0
    everything = top_examples(W, 0, n=1000)
    assert len(everything) == np.count_nonzero(W[:, 0])
    assert everything["cumulative_share"][-1] == pytest.approx(1)


def test_top_examples_in_order_of_rows_where_equal():
    assert top_examples(np.ones((5, 1)), 0, n=3)["example"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("r", [-1, 5])
def test_a_concept_must_exist(W, r):
    with pytest.raises(IndexError, match=f"concept {r} does not exist; .* 0 to 4"):
        top_examples(W, r)


def test_counts_are_positive(W):
    with pytest.raises(ValueError, match="n = 0; expected at least 1"):
        top_examples(W, 0, n=0)


# Neurons and images


@pytest.fixture
def H():
    return np.random.default_rng(3).gamma(0.5, size=(2, 24)).astype(np.float32)


def test_neurons_of_a_convolution(H):
    table = neurons(H, 1, (2, 3, 4), n=6)
    image = H[1].reshape(2, 3, 4)
    order = sorted(range(24), key=lambda j: -H[1, j])[:6]
    assert table["neuron"].tolist() == order
    for row in table.rows():
        assert row["weight"] == image[row["channel"], row["row"], row["col"]]
        assert row["share"] == pytest.approx(row["weight"] / float(H[1].astype(float).sum()))


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((24,), []),
        ((4, 6), ["row", "col"]),
        ((2, 3, 4), ["channel", "row", "col"]),
        ((2, 3, 2, 2), ["axis_0", "axis_1", "axis_2", "axis_3"]),
    ],
)
def test_coordinates_by_shape(H, shape, names):
    table = neurons(H, 0, shape)
    assert list(table.columns) == ["rank", "neuron", *names, "weight", "share"]
    for row in table.rows():
        if names:
            at = tuple(row[name] for name in names)
            assert np.ravel_multi_index(at, shape) == row["neuron"]


def test_maps_sum_over_channels_and_over_positions(H):
    positions, channels = position_map(H, 0, (2, 3, 4)), channel_profile(H, 0, (2, 3, 4))
    for y in range(3):
        for x in range(4):
            expected = sum(float(H[0, c * 12 + y * 4 + x]) for c in range(2))
            assert positions[y, x] == pytest.approx(expected)
    for c in range(2):
        assert channels[c] == pytest.approx(sum(map(float, H[0, c * 12 : c * 12 + 12])))


def test_concept_image_divides_each_channel_by_its_maximum(H):
    red, green, blue = H, 100 * H[::-1], np.zeros((2, 24))
    image = concept_image([red, green, blue], 0, (4, 6))
    assert image.shape == (4, 6, 3)
    np.testing.assert_allclose(image[..., 0], (H[0] / H[0].max()).reshape(4, 6), rtol=1e-6)
    np.testing.assert_allclose(image[..., 1], (H[1] / H[1].max()).reshape(4, 6), rtol=1e-6)
    assert not image[..., 2].any()


def test_shapes_must_fit(H):
    with pytest.raises(ValueError, match=r"expected \(k, 25\), a column per neuron"):
        neurons(H, 0, (5, 5))
    with pytest.raises(ValueError, match=r"expected \(channels, height, width\)"):
        position_map(H, 0, (24,))
    with pytest.raises(ValueError, match=r"expected \(height, width\)"):
        concept_image([H], 0, (2, 3, 4))
    with pytest.raises(ValueError, match="no channels"):
        concept_image([], 0, (4, 6))


# Weights


def test_view_and_weight_shares(W, H):
    W = W[:, :2]
    components = {"a": H, "b": H[:, :5] ** 2}
    masses = {
        view: [
            sum(float(W[i, r]) * float(H[r, j]) for i in range(40) for j in range(H.shape[1]))
            for r in range(2)
        ]
        for view, H in components.items()
    }
    shares = view_shares(W, components)
    for view, mass in masses.items():
        assert shares[view].tolist() == pytest.approx([m / sum(mass) for m in mass])
    both = [2 * masses["a"][r] + masses["b"][r] for r in range(2)]
    weighted = weight_shares(W, components, {"a": 4, "b": 1})
    assert weighted.tolist() == pytest.approx([m / sum(both) for m in both])


def test_weight_shares_do_not_depend_on_how_scale_is_split(W, H):
    W, scale = W[:, :2], np.array([1e-3, 50])
    split = weight_shares(W * scale, {"a": H / scale[:, None]})
    np.testing.assert_allclose(split, weight_shares(W, {"a": H}), rtol=1e-6)


def test_weight_shares_of_nothing_are_zero(H):
    assert not weight_shares(np.zeros((3, 2)), {"a": H}).any()


def test_numbers_of_components_must_agree(W, H):
    with pytest.raises(ValueError, match="'a' have 2 rows and W has 5 columns"):
        weight_shares(W, {"a": H})


# Table


def test_table_keeps_every_digit_in_csv(tmp_path):
    table = Table({"name": np.array(['a,"b"\n', "ü"]), "x": np.array([1 / 3, 1e-300])})
    with table.to_csv(tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ['a,"b"\n', "ü"]
    assert [float(row["x"]) for row in rows] == [1 / 3, 1e-300]


def test_table_rows_are_plain_values():
    (row,) = Table({"n": np.array([3]), "s": np.array(["x"]), "b": np.array([True])}).rows()
    assert [type(value) for value in row.values()] == [int, str, bool]


def test_columns_have_one_length():
    with pytest.raises(ValueError, match="one-dimensional arrays of one length"):
        Table({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ValueError, match="one-dimensional arrays of one length"):
        Table({"a": np.zeros((2, 2))})


def test_long_tables_are_shown_in_part():
    assert repr(Table({"a": np.arange(1000)})).endswith("19\n... 1,000 rows")
