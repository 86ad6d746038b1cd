"""`cofactor fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from cofactor.cli._fits import check_destination, print_fit
from cofactor.cli._help import Verb
from cofactor.cli._options import (
    memory_option,
    names_option,
    out_option,
    parse_weights,
    path_argument,
    quiet_option,
    terminal,
)
from cofactor.cli._ranks import ranks, timeout_option

EXAMPLES = """\
cofactor fit acts/ --rank 20 --out run/
cofactor fit acts/ --rank 50 --views layer3,layer4 --weights balanced --out run/
cofactor fit acts/ --rank 20 --max-memory 2GB --checkpoint run/ --resume --out run/
torchrun --nproc-per-node 4 -m cofactor fit acts/ --rank 20 --out run/
"""


@click.command("fit", cls=Verb, examples=EXAMPLES)
@path_argument("store")
@click.option("--rank", type=int, required=True, help="Number of components.")
@names_option("--views", help_text="Fit these views alone; all by default.")
@click.option(
    "--weights",
    default="equal",
    callback=parse_weights,
    metavar="equal|balanced|NAME=NUMBER,...",
    help="How much each view counts.",
)
@click.option(
    "--init",
    type=click.Choice(["compressed", "sample", "random", "nndsvd", "nndsvda", "nndsvdar"]),
    help="How H starts.  [default: compressed]",
)
@click.option(
    "--compute",
    type=click.Choice(["float32", "bfloat16", "auto", "float64"]),
    default="float32",
    help="What products are computed in; auto is bfloat16 first and ends in float32.",
)
@click.option("--max-iter", type=int, default=200, help="Iterations at most.")
@click.option("--tol", type=float, default=1e-4, help="Relative decrease to stop at.")
@click.option("--alpha-w", type=float, default=0.0, help="Penalty on W.")
@click.option("--alpha-h", type=float, help="Penalty on H.  [default: that on W]")
@click.option("--l1-ratio", type=float, default=0.0, help="Share of L1 in the penalties.")
@click.option("--seed", type=int, default=0, help="Seed of all that is random.")
@click.option("--threads", type=int, help="CPU threads.  [default: COFACTOR_NUM_THREADS, or all]")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where to compute; auto is a GPU where there is one.",
)
@memory_option
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep a checkpoint here while the fit runs; may be that of --out.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    default=10,
    help="Iterations from one checkpoint to the next.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, if there is one.")
@timeout_option
@click.option("--overwrite", is_flag=True, help="Replace a fit that is there.")
@out_option("Directory of the fit.")
@quiet_option
@click.pass_context
def command(
    context: click.Context,
    store: Path,
    rank: int,
    views: list[str],
    weights: str | dict[str, float],
    init: Literal["compressed", "sample", "random", "nndsvd", "nndsvda", "nndsvdar"] | None,
    compute: Literal["float32", "bfloat16", "auto", "float64"],
    max_iter: int,
    tol: float,
    alpha_w: float,
    alpha_h: float | None,
    l1_ratio: float,
    seed: int,
    threads: int | None,
    device: Literal["auto", "cpu", "cuda"],
    max_memory: str | None,
    checkpoint: Path | None,
    checkpoint_every: int,
    resume: bool,
    timeout: float,
    overwrite: bool,
    out: Path,
) -> None:
    """Factorize all views of STORE together.

    Finds non-negative W, shared by all views, and H of each view, with W H close to the view.
    """
    with ranks(context, timeout):
        check_destination(out, overwrite, checkpoint)
        from cofactor.nmf import CoupledNMF
        from cofactor.store import ActivationStore

        activations = ActivationStore(store)
        if views:
            activations = activations.select(views=views)
        screen = terminal(context)
        with screen.fit_progress() as callback:
            nmf = CoupledNMF(
                rank,
                weights=weights,
                init=init,
                compute=compute,
                max_iter=max_iter,
                tol=tol,
                random_state=seed,
                device=device,
                alpha_W=alpha_w,
                alpha_H="same" if alpha_h is None else alpha_h,
                l1_ratio=l1_ratio,
                n_threads=threads,
                max_memory=max_memory,
                callback=callback,
            ).fit(
                activations,
                checkpoint=checkpoint,
                checkpoint_every=checkpoint_every,
                resume=resume,
            )
        nmf.save(out)
    print_fit(screen, nmf)
    screen.say(f"\nfit: {out}")
