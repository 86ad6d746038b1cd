"""Read `module:attribute`, the form in which a command line names a Python object."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def import_object(spec: str) -> object:
    """Import what `spec` names, looking in the current directory first.

    Parameters
    ----------
    spec : str
        ``module:attribute``; both parts may be dotted.

    Returns
    -------
    object
        The attribute.

    Raises
    ------
    ValueError
        If `spec` has another form, or the module or the attribute does not exist.
    ImportError
        If the module exists and something that it imports does not.

    Examples
    --------
    >>> import_object("math:sqrt")(9)
    3.0
    """
    module_name, colon, path = spec.partition(":")
    if not (module_name and colon and path):
        raise ValueError(f"{spec!r} does not have the form 'module:attribute'")
    _search_current_directory()
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        absent = error.name or ""
        if module_name != absent and not module_name.startswith(absent + "."):
            raise ImportError(f"importing {module_name!r} failed: {error}") from error
        raise ValueError(
            f"there is no module {module_name!r} in {Path.cwd()} or on the Python path"
        ) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ValueError(f"module {module_name!r} has no attribute {path!r}") from None
    return found


def _search_current_directory() -> None:
    # A console script starts with its own folder on the path instead of the user's.
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
