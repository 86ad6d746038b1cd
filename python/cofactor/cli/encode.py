"""`cofactor encode`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cofactor.cli._fits import open_together
from cofactor.cli._help import Verb
from cofactor.cli._options import names_option, out_option, path_argument, quiet_option, terminal

EXAMPLES = """\
cofactor encode run/ acts/ --out W.npy
cofactor encode run/ new-acts/ --views layer4,avgpool --out W.npy
"""


@click.command("encode", cls=Verb, examples=EXAMPLES)
@path_argument("fit")
@path_argument("store")
@names_option("--views", help_text="Use these views alone; all that the fit knows by default.")
@out_option("Where to write W (examples x components), as .npy.", metavar="FILE")
@quiet_option
@click.pass_context
def command(context: click.Context, fit: Path, store: Path, views: list[str], out: Path) -> None:
    """Describe the examples of STORE by the concepts of FIT.

    For every example, the non-negative weights of the concepts that give its activations best,
    with the concepts held fixed.
    """
    if out.is_dir():
        raise IsADirectoryError(f"{out} is a directory; --out names a file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {out.parent} for {out.name}")
    import numpy as np

    nmf, activations = open_together(fit, store, views)
    screen = terminal(context)
    with screen.busy("encode"):
        weights = nmf.transform(activations)
    # Complete or absent: whoever stops this finds no half a file.
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            np.save(file, weights)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    screen.say(
        f"{out}: {weights.shape[0]:,} examples x {weights.shape[1]} components, {weights.dtype}"
    )
