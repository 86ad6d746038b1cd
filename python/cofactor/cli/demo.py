"""`cofactor demo`."""

from __future__ import annotations

from pathlib import Path

import click

from cofactor.cli._help import Verb
from cofactor.cli._options import out_option, quiet_option, terminal

EXAMPLES = """\
cofactor demo --out demo/
"""


@click.command("demo", cls=Verb, examples=EXAMPLES)
@out_option("Directory for index.html, a CSV per table and metrics.json.")
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Directory for the network, its activations and the fit; the trained network is used "
    "again.  [default: cofactor/demo in the user's cache]",
)
@click.option("--rank", type=int, default=10, help="Number of concepts.")
@click.option("--seed", type=int, default=0, help="Seed of all that is random.")
@quiet_option
@click.pass_context
def command(context: click.Context, out: Path, work: Path | None, rank: int, seed: int) -> None:
    """Show all of it in a minute: train, capture, fit, report.

    Trains a small ResNet-18 on the handwritten digits that scikit-learn brings, then finds the
    concepts that its layers and its input share. Needs no data and no GPU.
    """
    from cofactor.demo import run_demo

    run_demo(out, work=work, n_components=rank, random_state=seed, quiet=terminal(context).quiet)
