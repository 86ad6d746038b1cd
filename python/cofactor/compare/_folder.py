"""A comparison on disk: a CSV per table and `metrics.json`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from cofactor._result_folder import staged
from cofactor.concepts import Table

KIND = "cofactor comparison"


def write_comparison(
    tables: Mapping[str, Table], out: str | os.PathLike[str], *, what: str, **facts: Any
) -> Path:
    """Write tables as CSV, and all their numbers with what they were made of as JSON.

    Parameters
    ----------
    tables : mapping of str to Table
        Result of a function of this module.
    out : str or path-like
        A folder that is new, empty or an earlier comparison, whose files are replaced.
    what : str
        What was compared, such as ``"views"``.
    **facts
        What else `metrics.json` should hold: JSON values.

    Returns
    -------
    Path
        The folder, with ``NAME.csv`` per table and ``metrics.json``: `kind`, `what`, the version of
        cofactor, the facts, and the rows of every table (numbers that are not finite as null).

    Raises
    ------
    ValueError
        If `out` holds something else.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> out = write_comparison(
    ...     {"fits": Table({"loss": np.array([0.5])})}, tempfile.mkdtemp() + "/out", what="views"
    ... )
    >>> sorted(file.name for file in out.iterdir())
    ['fits.csv', 'metrics.json']
    """
    out = Path(out)
    document = {
        "kind": KIND,
        "what": what,
        "versions": {"cofactor": metadata.version("cofactor")},
        **facts,
        "tables": {name: list(table.rows()) for name, table in tables.items()},
    }
    with staged(out, KIND, ["metrics.json", "*.csv"]) as folder:
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv")
        text = json.dumps(_plain(document), indent=1, allow_nan=False)
        (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
