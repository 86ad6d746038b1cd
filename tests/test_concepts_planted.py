"""Planted concepts are found again: in examples, neurons and pixels, class by class."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

import cofactor as cf
from cofactor.concepts import Concepts, match_concepts

K, PER_CLASS = 6, 40
SHAPES = {"input.0": (6, 6), "conv": (8, 3, 3), "fc": (30,)}


@pytest.fixture(scope="module")
def planted():
    """k classes with a concept each, whose neurons and pixels are its own, and low noise."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(K), PER_CLASS))
    W = np.zeros((len(labels), K))
    W[np.arange(len(labels)), labels] = random.uniform(1, 2, len(labels))
    owners, views = {}, {}
    for view, shape in SHAPES.items():
        d = int(np.prod(shape))
        owners[view] = random.permutation(np.arange(d) % K)
        H = np.zeros((K, d))
        H[owners[view], np.arange(d)] = random.uniform(1, 2, d)
        noise = 0.05 * random.random((len(labels), d))
        views[view] = (W @ H + noise).astype(np.float32)
    nmf = cf.CoupledNMF(K, random_state=0).fit(views)
    predictions = np.where(random.random(len(labels)) < 0.9, labels, (labels + 1) % K)
    concepts = Concepts(nmf, labels=labels, predictions=predictions, shapes=SHAPES)
    return concepts, W, owners


def test_examples_neurons_and_pixels_are_clustered_by_their_concept(planted):
    concepts, _, owners = planted
    assert concepts.scores()["nmi"][0] > 0.99
    for view, owner in owners.items():
        assert normalized_mutual_info_score(owner, concepts.clusters(view)) > 0.99


def test_W_and_every_concept_is_the_planted_one(planted):
    concepts, W, owners = planted
    matched = match_concepts(W, concepts.W)
    assert matched["cosine"].min() > 0.99
    class_of = np.empty(K, int)
    class_of[matched["match"]] = matched["concept"]
    assert concepts.class_shares().argmax(axis=1).tolist() == class_of.tolist()
    assert concepts.class_shares().max(axis=1).min() > 0.95
    for r in range(K):
        strongest = concepts.neurons("fc", r, n=5)
        assert (owners["fc"][strongest["neuron"]] == class_of[r]).all()
        bright = concepts.concept_image(r)[..., 0].ravel() > 0.3
        assert bright.tolist() == (owners["input.0"] == class_of[r]).tolist()
        assert (
            concepts.labels[concepts.top_examples(r, PER_CLASS)["example"]] == class_of[r]
        ).all()


def test_what_is_apart_is_called_apart(planted):
    concepts, _, _ = planted
    assert concepts.coherence()["max"].max() < 0.1
    assert concepts.eigenvalues()["eigenvalue"].max() < 1.3
    # As many vote as there are others of the class.
    impurity = concepts.impurity(n_neighbors=PER_CLASS - 1)
    assert impurity["impurity"].max() == 0
    assert impurity["agreement"].min() == 1
    # Own shares above 0.95 leave a Bhattacharyya coefficient of at most 2 sqrt(0.05) + 0.05.
    assert concepts.distances()["hellinger"].min() > 0.7
    assert concepts.entropies()["n_in"].tolist() == [1] * K


def test_seeds_agree_and_another_rank_does_not_hide_it(planted):
    concepts, _, _ = planted
    X = concepts.nmf.inverse_transform(concepts.W)
    others = [cf.CoupledNMF(K, random_state=seed).fit(X) for seed in (1, 2)]
    table = concepts.stability(others)
    assert table["min_cosine"].min() > 0.99
    smaller = cf.CoupledNMF(K - 2, random_state=0).fit(X)
    assert len(concepts.match(Concepts(smaller))) == K - 2


def test_noise_alone_is_not_stable():
    X = {"noise": np.random.default_rng(0).random((200, 60), np.float32)}
    runs = [cf.CoupledNMF(8, random_state=seed).fit(X) for seed in range(3)]
    assert np.mean(Concepts(runs[0]).stability(runs[1:])["mean_cosine"]) < 0.97
