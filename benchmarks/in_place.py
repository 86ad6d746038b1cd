"""cofactor.NMF put in place of scikit-learn's inside libraries that explain networks.

    python benchmarks/in_place.py                      # activations made up
    python benchmarks/in_place.py acts/ --view layer4  # those of a store of `cofactor capture`

Each library runs its own code on the same activations, once with scikit-learn's NMF and once with
cofactor's under the same name, in turns. Printed are the shapes that come out, the Frobenius norm
of the residual (cofactor's over scikit-learn's), the median seconds of the whole call, and their
ratio. A library that is not installed is named with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import sklearn.decomposition
import torch

import cofactor as cf
from cofactor.bench import synthetic_views

Array = np.ndarray


@dataclass
class Outcome:
    """Two factors and the matrix that they stand for."""

    X: Array
    W: Array
    H: Array

    @property
    def error(self) -> float:
        X, W, H = (np.asarray(part, np.float64) for part in (self.X, self.W, self.H))
        return float(np.linalg.norm(X - W @ H))


def grad_cam(module: Any, activations: Array, k: int) -> Outcome:
    concepts, maps = module.dff(activations.copy(), n_components=k)
    X = activations.transpose(1, 0, 2, 3).reshape(activations.shape[1], -1)
    offset = X.min(axis=1, keepdims=True)
    return Outcome(X - offset, concepts - offset, maps.transpose(1, 0, 2, 3).reshape(k, -1))


def craft(module: Any, activations: Array, k: int) -> Outcome:
    """CRAFT on crops whose latent activations are known, so that the network costs nothing."""
    latent = iter(torch.from_numpy(activations).split(64))
    extractor = module.Craft(
        lambda crops: next(latent)[: len(crops)],
        number_of_concepts=k,
        batch_size=64,
        patch_size=8,
        device="cpu",
    )
    _, U, W = extractor.fit(torch.zeros(len(activations), 3, 8, 8))
    return Outcome(activations.mean(axis=(2, 3)), U, W)


def overcomplete(module: Any, activations: Array, k: int) -> Outcome:
    X = pixels_as_rows(activations)
    dictionary = module.SkNMF(k, random_state=0)
    dictionary.fit(torch.from_numpy(X))
    return Outcome(X, dictionary.encode(torch.from_numpy(X)), dictionary.get_dictionary())


def xplique(module: Any, activations: Array, k: int) -> Outcome:
    X = pixels_as_rows(activations)
    factorizer = module.TorchSklearnNMFFactorizer(k, random_state=0)
    bank, coefficients = factorizer.fit(X)
    return Outcome(X, coefficients, bank)


def lucent(module: Any, activations: Array, k: int) -> Outcome:
    reducer = module.ChannelReducer(k, module.NMF, random_state=0)
    reduced = reducer.fit_transform(np.ascontiguousarray(activations.transpose(0, 2, 3, 1)))
    return Outcome(pixels_as_rows(activations), reduced.reshape(-1, k), reducer.components)


def pixels_as_rows(activations: Array) -> Array:
    rows = activations.transpose(0, 2, 3, 1).reshape(-1, activations.shape[1])
    return np.ascontiguousarray(rows)


Run = Callable[[Any, Array, int], Outcome]

LIBRARIES: dict[str, tuple[Run, str, str]] = {
    "grad-cam": (
        grad_cam,
        "pytorch_grad_cam.feature_factorization.deep_feature_factorization",
        "dff, channels x positions",
    ),
    "Craft-xai": (craft, "craft.craft_torch", "Craft.fit, crops x channels"),
    "overcomplete": (
        overcomplete,
        "overcomplete.optimization.sklearn_wrappers",
        "SkNMF.fit and .encode, positions x channels",
    ),
    "xplique": (
        xplique,
        "xplique.concepts.torch.factorizer",
        "TorchSklearnNMFFactorizer.fit, positions x channels",
    ),
    "torch-lucent": (
        lucent,
        "lucent.misc.channel_reducer",
        "ChannelReducer.fit_transform, positions x channels",
    ),
}


@contextlib.contextmanager
def in_place(module: Any, nmf: type) -> Iterator[None]:
    """Let the library's own code find `nmf` where it looks for scikit-learn's."""
    # xplique keeps the name in the module that its torch classes build on.
    places = [module, *(importlib.import_module(name) for name in BASES.get(module.__name__, ()))]
    kept = [getattr(place, "NMF", None) for place in places]
    for place in places:
        place.NMF = nmf
    try:
        yield
    finally:
        for place, old in zip(places, kept, strict=True):
            place.NMF = old


BASES = {"xplique.concepts.torch.factorizer": ("xplique.concepts.factorizer",)}


def compare(run: Run, module: Any, activations: Array, k: int, turns: int) -> str:
    peers = {"cofactor": cf.NMF, "scikit-learn": sklearn.decomposition.NMF}
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    outcomes: dict[str, Outcome] = {}
    for _ in range(turns):
        for name, nmf in peers.items():
            with in_place(module, nmf):
                start = time.perf_counter()
                outcomes[name] = run(module, activations, k)
                seconds[name].append(time.perf_counter() - start)
    ours, theirs = outcomes["cofactor"], outcomes["scikit-learn"]
    if (ours.W.shape, ours.H.shape) != (theirs.W.shape, theirs.H.shape):
        raise SystemExit(f"shapes differ: {ours.W.shape}, {theirs.W.shape}")
    times = {name: median(values) for name, values in seconds.items()}
    return (
        f"{tuple(ours.W.shape)}, {tuple(ours.H.shape)} | {ours.error / theirs.error:.5f} | "
        f"{times['scikit-learn']:.3f} | {times['cofactor']:.3f} | "
        f"{times['scikit-learn'] / times['cofactor']:.1f}"
    )


def load(arguments: argparse.Namespace) -> Array:
    """Activations of shape (images, channels, height, width), float32 and not negative."""
    n = arguments.images
    if arguments.store is None:
        return synthetic_views(n, 256 * 49 * 8 // 5, dtype="float32")["layer3"][
            :, : 256 * 49
        ].reshape(n, 256, 7, 7)
    store = cf.ActivationStore(arguments.store)
    shape = store.views[arguments.view].shape
    rows = np.concatenate([chunk[:n] for chunk in store.chunks(arguments.view)[:1]])[:n]
    return rows.astype(np.float32).reshape(len(rows), *shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--view", default="layer4", help="a view of the store with positions")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rank", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=list(LIBRARIES), help="this library alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    activations = load(arguments)
    print(f"activations {activations.shape}, {arguments.rank} components\n")
    print(
        "| library | call | W, H | error, ratio | scikit-learn, s | cofactor, s | times as fast |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, (run, path, call) in LIBRARIES.items():
        if arguments.only not in (None, name):
            continue
        try:
            module = importlib.import_module(path)
        except Exception as error:
            print(f"| {name} | cannot be imported here: {error} |")
            continue
        row = compare(run, module, activations, arguments.rank, arguments.turns)
        print(f"| {name} | {call} | {row} |", flush=True)


if __name__ == "__main__":
    main()
