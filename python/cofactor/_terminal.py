"""What the command line prints: results on standard output, progress on standard error."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.progress import Progress

_WIDTH_OF_A_FILE = 120


@dataclass
class Terminal:
    """Where results and progress go.

    Parameters
    ----------
    quiet : bool
        Print nothing; errors and warnings do not come this way.
    """

    quiet: bool = False

    @property
    def shows_progress(self) -> bool:
        """Whether somebody looks on."""
        return not self.quiet and sys.stderr.isatty()

    def progress(self, *columns: str) -> Progress:
        """Return a progress bar with columns of text added; without a terminal it shows nothing."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *(TextColumn(column) for column in columns),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not self.shows_progress,
        )

    @contextmanager
    def fit_progress(self) -> Iterator[Callable[[Any], None] | None]:
        """Give a callback for a fit, which shows its iterations; None if nobody looks on."""
        if not self.shows_progress:
            yield None
            return
        with self.progress("loss {task.fields[loss]}") as progress:
            task = progress.add_task("fit", total=None, loss="")

            def show(event: Any) -> None:
                progress.update(
                    task,
                    completed=event.iteration,
                    total=event.max_iter,
                    loss=f"{event.loss:.6f}",
                )

            yield show

    def busy(self, what: str) -> AbstractContextManager[object]:
        """Return a context that shows what is going on, where no steps can be counted."""
        if not self.shows_progress:
            return nullcontext()
        from rich.console import Console

        return Console(stderr=True).status(what)

    def say(self, text: str) -> None:
        """Print text, unless quiet."""
        if not self.quiet:
            click.echo(text)

    def table(
        self, header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1
    ) -> None:
        """Print a table, unless quiet; the columns after the first `text_columns` are numbers."""
        if self.quiet:
            return
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number < text_columns else "right")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
        Console(highlight=False, width=width).print("", table, sep="\n")
