"""Folders that a result replaces: whether one may be written, and putting a finished one in place.

``metrics.json`` of such a folder says by its `kind`, "cofactor" and a word, what result it is.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_destination", "staged"]


def check_destination(out: Path, kind: str) -> None:
    """Raise ValueError unless `out` is new, empty or an earlier result of this kind."""
    if not out.exists():
        return
    noun = kind.rpartition(" ")[2]
    if not out.is_dir():
        raise ValueError(f"out = {str(out)!r} is a file; expected a folder to write the {noun} to")
    if any(out.iterdir()) and _kind(out) != kind:
        raise ValueError(
            f"out = {str(out)!r} holds files that are not a {noun}'s; "
            f"expected an empty folder, a new one or an earlier {noun}: give another path"
        )


@contextmanager
def staged(
    out: Path, kind: str, parts: Sequence[str], *, index: str | None = None
) -> Iterator[Path]:
    """Give a folder beside `out` to write to, and put what it holds into `out` at the end.

    Parameters
    ----------
    out : Path
        The folder to end in.
    kind : str
        Kind of the result.
    parts : sequence of str
        Patterns of what a result consists of, in the order in which it is put in place.
    index : str, optional
        What leads to all of it, and is there only while its parts fit to it.

    Raises
    ------
    ValueError
        Before anything is written, if `out` is a file or holds something else.
    """
    check_destination(out, kind)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    folder.mkdir()
    try:
        yield folder
        _publish(folder, out, parts if index is None else [*parts, index], index)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kind(folder: Path) -> object:
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return metrics.get("kind") if isinstance(metrics, dict) else None


def _publish(folder: Path, out: Path, parts: Sequence[str], index: str | None) -> None:
    if not out.exists():
        folder.rename(out)
        return
    # Others may keep files beside a result, so its parts are replaced and not the folder.
    if index is not None:
        (out / index).unlink(missing_ok=True)
    for pattern in parts:
        for part in sorted({path.name for place in (folder, out) for path in place.glob(pattern)}):
            new = folder / part
            if (out / part).is_dir():
                (out / part).rename(folder / f"{part}.old")
            elif not new.exists():
                (out / part).unlink()
            if new.exists():
                new.replace(out / part)
