"""Checks of an estimator's parameters, and what follows from them for every view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ._arrays import real_numbers
from ._memory import parse_memory

__all__ = [
    "Penalties",
    "check_fixed",
    "check_groups",
    "check_is_mapping",
    "check_parameters",
    "check_start",
    "resolve_weights",
]

_CHOICES: dict[str, tuple[str | None, ...]] = {
    "init": (None, "compressed", "sample", "random", "nndsvd", "nndsvda", "nndsvdar"),
    "device": ("auto", "cpu", "cuda"),
    "compute": ("float32", "bfloat16", "auto", "float64"),
    "acceleration": (None, "auto", "extrapolation"),
    "penalty": (None, "paper"),
}


def check_parameters(estimator: Any) -> None:
    """Raise ValueError or TypeError for the first parameter that cannot be used."""
    parameters = estimator.get_params(deep=False)
    for name, choices in _CHOICES.items():
        if parameters[name] not in choices:
            raise ValueError(
                f"{name}={parameters[name]!r} is unknown; expected one of "
                + ", ".join(map(repr, choices))
            )
    _check_integer("n_components", parameters["n_components"])
    _check_integer("max_iter", parameters["max_iter"])
    if parameters["n_threads"] is not None:
        _check_integer("n_threads", parameters["n_threads"])
    parse_memory(parameters["max_memory"])
    _check_real("tol", parameters["tol"])
    _check_real("alpha_W", parameters["alpha_W"])
    if parameters["alpha_H"] != "same":
        _check_real("alpha_H", parameters["alpha_H"])
    _check_real("l1_ratio", parameters["l1_ratio"], upper=1.0)
    _check_real("group_sparsity", parameters["group_sparsity"])
    if parameters["forget_factor"] != "auto":
        _check_real("forget_factor", parameters["forget_factor"], upper=1.0)
    if parameters["penalty"] == "paper" and (
        parameters["alpha_H"] != "same" or parameters["l1_ratio"] != 0
    ):
        raise ValueError(
            "penalty='paper' gives the rows of every H_v unit norm and penalises W by alpha_W "
            "alone; leave alpha_H='same' and l1_ratio=0, got "
            f"alpha_H={parameters['alpha_H']!r} and "
            f"l1_ratio={parameters['l1_ratio']!r}"
        )
    if parameters["callback"] is not None and not callable(parameters["callback"]):
        raise TypeError(f"callback={parameters['callback']!r} is not callable")


def _check_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r} must be an integer of at least 1")
    if value < 1:
        raise ValueError(f"{name}={value} must be at least 1")


def _check_real(name: str, value: Any, upper: float = math.inf) -> None:
    limits = "at least 0" if upper == math.inf else f"between 0 and {upper:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} must be a number {limits}")
    if not 0 <= float(value) <= upper or math.isinf(value):
        raise ValueError(f"{name}={value} must be {limits}")


def resolve_weights(
    weights: str | Mapping[str, float], names: Sequence[str], squares: Sequence[float]
) -> dict[str, float]:
    """Weight of every view.

    Parameters
    ----------
    weights : {"equal", "balanced"} or mapping
        The estimator's parameter.
    names : sequence of str
        Names of the views.
    squares : sequence of float
        Sum of squares of every view.

    Returns
    -------
    dict of str to float
        1 each; 1 / ||X_v||^2 each, 0 for a view of zeros; or as given, 1 where not named.
    """
    if isinstance(weights, str):
        if weights == "equal":
            return dict.fromkeys(names, 1.0)
        if weights == "balanced":
            if not any(square > 0 for square in squares):
                raise ValueError("every view is all zero, which weights='balanced' cannot balance")
            return {
                name: 1.0 / square if square > 0 else 0.0
                for name, square in zip(names, squares, strict=True)
            }
        raise ValueError(
            f"weights={weights!r} is unknown; expected 'equal', 'balanced' or a mapping from view "
            "name to weight"
        )
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights has type {type(weights).__name__}; expected 'equal', 'balanced' or a mapping"
        )
    unknown = [name for name in weights if name not in names]
    if unknown:
        raise ValueError(
            f"weights names unknown view(s) {', '.join(map(repr, unknown))}; "
            f"the data has {', '.join(map(repr, names))}"
        )
    for name, weight in weights.items():
        _check_real(f"weights[{name!r}]", weight)
    result = {name: float(weights.get(name, 1.0)) for name in names}
    if not any(weight > 0 for weight in result.values()):
        raise ValueError("every view has weight 0; at least one must shape W")
    return result


def check_is_mapping(H: Any) -> None:
    """Raise TypeError unless a caller's factors are named by view."""
    if not isinstance(H, Mapping):
        raise TypeError(
            f"H has type {type(H).__name__}; expected a mapping from view name to components"
        )


def check_start(
    H: Mapping[str, npt.ArrayLike], columns: Mapping[str, int], n_components: int
) -> list[npt.NDArray[np.float64]]:
    """Bring a caller's factors for these views into their order, after checking them."""
    check_is_mapping(H)
    if set(H) != set(columns):
        raise ValueError(
            f"H has views {', '.join(map(repr, H))}; expected {', '.join(map(repr, columns))}"
        )
    start = []
    for name, d in columns.items():
        factor = real_numbers(H[name], f"H[{name!r}]")
        if factor.shape != (n_components, d):
            raise ValueError(
                f"H[{name!r}] has shape {factor.shape}; expected {(n_components, d)}, that is "
                "(n_components, n_columns)"
            )
        if not np.isfinite(factor).all() or (factor < 0).any():
            raise ValueError(f"H[{name!r}] must hold finite values of at least 0")
        start.append(factor)
    return start


def check_fixed(
    fixed: Sequence[str] | None, H: Mapping[str, npt.ArrayLike] | None, names: Sequence[str]
) -> list[str]:
    """Check that views whose H_v stays as given are known and given, and list them."""
    if fixed is None:
        return []
    if isinstance(fixed, str) or not all(isinstance(name, str) for name in fixed):
        raise TypeError(f"fixed={fixed!r} must be a list of view names")
    unknown = [name for name in fixed if name not in names]
    if unknown:
        raise ValueError(
            f"fixed names unknown view(s) {', '.join(map(repr, unknown))}; the data has "
            + ", ".join(map(repr, names))
        )
    missing = [name for name in fixed if H is None or name not in H]
    if missing:
        raise ValueError(
            f"fixed names {', '.join(map(repr, missing))}, whose components H does not give; pass "
            "them in H"
        )
    return list(fixed)


def check_groups(estimator: Any, *, given: bool, all_fixed: bool = False) -> None:
    """Raise ValueError unless groups and their penalty come together and mean something.

    Parameters
    ----------
    estimator : CoupledNMF
        With parameters that were checked.
    given : bool
        Whether the caller gave groups.
    all_fixed : bool
        Whether every H_v stays as it is.
    """
    if not estimator.group_sparsity:
        if given:
            raise ValueError(
                "groups were given, but group_sparsity=0 makes no use of them; set group_sparsity"
            )
        return
    if not given:
        raise ValueError(
            f"group_sparsity={estimator.group_sparsity} needs groups: pass fit one label an "
            "example, as groups="
        )
    alpha_h = estimator.alpha_W if estimator.alpha_H == "same" else estimator.alpha_H
    if not alpha_h and estimator.penalty is None and not all_fixed:
        raise ValueError(
            "group_sparsity needs alpha_H > 0 or penalty='paper': a penalty on W alone can be made "
            "as small as one likes by scaling W down and H up"
        )


@dataclass(frozen=True)
class Penalties:
    """Linear and ridge penalties of every solve, in absolute terms.

    W is penalised in the problem as a whole; H_v in ``1/2 ||X_v - W H_v||^2``, the view's part
    divided by its weight.
    """

    l1_w: float
    l2_w: float
    l1_h: dict[str, float]
    l2_h: dict[str, float]
    unit_rows: bool = False
    """Whether rows of every H_v have unit norm in place of penalties."""

    @classmethod
    def of(
        cls,
        estimator: Any,
        n_examples: float,
        columns: Mapping[str, int],
        weights: Mapping[str, float],
    ) -> Penalties:
        """Scale an estimator's penalties as scikit-learn does, by columns and examples.

        An example of weight s counts as s examples. The paper's penalty is not scaled.
        """
        alpha_w = float(estimator.alpha_W)
        if estimator.penalty == "paper":
            none = dict.fromkeys(columns, 0.0)
            return cls(l1_w=alpha_w, l2_w=alpha_w, l1_h=none, l2_h=none, unit_rows=True)
        alpha_h = alpha_w if estimator.alpha_H == "same" else float(estimator.alpha_H)
        ratio = float(estimator.l1_ratio)
        active = [name for name in columns if weights[name] > 0]
        width = sum(columns[name] for name in active)
        return cls(
            l1_w=width * alpha_w * ratio,
            l2_w=width * alpha_w * (1.0 - ratio),
            l1_h={
                name: n_examples * alpha_h * ratio / math.sqrt(weights[name])
                if name in active
                else 0.0
                for name in columns
            },
            l2_h={
                name: n_examples * alpha_h * (1.0 - ratio) if name in active else 0.0
                for name in columns
            },
        )
