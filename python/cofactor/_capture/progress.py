"""Progress of a capture, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "progress_bar"]


class Progress:
    """Shows lines of text, and the examples done with how many there are if that is known."""

    def __init__(self, enabled: bool, bar: Any = None) -> None:
        self._enabled = enabled
        self._bar = bar
        self._task = None if bar is None else bar.add_task("capture", total=None)

    def say(self, text: str) -> None:
        """Print a line."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        elif self._enabled:
            print(text, file=sys.stderr)

    def __call__(self, done: int, total: int | None) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)


@contextmanager
def progress_bar(enabled: bool) -> Iterator[Progress]:
    """Yield what shows progress: a bar on a terminal, else lines alone, or nothing."""
    if not enabled or not sys.stderr.isatty():
        yield Progress(enabled)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0.0:,.0f} images/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield Progress(enabled, bar)
