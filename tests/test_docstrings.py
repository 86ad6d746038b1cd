"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import cofactor

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(cofactor.__path__, "cofactor.")
    if not name.endswith(("._core", ".__main__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    if doctest.DocTestFinder(exclude_empty=True).find(module):
        assert doctest.testmod(module).failed == 0


def test_public_names_have_examples() -> None:
    documented = [name for name in cofactor.__all__ if name != "__version__"]
    lacking = {name for name in documented if ">>>" not in (getattr(cofactor, name).__doc__ or "")}
    # Exceptions and plain records explain themselves; `save` shows `load`.
    assert lacking <= {"FitEvent", "ManyFits", "MissingExtraError", "StoreError", "load"}
