"""Checkpoints of a fit: one file, replaced as a whole, from which the fit goes on bit for bit."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from . import _core
from ._processes import Processes
from ._run_files import CHECKPOINT_FILE, write_synced
from ._store.metadata import sync_directory

__all__ = ["Checkpoint", "SavedFit", "start_digest"]

_FORMAT = "cofactor-checkpoint"
_VERSION = 1
# What a fit may go on with differently: none of it changes a bit of an iteration.
_FREE = ("max_iter", "n_threads", "max_memory", "callback")

_FIT_FIELDS = ("extrapolate", "momentum", "extrapolated", "done", "slow", "reseeds_left")
_TRACE_FIELDS = (
    "losses",
    "rejected_losses",
    "view_losses",
    "iterations",
    "reseeded",
    "stop_reason",
)

Factors = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class SavedFit:
    """A fit between two iterations.

    Attributes
    ----------
    loop : _core.LoopState
        Counters, losses and the state of the acceleration.
    input, previous : list of ndarray of shape (n_components, n_columns)
        For every view the H that the next pass begins with, and the last one that was accepted.
    group_norms : ndarray of shape (n_groups, n_components)
        Norms of W that the next pass majorises the penalty on groups at; infinite at first.
    random_state : dict
        State of the generator after the start was drawn.
    before : dict
        What was learned before the loop: passes, losses on samples.
    """

    loop: _core.LoopState
    input: Factors
    previous: Factors
    group_norms: npt.NDArray[np.float64]
    random_state: dict[str, Any]
    before: dict[str, Any]


class Checkpoint:
    """The checkpoint of one fit.

    Parameters
    ----------
    directory : str or path-like
        Where the file is; made if it does not exist.
    parameters : mapping
        Parameters of the estimator.
    data : mapping
        What identifies the data and the other arguments of the fit, in JSON types.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        parameters: Mapping[str, Any],
        data: Mapping[str, Any],
    ) -> None:
        self.path = Path(directory) / CHECKPOINT_FILE
        kept = {name: value for name, value in parameters.items() if name not in _FREE}
        if not isinstance(kept["random_state"], int | np.integer):
            kept["random_state"] = None
        # As they are after a round trip through the file.
        self._parameters = json.loads(json.dumps(kept, default=_plain))
        self._data = json.loads(json.dumps(dict(data), default=_plain))

    def prepare(self, resume: bool) -> None:
        """Make the directory, and refuse to overwrite a checkpoint unless the fit goes on from it.

        Raises
        ------
        FileExistsError
            If there is a checkpoint and `resume` is false.
        NotADirectoryError
            If the directory is a file.
        """
        if self.path.parent.exists() and not self.path.parent.is_dir():
            raise NotADirectoryError(
                f"{self.path.parent} is a file; checkpoint= names a directory for {self.path.name}"
            )
        if not resume and self.path.exists():
            raise FileExistsError(
                f"{self.path} exists; pass resume=True to go on from it, or remove it to start over"
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def save(self, fit: SavedFit) -> None:
        """Write the file beside the last one, then put it in its place.

        Raises
        ------
        OSError
            If the disk is full or fails; the last checkpoint is as it was.
        """
        arrays = {f"input.{v}": factor for v, factor in enumerate(fit.input)}
        arrays |= {f"previous.{v}": factor for v, factor in enumerate(fit.previous)}
        arrays["group_norms"] = fit.group_norms
        arrays["random_state"] = np.asarray(fit.random_state["state"]["key"], np.uint32)
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "simd_level": _core.simd_level(),
            "parameters": self._parameters,
            "data": self._data,
            "before": fit.before,
            "random_state": {
                "position": int(fit.random_state["state"]["pos"]),
                "has_gauss": int(fit.random_state["has_gauss"]),
                "gauss": float(fit.random_state["gauss"]),
            },
            "loop": _loop_to_json(fit.loop),
        }
        text = json.dumps(document, default=_plain, allow_nan=False)
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        data = save(arrays, metadata={_FORMAT: text, "sha256": _digest(text, arrays)})
        aside = self.path.with_name(f".{self.path.name}.part")
        try:
            write_synced(aside, data)
            aside.replace(self.path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            reason = f"{os.strerror(error.errno or 0)}; the last checkpoint is as it was"
            raise OSError(error.errno, reason, str(self.path)) from error
        sync_directory(self.path.parent)

    def load(self, processes: Processes) -> SavedFit | None:
        """Read the checkpoint; None where there is none yet. Rank 0 reads it for all.

        Raises
        ------
        ValueError
            If it is damaged, or of another fit: then what differs is named.
        """
        found = self._read() if processes.rank == 0 and self.path.exists() else None
        found = _shared(found, processes)
        if found is None:
            return None
        document, arrays = found
        self._check_same("parameters", document.get("parameters"), self._parameters)
        self._check_same("data", document.get("data"), self._data)
        level = document.get("simd_level")
        if level != _core.simd_level():
            warnings.warn(
                f"{self.path} was made at the instruction-set level {level} and this is "
                f"{_core.simd_level()}; the result may differ in its last bits",
                stacklevel=5,
            )
        try:
            generator = document["random_state"]
            count = len(self._data["n_columns"])
            saved = SavedFit(
                _loop_from_json(document["loop"]),
                [arrays[f"input.{v}"] for v in range(count)],
                [arrays[f"previous.{v}"] for v in range(count)],
                arrays["group_norms"],
                {
                    "bit_generator": "MT19937",
                    "state": {"key": arrays["random_state"], "pos": generator["position"]},
                    "has_gauss": generator["has_gauss"],
                    "gauss": generator["gauss"],
                },
                document["before"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: {error!r}; {_REMOVE}") from error
        self._check_factors(saved)
        return saved

    def _read(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        try:
            with safe_open(self.path, framework="numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            document = json.loads(metadata[_FORMAT])
            if metadata["sha256"] != _digest(metadata[_FORMAT], arrays):
                raise ValueError("its checksum is another")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ValueError(f"{self.path} cannot be read: {error!r}; {_REMOVE}") from error
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise ValueError(f"{self.path} is of another version of cofactor; {_REMOVE}")
        return document, arrays

    def _check_same(self, what: str, found: Any, expected: dict[str, Any]) -> None:
        if not isinstance(found, dict):
            raise ValueError(f"{self.path} is damaged: it has no {what}; {_REMOVE}")
        different = [
            f"{name} {_short(found.get(name))} and not {_short(expected.get(name))}"
            for name in {**expected, **found}
            if found.get(name) != expected.get(name)
        ]
        if different:
            raise ValueError(
                f"{self.path} is of a fit with other {what}: {', '.join(different)}; pass the "
                "same to go on from it, or another directory to start over"
            )

    def _check_factors(self, saved: SavedFit) -> None:
        rank = self._parameters["n_components"]
        for columns, *factors in zip(
            self._data["n_columns"].values(), saved.input, saved.previous, strict=True
        ):
            for factor in factors:
                if factor.shape != (rank, columns) or factor.dtype.kind != "f":
                    raise ValueError(
                        f"{self.path} is damaged: a factor has shape {factor.shape} and dtype "
                        f"{factor.dtype}, expected {(rank, columns)} of float; {_REMOVE}"
                    )
                if not np.isfinite(factor).all() or (factor < 0).any():
                    raise ValueError(
                        f"{self.path} is damaged: a factor has negative or infinite values; "
                        f"{_REMOVE}"
                    )
        norms, expected = saved.group_norms, (self._data["n_groups"], rank)
        if norms.shape != expected or norms.dtype != np.float64 or not (norms >= 0).all():
            raise ValueError(
                f"{self.path} is damaged: norms of groups have shape {norms.shape}, dtype "
                f"{norms.dtype} or negative values, expected {expected} of float64; {_REMOVE}"
            )


_REMOVE = "remove it to start over"


def _shared(
    found: tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None, processes: Processes
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
    """Give what rank 0 has read to all."""
    if processes.size == 1:
        return found
    document, arrays = found or (None, {})
    layout = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    document, layout = processes.share([document, layout])
    if document is None:
        return None
    return document, {
        name: processes.share_array(arrays.get(name, np.empty(shape, dtype)))
        for name, (dtype, shape) in layout.items()
    }


def start_digest(start: Mapping[str, npt.NDArray[Any]] | None) -> str | None:
    """Return a hash of a caller's start, so that a fit does not go on from another one."""
    if start is None:
        return None
    return _digest("", start)


def _digest(text: str, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _loop_to_json(loop: _core.LoopState) -> dict[str, Any]:
    return {
        "iterations": loop.iterations,
        "passes": loop.passes,
        "may_switch": loop.may_switch,
        "fits": [
            {name: getattr(fit, name) for name in _FIT_FIELDS}
            # Infinite before the first pass, which JSON does not know.
            | {"objective": fit.objective if math.isfinite(fit.objective) else None}
            for fit in loop.fits
        ],
        "traces": [{name: getattr(trace, name) for name in _TRACE_FIELDS} for trace in loop.traces],
    }


def _loop_from_json(found: Mapping[str, Any]) -> _core.LoopState:
    loop = _core.LoopState()
    loop.iterations, loop.passes = found["iterations"], found["passes"]
    loop.may_switch = found["may_switch"]
    fits, traces = [], []
    for values in found["fits"]:
        fit = _core.FitState(values["extrapolate"], values["momentum"])
        fit.objective = math.inf if values["objective"] is None else values["objective"]
        for name in ("extrapolated", "done", "slow", "reseeds_left"):
            setattr(fit, name, values[name])
        fits.append(fit)
    for values in found["traces"]:
        trace = _core.FitTrace()
        for name in _TRACE_FIELDS:
            setattr(trace, name, values[name])
        traces.append(trace)
    if len(fits) != len(traces):
        raise ValueError("states and traces differ in number")
    loop.fits, loop.traces = fits, traces
    return loop


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be saved")
