"""Exceptions of the package and the guarded import of optional dependencies."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["DistributedError", "MissingExtraError", "StoreError", "require"]


class StoreError(ValueError):
    """An activation store is malformed, incomplete or cannot hold what it was given."""


class DistributedError(RuntimeError):
    """Another process that works on the same has failed, has ended or cannot be reached."""


class MissingExtraError(ImportError):
    """A feature needs a package that the base installation does not bring."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Name of the module to import.
    extra : str
        The extra of cofactor that installs it.
    purpose : str
        What needs it; the error message begins with this.

    Returns
    -------
    ModuleType
        The imported module.

    Raises
    ------
    MissingExtraError
        If the module is not installed. An installed module that fails while it is imported
        raises its own error.

    Examples
    --------
    >>> require("no_such_module", "capture", "capture")
    Traceback (most recent call last):
    ...
    cofactor._errors.MissingExtraError: capture needs no_such_module, which is not installed; \
install it with: pip install 'cofactor[capture]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{purpose} needs {module}, which is not installed; "
            f"install it with: pip install 'cofactor[{extra}]'",
            name=error.name,
        ) from error
