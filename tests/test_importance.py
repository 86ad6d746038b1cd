"""What becomes of a network's output when a concept is taken out of a layer."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import cofactor as cf  # noqa: E402
from cofactor import _replacement  # noqa: E402
from cofactor.concepts import Concepts, match_concepts  # noqa: E402
from cofactor.importance import concept_importance, reconstruction_importance  # noqa: E402
from fake_fit import FakeFit  # noqa: E402

nn = torch.nn
K = 5


class Residual(nn.Module):
    """A layer that is passed by, one that is not, and a module that is called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.inner = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(48, 4)
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        x = self.relu(self.first(x))
        x = self.relu(x + self.relu(self.inner(x)))
        return self.fc(x.flatten(1))


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Residual()


@pytest.fixture
def images():
    return np.random.default_rng(0).random((11, 2, 4, 4), np.float32)


def batches(images, size=4):
    return [torch.from_numpy(images[i : i + size]) for i in range(0, len(images), size)]


def fitted(view, d=48, n=11, labels=True):
    random = np.random.default_rng(1)
    W = random.gamma(0.5, size=(n, 3)).astype(np.float32)
    H = 0.2 * random.gamma(0.5, size=(3, d)).astype(np.float32)
    return Concepts(FakeFit(W, {view: H}), labels=np.arange(n) % 4 if labels else None)


def by_hand(network, images, concepts, view, change):
    """Logits before and after, one example and one replacement at a time."""
    H = torch.from_numpy(concepts.nmf.components_[view])
    before, after = [], []
    for i, image in enumerate(torch.from_numpy(images)):
        w = torch.from_numpy(concepts.W[i])
        with torch.no_grad():
            first = network.relu(network.first(image[None]))
            inner = network.relu(network.inner(first))
            second = network.relu(first + inner)
            before.append(network.fc(second.flatten(1))[0])
            if view == "relu":
                first = change(first.flatten(), w, H).view(1, 3, 4, 4)
                inner = network.relu(network.inner(first))
            elif view == "relu_1":
                inner = change(inner.flatten(), w, H).view(1, 3, 4, 4)
            second = network.relu(first + inner)
            if view == "relu_2":
                second = change(second.flatten(), w, H).view(1, 3, 4, 4)
            after.append(network.fc(second.flatten(1))[0])
    return torch.stack(before).double().numpy(), torch.stack(after).double().numpy()


def measured(before, after, rows, labels):
    kl, changed, drops = [], [], []
    for i in rows:
        p, q = (np.exp(x) / np.exp(x).sum() for x in (before[i], after[i]))
        kl.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        changed.append(before[i].argmax() != after[i].argmax())
        drops.append((before[i].argmax() == labels[i]) - int(after[i].argmax() == labels[i]))
    return np.mean(kl), np.mean(changed), np.mean(drops)


# relu_1 is passed by, relu_2 is not, and relu passes itself by; all give the same as by hand.
@pytest.mark.parametrize("view", ["relu", "relu_1", "relu_2"])
@pytest.mark.parametrize("held", [1, 1 << 25])
def test_importance_is_what_one_gets_example_by_example(network, images, view, held, monkeypatch):
    monkeypatch.setattr(_replacement, "_HELD", held)
    concepts = fitted(view)
    table = concept_importance(network, batches(images), concepts, view)
    by_class = concept_importance(network, batches(images), concepts, view, by="class", which=[1])
    for row in table.rows():
        r = row["concept"]

        def without(x, w, H, r=r):
            return (x - w[r] * H[r]).clamp(min=0)

        before, after = by_hand(network, images, concepts, view, without)
        kl, changed, drop = measured(before, after, range(11), concepts.labels)
        assert row["kl"] == pytest.approx(kl, rel=1e-4, abs=1e-9)
        assert (row["changed"], row["accuracy_drop"]) == pytest.approx((changed, drop))
        assert row["n_examples"] == 11
        if r == 1:
            for part in by_class.rows():
                rows = [i for i in range(11) if concepts.labels[i] == part["class"]]
                kl, changed, drop = measured(before, after, rows, concepts.labels)
                assert part["kl"] == pytest.approx(kl, rel=1e-4, abs=1e-9)
                assert (part["changed"], part["accuracy_drop"]) == pytest.approx((changed, drop))
                assert part["n_examples"] == len(rows)


@pytest.mark.parametrize("view", ["relu_1", "relu_2"])
def test_a_layer_replaced_by_its_reconstruction(network, images, view):
    concepts = fitted(view)
    (row,) = reconstruction_importance(network, batches(images), concepts).rows()
    given = {}

    def rebuilt(x, w, H):
        given[len(given)] = (x.double().numpy(), (w @ H).double().numpy())
        return w @ H

    before, after = by_hand(network, images, concepts, view, rebuilt)
    kl, changed, drop = measured(before, after, range(11), concepts.labels)
    assert row["kl"] == pytest.approx(kl, rel=1e-4)
    assert (row["changed"], row["accuracy_drop"]) == pytest.approx((changed, drop))
    X, WH = (np.stack(arrays) for arrays in zip(*given.values(), strict=True))
    error = np.linalg.norm(X - WH) / np.linalg.norm(X)
    assert row["relative_error"] == pytest.approx(error, rel=1e-5)


def test_what_comes_before_the_layer_runs_once_for_all_concepts(network, images):
    concept_importance(network, batches(images), fitted("relu_2"), "relu_2")
    # A batch as it is and one with all replacements; and one to see whether that works.
    assert network.runs == 3 * 2 + 1
    network.runs = 0
    concept_importance(network, batches(images), fitted("relu_1"), "relu_1")
    assert network.runs == 3 * (1 + 3) + 1


def test_an_exact_reconstruction_changes_nothing(network, images):
    with torch.no_grad():
        x = network.relu(network.first(torch.from_numpy(images)))
    nmf = FakeFit(x.flatten(1).numpy(), {"first": np.eye(48, dtype=np.float32)})
    concepts = Concepts(nmf, labels=np.arange(11) % 4)
    network.first = nn.Sequential(network.first, nn.ReLU())
    (row,) = reconstruction_importance(network, batches(images), concepts).rows()
    assert row["relative_error"] == 0
    assert (row["changed"], row["accuracy_drop"]) == (0, 0)
    assert row["kl"] == pytest.approx(0, abs=1e-12)


def test_the_network_is_left_as_it_was(network, images):
    network.train()
    concept_importance(network, batches(images), fitted("relu_2"), "relu_2")
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_negative_activations_stay_as_they_are():
    network = nn.Sequential(nn.Identity(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -0.5, 0.3], [0.2, 0.4, -1.0]]))
    x = np.array([[-2.0, 1.0, 3.0]], np.float32)
    nmf = FakeFit(np.ones((1, 1), np.float32), {"0": np.array([[1.0, 2.0, 1.0]], np.float32)})
    (row,) = concept_importance(network, [x], Concepts(nmf), "0").rows()
    with torch.no_grad():
        before, after = (
            network(torch.tensor([v]).double()) for v in (x[0].tolist(), [-2.0, 0.0, 2.0])
        )
    kl = torch.nn.functional.kl_div(
        after.log_softmax(1), before.log_softmax(1), log_target=True, reduction="batchmean"
    )
    assert row["kl"] == pytest.approx(float(kl), rel=1e-12)
    assert "accuracy" not in row


# Planted: class c lives in neurons and pixels of its own


@pytest.fixture(scope="module")
def planted():
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(K), 30))
    images = 0.02 * random.random((len(labels), 1, K, 4), np.float32)
    pattern, strength = random.uniform(1, 2, (K, 4)), random.uniform(1, 2, (len(labels), 1))
    images[np.arange(len(labels)), 0, labels] += strength * pattern[labels]
    network = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Flatten(), nn.Linear(4 * K, K, bias=False))
    with torch.no_grad():
        network[3].weight.copy_(torch.eye(K).repeat_interleave(4, 1))
    X = {"1": images.reshape(len(labels), -1)}
    nmf = cf.CoupledNMF(K, random_state=0).fit(X)
    concepts = Concepts(nmf, labels=labels, predictions=labels)
    truth = np.zeros((len(labels), K))
    truth[np.arange(len(labels)), labels] = 1
    matched = match_concepts(concepts.W, truth)
    return network, batches(images, 32), concepts, matched["match"]


def test_a_concept_taken_out_changes_its_classes_and_no_others(planted):
    network, loader, concepts, class_of = planted
    table = concept_importance(network, loader, concepts, "1", by="class")
    assert len(table) == K * K
    for row in table.rows():
        assert row["n_examples"] == 30
        if row["class"] == class_of[row["concept"]]:
            # Only noise is left, which speaks for any class.
            assert row["accuracy_drop"] > 0.7
            assert row["kl"] > 1
        else:
            assert row["accuracy_drop"] == 0
            assert row["changed"] == 0
            assert row["kl"] < 0.01
    whole = concept_importance(network, loader, concepts, "1")
    for row in whole.rows():
        own = table["concept"] == row["concept"]
        assert row["accuracy_drop"] == pytest.approx(table["accuracy_drop"][own].mean())
        assert row["kl"] == pytest.approx(table["kl"][own].mean())


def test_the_reconstruction_of_planted_concepts_is_enough(planted):
    network, loader, concepts, _ = planted
    (row,) = reconstruction_importance(network, loader, concepts).rows()
    assert row["accuracy"] == 1
    assert row["relative_error"] < 0.3


# What does not fit


def test_the_first_examples_alone(network, images):
    concepts = fitted("relu_2")
    short = concept_importance(network, batches(images), concepts, "relu_2", max_examples=6)
    assert set(short["n_examples"].tolist()) == {6}


def test_other_images_are_refused(network, images, tmp_path):
    store = cf.capture(network, batches(images), ["relu"], out=tmp_path / "acts", dtype="float32")
    nmf = cf.CoupledNMF(3, random_state=0).fit(store)
    concepts = Concepts(nmf, store)
    view = list(store.views)[-1]
    assert len(concept_importance(network, batches(images), concepts, view)) == 3
    with pytest.raises(ValueError, match="the same images in the same order"):
        concept_importance(network, batches(images[::-1].copy()), concepts, view)
    with pytest.raises(ValueError, match="yields 8 images and W has 11 rows"):
        concept_importance(network, batches(images[:8]), concepts, view)
    with pytest.raises(ValueError, match=r"more images than W has rows \(11\)"):
        concept_importance(network, batches(np.tile(images, (2, 1, 1, 1))), concepts, view)


def test_what_does_not_fit_is_named(network, images):
    loader = batches(images)
    with pytest.raises(ValueError, match="there is no view 'layer9'"):
        concept_importance(network, loader, fitted("relu"), "layer9")
    with pytest.raises(
        ValueError, match="layer 'rel' matches no module of Residual; nearest: relu"
    ):
        concept_importance(network, loader, fitted("rel"), "rel")
    with pytest.raises(ValueError, match="'relu_7' ran 3 times"):
        concept_importance(network, loader, fitted("relu_7"), "relu_7")
    with pytest.raises(ValueError, match="gives 48 numbers an example and the fit has 3"):
        concept_importance(network, loader, fitted("relu", d=3), "relu")
    with pytest.raises(IndexError, match="concept 3 does not exist"):
        concept_importance(network, loader, fitted("relu"), "relu", which=[3])
    with pytest.raises(ValueError, match="no labels"):
        concept_importance(network, loader, fitted("relu", labels=False), "relu", by="class")
    with pytest.raises(ValueError, match="by = 'example'"):
        concept_importance(network, loader, fitted("relu"), "relu", by="example")
    with pytest.raises(ValueError, match="max_examples = 0"):
        concept_importance(network, loader, fitted("relu"), "relu", max_examples=0)
    with pytest.raises(ValueError, match="layers is empty"):
        reconstruction_importance(network, loader, fitted("relu"), [])
    spatial = nn.Sequential(nn.Identity(), nn.ReLU())
    with pytest.raises(ValueError, match=r"returns shape \(4, 2, 4, 4\); expected logits"):
        concept_importance(spatial, loader, fitted("1", d=32), "1")
