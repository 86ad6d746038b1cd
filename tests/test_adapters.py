"""The adapters, each beside what it stands in for, on the same input."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from cofactor.adapters import (
    ChannelReducer,
    NMFFactorizer,
    OvercompleteNMF,
    deep_feature_factorization,
)

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
A = np.maximum(RNG.random((60, 3)) @ RNG.random((3, 12)) + 0.1 * RNG.random((60, 12)), 0).astype(
    np.float32
)
K = 3
OPTIONS = {"init": "random", "random_state": 0, "max_iter": 1000}


def real(name: str) -> ModuleType:
    """Import another library, whose warnings are its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except Exception as error:
            pytest.skip(f"{name} cannot be imported here: {error}")


def part_of(package: str, name: str, path: str) -> ModuleType:
    """Import one file of a package whose ``__init__`` needs more than the file does."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    spec = importlib.util.spec_from_file_location(name, Path(found.origin).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loss(X: np.ndarray, W: Any, H: Any) -> float:
    return float(np.linalg.norm(X - np.asarray(W) @ np.asarray(H)))


def test_overcomplete() -> None:
    theirs = real("overcomplete.optimization").SkNMF(K, **OPTIONS)
    ours = OvercompleteNMF(K, **OPTIONS)
    given = torch.from_numpy(A)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(given)
    Z, D = ours.fit(given)
    assert ours.fitted
    assert torch.equal(D, ours.get_dictionary())
    assert D.shape == theirs.get_dictionary().shape
    assert D.dtype == theirs.get_dictionary().dtype
    for codes, expected in ((Z, theirs.encode(given)), (ours.encode(given), theirs.encode(given))):
        assert codes.shape == expected.shape
        assert codes.dtype == expected.dtype
    assert ours.decode(Z).shape == theirs.decode(Z).shape
    assert loss(A, Z, D) <= 1.001 * loss(A, theirs.encode(given), theirs.get_dictionary())


def test_overcomplete_takes_batches() -> None:
    whole, batches = OvercompleteNMF(K, **OPTIONS), OvercompleteNMF(K, **OPTIONS)
    data = torch.utils.data.TensorDataset(torch.from_numpy(A), torch.arange(len(A)))
    whole.fit(A)
    Z, D = batches.fit(torch.utils.data.DataLoader(data, batch_size=7))
    assert torch.equal(D, whole.get_dictionary())
    assert torch.equal(Z, whole.encode(A))
    with pytest.raises(ValueError, match="Model must be fitted before"):
        OvercompleteNMF(K).encode(A)


def test_xplique() -> None:
    base = part_of("xplique", "xplique_factorizer", "concepts/factorizer.py")
    members = base.ConceptFactorizer.__abstractmethods__
    ours = NMFFactorizer(K, **OPTIONS)
    assert members <= {name for name in dir(ours) if not name.startswith("_")}

    class Theirs(base.SklearnNMFFactorizer):  # type: ignore[misc,name-defined]
        def encode_differentiable(self, activations: object) -> None:
            raise NotImplementedError

    theirs = Theirs(K, **OPTIONS)
    assert not ours.is_fitted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        their_bank, their_coefficients = theirs.fit(A)
    bank, coefficients = ours.fit(A)
    assert ours.is_fitted
    assert ours.requires_positive_activations == theirs.requires_positive_activations
    assert bank.shape == their_bank.shape
    assert coefficients.shape == their_coefficients.shape
    assert bank.dtype == their_bank.dtype
    assert np.array_equal(ours.get_concept_bank(), bank)
    assert ours.encode(A).shape == theirs.encode(A).shape
    assert np.allclose(ours.decode(coefficients), coefficients @ bank)
    assert loss(A, coefficients, bank) <= 1.001 * loss(A, their_coefficients, their_bank)


def extractor_of(images: list[np.ndarray]) -> tuple[Any, list[Any]]:
    """What xplique calls a latent extractor, with known activations, and these as it has them."""
    base = real("xplique.concepts.latent_extractor").LatentData

    class Latent(base):  # type: ignore[misc,valid-type]
        def __init__(self, activations: np.ndarray) -> None:
            self.activations = torch.from_numpy(activations)

        def __len__(self) -> int:
            return len(self.activations)

        def get_activations(self, as_numpy: bool = True, keep_gradients: bool = False) -> Any:
            if keep_gradients:
                self.activations.requires_grad_()
            return self.activations.detach().numpy() if as_numpy else self.activations

        def set_activations(self, values: np.ndarray) -> None:
            self.activations = torch.from_numpy(values)

    class Extractor:
        batch_size = 2

        def input_to_latent_generator(self, inputs: object) -> Any:
            yield from map(Latent, images)

    return Extractor(), [Latent(image[None]) for batch in images for image in batch]


def test_xplique_explains_with_our_factorizer() -> None:
    crafts = real("xplique.concepts.torch.holistic_craft")
    images = [A[:30].reshape(2, 3, 5, 12), A[30:].reshape(2, 3, 5, 12)]
    extractor, latents = extractor_of(images)
    crafted = {}
    for factorizer in (NMFFactorizer(K, **OPTIONS), None):
        craft = crafts.HolisticCraftTorch(extractor, K, device="cpu", factorizer=factorizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            craft.fit(None)
        crafted[factorizer is None] = craft
    ours, theirs = crafted[False], crafted[True]
    assert ours.factorization.coeffs_u.shape == theirs.factorization.coeffs_u.shape
    latent = latents[0]
    concepts = ours.latent_to_concept(latent)
    assert concepts.shape == theirs.latent_to_concept(latent).shape
    differentiable = ours.latent_to_concept_differentiable(latent)
    np.testing.assert_allclose(differentiable.detach(), concepts, atol=1e-5)
    differentiable.sum().backward()
    assert bool(latent.activations.grad.any())


@pytest.mark.parametrize("penalty", [{}, {"alpha_W": 1e-2, "alpha_H": 1e-3, "l1_ratio": 0.5}])
def test_differentiable_coefficients(penalty: dict[str, float]) -> None:
    factorizer = NMFFactorizer(K, init="random", random_state=0, tol=1e-3, **penalty)
    factorizer.fit(A.astype(np.float64))
    activations = torch.from_numpy(A[:5].astype(np.float64) + RNG.random((5, 12))).requires_grad_()
    coefficients = factorizer.encode_differentiable(activations)
    expected = factorizer.encode(activations.detach())
    assert torch.allclose(coefficients, expected, atol=1e-8)
    # A derivative of what is piecewise linear is a difference quotient, up to rounding.
    direction = torch.from_numpy(RNG.standard_normal((5, 12)))
    (gradient,) = torch.autograd.grad((coefficients * expected).sum(), activations)
    step = 1e-6
    moved = factorizer.encode(activations.detach() + step * direction)
    back = factorizer.encode(activations.detach() - step * direction)
    slope = ((moved - back) * expected).sum() / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)
    assert factorizer.decode(coefficients).requires_grad


def test_lucent_channel_reducer() -> None:
    theirs = part_of("lucent", "lucent_channel_reducer", "misc/channel_reducer.py").ChannelReducer(
        K, **OPTIONS
    )
    acts = A.reshape(3, 4, 5, 12)
    ours = ChannelReducer(K, **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = theirs.fit_transform(acts)
    reduced = ours(acts)
    assert reduced.shape == expected.shape == (3, 4, 5, K)
    assert reduced.dtype == expected.dtype
    assert np.array_equal(ours(acts), reduced)
    assert ours.components.shape == theirs.components.shape
    assert ours.inverse_transform(reduced).shape == acts.shape
    found = loss(A, reduced.reshape(-1, K), ours.components)
    assert found <= 1.001 * loss(A, expected.reshape(-1, K), theirs.components)
    assert np.array_equal(ChannelReducer(K, **OPTIONS).fit(acts).components, ours.components)
    with pytest.raises(ValueError, match=r"shape \(12,\); expected an array of at least two axes"):
        ours.fit(acts[0, 0, 0])


def test_grad_cam_deep_feature_factorization() -> None:
    module = real("pytorch_grad_cam.feature_factorization.deep_feature_factorization")
    activations = RNG.standard_normal((2, 12, 5, 6)).astype(np.float32)
    activations[0, 0, 0, 0] = np.nan
    before = activations.copy()
    concepts, maps = deep_feature_factorization(activations, n_components=K)
    assert np.array_equal(activations, before, equal_nan=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        their_concepts, their_maps = module.dff(activations.copy(), n_components=K)
    assert concepts.shape == their_concepts.shape
    assert maps.shape == their_maps.shape
    assert concepts.dtype == their_concepts.dtype
    X = np.nan_to_num(activations).transpose(1, 0, 2, 3).reshape(12, -1)
    offset = X.min(axis=1, keepdims=True)

    def error(concepts: np.ndarray, maps: np.ndarray) -> float:
        return loss(X - offset, concepts - offset, maps.transpose(1, 0, 2, 3).reshape(K, -1))

    assert error(concepts, maps) <= 1.001 * error(their_concepts, their_maps)


def test_deep_feature_factorization_of_tensors() -> None:
    activations = torch.rand(1, 12, 5, 6, generator=torch.Generator().manual_seed(0))
    concepts, maps = deep_feature_factorization(activations, 2)
    assert isinstance(concepts, torch.Tensor)
    assert maps.shape == (1, 2, 5, 6)
    with pytest.raises(ValueError, match=r"shape \(12, 5, 6\); expected \(n_images, n_channels"):
        deep_feature_factorization(activations[0], 2)
