"""What the processes of the tests of distributed fits do."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cofactor as cf
from cofactor import distributed
from cofactor._views import rows_of_rank
from cofactor.cli import main

LEARNED = (
    "components_",
    "weights_",
    "n_iter_",
    "n_passes_",
    "n_reseeded_",
    "loss_history_",
    "rejected_losses_",
    "sample_losses_",
    "view_losses_",
    "reconstruction_err_",
    "stop_reason_",
    "groups_",
    "group_norms_",
)


def planted(
    n: int, columns: dict[str, int], k: int, dtype: Any, noise: float = 0.8
) -> dict[str, NDArray[Any]]:
    """Views of rank k with noise: examples of one of k kinds, in order of their kind."""
    rng = np.random.default_rng(7)
    W = 0.05 * rng.random((n, k))
    W[np.arange(n), np.sort(rng.integers(k, size=n))] += 1.0
    return {
        name: (W @ rng.gamma(0.5, size=(k, d)) + noise * rng.random((n, d))).astype(dtype)
        for name, d in columns.items()
    }


def write_store(path: Path, X: dict[str, NDArray[Any]], rows_per_shard: int = 512) -> None:
    views = {name: {"shape": (x.shape[1],), "dtype": x.dtype.name} for name, x in X.items()}
    with cf.ActivationStore.create(path, views=views, rows_per_shard=rows_per_shard) as writer:
        writer.append(X)


def own_part(X: Any) -> Any:
    """Rows of this rank, as a store would be divided."""
    own = distributed.processes()
    if isinstance(X, dict):
        return {name: own_part(x) for name, x in X.items()}
    return X[rows_of_rank(len(X), own.rank, own.size)]


def fit(data: Any, parameters: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Fit a store, by its path and rows, or this rank's part of arrays, and transform it again."""
    if isinstance(data, dict):
        X = own_part(data)
        local = ("mask", "sample_weight", "groups")
        arguments = {n: own_part(v) if n in local else v for n, v in arguments.items()}
    else:
        X = cf.ActivationStore(data[0]).select(rows=data[1])
    own = distributed.processes()
    counts: list[int] = []
    nmf = cf.CoupledNMF(
        **{"n_threads": 1, **parameters}, callback=lambda _: counts.append(own.n_reduced)
    ).fit(X, **arguments)
    given = {name: arguments[name] for name in ("mask", "groups") if name in arguments}
    return {
        **{name: getattr(nmf, name) for name in LEARNED},
        "W": np.array(nmf.W_),
        "counts": counts,
        "same_W": bool((nmf.transform(X, **given) == nmf.W_).all()),
    }


def fit_blocks(X: dict[str, NDArray[Any]], parameters: dict[str, Any]) -> list[float]:
    own = own_part(X)
    blocks = [
        {name: x[start : start + 300] for name, x in own.items()}
        for start in range(0, len(own["a"]), 300)
    ]
    return list(cf.CoupledNMF(**parameters).fit(blocks).loss_history_)


def fit_many(path: str) -> list[tuple[NDArray[Any], NDArray[Any], float]]:
    many = cf.fit_many(cf.ActivationStore(path), [2, 3], seeds=2, max_iter=8, n_threads=1)
    return [
        (nmf.components_["a"], nmf.W_, loss)
        for nmf, loss in zip(many.fits, many.losses, strict=True)
    ]


def fit_online(X: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], list[float]]:
    nmf = cf.CoupledNMF(3, random_state=0, n_threads=1)
    for start in (0, 700):
        block = {name: x[start : start + 700] for name, x in X.items()}
        nmf.partial_fit(own_part(block))
    return nmf.components_["a"], nmf.loss_history_


def fit_unseeded(X: dict[str, NDArray[Any]]) -> NDArray[Any]:
    np.random.seed(distributed.rank())
    return cf.CoupledNMF(2, max_iter=2, tol=0).fit(own_part(X)).components_["a"]


def fit_sklearn(X: NDArray[Any]) -> NDArray[Any]:
    if distributed.rank() == 1:
        return cf.NMF(2, random_state=0, max_iter=5, tol=0).fit(X).components_
    return X


def write_results(path: str, folder: str) -> dict[str, Any]:
    """Fit with W on disk, save, and open the result again."""
    store, out = cf.ActivationStore(path), Path(folder)
    nmf = cf.CoupledNMF(3, random_state=0, max_iter=6, tol=0, n_threads=1)
    nmf.fit(store, W_path=out / "W.npy")
    in_file = np.array(nmf.W_)
    nmf.save(out / "run")
    in_memory = nmf.fit(store).W_
    again = cf.load(out / "run")
    again.save(out / "again")
    encoded = again.transform(store, W_path=out / "encoded.npy")
    return {
        "rows": len(store),
        "equal": bool((in_file == in_memory).all() and (encoded == in_memory).all()),
        "W": np.array(in_memory),
        "loaded": np.array(again.W_),
    }


def stop_and_resume(path: str, folder: str) -> bool:
    """Fit, and fit with a break on one rank; whether both end with the same bits."""
    store, own = cf.ActivationStore(path), distributed.processes()
    options = {"n_components": 3, "random_state": 0, "max_iter": 9, "tol": 0, "n_threads": 1}
    whole = cf.CoupledNMF(**options).fit(store)

    def stop(event: cf.FitEvent) -> None:
        if event.iteration == 5 and own.rank == own.size - 1:
            raise OSError("the disk is gone")

    def again(**more: Any) -> cf.CoupledNMF:
        nmf = cf.CoupledNMF(**options, **more)
        return nmf.fit(store, checkpoint=folder, checkpoint_every=2, resume=True)

    with pytest.raises((OSError, distributed.DistributedError), match="the disk is gone"):
        again(callback=stop)
    broken = again()
    return bool(
        (broken.components_["a"] == whole.components_["a"]).all()
        and (broken.W_ == whole.W_).all()
        and broken.loss_history_ == whole.loss_history_
    )


def resume(path: str, folder: str, max_iter: int) -> list[float]:
    nmf = cf.CoupledNMF(3, random_state=0, max_iter=max_iter, tol=0, n_threads=1)
    nmf.fit(cf.ActivationStore(path), checkpoint=folder, checkpoint_every=2, resume=True)
    return list(nmf.loss_history_)


def fit_own(paths: list[str], options: list[dict[str, Any]], calls: list[dict[str, Any]]) -> None:
    """Fit with what is this rank's own, where all should have the same."""
    rank = distributed.rank()
    given = {"max_iter": 2, "tol": 0, "random_state": 0, "n_components": 2, **options[rank]}
    version = given.pop("version", cf.__version__)
    cf.__version__, kept = version, cf.__version__
    try:
        cf.CoupledNMF(**given).fit(cf.ActivationStore(paths[rank]), **calls[rank])
    finally:
        cf.__version__ = kept


def fit_arrays(parts: list[dict[str, Any]], calls: list[dict[str, Any]]) -> None:
    rank = distributed.rank()
    cf.CoupledNMF(2, max_iter=2, tol=0, random_state=0).fit(parts[rank], **calls[rank])


def lose_a_file(paths: list[str]) -> None:
    """Fit while the last shard of rank 1's copy of the store becomes shorter."""
    own = distributed.processes()
    store = cf.ActivationStore(paths[own.rank])
    own.barrier()
    if own.rank == 1:
        last = sorted((store.path / "a").glob("*.npy"))[-1]
        os.truncate(last, last.stat().st_size - 4)
    cf.CoupledNMF(2, max_iter=2, tol=0, random_state=0).fit(store)


def command(arguments: list[str]) -> tuple[int, str, str]:
    """Run the command line, which leaves the process group when it succeeds."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()
