"""`cofactor report`."""

from __future__ import annotations

from pathlib import Path

import click

from cofactor.cli._fits import open_together
from cofactor.cli._help import Verb
from cofactor.cli._options import out_option, path_argument, quiet_option, terminal

EXAMPLES = """\
cofactor report run/ acts/ --out report/
"""


@click.command("report", cls=Verb, examples=EXAMPLES)
@path_argument("fit")
@path_argument("store")
@out_option("Directory for index.html, a CSV per table and metrics.json.")
@quiet_option
@click.pass_context
def command(context: click.Context, fit: Path, store: Path, out: Path) -> None:
    """Say what the concepts of FIT are, with the examples of STORE."""
    from cofactor.concepts import Concepts
    from cofactor.report import report

    nmf, activations = open_together(fit, store)
    screen = terminal(context)
    with screen.busy("report"):
        page = report(Concepts(nmf, activations), out)
    screen.say(f"report: {page.resolve().as_uri()}")
