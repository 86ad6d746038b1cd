"""A fit on disk: ``fit.json``, ``H.safetensors`` and ``W.npy`` in one directory."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

__all__ = ["CHECKPOINT_FILE", "Run", "read_run", "write_run", "write_synced"]

CHECKPOINT_FILE = "checkpoint.safetensors"

_FORMAT = "cofactor-fit"
_VERSION = 1


@dataclass(frozen=True)
class Run:
    """What the files of a fit hold."""

    parameters: dict[str, Any]
    learned: dict[str, Any]
    components: dict[str, npt.NDArray[Any]]
    W: npt.NDArray[Any]


def write_run(
    path: Path,
    parameters: Mapping[str, Any],
    learned: Mapping[str, Any],
    components: Mapping[str, npt.NDArray[Any]],
    write_W: Callable[[Path], None],
) -> None:
    """Write a fit beside its destination, then move it there as a whole.

    Parameters
    ----------
    path : Path
        Directory of the fit.
    parameters, learned : mapping
        What ``fit.json`` holds.
    components : mapping of str to ndarray
        H of every view.
    write_W : callable
        Writes the ``.npy`` file of W.
    """
    if path.exists() and not _is_replaceable(path):
        raise FileExistsError(
            f"{path} exists and is not a fit of cofactor; choose another directory or remove it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "views": list(components),
        "parameters": dict(parameters),
        "learned": dict(learned),
    }
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        write_synced(aside / "H.safetensors", save({k: v.copy() for k, v in components.items()}))
        write_W(aside / "W.npy")
        text = json.dumps(document, indent=1, default=_plain, allow_nan=False)
        write_synced(aside / "fit.json", text.encode())
        aside.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        aside.rename(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def read_run(path: Path, expected: Sequence[str]) -> Run:
    """Read a fit, trusting nothing in it.

    Parameters
    ----------
    path : Path
        Directory of the fit.
    expected : sequence of str
        Learned attributes that must be there.

    Returns
    -------
    Run
        The contents, with shapes that agree.
    """
    document = _read_document(path)
    parameters, learned, views = (document.get(key) for key in ("parameters", "learned", "views"))
    if not isinstance(parameters, dict) or not isinstance(learned, dict):
        raise ValueError(f"{path / 'fit.json'} lacks parameters or learned attributes")
    differing = sorted(set(learned) ^ set(expected))
    if differing:
        what = "lacks" if differing[0] in expected else "has the unknown"
        raise ValueError(
            f"{path / 'fit.json'} {what} learned attribute(s) {', '.join(differing)}; another "
            "version of cofactor wrote it: load it with that version, or fit again"
        )
    rank = parameters.get("n_components")
    try:
        components = load_file(path / "H.safetensors")
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"{path / 'H.safetensors'} cannot be read: {error}") from error
    if not isinstance(views, list) or set(views) != set(components):
        raise ValueError(f"{path / 'H.safetensors'} holds other views than fit.json names")
    try:
        W = np.load(path / "W.npy", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path / 'W.npy'} cannot be read: {error}") from error
    for name, H in {**components, "W": W.T if W.ndim == 2 else W}.items():
        if H.ndim != 2 or H.shape[0] != rank or H.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"{path}: factor {name!r} has shape {H.shape} and dtype {H.dtype}; expected "
                f"{rank} components of float32 or float64"
            )
    return Run(parameters, learned, {name: components[name] for name in views}, W)


def _read_document(path: Path) -> dict[str, Any]:
    file = path / "fit.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is not a fit of cofactor: it has no fit.json; expected a directory that "
            "CoupledNMF.save or `cofactor fit` wrote"
        ) from None
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(f"{file} does not describe a fit of cofactor")
    if document.get("version") != _VERSION:
        raise ValueError(
            f"{file} has version {document.get('version')!r}; this cofactor reads {_VERSION}"
        )
    return document


def _is_replaceable(path: Path) -> bool:
    # A checkpoint is of no use once the fit is there.
    return path.is_dir() and (
        (path / "fit.json").is_file()
        or all(file.name == CHECKPOINT_FILE for file in path.iterdir())
    )


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be saved")
