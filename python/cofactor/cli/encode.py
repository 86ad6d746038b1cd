"""`cofactor encode`."""

from __future__ import annotations

from pathlib import Path

import click

from cofactor.cli._fits import open_together
from cofactor.cli._help import Verb
from cofactor.cli._options import (
    memory_option,
    names_option,
    out_option,
    path_argument,
    quiet_option,
    terminal,
)
from cofactor.cli._ranks import ranks, timeout_option

EXAMPLES = """\
cofactor encode run/ acts/ --out W.npy
cofactor encode run/ new-acts/ --views layer4,avgpool --out W.npy
torchrun --nproc-per-node 4 -m cofactor encode run/ acts/ --out W.npy
"""


@click.command("encode", cls=Verb, examples=EXAMPLES)
@path_argument("fit")
@path_argument("store")
@names_option("--views", help_text="Use these views alone; all that the fit knows by default.")
@memory_option
@timeout_option
@out_option("Where to write W (examples x components), as .npy.", metavar="FILE")
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    fit: Path,
    store: Path,
    views: list[str],
    max_memory: str | None,
    timeout: float,
    out: Path,
) -> None:
    """Describe the examples of STORE by the concepts of FIT.

    For every example, the non-negative weights of the concepts that give its activations best,
    with the concepts held fixed.
    """
    with ranks(context, timeout):
        if out.is_dir():
            raise IsADirectoryError(f"{out} is a directory; --out names a file")
        if not out.parent.is_dir():
            raise FileNotFoundError(f"there is no directory {out.parent} for {out.name}")
        nmf, activations = open_together(fit, store, views)
        nmf.set_params(max_memory=max_memory)
        screen = terminal(context)
        with screen.busy("encode"):
            weights = nmf.transform(activations, W_path=out)
    screen.say(
        f"{out}: {len(activations):,} examples x {weights.shape[1]} components, {weights.dtype}"
    )
