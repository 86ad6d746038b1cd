"""Help texts that end with examples, shown line by line as they are written."""

from __future__ import annotations

from typing import Any

import click


class Verb(click.Command):
    """A verb.

    Parameters
    ----------
    examples : str
        Command lines.
    *args, **kwargs
        For `click.Command`.
    """

    def __init__(self, *args: Any, examples: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: str) -> None:
    """Write a section of command lines, without wrapping them."""
    with formatter.section("Examples"):
        for line in examples.splitlines():
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")
