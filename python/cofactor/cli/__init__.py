"""The command `cofactor`: a file a verb, and what verbs share in the files with an underscore.

A verb imports what it works with when it runs, so that help is immediate and needs no torch.
"""

from __future__ import annotations

from cofactor.cli import bench, capture, compare, demo, encode, fit, info, report
from cofactor.cli._group import cofactor
from cofactor.cli._run import run

__all__ = ["main"]

for verb in (capture, fit, encode, report, compare, info, bench, demo):
    cofactor.add_command(verb.command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process by default.

    Raises
    ------
    SystemExit
        Always, with status 0; 2 after bad input; 130 after Ctrl-C.

    Examples
    --------
    >>> main(["fit", "no-such-store", "--rank", "5"])
    Traceback (most recent call last):
    ...
    SystemExit: 2
    """
    run(cofactor, arguments)
