import time

import numpy as np
import pytest

from cofactor.concepts import (
    Concepts,
    channel_profile,
    class_shares,
    classes_in,
    cluster_sizes,
    cluster_table,
    clustering_scores,
    concept_distances,
    concept_shift,
    concept_similarity,
    eigenvalue_profile,
    entropy_table,
    hard_clusters,
    knn_impurity,
    linear_cka,
    mutual_coherence,
    nearest_examples,
    neurons,
    position_map,
    share_entropy,
    soft_memberships,
    view_shares,
    weight_shares,
)
from fake_fit import SHAPES, FakeFit, FakeStore, planted


@pytest.fixture
def concepts():
    return Concepts(*planted())


def test_what_concepts_are(concepts):
    assert concepts.n_concepts == 4
    assert concepts.n_examples == 60
    assert concepts.layers == ["conv", "fc"]
    assert concepts.pixel_views == ["input.0", "input.1", "input.2"]
    assert repr(concepts) == (
        "Concepts(4 concepts, 60 examples, layers: conv, fc; with pixels; 4 classes)"
    )


def test_methods_are_the_functions(concepts):
    H, W = concepts.nmf.components_["conv"], concepts.W
    shape = SHAPES["conv"]
    np.testing.assert_array_equal(concepts.clusters(), hard_clusters(W))
    np.testing.assert_array_equal(concepts.clusters("conv"), hard_clusters(H, component_axis=0))
    np.testing.assert_array_equal(concepts.memberships(), soft_memberships(W))
    assert concepts.memberships("conv").shape == (60, 4)
    np.testing.assert_allclose(concepts.memberships("fc").sum(axis=1), 1)
    np.testing.assert_array_equal(concepts.position_map("conv", 1), position_map(H, 1, shape))
    np.testing.assert_array_equal(concepts.channel_profile("conv", 1), channel_profile(H, 1, shape))
    assert concepts.neurons("conv", 2, 3)["neuron"].tolist() == (
        neurons(H, 2, shape, 3)["neuron"].tolist()
    )
    assert concepts.concept_image(0).shape == (6, 8, 3)
    np.testing.assert_array_equal(concepts.class_shares(), class_shares(W, concepts.labels, 4))


def test_pixel_views_are_in_the_order_of_channels():
    shapes = {f"input.{c}": (2, 2) for c in (10, 2, 0)} | {"input.x": (2, 2), "input.3": (4,)}
    concepts = Concepts(*planted(shapes=shapes))
    assert concepts.pixel_views == ["input.0", "input.2", "input.10"]
    assert concepts.layers == ["input.x", "input.3"]


def test_top_examples_have_classes(concepts):
    for row in concepts.top_examples(1, 5).rows():
        assert row["label"] == row["example"] % 4
        assert row["class"] == ["ant", "bee", "cat", "dog"][row["label"]]
        assert row["predicted_class"] == ["bee", "cat", "dog", "ant"][row["label"]]


def test_table_of_concepts(concepts):
    table = concepts.table()
    assert table["weight_share"].sum() == pytest.approx(1)
    assert table["cluster_size"].tolist() == np.bincount(concepts.clusters()).tolist()
    assert table["class_1"].tolist() == ["ant", "bee", "cat", "dog"]
    assert table["superclass_1"].tolist() == ["group 0", "group 0", "group 1", "group 1"]
    shares = concepts.class_shares()
    np.testing.assert_allclose(table["entropy"], share_entropy(shares))
    np.testing.assert_allclose(table["effective_classes"], np.exp(share_entropy(shares)))
    np.testing.assert_array_equal(table["classes_in"], classes_in(shares).sum(axis=1))
    np.testing.assert_allclose(table["class_1_share"], shares.max(axis=1))
    np.testing.assert_allclose(table["class_3_share"], np.sort(shares, axis=1)[:, 1])


def test_weight_shares_count_views_as_the_fit_does():
    fit, store = planted()
    fit.weights_ = {view: 4.0 if view == "fc" else 0.0 for view in fit.components_}
    expected = weight_shares(fit.W_, {"fc": fit.components_["fc"]})
    np.testing.assert_allclose(Concepts(fit, store).table()["weight_share"], expected)


def test_class_table_has_a_row_per_concept_and_class(concepts):
    table = concepts.class_table()
    shares = concepts.class_shares()
    assert len(table) == 16
    for row in table.rows():
        assert row["share"] == shares[row["concept"], row["class"]]
        assert row["is_in"] == (row["share"] >= 1 / 4)
        assert row["name"] == concepts.class_names[row["class"]]
        assert row["superclass"] == f"group {row['class'] // 2}"
    by_superclass = concepts.class_table("superclass")
    assert list(by_superclass.columns) == ["concept", "superclass", "name", "share", "is_in"]
    assert by_superclass["share"].tolist() == concepts.class_shares("superclass").ravel().tolist()


def test_view_shares_of_concepts(concepts):
    shares = view_shares(concepts.W, concepts.nmf.components_)
    for row in concepts.view_shares().rows():
        assert row["share"] == shares[row["view"]][row["concept"]]


def test_scores_by_class_and_superclass(concepts):
    table = concepts.scores(n_shuffles=2, random_state=3)
    assert table["target"].tolist() == ["class", "superclass"]
    by_class = clustering_scores(concepts.clusters(), concepts.labels, n_shuffles=2, random_state=3)
    by_superclass = clustering_scores(
        concepts.clusters(), concepts.labels // 2, n_shuffles=2, random_state=3
    )
    for row, scores in zip(table.rows(), (by_class, by_superclass), strict=True):
        del row["target"]
        assert row == vars(scores)


def test_an_empty_concept_is_a_row_of_zeros():
    fit, store = planted()
    fit.W_[:, 2] = 0
    row = list(Concepts(fit, store).table().rows())[2]
    assert row["class_1"] == ""
    assert [row[name] for name in ("weight_share", "cluster_size", "entropy", "classes_in")] == (
        [0, 0, 0, 0]
    )
    assert row["effective_classes"] == 0


def test_W_of_the_fit_is_used_for_the_store_of_the_fit():
    fit, store = planted()
    assert Concepts(fit, store).W is fit.W_
    assert Concepts(fit).W is fit.W_
    assert fit.transforms == 0


@pytest.mark.parametrize("change", ["fingerprint", "unknown", "rows", "kept"])
def test_W_is_computed_for_another_store(change):
    fit, store = planted()
    if change == "fingerprint":
        store.fingerprint = "another"
    elif change == "unknown":
        fit.fingerprint_ = None
    elif change == "rows":
        store = FakeStore(5, SHAPES)
    else:
        fit.W_ = None
    concepts = Concepts(fit, store)
    assert fit.transforms == 1
    assert (concepts.W == 0.5).all()


def test_a_given_W_comes_first():
    fit, store = planted()
    W = np.ones((60, 4))
    assert Concepts(fit, store, W=W).W is W
    assert fit.transforms == 0


def test_what_is_given_comes_before_the_store():
    fit, store = planted()
    concepts = Concepts(fit, store, labels=np.zeros(60, int), class_names=["a", "b", "c", "d"])
    assert concepts.class_shares()[:, 0].tolist() == pytest.approx([1] * 4)
    assert concepts.class_names == ["a", "b", "c", "d"]


def test_without_store_views_are_vectors_unless_shapes_are_given():
    fit, _ = planted()
    bare = Concepts(fit)
    assert bare.pixel_views == []
    assert bare.shape("conv") == (60,)
    assert bare.labels is None
    assert list(bare.table().columns) == [
        "concept", "weight_share", "cluster_size", "cluster_share",
    ]  # fmt: skip
    assert Concepts(fit, shapes=SHAPES).concept_image(1).shape == (6, 8, 3)


def test_without_names_classes_are_numbers():
    fit, _ = planted()
    concepts = Concepts(fit, labels=np.arange(60) % 3, superclass_of_class=[0, 0, 1])
    assert concepts.class_names == ["0", "1", "2"]
    assert concepts.superclass_names == ["0", "1"]


def test_what_does_not_fit_is_named():
    fit, store = planted()
    with pytest.raises(ValueError, match="W has 59 rows and the store 60 examples"):
        Concepts(fit, store, W=fit.W_[1:])
    with pytest.raises(ValueError, match="W has 3 columns"):
        Concepts(fit, store, W=fit.W_[:, 1:])
    with pytest.raises(ValueError, match="labels runs from 0 to 3; expected 0 to 1"):
        Concepts(fit, store, class_names=["a", "b"])
    with pytest.raises(ValueError, match=r"superclass_of_class has shape \(2,\); expected \(4,\)"):
        Concepts(fit, store, superclass_of_class=[0, 1])
    with pytest.raises(ValueError, match="'fc' has the shape"):
        Concepts(fit, shapes={"fc": (2, 2)})
    with pytest.raises(ValueError, match="give W= or a store"):
        Concepts(FakeFit(None, fit.components_))


def test_questions_without_an_answer_are_named(concepts):
    bare = Concepts(concepts.nmf)
    with pytest.raises(ValueError, match="no view 'layer9'; the fit has the views input"):
        concepts.neurons("layer9", 0)
    with pytest.raises(ValueError, match="capture with pixels=True"):
        bare.concept_image(0)
    with pytest.raises(ValueError, match="there are no labels"):
        bare.scores()
    with pytest.raises(ValueError, match="there are no superclasses"):
        Concepts(concepts.nmf, labels=concepts.labels).class_shares("superclass")
    with pytest.raises(ValueError, match="by = 'genus'"):
        concepts.class_shares("genus")


def test_every_analysis_is_fast_at_the_size_of_the_paper():
    random = np.random.default_rng(0)
    W = random.random((10_000, 20), np.float32)
    shape = (256, 8, 8)
    fit = FakeFit(W, {"layer3": random.random((20, 16_384), np.float32)})
    concepts = Concepts(
        fit,
        labels=random.integers(0, 100, 10_000),
        superclass_of_class=np.arange(100) // 5,
        shapes={"layer3": shape},
    )
    for analysis in (
        concepts.clusters,
        concepts.table,
        concepts.scores,
        concepts.class_table,
        concepts.view_shares,
        lambda: concepts.memberships("layer3"),
        lambda: [concepts.neurons("layer3", r) for r in range(20)],
        lambda: [concepts.top_examples(r) for r in range(20)],
        lambda: [concepts.position_map("layer3", r) for r in range(20)],
    ):
        start = time.process_time()
        analysis()
        assert time.process_time() - start < 1


def test_tables_of_the_new_analyses_are_those_of_the_functions(concepts):
    H, W = concepts.nmf.components_, concepts.W
    pairs = [
        (concepts.similarity(), concept_similarity(H, W)),
        (concepts.coherence(), mutual_coherence(H, W)),
        (concepts.eigenvalues(), eigenvalue_profile(H, W)),
        (concepts.cluster_sizes(), cluster_sizes(H, W)),
        (concepts.cluster_table(), cluster_table(W)),
        (concepts.cluster_table("conv"), cluster_table(H["conv"], component_axis=0)),
        (concepts.distances("superclass"), concept_distances(concepts.class_shares("superclass"))),
        (concepts.entropies(), entropy_table(concepts.class_shares())),
        (concepts.nearest_examples(3, examples=[5]), nearest_examples(W, 3, examples=[5])),
    ]
    for given, expected in pairs:
        assert list(given.columns) == list(expected.columns)
        for name in given.columns:
            np.testing.assert_array_equal(given[name], expected[name])


def test_impurity_votes_with_as_many_as_a_class_has(concepts):
    table = concepts.impurity()
    assert set(table["n_neighbors"].tolist()) == {60 // 4}
    np.testing.assert_array_equal(table["impurity"], knn_impurity(concepts.W, 4)["impurity"])
    for row in table.rows():
        assert row["label"] == row["example"] % 4
        assert row["correct"] == (row["label"] == row["prediction"])
    curve = concepts.accuracy_by_impurity(table)
    assert curve["accuracy"][-1] == table["correct"].mean()
    np.testing.assert_array_equal(curve["accuracy"], concepts.accuracy_by_impurity()["accuracy"])


def test_images_and_their_masks(concepts):
    images = concepts.images([3, 9])
    assert images.shape == (2, 6, 8, 3)
    for c in range(3):
        pixels = concepts.store.arrays[f"input.{c}"][9].reshape(6, 8)
        np.testing.assert_array_equal(images[1, :, :, c], pixels)
    rows = concepts.top_examples(1, 4)["example"]
    image = concepts.concept_image(1)
    for masked, whole in zip(concepts.masked_examples(1, 4), concepts.images(rows), strict=True):
        for c in range(3):
            median = np.median(image[..., c])
            kept = image[..., c] > median
            assert kept.sum() == 24
            np.testing.assert_array_equal(masked[..., c], np.where(kept, whole[..., c], 0))


def test_stored_bytes_are_brought_to_one(concepts):
    for view in concepts.pixel_views:
        concepts.store.arrays[view] *= 255
    assert 0.9 < concepts.images(range(60)).max() <= 1


def test_saliency_is_the_map_of_the_layer_times_W(concepts):
    maps = concepts.saliency(2, "conv", [0, 5])
    assert maps.shape == (2, 6, 8)
    torch = pytest.importorskip("torch")
    small = torch.from_numpy(concepts.position_map("conv", 2))[None, None]
    large = torch.nn.functional.interpolate(
        small, size=(6, 8), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    for place, i in enumerate((0, 5)):
        np.testing.assert_allclose(maps[place], concepts.W[i, 2] * large, rtol=1e-10)


def test_saliency_without_pixels_is_at_the_size_of_the_layer():
    fit, _ = planted()
    concepts = Concepts(fit, shapes={"conv": SHAPES["conv"]})
    expected = concepts.W[4, 1] * concepts.position_map("conv", 1)
    np.testing.assert_allclose(concepts.saliency(1, "conv", [4])[0], expected)


def test_cka_of_views_as_captured_and_as_given_back(concepts):
    captured = {view: np.random.default_rng(1).random((60, H.shape[1]), np.float32)
                for view, H in concepts.nmf.components_.items()}  # fmt: skip
    concepts.store.arrays = captured
    table = concepts.cka()
    assert len(table) == 10 * 11 / 2
    every = {(v, "captured"): x for v, x in captured.items()}
    every |= {(v, "reconstructed"): concepts.W @ H for v, H in concepts.nmf.components_.items()}
    for row in list(table.rows())[::7]:
        a, b = (every[row[s], row[f"{s}_is"]] for s in ("view", "other"))
        expected = linear_cka({"a": a, "b": b})
        assert row["cka"] == pytest.approx(expected["cka"][1], rel=1e-4)
        assert row["cka_debiased"] == pytest.approx(expected["cka_debiased"][1], abs=1e-4)
        assert row["n_examples"] == 60
    assert set(concepts.cka(max_examples=20)["n_examples"].tolist()) == {20}


def test_stability_and_matches_through_W_and_H(concepts):
    other, store = planted()
    order = [2, 0, 3, 1]
    other.W_ = other.W_[:, order]
    other.components_ = {view: 2 * H[order] for view, H in other.components_.items()}
    for through in ("W", "H"):
        matched = concepts.match(Concepts(other, store), through)
        assert [order[s] for s in matched["match"]] == [0, 1, 2, 3]
        assert matched["cosine"] == pytest.approx(np.ones(4), rel=1e-6)
    table = concepts.stability([other])
    assert list(table.columns) == ["concept", "mean_cosine", "min_cosine", "n_matched"]
    assert table["mean_cosine"] == pytest.approx(np.ones(4), rel=1e-6)
    with pytest.raises(ValueError, match="expected 'W' or 'H'"):
        concepts.match(Concepts(other, store), "G")
    del other.components_["fc"]
    with pytest.raises(ValueError, match="or compare through W"):
        concepts.match(Concepts(other, store), "H")


def test_shift_of_the_second_half(concepts):
    attacked = np.arange(60) >= 30
    expected = concept_shift(concepts.W, attacked, concepts.labels, 4)
    given = concepts.shift(attacked)
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(given[name], column)


def test_what_the_new_analyses_lack_is_named(concepts):
    bare = Concepts(concepts.nmf)
    with pytest.raises(ValueError, match=r"there are no classes, .* give n_neighbors"):
        bare.impurity()
    with pytest.raises(ValueError, match="accuracy needs labels and predictions"):
        Concepts(concepts.nmf, labels=concepts.labels).accuracy_by_impurity()
    with pytest.raises(ValueError, match="images need a store with the pixel views"):
        bare.images([0])
    with pytest.raises(ValueError, match="CKA needs the activations; give a store"):
        bare.cka()
