"""The numbers of a report for programs."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from cofactor.concepts import Concepts, Table
from cofactor.report._folder import KIND


def metrics_of(concepts: Concepts, tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return what metrics.json holds: JSON values only, None where a number is not finite."""
    views = tables["views"]
    names = views["view"].tolist()
    metrics: dict[str, Any] = {"kind": KIND, "version": 1, **next(tables["fit"].rows())}
    metrics["view_shapes"] = {view: list(concepts.shape(view)) for view in names}
    metrics["view_columns"] = dict(zip(names, views["n_columns"].tolist(), strict=True))
    if "loss" in views.columns:
        metrics["view_losses"] = dict(zip(names, views["loss"].tolist(), strict=True))
    if "scores" in tables:
        metrics["scores"] = {row.pop("target"): row for row in tables["scores"].rows()}
    get_params = getattr(concepts.nmf, "get_params", None)
    metrics["parameters"] = get_params() if get_params else {}
    metrics["fingerprint"] = getattr(concepts.nmf, "fingerprint_", None)
    metrics["versions"] = _versions()
    plain: dict[str, Any] = _plain(metrics)
    return plain


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("cofactor", "numpy", "scikit-learn", "matplotlib"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = getattr(sys.modules.get(package), "__version__", "unknown")
    return versions


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    # The repr of a function or a generator holds an address, which differs from run to run.
    return type(value).__name__
