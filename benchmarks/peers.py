"""Other libraries that factorize a matrix, each at its best settings: float32, all threads.

A peer is a class with `name`, `prepare(case)`, which brings the data into the form that the library
likes and is not timed, and `fit(data, W, H, n_iter)`, which returns the factors after so many
iterations from that start (or from the library's own, where it takes none: `own_start`).
To add one, write a class and put it into `PEERS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

import cofactor as cf
from cofactor import _core
from cofactor.bench import draw_start


@dataclass
class Case:
    """A matrix to factorize: views side by side."""

    name: str
    views: Any  # a mapping of arrays or an ActivationStore
    columns: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_store(cls, path: str) -> Case:
        store = cf.ActivationStore(path)
        columns = {name: int(np.prod(view.shape)) for name, view in store.views.items()}
        return cls("store", store, columns)

    @classmethod
    def of_arrays(cls, name: str, **views: np.ndarray) -> Case:
        return cls(name, views, {view: array.shape[1] for view, array in views.items()})

    @cached_property
    def X(self) -> np.ndarray:
        """All views in float32, in the units of their values."""
        if isinstance(self.views, cf.ActivationStore):
            arrays = [self.views.read(name) for name in self.columns]
        else:
            arrays = list(self.views.values())
        return np.hstack([np.asarray(array, np.float32) for array in arrays])

    def split(self, H: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of H by view."""
        borders = np.cumsum(list(self.columns.values()))[:-1]
        return dict(zip(self.columns, np.split(H, borders, axis=1), strict=True))

    def start(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        return draw_start(self.X, rank)


class Peer:
    """What the peers share: the matrix in float32, as it is."""

    package: str
    solver: str
    module: str | None = None
    own_start = False

    @property
    def name(self) -> str:
        return f"{self.package} {self.solver}".rstrip()

    def version(self) -> str:
        """The version of the package; raises ImportError where it cannot be used."""
        import_module(self.module or self.package)
        return version(self.package)

    def prepare(self, case: Case) -> Any:
        return case.X

    def fit(self, data: Any, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        raise NotImplementedError


class Cofactor(Peer):
    """As it is installed: stored numbers in place, and by default its own start."""

    package = "cofactor"

    def __init__(self, same_start: bool = False, **parameters: Any) -> None:
        self.own_start = not same_start
        self._parameters = parameters
        settings = [f"{name}={value}" for name, value in parameters.items()]
        self.solver = ", ".join([*settings, *(["same start"] if same_start else [])])

    def prepare(self, case: Case) -> Case:
        return case

    def fit(self, data: Case, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        nmf = cf.CoupledNMF(
            H.shape[0], tol=0, max_iter=n_iter, random_state=0, device="cpu", **self._parameters
        )
        nmf.fit(data.views, H=None if self.own_start else data.split(H))
        return nmf.W_, np.hstack([nmf.components_[view] for view in data.columns])


class ScikitLearn(Peer):
    package, module = "scikit-learn", "sklearn"

    def __init__(self, solver: str) -> None:
        self.solver = solver

    def fit(self, data: np.ndarray, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        from sklearn.decomposition import NMF

        nmf = NMF(H.shape[0], init="custom", solver=self.solver, tol=0, max_iter=n_iter)
        return nmf.fit_transform(data, W=W.copy(), H=H.copy()), nmf.components_


class NmfTorch(Peer):
    """Batch mode, as online mode needs several passes of each chunk for the same loss."""

    package, module = "nmf-torch", "nmf"

    def __init__(self, solver: str) -> None:
        self.solver = solver

    def prepare(self, case: Case) -> Any:
        import torch

        return torch.from_numpy(case.X)

    def fit(self, data: Any, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        import torch
        from nmf import nmf_models

        base = nmf_models.NMFBatchHALS if self.solver == "halsvar" else nmf_models.NMFBatchNnlsBpp

        class FromStart(base):
            def _initialize_H_W(self, eps: float = 0.0) -> None:
                # The package calls W what is H here.
                self.H, self.W = torch.tensor(W), torch.tensor(H)

        model = FromStart(
            n_components=H.shape[0],
            init="random",
            beta_loss=2.0,
            tol=0.0,
            random_state=0,
            alpha_W=0.0,
            l1_ratio_W=0.0,
            alpha_H=0.0,
            l1_ratio_H=0.0,
            fp_precision="float",
            device_type="cpu",
            max_iter=n_iter,
        )
        model.fit(data)
        return model.H.numpy(), model.W.numpy()


class TorchNMF(Peer):
    """Multiplicative updates are all that it has."""

    package, module, solver = "torchnmf", "torchnmf.nmf", "mu"
    prepare = NmfTorch.prepare

    def fit(self, data: Any, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        import torch
        from torchnmf.nmf import NMF

        # The package's H is W here, and its W is the transpose of H.
        model = NMF(W=torch.tensor(H.T.copy()), H=torch.tensor(W))
        model.fit(data, beta=2, tol=0, max_iter=n_iter)
        return model.H.detach().numpy(), model.W.detach().numpy().T


class Overcomplete(Peer):
    """Its solver from a given start: its estimator would start with an NNDSVD of its own."""

    package, module, solver = "overcomplete", "overcomplete.optimization", "hals"
    prepare = NmfTorch.prepare

    def fit(self, data: Any, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        import torch
        from overcomplete.optimization.nmf import hierarchical_als

        with torch.no_grad():
            Z, D = hierarchical_als(
                data, torch.tensor(W), torch.tensor(H), max_iter=n_iter, tol=0.0
            )
        return Z.numpy(), D.numpy()


class Pyplanc(Peer):
    """Float64 is all that it has."""

    package = "pyplanc"

    def __init__(self, solver: str) -> None:
        self.solver = solver

    def prepare(self, case: Case) -> np.ndarray:
        return case.X.astype(np.float64).T

    def fit(self, data: np.ndarray, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        import pyplanc
        from threadpoolctl import threadpool_limits

        # Its own threads call OpenBLAS in the solves of anlsbpp; threads of both would fight.
        with threadpool_limits(1 if self.solver == "anlsbpp" else None, "blas"):
            found = pyplanc.nmf(
                data,
                H.shape[0],
                niter=n_iter,
                algo=self.solver,
                ncores=_core.default_threads(),
                Winit=np.asfortranarray(H.T, np.float64),
                Hinit=np.asfortranarray(W, np.float64),
            )
        return np.asarray(found.H), np.asarray(found.W).T


class Cmfrec(Peer):
    """Alternating least squares with non-negativity by coordinate descent, nothing centred."""

    package, solver, own_start = "cmfrec", "als", True

    def fit(self, data: np.ndarray, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        from cmfrec import CMF

        model = CMF(
            k=H.shape[0],
            lambda_=0.0,
            method="als",
            use_cg=False,
            user_bias=False,
            item_bias=False,
            center=False,
            nonneg=True,
            niter=n_iter,
            use_float=True,
            precompute_for_predictions=False,
            nthreads=_core.default_threads(),
        )
        model.fit(data)
        return model.A_, model.B_.T


class Matcouply(Peer):
    """Coupled by nature: the views, transposed, share C, which is W here; A is held at one."""

    package, module, solver = "matcouply", "matcouply.decomposition", "ao-admm"

    def prepare(self, case: Case) -> Any:
        views = case.split(case.X)
        return case, [np.ascontiguousarray(view.T) for view in views.values()]

    def fit(self, data: Any, W: np.ndarray, H: np.ndarray, n_iter: int) -> tuple[Any, Any]:
        from matcouply.decomposition import cmf_aoadmm

        case, matrices = data
        rank = H.shape[0]
        ones = np.ones((len(matrices), rank), np.float32)
        factors = [part.T.copy() for part in case.split(H).values()]
        _, (_, B, C) = cmf_aoadmm(
            matrices,
            rank,
            n_iter_max=n_iter,
            init=(None, (ones, factors, W.copy())),
            non_negative=[False, True, True],
            update_A=False,
            random_state=0,
            tol=None,
            absolute_tol=None,
        )
        # Its factors are non-negative in the limit only.
        return np.maximum(C, 0), np.maximum(np.vstack(B).T, 0)


PEERS: list[Peer] = [
    Cofactor(),
    Cofactor(same_start=True),
    ScikitLearn("cd"),
    ScikitLearn("mu"),
    NmfTorch("halsvar"),
    NmfTorch("bpp"),
    TorchNMF(),
    Overcomplete(),
    Pyplanc("hals"),
    Pyplanc("anlsbpp"),
    Cmfrec(),
    Matcouply(),
]
