"""The folder of a report: whether it may be written, and putting a finished one in place."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KIND = "cofactor report"
INDEX = "index.html"
# What a report consists of, the page that leads to all of it last.
PARTS = (
    "metrics.json",
    "tables",
    "images",
    "assets",
    "concepts",
    "layers.html",
    "examples.html",
    INDEX,
)


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` to write to, and put what it holds into `out` at the end.

    Raises
    ------
    ValueError
        Before anything is written, if `out` is a file or holds something else than a report.
    """
    check_destination(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    folder.mkdir()
    try:
        yield folder
        _publish(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_destination(out: Path) -> None:
    """Raise ValueError unless `out` is new, empty or an earlier report."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"out = {str(out)!r} is a file; expected a folder to write the report to")
    if any(out.iterdir()) and not _is_report(out):
        raise ValueError(
            f"out = {str(out)!r} holds files that are not a report's; "
            "expected an empty folder, a new one or an earlier report: give another path"
        )


def _is_report(folder: Path) -> bool:
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and metrics.get("kind") == KIND


def _publish(folder: Path, out: Path) -> None:
    if not out.exists():
        folder.rename(out)
        return
    # Others may keep files beside a report, so its parts are replaced and not the folder. The old
    # index goes first and the new one comes last: it is there only while its parts fit to it.
    (out / INDEX).unlink(missing_ok=True)
    for part in PARTS:
        if (out / part).is_dir():
            (out / part).rename(folder / f"{part}.old")
        if (folder / part).exists():
            (folder / part).replace(out / part)
