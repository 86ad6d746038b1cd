"""What a fit is told of single examples: weights, which views they have, and their groups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import real_numbers

__all__ = ["ExampleTerms", "given_length", "load_terms"]

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ExampleTerms:
    """Terms of single examples; each is None where all examples are alike.

    Attributes
    ----------
    weight : ndarray of shape (n_examples,) or None
        Factor of every example's terms in the objective.
    pattern : ndarray of shape (n_examples,) or None
        Row of `patterns` for every example.
    patterns : ndarray of bool of shape (n_patterns, n_views) or None
        Which views an example has.
    group : ndarray of shape (n_examples,) or None
        Number of every example's group.
    labels : ndarray of shape (n_groups,) or None
        Label of every group.
    """

    weight: npt.NDArray[np.float64] | None = None
    pattern: IntArray | None = None
    patterns: npt.NDArray[np.bool_] | None = None
    group: IntArray | None = None
    labels: npt.NDArray[Any] | None = None

    @property
    def changes_statistics(self) -> bool:
        """Whether sums over all examples are not those that the loss needs."""
        if self.weight is not None:
            return True
        if self.pattern is None or self.patterns is None:
            return False
        return not self.patterns[self.pattern].all()

    @property
    def n_groups(self) -> int:
        """Number of groups; 0 without any."""
        return 0 if self.group is None or self.labels is None else len(self.labels)

    def digest(self) -> str | None:
        """Hash of all terms; None where there are none."""
        parts = (self.weight, self.pattern, self.patterns, self.group, self.labels)
        if all(part is None for part in parts):
            return None
        hashed = hashlib.sha256()
        for part in parts:
            if part is not None:
                hashed.update(f"{part.dtype} {part.shape} ".encode())
                hashed.update(np.ascontiguousarray(part).tobytes())
            hashed.update(b";")
        return hashed.hexdigest()

    def take(self, rows: npt.NDArray[np.intp]) -> ExampleTerms:
        """Terms of some examples."""

        def of(values: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
            return None if values is None else values[rows]

        return ExampleTerms(
            of(self.weight), of(self.pattern), self.patterns, of(self.group), self.labels
        )

    def with_every_view_apart(self, n_examples: int, n_views: int) -> ExampleTerms:
        """Add patterns that no example has, so that the core keeps sums apart for every view."""
        lacking = ~np.eye(n_views, dtype=np.bool_)
        if self.pattern is None or self.patterns is None:
            everything = np.ones((1, n_views), np.bool_)
            pattern = np.zeros(n_examples, np.int32)
            return replace(self, pattern=pattern, patterns=np.concatenate([everything, lacking]))
        return replace(self, patterns=np.concatenate([self.patterns, lacking]))

    def core(self) -> _core.RowTerms | None:
        """Give the form that the core reads, or None where there is nothing to say."""
        if self.weight is None and self.pattern is None and self.group is None:
            return None
        return _core.RowTerms(
            weight=self.weight,
            pattern=self.pattern,
            patterns=[] if self.patterns is None else self.patterns.tolist(),
            group=self.group,
            n_groups=self.n_groups,
        )


def load_terms(
    names: Sequence[str],
    n_examples: int,
    *,
    mask: Mapping[str, npt.ArrayLike] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    labels: npt.NDArray[Any] | None = None,
) -> ExampleTerms:
    """Check what the caller said of examples.

    Parameters
    ----------
    names : sequence of str
        Names of the views.
    n_examples : int
        Number of examples.
    mask : mapping of str to array of bool of shape (n_examples,), optional
        True where an example has the view; views that are not named have all examples.
    sample_weight : array of shape (n_examples,), optional
        Weights of at least 0.
    groups : array of shape (n_examples,), optional
        Label of every example's group.
    labels : ndarray of shape (n_groups,), optional
        The labels that there may be, ascending; those in `groups` if None.

    Returns
    -------
    ExampleTerms
        The terms.

    Raises
    ------
    TypeError
        For a mask that is not a mapping or not of bool, and weights that are no numbers.
    ValueError
        For other shapes, unknown views or labels, negative weights, and examples without any view.
    """
    pattern = patterns = group = None
    if mask is not None:
        pattern, patterns = _patterns(names, n_examples, mask)
    if groups is not None:
        group, labels = _groups(n_examples, groups, labels)
    return ExampleTerms(
        None if sample_weight is None else _weights(n_examples, sample_weight),
        pattern,
        patterns,
        group,
        None if group is None else labels,
    )


def given_length(
    mask: Mapping[str, npt.ArrayLike] | None,
    sample_weight: npt.ArrayLike | None,
    groups: npt.ArrayLike | None,
) -> int:
    """Count the entries of the first of these that is given; 0 if there is none."""
    columns = list(mask.values()) if isinstance(mask, Mapping) else []
    columns += [given for given in (sample_weight, groups) if given is not None]
    return int(np.size(np.asarray(columns[0]))) if columns else 0


def _patterns(
    names: Sequence[str], n_examples: int, mask: Mapping[str, npt.ArrayLike]
) -> tuple[IntArray | None, npt.NDArray[np.bool_] | None]:
    if not isinstance(mask, Mapping):
        raise TypeError(
            f"mask has type {type(mask).__name__}; expected a mapping from view name to an array "
            "of bool, True where an example has the view"
        )
    unknown = [name for name in mask if name not in names]
    if unknown:
        raise ValueError(
            f"mask names unknown view(s) {', '.join(map(repr, unknown))}; the data has "
            + ", ".join(map(repr, names))
        )
    present = np.ones((n_examples, len(names)), np.bool_)
    for name, given in mask.items():
        column = np.asarray(given)
        if column.dtype != np.bool_:
            raise TypeError(f"mask[{name!r}] has dtype {column.dtype}; expected bool")
        if column.shape != (n_examples,):
            raise ValueError(
                f"mask[{name!r}] has shape {column.shape}; expected one entry an example, "
                f"{(n_examples,)}"
            )
        present[:, list(names).index(name)] = column
    if present.all():
        return None, None
    without = int((~present.any(axis=1)).sum())
    if without:
        raise ValueError(
            f"mask leaves {without} example(s) without any view; drop them from the data"
        )
    patterns, pattern = np.unique(present, axis=0, return_inverse=True)
    return pattern.reshape(-1).astype(np.int32), patterns


def _weights(n_examples: int, given: npt.ArrayLike) -> npt.NDArray[np.float64]:
    weights = real_numbers(given, "sample_weight")
    if weights.shape != (n_examples,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; expected one weight an example, "
            f"{(n_examples,)}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight must hold finite weights of at least 0, not all 0")
    return weights


def _groups(
    n_examples: int, given: npt.ArrayLike, labels: npt.NDArray[Any] | None
) -> tuple[IntArray, npt.NDArray[Any]]:
    groups = np.asarray(given)
    if groups.shape != (n_examples,):
        raise ValueError(
            f"groups has shape {groups.shape}; expected one label an example, {(n_examples,)}"
        )
    if groups.dtype.kind not in "iubUS":
        raise TypeError(f"groups has dtype {groups.dtype}; expected integers or strings")
    if labels is None:
        labels, numbers = np.unique(groups, return_inverse=True)
        return numbers.reshape(-1).astype(np.int32), labels
    numbers = np.searchsorted(labels, groups).clip(max=len(labels) - 1)
    unknown = np.unique(groups[labels[numbers] != groups])
    if len(unknown):
        raise ValueError(
            f"groups holds label(s) {', '.join(map(repr, unknown[:5].tolist()))} that the fit does "
            "not know; leave groups out to solve without them"
        )
    return numbers.astype(np.int32), labels
