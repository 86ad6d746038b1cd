"""`cofactor report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cofactor.cli._fits import open_together
from cofactor.cli._help import Verb
from cofactor.cli._network import ask_network, checked_network, network_options
from cofactor.cli._options import out_option, path_argument, quiet_option, terminal

EXAMPLES = """\
cofactor report run/ acts/ --out report/
cofactor report run/ acts/ --model cofactor:resnet18 --weights resnet18.safetensors \\
    --data test.npz --mean 0.5071,0.4865,0.4409 --std 0.2673,0.2564,0.2762 --out report/
"""


@click.command("report", cls=Verb, examples=EXAMPLES)
@path_argument("fit")
@path_argument("store")
@out_option("Directory for index.html, a CSV per table and metrics.json.")
@network_options
@quiet_option
@click.pass_context
def command(context: click.Context, /, fit: Path, store: Path, out: Path, **given: Any) -> None:
    """Say what the concepts of FIT are, with the examples of STORE.

    With the network, by --model and --data, also what each concept is worth to it: it runs without
    the concept, and with layers replaced by what the fit makes of them.
    """
    network = checked_network(context, given)
    from cofactor._result_folder import check_destination
    from cofactor.concepts import Concepts
    from cofactor.report import report
    from cofactor.report._folder import KIND

    nmf, activations = open_together(fit, store)
    # Before the network runs, which may take long.
    check_destination(out, KIND)
    screen = terminal(context)
    with screen.busy("report") as status:
        concepts = Concepts(nmf, activations)
        say = getattr(status, "update", lambda _: None)
        found = {} if network is None else ask_network(concepts, activations, network, say)
        say("report")
        page = report(concepts, out, **found)
    screen.say(f"report: {page.resolve().as_uri()}")
