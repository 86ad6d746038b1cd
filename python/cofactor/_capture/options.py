"""What is kept of each view: options given once for all views, or by name of view."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._store.encoding import DTYPES
from .._store.negative import NEGATIVE
from .layers import nearest

__all__ = ["Pool", "ViewOptions", "make_options"]

Pool = str | tuple[int, int] | None

_DEFAULT_DTYPE = "float16"
_LAYER_DTYPES = tuple(name for name in DTYPES if name != "uint8")


@dataclass(frozen=True)
class _Option:
    """A value for all views, and those of some views that have another."""

    default: Any
    named: Mapping[str, Any]

    def of(self, view: str) -> Any:
        return self.named.get(view, self.default)

    def __str__(self) -> str:
        return json.dumps([self.default, dict(sorted(self.named.items()))])


@dataclass(frozen=True)
class ViewOptions:
    """The options of all views; :func:`make_options` checks them."""

    _dtype: _Option
    _pool: _Option
    _negative: _Option
    _element: _Option
    positions: bool

    @property
    def default_dtype(self) -> str:
        """Dtype of the views that none is named for."""
        return str(self._dtype.default)

    @property
    def named_dtypes(self) -> Mapping[str, str]:
        """Dtypes by name of view."""
        return self._dtype.named

    def dtype(self, view: str) -> str:
        """Return the dtype of a layer's view."""
        return str(self._dtype.of(view))

    def pool(self, view: str) -> Pool:
        """Return how the feature maps of a view are reduced."""
        pool: Pool = self._pool.of(view)
        return pool

    def must_pool(self, view: str) -> bool:
        """Whether the view was named, so that leaving it as it is would be an error."""
        return view in self._pool.named

    def negative(self, view: str) -> str | None:
        """Return what reading does to the negative values of a view."""
        negative: str | None = self._negative.of(view)
        return negative

    def element(self, view: str) -> int | str | None:
        """Return the index or key of the output that is kept, None for the first tensor."""
        element: int | str | None = self._element.of(view)
        return element

    def check_used(self, views: Iterable[str]) -> None:
        """Raise ValueError if a view is named that is not captured."""
        known = list(views)
        for option, values in self._by_name().items():
            for name in values.named:
                if name not in known:
                    raise ValueError(
                        f"{option} names the view {name!r}, which is not captured; "
                        f"{nearest(name, known)}"
                    )

    def described(self) -> dict[str, str]:
        """Return the options as text, the same for the same options."""
        texts = {option: str(values) for option, values in self._by_name().items()}
        return {**texts, "positions": json.dumps(self.positions)}

    def _by_name(self) -> dict[str, _Option]:
        return {
            "dtype": self._dtype,
            "pool": self._pool,
            "negative": self._negative,
            "element": self._element,
        }


def make_options(
    dtype: str | Mapping[str, str],
    pool: Pool | Mapping[str, Pool],
    negative: str | Mapping[str, str | None] | None,
    element: Mapping[str, int | str] | None,
    positions: bool,
) -> ViewOptions:
    """Check options as :func:`cofactor.capture` documents them.

    Raises
    ------
    ValueError
        If one is not as documented.
    """
    return ViewOptions(
        _check_dtype(dtype),
        _check_pool(pool, positions),
        _check_negative(negative),
        _check_element(element),
        positions,
    )


def _check_dtype(dtype: str | Mapping[str, str]) -> _Option:
    default, named = (dtype, {}) if isinstance(dtype, str) else (_DEFAULT_DTYPE, dict(dtype))
    for view, chosen in (("", default), *named.items()):
        allowed = tuple(DTYPES) if view.startswith("input.") else _LAYER_DTYPES
        if chosen not in allowed:
            of_view = f" of {view!r}" if view else ""
            raise ValueError(f"dtype{of_view} is {chosen!r}, expected one of {', '.join(allowed)}")
    return _Option(default, named)


def _check_pool(pool: Pool | Mapping[str, Pool], positions: bool) -> _Option:
    default, named = (None, dict(pool)) if isinstance(pool, Mapping) else (pool, {})
    for chosen in (default, *named.values()):
        size = isinstance(chosen, (tuple, list)) and len(chosen) == 2
        if chosen not in (None, "avg", "max") and not (
            size and all(type(n) is int and n > 0 for n in chosen)
        ):
            raise ValueError(
                f"pool is {chosen!r}, expected 'avg', 'max', None or (height, width), two positive "
                "integers"
            )
        if positions and chosen in ("avg", "max"):
            raise ValueError(
                f"pool is {chosen!r} with positions=True, which leaves no positions; expected None "
                "or (height, width)"
            )
    return _Option(default, named)


def _check_negative(negative: str | Mapping[str, str | None] | None) -> _Option:
    default, named = (None, dict(negative)) if isinstance(negative, Mapping) else (negative, {})
    for chosen in (default, *named.values()):
        if chosen not in (None, *NEGATIVE):
            raise ValueError(
                f"negative is {chosen!r}, expected None or one of {', '.join(NEGATIVE)}"
            )
    return _Option(default, named)


def _check_element(element: Mapping[str, int | str] | None) -> _Option:
    if element is not None and not isinstance(element, Mapping):
        raise ValueError(
            f"element is {element!r}, expected a mapping from view to the index or key of the "
            "output to keep, such as {'encoder.0': 1}"
        )
    for view, chosen in (element or {}).items():
        if type(chosen) not in (int, str):
            raise ValueError(f"element of {view!r} is {chosen!r}, expected an index or a key")
    return _Option(None, dict(element or {}))
