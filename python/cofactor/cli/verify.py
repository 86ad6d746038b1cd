"""`cofactor verify`."""

from __future__ import annotations

from pathlib import Path

import click

from cofactor.cli._help import Verb
from cofactor.cli._options import path_argument, quiet_option, terminal

EXAMPLES = """\
cofactor verify acts/
"""


@click.command("verify", cls=Verb, examples=EXAMPLES)
@path_argument("store")
@quiet_option
@click.pass_context
def command(context: click.Context, store: Path) -> None:
    """Check every byte of STORE.

    Reads all files and compares checksums, statistics and headers with what was written. Ends with
    status 2 and names what differs if anything does.
    """
    from cofactor.store import ActivationStore, format_bytes

    activations = ActivationStore(store)
    screen = terminal(context)
    with screen.progress() as progress:
        task = progress.add_task("verify", total=None)
        activations.verify(lambda done, total: progress.update(task, completed=done, total=total))
    screen.say(
        f"{store}: {len(activations):,} examples of {len(activations.views)} views, "
        f"{format_bytes(activations.nbytes)}: everything is as it was written"
    )
