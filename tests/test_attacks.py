"""Adversarial images: how far they go, and that they fool."""

import tempfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
# When it is imported, the toolbox writes settings into the home directory, which are not ours to
# leave there, and which two test processes that meet here would read half-written.
with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
    patch.setenv("HOME", home)
    pytest.importorskip("art")

import cofactor as cf  # noqa: E402
from cofactor.attacks import Attacked, CleanThenAdversarial  # noqa: E402
from cofactor.datasets import ImageSource  # noqa: E402
from small_network import MEAN, STD, Net, normalised  # noqa: E402


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Net().eval()


@pytest.fixture
def loader():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 3, 8, 8)).astype(np.uint8)
    labels = random.integers(0, 5, 12)
    return [(images[:8], labels[:8]), (images[8:], labels[8:])]


def test_fgsm_is_one_step_along_the_sign_of_the_gradient(network, loader):
    attacked = list(Attacked(network, loader, "fgsm", eps=6 / 255, normalize=(MEAN, STD)))
    for (images, labels), (changed, kept) in zip(loader, attacked, strict=True):
        x = torch.from_numpy(images).float().div(255).requires_grad_()
        mean, std = (torch.tensor(m).view(1, 3, 1, 1) for m in (MEAN, STD))
        loss = torch.nn.functional.cross_entropy(
            network((x - mean) / std), torch.from_numpy(labels)
        )
        (gradient,) = torch.autograd.grad(loss, x)
        expected = (x + 6 / 255 * gradient.sign()).clamp(0, 1).mul(255).round()
        same = changed == expected.detach().numpy()
        # The sign of what is zero but for rounding is anyone's guess.
        assert same.mean() > 0.99
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(kept, labels)


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_attacks_stay_near_and_raise_the_loss(network, loader, method):
    def loss(images, labels):
        with torch.no_grad():
            logits = network(normalised(torch.from_numpy(images)))
        return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)))

    attack = Attacked(network, loader, method, eps=4 / 255, normalize=(MEAN, STD))
    assert len(attack) == 2
    for (images, labels), (changed, _) in zip(loader, attack, strict=True):
        assert np.abs(changed.astype(int) - images).max() <= 4
        assert loss(changed, labels) > loss(images, labels)
    first, again = (np.concatenate([x for x, _ in attack]) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_without_labels_the_own_prediction_is_attacked(network, loader):
    own = [(x, network(normalised(torch.from_numpy(x))).argmax(1).numpy()) for x, _ in loader]
    given = list(Attacked(network, own, normalize=(MEAN, STD)))
    alone = list(Attacked(network, [x for x, _ in loader], normalize=(MEAN, STD)))
    for (a, _), (b, labels) in zip(given, alone, strict=True):
        assert labels is None
        assert (a == b).mean() > 0.99


def test_the_network_is_a_copy_and_left_alone(network, loader):
    network.train()
    hooked = []
    network.conv1.register_forward_hook(lambda *_: hooked.append(1))
    attack = Attacked(network, loader)
    hooked.clear()
    network.conv1._forward_hooks.clear()
    network.conv1.register_forward_hook(lambda *_: hooked.append(2))
    list(attack)
    assert 2 not in hooked
    assert network.training
    assert all(p.grad is None for p in network.parameters())


def test_clean_and_adversarial_images_are_captured_together(network, loader, tmp_path):
    clean = ImageSource(loader, n_examples=12, attributes={"class_names": list("abcde")})
    both = CleanThenAdversarial(clean, Attacked(network, clean, normalize=(MEAN, STD)))
    assert len(both) == 4
    assert len(both.dataset) == 24
    store = cf.capture(
        network, both, ["relu"], pixels=True, normalize=(MEAN, STD), out=tmp_path / "acts",
        attributes=both.attributes,
    )  # fmt: skip
    assert both.n_clean == 12
    assert store.n_examples == 24
    labels = store.columns["labels"]
    np.testing.assert_array_equal(labels[:12], labels[12:])
    pixels = store.read("input.0")
    assert 0 < np.abs(pixels[12:] - pixels[:12]).max() <= 8.001 / 255
    assert store.attributes["class_names"] == list("abcde")


def test_what_does_not_fit_is_named(network, loader):
    with pytest.raises(ValueError, match="method = 'cw'; expected one of fgsm, pgd"):
        Attacked(network, loader, "cw")
    with pytest.raises(ValueError, match=r"eps = 8; expected a number above 0, at most 1"):
        Attacked(network, loader, eps=8)
    floats = [np.zeros((2, 3, 8, 8), np.float32)]
    with pytest.raises(ValueError, match=r"dtype float32 .*expected uint8"):
        list(Attacked(network, floats))
    with pytest.raises(ValueError, match="12 clean images and 8 adversarial ones"):
        list(CleanThenAdversarial(loader, loader[:1]))
    with pytest.raises(ValueError, match="an attack expects logits"):
        list(Attacked(network.conv1, loader))


def test_the_extra_is_named_where_the_toolbox_is_absent(network, loader, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "art", None)
    with pytest.raises(cf.MissingExtraError, match=r"needs art.*'cofactor\[attack\]'"):
        Attacked(network, loader)
