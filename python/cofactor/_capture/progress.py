"""Progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(enabled: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that shows a note, the examples done, and how many there are if known.

    Nothing is shown unless stderr is a terminal and the package rich is installed.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda note, done, total: None
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text
    except ImportError:
        yield lambda note, done, total: None
        return

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0.0:,.0f} images/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("capture", total=None)

        def show(note: str, done: int, total: int | None) -> None:
            bar.update(task, description=note, completed=done, total=total)

        yield show
